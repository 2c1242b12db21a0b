//! The bytes that wait to be sent to one peer.
//!
//! ```text
//!  push, push_shared --> pending --(take, once per turn)--> in flight at the driver --(sent)--> empty batch, reused
//! ```
//!
//! AN ANSWER ALONE IS NEVER TOO MUCH: a peer that asks for a long answer gets it, and does not count as slow while it
//! receives it. So there are two measures: [`Outbox::len`] counts everything, and bounds what is added;
//! [`Outbox::backlog`] leaves out the longest answer of each batch, and decides whether a peer is slow.

use std::rc::Rc;

use crate::base::{Batch, InFlight};
use crate::limits;

/// The state of an outbox at one moment.
#[derive(Clone, Copy)]
pub struct Mark {
    len: usize,
    events: usize,
}

/// At most one batch is filled while at most one is in flight. An empty outbox holds no heap memory.
#[derive(Default)]
pub struct Outbox {
    pending: Option<Box<Batch>>,
    /// Bytes of the batch at the driver, which is not empty and shorter than 4 GiB; 0 if there is none.
    in_flight_bytes: u32,
    /// 1 plus the bytes that the peer had received in all when the batch at the driver was last checked; 0 before the
    /// first check.
    seen: u32,
}

const _: () = assert!(size_of::<Outbox>() == 16, "every connection has one");

impl Outbox {
    /// Bytes that are not sent yet: pending, or with the driver.
    pub fn len(&self) -> usize {
        self.pending_len() + self.in_flight_bytes as usize
    }

    /// The bytes of [`Outbox::len`] that count against the peer.
    pub fn backlog(&self) -> usize {
        let answers = self.pending.as_ref().map_or(0, |batch| batch.answer_bytes_in_all());
        self.len().saturating_sub(answers)
    }

    pub fn is_empty(&self) -> bool {
        self.pending_len() == 0 && !self.is_sending()
    }

    /// The current state, for [`Outbox::answered`].
    pub fn mark(&self) -> Mark {
        Mark { len: self.pending_len(), events: self.pending_events() }
    }

    /// Everything added since `before` is an answer to the peer's request. Short answers count like anything else.
    pub fn answered(&mut self, before: Mark) {
        if self.pending_len() - before.len > limits::ANSWER_BYTES_COUNTED {
            self.pending().mark_answer(before.len, before.events);
        }
    }

    pub fn pending_len(&self) -> usize {
        self.pending.as_ref().map_or(0, |batch| batch.len())
    }

    /// Events that wait for the batch in flight.
    pub fn pending_events(&self) -> usize {
        self.pending.as_ref().map_or(0, |batch| batch.shared_count())
    }

    pub fn is_sending(&self) -> bool {
        self.in_flight_bytes > 0
    }

    /// Whether the batch in flight was checked.
    pub fn is_looked_at(&self) -> bool {
        self.seen > 0
    }

    /// Checks the batch in flight. Returns how many bytes the peer has received since the last check of the same batch;
    /// `taken` is what it has received in all. `None`: this is the first check.
    pub fn look(&mut self, taken: u32) -> Option<u32> {
        let seen = taken.wrapping_add(1).max(1);
        let before = std::mem::replace(&mut self.seen, seen);
        (before > 0).then(|| seen.wrapping_sub(before))
    }

    /// The bytes written into the pending batch, without those that others share.
    pub(super) fn written(&self) -> &[u8] {
        self.pending.as_ref().map_or(&[], |batch| batch.own_bytes())
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

    /// Puts bytes before everything that waits.
    pub fn put_first(&mut self, bytes: Rc<[u8]>) {
        self.pending().put_first(bytes);
    }

    /// Drops everything that was not given to the driver.
    pub fn drop_pending(&mut self) {
        let in_flight = self.weight() - self.pending.as_ref().map_or(0, |pending| pending.weight());
        self.pending = None;
        if in_flight > 0 {
            self.pending().set_weight_ahead(in_flight);
        }
    }

    /// The memory that waits for the peer, as of the last [`Outbox::weigh`]; what every connection may have waiting is no
    /// weight.
    #[inline]
    pub fn weight(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.weight_in_all())
    }

