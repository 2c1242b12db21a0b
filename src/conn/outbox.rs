//! What waits to be sent to one peer.
//!
//! ```text
//!  push, push_shared --> pending --(take, once per turn)--> in flight at the driver --(sent)--> empty batch, reused
//! ```

use std::rc::Rc;

use crate::base::Batch;

/// At most one batch gathers while at most one is in flight. Empty, it holds no heap memory.
#[derive(Default)]
pub struct Outbox {
    pending: Option<Box<Batch>>,
    /// Bytes of the batch at the driver; valid while `is_sending`.
    in_flight_bytes: usize,
    is_sending: bool,
    /// The batch at the driver was there already when somebody looked; valid while `is_sending`.
    was_seen: bool,
}

impl Outbox {
    /// Bytes that the peer has not taken yet.
    pub fn len(&self) -> usize {
        self.pending_len() + self.in_flight_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_none() && !self.is_sending
    }

    pub fn pending_len(&self) -> usize {
        self.pending.as_ref().map_or(0, |batch| batch.len())
    }

    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// True if the batch that is in flight was in flight when this was asked last: the peer takes nothing.
    pub fn is_stuck(&mut self) -> bool {
        self.is_sending && std::mem::replace(&mut self.was_seen, true)
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.pending().push(bytes);
    }

    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.pending().extend_with(write);
    }

    pub fn push_shared(&mut self, bytes: &Rc<[u8]>) {
        self.pending().push_shared(bytes.clone());
    }

    /// Forgets what has not been handed to the driver.
    pub fn drop_pending(&mut self) {
        self.pending = None;
    }

    /// What has gathered, unless a batch is in flight; [`Outbox::sending`] follows if it goes to the driver.
    pub fn take(&mut self) -> Option<Box<Batch>> {
        if self.is_sending { None } else { self.pending.take().filter(|batch| !batch.is_empty()) }
    }

    pub fn sending(&mut self, bytes: usize) {
        assert!(!self.is_sending, "one batch in flight at a time");
        self.is_sending = true;
        self.was_seen = false;
        self.in_flight_bytes = bytes;
    }

    pub fn sent(&mut self) {
        self.is_sending = false;
        self.in_flight_bytes = 0;
    }

    fn pending(&mut self) -> &mut Batch {
        self.pending.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_stuck_when_it_is_seen_in_flight_twice() {
        let mut outbox = Outbox::default();
        assert!(!outbox.is_stuck());
        outbox.sending(1);
        assert!(!outbox.is_stuck());
        outbox.sent();
        outbox.sending(1);
        assert!(!outbox.is_stuck());
        assert!(outbox.is_stuck());
    }
}
