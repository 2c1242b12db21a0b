//! The addresses of a server that is configured by its name: each new connection goes to the next one.
//!
//! ```text
//!  looked up --replace--> a, b, c    next: a, b, c, a, ..    c cannot be reached --rest--> a, b, a, b, ..  until its time is over
//! ```

use std::net::SocketAddr;

use crate::base::Tick;
use crate::limits::ADDRESSES_PER_NAME_MAX;

#[derive(Debug, Default)]
pub(super) struct Rotation {
    all: Vec<RotatedAddress>,
    /// Its index.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct RotatedAddress {
    at: SocketAddr,
    /// It could not be reached: others come first until then.
    rests_until: Tick,
}

impl RotatedAddress {
    fn is(&self, at: SocketAddr) -> bool {
        self.at.ip() == at.ip() && self.at.port() == at.port()
    }
}

impl Rotation {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The scope of an address does not count: connections do not keep theirs.
    pub(super) fn has(&self, at: SocketAddr) -> bool {
        self.all.iter().any(|address| address.is(at))
    }

    /// Takes the place of those that were there. What is known of one that stays is kept.
    pub(super) fn replace(&mut self, found: &[SocketAddr]) {
        let known = |at: SocketAddr| self.all.iter().find(|address| address.is(at)).copied();
        let address = |at: &SocketAddr| known(*at).unwrap_or(RotatedAddress { at: *at, rests_until: Tick::ZERO });
        self.all = found.iter().take(ADDRESSES_PER_NAME_MAX).map(address).collect();
    }

    /// The address of the next connection. If all rest, they are tried in spite of it.
    pub(super) fn next(&mut self, now: Tick) -> Option<SocketAddr> {
        let count = self.all.len();
        let in_turn = || (0..count).map(|step| (self.next + step) % count);
        let awake = in_turn().find(|index| self.all[*index].rests_until <= now);
        let index = awake.or_else(|| in_turn().next())?;
        self.next = (index + 1) % count;
        Some(self.all[index].at)
    }

    /// This one could not be reached. True if there is another one to try.
    pub(super) fn rest(&mut self, at: SocketAddr, until: Tick, now: Tick) -> bool {
        if let Some(address) = self.all.iter_mut().find(|address| address.is(at)) {
            address.rests_until = until;
        }
        self.all.iter().any(|address| address.rests_until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 80))
    }

    fn taken(addresses: &mut Rotation, count: usize, now: Tick) -> Vec<Option<SocketAddr>> {
        (0..count).map(|_| addresses.next(now)).collect()
    }

    fn some(numbers: &[u8]) -> Vec<Option<SocketAddr>> {
        numbers.iter().map(|number| Some(at(*number))).collect()
    }

    #[test]
    fn each_connection_goes_to_the_next_address() {
        let mut addresses = Rotation::default();
        assert_eq!(addresses.next(Tick::ZERO), None);
        addresses.replace(&[at(1), at(2), at(3)]);
        assert_eq!(taken(&mut addresses, 5, Tick::ZERO), some(&[1, 2, 3, 1, 2]));
        addresses.replace(&[at(4)]);
        assert_eq!(taken(&mut addresses, 2, Tick::ZERO), some(&[4, 4]));
    }

    #[test]
    fn one_that_cannot_be_reached_rests_and_all_are_tried_if_all_do() {
        let (now, later) = (Tick::from_millis(5), Tick::from_millis(50));
        let mut addresses = Rotation::default();
        addresses.replace(&[at(1), at(2)]);
        assert!(addresses.rest(at(1), later, now), "the other one");
        assert_eq!(taken(&mut addresses, 2, now), some(&[2, 2]));
        addresses.replace(&[at(3), at(1), at(2)]);
        assert!(!taken(&mut addresses, 6, now).contains(&Some(at(1))), "it is known still");
        addresses.replace(&[at(1), at(2)]);
        assert!(!addresses.rest(at(2), later, now), "none is left");
        assert_eq!(taken(&mut addresses, 2, now).len(), 2);
        assert!(taken(&mut addresses, 2, later).contains(&Some(at(1))));
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let mut addresses = Rotation::default();
        addresses.replace(&(0..100).map(at).collect::<Vec<_>>());
        assert_eq!(addresses.len(), ADDRESSES_PER_NAME_MAX);
        assert!(addresses.has(at(0)) && !addresses.has(at(99)));
    }
}
