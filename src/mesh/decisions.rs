//! Letters about decisions of the application.

use crate::base::DecisionId;
use crate::conn::decisions::DecisionOutcome;
use crate::proto::authorize::RightAnswer;
use crate::proto::permission::DeciderId;

use super::Lane;

#[derive(Debug)]
pub enum DecisionMail {
    // --- asks ---
    /// To the thread that asks URLs: what is asked.
    Ask { id: DecisionId, decider: DeciderId, document: Box<str> },

    // --- tells ---
    /// To the shard whose question that was: its answer, or why there is none.
    Decided { id: DecisionId, answer: Result<RightAnswer, DecisionOutcome> },
}

impl DecisionMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            DecisionMail::Ask { .. } => Lane::Ask,
            DecisionMail::Decided { .. } => Lane::Tell,
        }
    }
}
