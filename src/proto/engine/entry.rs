//! The text of a message in the engine: one string, which is kept and pushed as it is.
//!
//! ```text
//!  \x01<epoch> <offset> <unix ms> <n>[ <node> <connection>]\n<n bytes of headers><payload>
//!     |          |         |       |     |        '-- the publisher, where it does not want to hear its own message: 16 hexadecimal
//!     |          |         |       |     '-- its gateway: 8 hexadecimal digits
//!     |          |         |       '-- 0: the message has no header block
//!     |          |         '-- by the clock of the engine
//!     |          '-- 0 in a channel without history
//!     '-- 8 hexadecimal digits; `-` in a channel without history
//! ```
//!
//! The part behind the time is the *body*: the publisher writes it, and the engine puts the rest before it. A string whose first
//! byte is not 1 is a payload alone, as a service publishes it. Strings come from whatever can write to the engine, so they are
//! as hostile as the bytes of a client.

use std::str;

use memchr::memchr;

use crate::limits::ENTRY_LINE_BYTES_MAX;
use crate::proto::bus::headers;
use crate::proto::event::{Message, Position};

/// The first byte of an entry that is not a payload alone.
const MARK: u8 = 1;
/// The epoch of an entry without a position.
const NO_EPOCH: &str = "-";

/// A message of the engine, in the string that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineEntry<'a> {
    /// `None` in a channel without history.
    pub position: Option<Position>,
    /// Milliseconds since 1970, by the clock of the engine; 0 if that is not known.
    pub published_ms: u64,
    /// The publisher, if it does not want to hear the message.
    pub origin: Option<EntryOrigin>,
    pub headers: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

/// A connection, and its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryOrigin {
    pub node: u32,
    /// Those of its `Address`.
    pub connection: u64,
}

/// The string is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEntry;

impl<'a> EngineEntry<'a> {
    pub fn parse(text: &'a [u8]) -> Result<EngineEntry<'a>, NotAnEntry> {
        let Some((&MARK, rest)) = text.split_first() else {
            return Ok(EngineEntry { position: None, published_ms: 0, origin: None, headers: None, payload: text });
        };
        let line_end = memchr(b'\n', &rest[..rest.len().min(ENTRY_LINE_BYTES_MAX)]).ok_or(NotAnEntry)?;
        let line = str::from_utf8(&rest[..line_end]).map_err(|_| NotAnEntry)?;
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(NotAnEntry);
        let (epoch, offset, published_ms, size) = (word()?, decimal(word()?)?, decimal(word()?)?, decimal(word()?)?);
        let origin = match words.next() {
            None => None,
            Some(node) => {
                let node = u32::try_from(hexadecimal(node, 8)?).map_err(|_| NotAnEntry)?;
                Some(EntryOrigin { node, connection: hexadecimal(words.next().ok_or(NotAnEntry)?, 16)? })
            }
        };
        if words.next().is_some() {
            return Err(NotAnEntry);
        }
        let position = match (epoch, offset) {
            (NO_EPOCH, 0) => None,
            (_, 0) => return Err(NotAnEntry),
            (epoch, offset) => {
                let epoch = u32::try_from(hexadecimal(epoch, 8)?).map_err(|_| NotAnEntry)?;
                Some(Position { epoch, offset })
            }
        };
        let size = usize::try_from(size).map_err(|_| NotAnEntry)?;
        let (headers, payload) = rest[line_end + 1..].split_at_checked(size).ok_or(NotAnEntry)?;
        let headers = (!headers.is_empty()).then_some(headers);
        if headers.is_some_and(|block| !headers::is_valid(block)) {
            return Err(NotAnEntry);
        }
        Ok(EngineEntry { position, published_ms, origin, headers, payload })
    }
}

/// The body of a message with history.
pub fn body(message: &Message, origin: Option<EntryOrigin>) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.bytes() + ENTRY_LINE_BYTES_MAX);
    write_body(message, origin, &mut out);
    out
}

/// The entry of a message without history: its payload alone, if that says everything.
pub fn without_position(message: &Message, origin: Option<EntryOrigin>, now_ms: u64) -> Vec<u8> {
    if message.headers.is_none() && origin.is_none() && message.payload.first() != Some(&MARK) {
        return message.payload.to_vec();
    }
    let mut out = Vec::with_capacity(message.bytes() + ENTRY_LINE_BYTES_MAX);
    out.push(MARK);
    out.extend_from_slice(format!("{NO_EPOCH} 0 {now_ms} ").as_bytes());
    write_body(message, origin, &mut out);
    out
}

fn write_body(message: &Message, origin: Option<EntryOrigin>, out: &mut Vec<u8>) {
    // A block that is not valid would cost the whole message at its receivers.
    let block = message.headers.as_deref().filter(|block| headers::is_valid(block)).unwrap_or_default();
    out.extend_from_slice(block.len().to_string().as_bytes());
    if let Some(EntryOrigin { node, connection }) = origin {
        out.extend_from_slice(format!(" {node:08x} {connection:016x}").as_bytes());
    }
    out.push(b'\n');
    out.extend_from_slice(block);
    out.extend_from_slice(&message.payload);
}

