//! What a worker is told when it did something wrong: nats-server's words, because clients compare them.

use std::fmt;

/// Why a verb was refused. [`BusError::closes`] says whether the connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusError {
    /// Not a verb, or a payload that does not end where its line said.
    UnknownOperation,
    /// A verb with the wrong number of arguments or a malformed one. nats-server closes without a word here; these are
    /// the words that its documents have for it.
    Malformed,
    ControlLineTooLong,
    PayloadTooLarge,
    /// A header block that a client's library could fail to read; nats-server passes it on.
    BadHeaders,
    InvalidSubject,
    InvalidPublishSubject,
    InvalidClientProtocol,
    NoRespondersNeedHeaders,
    AuthorizationViolation,
    AuthenticationTimeout,
    StaleConnection,
    SlowConsumer,
    TooManyConnections,
    TooManySubscriptions,
    PublishNotAllowed(String),
    SubscribeNotAllowed(String),
}

impl BusError {
    /// Whether the connection has to be closed once the error is sent; otherwise the verb has been skipped.
    pub fn closes(&self) -> bool {
        !matches!(
            self,
            BusError::BadHeaders
                | BusError::InvalidSubject
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
            BusError::BadHeaders => "bad message header detected",
            BusError::InvalidSubject => "Invalid Subject",
            BusError::InvalidPublishSubject => "Invalid Publish Subject",
            BusError::InvalidClientProtocol => "invalid client protocol",
            BusError::NoRespondersNeedHeaders => "no responders requires headers support",
            BusError::AuthorizationViolation => "Authorization Violation",
            BusError::AuthenticationTimeout => "Authentication Timeout",
            BusError::StaleConnection => "Stale Connection",
            BusError::SlowConsumer => "Slow Consumer",
            BusError::TooManyConnections => "maximum connections exceeded",
            BusError::TooManySubscriptions => "maximum subscriptions exceeded",
            BusError::PublishNotAllowed(subject) => {
                return write!(f, "Permissions Violation for Publish to \"{subject}\"");
            }
            BusError::SubscribeNotAllowed(subject) => {
                return write!(f, "Permissions Violation for Subscription to \"{subject}\"");
            }
        })
    }
}

impl std::error::Error for BusError {}
