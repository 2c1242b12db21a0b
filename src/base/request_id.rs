//! The name of an accepted request: where it is kept, and a secret.

use std::fmt;
use std::str::FromStr;

use super::Place;

/// Written as 34 hexadecimal digits it is the id that the client gets. Whoever knows it may read the result, so it is as hard
/// to guess as a key of AES-128.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    /// The shard that keeps the request: its number fits eight bits.
    pub place: Place,
    secret: u128,
}

/// Digits of the text.
const DIGITS: usize = 34;

impl RequestId {
    pub fn new(place: Place, secret: u128) -> RequestId {
        RequestId { place, secret }
    }

    /// The request whose id is the last token of a subject: its channel may have been named after it.
    pub fn in_subject(subject: &str) -> Option<RequestId> {
        let at = subject.len().checked_sub(DIGITS)?;
        let id = subject.get(at..)?.parse().ok()?;
        (at == 0 || subject.as_bytes()[at - 1] == b'.').then_some(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:032x}", self.place.0, self.secret)
    }
}

impl fmt::Debug for RequestId {
    /// Without the secret: logs are read by others than the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:02x}…)", self.place.0)
    }
}

/// The text is not 34 hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARequestId;

impl FromStr for RequestId {
    type Err = NotARequestId;

    fn from_str(text: &str) -> Result<RequestId, NotARequestId> {
        // One text for each id: what differs in case is another name.
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return Err(NotARequestId);
        }
        let (place, secret) = text.split_at(2);
        let place = u16::from_str_radix(place, 16).map_err(|_| NotARequestId)?;
        let secret = u128::from_str_radix(secret, 16).map_err(|_| NotARequestId)?;
        Ok(RequestId { place: Place(place), secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { place: Place(255), secret: 0x0123 << 112 | 0xff };

    #[test]
    fn an_id_survives_its_text() {
        let text = ID.to_string();
        assert_eq!(text, format!("ff0123{}ff", "0".repeat(26)));
        assert_eq!(text.parse(), Ok(ID));
        for bad in ["", "ff", &text[1..], &format!("{text}0"), &text.to_uppercase(), &format!("+{}", &text[1..])] {
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
        ] {
            assert_eq!(RequestId::in_subject(&subject), expected, "{subject}");
        }
    }

    #[test]
    fn keeps_its_secret_from_logs() {
        assert_eq!(format!("{ID:?}"), "RequestId(ff…)");
    }
}
