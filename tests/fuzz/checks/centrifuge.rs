//! Promises of the client protocol: a frame is read to its end, and whatever is carried makes one line of JSON.

use serde_json::Value;
use serde_json::value::RawValue;
use tidegate::limits::JSON_NESTING_MAX;
use tidegate::proto::centrifuge::{Command, Data, Request, count, read_command, write_message, write_publication};

/// A frame arrives whole, so there are no cuts.
pub fn check(bytes: &[u8], _cuts: &[usize]) {
    let lines = bytes.split(|&byte| byte == b'\n');
    assert!(lines.clone().count() <= count(bytes));
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        if let Ok(command) = read_command(line) {
            check_command(&command);
        }
    }
    check_carried(bytes);
}

fn check_command(command: &Command<'_>) {
    let data = match &command.request {
        Request::Publish(publish) => publish.data,
        Request::Rpc(rpc) => rpc.data,
        Request::Send(send) => send.data,
        _ => None,
    };
    let has_reply = !matches!(command.request, Request::Pong | Request::Send(_));
    assert!(command.id != 0 || !has_reply, "a reply has something to be told by");
    if let Some(data) = data {
        check_carried(data.get().as_bytes());
    }
}

fn check_carried(payload: &[u8]) {
    let mut message = Vec::new();
    write_message(&mut message, Data(payload));
    let message = read_line(&message);
    let mut publication = Vec::new();
    let channel = String::from_utf8_lossy(payload);
    write_publication(&mut publication, &channel, Data(payload), Some(7), None);
    let publication = read_line(&publication);
    // Grammar allows what no value can hold: half a surrogate pair, a number beyond all ranges.
    let (Some(message), Some(publication)) = (message, publication) else { return };
    let data = &message["push"]["message"]["data"];
    let published = &publication["push"]["pub"];
    assert_eq!((&published["data"], &published["offset"]), (data, &Value::from(7)));
    assert_eq!(publication["push"]["channel"], *channel);
    assert!(depth(data) <= JSON_NESTING_MAX);
    if let Ok(text) = std::str::from_utf8(payload) {
        let is_same = serde_json::from_str::<Value>(text).is_ok_and(|value| value == *data) || data == text;
        assert!(is_same, "{data} is what was published");
    }
}

fn read_line(line: &[u8]) -> Option<Value> {
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "the line's end is the reply's");
    serde_json::from_slice::<&RawValue>(line).expect("a push is JSON");
    serde_json::from_slice(line).ok()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