    /// Weighs what has been added since the last time, if that is much.
    #[inline]
    pub fn weigh(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.weigh(limits::WAITING_BYTES_FREE);
        }
    }

    /// Weighs it again, grown or not, in an outbox that has a weight. Returns how many parts were walked through.
    pub fn weigh_again(&mut self, in_flight: InFlight) -> usize {
        let Some(pending) = &mut self.pending else { return in_flight.parts };
        pending.set_weight_ahead(in_flight.weight);
        in_flight.parts + pending.weigh_again()
    }

    /// The filled batch, unless one is in flight. The caller calls [`Outbox::sending`] if it goes to the driver.
    pub fn take(&mut self) -> Option<Box<Batch>> {
        if self.is_sending() { None } else { self.pending.take().filter(|batch| !batch.is_empty()) }
    }

    /// A batch of `bytes` goes to the driver, of which `answer_bytes` belong to an answer. `weight`: [`Batch::weight`].
    pub fn sending(&mut self, bytes: usize, answer_bytes: usize, weight: usize) {
        assert!(!self.is_sending() && bytes > 0, "one batch in flight at a time");
        self.in_flight_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if answer_bytes > 0 {
            self.pending().set_answer_ahead(answer_bytes);
        }
        if weight > 0 {
            self.pending().set_weight_ahead(weight);
        }
    }

    /// The batch is back. True if it was checked in the meantime.
    pub fn sent(&mut self) -> bool {
        self.in_flight_bytes = 0;
        if let Some(pending) = &mut self.pending {
            pending.set_answer_ahead(0);
            pending.set_weight_ahead(0);
            self.pending.take_if(|pending| pending.is_empty());
        }
        std::mem::take(&mut self.seen) > 0
    }

    fn pending(&mut self) -> &mut Batch {
        self.pending.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_what_was_taken_between_two_looks_at_one_batch() {
        let mut outbox = Outbox::default();
        for before in [0, 7, u32::MAX - 5] {
            outbox.sending(1_000, 0, 0);
            assert_eq!(outbox.look(before), None, "it may have left a moment ago");
            assert_eq!(outbox.look(before), Some(0));
            assert_eq!(outbox.look(before.wrapping_add(3)), Some(3));
            assert!(outbox.sent());
        }
        outbox.sending(1, 0, 0);
        assert!(!outbox.sent(), "nobody has looked");
    }

    #[test]
    fn an_answer_alone_does_not_count_against_the_peer() {
        let mut outbox = Outbox::default();
        let answer = |outbox: &mut Outbox, len: usize| {
            let before = outbox.mark();
            outbox.push_shared(&Rc::from(vec![0; len]));
            outbox.answered(before);
        };
        answer(&mut outbox, 100_000);
        assert_eq!((outbox.len(), outbox.backlog(), outbox.pending_events()), (100_000, 0, 0));
        answer(&mut outbox, 30_000);
        answer(&mut outbox, 200_000);
        outbox.push_shared(&Rc::from(&b"event"[..]));
        assert_eq!((outbox.backlog(), outbox.pending_events()), (130_005, 1), "all but the longest");
        let batch = outbox.take().unwrap();
        outbox.sending(batch.len(), batch.answer_bytes(), 0);
        assert_eq!((outbox.len(), outbox.backlog()), (330_005, 130_005), "the same while it is on its way");
        answer(&mut outbox, 50_000);
        outbox.push(b"event");
        assert_eq!((outbox.len(), outbox.backlog()), (380_010, 130_010));
        outbox.sent();
        assert_eq!((outbox.len(), outbox.backlog()), (50_005, 5));
        let batch = outbox.take().unwrap();
        outbox.sending(batch.len(), batch.answer_bytes(), 0);
        outbox.sent();
        assert!(outbox.is_empty() && outbox.pending.is_none(), "no memory is held");
        answer(&mut outbox, limits::ANSWER_BYTES_COUNTED);
        assert_eq!(outbox.backlog(), limits::ANSWER_BYTES_COUNTED, "a short one counts");
    }

    #[test]
    fn nothing_written_is_nothing_to_send() {
        let mut outbox = Outbox::default();
        outbox.push(b"");
        assert!(outbox.is_empty() && outbox.take().is_none());
    }
}
