//! Letters about subscriptions of workers, which every shard knows.

use crate::base::{Address, Key};
use crate::hub::Membership;

use super::Lane;

/// They change the directory of a shard, which then tells its features.
#[derive(Debug)]
pub enum MembershipMail {
    // --- asks, to every shard ---
    /// A worker has subscribed; answered with `Registered` if `waiting`.
    Enlist { membership: Membership, waiting: Option<Address> },
    /// The subscription has ended.
    Resign { membership: Membership },

    // --- a tell, to the worker's shard or to an in-process worker ---
    /// One registration that `key` waits for is confirmed.
    Registered { key: Key },
}

impl MembershipMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            MembershipMail::Enlist { .. } | MembershipMail::Resign { .. } => Lane::Ask,
            MembershipMail::Registered { .. } => Lane::Tell,
        }
    }
}
