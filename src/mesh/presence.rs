//! Letters about clients that are there: of a channel, to and from its owner; of a user, to and from every shard.

use crate::base::{Address, Key};
use crate::proto::presence::{Found, Present, Roster};
use crate::proto::subject::Subject;

use super::Lane;

/// See `shard::features::presence` for the way of each.
#[derive(Debug)]
pub enum PresenceMail {
    // --- asks ---
    /// To the channel's owner: a client of the sending shard listens to a channel with presence.
    Arrive { channel: Subject, present: Box<Present> },
    /// To the channel's owner: it does not listen any more.
    Depart { channel: Subject, conn: Address },
    /// To the channel's owner: which clients are there? Answered with `Roster`.
    Who { channel: Subject, asker: Address },
    /// To every shard: which of your connections are those of the user of this subject? Answered with `Found`.
    Find { user: Subject, asker: Address },

    // --- tells ---
    /// To the shard of the asker: the clients that listen to a channel; none if its rule does not ask for that.
    Roster { key: Key, channel: Subject, roster: Option<Box<Roster>> },
    /// To the shard of the asker: connections of the user that `key` looks for.
    Found { key: Key, found: Box<Found> },
}

impl PresenceMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            PresenceMail::Arrive { .. }
            | PresenceMail::Depart { .. }
            | PresenceMail::Who { .. }
            | PresenceMail::Find { .. } => Lane::Ask,
            PresenceMail::Roster { .. } | PresenceMail::Found { .. } => Lane::Tell,
        }
    }
}
