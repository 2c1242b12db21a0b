//! Letters about the end of the process.

use super::Lane;

/// See `shard::drain` for the order of them.
#[derive(Debug)]
pub enum DrainMail {
    /// A tell from the gateway: close what is open, and end.
    Begin,
    /// An ask, to every shard: the sender says nothing more to workers about clients. Behind all that it has said.
    Farewell,
    /// A tell, to every shard, when all have said `Farewell`: what went by the sender has been sent on.
    Forwarded,
}

impl DrainMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            DrainMail::Farewell => Lane::Ask,
            DrainMail::Begin | DrainMail::Forwarded => Lane::Tell,
        }
    }
}
