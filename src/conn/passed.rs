//! The header fields of a request that its workers get, because its route names them.

use crate::limits;
use crate::proto::bus::HeaderBlock;
use crate::proto::http::Head;

/// Each by the name that the route has for it, with its value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PassedFields(Box<[(Box<str>, Box<str>)]>);

impl PassedFields {
    /// The fields of `names` that the head has. The values of a repeated field are joined as RFC 9110 section 5.3 has it. A field for
    /// which there is no room any more is left out.
    pub(super) fn of(head: &Head<'_>, names: &[Box<str>]) -> PassedFields {
        let mut room = limits::PASSED_FIELDS_BYTES_MAX;
        let passed = names.iter().filter_map(|name| {
            // RFC 6265 section 4.2.1: cookies have a separator of their own.
            let separator = if name.eq_ignore_ascii_case("cookie") { "; " } else { ", " };
            let value = head.headers(name).collect::<Vec<_>>().join(separator);
            let left = room.checked_sub(name.len() + value.len()).filter(|_| !value.is_empty())?;
            room = left;
            Some((name.clone(), value.into()))
        });
        PassedFields(passed.collect())
    }

    /// With further ones, whatever the room.
    pub(super) fn with<const N: usize>(self, more: [(&str, &str); N]) -> PassedFields {
        let more = more.map(|(name, value)| (name.into(), value.into()));
        PassedFields(self.0.into_iter().chain(more).collect())
    }

    pub fn push(&self, headers: &mut HeaderBlock) {
        self.0.iter().for_each(|(name, value)| headers.push(name, value));
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

    fn passed(lines: &str, names: &[&str]) -> (String, usize) {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
        let names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        let (fields, mut headers) = (PassedFields::of(&head, &names), HeaderBlock::new());
        fields.push(&mut headers);
        (String::from_utf8(headers.finish().into()).unwrap(), fields.bytes())
    }

    #[test]
    fn named_fields_are_passed_by_the_routes_spelling_and_no_others() {
        let lines =
            "user-agent: curl/8\r\nX-Tag: a\r\nx-tag: b\r\nCookie: c=d\r\nCookie: e=f\r\nAuthorization: Bearer s3\r\n";
        let (headers, bytes) = passed(lines, &["User-Agent", "X-Tag", "X-None"]);
        assert_eq!(headers, "NATS/1.0\r\nUser-Agent: curl/8\r\nX-Tag: a, b\r\n\r\n");
        assert_eq!(bytes, "User-Agentcurl/8X-Taga, b".len());
        assert_eq!(passed(lines, &["Cookie"]).0, "NATS/1.0\r\nCookie: c=d; e=f\r\n\r\n");
        assert_eq!(passed(lines, &[]), ("NATS/1.0\r\n\r\n".to_owned(), 0));
    }

    #[test]
    fn a_field_without_room_is_left_out_and_the_next_one_may_fit() {
        let long = "x".repeat(limits::PASSED_FIELDS_BYTES_MAX);
        let lines = format!("A: {long}\r\nB: b\r\n");
        assert_eq!(passed(&lines, &["A", "B"]).0, "NATS/1.0\r\nB: b\r\n\r\n");
    }
}
