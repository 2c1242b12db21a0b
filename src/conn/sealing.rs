//! Where the TLS connections of a shard seal: batches that have room already, and a record's worth of scratch.
//!
//! ```text
//!  take --> sealed into --> at the driver --(sent)--> give_back, emptied, its room kept
//! ```
//!
//! Plain batches are not kept here: an event needs a reference, not room, and a batch without room in place of one with it
//! would have to grow anew for each record.

use crate::base::Batch;
use crate::limits;

#[derive(Default)]
pub struct Sealing {
    // Boxed as the driver takes and returns them.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Batch>>,
    /// Content of a record that rustls seals (TLS 1.2).
    pub(super) scratch: Vec<u8>,
}

impl Sealing {
    pub(super) fn take(&mut self) -> Box<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// A batch that was sealed into has been sent.
    pub fn give_back(&mut self, mut batch: Box<Batch>) {
        if self.spare.len() < limits::BATCHES_POOLED_MAX {
            batch.clear(limits::BATCH_CAPACITY_KEPT);
            self.spare.push(batch);
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
}
