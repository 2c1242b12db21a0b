//! The node of a gateway, in the ids of its connections and requests.
//!
//! ```text
//!  without a node    tg.conn.0000000700000002             ids as they are: one gateway has given them all
//!  with one          tg.conn.5a17c0de.0000000700000002    the node is a token of its own
//! ```
//!
//! The node is a part of the ids that leave the gateway, [`ConnId`](super::ConnId) and [`RequestId`](super::RequestId),
//! and of nothing else: an [`Address`](super::Address) is valid within its gateway. The text of an id shows its node,
//! so ids are parsed, and messages routed, without knowing the gateway's own node. That is compared once, at the
//! destination: the connection's shard compares the nodes (`shard::deliver`), and the keeper of requests looks up the
//! whole id. So an id of another node, or one without a node where the gateway has one, names nothing here, even if its
//! other digits match.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Written as eight hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NonZeroU32);

/// Digits of the text.
const DIGITS: usize = 8;

impl NodeId {
    /// The node with this number; `None` for 0.
    pub fn new(number: u32) -> Option<NodeId> {
        NonZeroU32::new(number).map(NodeId)
    }

    /// The digits of its text.
    pub(super) fn digits(self) -> [u8; DIGITS] {
        std::array::from_fn(|index| hex_digit(self.0.get() >> (28 - 4 * index)))
    }

    /// Takes a node and the dot after it off the front of an id's text, if there is one.
    pub(super) fn split(text: &str) -> (Option<NodeId>, &str) {
        let has_dot = text.as_bytes().get(DIGITS) == Some(&b'.');
        let node = if has_dot { text.get(..DIGITS).and_then(|digits| digits.parse().ok()) } else { None };
        (node, if node.is_some() { &text[DIGITS + 1..] } else { text })
    }

    /// The same at the end of a text: a node that is the last token.
    pub(super) fn last_token(text: &str) -> Option<NodeId> {
        let at = text.len().checked_sub(DIGITS)?;
        let node = text.get(at..)?.parse().ok()?;
        (at == 0 || text.as_bytes()[at - 1] == b'.').then_some(node)
    }
}

/// The digit of the lowest four bits.
pub(super) fn hex_digit(bits: u32) -> u8 {
    b"0123456789abcdef"[bits as usize % 16]
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The text is not eight hexadecimal digits in lower case, or all of them are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANode;

impl FromStr for NodeId {
    type Err = NotANode;

    fn from_str(text: &str) -> Result<NodeId, NotANode> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return Err(NotANode);
        }
        u32::from_str_radix(text, 16).ok().and_then(NodeId::new).ok_or(NotANode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_survives_its_text() {
        let node = NodeId::new(0x5a17_c0de).unwrap();
        assert_eq!((node.to_string().as_str(), node.to_string().parse()), ("5a17c0de", Ok(node)));
        assert_eq!(str::from_utf8(&node.digits()), Ok("5a17c0de"));
        assert_eq!(NodeId::new(7).unwrap().to_string(), "00000007");
        assert_eq!(NodeId::new(0), None);
        for bad in ["", "00000000", "5A17C0DE", "5a17c0d", "5a17c0de0", "+a17c0de", "5a17c0dx"] {
            assert_eq!(bad.parse::<NodeId>(), Err(NotANode), "{bad}");
        }
    }

    #[test]
    fn is_taken_off_the_front_with_its_dot_alone() {
        let node = NodeId::new(0x5a17_c0de);
        for (text, expected) in [
            ("5a17c0de.rest", (node, "rest")),
            ("5a17c0de.", (node, "")),
            ("5a17c0de", (None, "5a17c0de")),
            ("5a17c0de0.rest", (None, "5a17c0de0.rest")),
            ("5A17C0DE.rest", (None, "5A17C0DE.rest")),
            ("éééé.rest", (None, "éééé.rest")),
            ("", (None, "")),
        ] {
            assert_eq!(NodeId::split(text), expected, "{text}");
        }
    }
}
