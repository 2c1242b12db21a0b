//! Letters about the keys that issuers publish.

use super::Lane;
use crate::conn::published::PublishedKeys;
use crate::conn::route::AuthId;

/// `shard::features::key_sets` obeys them, and the thread beside the shards.
#[derive(Clone, Debug)]
pub enum KeyMail {
    // --- an ask, from a shard to the thread beside the shards ---
    /// A token names a key of this auth that is not known: fetch the set. Answered with `Fetched`, to all.
    Fetch { auth: AuthId },

    // --- a tell, to every shard ---
    /// A fetch has ended.
    Fetched { auth: AuthId, keys: Result<PublishedKeys, FetchFault> },
}

/// Why a fetch has brought no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// There is no address, no connection, or no TLS.
    Unreachable,
    /// The fetch has taken too long.
    TooSlow,
    /// The server has answered with another status than 200. A redirect is not followed.
    Status,
    /// The answer is no HTTP, too large, or has no key that can be used.
    Unreadable,
}

impl FetchFault {
    pub const ALL: [FetchFault; 4] =
        [FetchFault::Unreachable, FetchFault::TooSlow, FetchFault::Status, FetchFault::Unreadable];

    /// As in metrics.
    pub fn word(self) -> &'static str {
        match self {
            FetchFault::Unreachable => "unreachable",
            FetchFault::TooSlow => "too_slow",
            FetchFault::Status => "status",
            FetchFault::Unreadable => "unreadable",
        }
    }
}

impl KeyMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            KeyMail::Fetch { .. } => Lane::Ask,
            KeyMail::Fetched { .. } => Lane::Tell,
        }
    }
}
