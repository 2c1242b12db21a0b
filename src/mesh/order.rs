//! Letters about the order in which a publisher is heard, and about when all that it has said has been handed on.

use crate::base::{Key, Place};

use super::Lane;

/// See `shard::features::order` for the way of each.
#[derive(Debug)]
pub enum OrderMail {
    // --- asks ---
    /// To the owner of a channel or the shard of a connection, behind what `origin` has published there: it hears when what was sent
    /// on because of that has come to where it was sent (`Marked`).
    Mark { origin: Place },
    /// To the origin of a mark: what was before it has been handed on here, and `onward` further marks went with what was sent on.
    Marked { depth: u8, onward: u16 },

    // --- tells ---
    /// Behind deliveries of what `origin` has published; answered with `Marked`, one for one, which is an ask and keeps no tell from
    /// being taken.
    MarkTold { origin: Place, depth: u8 },
    /// Whether the owner takes the message of `key` that this shard has called `number`, or it is a repetition.
    Verdict { key: Key, number: u32, is_taken: bool },
}

impl OrderMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            OrderMail::Mark { .. } | OrderMail::Marked { .. } => Lane::Ask,
            OrderMail::MarkTold { .. } | OrderMail::Verdict { .. } => Lane::Tell,
        }
    }
}
