//! Time as an argument: microseconds since the gateway started.

use std::ops::Add;
use std::time::Duration;

/// A point in time: microseconds since the clock of the process (or of the simulator) began.
///
/// Only a driver reads a clock; everything else gets a `Tick` as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    pub const ZERO: Tick = Tick(0);
    /// Later than every deadline: "do not wake me for the time".
    pub const NEVER: Tick = Tick(u64::MAX);

    pub const fn from_micros(micros: u64) -> Tick {
        Tick(micros)
    }

    pub const fn from_millis(millis: u64) -> Tick {
        Tick(millis * 1_000)
    }

    pub const fn micros(self) -> u64 {
        self.0
    }

    pub const fn millis(self) -> u64 {
        self.0 / 1_000
    }

    /// How long from `earlier` to `self`; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A point in time to 65.536 ms, in half the memory: for times that are seconds away and stored for every connection.
/// Counts for 8.9 years; a later time is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoarseTick(u32);

const COARSE_BITS: u32 = 16;

impl CoarseTick {
    /// The last one not after `tick`.
    pub fn floor(tick: Tick) -> CoarseTick {
        CoarseTick(u32::try_from(tick.0 >> COARSE_BITS).unwrap_or(u32::MAX))
    }

    /// The first one not before `tick`: for deadlines, which must not fire early.
    pub fn ceil(tick: Tick) -> CoarseTick {
        CoarseTick(u32::try_from(tick.0.div_ceil(1 << COARSE_BITS)).unwrap_or(u32::MAX))
    }

    pub fn tick(self) -> Tick {
        if self.0 == u32::MAX { Tick::NEVER } else { Tick(u64::from(self.0) << COARSE_BITS) }
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, after: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_deadline_is_never_early_and_never_stays_never() {
        for micros in [0, 1, 65_535, 65_536, 65_537, 10_000_000] {
            let tick = Tick::from_micros(micros);
            let (floor, ceil) = (CoarseTick::floor(tick).tick(), CoarseTick::ceil(tick).tick());
            assert!(floor <= tick && tick <= ceil && ceil.since(floor) <= Duration::from_micros(65_536));
        }
        assert_eq!(CoarseTick::ceil(Tick::NEVER).tick(), Tick::NEVER);
    }

    #[test]
    fn adding_to_never_stays_never() {
        assert_eq!(Tick::NEVER + Duration::from_secs(1), Tick::NEVER);
        assert_eq!(Tick::from_millis(2).since(Tick::from_millis(5)), Duration::ZERO);
    }
}
