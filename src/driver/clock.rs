//! The clock of a process: the one place that reads the time.

use std::time::Duration;

use crate::base::Tick;

/// Counts from an origin on CLOCK_MONOTONIC, which all processes of a machine share. A process that takes over the
/// connections of another one continues with its origin, so every [`Tick`] stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    origin: Duration,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Clock {
        Clock { origin: monotonic() }
    }

    /// A clock with this origin on CLOCK_MONOTONIC.
    pub fn of(origin: Duration) -> Clock {
        Clock { origin }
    }

    /// The origin, with which [`Clock::of`] makes the same clock in another process.
    pub fn origin(self) -> Duration {
        self.origin
    }

    pub fn now(self) -> Tick {
        Tick::ZERO + monotonic().saturating_sub(self.origin)
    }
}

fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to `now`, which is ours, and keeps no reference to it.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(outcome, 0, "every Linux has this clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_the_same_origin_shows_the_same_time() {
        let first = Clock::start();
        let second = Clock::of(first.origin());
        let (before, between, after) = (first.now(), second.now(), first.now());
        assert!(before <= between && between <= after);
        assert!(after < Tick::from_millis(60_000), "it began with the test");
    }

    #[test]
    fn a_clock_that_has_not_begun_shows_its_beginning() {
        assert_eq!(Clock::of(monotonic() + Duration::from_secs(60)).now(), Tick::ZERO);
    }
}
