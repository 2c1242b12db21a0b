//! The generic cell rate algorithm (GCRA, ITU-T I.371 annex A): a rate with a burst, in one number for each client.
//!
//! ```text
//!  now            the burst, filled one interval at a time          TAT: when all that was taken would be even
//!  |--------------|==============|==============|===================|
//!                 '-- one more fits while TAT - now is at most the tolerance: burst - 1 intervals
//!
//!  Gcra::take  too early: nothing is taken, and the caller is told when the next one fits
//!  Gcra::owe   too early: taken all the same, and the caller waits until it would have fitted
//! ```
//!
//! It admits exactly what a token bucket of `burst` tokens does that gets one each interval, and needs no timer. A TAT (the
//! theoretical arrival time) is in nanoseconds on the clock of [`Tick`]; one in the past says the same as none.

use std::time::Duration;

use crate::base::Tick;

/// A rate, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// From one to the next, if they come evenly.
    interval_ns: u64,
    /// How far ahead of the time a TAT may be when another one comes.
    tolerance_ns: u64,
}

/// The debt of one client: its TAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owing(pub u64);

const NS_PER_US: u64 = 1_000;

impl Gcra {
    /// `count` in each `per`, of which `burst` may come at once; neither is zero. The interval is rounded up to a nanosecond.
    pub fn new(count: u32, per: Duration, burst: u32) -> Gcra {
        let per_ns = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = per_ns.div_ceil(count.max(1).into()).max(1);
        Gcra { interval_ns, tolerance_ns: interval_ns.saturating_mul(burst.max(1).saturating_sub(1).into()) }
    }

    /// The same for `factor` clients that share one account.
    pub fn times(self, factor: u32) -> Gcra {
        let interval_ns = (self.interval_ns / u64::from(factor.max(1))).max(1);
        let burst_ns = self.tolerance_ns.saturating_add(self.interval_ns);
        Gcra { interval_ns, tolerance_ns: burst_ns.saturating_sub(interval_ns) }
    }

    /// Takes one, or says how long it is until one fits.
    pub fn take(self, owing: Owing, now: Tick) -> Result<Owing, Duration> {
        let now_ns = ns(now);
        let early_ns = owing.0.saturating_sub(now_ns).saturating_sub(self.tolerance_ns);
        match early_ns {
            0 => Ok(Owing(owing.0.max(now_ns).saturating_add(self.interval_ns))),
            early_ns => Err(Duration::from_micros(early_ns.div_ceil(NS_PER_US))),
        }
    }

    /// Takes one, whether it fits or not. Afterwards the next fits within `wait_max`, or within an interval if that is longer:
    /// what others on the same account have taken costs no client a longer wait.
    pub fn owe(self, owing: Owing, now: Tick, wait_max: Duration) -> Owing {
        let now_ns = ns(now);
        let wait_max_ns = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX).max(self.interval_ns);
        let most_ns = now_ns.saturating_add(self.tolerance_ns).saturating_add(wait_max_ns);
        Owing(owing.0.max(now_ns).saturating_add(self.interval_ns).min(most_ns))
    }

    /// When the next one fits; in the past if it fits now.
    pub fn fits_at(self, owing: Owing) -> Tick {
        Tick::from_micros(owing.0.saturating_sub(self.tolerance_ns).div_ceil(NS_PER_US))
    }
}

