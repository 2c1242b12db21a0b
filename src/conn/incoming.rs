//! A request whose body arrives: it takes bytes off the input and gives them to their consumer.
//!
//! ```text
//!  input --> body --piece--> consumer --(whole)--> the step of the shard, and what its answer will be about
//!    ^         |
//!    '---------'  no room: the bytes stay where they are, and the connection is not received for
//! ```
//!
//! Credit: a consumer never gets more bytes than it has room for. A consumer that collects the body always has room,
//! because the decoder bounds the body's length. (A body that is passed on to an upstream is read by `proxying`.)

use std::time::Duration;

use super::Step;
use super::about::About;
use super::origins::Page;
use crate::base::Tick;
use crate::limits::ARRIVING_BYTES_PER_SECOND_MIN;
use crate::proto::CloseReason;
use crate::proto::http::{Body, BodyStep, ReplyTo};

/// The consumer of a request's body.
pub(super) trait Consumer {
    /// The number of bytes that it accepts now.
    fn room(&self) -> usize;

    /// Takes the next piece, which is not empty and not longer than the room. Returns the step for the shard, unless
    /// the piece is kept.
    fn take<'a>(&mut self, piece: &'a [u8]) -> Option<Step<'a>>;

    /// The body is complete.
    fn finish<'a>(self) -> (About, Step<'a>);

    /// Bytes of memory for the pieces that it keeps, and for the request that they belong to.
    fn bytes(&self) -> usize;

    /// The page of another origin that may read a refusal of the request.
    fn page(&self) -> Option<&Page>;
}

/// A request whose head is parsed and whose body follows.
pub(super) struct Incoming<C> {
    pub to: ReplyTo,
    body: Body,
    consumer: C,
    /// The deadline for the body, without the time for the bytes that have arrived.
    until: Tick,
    arrived: u64,
}

/// The progress of a body.
pub(super) enum Progress<'a> {
    /// More input is needed, or more room.
    Waits,
    /// A piece makes a step.
    Step(Step<'a>),
    /// The body is complete.
    Whole,
}

impl<C: Consumer> Incoming<C> {
    pub(super) fn new(to: ReplyTo, body: Body, consumer: C, until: Tick) -> Incoming<C> {
        Incoming { to, body, consumer, until, arrived: 0 }
    }

