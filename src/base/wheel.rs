//! A hierarchical timer wheel: one coarse timer per connection, found again without a search.
//!
//! ```text
//! level 0   64 slots of     8 ms        a timer lies in the slot of its deadline on the lowest level that reaches
//! level 1   64 slots of   512 ms        that far; when the hand passes a slot of a higher level, its timers fall
//! level 2   64 slots of  32.8 s         one level down
//! level 3   64 slots of  35 min         later than that: the last slot, looked at again when the hand is there
//! ```
//!
//! Timers are never cancelled: the owner compares the deadline it remembers, and ignores what fires for nothing.

use super::{Key, Tick};

const LEVELS: usize = 4;
const SLOTS: u64 = 64;
const LEVEL_BITS: u32 = 6;
/// The finest step, 8.192 ms: deadlines here are seconds, and a timer may fire up to one step late.
const STEP_BITS: u32 = 13;

#[derive(Clone, Copy)]
struct Timer {
    at: Tick,
    key: Key,
}

/// Deadlines of many connections; `expire` hands over those that have passed.
pub struct Wheel {
    slots: [[Vec<Timer>; SLOTS as usize]; LEVELS],
    /// Steps that have been looked at entirely.
    hand: u64,
    count: usize,
}

impl Wheel {
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            slots: std::array::from_fn(|_| std::array::from_fn(|_| Vec::new())),
            hand: now.micros() >> STEP_BITS,
            count: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Fires once for `key` at `at` or up to one step later. [`Tick::NEVER`] is not entered.
    pub fn insert(&mut self, at: Tick, key: Key) {
        if at == Tick::NEVER {
            return;
        }
        self.count += 1;
        self.place(Timer { at, key });
    }

    fn place(&mut self, timer: Timer) {
        // Rounded up: a timer never fires early.
        let step = ((timer.at.micros() >> STEP_BITS) + 1).max(self.hand + 1);
        let ahead = step - self.hand;
        for level in 0..LEVELS as u32 {
            if ahead < SLOTS << (level * LEVEL_BITS) {
                let slot = (step >> (level * LEVEL_BITS)) % SLOTS;
                self.slots[level as usize][slot as usize].push(timer);
                return;
            }
        }
        let top = (LEVELS - 1) as u32;
        let slot = ((self.hand >> (top * LEVEL_BITS)) + SLOTS - 1) % SLOTS;
        self.slots[top as usize][slot as usize].push(timer);
    }

    /// When `expire` has something to do next; never later than the earliest timer's step, often earlier (a fall).
    pub fn next(&self) -> Tick {
        if self.count == 0 {
            return Tick::NEVER;
        }
        // The nearest filled slot of each level; the hand of a level moves once per turn of the level below.
        let mut nearest = u64::MAX;
        for (level, slots) in self.slots.iter().enumerate() {
            let shift = level as u32 * LEVEL_BITS;
            let base = self.hand >> shift;
            for ahead in 1..=SLOTS {
                if !slots[((base + ahead) % SLOTS) as usize].is_empty() {
                    nearest = nearest.min((base + ahead) << shift);
                    break;
                }
            }
        }
        Tick::from_micros(nearest << STEP_BITS)
    }

    /// Hands every timer whose deadline is not after `now` to `fire`, in no particular order within one step.
    pub fn expire(&mut self, now: Tick, mut fire: impl FnMut(Key, Tick)) {
        let target = now.micros() >> STEP_BITS;
        while self.hand < target {
            if self.count == 0 {
                self.hand = target;
                return;
            }
            let next = (self.next().micros() >> STEP_BITS).min(target);
            self.hand = next;
            for level in (1..LEVELS).rev() {
                let shift = level as u32 * LEVEL_BITS;
                if self.hand.is_multiple_of(1 << shift) {
                    let slot = ((self.hand >> shift) % SLOTS) as usize;
                    let falling = std::mem::take(&mut self.slots[level][slot]);
                    for timer in falling {
                        // Due in this very step: it fires below, with the level-0 slot of the hand.
                        if (timer.at.micros() >> STEP_BITS) < self.hand {
                            self.count -= 1;
                            fire(timer.key, timer.at);
                        } else {
                            self.place(timer);
                        }
                    }
                }
            }
            let due = std::mem::take(&mut self.slots[0][(self.hand % SLOTS) as usize]);
            for timer in due {
                self.count -= 1;
                fire(timer.key, timer.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    proptest! {
        #[test]
        fn every_timer_fires_once_never_early_at_most_one_step_late(
            deadlines in prop::collection::vec(0u64..40_000_000_000, 1..60),
            steps in prop::collection::vec(1u64..3_000_000_000, 1..60),
        ) {
            let mut wheel = Wheel::new(Tick::ZERO);
            for (slot, at) in deadlines.iter().enumerate() {
                wheel.insert(Tick::from_micros(*at), key(slot as u32));
            }
            let mut fired = vec![None; deadlines.len()];
            let mut now = 0;
            let mut previous = 0;
            for step in steps.into_iter().chain([50_000_000_000]) {
                now += step;
                wheel.expire(Tick::from_micros(now), |key, _| {
                    assert!(fired[key.slot as usize].replace(now).is_none(), "fired twice");
                    let at = deadlines[key.slot as usize];
                    assert!(at <= now, "fired early");
                    assert!(at + (2 << STEP_BITS) > previous, "fired a call too late");
                });
                previous = now;
            }
            prop_assert!(fired.iter().all(Option::is_some));
            prop_assert!(wheel.is_empty());
        }

        #[test]
        fn sleeping_until_next_never_oversleeps(at in 0u64..40_000_000_000) {
            let mut wheel = Wheel::new(Tick::ZERO);
            wheel.insert(Tick::from_micros(at), key(0));
            let mut fired_at = None;
            for _ in 0..500 {
                let wake = wheel.next();
                if wake == Tick::NEVER { break; }
                wheel.expire(wake, |_, _| fired_at = Some(wake.micros()));
            }
            let fired_at = fired_at.expect("it fires within a bounded number of wake-ups");
            prop_assert!(fired_at >= at && fired_at <= at + (2 << STEP_BITS));
        }
    }
}
