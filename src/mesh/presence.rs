//! Letters about presence: of a channel, to and from its owner; of a user, to and from every shard.

use crate::base::{Address, Key};
use crate::proto::presence::{Found, Present, Roster};
use crate::proto::subject::Subject;

use super::Lane;

/// `shard::features::presence` shows the path of each.
#[derive(Debug)]
pub enum PresenceMail {
    // --- asks ---
    /// To the channel's owner: a client of the sending shard has subscribed to a channel with presence.
    Arrive { channel: Subject, present: Box<Present> },
    /// To the channel's owner: the client has unsubscribed.
    Depart { channel: Subject, conn: Address },
    /// To the channel's owner: which clients does the channel have? Answered with `Roster`.
    Who { channel: Subject, asker: Address },
    /// To every shard: which of your connections belong to the user of this subject? Answered with `Found`.
    Find { user: Subject, asker: Address },

    // --- tells ---
    /// To the shard of the asker: the clients of a channel; `None` for a channel without presence.
    Roster { key: Key, channel: Subject, roster: Option<Box<Roster>> },
    /// To the shard of the asker: connections of the user that `key` asked for.
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
