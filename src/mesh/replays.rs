//! Letters about the kept messages of channels, between a connection's shard and a channel's owner.

use crate::base::Address;
use crate::hub::SubKey;
use crate::proto::replay::{Excerpt, ExcerptBounds, Since};
use crate::proto::subject::Subject;

use super::Lane;

/// `shard::features::replays` shows the path of each.
#[derive(Debug)]
pub enum ReplayMail {
    /// An ask, to the channel's owner: for kept messages.
    Replay(Box<Replay>),
    /// The tell that answers it: the messages, or the next piece of them.
    Replayed(Box<Replayed>),
}

/// A request to a channel's owner.
#[derive(Debug)]
pub struct Replay {
    pub subject: Subject,
    pub since: Since,
    pub bounds: ExcerptBounds,
    pub asker: Asker,
}

/// The connection that asks, and the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub address: Address,
    /// The connection's number for the subscription or the question.
    pub tag: u32,
    /// The subscription that is silent until its replay is complete; `None` if there is no subscription.
    pub sub: Option<SubKey>,
    /// The connection waits for this answer before its stream opens (OPEN MEANS SUBSCRIBED).
    pub is_registration: bool,
}

/// The answer. `None` if the channel does not exist; a subscriber that has joined never sees that.
#[derive(Debug)]
pub struct Replayed {
    pub subject: Subject,
    pub excerpt: Option<Excerpt>,
    pub asker: Asker,
}

impl ReplayMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            ReplayMail::Replay(_) => Lane::Ask,
            ReplayMail::Replayed(_) => Lane::Tell,
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            ReplayMail::Replay(_) => 0,
            ReplayMail::Replayed(replayed) => replayed.excerpt.as_ref().map_or(0, Excerpt::payload_bytes),
        }
    }
}
