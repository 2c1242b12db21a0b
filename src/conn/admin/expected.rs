//! The answer that an operation gets.

use std::time::Duration;

use crate::limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// How many connections it reaches.
    Reach,
    /// Whether the connection obeys.
    Obedience,
    /// A client's answer.
    Answer,
    /// Whether a client has acknowledged the message.
    Acknowledgement,
}

impl Expected {
    /// The longest time until the shard answers. A client has a deadline there, of which this is the longest.
    pub(in crate::conn) fn patience(self) -> Duration {
        match self {
            Expected::Reach | Expected::Obedience => limits::ANSWER_TIMEOUT,
            Expected::Answer | Expected::Acknowledgement => limits::ACK_TIME_MAX + limits::ANSWER_TIMEOUT,
        }
    }
}
