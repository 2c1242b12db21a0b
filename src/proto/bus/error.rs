//! The errors of a worker (`-ERR`), in nats-server's words, because clients compare them.

use std::fmt::{self, Write};

use crate::limits::SUBJECT_BYTES_MAX;

/// The reason why a verb is refused. [`BusError::closes`] says whether the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusError {
    /// Not a verb, or a payload that does not end where its line said.
    UnknownOperation,
    /// A verb with the wrong number of arguments or a malformed one.
    Malformed,
    ControlLineTooLong,
    PayloadTooLarge,
    InvalidSubject,
    /// Sent only to pedantic workers; the message is delivered in neither case.
    InvalidPublishSubject,
    InvalidClientProtocol,
    NoRespondersNeedHeaders,
    AuthorizationViolation,
    AuthenticationTimeout,
    StaleConnection,
    TooManySubscriptions,
    /// For names of the gateway, and for subjects that only nats-server accepts (the gateway requires shorter ones, in
    /// UTF-8). After these words every package goes on.
    PublishNotAllowed(String),
    SubscribeNotAllowed(String),
}

impl BusError {
    /// Whether the error is sent as `-ERR`. As in nats-server, a malformed verb closes the connection without words:
    /// nats-py and nats.go give up for good after most words, and reconnect after a connection that was closed without
    /// any.
    pub fn is_said(&self) -> bool {
        *self != BusError::Malformed
    }

    /// Whether the connection must be closed once the error is sent; otherwise the verb has been skipped.
    pub fn closes(&self) -> bool {
        !matches!(
            self,
            BusError::InvalidSubject
                | BusError::InvalidPublishSubject
                | BusError::TooManySubscriptions
                | BusError::PublishNotAllowed(_)
                | BusError::SubscribeNotAllowed(_)
        )
    }
}

/// The words between the quotes of `-ERR`.
impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BusError::UnknownOperation => "Unknown Protocol Operation",
            BusError::Malformed => "Parser Error",
            BusError::ControlLineTooLong => "maximum control line exceeded",
            BusError::PayloadTooLarge => "Maximum Payload Violation",
            BusError::InvalidSubject => "Invalid Subject",
            BusError::InvalidPublishSubject => "Invalid Publish Subject",
            BusError::InvalidClientProtocol => "invalid client protocol",
            BusError::NoRespondersNeedHeaders => "no responders requires headers support",
            BusError::AuthorizationViolation => "Authorization Violation",
            BusError::AuthenticationTimeout => "Authentication Timeout",
            BusError::StaleConnection => "Stale Connection",
            BusError::TooManySubscriptions => "maximum subscriptions exceeded",
            BusError::PublishNotAllowed(subject) => {
                return write!(f, "Permissions Violation for Publish to {}", Quoted(subject));
            }
            BusError::SubscribeNotAllowed(subject) => {
                return write!(f, "Permissions Violation for Subscription to {}", Quoted(subject));
            }
        })
    }
}

impl std::error::Error for BusError {}

/// A name with any content, on one line: cut to the length of a subject, with everything escaped that is not a
/// character.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars().take(SUBJECT_BYTES_MAX) {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => f.write_char(character)?,
            }
        }
        f.write_str("\"")
    }
}
