//! The facts about the sender in a head that is refused before it is parsed.

use std::str;

use crate::limits::HEAD_BYTES_MAX;

/// `Origin` and `Host`, each if the lines that have arrived have exactly one. Only for the answer that refuses the
/// head: no request is served because of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glimpse<'a> {
    pub origin: Option<&'a str>,
    pub host: Option<&'a str>,
}

impl<'a> Glimpse<'a> {
    /// From the input that `next_head` has refused. An incomplete line does not count, nor do bytes after the head.
    pub fn of(input: &'a [u8]) -> Glimpse<'a> {
        let head = &input[..input.len().min(HEAD_BYTES_MAX)];
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        Glimpse { origin: only(head, b"origin"), host: only(head, b"host") }
    }
}

/// The value of the only field of that name, if it is UTF-8.
fn only<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut values = fields(head).filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let value = values.next().filter(|_| values.next().is_none())?;
    str::from_utf8(value.trim_ascii()).ok()
}

/// Names and values of the complete lines after the request line, up to the empty one.
fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let whole = head.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\r\n"));
    whole.skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], &line[colon + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_sender_in_the_lines_that_have_come() {
        let line = "GET / HTTP/3.0\r\n";
        for (fields, origin, host) in [
            ("Host: a\r\nOrigin: https://app.example\r\n\r\n", Some("https://app.example"), Some("a")),
            ("ORIGIN:\thttp://b \r\nX: ", Some("http://b"), None),
            ("Origin: http://b", None, None),
            ("Origin: http://b\r\nOrigin: http://c\r\n", None, None),
            ("Host: a\r\nhost: b\r\nOrigin: http://b\r\n", Some("http://b"), None),
            ("Host: a\r\n\r\nOrigin: http://b\r\n", None, Some("a")),
            ("Origin : http://b\r\n", None, None),
            ("Origin: \u{fffd}\r\n\r\n", Some("\u{fffd}"), None),
            ("X\r\nOrigin: null\r\n", Some("null"), None),
        ] {
            let input = format!("{line}{fields}");
            let seen = Glimpse { origin, host };
            assert_eq!(Glimpse::of(input.as_bytes()), seen, "{fields:?}");
            assert_eq!(Glimpse::of(format!("\r\n{input}").as_bytes()), seen, "behind an empty line");
        }
        for nothing in
            [&b""[..], b"\r\n", b"\x16\x03\x01", b"Origin: http://b\r\n", b"GET / HTTP/3.0\r\nOrigin: \xff\r\n"]
        {
            assert_eq!(Glimpse::of(nothing), Glimpse::default(), "{nothing:?}");
        }
        let far = format!("{line}X: {}\r\nOrigin: http://b\r\n", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(Glimpse::of(far.as_bytes()), Glimpse::default(), "beyond the bound of a head");
    }
}
