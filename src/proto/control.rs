//! Texts between the gateway and a client about questions, and about messages to acknowledge: JSON objects whose key "tg"
//! gives the kind.
//!
//! ```text
//!  to the client   {"tg":"question","id":"0123456789abcdef","data":…}     the first answer counts
//!                  {"tg":"over","id":"0123456789abcdef"}                  no answer is wanted any more
//!                  {"tg":"message","id":"0123456789abcdef","data":…}      comes again until it is acknowledged
//!                  {"tg":"token","ttl":300}                                the token is taken, for so many seconds
//!                  {"tg":"token","error":"its signature …"}              it is not, and the earlier one holds
//!  from it         {"tg":"answer","id":"0123456789abcdef","data":…}
//!                  {"tg":"ack","id":"0123456789abcdef"}
//!                  {"tg":"token","token":"…"}                            another token, before the earlier one ends
//! ```

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::centrifuge::Data;

/// A text of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    Answer(Answer<'a>),
    /// The client acknowledges the message with this id. `None` if the text has no valid id: no message has that.
    Ack(Option<u64>),
    /// The client shows another token. Empty if the text has none.
    Token(Cow<'a, str>),
}

/// The answer to a question. Without a valid id it answers no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    pub id: Option<u64>,
    /// JSON; `null` if the text has no `data`.
    pub data: &'a [u8],
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    tg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
}

const ID_DIGITS: usize = 16;
const NULL: &[u8] = b"null";

impl<'a> Said<'a> {
    /// Parses a client's text. `None` if the text is none of these, and so belongs to the
    /// application.
    pub fn parse(text: &'a [u8]) -> Option<Said<'a>> {
        if text.trim_ascii_start().first() != Some(&b'{') || memmem::find(text, b"\"tg\"").is_none() {
            return None;
        }
        let object: Object<'a> = serde_json::from_slice(text).ok()?;
        match object.tg.as_deref() {
            Some("answer") => Some(Said::Answer(object.into())),
            Some("ack") => Some(Said::Ack(object.id())),
            Some("token") => Some(Said::Token(object.token())),
            _ => None,
        }
    }
}

/// Whether a client would take this text for one of the gateway's.
pub fn is_of_gateway(text: &[u8]) -> bool {
    if text.trim_ascii_start().first() != Some(&b'{') || memmem::find(text, b"tg").is_none() {
        return false;
    }
    let object = serde_json::from_slice::<Object<'_>>(text);
    object.is_ok_and(|object| matches!(object.tg.as_deref(), Some("question" | "over" | "message" | "token")))
}

impl<'a> Answer<'a> {
    /// Parses an object without the key "tg". Any other text answers no question.
    pub fn parse(json: &'a [u8]) -> Answer<'a> {
        serde_json::from_slice::<Object<'a>>(json).map_or(Answer { id: None, data: NULL }, Answer::from)
    }
}

impl<'a> From<Object<'a>> for Answer<'a> {
    fn from(object: Object<'a>) -> Answer<'a> {
        Answer { id: object.id(), data: object.data.map_or(NULL, |data| data.get().as_bytes()) }
    }
}

impl<'a> Object<'a> {
    fn token(&self) -> Cow<'a, str> {
        let token = self.token.and_then(|token| serde_json::from_str(token.get()).ok());
        token.map_or(Cow::Borrowed(""), Cow::Owned)
    }

    fn id(&self) -> Option<u64> {
        self.id.and_then(|id| parse_id(id.get()))
    }
}

/// Parses an acknowledgement without the key "tg", and returns its id, if there is one.
pub fn parse_ack(json: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Object<'_>>(json).ok()?.id()
}

fn parse_id(json: &str) -> Option<u64> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    let is_id = text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_id)
}

/// Appends a question. A payload that is not JSON becomes a string.
pub fn write_question(out: &mut Vec<u8>, id: u64, payload: &[u8]) {
    write_with_data(out, "question", id, payload);
}

/// Appends a message that must be acknowledged, in the same way.
pub fn write_message(out: &mut Vec<u8>, id: u64, payload: &[u8]) {
    write_with_data(out, "message", id, payload);
}

fn write_with_data(out: &mut Vec<u8>, what: &str, id: u64, payload: &[u8]) {
    begin(out, what, id);
    out.extend_from_slice(b",\"data\":");
    Data(payload).write(out);
    out.push(b'}');
}

