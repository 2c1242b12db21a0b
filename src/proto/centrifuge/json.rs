//! JSON that is passed through unread: payloads to and from clients.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits;

/// Whether `bytes` are one JSON value, nested no deeper than clients can be expected to parse.
pub fn is_json(bytes: &[u8]) -> bool {
    nesting(bytes) <= limits::JSON_NESTING_MAX && serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// The deepest nesting of bytes that may be JSON. Brackets in strings do not count.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in bytes {
        if is_text {
            is_text = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A payload in the form of the protocol: JSON unchanged, other UTF-8 as a string, other bytes as a string with their
/// base64.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a>(pub &'a [u8]);

impl Data<'_> {
    /// Appends the payload on one line: a line end outside a string is white space in JSON, but would end the reply.
    pub fn write(self, out: &mut Vec<u8>) {
        let payload = self.0;
        let start = out.len();
        if is_json(payload) {
            out.extend_from_slice(payload);
            while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[start..]) {
                out[start + at] = b' ';
            }
        } else {
            match simdutf8::basic::from_utf8(payload) {
                Ok(text) => write_text(out, text),
                Err(_) => write_text(out, &STANDARD.encode(payload)),
            }
        }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::with_capacity(self.0.len());
        self.write(&mut json);
        let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(json).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Appends a JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, and neither can serializing a text.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payload: &[u8]) -> String {
        let mut out = Vec::new();
        Data(payload).write(&mut out);
        assert_eq!(serde_json::to_string(&Data(payload)).unwrap().as_bytes(), out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_stays_as_it_is_and_everything_else_becomes_a_text() {
        for (payload, data) in [
            (&b"{\"a\":1.50}"[..], "{\"a\":1.50}"),
            (b"null", "null"),
            (b"{\n  \"a\": \"\\n\"\r\n}", "{   \"a\": \"\\n\"  }"),
            (b"", "\"\""),
            (b"hello \"you\"\n", "\"hello \\\"you\\\"\\n\""),
            (b"{\"a\":1} {}", "\"{\\\"a\\\":1} {}\""),
            ("\u{e9}".as_bytes(), "\"\u{e9}\""),
            (b"\xff\x00", "\"/wA=\""),
        ] {
            assert_eq!(written(payload), data);
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_a_text() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(is_json(nested(limits::JSON_NESTING_MAX).as_bytes()));
        let deeper = nested(limits::JSON_NESTING_MAX + 1);
        assert!(!is_json(deeper.as_bytes()));
        assert_eq!(written(deeper.as_bytes()), format!("\"{deeper}\""));
        let text = format!("[\"{}\\\"[[\"]", "[".repeat(1000));
        assert_eq!(nesting(text.as_bytes()), 1, "brackets in a text are no nesting");
    }
}
