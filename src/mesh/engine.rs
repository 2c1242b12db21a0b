//! Letters between the owners of shared channels and the thread that speaks to the engine.

use crate::base::Place;
use crate::proto::engine::{EngineCall, EngineWord};

use super::Lane;

/// Both make mail at their receiver, so both are asks.
#[derive(Debug)]
pub enum EngineMail {
    /// To the thread beside the shards, from the owner of a channel.
    Call { from: Place, call: Box<EngineCall> },
    /// To the owner, or to every shard.
    Word(Box<EngineWord>),
}

impl EngineMail {
    pub(super) fn lane(&self) -> Lane {
        Lane::Ask
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            EngineMail::Call { call, .. } => call.payload_bytes(),
            EngineMail::Word(word) => word.payload_bytes(),
        }
    }
}
