//! A request's way through the servers behind the gateway.

use crate::base::Tick;
use crate::proto::upstream::ServerId;

/// How far a request has come, for the access log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Journey {
    /// The last server that it was given to.
    pub server: Option<ServerId>,
    /// Servers that it was given to, one after the other.
    pub attempts: u8,
    /// The connection to the last one had carried others before.
    pub is_reused: bool,
    /// When that connection was there, and when the head of the answer was.
    pub connected: Option<Tick>,
    pub answered: Option<Tick>,
    /// Of the answer; 0: there is none yet.
    pub status: u16,
    /// Bytes of the answer's body.
    pub passed_on: u64,
}
