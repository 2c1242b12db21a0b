//! Letters about tokens that are revoked.

use std::sync::Arc;

use crate::base::{Address, Place};
use crate::proto::token::revocation::Revocation;

use super::Lane;

/// The asker of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationAsker {
    /// A request on the admin listener.
    Conn(Address),
    /// A worker's message, by the number that its shard has given it.
    Message { place: Place, number: u32 },
}

#[derive(Debug)]
pub enum RevocationMail {
    // --- asks ---
    /// To every shard: take these tokens no more, and end their streams. Answered with `Revoked`.
    Revoke { revocation: Arc<Revocation>, asker: RevocationAsker },

    // --- tells ---
    /// To the shard of the asker: that is done, and so many streams have ended. `None`: there was no place for it.
    Revoked { asker: RevocationAsker, ended: Option<u32> },
}

impl RevocationMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            RevocationMail::Revoke { .. } => Lane::Ask,
            RevocationMail::Revoked { .. } => Lane::Tell,
        }
    }
}
