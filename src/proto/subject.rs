//! Subjects and patterns: the names of channels, as NATS has them.
//!
//! ```text
//!  driver.location.42      a subject: tokens with dots between them
//!  driver.*.42             a pattern: `*` stands for exactly one token
//!  driver.>                a pattern: `>` stands for all the tokens that follow, at least one
//! ```
//!
//! A wildcard is a token of its own; inside a longer token (`a*b`) it is an ordinary character
//! (<https://docs.nats.io/nats-concepts/subjects>).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::{SUBJECT_BYTES_MAX, SUBJECT_TOKENS_MAX};

/// The first token of subjects that have a meaning to the gateway ([`super::reserved::subjects`]).
const RESERVED: &str = "tg";
/// The first token of the subjects on which clients await their replies.
const INBOX: &str = "_INBOX";

/// The destination of a message: a name without wildcards. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// The subject of a subscription: a name in which whole tokens may be wildcards. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

/// The reason why a name is neither a subject nor a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectError {
    /// It has no character.
    Empty,
    /// It has more than [`SUBJECT_BYTES_MAX`] bytes.
    TooLong,
    /// It has more than [`SUBJECT_TOKENS_MAX`] tokens.
    TooManyTokens,
    /// A dot begins it, ends it, or follows another dot.
    EmptyToken,
    /// It has white space or a control character.
    BadCharacter,
    /// Only a pattern may have wildcards.
    Wildcard,
    /// `>` stands before other tokens.
    RestNotLast,
}

impl SubjectError {
    /// Whether NATS refuses such a subject, too. Otherwise it exceeds a bound of this gateway, or is not text.
    pub fn is_of_nats(self) -> bool {
        !matches!(self, SubjectError::TooLong | SubjectError::TooManyTokens | SubjectError::BadCharacter)
    }
}

impl Subject {
    /// A subject with this name, unless it has a wildcard or is malformed.
    pub fn new(name: &str) -> Result<Subject, SubjectError> {
        Subject::check(name)?;
        Ok(Subject(name.into()))
    }

    /// A subject whose name is made of valid parts ([`super::reserved`]).
    pub(in crate::proto) fn made(name: &str) -> Subject {
        debug_assert!(Subject::check(name).is_ok(), "{name:?} is a subject");
        Subject(name.into())
    }

    /// A reply subject as a worker has written it. NATS forwards it without parsing it, and so does the gateway: it need not be a
    /// valid subject, and nothing is published there.
    pub fn unread(name: &str) -> Subject {
        Subject(name.into())
    }

    /// The checks of [`Subject::new`], without the allocation.
    pub fn check(name: &str) -> Result<(), SubjectError> {
        match check(name)? {
            Wildcards::None => Ok(()),
            Wildcards::Some => Err(SubjectError::Wildcard),
        }
    }

    /// The whole name, tokens and dots.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// See [`is_reserved`].
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }

    /// See [`is_inbox`].
    pub fn is_inbox(&self) -> bool {
        is_inbox(&self.0)
    }
}

impl Pattern {
    /// A pattern of this name, with or without wildcards.
    pub fn new(name: &str) -> Result<Pattern, SubjectError> {
        Pattern::check(name)?;
        Ok(Pattern(name.into()))
    }

    /// The checks of [`Pattern::new`], without the allocation.
    pub fn check(name: &str) -> Result<(), SubjectError> {
        check(name).map(drop)
    }

    /// The whole name, tokens and dots.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches exactly one subject: itself.
    pub fn is_literal(&self) -> bool {
        !tokens(&self.0).any(is_wildcard)
    }

    /// The one subject that a literal pattern matches.
    pub fn as_subject(&self) -> Option<Subject> {
        self.is_literal().then(|| Subject(Arc::clone(&self.0)))
    }

    /// Whether messages to the valid `subject` reach this pattern.
    pub fn matches(&self, subject: &str) -> bool {
        let mut given = tokens(subject);
        for wanted in tokens(&self.0) {
            match (wanted, given.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }

    /// See [`is_reserved`].
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }

    /// See [`is_inbox`].
    pub fn is_inbox(&self) -> bool {
        is_inbox(&self.0)
    }
}

impl From<Subject> for Pattern {
    fn from(subject: Subject) -> Pattern {
        Pattern(subject.0)
    }
}

/// The tokens of a subject or pattern. Faster than [`str::split`], whose set-up costs more than a search in such short
/// texts.
pub fn tokens(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(dot) = text.bytes().position(|byte| byte == b'.') else { return rest.take() };
        rest = Some(&text[dot + 1..]);
        Some(&text[..dot])
    })
}

/// Whether a subject or pattern begins with the token `tg`, which belongs to the gateway.
pub fn is_reserved(name: &str) -> bool {
    begins_with(name, RESERVED)
}

/// Whether a subject or pattern begins with the token `_INBOX`, under which clients await replies.
pub fn is_inbox(name: &str) -> bool {
    begins_with(name, INBOX)
}

/// Whether `token` is valid as one token of a subject, as a path parameter must be.
pub fn is_valid_token(token: &str) -> bool {
    !token.contains('.') && Subject::check(token).is_ok()
}

enum Wildcards {
    None,
    Some,
}

