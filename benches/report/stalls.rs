//! How much of the time the machine itself stands still: what a thread sees that only reads the clock.
//!
//! On a virtual machine the host takes cores away for milliseconds at a time, and often says so nowhere. No server can answer
//! sooner than the core that it runs on comes back: a percentile of a latency is to be read beside this.

use std::thread;
use std::time::{Duration, Instant};

/// One for each core at a time, and nothing else: long enough for a share of a thousandth.
const WATCH: Duration = Duration::from_secs(3);
/// Above what an interrupt takes.
const GAP_MIN: Duration = Duration::from_micros(500);

/// Of an otherwise idle machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Of the time of all cores.
    pub share: f64,
    pub longest_ms: f64,
}

/// Watches every core.
pub fn watch(cores: usize) -> Stalls {
    let seen: Vec<Vec<Duration>> = thread::scope(|scope| {
        let watchers: Vec<_> = (0..cores).map(|_| scope.spawn(|| gaps(Instant::now))).collect();
        watchers.into_iter().map(|watcher| watcher.join().unwrap_or_default()).collect()
    });
    let gaps = || seen.iter().flatten();
    Stalls {
        share: gaps().sum::<Duration>().div_duration_f64(WATCH * cores as u32),
        longest_ms: gaps().max().map_or(0.0, |longest| longest.as_secs_f64() * 1e3),
    }
}

/// The times during which the clock could not be read.
fn gaps(mut clock: impl FnMut() -> Instant) -> Vec<Duration> {
    let began = clock();
    let mut last = began;
    let mut gaps = Vec::new();
    while last - began < WATCH {
        let now = clock();
        if now - last >= GAP_MIN {
            gaps.push(now - last);
        }
        last = now;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_lies_between_two_readings() {
        let base = Instant::now();
        let watch_us = WATCH.as_micros() as u64;
        let mut readings = [0, 100, 2_100, 2_200, 2_699, 3_399, 3_399 + watch_us].into_iter();
        let clock = || base + Duration::from_micros(readings.next().expect("the watch is over"));
        let seen: Vec<Duration> = gaps(clock);
        assert_eq!(seen, [2_000, 700, watch_us].map(Duration::from_micros));
    }
}
