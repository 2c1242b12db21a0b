//! Batches into which the TLS connections of a shard seal: used ones with their capacity, and scratch memory for one
//! record.
//!
//! ```text
//!  take --> sealed into --> at the driver --(sent)--> give_back, emptied, its room kept --(not needed)--> freed
//! ```
//!
//! Batches of plain connections are not kept here: an event adds a reference, which needs no capacity, and a batch
//! without capacity would have to grow for each record.

use crate::base::{Batch, Tick};
use crate::limits;

#[derive(Default)]
pub struct Sealing {
    // Boxed, as the driver takes and returns them.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Batch>>,
    /// This many batches were not taken since the last look: the next look frees them.
    unused: usize,
    /// The time of the next look; valid while there are batches.
    look_at: Tick,
    /// Plaintext of a record that rustls seals (TLS 1.2).
    pub(super) scratch: Vec<u8>,
}

impl Sealing {
    pub(super) fn take(&mut self) -> Box<Batch> {
        let batch = self.spare.pop().unwrap_or_default();
        self.unused = self.unused.min(self.spare.len());
        batch
    }

    /// Takes back a batch that has been sent.
    pub fn give_back(&mut self, mut batch: Box<Batch>) {
        if self.spare.len() < limits::BATCHES_POOLED_MAX {
            batch.clear(limits::BATCH_CAPACITY_KEPT);
            self.spare.push(batch);
        }
    }

    /// When [`Sealing::free_unused`] must be called.
    pub fn deadline(&self) -> Tick {
        if self.spare.is_empty() { Tick::NEVER } else { self.look_at }
    }

    /// Frees batches that a burst has left and that were not needed since.
    pub fn free_unused(&mut self, now: Tick) {
        if self.deadline() <= now {
            self.spare.drain(..self.unused);
            self.spare.shrink_to(2 * self.spare.len());
            self.unused = self.spare.len();
            self.look_at = now + limits::BATCHES_KEPT_UNUSED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_room_within_bounds() {
        let mut sealing = Sealing::default();
        for _ in 0..2 * limits::BATCHES_POOLED_MAX {
            let mut batch: Box<Batch> = Box::default();
            batch.push(&[0; 300]);
            sealing.give_back(batch);
        }
        assert_eq!(sealing.spare.len(), limits::BATCHES_POOLED_MAX);
        assert!(sealing.take().is_empty());
    }

    #[test]
    fn frees_what_nothing_has_needed_for_a_while() {
        let mut sealing = Sealing::default();
        assert_eq!(sealing.deadline(), Tick::NEVER);
        (0..10).for_each(|_| sealing.give_back(Box::default()));
        let mut now = Tick::ZERO;
        sealing.free_unused(now);
        assert_eq!(sealing.spare.len(), 10, "they came a moment ago");
        let taken = [sealing.take(), sealing.take(), sealing.take()];
        taken.into_iter().for_each(|batch| sealing.give_back(batch));
        for left in [3, 0] {
            now = sealing.deadline();
            sealing.free_unused(now);
            assert_eq!(sealing.spare.len(), left);
        }
        assert_eq!(sealing.deadline(), Tick::NEVER);
    }
}
