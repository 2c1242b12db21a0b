//! Each worker gets the messages of one publisher in order, over all subjects, and a PONG comes after all earlier
//! publications were passed on.
//!
//! ```text
//!  publish --+-- may be a repetition --> a line, until the owner's verdict --.
//!            '-- anything else --------> behind the line, if there is one ---+--> the workers' shards
//!  PING -----------------------------------> behind the line ----------------+--> marks behind all that, then PONG
//! ```
//!
//! - `lines`     publishers whose messages wait for the verdict that they are no repetitions
//! - `barrier`   PONG after all earlier publications

mod barrier;
mod lines;

use crate::base::{Key, Place, Tick};
use crate::hub::Recipients;
use crate::mesh::order::OrderMail;
use crate::mesh::{Mail, Publish, Publisher};
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::Desk;

use super::Feature;
use barrier::Barrier;
use lines::{Decided, PublisherLines};

/// See the module's picture.
#[derive(Default)]
pub(crate) struct Order {
    lines: PublisherLines,
    barrier: Barrier,
}

impl Order {
    pub(in crate::shard) fn new(_parts: &Parts) -> Order {
        Order::default()
    }

    pub(in crate::shard) fn read(&mut self, desk: &mut Desk, mail: OrderMail) {
        match mail {
            OrderMail::Mark { origin } => barrier::mark(desk, origin),
            OrderMail::MarkTold { origin, depth } => barrier::mark_told(desk, origin, depth),
            OrderMail::Marked { depth, onward } => self.barrier.marked(desk, depth, onward),
            OrderMail::Verdict { key, number, is_taken } => self.lines.decide(key, number, is_taken),
        }
    }

    /// Gives a message to the workers that were found, after all earlier messages of its publisher.
    pub(in crate::shard) fn give_to_workers(&mut self, desk: &mut Desk, publish: Publish, workers: Recipients) {
        if workers.is_empty() {
            return desk.tell_nobody_there(&publish);
        }
        match publish.from.filter(|from| from.address.place == desk.place && self.lines.has(from.address.key)) {
            Some(from) => {
                self.lines.follow(from.address.key, publish, workers);
                self.park_if_line_is_long(desk, from.address.key);
            }
            None => desk.hand_to_workers(&publish, &workers),
        }
    }

    /// Queues a message for the workers that were found until the owner says that it is no repetition. Returns the
    /// number by which the owner's verdict names the message. Its publisher `from` is a connection of this shard.
    pub(in crate::shard) fn await_verdict(
        &mut self,
        desk: &mut Desk,
        from: Publisher,
        publish: Publish,
        workers: Recipients,
    ) -> u32 {
        let number = self.lines.wait(from.address.key, publish, workers);
        self.park_if_line_is_long(desk, from.address.key);
        number
    }

    /// Whether the publisher `key` must not be read on.
    pub(in crate::shard) fn is_long(&self, key: Key) -> bool {
        self.lines.is_long(key)
    }

    /// A worker that has published since its last PING pings.
    pub(in crate::shard) fn ping(&mut self, desk: &mut Desk, key: Key) {
        let Some(conn) = desk.slots.get_mut(key) else { return };
        conn.session.owe_pong();
        // If it has a line, `work` continues with it.
        if !self.lines.has(key) {
            self.barrier.line_is_empty(desk, key);
        }
    }

    fn park_if_line_is_long(&mut self, desk: &mut Desk, publisher: Key) {
        if self.lines.is_long(publisher)
            && let Some(conn) = desk.slots.get_mut(publisher)
        {
            conn.session.park();
        }
    }
}

impl Feature for Order {
    /// Passes on a decided message.
    #[inline]
    fn work(&mut self, desk: &mut Desk) -> bool {
        self.lines.has_work() && !desk.post.is_crowded() && self.hand_on(desk)
    }

    fn deadline(&self, now: Tick, is_crowded: bool) -> Tick {
        if self.lines.has_work() && !is_crowded { now } else { Tick::NEVER }
    }

    fn count(&self, census: &mut Census) {
        census.lines = self.lines.len();
        census.pongs_owed = self.barrier.len();
    }
}

impl Order {
    /// Passes on a decided message; false if there is none.
    fn hand_on(&mut self, desk: &mut Desk) -> bool {
        match self.lines.next_decided() {
            None => return false,
            Some(Decided::Message { publish, workers }) => desk.hand_to_workers(&publish, &workers),
            Some(Decided::Repetition) => {}
            Some(Decided::NoMore { publisher, is_empty }) => {
                if is_empty {
                    self.barrier.line_is_empty(desk, publisher);
                }
                if !self.lines.is_long(publisher)
                    && desk.slots.get(publisher).is_some_and(|conn| conn.session.is_parked())
                {
                    desk.unpark(publisher);
                }
            }
        }
        true
    }
}

fn send(desk: &mut Desk, to: Place, mail: OrderMail) {
    desk.send(to, Mail::Order(mail));
}
