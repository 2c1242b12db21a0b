//! A user of the application: the name that the application gives, and the token of a subject that the bus uses.
//!
//! ```text
//!  a header, a query, a claim --"ann@example.org"--> User --token--> tg.user.ann@example%2Eorg, Tg-User
//!                                                      '----name---> Tg-User-Name, clients, people
//! ```

use std::borrow::Cow;

use super::bus::HeaderBlock;
use super::name::{self, NameError};
use super::reserved::headers::{USER_HEADER, USER_NAME_HEADER};
use super::reserved::subjects;
use super::subject::Subject;

pub use super::reserved::subjects::USER_BYTES_MAX;

/// Kept as its token, from which the name follows ([`name::decode`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User(Box<str>);

impl User {
    /// The user with this name, as the application writes it.
    pub fn new(name: &str) -> Result<User, NameError> {
        match name::encode(name) {
            Ok(token) if token.len() <= USER_BYTES_MAX => Ok(User(token.into())),
            Ok(_) | Err(NameError::TooLong { .. }) => Err(NameError::TooLong { bytes_max: USER_BYTES_MAX }),
            Err(error) => Err(error),
        }
    }

    /// One token of a subject.
    pub fn token(&self) -> &str {
        &self.0
    }

    /// The name, as the application writes it.
    pub fn name(&self) -> Cow<'_, str> {
        name::decode(&self.0).unwrap_or(Cow::Borrowed(&self.0))
    }

    /// The subject of messages to all connections of the user.
    pub fn subject(&self) -> Option<Subject> {
        subjects::user(&self.0).ok()
    }

    /// Writes both forms, for a worker.
    pub fn push_headers(&self, headers: &mut HeaderBlock) {
        headers.push(USER_HEADER, &self.0);
        headers.push(USER_NAME_HEADER, &self.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_a_token() {
        let user = User::new("ann@example.org").unwrap();
        assert_eq!((user.token(), &*user.name()), ("ann@example%2Eorg", "ann@example.org"));
        assert_eq!(user.subject().unwrap().as_str(), "tg.user.ann@example%2Eorg");
        let mut headers = HeaderBlock::new();
        user.push_headers(&mut headers);
        let expected = b"NATS/1.0\r\nTg-User: ann@example%2Eorg\r\nTg-User-Name: ann@example.org\r\n\r\n";
        assert_eq!(&headers.finish()[..], expected);
    }

    #[test]
    fn a_token_is_no_longer_than_its_subject_allows() {
        let longest = "x".repeat(USER_BYTES_MAX);
        assert!(User::new(&longest).unwrap().subject().is_some());
        for name in [format!("{longest}x"), ".".repeat(USER_BYTES_MAX / 3 + 1), "x".repeat(1000)] {
            assert_eq!(User::new(&name), Err(NameError::TooLong { bytes_max: USER_BYTES_MAX }), "{name:?}");
        }
        assert_eq!((User::new(""), User::new("a\n")), (Err(NameError::Empty), Err(NameError::ControlCharacter)));
    }
}
