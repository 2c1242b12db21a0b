//! The choice among servers.
//!
//! ```text
//!  all --without those tried--> --without those left out--> usable (if none is left: those, in spite of it)
//!        mark     the server that has it, if it is usable
//!        hash     the usable one with the highest score (rendezvous): the others' requests stay where they are when one goes
//!        neither  of two that are drawn, the one with fewer requests
//! ```

use crate::base::mix;
use crate::limits::SERVERS_PER_UPSTREAM_MAX;

/// A set of servers of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerSet(u64);

impl ServerSet {
    /// The servers for which `is_in` holds.
    pub(super) fn of(count: usize, is_in: impl Fn(u8) -> bool) -> ServerSet {
        let bits = (0..count.min(SERVERS_PER_UPSTREAM_MAX) as u8).filter(|server| is_in(*server));
        ServerSet(bits.fold(0, |bits, server| bits | 1 << server))
    }

    pub(super) fn with(self, server: u8) -> ServerSet {
        ServerSet(self.0 | 1u64.checked_shl(u32::from(server)).unwrap_or(0))
    }

    pub(super) fn and(self, other: ServerSet) -> ServerSet {
        ServerSet(self.0 & other.0)
    }

    pub(super) fn without(self, other: ServerSet) -> ServerSet {
        ServerSet(self.0 & !other.0)
    }

    pub(super) fn has(self, server: u8) -> bool {
        self.0.checked_shr(u32::from(server)).is_some_and(|bits| bits & 1 == 1)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        let rest = |bits: &u64| Some(bits & bits.wrapping_sub(1));
        std::iter::successors(Some(self.0), rest).take_while(|bits| *bits != 0).map(|bits| bits.trailing_zeros() as u8)
    }
}

/// The usual share of a server; one in slow start has less.
pub(super) const FULL_SHARE: u64 = 256;

/// Draws two, and takes the one with fewer requests. Of two with equally many it takes the first, each with the same chance. A
/// server in slow start steps back behind the other as often as its share is below the full one, so it gets its part of
/// the requests even where there are few.
pub(super) fn least(
    among: ServerSet,
    draw: u64,
    in_flight: impl Fn(u8) -> u32,
    share: impl Fn(u8) -> u64,
) -> Option<u8> {
    let count = among.count() as u64;
    // The low bits place the first, the middle ones the second, the high ones decide about slow starts.
    let at = |draw: u64, of: u64| ((draw & 0xff_ffff) * of) >> 24;
    let nth = |index: u64| among.iter().nth(index as usize);
    let first_at = at(draw, count);
    let first = nth(first_at)?;
    if count == 1 {
        return Some(first);
    }
    let second_at = at(draw >> 24, count - 1);
    let second = nth(second_at + u64::from(second_at >= first_at))?;
    let steps_back = |server: u8, draw: u64| draw % FULL_SHARE >= share(server);
    match (steps_back(first, draw >> 48), steps_back(second, draw >> 56)) {
        (true, false) => Some(second),
        (false, true) => Some(first),
        _ if in_flight(second) < in_flight(first) => Some(second),
        _ => Some(first),
    }
}

/// Rendezvous hashing: the server with the highest score for this hash. The same in every shard, process and node.
pub(super) fn highest(among: ServerSet, hash: u64, seed: impl Fn(u8) -> u64) -> Option<u8> {
    among.iter().max_by_key(|server| mix(hash ^ mix(seed(*server))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fnv1a;

    fn all(count: usize) -> ServerSet {
        ServerSet::of(count, |_| true)
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = ServerSet::default().with(0).with(5).with(63);
        assert!(set.has(0) && set.has(5) && set.has(63) && !set.has(1) && !set.has(64) && !set.has(255));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!((set.count(), set.without(set.with(1)).count(), all(64).count()), (3, 0, 64));
        assert_eq!(set.and(ServerSet::default().with(5)).iter().collect::<Vec<_>>(), [5]);
        assert_eq!((ServerSet::default().iter().count(), set.with(64), set.with(255)), (0, set, set));
    }

    /// How many of many draws each server gets.
    fn shares(count: usize, pick: impl Fn(u64) -> Option<u8>) -> Vec<usize> {
        let mut shares = vec![0; count];
        for number in 0..60_000 {
            shares[usize::from(pick(mix(number)).unwrap())] += 1;
        }
        shares
    }

    #[test]
    fn equal_servers_get_equal_shares() {
        for count in [1, 2, 3, 10, 64] {
            let each = 60_000 / count;
            for share in shares(count, |draw| least(all(count), draw, |_| 0, |_| FULL_SHARE)) {
                assert!(share * 10 > each * 8 && share * 10 < each * 12, "{share} of {each}");
            }
        }
        assert_eq!(least(all(0), 7, |_| 0, |_| FULL_SHARE), None);
    }

    #[test]
    fn of_two_the_less_busy_is_taken() {
        let shares = shares(2, |draw| least(all(2), draw, u32::from, |_| FULL_SHARE));
        assert_eq!(shares, [60_000, 0]);
    }

    #[test]
    fn a_server_in_slow_start_gets_its_part() {
        let share_of_first = |share: u64| {
            let share = move |server: u8| if server == 0 { share } else { FULL_SHARE };
            shares(2, |draw| least(all(2), draw, |_| 0, share))[0]
        };
        let (little, half, full) = (share_of_first(26), share_of_first(128), share_of_first(FULL_SHARE));
        assert!((2_500..3_600).contains(&little), "about a tenth of half of all: {little}");
        assert!((14_000..16_000).contains(&half), "{half}");
        assert!((29_000..31_000).contains(&full), "{full}");
        let alone = ServerSet::default().with(3);
        assert_eq!(least(alone, 5, |_| 9, |_| 1), Some(3), "it gets all that no other can take");
    }

    fn seeds(server: u8) -> u64 {
        fnv1a(format!("10.0.0.{server}:3000").as_bytes())
    }

    #[test]
    fn hashes_spread_evenly() {
        let hash = |number: u64| fnv1a(format!("session-{number}").as_bytes());
        for share in shares(10, |number| highest(all(10), hash(number), seeds)) {
            assert!((5_400..6_600).contains(&share), "{share} of 6000");
        }
    }

    #[test]
    fn when_a_server_goes_only_its_requests_move() {
        let gone = all(10).without(ServerSet::default().with(4));
        let mut moved = 0;
        for number in 0..10_000 {
            let (before, after) = (highest(all(10), mix(number), seeds), highest(gone, mix(number), seeds));
            assert!(before == after || before == Some(4));
            moved += usize::from(before != after);
        }
        assert!((800..1_200).contains(&moved), "{moved}");
    }
}
