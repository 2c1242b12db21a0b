//! The id of a connection outside its gateway: its address, and the node, if the gateway has one.

use std::fmt;
use std::str::FromStr;

use super::node::hex_digit;
use super::{Address, Key, NodeId, Place};

/// The text of `tg.conn.<id>` and of the header `Tg-Conn`: the 16 hexadecimal digits of the [`Address`], after those of
/// the node and a dot, if there is a node. Four bytes smaller than address and node apart, because every message to a
/// connection carries one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnId {
    node: Option<NodeId>,
    /// The halves of [`Address::to_bits`].
    high: u32,
    low: u32,
}

const _: () = assert!(size_of::<ConnId>() == size_of::<Address>());

/// Digits of the address.
const DIGITS: usize = 16;
/// Their index after a node.
const DIGITS_AT: usize = 9;

impl ConnId {
    pub fn new(node: Option<NodeId>, address: Address) -> ConnId {
        let bits = address.to_bits();
        ConnId { node, high: (bits >> 32) as u32, low: bits as u32 }
    }

    pub fn node(self) -> Option<NodeId> {
        self.node
    }

    /// The address within the gateway of that node.
    pub fn address(self) -> Address {
        Address::from_bits(self.bits())
    }

    pub fn place(self) -> Place {
        self.address().place
    }

    pub fn key(self) -> Key {
        self.address().key
    }

    fn bits(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// Parses the id at the front of a subject; returns the tokens after it too.
    pub fn split(text: &str) -> Option<(ConnId, Option<&str>)> {
        let (node, rest) = NodeId::split(text);
        let (digits, words) = match rest.split_once('.') {
            Some((digits, words)) => (digits, Some(words)),
            None => (rest, None),
        };
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let bits = u64::from_str_radix(digits, 16).ok()?;
        Some((ConnId::new(node, Address::from_bits(bits)), words))
    }

    // Each message of a client has the id for the answer, so this avoids the machinery of `{:016x}`, and allocates
    // nothing.
    pub fn text(self) -> ConnIdText {
        let mut bytes = [b'.'; DIGITS_AT + DIGITS];
        for (index, digit) in bytes[DIGITS_AT..].iter_mut().enumerate() {
            *digit = hex_digit((self.bits() >> (60 - 4 * index)) as u32);
        }
        if let Some(node) = self.node {
            bytes[..DIGITS_AT - 1].copy_from_slice(&node.digits());
        }
        ConnIdText { bytes, has_node: self.node.is_some() }
    }
}

/// See [`ConnId::text`].
#[derive(Clone, Copy)]
pub struct ConnIdText {
    bytes: [u8; DIGITS_AT + DIGITS],
    has_node: bool,
}

impl ConnIdText {
    pub fn as_str(&self) -> &str {
        let written = &self.bytes[if self.has_node { 0 } else { DIGITS_AT }..];
        // Digits and a dot are valid UTF-8.
        str::from_utf8(written).unwrap_or_default()
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 16 hexadecimal digits, with or without a node before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAConnId;

impl FromStr for ConnId {
    type Err = NotAConnId;

    fn from_str(text: &str) -> Result<ConnId, NotAConnId> {
        match ConnId::split(text) {
            Some((id, None)) => Ok(id),
            _ => Err(NotAConnId),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address = Address { place: Place(255), key: Key { slot: 0x1234_5678, generation: 0xAB_CDEF } };

    #[test]
    fn an_id_survives_its_text() {
        let nodes = [(None, "ffabcdef12345678"), (NodeId::new(0xa), "0000000a.ffabcdef12345678")];
        for (node, text) in nodes {
            let id = ConnId::new(node, ADDRESS);
            assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
            assert_eq!((id.node(), id.address()), (node, ADDRESS));
        }
        for bad in [
            "",
            "12",
            "+fabcdef12345678",
            "ffabcdef123456789",
            "0000000a.12",
            "00000000.ffabcdef12345678",
            "0000000A.ffabcdef12345678",
            "a.ffabcdef12345678",
            ".ffabcdef12345678",
            "0000000a.0000000b.ffabcdef12345678",
            "ffabcdef12345678.close",
        ] {
            assert_eq!(bad.parse::<ConnId>(), Err(NotAConnId), "{bad}");
        }
    }

    #[test]
    fn what_follows_an_id_is_told_from_it() {
        for (text, words) in [
            ("ffabcdef12345678.close", Some("close")),
            ("ffabcdef12345678.", Some("")),
            ("ffabcdef12345678", None),
            ("ffabcdef12345678.answer.7", Some("answer.7")),
        ] {
            assert_eq!(ConnId::split(text), Some((ConnId::new(None, ADDRESS), words)), "{text}");
            let (with_node, node) = (format!("0000000a.{text}"), NodeId::new(0xa));
            assert_eq!(ConnId::split(&with_node), Some((ConnId::new(node, ADDRESS), words)), "{with_node}");
        }
    }
}