/// `now` in the unit of a TAT.
pub fn ns(now: Tick) -> u64 {
    now.micros().saturating_mul(NS_PER_US)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A token bucket, with tokens in nanoseconds of its rate.
    struct Bucket {
        interval_ns: u64,
        capacity_ns: u64,
        level_ns: u64,
        filled_at: Tick,
    }

    impl Bucket {
        fn new(gcra: Gcra, burst: u32) -> Bucket {
            let capacity_ns = gcra.interval_ns * u64::from(burst);
            Bucket { interval_ns: gcra.interval_ns, capacity_ns, level_ns: capacity_ns, filled_at: Tick::ZERO }
        }

        fn take(&mut self, now: Tick) -> bool {
            let gained = ns(now) - ns(self.filled_at);
            (self.level_ns, self.filled_at) = ((self.level_ns + gained).min(self.capacity_ns), now);
            let has_one = self.level_ns >= self.interval_ns;
            self.level_ns -= if has_one { self.interval_ns } else { 0 };
            has_one
        }
    }

    const WAIT_MAX: Duration = Duration::from_secs(60);

    proptest! {
        #[test]
        fn admits_what_a_token_bucket_admits(
            count in 1_u32..5_000,
            per_s in 1_u64..100,
            burst in 1_u32..200,
            steps in proptest::collection::vec(0_u64..3_000_000, 1..300),
        ) {
            let gcra = Gcra::new(count, Duration::from_secs(per_s), burst);
            let (mut bucket, mut owing, mut now) = (Bucket::new(gcra, burst), Owing::default(), Tick::ZERO);
            for (index, step) in steps.into_iter().enumerate() {
                // Bursts and pauses.
                now = now + Duration::from_micros(if index % 3 == 0 { step } else { step % 50 });
                let taken = gcra.take(owing, now);
                prop_assert_eq!(taken.is_ok(), bucket.take(now));
                match taken {
                    Ok(next) => owing = next,
                    Err(wait) => {
                        prop_assert!(gcra.take(owing, now + wait).is_ok(), "it fits when it was said to fit");
                        let earlier = wait - Duration::from_micros(1);
                        prop_assert!(earlier.is_zero() || gcra.take(owing, now + earlier).is_err());
                        prop_assert_eq!(gcra.fits_at(owing), now + wait);
                    }
                }
            }
        }

        #[test]
        fn a_client_that_waits_as_told_keeps_the_rate(
            count in 1_u32..5_000,
            burst in 1_u32..100,
            clients in 1_usize..8,
        ) {
            let gcra = Gcra::new(count, Duration::from_secs(1), burst);
            let mut owing = Owing::default();
            let mut next_at = vec![Tick::ZERO; clients];
            let total = 3 * burst as usize + 4 * clients + 10;
            let mut last = Tick::ZERO;
            for _ in 0..total {
                let client = (0..clients).min_by_key(|client| next_at[*client]).unwrap();
                last = next_at[client];
                owing = gcra.owe(owing, last, WAIT_MAX);
                next_at[client] = last.max(gcra.fits_at(owing));
            }
            // All but a burst, and one ahead for each client, have come one interval apart.
            let even = (total - burst as usize - clients) as u64 * gcra.interval_ns / 1_000;
            prop_assert!(last.micros() >= even, "{} messages in {} µs", total, last.micros());
            prop_assert!(last.micros() <= even + (clients as u64 + 1) * gcra.interval_ns.div_ceil(1_000));
        }
    }

    #[test]
    fn what_others_owe_is_never_waited_for_longer_than_the_bound() {
        let gcra = Gcra::new(1, Duration::from_secs(1), 5);
        let (mut owing, now) = (Owing::default(), Tick::from_millis(1_000_000));
        (0..10_000).for_each(|_| owing = gcra.owe(owing, now, WAIT_MAX));
        assert_eq!(gcra.fits_at(owing).since(now), WAIT_MAX);
        let slow = Gcra::new(1, Duration::from_secs(3_600), 1);
        assert_eq!(slow.fits_at(slow.owe(Owing::default(), now, WAIT_MAX)).since(now), Duration::from_secs(3_600));
    }

    #[test]
    fn the_account_of_many_has_their_rate_and_their_burst() {
        let gcra = Gcra::new(100, Duration::from_secs(1), 10).times(64);
        let admitted = |gcra: Gcra, now: Tick| {
            let mut owing = Owing::default();
            std::iter::from_fn(|| gcra.take(owing, now).ok().inspect(|next| owing = *next)).count()
        };
        assert_eq!(admitted(gcra, Tick::ZERO), 640);
        assert_eq!(gcra.interval_ns, 10_000_000 / 64);
        let extreme = Gcra::new(u32::MAX, Duration::from_secs(1), u32::MAX).times(64);
        assert!(extreme.take(Owing(u64::MAX), Tick::NEVER).is_ok(), "and nothing overflows");
    }
}
