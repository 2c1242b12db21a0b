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
        self.elements(name).any(|candidate| candidate.eq_ignore_ascii_case(element))
    }

    /// The fields that a proxy passes on: neither those of this one connection nor those that `Connection` names as such
    /// (RFC 9110 section 7.6.1).
    pub fn end_to_end(&self) -> impl Iterator<Item = &Field<'a>> {
        let nominated: SmallVec<[&str; 4]> = self.elements("connection").collect();
        let is_nominated = move |name: &str| nominated.iter().any(|option| option.eq_ignore_ascii_case(name));
        self.0.iter().filter(move |field| !is_hop_by_hop(field.name) && !is_nominated(field.name))
    }
}

/// Whether a field is about one connection only, whatever `Connection` says. `Expect` is among them because the gateway
/// answers it (RFC 9110 section 10.1.1).
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect"];
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) || begins_with(name, "proxy-")
}

/// Whether a name begins with this text, in any case.
pub(super) fn begins_with(name: &str, beginning: &str) -> bool {
    name.as_bytes().get(..beginning.len()).is_some_and(|own| own.eq_ignore_ascii_case(beginning.as_bytes()))
}

/// Checks where httparse is lenient: each line ends with CRLF, and neither sign stands alone.
pub(super) fn has_strict_lines(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', bytes).all(|at| match bytes[at] {
        b'\r' => bytes.get(at + 1).is_none_or(|&next| next == b'\n'),
        _ => at > 0 && bytes[at - 1] == b'\r',
    })
}

/// Digits and nothing else (RFC 9110 section 8.6).
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(value).ok()?.parse().ok() } else { None }
}
