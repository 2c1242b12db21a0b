//! The header fields of a request or an answer: their values, their lists, and which of them end here (RFC 9110 section 5).

use smallvec::SmallVec;

use crate::proto::CloseReason;

/// A header field as it was sent, without white space around its value.
pub type Field<'a> = httparse::Header<'a>;

/// HeadFields that need no allocation; browsers send fewer when they open a WebSocket.
const FIELDS_INLINE: usize = 24;

/// The result of [`HeadFields::header`] for a value that is not UTF-8: present, and equal to no allowed value.
pub(super) const UNREADABLE: &str = "\u{fffd}";

/// The fields of one head, in order; they borrow from its bytes.
#[derive(Debug)]
pub struct HeadFields<'a>(SmallVec<[Field<'a>; FIELDS_INLINE]>);

impl<'a> HeadFields<'a> {
    /// The one copy of a head: the table of its fields, not their bytes.
    pub(super) fn new(fields: &[Field<'a>]) -> HeadFields<'a> {
        HeadFields(SmallVec::from_slice(fields))
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[Field<'a>] {
        &self.0
    }

    /// The values of all fields of that name, as bytes; names are case-insensitive.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The values of all fields of that name. A value that is not UTF-8 reads as U+FFFD: it must not count as missing,
    /// or a stray byte could evade a check of `Origin`.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).map(|value| str::from_utf8(value).unwrap_or(UNREADABLE))
    }

    /// The first value of that name, as in [`HeadFields::headers`].
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The only value of that name; `None` if it is missing, `Err` if it is repeated or not UTF-8: two values that are
    /// not UTF-8 must not read as equal.
    pub fn single_header(&self, name: &str) -> Result<Option<&'a str>, CloseReason> {
        let mut values = self.values(name);
        let value = values.next().map(str::from_utf8).transpose().map_err(|_| CloseReason::MalformedRequest)?;
        if values.next().is_some() { Err(CloseReason::MalformedRequest) } else { Ok(value) }
    }

    /// The elements of a comma-separated list, over all fields of that name (RFC 9110 section 5.6.1).
    pub fn elements(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers(name)
            .flat_map(|value| value.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Whether such a list has that element, in any case.
    pub fn has_element(&self, name: &str, element: &str) -> bool {
        let is_it = |candidate: &[u8]| candidate.trim_ascii().eq_ignore_ascii_case(element.as_bytes());
        self.values(name).any(|value| value.split(|byte| *byte == b',').any(is_it))
    }

    /// The bytes of these fields in a head.
    pub(super) fn wire_len(&self) -> usize {
        self.0.iter().map(|field| field.name.len() + field.value.len() + ": \r\n".len()).sum()
    }

    /// The fields that a proxy passes on: neither those of this one connection nor those that `Connection` names as such
    /// (RFC 9110 section 7.6.1).
    pub fn end_to_end(&self) -> impl Iterator<Item = &Field<'a>> {
        // Mostly it names none that would go on otherwise.
        let options = self.values("connection").flat_map(|value| value.split(|byte| *byte == b','));
        let may_nominate = |option: &&[u8]| !matches!(*option, b"" | b"close" | b"keep-alive");
        let nominated: SmallVec<[&[u8]; 4]> = options.map(<[u8]>::trim_ascii).filter(may_nominate).collect();
        let is_nominated =
            move |name: &str| nominated.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes()));
        self.0.iter().filter(move |field| !is_hop_by_hop(field.name) && !is_nominated(field.name))
    }
}

/// Whether a field is about one connection only, whatever `Connection` says. `Expect` is among them because the gateway
/// answers it (RFC 9110 section 10.1.1).
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect"];
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) || begins_with(name, "proxy-")
}

/// Whether a name begins with this text, in any case.
pub(super) fn begins_with(name: &str, beginning: &str) -> bool {
    name.as_bytes().get(..beginning.len()).is_some_and(|own| own.eq_ignore_ascii_case(beginning.as_bytes()))
}

/// A line of a head does not end with CRLF, or one of these signs stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrayLineEnd;

/// Length of the head at the front of `bytes`, its empty line included; `None` if that has not arrived.
///
/// Stricter than httparse, which takes a line that ends with LF alone.
pub(super) fn head_len(bytes: &[u8]) -> Result<Option<usize>, StrayLineEnd> {
    let (mut lines, mut begin, mut len) = (0, 0, None);
    for end in memchr::memchr_iter(b'\n', bytes) {
        if end == begin || bytes[end - 1] != b'\r' {
            return Err(StrayLineEnd);
        }
        lines += 1;
        if end == begin + 1 {
            len = Some(end + 1);
            break;
        }
        begin = end + 1;
    }
    // Each LF has its CR, so there are as many of these if none stands alone. The LF of the last one may be on its way.
    let seen = &bytes[..len.unwrap_or(bytes.len())];
    let halves = usize::from(seen.ends_with(b"\r"));
    if memchr::memchr_iter(b'\r', seen).count() == lines + halves { Ok(len) } else { Err(StrayLineEnd) }
}

/// Digits and nothing else (RFC 9110 section 8.6).
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line_and_each_line_with_both_signs() {
        for (bytes, len) in [
            ("", Ok(None)),
            ("GET / HTTP/1.1", Ok(None)),
            ("GET / HTTP/1.1\r", Ok(None)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r", Ok(None)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", Ok(Some(24))),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nbo\rdy\n\n", Ok(Some(24))),
            ("\r\nGET", Ok(Some(2))),
            ("\nGET", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\n", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\r\nA: b\n\r\n", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\r\nA: b\r\n\n", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\rA", Err(StrayLineEnd)),
            ("GET / HTTP/1.1\r\r", Err(StrayLineEnd)),
        ] {
            assert_eq!(head_len(bytes.as_bytes()), len, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn the_length_is_that_of_a_slow_reader(pieces in prop::collection::vec(prop::sample::select(vec!["a", "\r", "\n", "\r\n", "b: c\r\n"]), 0..12)) {
            let text = pieces.concat();
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let whole = lines.iter().position(|line| *line == "\r\n").map(|at| lines[..=at].concat());
            let seen = whole.as_deref().unwrap_or(&text);
            let is_strict = seen.split_inclusive('\n').all(|line| match line.strip_suffix('\n') {
                Some(line) => line.strip_suffix('\r').is_some_and(|line| !line.contains('\r')),
                None => !line.strip_suffix('\r').unwrap_or(line).contains('\r'),
            });
            let expected = if is_strict { Ok(whole.as_ref().map(String::len)) } else { Err(StrayLineEnd) };
            prop_assert_eq!(head_len(text.as_bytes()), expected);
        }
    }
}
