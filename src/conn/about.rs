//! What an answer is about that the shard owes: remembered from the request on.

use std::time::Duration;

use super::accept::Owed;
use super::admin::expected::Expected;
use super::origins::Page;
use crate::limits;
use crate::proto::presence::{Found, Whereabouts};
use crate::proto::subject::Subject;
use crate::proto::upstream::ServerId;

pub(super) enum About {
    /// A text from the shard.
    Text,
    /// The position of a message in this channel.
    Published(Box<Subject>),
    /// The address of a request that was accepted.
    Accepted(Box<Owed>),
    /// The state of a request that was accepted earlier, or the error of one that failed.
    Request(Option<Box<Page>>),
    /// The connections of a user.
    User(Box<Whereabouts>),
    /// An operation, which reaches so many connections on so many shards.
    Reached { connections: u32, shards: u16 },
    /// The outcome of an operation.
    Outcome(Expected),
    /// A server that is to have no further request, or to have requests again, and how many shards have said yes.
    Drained { server: ServerId, is_drained: bool, shards: u16 },
    /// Tokens that are revoked: how many streams have ended, and how many shards have said so.
    Revoked { ended: u64, shards: u16 },
}

impl About {
    /// The page of another origin that may read the answer, if any.
    pub(super) fn page(&self) -> Option<&Page> {
        match self {
            About::Text
            | About::Published(_)
            | About::User(_)
            | About::Reached { .. }
            | About::Outcome(_)
            | About::Drained { .. }
            | About::Revoked { .. } => None,
            About::Accepted(owed) => owed.page.as_ref(),
            About::Request(page) => page.as_deref(),
        }
    }

    /// The longest time until the answer is there.
    pub(super) fn patience(&self) -> Duration {
        match self {
            About::Outcome(expected) => expected.patience(),
            _ => limits::ANSWER_TIMEOUT,
        }
    }

    /// Adds the connections of one of so many shards. Returns the number of all after the last one.
    pub(super) fn reached(&mut self, count: u32, of: u16) -> Option<u32> {
        let About::Reached { connections, shards } = self else { return None };
        *shards += 1;
        *connections += count;
        (*shards >= of).then_some(*connections)
    }

    /// One of so many shards does what was asked about a server. Returns that after the last one.
    pub(super) fn drained(&mut self, of: u16) -> Option<(ServerId, bool)> {
        let About::Drained { server, is_drained, shards } = self else { return None };
        *shards += 1;
        (*shards >= of).then_some((*server, *is_drained))
    }

    /// Of one of so many shards, that have ended so many streams. Returns the number of all after the last one.
    pub(super) fn revoked(&mut self, count: u32, of: u16) -> Option<u64> {
        let About::Revoked { ended, shards } = self else { return None };
        *shards += 1;
        *ended += u64::from(count);
        (*shards >= of).then_some(*ended)
    }

    /// Adds one shard's report about the user. Returns the text of the answer after the last one.
    pub(super) fn found(&mut self, found: Found) -> Option<String> {
        match self {
            About::User(whereabouts) => whereabouts.add(found).then(|| whereabouts.to_json()),
            _ => None,
        }
    }
}
