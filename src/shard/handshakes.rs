//! The queue of TLS connections whose handshake is unfinished and that have sent something to work on.
//!
//! ```text
//!  not a whole hello -> not here: read on, until the deadline of the handshake
//!  begun ------------> first: little is left to do for them, and they hold the most memory
//!  with a ticket ----> then: they take three quarters of the work (the benchmark `handshake`), so more clients are back sooner
//!  without ----------> one in four all the same: a ticket is easily claimed
//!  too many, too long: refused, before anything has been done for them
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{CoarseTick, Key, Tick};
use crate::conn::settings::Generation;
use crate::limits;
use crate::proto::CloseReason;

use super::desk::Desk;

/// While clients with and without a ticket wait, one in this many handshakes is begun for a client without.
const TURNS_PER_FRESH: u32 = 4;

#[derive(Default)]
pub(super) struct Handshakes {
    begun: VecDeque<Key>,
    resuming: VecDeque<QueuedHandshake>,
    fresh: VecDeque<QueuedHandshake>,
    /// Handshakes begun since the last one without a ticket.
    turns: u32,
}

/// A connection whose handshake has not begun.
#[derive(Clone, Copy)]
struct QueuedHandshake {
    key: Key,
    /// After this time its client has given up.
    until: CoarseTick,
}

/// What the ClientHello claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumptionClaim {
    Ticket,
    Nothing,
}

/// How many connections may wait, and how long.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub waiting_max: usize,
    pub wait: Duration,
}

impl Handshakes {
    /// The ClientHello of a client is whole. Each receive adds at most one entry, so a connection is in the queue
    /// at most once.
    pub(super) fn hello(&mut self, desk: &mut Desk, key: Key, has_ticket: bool) {
        let claim = if has_ticket { ResumptionClaim::Ticket } else { ResumptionClaim::Nothing };
        let Generation { handshakes_waiting_max: waiting_max, handshake_wait: wait, .. } = *desk.settings.generation;
        if let Some(refused) = self.arrive(key, claim, desk.now, Patience { waiting_max, wait }) {
            desk.broken(refused, CloseReason::HandshakeRefused);
        }
    }

