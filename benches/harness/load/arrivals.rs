//! When each of a batch comes: all as soon as there is room, or each in its own time, and again if it was refused.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tidegate::driver::sim::Random;

/// Connections of one hand that are on their way without a time of their own: all hands' together fit a listen queue.
const AT_ONCE_MAX: usize = 64;
/// As the `centrifuge` package waits before it tries again: a random time below this, which doubles with each try.
const BACK_OFF: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(20);
/// An hour in microseconds, to three digits.
const TIME_US_MAX: u64 = 3_600_000_000;

/// Who of a batch is yet to come, and how it went for those who came.
pub(super) struct Arrivals {
    start: Instant,
    /// Member and when it is due, soonest first.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    tries: Vec<u8>,
    on_their_way: usize,
    is_jittered: bool,
    random: Random,
    opened: Opened,
}

/// How it went.
#[derive(Clone)]
pub struct Opened {
    /// From the beginning until each was answered, in microseconds.
    times: Histogram<u64>,
    /// Tries that came to nothing.
    pub refused: u64,
    /// Why the first of them did.
    pub fault: Option<String>,
}

impl Arrivals {
    pub(super) fn at_once(count: usize) -> Result<Arrivals, String> {
        Arrivals::new(count, false, 0)
    }

    /// Each at a random time within `jitter`, and later again if it is refused.
    pub(super) fn jittered(count: usize, jitter: Duration, seed: u64) -> Result<Arrivals, String> {
        let mut arrivals = Arrivals::new(count, true, seed)?;
        let start = arrivals.start;
        arrivals.due =
            (0..count).map(|member| Reverse((start + below(&mut arrivals.random, jitter), member))).collect();
        Ok(arrivals)
    }

    fn new(count: usize, is_jittered: bool, seed: u64) -> Result<Arrivals, String> {
        let start = Instant::now();
        Ok(Arrivals {
            start,
            due: (0..count).map(|member| Reverse((start, member))).collect(),
            tries: vec![0; count],
            on_their_way: 0,
            is_jittered,
            random: Random::new(seed),
            opened: Opened::new()?,
        })
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self, now: Instant) -> Option<usize> {
        let Reverse((due, member)) = *self.due.peek()?;
        let is_full = !self.is_jittered && self.on_their_way >= AT_ONCE_MAX;
        if due > now || is_full {
            return None;
        }
        self.due.pop();
        self.on_their_way += 1;
        Some(member)
    }

    /// Until somebody is due whom nothing else brings in.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((due, _)) = self.due.peek().filter(|_| self.is_jittered)?;
        Some(due.saturating_duration_since(now))
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.on_their_way -= 1;
        let took = now.saturating_duration_since(self.start);
        self.opened.times.saturating_record(took.as_micros() as u64);
    }

    /// It comes again after a while; the fault itself where nobody is to be refused.
    pub(super) fn refused(&mut self, member: usize, now: Instant, fault: String) -> Result<(), String> {
        if !self.is_jittered {
            return Err(fault);
        }
        self.on_their_way -= 1;
        self.opened.refused += 1;
        self.opened.fault.get_or_insert(fault);
        let limit = (BACK_OFF * (1 << self.tries[member].min(6))).min(BACK_OFF_MAX);
        self.tries[member] = self.tries[member].saturating_add(1);
        self.due.push(Reverse((now + below(&mut self.random, limit), member)));
        Ok(())
    }

    /// Everybody is there.
    pub(super) fn outcome(&self) -> Option<Opened> {
        (self.due.is_empty() && self.on_their_way == 0).then(|| self.opened.clone())
    }
}

impl Opened {
    pub(super) fn new() -> Result<Opened, String> {
        let times = Histogram::new_with_bounds(1, TIME_US_MAX, 3).map_err(|error| error.to_string())?;
        Ok(Opened { times, refused: 0, fault: None })
    }

    pub(super) fn add(&mut self, other: Opened) {
        self.times += other.times;
        self.refused += other.refused;
        self.fault = self.fault.take().or(other.fault);
    }

    /// When so large a share of them was there.
    pub fn seconds_until(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1e6
    }
}

fn below(random: &mut Random, limit: Duration) -> Duration {
    Duration::from_micros(random.below(limit.as_micros() as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_means_as_many_as_a_listen_queue_holds() {
        let mut arrivals = Arrivals::at_once(AT_ONCE_MAX + 1).unwrap();
        let now = Instant::now();
        let first: Vec<_> = std::iter::from_fn(|| arrivals.next(now)).collect();
        assert_eq!(first, (0..AT_ONCE_MAX).collect::<Vec<_>>());
        assert!(arrivals.refused(3, now, "no".to_owned()).is_err());
        for _ in first {
            arrivals.opened(now);
        }
        assert!(arrivals.outcome().is_none());
        assert_eq!((arrivals.next(now), arrivals.next(now)), (Some(AT_ONCE_MAX), None));
        arrivals.opened(now);
        assert_eq!(arrivals.outcome().unwrap().times.len(), AT_ONCE_MAX as u64 + 1);
    }

    #[test]
    fn with_jitter_each_comes_in_its_time_and_again_if_refused() {
        let jitter = Duration::from_secs(2);
        let mut arrivals = Arrivals::jittered(1_000, jitter, 7).unwrap();
        let half: Vec<_> = std::iter::from_fn(|| arrivals.next(arrivals.start + jitter / 2)).collect();
        assert!((400..600).contains(&half.len()), "{} came in half the time", half.len());
        let end = arrivals.start + jitter;
        arrivals.refused(half[0], end, "busy".to_owned()).unwrap();
        let again = arrivals.due.iter().find(|Reverse((_, member))| *member == half[0]).unwrap().0.0;
        assert!((end..=end + BACK_OFF).contains(&again));
        let late = end + BACK_OFF;
        let rest = std::iter::from_fn(|| arrivals.next(late)).count();
        assert_eq!(rest, 1_000 - half.len() + 1);
        assert_eq!(arrivals.wait(late), None);
        (0..1_000).for_each(|_| arrivals.opened(late));
        let opened = arrivals.outcome().unwrap();
        assert_eq!((opened.refused, opened.fault.as_deref()), (1, Some("busy")));
        assert!((opened.seconds_until(0.99) - 2.5).abs() < 0.01);
    }
}
