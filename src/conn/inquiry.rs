//! The question of a stage of the admission to the shard, and the answer.

use super::forward_auth::ForwardVerdict;
use super::route::AuthId;

/// A stage waits until the shard has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// Does the issuer of this auth publish a key that is not known yet?
    Keys(AuthId),
    /// Does the server of this auth let the client in?
    Forward(AuthId),
}

/// The answer of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InquiryAnswer {
    /// The keys are what they are now.
    KeysAsTheyAre,
    /// The server has answered, or nothing is known.
    Judged(ForwardVerdict),
    /// Too many requests wait for an answer.
    Busy,
}
