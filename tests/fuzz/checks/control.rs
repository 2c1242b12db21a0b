//! Promises about what clients say of questions and messages: it is told from the application's own texts, its parts are what
//! stands there, and what they are told is JSON.

use serde_json::Value;
use tidegate::proto::control::{Answer, Said, parse_ack, write_message, write_question};

/// A text arrives whole, so there are no cuts.
pub fn check(bytes: &[u8], _cuts: &[usize]) {
    match Said::parse(bytes) {
        Some(Said::Answer(answer)) => {
            check_told(bytes, "answer", answer.id);
            // Grammar allows what no value can hold.
            let data = serde_json::from_slice::<Value>(answer.data).ok();
            let object = serde_json::from_slice::<Value>(bytes).ok();
            assert!(object.is_none_or(|object| data == Some(object["data"].clone())));
            assert_eq!(Answer::parse(bytes), answer);
        }
        Some(Said::Ack(id)) => {
            check_told(bytes, "ack", id);
            assert_eq!(parse_ack(bytes), id);
        }
        Some(Said::Token(token)) => assert!(token.len() <= bytes.len()),
        None => drop((Answer::parse(bytes), parse_ack(bytes))),
    }
    for (what, write) in [("question", write_question as fn(&mut Vec<u8>, u64, &[u8])), ("message", write_message)] {
        let mut text = Vec::new();
        write(&mut text, 7, bytes);
        assert!(std::str::from_utf8(&text).is_ok(), "it goes out as text");
        let said = serde_json::from_slice::<Value>(&text).ok();
        assert!(said.is_none_or(|said| said["tg"] == what && said["id"] == "0000000000000007"));
    }
}

fn check_told(bytes: &[u8], what: &str, id: Option<u64>) {
    let Ok(object) = serde_json::from_slice::<Value>(bytes) else { return };
    assert_eq!(object["tg"], what);
    let said = object["id"].as_str().map(str::to_ascii_lowercase);
    assert!(id.is_none_or(|id| said == Some(format!("{id:016x}"))), "{id:?} is not {said:?}");
}
