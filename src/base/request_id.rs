//! The id of an accepted request: the node, if the gateway has one; the shard that keeps the request; and a secret.

use std::fmt;
use std::str::FromStr;

use super::{NodeId, Place};

/// The text is the id that the client gets: 34 hexadecimal digits, after those of the node and a dot, if there is a
/// node. Knowing it is the right to read the result, so it is as hard to guess as a key of AES-128.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    /// The shard that keeps the request: its number fits eight bits.
    pub place: Place,
    secret: u128,
    node: Option<NodeId>,
}

const _: () = assert!(size_of::<RequestId>() == 32, "a node takes no room");

/// Digits of the place and the secret.
const DIGITS: usize = 34;
/// A dot in a token (`proto::name`).
const ESCAPED_DOT: &str = "%2E";

impl RequestId {
    pub fn new(node: Option<NodeId>, place: Place, secret: u128) -> RequestId {
        RequestId { place, secret, node }
    }

    /// The request whose id is the last token of a subject: the channel may be named after it.
    pub fn in_subject(subject: &str) -> Option<RequestId> {
        let at = subject.len().checked_sub(DIGITS)?;
        let id = RequestId::without_node(subject.get(at..)?)?;
        match &subject[..at] {
            before if before.is_empty() || before.ends_with('.') => Some(id),
            before => {
                let node = NodeId::last_token(before.strip_suffix(ESCAPED_DOT)?)?;
                Some(RequestId { node: Some(node), ..id })
            }
        }
    }

    fn without_node(text: &str) -> Option<RequestId> {
        // Each id has one text: one that differs in case is another name.
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return None;
        }
        let (place, secret) = text.split_at(2);
        let place = Place(u16::from_str_radix(place, 16).ok()?);
        Some(RequestId { place, secret: u128::from_str_radix(secret, 16).ok()?, node: None })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(f, "{node}.")?;
        }
        write!(f, "{:02x}{:032x}", self.place.0, self.secret)
    }
}

impl fmt::Debug for RequestId {
    /// Without the secret: others than the client read logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:02x}…)", self.place.0)
    }
}

/// The text is not 34 hexadecimal digits in lower case, with or without a node before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARequestId;

impl FromStr for RequestId {
    type Err = NotARequestId;

    fn from_str(text: &str) -> Result<RequestId, NotARequestId> {
        let (node, rest) = NodeId::split(text);
        RequestId::without_node(rest).map(|id| RequestId { node, ..id }).ok_or(NotARequestId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { place: Place(255), secret: 0x0123 << 112 | 0xff, node: None };

    fn at_node() -> RequestId {
        RequestId { node: NodeId::new(0xa), ..ID }
    }

    #[test]
    fn an_id_survives_its_text() {
        let text = ID.to_string();
        assert_eq!(text, format!("ff0123{}ff", "0".repeat(26)));
        assert_eq!(text.parse(), Ok(ID));
        for bad in ["", "ff", &text[1..], &format!("{text}0"), &text.to_uppercase(), &format!("+{}", &text[1..])] {
            assert_eq!(bad.parse::<RequestId>(), Err(NotARequestId), "{bad}");
        }
        assert_eq!(at_node().to_string(), format!("0000000a.{text}"));
        assert_eq!(at_node().to_string().parse(), Ok(at_node()));
        for bad in [format!("a.{text}"), format!(".{text}"), format!("0000000A.{text}"), format!("00000000.{text}")] {
            assert_eq!(bad.parse::<RequestId>(), Err(NotARequestId), "{bad}");
        }
    }

    #[test]
    fn is_found_as_the_last_token_of_a_subject() {
        for (subject, expected) in [
            (format!("request.{ID}"), Some(ID)),
            (ID.to_string(), Some(ID)),
            (format!("request.x{ID}"), None),
            (format!("request.{ID}.x"), None),
            ("request.é".to_owned(), None),
            ("é".repeat(20), None),
            (format!("request.0000000a%2E{ID}"), Some(at_node())),
            (format!("0000000a%2E{ID}"), Some(at_node())),
            (format!("request.x0000000a%2E{ID}"), None),
            (format!("request.a%2E{ID}"), None),
            (format!("é%2E{ID}"), None),
        ] {
            assert_eq!(RequestId::in_subject(&subject), expected, "{subject}");
        }
    }

    #[test]
    fn keeps_its_secret_from_logs() {
        assert_eq!(format!("{ID:?}"), "RequestId(ff…)");
    }
}