    /// Refuses connections whose clients have given up, so that no work is spent on them.
    pub(super) fn refuse_overdue(&mut self, desk: &mut Desk) {
        while let Some(key) = self.overdue(desk.now) {
            desk.broken(key, CloseReason::HandshakeRefused);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.waiting()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of connections whose handshake has not begun.
    pub(super) fn waiting(&self) -> usize {
        self.resuming.len() + self.fresh.len()
    }

    /// A record has arrived of a handshake that has begun.
    pub(super) fn go_on(&mut self, key: Key) {
        self.begun.push_back(key);
    }

    /// Adds a connection with a whole ClientHello. Returns the connection that is refused for it if too many wait:
    /// this one or, if this one has a ticket, the last one without.
    pub(super) fn arrive(&mut self, key: Key, claim: ResumptionClaim, now: Tick, patience: Patience) -> Option<Key> {
        let is_full = self.waiting() >= patience.waiting_max;
        let waiting = QueuedHandshake { key, until: CoarseTick::ceil(now + patience.wait) };
        let refused = match claim {
            ResumptionClaim::Ticket if is_full => self.fresh.pop_back(),
            ResumptionClaim::Ticket | ResumptionClaim::Nothing => None,
        };
        if is_full && refused.is_none() {
            return Some(key);
        }
        match claim {
            ResumptionClaim::Ticket => self.resuming.push_back(waiting),
            ResumptionClaim::Nothing => self.fresh.push_back(waiting),
        }
        refused.map(|refused| refused.key)
    }

    /// The next connection that has waited too long.
    pub(super) fn overdue(&mut self, now: Tick) -> Option<Key> {
        let is_overdue =
            |queue: &VecDeque<QueuedHandshake>| queue.front().is_some_and(|waiting| waiting.until.tick() <= now);
        let mut queues = [&mut self.resuming, &mut self.fresh].into_iter();
        let queue = queues.find(|queue| is_overdue(queue))?;
        queue.pop_front().map(|waiting| waiting.key)
    }

    /// Frees the memory of a storm that is over.
    pub(super) fn shrink(&mut self) {
        self.begun.shrink_to(limits::TURN_ENTRIES_KEPT.max(2 * self.begun.len()));
        for queue in [&mut self.resuming, &mut self.fresh] {
            queue.shrink_to(limits::TURN_ENTRIES_KEPT.max(2 * queue.len()));
        }
    }

    /// How many entries the longest queue has room for.
    pub(super) fn capacity(&self) -> usize {
        self.begun.capacity().max(self.resuming.capacity()).max(self.fresh.capacity())
    }

    /// The connection whose handshake advances next.
    pub(super) fn next(&mut self) -> Option<Key> {
        if let Some(key) = self.begun.pop_front() {
            return Some(key);
        }
        self.turns += 1;
        let is_turn_of_fresh = self.turns >= TURNS_PER_FRESH || self.resuming.is_empty();
        let waiting = if is_turn_of_fresh && !self.fresh.is_empty() {
            self.turns = 0;
            self.fresh.pop_front()
        } else {
            self.resuming.pop_front()
        };
        waiting.map(|waiting| waiting.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { waiting_max: 4, wait: Duration::from_secs(5) };

    fn key(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    fn order(handshakes: &mut Handshakes) -> Vec<u32> {
        std::iter::from_fn(|| handshakes.next()).map(|key| key.slot).collect()
    }

    #[test]
    fn begun_goes_before_tickets_and_tickets_before_the_others_three_in_four() {
        let mut handshakes = Handshakes::default();
        let patience = Patience { waiting_max: 100, ..PATIENCE };
        for slot in 0..6 {
            assert_eq!(handshakes.arrive(key(slot), ResumptionClaim::Nothing, Tick::ZERO, patience), None);
            assert_eq!(handshakes.arrive(key(10 + slot), ResumptionClaim::Ticket, Tick::ZERO, patience), None);
        }
        handshakes.go_on(key(20));
        handshakes.go_on(key(21));
        assert_eq!(order(&mut handshakes), [20, 21, 10, 11, 12, 0, 13, 14, 15, 1, 2, 3, 4, 5]);
        assert!(handshakes.is_empty());
    }

    #[test]
    fn too_many_are_refused_and_those_without_a_ticket_first() {
        let mut handshakes = Handshakes::default();
        let mut arrive = |slot, claim| handshakes.arrive(key(slot), claim, Tick::ZERO, PATIENCE).map(|key| key.slot);
        assert!((0..4).all(|slot| arrive(slot, ResumptionClaim::Nothing).is_none()));
        assert_eq!(arrive(4, ResumptionClaim::Nothing), Some(4));
        assert_eq!([5, 6, 7, 8, 9].map(|slot| arrive(slot, ResumptionClaim::Ticket)), [3, 2, 1, 0, 9].map(Some));
        handshakes.go_on(key(20));
        assert_eq!((handshakes.len(), handshakes.waiting()), (5, 4), "what has begun is not bounded again");
    }

    #[test]
    fn whoever_has_waited_too_long_is_overdue_and_what_has_begun_is_not() {
        let mut handshakes = Handshakes::default();
        handshakes.arrive(key(0), ResumptionClaim::Nothing, Tick::ZERO, PATIENCE);
        handshakes.arrive(key(1), ResumptionClaim::Ticket, Tick::from_millis(3_000), PATIENCE);
        handshakes.go_on(key(2));
        assert_eq!(handshakes.overdue(Tick::from_millis(4_900)), None);
        assert_eq!(handshakes.overdue(Tick::from_millis(5_100)), Some(key(0)));
        assert_eq!(handshakes.overdue(Tick::from_millis(9_000)), Some(key(1)));
        assert_eq!(handshakes.overdue(Tick::from_millis(90_000)), None);
        assert_eq!(order(&mut handshakes), [2]);
    }
}