fn check(name: &str) -> Result<Wildcards, SubjectError> {
    if name.is_empty() {
        return Err(SubjectError::Empty);
    }
    if name.len() > SUBJECT_BYTES_MAX {
        return Err(SubjectError::TooLong);
    }
    let mut wildcards = Wildcards::None;
    let mut rest_seen = false;
    for (index, token) in tokens(name).enumerate() {
        if index == SUBJECT_TOKENS_MAX {
            return Err(SubjectError::TooManyTokens);
        }
        if token.is_empty() {
            return Err(SubjectError::EmptyToken);
        }
        if rest_seen {
            return Err(SubjectError::RestNotLast);
        }
        if !is_printable(token) {
            return Err(SubjectError::BadCharacter);
        }
        if is_wildcard(token) {
            wildcards = Wildcards::Some;
            rest_seen = token == ">";
        }
    }
    Ok(wildcards)
}

/// Neither white space nor control characters. Nearly all names are ASCII, for which this is a comparison.
fn is_printable(token: &str) -> bool {
    if token.is_ascii() {
        token.bytes().all(|byte| byte.is_ascii_graphic())
    } else {
        !token.chars().any(|character| character.is_whitespace() || character.is_control())
    }
}

fn is_wildcard(token: &str) -> bool {
    token == "*" || token == ">"
}

/// Whether `token` is the first token; called for each message.
fn begins_with(name: &str, token: &str) -> bool {
    name.strip_prefix(token).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectError::Empty => f.write_str("a subject cannot be empty"),
            SubjectError::TooLong => write!(f, "a subject has at most {SUBJECT_BYTES_MAX} bytes"),
            SubjectError::TooManyTokens => write!(f, "a subject has at most {SUBJECT_TOKENS_MAX} tokens"),
            SubjectError::EmptyToken => f.write_str("a subject has something before, between and after its dots"),
            SubjectError::BadCharacter => f.write_str("a subject has neither white space nor control characters"),
            SubjectError::Wildcard => f.write_str("the tokens `*` and `>` are only for subscribing"),
            SubjectError::RestNotLast => f.write_str("`>` can only be the last token"),
        }
    }
}

impl std::error::Error for SubjectError {}

macro_rules! acts_as_its_text {
    ($($name:ident)*) => {$(
        /// Look-ups by `&str`: hash, equality and order are those of the text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

acts_as_its_text! { Subject Pattern }

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn pattern(name: &str) -> Pattern {
        Pattern::new(name).unwrap()
    }

    #[test]
    fn subjects_are_tokens_with_dots_between_them() {
        for good in ["a", "driver.location.42", "a*b.c>", "ünï.cödé", "$SYS.x", "_INBOX.a.b"] {
            assert_eq!(Subject::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", SubjectError::Empty),
            (".", SubjectError::EmptyToken),
            (".a", SubjectError::EmptyToken),
            ("a.", SubjectError::EmptyToken),
            ("a..b", SubjectError::EmptyToken),
            ("a b", SubjectError::BadCharacter),
            ("a\tb", SubjectError::BadCharacter),
            ("a.b\r\n", SubjectError::BadCharacter),
            ("a\0", SubjectError::BadCharacter),
            ("a\u{85}", SubjectError::BadCharacter),
            ("a.*", SubjectError::Wildcard),
            (">", SubjectError::Wildcard),
        ] {
            assert_eq!(Subject::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn patterns_take_wildcards_as_whole_tokens() {
        for (good, is_literal) in [("*", false), (">", false), ("a.*.c", false), ("a.>", false), ("a*.b>", true)] {
            assert_eq!(pattern(good).is_literal(), is_literal, "{good}");
            assert_eq!(pattern(good).as_subject().is_some(), is_literal, "{good}");
        }
        for bad in [">.a", "a.>.b", "a.>.>", "a..>", "a.> "] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Pattern::new("a.>.b"), Err(SubjectError::RestNotLast));
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let longest = "x".repeat(SUBJECT_BYTES_MAX);
        assert!(Subject::new(&longest).is_ok());
        assert_eq!(Subject::new(&format!("{longest}x")), Err(SubjectError::TooLong));
        let deepest = vec!["x"; SUBJECT_TOKENS_MAX].join(".");
        assert!(Subject::new(&deepest).is_ok());
        assert_eq!(Subject::new(&format!("{deepest}.x")), Err(SubjectError::TooManyTokens));
    }

    #[test]
    fn wildcards_match_whole_tokens() {
        for (name, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bb", false),
            ("a.b", "a", false),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("*", "a", true),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c.d", true),
            (">", "a", true),
            (">", "a.b", true),
            ("*.>", "a", false),
            ("*.*.>", "a.b.c", true),
            ("a*", "ab", false),
            ("a*", "a*", true),
        ] {
            assert_eq!(pattern(name).matches(subject), expected, "{name} {subject}");
        }
    }

    #[test]
    fn only_the_first_token_reserves() {
        for (name, is_reserved_name) in [("tg", true), ("tg.conn.1", true), ("tgx.a", false), ("a.tg", false)] {
            assert_eq!(is_reserved(name), is_reserved_name, "{name}");
        }
        assert!(pattern("tg.>").is_reserved() && Subject::new("_INBOX.a").unwrap().is_inbox());
        assert!(!is_inbox("_INBOXES.a") && !is_inbox("a._INBOX"));
    }

    #[test]
    fn a_token_has_no_dots_and_is_no_wildcard() {
        for (token, expected) in [
            ("42", true),
            ("a*", true),
            ("é", true),
            ("", false),
            ("a.b", false),
            ("*", false),
            (">", false),
            ("a b", false),
        ] {
            assert_eq!(is_valid_token(token), expected, "{token:?}");
        }
    }

    #[test]
    fn sets_of_subjects_are_asked_by_text() {
        let set = HashSet::from([Subject::new("a.b").unwrap()]);
        assert!(set.contains("a.b") && !set.contains("a"));
        assert_eq!(format!("{} {:?}", set.iter().next().unwrap(), set), r#"a.b {"a.b"}"#);
    }
}