    /// Takes as much off `input` as the consumer has room for.
    pub(super) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Progress<'a>, CloseReason> {
        loop {
            match self.body.next_within(input, self.consumer.room())? {
                BodyStep::Data(piece) => {
                    self.arrived += piece.len() as u64;
                    if let Some(step) = self.consumer.take(piece) {
                        return Ok(Progress::Step(step));
                    }
                }
                BodyStep::NeedMore => return Ok(Progress::Waits),
                BodyStep::End => return Ok(Progress::Whole),
            }
        }
    }

    /// Whether there is room for more of the body, or the body is complete.
    pub(super) fn has_room(&self) -> bool {
        self.is_whole() || self.consumer.room() > 0
    }

    /// Whether the last piece was taken, so that the end follows without another byte.
    pub(super) fn is_whole(&self) -> bool {
        self.body.is_over()
    }

    /// When the body is late: its deadline, and a second more for each [`ARRIVING_BYTES_PER_SECOND_MIN`].
    pub(super) fn due(&self) -> Tick {
        self.until + Duration::from_secs(self.arrived / ARRIVING_BYTES_PER_SECOND_MIN)
    }

    /// See [`Consumer::bytes`].
    pub(super) fn bytes(&self) -> usize {
        self.consumer.bytes()
    }

    /// See [`Consumer::page`].
    pub(super) fn page(&self) -> Option<&Page> {
        self.consumer.page()
    }

    /// After [`Progress::Whole`].
    pub(super) fn finish<'a>(self) -> (About, Step<'a>) {
        self.consumer.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::proto::http::Framing;

    const TO: ReplyTo = ReplyTo::UNREADABLE;
    const BYTES_MAX: u64 = 1_000;

    /// A consumer with little room. It keeps the bytes, and can also make each piece a step.
    #[derive(Default)]
    struct Sipper {
        room: usize,
        taken: Vec<u8>,
        hands_on: bool,
    }

    impl Consumer for Sipper {
        fn room(&self) -> usize {
            self.room
        }

        fn take<'a>(&mut self, piece: &'a [u8]) -> Option<Step<'a>> {
            assert!(!piece.is_empty() && piece.len() <= self.room, "{} bytes of {}", piece.len(), self.room);
            self.room -= piece.len();
            self.taken.extend_from_slice(piece);
            self.hands_on.then_some(Step::Metrics)
        }

        fn finish<'a>(self) -> (About, Step<'a>) {
            (About::Text, Step::Metrics)
        }

        fn bytes(&self) -> usize {
            self.taken.capacity()
        }

        fn page(&self) -> Option<&Page> {
            None
        }
    }

    /// The body, and the rest of the input once the body is complete; `None` if it is not.
    type Taken = Result<Option<(Vec<u8>, Vec<u8>)>, CloseReason>;

    /// Feeds `wire` in pieces that end at `cuts`. Whenever the consumer lacks room, it gets the next entry of `rooms`.
    fn arrive(framing: Framing, wire: &[u8], cuts: &[usize], rooms: &[usize], hands_on: bool) -> Taken {
        let mut incoming =
            Incoming::new(TO, Body::new(framing, BYTES_MAX)?, Sipper { hands_on, ..Sipper::default() }, Tick::NEVER);
        let mut rooms = rooms.iter().copied().cycle();
        let (mut carry, mut fed) = (Vec::new(), 0);
        for cut in cuts.iter().copied().chain([wire.len()]) {
            carry.extend_from_slice(&wire[fed..cut]);
            fed = cut;
            loop {
                let mut input = &mut carry[..];
                let progress = incoming.next(&mut input)?;
                let left = input.to_vec();
                let waits = match &progress {
                    Progress::Whole => {
                        assert!(incoming.is_whole() && incoming.has_room());
                        return Ok(Some((incoming.consumer.taken, [&left, &wire[fed..]].concat())));
                    }
                    Progress::Step(_) => {
                        assert!(hands_on);
                        false
                    }
                    Progress::Waits => true,
                };
                drop(progress);
                carry = left;
                match waits && incoming.has_room() {
                    true => break,
                    false if waits => incoming.consumer.room = rooms.next().unwrap_or(1),
                    false => {}
                }
            }
        }
        Ok(None)
    }

    fn in_one_go(framing: Framing, wire: &[u8]) -> Taken {
        arrive(framing, wire, &[], &[usize::MAX], false)
    }

    #[test]
    fn without_room_the_bytes_stay_where_they_are() {
        let mut incoming =
            Incoming::new(TO, Body::new(Framing::Length(5), BYTES_MAX).unwrap(), Sipper::default(), Tick::NEVER);
        let mut wire = b"helloGET".to_vec();
        let mut input = &mut wire[..];
        for (room, left) in [(0, 8), (2, 6), (0, 6), (4, 3)] {
            incoming.consumer.room = room;
            let progress = incoming.next(&mut input).unwrap();
            assert_eq!((input.len(), matches!(progress, Progress::Whole)), (left, left == 3), "room for {room}");
            assert_eq!(incoming.has_room(), left == 3);
        }
        assert_eq!(incoming.consumer.taken, b"hello");
    }

    #[test]
    fn the_end_needs_no_room_and_no_further_byte() {
        let sipper = Sipper { room: 5, hands_on: true, ..Sipper::default() };
        let mut incoming = Incoming::new(TO, Body::new(Framing::Length(5), BYTES_MAX).unwrap(), sipper, Tick::NEVER);
        assert!(matches!(incoming.next(&mut &mut b"hello".to_vec()[..]), Ok(Progress::Step(_))));
        assert!(incoming.is_whole(), "it is asked again, although nothing is left in the input");
        assert!(matches!(incoming.next(&mut &mut [][..]), Ok(Progress::Whole)));
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_at_any_cut_and_any_credit(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 0..8),
            cuts in proptest::collection::vec(any::<Index>(), 0..20),
            rooms in proptest::collection::vec(1..50_usize, 1..10),
            broken in proptest::option::of((any::<Index>(), any::<u8>())),
            is_chunked: bool,
            hands_on: bool,
        ) {
            let content = chunks.concat();
            let (framing, mut wire) = if is_chunked {
                let chunk = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                (Framing::Chunked, [chunks.iter().flat_map(chunk).collect(), b"0\r\nA: b\r\n\r\n".to_vec()].concat())
            } else {
                (Framing::Length(content.len() as u64), content.clone())
            };
            wire.extend_from_slice(b"GET");
            if let Some((index, byte)) = &broken {
                let index = index.index(wire.len());
                wire[index] = *byte;
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.sort_unstable();
            let whole = in_one_go(framing, &wire);
            let sipped = arrive(framing, &wire, &cuts, &rooms, hands_on);
            if broken.is_none() {
                prop_assert_eq!(&whole, &Ok(Some((content, b"GET".to_vec()))));
            }
            // Which of several errors is reported may depend on the pieces.
            prop_assert!(sipped == whole || sipped.is_err() && whole.is_err(), "{:?}, in one go {:?}", sipped, whole);
        }
    }
}
