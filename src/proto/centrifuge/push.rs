//! Pushes of the gateway: publications, messages, changes of subscriptions.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::code::Unsubscribed;
use super::json::{Data, write_text};
use super::reply::SubscribeResult;
use crate::proto::reserved::subjects::Change;

/// The client that has published.
#[derive(Clone, Debug, Serialize)]
pub struct ClientInfo<'a> {
    /// The name, as the application writes it.
    pub user: Cow<'a, str>,
    pub client: &'a str,
    /// The claim `info` of the user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_info: Option<&'a RawValue>,
}

/// Appends a publication in `channel`. Written by hand, because every event passes here.
pub fn write_publication(
    out: &mut Vec<u8>,
    channel: &str,
    data: Data<'_>,
    offset: Option<u64>,
    info: Option<&ClientInfo<'_>>,
) {
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    write_text(out, channel);
    out.extend_from_slice(b",\"pub\":{\"data\":");
    data.write(out);
    if let Some(offset) = offset {
        out.extend_from_slice(b",\"offset\":");
        out.extend_from_slice(itoa::Buffer::new().format(offset).as_bytes());
    }
    if let Some(info) = info {
        out.extend_from_slice(b",\"info\":");
        let _ = serde_json::to_writer(&mut *out, info);
    }
    out.extend_from_slice(b"}}}");
}

/// Appends a message that belongs to no channel.
pub fn write_message(out: &mut Vec<u8>, data: Data<'_>) {
    out.extend_from_slice(b"{\"push\":{\"message\":{\"data\":");
    data.write(out);
    out.extend_from_slice(b"}}}");
}

/// The same for JSON of the gateway itself.
pub fn write_own_message(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"{\"push\":{\"message\":{\"data\":");
    out.extend_from_slice(json);
    out.extend_from_slice(b"}}}");
}

/// Appends a join or a leave of `channel`.
pub fn write_change(out: &mut Vec<u8>, channel: &str, change: Change, info: &ClientInfo<'_>) {
    #[derive(Serialize)]
    struct Changed<'a> {
        info: &'a ClientInfo<'a>,
    }
    write_push(out, channel, change.word(), &Changed { info });
}

/// Appends the push that the server has subscribed the client to `channel`.
pub fn write_subscribe(out: &mut Vec<u8>, channel: &str, result: &SubscribeResult<'_>) {
    write_push(out, channel, "subscribe", result);
}

/// Appends the push that the client is no longer subscribed to `channel`.
pub fn write_unsubscribe(out: &mut Vec<u8>, channel: &str, why: Unsubscribed) {
    #[derive(Serialize)]
    struct Unsubscribe {
        code: u32,
        reason: &'static str,
    }
    write_push(out, channel, "unsubscribe", &Unsubscribe { code: why.code, reason: why.words });
}

fn write_push(out: &mut Vec<u8>, channel: &str, name: &str, body: &impl Serialize) {
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    write_text(out, channel);
    out.push(b',');
    write_text(out, name);
    out.push(b':');
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *out, body);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_push_names_its_channel_and_has_no_id() {
        let conn_info = RawValue::from_string("{\"name\":\"Ann\"}".to_owned()).unwrap();
        let info = ClientInfo { user: "ann".into(), client: "0001", conn_info: Some(&conn_info) };
        assert_eq!(
            written(|out| write_publication(out, "room.1", Data(b"{\"x\":1}"), Some(7), Some(&info))),
            "{\"push\":{\"channel\":\"room.1\",\"pub\":{\"data\":{\"x\":1},\"offset\":7,\"info\":{\"user\":\"ann\",\
             \"client\":\"0001\",\"conn_info\":{\"name\":\"Ann\"}}}}}"
        );
        assert_eq!(
            written(|out| write_publication(out, "a\"b", Data(b"x"), None, None)),
            r#"{"push":{"channel":"a\"b","pub":{"data":"x"}}}"#
        );
        assert_eq!(written(|out| write_message(out, Data(b"1"))), r#"{"push":{"message":{"data":1}}}"#);
        assert_eq!(
            written(|out| write_unsubscribe(out, "a", Unsubscribed::BY_WORKER)),
            r#"{"push":{"channel":"a","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#
        );
        assert_eq!(
            written(|out| write_change(out, "a", Change::Leave, &info)),
            "{\"push\":{\"channel\":\"a\",\"leave\":{\"info\":{\"user\":\"ann\",\"client\":\"0001\",\
             \"conn_info\":{\"name\":\"Ann\"}}}}}"
        );
        assert_eq!(
            written(|out| write_subscribe(out, "a", &SubscribeResult::default())),
            r#"{"push":{"channel":"a","subscribe":{}}}"#
        );
    }
}
