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
    /// Bytes of the batch at the driver, which is shorter than 4 GiB; valid while `is_sending`.
    in_flight_bytes: u32,
    is_sending: bool,
    /// The batch at the driver was there already when [`Outbox::is_stuck`] was asked.
    is_watched: bool,
}

const _: () = assert!(size_of::<Outbox>() == 16, "every connection has one");

impl Outbox {
    /// Bytes that the peer has not taken yet.
    pub fn len(&self) -> usize {
        self.pending_len() + self.in_flight_bytes as usize
    }

    pub fn is_empty(&self) -> bool {
        self.pending_len() == 0 && !self.is_sending
    }

    pub fn pending_len(&self) -> usize {
        self.pending.as_ref().map_or(0, |batch| batch.len())
    }

    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Whether the peer has not taken the batch in flight since this was asked last.
    pub fn is_stuck(&mut self) -> bool {
        self.is_sending && std::mem::replace(&mut self.is_watched, true)
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
        self.is_watched = false;
        self.in_flight_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
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
    fn is_stuck_with_the_same_batch_twice_and_not_with_the_next_one() {
        let mut outbox = Outbox::default();
        assert!(!outbox.is_stuck());
        outbox.sending(1);
        assert!(!outbox.is_stuck(), "it may have left a moment ago");
        outbox.sent();
        outbox.sending(1);
        assert!(!outbox.is_stuck());
        assert!(outbox.is_stuck());
    }

    #[test]
    fn nothing_written_is_nothing_to_send() {
        let mut outbox = Outbox::default();
        outbox.push(b"");
        assert!(outbox.is_empty() && outbox.take().is_none());
    }
}
