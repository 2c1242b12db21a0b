//! A name from the application, such as a user's name or a segment of a path, as one token of a subject, and back.
//!
//! ```text
//!  ann              ann                  most names are tokens already
//!  ann@example.org  ann@example%2Eorg    a dot would end the token
//!  a b              a%20b                white space ends the name of a subject
//!  *                %2A                  a wildcard would stand for every name
//!  100%             100%25               so that no two names have one token
//! ```
//!
//! The escapes are those of URLs (RFC 3986 section 2.1), with upper-case digits, over the bytes of UTF-8. All other characters
//! stay as they are, letters of every script included. Each name has one token, and each token that [`encode`] writes one
//! name; [`decode`] takes no others.

use std::borrow::Cow;
use std::fmt;

use crate::limits::SUBJECT_BYTES_MAX;

/// The reason why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameError {
    Empty,
    /// Its token is too long.
    TooLong {
        bytes_max: usize,
    },
    /// It could not be written in a header or in a line of a log.
    ControlCharacter,
}

/// The token of a name. Allocates nothing for a name that is already a token.
pub fn encode(name: &str) -> Result<Cow<'_, str>, NameError> {
    const TOO_LONG: NameError = NameError::TooLong { bytes_max: SUBJECT_BYTES_MAX };
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    // A token is never shorter than its name, so a name that is too long is refused at once.
    if name.len() > SUBJECT_BYTES_MAX {
        return Err(TOO_LONG);
    }
    if !name.chars().any(is_escaped) {
        return Ok(Cow::Borrowed(name));
    }
    let mut token = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if is_escaped(character) {
            push_escapes(&mut token, character);
        } else {
            token.push(character);
        }
    }
    if token.len() > SUBJECT_BYTES_MAX { Err(TOO_LONG) } else { Ok(Cow::Owned(token)) }
}

/// The name of a token; `None` for a text that [`encode`] never writes.
pub fn decode(token: &str) -> Option<Cow<'_, str>> {
    let name = match token.contains('%') {
        false => Cow::Borrowed(token),
        true => Cow::Owned(unescape(token)?),
    };
    (encode(&name).ok()? == token).then_some(name)
}

/// Characters that separate tokens, stand for them, end a subject, or begin an escape.
fn is_escaped(character: char) -> bool {
    matches!(character, '.' | '*' | '>' | '%') || character.is_whitespace()
}

fn push_escapes(token: &mut String, character: char) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        let digits = [byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)]));
        token.extend(['%', digits[0], digits[1]]);
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        bytes.push(if byte == b'%' { (digit()? << 4 | digit()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name cannot be empty"),
            NameError::TooLong { bytes_max } => {
                write!(f, "a name has at most {bytes_max} bytes, its escapes included")
            }
            NameError::ControlCharacter => f.write_str("a name has no control characters"),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::subject::is_valid_token;

    #[test]
    fn a_name_becomes_one_token_and_comes_back() {
        for (name, token) in [
            ("ann", "ann"),
            ("42", "42"),
            ("auth0|7", "auth0|7"),
            ("zoë/Ω:名", "zoë/Ω:名"),
            ("ann@example.org", "ann@example%2Eorg"),
            ("a.b", "a%2Eb"),
            ("a%2Eb", "a%252Eb"),
            ("a b", "a%20b"),
            (" ", "%20"),
            ("a\u{a0}b\u{2028}", "a%C2%A0b%E2%80%A8"),
            ("*", "%2A"),
            ("a*>", "a%2A%3E"),
            ("100%", "100%25"),
        ] {
            assert_eq!(encode(name).unwrap(), token);
            assert_eq!(decode(token).unwrap(), name);
        }
        assert!(matches!(encode("ann"), Ok(Cow::Borrowed(_))), "no copy of what is a token already");
    }

    #[test]
    fn what_names_nothing_is_refused_with_the_reason() {
        assert_eq!(encode(""), Err(NameError::Empty));
        for name in ["a\nb", "\0", "a\tb", "\u{7f}", "a\u{85}"] {
            assert_eq!(encode(name), Err(NameError::ControlCharacter), "{name:?}");
        }
        let longest = "x".repeat(SUBJECT_BYTES_MAX);
        assert_eq!(encode(&longest).unwrap(), longest);
        for name in [format!("{longest}x"), ".".repeat(SUBJECT_BYTES_MAX / 3 + 1)] {
            assert_eq!(encode(&name), Err(NameError::TooLong { bytes_max: SUBJECT_BYTES_MAX }), "{name:?}");
        }
    }

    #[test]
    fn a_token_that_is_never_written_is_no_name() {
        for token in ["", "a.b", "a b", "*", "%", "%2", "a%2e", "%61", "%zz", "%+1", "%FF", "%C2", "%0A", "a%2Eb.c"] {
            assert_eq!(decode(token), None, "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_one_token_and_every_token_one_name(text in "[ .*>%a2Eé\u{a0}\u{2028}名]{0,90}|\\PC{0,90}|.{0,300}") {
            if let Ok(token) = encode(&text) {
                prop_assert!(is_valid_token(&token), "{token:?}");
                prop_assert_eq!(decode(&token).unwrap(), &*text);
            }
            // And the reverse: a token that decodes is the token of the decoded name.
            if let Some(name) = decode(&text) {
                prop_assert_eq!(encode(&name).unwrap(), &*text);
            }
        }
    }
}
