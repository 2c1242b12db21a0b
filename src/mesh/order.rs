//! Letters about the order of a publisher's messages, and about the barrier before its PONG.

use crate::base::{Key, Place};

use super::Lane;

/// `shard::features::order` shows the path of each.
#[derive(Debug)]
pub enum OrderMail {
    // --- asks ---
    /// To the owner of a channel or the shard of a connection, after the publications of `origin` that went there. The
    /// answers (`Marked`: one from there, and one from each place that letters were passed on to) together say that all
    /// letters which followed from these publications have arrived.
    Mark { origin: Place },
    /// To the origin of a mark: everything before the mark has been passed on here, and `onward` further marks followed
    /// the letters that it caused.
    Marked { depth: u8, onward: u16 },

    // --- tells ---
    /// After deliveries of publications of `origin`. Answered with `Marked`, one for one, which is an ask and keeps no
    /// tell from being taken.
    MarkTold { origin: Place, depth: u8 },
    /// Whether the owner takes the message `number` of `key`; if not, it is a repetition.
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
