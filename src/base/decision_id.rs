//! The id of a decision that the application is asked for: the node, if the gateway has one; the shard that waits; and a number.

use std::fmt;
use std::str::FromStr;

use super::{NodeId, Place};

/// The text is 18 hexadecimal digits, after those of the node and a dot, if there is a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId {
    /// The shard that waits for it: its number fits eight bits.
    pub place: Place,
    number: u64,
    node: Option<NodeId>,
}

/// Digits of the place and the number.
const DIGITS: usize = 18;

impl DecisionId {
    pub fn new(node: Option<NodeId>, place: Place, number: u64) -> DecisionId {
        DecisionId { place, number, node }
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(f, "{node}.")?;
        }
        write!(f, "{:02x}{:016x}", self.place.0, self.number)
    }
}

/// The text is not 18 hexadecimal digits in lower case, with or without a node before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADecisionId;

impl FromStr for DecisionId {
    type Err = NotADecisionId;

    fn from_str(text: &str) -> Result<DecisionId, NotADecisionId> {
        let (node, rest) = NodeId::split(text);
        // Each id has one text: one that differs in case is another name.
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if rest.len() != DIGITS || !rest.bytes().all(is_digit) {
            return Err(NotADecisionId);
        }
        let (place, number) = rest.split_at(2);
        let place = u16::from_str_radix(place, 16).map(Place);
        let number = u64::from_str_radix(number, 16);
        match (place, number) {
            (Ok(place), Ok(number)) => Ok(DecisionId { place, number, node }),
            _ => Err(NotADecisionId),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let alone = DecisionId::new(None, Place(255), 0x12);
        assert_eq!(alone.to_string(), "ff0000000000000012");
        let at_node = DecisionId::new(NodeId::new(0xa), Place(1), u64::MAX);
        assert_eq!(at_node.to_string(), "0000000a.01ffffffffffffffff");
        for id in [alone, at_node] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "ff", "FF0000000000000012", "+f0000000000000012", "a.ff0000000000000012", "ff00000000000000120"]
        {
            assert_eq!(bad.parse::<DecisionId>(), Err(NotADecisionId), "{bad}");
        }
    }
}
