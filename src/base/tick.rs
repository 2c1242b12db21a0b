//! Time as an argument: microseconds since the gateway started.

use std::ops::Add;
use std::time::Duration;

/// A point in time: microseconds since the clock of the process (or of the simulator) began.
///
/// Only a driver reads a clock; everything else is handed a `Tick`.
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
    fn adding_to_never_stays_never() {
        assert_eq!(Tick::NEVER + Duration::from_secs(1), Tick::NEVER);
        assert_eq!(Tick::from_millis(2).since(Tick::from_millis(5)), Duration::ZERO);
    }
}
