//! The requests that wait for a server of one upstream, in their order.

use std::collections::VecDeque;

use super::QueueFull;
use super::choice::ServerSet;
use crate::base::{Key, Tick};
use crate::limits::{ENTRIES_KEPT, UPSTREAM_WAITING_BYTES};
use crate::proto::upstream::Affinity;

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub key: Key,
    pub affinity: Affinity,
    pub tried: ServerSet,
    /// The servers to choose from when it was last looked at …
    pub among: ServerSet,
    /// … and the one of them that its mark or its hash chose.
    pub wanted: Option<u8>,
    pub until: Tick,
}

const _: () = assert!(size_of::<Waiter>() as u64 <= UPSTREAM_WAITING_BYTES);

#[derive(Debug, Default)]
pub(super) struct WaitingLine {
    waiters: VecDeque<Waiter>,
    len_max: usize,
}

impl WaitingLine {
    pub(super) fn new(len_max: usize) -> WaitingLine {
        WaitingLine { waiters: VecDeque::new(), len_max }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The servers that the requests want, each one of them. `None`: one takes any, so all are wanted.
    pub(super) fn claims(&self) -> Option<ServerSet> {
        self.waiters.iter().try_fold(ServerSet::default(), |claims, waiter| Some(claims.with(waiter.wanted?)))
    }

    pub(super) fn push(&mut self, waiter: Waiter) -> Result<(), QueueFull> {
        if self.waiters.len() >= self.len_max {
            return Err(QueueFull);
        }
        self.waiters.push_back(waiter);
        Ok(())
    }

    /// Those whose time is over come first, because all wait equally long; so an end is found at once in most cases.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.key == key) else { return false };
        self.take(at);
        true
    }

    /// Takes the first for which `server` finds one. `server` may note in the waiter what it has found out.
    pub(super) fn take_first(&mut self, server: impl Fn(&mut Waiter) -> Option<u8>) -> Option<(Waiter, u8)> {
        let found = self.waiters.iter_mut().enumerate().find_map(|(at, waiter)| Some((at, server(waiter)?)));
        let (at, server) = found?;
        Some((self.take(at)?, server))
    }

    fn take(&mut self, at: usize) -> Option<Waiter> {
        let taken = self.waiters.remove(at);
        if self.waiters.is_empty() {
            self.waiters.shrink_to(ENTRIES_KEPT);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(slot: u32) -> Waiter {
        let key = Key { slot, generation: 1 };
        Waiter {
            key,
            affinity: Affinity::default(),
            tried: ServerSet::default(),
            among: ServerSet::default(),
            wanted: None,
            until: Tick::from_millis(1),
        }
    }

    #[test]
    fn waits_in_order_up_to_its_bound() {
        let mut queue = WaitingLine::new(3);
        for slot in 0..3 {
            assert_eq!(queue.push(waiter(slot)), Ok(()));
        }
        assert_eq!(queue.push(waiter(3)), Err(QueueFull));
        assert!(queue.remove(waiter(1).key) && !queue.remove(waiter(1).key));
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_first(|_| Some(0))).map(|(taken, _)| taken).collect();
        assert_eq!(taken, [waiter(0), waiter(2)]);
    }

    #[test]
    fn one_that_no_server_takes_lets_the_next_pass() {
        let mut queue = WaitingLine::new(8);
        for slot in 0..3 {
            queue.push(waiter(slot)).unwrap();
        }
        let taken = queue.take_first(|waiter| (waiter.key.slot > 0).then_some(7));
        assert_eq!(taken, Some((waiter(1), 7)));
        assert_eq!(queue.len(), 2);
    }
}