fn decimal(word: &str) -> Result<u64, NotAnEntry> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_number).ok_or(NotAnEntry)
}

fn hexadecimal(word: &str, digits: usize) -> Result<u64, NotAnEntry> {
    let is_number = word.len() == digits && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(word, 16).ok().filter(|_| is_number).ok_or(NotAnEntry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::subject::Subject;

    fn message(headers: Option<&str>, payload: &[u8]) -> Message {
        let headers = headers.map(|fields| format!("NATS/1.0\r\n{fields}\r\n").into_bytes().into());
        Message::new(Subject::new("room.1").unwrap(), None, headers, payload.into())
    }

    /// An entry as the engine composes it.
    fn composed(position: Position, body: &[u8]) -> Vec<u8> {
        let mut text = format!("\x01{:08x} {} 1700000000000 ", position.epoch, position.offset).into_bytes();
        text.extend_from_slice(body);
        text
    }

    #[test]
    fn a_payload_alone_is_a_message() {
        for payload in [&b""[..], b"{}", b"\0\x01", &[0xff; 300]] {
            let text = without_position(&message(None, payload), None, 7);
            assert_eq!(text, payload);
            let entry = EngineEntry::parse(&text).unwrap();
            assert_eq!((entry.payload, entry.headers, entry.position, entry.published_ms), (payload, None, None, 0));
        }
        let marked = without_position(&message(None, b"\x01x"), None, 7);
        assert_eq!(marked, b"\x01- 0 7 0\n\x01x");
        assert_eq!(EngineEntry::parse(&marked).unwrap().payload, b"\x01x");
    }

    #[test]
    fn whatever_is_no_entry_is_refused() {
        for text in [
            "\x01",
            "\x01\n",
            "\x01- 0 0\n",
            "\x01- 0 0 0",
            "\x01- 0 0 1\n",
            "\x01- 1 0 0\n",
            "\x0100000001 0 0 0\n",
            "\x0100000001 1 0 0 00000001\n",
            "\x0100000001 1 0 0 00000001 1\n",
            "\x0100000001 1 0 0 00000001 0000000000000001 \n",
            "\x0100000001 1 0 +0\n",
            "\x01+0000001 1 0 0\n",
            "\x010000001 1 0 0\n",
            "\x0100000001  1 0 0\n",
            "\x0100000001 18446744073709551616 0 0\n",
            "\x0100000001 1 0 18446744073709551615\n",
            "\x0100000001 1 0 4\nabcd",
            "\x0100000001 1 0 12\nNATS/1.0\r\n\r",
        ] {
            assert_eq!(EngineEntry::parse(text.as_bytes()), Err(NotAnEntry), "{text:?}");
        }
        let endless = format!("\x01{} 1 0 0\n", "0".repeat(ENTRY_LINE_BYTES_MAX));
        assert_eq!(EngineEntry::parse(endless.as_bytes()), Err(NotAnEntry));
    }

    #[test]
    fn a_block_of_headers_that_is_not_valid_does_not_cost_the_message() {
        let broken = Message::new(Subject::new("a").unwrap(), None, Some((*b"nonsense").into()), (*b"x").into());
        assert_eq!(body(&broken, None), b"0\nx");
    }

    #[test]
    fn the_longest_line_is_within_its_bound() {
        let origin = EntryOrigin { node: u32::MAX, connection: u64::MAX };
        let body = body(&message(None, b""), Some(origin));
        let line = format!("\x01{:08x} {} {} {}", u32::MAX, u64::MAX, u64::MAX, usize::MAX);
        assert!(line.len() + body.len() <= ENTRY_LINE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_was_written(
            epoch in any::<u32>(), offset in 1..u64::MAX, node in any::<u32>(), connection in any::<u64>(),
            (has_headers, has_origin) in any::<(bool, bool)>(), payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let message = message(has_headers.then_some("Tg-Event: x\r\n"), &payload);
            let origin = has_origin.then_some(EntryOrigin { node, connection });
            let position = Position { epoch, offset };
            let text = composed(position, &body(&message, origin));
            let entry = EngineEntry::parse(&text).unwrap();
            prop_assert_eq!(entry, EngineEntry {
                position: Some(position),
                published_ms: 1_700_000_000_000,
                origin,
                headers: message.headers.as_deref(),
                payload: &payload,
            });
            let bare = without_position(&message, origin, 5);
            let entry = EngineEntry::parse(&bare).unwrap();
            prop_assert_eq!((entry.position, entry.origin), (None, origin));
            prop_assert_eq!((entry.headers, entry.payload), (message.headers.as_deref(), &payload[..]));
        }

        #[test]
        fn no_string_breaks_the_parser(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = EngineEntry::parse(&text);
            let mut marked = b"\x0100000001 1 0 ".to_vec();
            marked.extend_from_slice(&text);
            let _ = EngineEntry::parse(&marked);
        }
    }
}
