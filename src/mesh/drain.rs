//! Letters about the drain.

use super::Lane;

/// `shard::drain` shows their order.
#[derive(Debug)]
pub enum DrainMail {
    /// A tell from the gateway: drain.
    Begin,
    /// An ask, to every shard: the sender will send workers nothing more about clients. Sent after all such letters.
    Farewell,
    /// A tell, to every shard, once every shard has sent `Farewell`: the sender has passed on everything that went
    /// through it.
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
