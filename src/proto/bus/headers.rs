//! The block of header lines that HPUB and HMSG carry before the payload.
//!
//! ```text
//!  NATS/1.0 [status [words]]\r\n
//!  Name: value\r\n                 any number of times; a name may come again
//!  \r\n
//! ```
//!
//! After NATS' ADR-4: a name is visible ASCII without a colon; a value is one line. Values here may be any UTF-8.

use std::str;

use memchr::{memchr3, memmem};

const VERSION: &str = "NATS/1.0";
const LINE_END: &str = "\r\n";
/// Enough for the gateway's headers of a client's message.
const BYTES_EXPECTED: usize = 192;

/// Whether `block` is one complete header block.
pub fn is_valid(block: &[u8]) -> bool {
    let Ok(block) = simdutf8::basic::from_utf8(block) else { return false };
    let Some(rest) = block.strip_prefix(VERSION) else { return false };
    let Some((status, fields)) = rest.split_once(LINE_END) else { return false };
    if !(status.is_empty() || status.starts_with(' ')) || !is_valid_value(status) {
        return false;
    }
    let Some(fields) = fields.strip_suffix(LINE_END) else { return false };
    fields.is_empty() || fields.strip_suffix(LINE_END).is_some_and(|fields| fields.split(LINE_END).all(is_valid_field))
}

fn is_valid_field(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, value)| is_valid_name(name) && is_valid_value(value))
}

/// Whether `name` is valid for a header.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Whether `value` is valid for a header.
pub fn is_valid_value(value: &str) -> bool {
    !value.contains(['\r', '\n', '\0'])
}

/// The first value of the header `name`, in any case, without surrounding white space; `None` if [`is_valid_value`]
/// refuses it. `block` comes from a worker and may be malformed: lines are read as long as they are valid.
pub fn lookup<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    let mut rest = after_line(block)?;
    while !rest.starts_with(LINE_END.as_bytes()) {
        let (line, next) = rest.split_at(memmem::find(rest, LINE_END.as_bytes())?);
        let value = line.get(name.len()..).and_then(|value| value.strip_prefix(b":"));
        if let Some(value) = value
            && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        {
            return str::from_utf8(value.trim_ascii()).ok().filter(|value| is_valid_value(value));
        }
        rest = &next[LINE_END.len()..];
    }
    None
}

/// The status in the first line of a block, such as 503; `None` if it has none.
pub fn status(block: &[u8]) -> Option<u16> {
    let line = &block[..memmem::find(block, LINE_END.as_bytes())?];
    let text = str::from_utf8(line).ok()?.strip_prefix(VERSION)?.trim_ascii();
    text.split(' ').next()?.parse().ok()
}

fn after_line(block: &[u8]) -> Option<&[u8]> {
    memmem::find(block, LINE_END.as_bytes()).map(|end| &block[end + LINE_END.len()..])
}

/// The valid `block` with one more header at its end.
pub fn with(block: &[u8], name: &str, value: &str) -> Box<[u8]> {
    let fields = block.strip_suffix(LINE_END.as_bytes()).unwrap_or(block);
    let mut more = HeaderBlock { bytes: fields.to_vec() };
    more.push(name, value);
    more.finish()
}

/// Writes a header block.
#[derive(Debug)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
}

impl HeaderBlock {
    pub fn new() -> HeaderBlock {
        let mut bytes = Vec::with_capacity(BYTES_EXPECTED);
        bytes.extend_from_slice(VERSION.as_bytes());
        bytes.extend_from_slice(LINE_END.as_bytes());
        HeaderBlock { bytes }
    }

    /// The same with a status in its first line, such as `200 Words`.
    pub fn with_status(status: &str) -> HeaderBlock {
        HeaderBlock { bytes: format!("{VERSION} {status}{LINE_END}").into_bytes() }
    }

