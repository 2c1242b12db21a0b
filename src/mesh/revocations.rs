//! Letters about tokens that are revoked.

use std::sync::Arc;

use crate::base::{Address, Key};
use crate::proto::token::revocation::Revocation;

use super::Lane;

#[derive(Debug)]
pub enum RevocationMail {
    // --- asks ---
    /// To every shard: take these tokens no more, and end their streams. Answered with `Revoked`.
    Revoke { revocation: Arc<Revocation>, asker: Address },

    // --- tells ---
    /// To the shard of the asker: that is done, and so many streams have ended. `None`: there was no place for it.
    Revoked { key: Key, ended: Option<u32> },
}

impl RevocationMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            RevocationMail::Revoke { .. } => Lane::Ask,
            RevocationMail::Revoked { .. } => Lane::Tell,
        }
    }
}
