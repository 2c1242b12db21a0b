//! The order in which the requests of one service are handed on: in rounds, one request of each source in a round.
//!
//! ```text
//!  arrive:  a a a a b c     rounds:  0: a b c   1: a   2: a   3: a
//!                           b comes again while round 1 is handed on: 1: a b
//! ```
//!
//! A source that sends very many requests waits behind its own; another one's request waits for one of each source.

use ahash::AHashMap;

use super::sources::RequestSource;
use crate::base::shrink;
use crate::limits;

/// The place of a request in the order: its round, then its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueTurn {
    round: u64,
    pub serial: u64,
}

#[derive(Default)]
pub(super) struct Turns {
    /// The round that is being handed on.
    round: u64,
    sources: AHashMap<RequestSource, LatestTurn>,
}

/// A source with waiting requests, or one that has had a request in this round.
#[derive(Default)]
struct LatestTurn {
    round: u64,
    waiting: usize,
}

impl Turns {
    /// The place of a new request, which waits from now on.
    pub(super) fn draw(&mut self, source: &RequestSource, serial: u64) -> QueueTurn {
        let latest = self.sources.get(source);
        let round = latest.map_or(self.round, |latest| self.round.max(latest.round + 1));
        let turn = QueueTurn { round, serial };
        self.wait(source, turn);
        turn
    }

    /// A request waits, or waits again.
    pub(super) fn wait(&mut self, source: &RequestSource, turn: QueueTurn) {
        let latest = self.sources.entry(source.clone()).or_default();
        latest.round = latest.round.max(turn.round);
        latest.waiting += 1;
    }

    /// A waiting request has ended.
    pub(super) fn leave(&mut self, source: &RequestSource) {
        if let Some(latest) = self.sources.get_mut(source) {
            latest.waiting -= 1;
            if latest.waiting == 0 {
                self.sources.remove(source);
            }
        }
    }

    /// A waiting request is handed on; `waiting` others are left.
    pub(super) fn hand_on(&mut self, source: &RequestSource, turn: QueueTurn, waiting: usize) {
        if let Some(latest) = self.sources.get_mut(source) {
            latest.waiting -= 1;
        }
        // A round also ends when new sources keep coming: the sources that have waited longer come next.
        let is_long = self.sources.len() > waiting + limits::REQUEST_SOURCES_PER_ROUND;
        let round = if is_long { self.round + 1 } else { self.round }.max(turn.round);
        if round > self.round || waiting == 0 {
            self.round = round;
            self.sources.retain(|_, latest| latest.waiting > 0 || latest.round >= round && waiting > 0);
            shrink(&mut self.sources, limits::ENTRIES_KEPT);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Waiting requests by their place.
    #[derive(Default)]
    struct Queue {
        turns: Turns,
        waiting: BTreeMap<QueueTurn, u64>,
        serial: u64,
    }

    impl Queue {
        fn arrive(&mut self, source: u64) {
            self.serial += 1;
            self.waiting.insert(self.turns.draw(&RequestSource::Network(source), self.serial), source);
        }

        fn hand_on(&mut self) -> Option<u64> {
            let (turn, source) = self.waiting.pop_first()?;
            self.turns.hand_on(&RequestSource::Network(source), turn, self.waiting.len());
            Some(source)
        }
    }

    #[test]
    fn each_source_is_served_in_its_turn_and_each_of_its_requests_in_order() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|_| queue.arrive(1));
        assert_eq!((0..3).map_while(|_| queue.hand_on()).collect::<Vec<_>>(), [1, 1, 1]);
        queue.arrive(2);
        queue.arrive(3);
        queue.arrive(2);
        assert_eq!((0..5).map_while(|_| queue.hand_on()).collect::<Vec<_>>(), [2, 3, 1, 2, 1]);
        while queue.hand_on().is_some() {}
        assert_eq!(queue.turns.len(), 0);
    }

    #[test]
    fn a_source_that_sends_one_after_the_other_takes_turns_with_one_that_sent_many() {
        let mut queue = Queue::default();
        (0..100).for_each(|_| queue.arrive(1));
        let mut of_two = 0;
        for _ in 0..100 {
            queue.arrive(2);
            of_two += u32::from(queue.hand_on() == Some(2));
        }
        assert!((45..55).contains(&of_two), "{of_two}");
    }

    #[test]
    fn ever_new_sources_neither_pile_up_nor_hold_up_the_others() {
        let mut queue = Queue::default();
        (0..2).for_each(|_| queue.arrive(0));
        let mut handed = Vec::new();
        for source in 1..=3 * limits::REQUEST_SOURCES_PER_ROUND as u64 {
            queue.arrive(source);
            handed.extend(queue.hand_on());
            assert!(queue.turns.len() <= queue.waiting.len() + limits::REQUEST_SOURCES_PER_ROUND + 1);
        }
        assert_eq!(handed.iter().filter(|source| **source == 0).count(), 2);
    }
}
