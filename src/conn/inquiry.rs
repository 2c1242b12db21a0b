//! The question of a stage of the admission to the shard, and the answer.

use super::decisions::DecidedRight;
use super::forward_auth::ForwardVerdict;
use super::route::AuthId;
use crate::proto::authorize::AskedRight;

/// A stage waits until the shard has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// Does the issuer of this auth publish a key that is not known yet?
    Keys(AuthId),
    /// Does the server of this auth let the client in?
    Forward(AuthId),
    /// Do workers let the client in? With the document for them. (What the stage asks is [`Inquiry::Forward`].)
    Client(AuthId, Box<str>),
    /// Does the application allow all of this?
    Rights(Vec<AskedRight>),
}

/// The answer of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InquiryAnswer {
    /// The keys are what they are now.
    KeysAsTheyAre,
    /// The server has answered, or nothing is known.
    Judged(ForwardVerdict),
    /// The application has decided, or nothing is known.
    Decided(Vec<DecidedRight>),
    /// Too many requests wait for an answer.
    Busy,
}

impl InquiryAnswer {
    /// The decisions of the application.
    pub(super) fn decided(&self) -> &[DecidedRight] {
        match self {
            InquiryAnswer::Decided(decided) => decided,
            _ => &[],
        }
    }
}
