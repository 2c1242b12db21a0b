//! The standing of a channel: its last position, and its rule.

use crate::proto::channel::RuleNumber;
use crate::proto::event::Position;

/// The standing of a channel: the last assigned position, with offset 0 before the first; and the channel's rule, which
/// fits beside it.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub offset: u64,
    pub epoch: u32,
    pub rule: RuleNumber,
}

const _: () = assert!(size_of::<Standing>() == 16, "every channel has one");

impl Standing {
    pub(super) fn position(self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }
}
