//! Outgoing bytes: own and shared ones, in order, sent together.
//!
//! ```text
//! push(b"...")      --> own:   [head][control frame]        one Vec, adjacent pushes merge
//! push_shared(rc)   --> parts: Own(0..4)  Shared(rc)  Own(4..9)
//! slices()          --> iovecs of what is not sent yet; advance(n) after a partial send
//! ```

use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use smallvec::SmallVec;

/// The bytes that one connection sends in one turn.
///
/// The holder of a batch owns its memory; a driver returns the batch with `Sent`.
#[derive(Default)]
pub struct Batch {
    own: Vec<u8>,
    /// Mostly one: an event, or written bytes. So most batches are one allocation.
    parts: SmallVec<[Part; 2]>,
    /// Parts before this index, and `part_sent` bytes of the part at it, have been sent.
    part_index: usize,
    part_sent: usize,
    /// Bytes that are not sent yet.
    remaining: usize,
    /// Parts that other batches share, except those of answers.
    shared: u32,
    answer: LongestAnswer,
    weight: Weight,
}

/// Bytes of the longest answer to a request of the peer: they do not count against the peer.
#[derive(Clone, Copy, Debug, Default)]
struct LongestAnswer {
    /// In this batch.
    here: u32,
    /// In the batch that was taken before this one, while it is in flight.
    ahead: u32,
}

/// The memory that a batch is to blame for.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    /// Of this batch, when it had `len` bytes to send.
    here: u32,
    len: u32,
    /// Of the batch that was taken before this one, while it is in flight.
    ahead: u32,
}

/// A batch that a driver has, weighed; all 0 without a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    pub parts: usize,
    pub weight: usize,
}

impl InFlight {
    pub fn of(batch: Option<&Batch>) -> InFlight {
        batch.map_or(InFlight::default(), |batch| InFlight { parts: batch.parts.len(), weight: batch.weight_now() })
    }
}

enum Part {
    Own(Range<u32>),
    Shared(Rc<[u8]>),
}

/// A piece of a batch that is not sent yet.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    Own(&'a [u8]),
    /// The first `sent` bytes have been sent.
    Shared {
        bytes: &'a Rc<[u8]>,
        sent: usize,
    },
}

