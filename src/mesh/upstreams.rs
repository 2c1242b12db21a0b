//! Letters about the servers behind the gateway: what one thread has learned for all, and what an operator wants of all.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Lane;
use crate::base::{Address, Key};
use crate::proto::upstream::ServerId;

/// `shard::features::proxy` obeys them.
#[derive(Clone, Debug)]
pub enum UpstreamMail {
    // --- asks, from one shard to every other one ---
    /// An operator wants the server to have no further request, or to have requests again. Answered with `Drained`.
    Drain { server: ServerId, is_drained: bool, asker: Address },

    // --- tells ---
    /// To every shard: the server's name leads to these addresses now.
    Found { server: ServerId, addresses: Arc<[SocketAddr]> },
    /// To every shard: probes of the server pass, or do not.
    Probed { server: ServerId, is_up: bool },
    /// To one shard, which counts for the process.
    Failed { server: ServerId, check: FailedCheck },
    /// To the shard of the asker: a shard does as `Drain` says.
    Drained { key: Key },
}

/// The kind of the check that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCheck {
    /// Its name could not be looked up.
    Lookup,
    /// It has not answered a probe as it should.
    Probe,
}

impl UpstreamMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            UpstreamMail::Drain { .. } => Lane::Ask,
            UpstreamMail::Found { .. }
            | UpstreamMail::Probed { .. }
            | UpstreamMail::Failed { .. }
            | UpstreamMail::Drained { .. } => Lane::Tell,
        }
    }
}