    /// Adds a header. Line ends in `value` become spaces, so that no value can forge a header. `name` must be valid
    /// ([`is_valid_name`]): names come from the caller, never from a peer.
    pub fn push(&mut self, name: &str, value: &str) {
        debug_assert!(is_valid_name(name), "a header is named by the gateway");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value.as_bytes());
        while let Some(at) = memchr3(b'\r', b'\n', b'\0', &self.bytes[start..]) {
            self.bytes[start + at] = b' ';
        }
        self.bytes.extend_from_slice(LINE_END.as_bytes());
    }

    /// Whether it has no header yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == VERSION.len() + LINE_END.len()
    }

    pub fn finish(mut self) -> Box<[u8]> {
        self.bytes.extend_from_slice(LINE_END.as_bytes());
        self.bytes.into()
    }
}

impl Default for HeaderBlock {
    fn default() -> HeaderBlock {
        HeaderBlock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_is_a_version_lines_and_an_empty_line() {
        for good in [
            "NATS/1.0\r\n\r\n",
            "NATS/1.0 503\r\n\r\n",
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n",
            "NATS/1.0\r\nA: b\r\nA:c\r\nB:\r\nC: d: e\r\nD: \u{e9}\r\n\r\n",
        ] {
            assert!(is_valid(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "",
            "hello",
            "NATS/1.0",
            "NATS/1.0\r\n",
            "NATS/1.0\n\n",
            "NATS/1.1\r\n\r\n",
            "NATS/1.05\r\n\r\n",
            "nats/1.0\r\n\r\n",
            "NATS/1.0\r\n\r\n\r\n",
            "NATS/1.0\r\nA: b\r\n",
            "NATS/1.0\r\nA: b\n\r\n\r\n",
            "NATS/1.0\r\nA: b\r\r\n\r\n",
            "NATS/1.0\r\nA\r\n\r\n",
            "NATS/1.0\r\n: b\r\n\r\n",
            "NATS/1.0\r\n A: b\r\n\r\n",
            "NATS/1.0\r\nA : b\r\n\r\n",
            "NATS/1.0\r\nA: b\r\n\r\nB: c\r\n\r\n",
            "NATS/1.0 5\n03\r\n\r\n",
            "NATS/1.0\r\nA: \0\r\n\r\n",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_valid(b"NATS/1.0\r\nA: \xff\r\n\r\n"));
    }

    #[test]
    fn looks_headers_up_in_any_case_and_trims_them() {
        let block =
            b"NATS/1.0 200 fine\r\nTg-Event:  move \r\nTg-Eventual: x\r\ntg-key:a:b\r\nEmpty:\r\nTg-Event: 2\r\n\r\n";
        assert!(is_valid(block));
        for (name, value) in [
            ("Tg-Event", Some("move")),
            ("TG-EVENT", Some("move")),
            ("Tg-Key", Some("a:b")),
            ("Empty", Some("")),
            ("Tg", None),
            ("NATS/1.0", None),
            ("", None),
        ] {
            assert_eq!(lookup(block, name), value, "{name}");
        }
    }

    #[test]
    fn a_value_cannot_forge_a_header() {
        let mut block = HeaderBlock::new();
        block.push("A", "b\r\nC: d\0");
        let block = block.finish();
        assert_eq!(&block[..], b"NATS/1.0\r\nA: b  C: d \r\n\r\n");
        assert_eq!(lookup(&block, "C"), None);
    }

    #[test]
    fn a_header_is_added_at_the_end() {
        for block in [&b"NATS/1.0\r\n\r\n"[..], b"NATS/1.0\r\nA: b\r\n\r\n"] {
            let more = with(block, "C", "d");
            assert!(is_valid(&more) && more.ends_with(b"\r\nC: d\r\n\r\n"));
            assert_eq!(lookup(&more, "A"), lookup(block, "A"));
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_valid_and_found(value in any::<String>()) {
            let mut block = HeaderBlock::new();
            block.push("First", "1");
            block.push("Name", &value);
            let block = block.finish();
            prop_assert!(is_valid(&block));
            let harmless = value.replace(['\r', '\n', '\0'], " ");
            prop_assert_eq!(lookup(&block, "name"), Some(harmless.trim_matches([' ', '\t', '\x0C'])));
        }

        #[test]
        fn lookup_survives_anything(block in any::<Vec<u8>>(), name in "[a-z]{0,3}") {
            lookup(&block, &name);
            is_valid(&block);
        }
    }
}