impl<'a> Piece<'a> {
    #[inline]
    pub fn unsent(self) -> &'a [u8] {
        match self {
            Piece::Own(bytes) => bytes,
            Piece::Shared { bytes, sent } => &bytes[sent..],
        }
    }
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Bytes that are not sent yet.
    pub fn len(&self) -> usize {
        self.remaining
    }

    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// The number of appended pieces that other batches share, sent or not; those of answers do not count.
    pub fn shared_count(&self) -> usize {
        self.shared as usize
    }

    /// Everything appended since the batch had `len_before` bytes and `shared_before` shared pieces is an answer.
    pub fn mark_answer(&mut self, len_before: usize, shared_before: usize) {
        let len = u32::try_from(self.remaining - len_before).unwrap_or(u32::MAX);
        self.answer.here = self.answer.here.max(len);
        self.shared = shared_before as u32;
    }

    /// Bytes of the longest answer in this batch.
    pub fn answer_bytes(&self) -> usize {
        self.answer.here as usize
    }

    /// The same, plus the longest answer in the batch in flight.
    pub fn answer_bytes_in_all(&self) -> usize {
        self.answer.here as usize + self.answer.ahead as usize
    }

    /// A batch with `bytes` of an answer is in flight before this one; 0 when it has been sent.
    pub fn set_answer_ahead(&mut self, bytes: usize) {
        self.answer.ahead = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Weighs the batch if it has grown by `step` bytes since it was weighed last: its own bytes, its list of parts, and of
    /// shared bytes the share of one holder. So a batch below `step` weighs nothing, and parts are walked through seldom.
    pub fn weigh(&mut self, step: usize) {
        if step > 0 && self.remaining < self.weight.len as usize + step {
            return;
        }
        self.weight.here = u32::try_from(self.weight_now()).unwrap_or(u32::MAX);
        self.weight.len = u32::try_from(self.remaining).unwrap_or(u32::MAX);
    }

    /// Weighs the batch, grown or not: other holders of its shared bytes may have let go of them. Returns how many parts were
    /// walked through.
    pub fn weigh_again(&mut self) -> usize {
        self.weigh(0);
        self.parts.len()
    }

    /// What [`Batch::weigh`] measures.
    fn weight_now(&self) -> usize {
        let shares = self.parts.iter().map(|part| match part {
            Part::Own(_) => 0,
            Part::Shared(bytes) => bytes.len() / Rc::strong_count(bytes),
        });
        self.own.len() + self.parts.len() * size_of::<Part>() + shares.sum::<usize>()
    }

    /// As it was weighed last, without the batch in flight.
    pub fn weight(&self) -> usize {
        self.weight.here as usize
    }

    /// The same, with the batch in flight.
    pub fn weight_in_all(&self) -> usize {
        self.weight.here as usize + self.weight.ahead as usize
    }

    /// A batch of this weight is in flight before this one; 0 when it has been sent.
    pub fn set_weight_ahead(&mut self, weight: usize) {
        self.weight.ahead = u32::try_from(weight).unwrap_or(u32::MAX);
    }

    /// Appends a copy of `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.extend_with(|own| own.extend_from_slice(bytes));
    }

    /// Appends what `write` appends to its vector; `write` must not change the bytes in it.
    pub fn extend_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.own.len();
        write(&mut self.own);
        let end = self.own.len();
        assert!(end >= start && end <= u32::MAX as usize, "a batch only grows, and stays below 4 GiB");
        if end == start {
            return;
        }
        self.remaining += end - start;
        match self.parts.last_mut() {
            Some(Part::Own(range)) if range.end as usize == start => range.end = end as u32,
            _ => self.parts.push(Part::Own(start as u32..end as u32)),
        }
    }

    /// Its own bytes so far, sent or not: those that others share are not among them.
    pub fn own_bytes(&self) -> &[u8] {
        &self.own
    }

    /// Appends shared bytes without copying them.
    pub fn push_shared(&mut self, bytes: Rc<[u8]>) {
        if bytes.is_empty() {
            return;
        }
        self.remaining += bytes.len();
        self.shared += 1;
        self.parts.push(Part::Shared(bytes));
    }

    /// Puts bytes before everything else. Nothing of the batch may have been sent.
    pub fn put_first(&mut self, bytes: Rc<[u8]>) {
        assert!(self.part_index == 0 && self.part_sent == 0, "what has been sent was first");
        self.remaining += bytes.len();
        self.parts.insert(0, Part::Shared(bytes));
    }

    /// The slices that are not sent yet.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.pieces().map(Piece::unsent)
    }

    /// The same, with each piece marked as own or shared, so that a piece shared by many batches has to be written down
    /// only once.
    #[inline]
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> + '_ {
        self.parts[self.part_index..].iter().enumerate().map(|(index, part)| {
            let sent = if index == 0 { self.part_sent } else { 0 };
            match part {
                Part::Own(range) => Piece::Own(&self.own[range.start as usize + sent..range.end as usize]),
                Part::Shared(bytes) => Piece::Shared { bytes, sent },
            }
        })
    }

    /// Fills `slices` with bytes that are not sent yet, and returns how many slices were filled.
    pub fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, bytes) in slices.iter_mut().zip(self.slices()) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// Marks the next `count` bytes as sent.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "more sent than there was");
        self.remaining -= count;
        let mut left = count;
        while left > 0 {
            let part_len = match &self.parts[self.part_index] {
                Part::Own(range) => (range.end - range.start) as usize,
                Part::Shared(bytes) => bytes.len(),
            };
            let step = left.min(part_len - self.part_sent);
            self.part_sent += step;
            left -= step;
            if self.part_sent == part_len {
                self.part_index += 1;
                self.part_sent = 0;
            }
        }
    }

    /// Empties the batch; each of its vectors keeps at most `capacity_max` bytes of capacity.
    pub fn clear(&mut self, capacity_max: usize) {
        self.own.clear();
        self.own.shrink_to(capacity_max);
        self.parts.clear();
        if self.parts.capacity() * size_of::<Part>() > capacity_max {
            self.parts.shrink_to_fit();
        }
        self.part_index = 0;
        self.part_sent = 0;
        self.remaining = 0;
        self.shared = 0;
        self.answer = LongestAnswer::default();
        self.weight = Weight::default();
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} bytes to send)", self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_first_is_sent_first() {
        let mut batch = Batch::new();
        batch.push(b"b");
        batch.put_first(Rc::from(&b"a"[..]));
        batch.push(b"c");
        assert_eq!((batch.len(), batch.slices().flatten().copied().collect::<Vec<u8>>()), (3, b"abc".to_vec()));
    }

    fn bytes(batch: &Batch) -> Vec<u8> {
        batch.slices().flatten().copied().collect()
    }

    #[test]
    fn keeps_order_across_own_and_shared_parts() {
        let mut batch = Batch::new();
        batch.push(b"ab");
        batch.push(b"c");
        batch.push_shared(Rc::from(&b"DEF"[..]));
        batch.push(b"g");
        assert_eq!(batch.len(), 7);
        assert_eq!(batch.slices().count(), 3);
        assert_eq!(bytes(&batch), b"abcDEFg");
    }

    #[test]
    fn advances_through_every_split() {
        for first in 0..=7 {
            let mut batch = Batch::new();
            batch.push(b"abc");
            batch.push_shared(Rc::from(&b"DEF"[..]));
            batch.push(b"g");
            batch.advance(first);
            assert_eq!(bytes(&batch), &b"abcDEFg"[first..]);
            batch.advance(7 - first);
            assert!(batch.is_empty());
            assert_eq!(batch.slices().count(), 0);
        }
    }

    #[test]
    fn pieces_say_what_others_send_too() {
        let shared: Rc<[u8]> = Rc::from(&b"DEF"[..]);
        let mut batch = Batch::new();
        batch.push(b"abc");
        batch.push_shared(shared.clone());
        batch.push(b"g");
        batch.advance(4);
        let pieces: Vec<Piece<'_>> = batch.pieces().collect();
        assert!(matches!(pieces[0], Piece::Shared { bytes, sent: 1 } if Rc::ptr_eq(bytes, &shared)));
        assert!(matches!(pieces[1], Piece::Own(b"g")) && pieces.len() == 2);
    }

    #[test]
    fn a_share_grows_when_other_holders_let_go() {
        let shared: Rc<[u8]> = Rc::from(vec![0; 8_000]);
        let others = [shared.clone(), shared.clone()];
        let mut batch = Batch::new();
        batch.push_shared(shared);
        batch.weigh(1);
        assert!((2_666..4_000).contains(&batch.weight()), "{}", batch.weight());
        drop(others);
        batch.weigh(1);
        assert!(batch.weight() < 4_000, "it has not grown");
        assert_eq!(batch.weigh_again(), 1);
        assert!(batch.weight() >= 8_000 && InFlight::of(Some(&batch)) == InFlight { parts: 1, weight: batch.weight() });
    }

    #[test]
    fn clear_gives_memory_back() {
        let mut batch = Batch::new();
        batch.push(&[0; 100_000]);
        (0..10_000).for_each(|_| batch.push_shared(Rc::from(&b"x"[..])));
        batch.clear(4096);
        assert!(batch.parts.capacity() * size_of::<Part>() <= 4096);
        assert!(batch.is_empty());
        assert!(batch.own.capacity() <= 4096);
    }
}