/// The answer to a token that is taken, and holds for so many seconds.
pub fn token_taken(ttl_s: u64) -> Vec<u8> {
    format!("{{\"tg\":\"token\",\"ttl\":{ttl_s}}}").into_bytes()
}

/// The answer to a token that is not taken.
pub fn token_refused(why: &str) -> Vec<u8> {
    serde_json::json!({ "tg": "token", "error": why }).to_string().into_bytes()
}

/// Appends the notice that a question is over.
pub fn write_over(out: &mut Vec<u8>, id: u64) {
    begin(out, "over", id);
    out.push(b'}');
}

fn begin(out: &mut Vec<u8>, what: &str, id: u64) {
    out.extend_from_slice(format!("{{\"tg\":\"{what}\",\"id\":\"{id:0ID_DIGITS$x}\"").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_only_the_gateway_says() {
        for text in [
            r#"{"tg":"question","id":"00000000000000a1","data":1}"#,
            r#" { "data": 1, "tg" : "over" }"#,
            r#"{"tg":"m\u0065ssage"}"#,
        ] {
            assert!(is_of_gateway(text.as_bytes()), "{text}");
        }
        for text in [
            r#"{"tg":"answer"}"#,
            r#"{"tg":7}"#,
            r#"["tg","over"]"#,
            r#"{"a":{"tg":"over"}}"#,
            "tg",
            "{\"tg\":\"over\"",
        ] {
            assert!(!is_of_gateway(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_asked_can_be_answered() {
        for (payload, data) in [(&b"{\"ride\":7}"[..], "{\"ride\":7}"), (b"well?", "\"well?\""), (b"", "\"\"")] {
            let mut out = Vec::new();
            write_question(&mut out, 0xA1, payload);
            let wanted = format!("{{\"tg\":\"question\",\"id\":\"00000000000000a1\",\"data\":{data}}}");
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
        let mut out = Vec::new();
        write_over(&mut out, u64::MAX);
        assert_eq!(&out[..], b"{\"tg\":\"over\",\"id\":\"ffffffffffffffff\"}");
        let answer = b" {\"id\":\"00000000000000A1\", \"data\": [1, 2], \"tg\":\"answer\", \"more\":1}";
        assert_eq!(Said::parse(answer), Some(Said::Answer(Answer { id: Some(0xA1), data: b"[1, 2]" })));
        assert_eq!(Answer::parse(b"{\"id\":\"00000000000000a1\"}"), Answer { id: Some(0xA1), data: b"null" });
    }

    #[test]
    fn what_has_come_can_be_acknowledged() {
        let mut out = Vec::new();
        write_message(&mut out, 0xA1, b"[1]");
        assert_eq!(&out[..], b"{\"tg\":\"message\",\"id\":\"00000000000000a1\",\"data\":[1]}");
        assert_eq!(Said::parse(b"{\"tg\":\"ack\",\"id\":\"00000000000000a1\"}"), Some(Said::Ack(Some(0xA1))));
        assert_eq!(Said::parse(b"{\"tg\":\"ack\",\"id\":7}"), Some(Said::Ack(None)));
        assert_eq!(parse_ack(b"{\"id\":\"00000000000000a1\"}"), Some(0xA1));
        assert_eq!([&b"{}"[..], b"\"00000000000000a1\"", b""].map(parse_ack), [None; 3]);
    }

    #[test]
    fn an_answer_to_nothing_is_not_the_applications() {
        for id in ["1", "\"\"", "\"1\"", "\"+00000000000000a\"", "\"00000000000000a1f\""] {
            let text = format!("{{\"tg\":\"answer\",\"id\":{id}}}");
            assert_eq!(Said::parse(text.as_bytes()), Some(Said::Answer(Answer { id: None, data: b"null" })), "{text}");
        }
        assert_eq!(Answer::parse(b"\"no object\""), Answer { id: None, data: b"null" });
    }

    #[test]
    fn everything_else_is_the_applications() {
        for text in [
            "",
            "hello",
            "{\"a\":1}",
            "[{\"tg\":\"answer\"}]",
            "{\"tg\":\"answer\"",
            "{\"tg\":\"dance\"}",
            "{\"tg\":7}",
            "{\"a\":\"\\\"tg\\\"\"}",
            "{\"a\":{\"tg\":\"answer\"}}",
        ] {
            assert_eq!(Said::parse(text.as_bytes()), None, "{text}");
        }
    }
}
