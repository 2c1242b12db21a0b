//! The document of a request that its client reads: one JSON object, the same when it is published and when it is
//! requested.
//!
//! ```json
//! {"id":"00…","status":"done","channel":"request.00…","content_type":"application/json","result":{"seat":"12A"}}
//! ```
//!
//! A result that is JSON is embedded unchanged, other text as a JSON string, anything else in base64; then there is
//! `"encoding":"base64"`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::base::RequestId;
use crate::proto::request::Status;
use crate::proto::subject::Subject;

/// The answer of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerAnswer<'a> {
    pub has_failed: bool,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
}

/// The document of a request without a result.
pub(super) fn bare(id: RequestId, status: Status, channel: &Subject) -> Box<[u8]> {
    let mut out = begin(id, status, channel, 0);
    out.push('}');
    out.into_bytes().into()
}

/// The document of a request that was answered.
pub(super) fn answered(id: RequestId, status: Status, channel: &Subject, answer: WorkerAnswer<'_>) -> Box<[u8]> {
    let mut out = begin(id, status, channel, answer.body.len());
    if let Some(content_type) = answer.content_type {
        out.push_str(",\"content_type\":");
        push_text(&mut out, content_type);
    }
    // The result is copied once, from the worker's message into the kept document.
    if let Some(json) = as_json(answer) {
        out.push_str(",\"result\":");
        out.push_str(json);
    } else if let Ok(text) = simdutf8::basic::from_utf8(answer.body) {
        out.push_str(",\"result\":");
        push_text(&mut out, text);
    } else {
        out.push_str(",\"encoding\":\"base64\",\"result\":\"");
        STANDARD.encode_string(answer.body, &mut out);
        out.push('"');
    }
    out.push('}');
    out.into_bytes().into()
}

fn begin(id: RequestId, status: Status, channel: &Subject, body_bytes: usize) -> String {
    let mut out = String::with_capacity(body_bytes + 192);
    out.push_str("{\"id\":\"");
    out.push_str(&id.to_string());
    out.push_str("\",\"status\":\"");
    out.push_str(status.name());
    out.push_str("\",\"channel\":");
    push_text(&mut out, channel.as_str());
    out
}

/// The body, if it is valid JSON and its content type says JSON or is missing.
fn as_json<'a>(answer: WorkerAnswer<'a>) -> Option<&'a str> {
    let is_meant = answer.content_type.is_none_or(is_json_type);
    // Validated, not parsed into values: numbers and the order of members stay as the worker wrote them.
    let raw: Option<&'a RawValue> = is_meant.then(|| serde_json::from_slice(answer.body).ok()).flatten();
    raw.map(RawValue::get)
}

/// `application/json`, and every type that ends with `+json` (RFC 6839 section 3.1), with or without parameters.
fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn push_text(out: &mut String, text: &str) {
    // A string can always be written as JSON.
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Place;
    use serde_json::{Value, json};

    fn result_of(content_type: Option<&str>, body: &[u8]) -> Value {
        let channel = Subject::new("request.\"x\"").unwrap();
        let answer = WorkerAnswer { has_failed: false, content_type, body };
        let document = answered(RequestId::new(None, Place(1), 2), Status::Done, &channel, answer);
        let document: Value = serde_json::from_slice(&document).expect("a document is JSON");
        assert_eq!(document["id"], RequestId::new(None, Place(1), 2).to_string());
        assert_eq!((&document["status"], &document["channel"]), (&json!("done"), &json!("request.\"x\"")));
        assert_eq!(document.get("content_type"), content_type.map(Value::from).as_ref());
        document
    }

    #[test]
    fn json_stands_as_it_is_and_all_else_as_text() {
        for content_type in [None, Some("application/json"), Some("Application/Problem+JSON; charset=utf-8")] {
            assert_eq!(result_of(content_type, b" {\"seat\": [1]} ")["result"], json!({"seat": [1]}));
        }
        assert_eq!(result_of(None, b"{\"seat\"")["result"], "{\"seat\"");
        assert_eq!(result_of(Some("text/plain"), b"[1]")["result"], "[1]");
        assert_eq!(result_of(None, b"")["result"], "");
        let deep = "[".repeat(10_000);
        assert_eq!(result_of(None, deep.as_bytes())["result"], deep);
        assert_eq!(result_of(None, "line\u{2028}\n\"\0".as_bytes())["result"], "line\u{2028}\n\"\0");
    }

    #[test]
    fn a_large_number_is_not_rounded() {
        let channel = Subject::new("c").unwrap();
        let answer = WorkerAnswer { has_failed: false, content_type: None, body: b"123456789012345678901234567890.10" };
        let document = answered(RequestId::new(None, Place(0), 0), Status::Done, &channel, answer);
        assert!(document.ends_with(b"\"result\":123456789012345678901234567890.10}"));
    }

    #[test]
    fn bytes_stand_in_base64() {
        let document = result_of(Some("image/png"), &[0x89, 0xff]);
        assert_eq!((&document["encoding"], &document["result"]), (&json!("base64"), &json!("if8=")));
    }

    #[test]
    fn without_a_result_the_status_says_it_all() {
        let channel = Subject::new("c").unwrap();
        let document: Value =
            serde_json::from_slice(&bare(RequestId::new(None, Place(0), 1), Status::Expired, &channel)).unwrap();
        let id = RequestId::new(None, Place(0), 1).to_string();
        assert_eq!(document, json!({"id": id, "status": "expired", "channel": "c"}));
    }
}
