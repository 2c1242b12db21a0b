//! The faults of a simulated world, their frequency, and the seeded randomness that decides.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::service::DialFate;

/// A seeded source of randomness (splitmix64): the same on every machine and in every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    pub fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in `per_mille` of 1,000 cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// From 1 to `most`, small numbers more often than large ones: small pieces are where parsers break.
    pub fn some_of(&mut self, most: usize) -> usize {
        let most = most as u64;
        let bound = if self.chance(500) { most.min(8) } else { most };
        1 + self.below(bound) as usize
    }
}

/// How often each fault occurs, in thousandths of its occasions, and the sizes of a world.
#[derive(Clone, Debug)]
pub struct Faults {
    /// A receive hands over a part of what has arrived.
    pub partial_read: u32,
    /// A send moves a part of what fits, and continues later.
    pub partial_write: u32,
    /// A connection breaks at some time of its life, for both sides but not at the same time.
    pub reset: u32,
    /// Bytes that a side of a broken connection has not read are lost, too.
    pub discard: u32,
    /// A segment takes longer, and later ones wait for it.
    pub delay: u32,
    /// Accepting fails with EMFILE or ENOBUFS.
    pub accept_failure: u32,
    /// The next completion is not the oldest one.
    pub reorder: u32,
    /// A completion is returned only after the next wait, as by a ring; otherwise at once, as a readiness driver may.
    pub defer: u32,
    /// A driver wakes without a call of its waker.
    pub spurious_wake: u32,
    /// A client does not read for a while.
    pub stall: u32,
    /// `Closed` comes a while after `close`.
    pub late_close: u32,

    /// The travel time of each segment.
    pub latency_us: RangeInclusive<u64>,
    /// The extra time of a delayed segment, of a write that continues later, and of a late `Closed`.
    pub delay_us: RangeInclusive<u64>,
    /// How long a client does not read.
    pub stall_us: RangeInclusive<u64>,
    /// The time from the connect to the break.
    pub life_us: RangeInclusive<u64>,
    /// Bytes that one direction of a connection holds, as two kernels' socket buffers do.
    pub pipe_bytes: RangeInclusive<u64>,

    /// A dial fails at once: no descriptor, or no port.
    pub dial_failure: u32,
    /// A service refuses a dial.
    pub dial_refused: u32,
    /// A service never answers a dial.
    pub dial_silent: u32,
    /// A service answers a dial late.
    pub dial_late: u32,
    /// A dialled connection breaks at a certain byte.
    pub dial_reset: u32,
    /// How late.
    pub late_us: RangeInclusive<u64>,
    /// At most so many bytes have moved until then, both directions together.
    pub reset_bytes_max: usize,
}

impl Faults {
    /// A good network: no fault, and everything arrives after the same short time.
    pub fn none() -> Faults {
        Faults {
            partial_read: 0,
            partial_write: 0,
            reset: 0,
            discard: 0,
            delay: 0,
            accept_failure: 0,
            reorder: 0,
            defer: 0,
            spurious_wake: 0,
            stall: 0,
            late_close: 0,
            latency_us: 50..=50,
            delay_us: 1..=1,
            stall_us: 1..=1,
            life_us: 1..=1,
            pipe_bytes: 65_536..=65_536,
            dial_failure: 0,
            dial_refused: 0,
            dial_silent: 0,
            dial_late: 0,
            dial_reset: 0,
            late_us: 1..=1,
            reset_bytes_max: 0,
        }
    }

    /// A world with a character of its own: about half of the faults never happen in it, the others rarely to often.
    ///
    /// A seed with every fault hides bugs that need a long quiet stretch, so seeds differ in kind.
    pub fn seeded(seed: u64) -> Faults {
        let mut random = Random::new(seed ^ 0xFA17_5EED);
        Faults {
            partial_read: often(&mut random, 900),
            partial_write: often(&mut random, 900),
            reset: often(&mut random, 400),
            discard: often(&mut random, 1_000),
            delay: often(&mut random, 200),
            accept_failure: often(&mut random, 300),
            reorder: often(&mut random, 900),
            defer: often(&mut random, 1_000),
            spurious_wake: often(&mut random, 200),
            stall: often(&mut random, 100),
            late_close: often(&mut random, 700),
            latency_us: 1..=1 + random.below(20_000),
            delay_us: 1..=1 + random.below(500_000),
            stall_us: 1_000..=1_000 + random.below(8_000_000),
            life_us: 1..=1 + random.below(60_000_000),
            pipe_bytes: 512..=512 << random.below(8),
            dial_failure: often(&mut random, 100),
            dial_refused: often(&mut random, 200),
            dial_silent: often(&mut random, 100),
            dial_late: often(&mut random, 400),
            dial_reset: often(&mut random, 400),
            late_us: 1..=1 + random.below(5_000_000),
            reset_bytes_max: random.below(20_000) as usize,
        }
    }

    pub(super) fn latency(&self, random: &mut Random) -> Duration {
        let mut latency_us = random.within(&self.latency_us);
        if random.chance(self.delay) {
            latency_us += random.within(&self.delay_us);
        }
        Duration::from_micros(latency_us)
    }

    pub(super) fn pause(&self, random: &mut Random) -> Duration {
        Duration::from_micros(random.within(&self.delay_us))
    }

    pub(super) fn dial_fate(&self, random: &mut Random) -> DialFate {
        match () {
            _ if random.chance(self.dial_refused) => DialFate::Refused,
            _ if random.chance(self.dial_silent) => DialFate::Silent,
            _ if random.chance(self.dial_late) => DialFate::Late(Duration::from_micros(random.within(&self.late_us))),
            _ if random.chance(self.dial_reset) => {
                DialFate::ResetAt(random.some_of(self.reset_bytes_max + 1) as u64 - 1)
            }
            _ => DialFate::Answered,
        }
    }

    /// Everything must take time, so that effects come after their causes.
    pub(super) fn check(&self) {
        for range in [&self.latency_us, &self.delay_us, &self.stall_us, &self.life_us, &self.pipe_bytes, &self.late_us]
        {
            assert!(*range.start() > 0 && range.start() <= range.end(), "an empty range, or one from zero: {self:?}");
        }
    }
}

/// In half of the worlds never, in the others up to `most`.
fn often(random: &mut Random, most: u64) -> u32 {
    if random.chance(500) { 1 + random.below(most) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_reference_sequence_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = Random::new(1);
        for most in 1..200 {
            assert!((1..=most).contains(&random.some_of(most)));
            assert!((3..=most as u64 + 3).contains(&random.within(&(3..=most as u64 + 3))));
        }
        assert!(!random.chance(0) && random.chance(1_000));
    }

    #[test]
    fn every_fault_is_in_some_seeds_and_missing_in_others() {
        let seeds: Vec<Faults> = (0..100).map(Faults::seeded).collect();
        for fault in [
            (|faults| faults.reset) as fn(&Faults) -> u32,
            |faults| faults.partial_read,
            |faults| faults.partial_write,
            |faults| faults.accept_failure,
            |faults| faults.defer,
            |faults| faults.dial_refused,
            |faults| faults.dial_silent,
            |faults| faults.dial_reset,
        ] {
            let count = seeds.iter().filter(|faults| fault(faults) > 0).count();
            assert!((20..80).contains(&count), "{count}");
        }
        seeds.iter().for_each(Faults::check);
    }
}
