//! A hierarchical timer wheel: one coarse timer for each slot, moved and cleared without a search.
//!
//! ```text
//! level 0   64 lists of     8 ms        a timer stands in the list of its deadline on the lowest level that reaches
//! level 1   64 lists of   512 ms        that far; when the hand passes a list of a higher level, its timers fall
//! level 2   64 lists of  32.8 s         one level down
//! level 3   64 lists of  35 min         later than that: the last list, looked at again when the hand is there
//!
//! nodes     [slot 0][slot 1] ...        12 bytes each; a list is a chain of nodes, so a timer that falls moves no memory
//! ```

use super::Tick;

const LEVELS: u32 = 4;
const LEVEL_BITS: u32 = 6;
/// Lists of one level: the number of bits of a word.
const LISTS: u64 = 1 << LEVEL_BITS;
/// The finest step, 8.192 ms: deadlines here are seconds, and a timer may fire up to one step late.
const STEP_BITS: u32 = 13;

/// Deadlines of many connections, one each; `expire` hands over those that have passed.
pub struct Wheel {
    /// The first node of each list.
    heads: [[u32; LISTS as usize]; LEVELS as usize],
    /// A bit for each list that is not empty.
    filled: [u64; LEVELS as usize],
    /// By slot.
    nodes: Vec<Node>,
    /// Steps that are completely handled.
    hand: u64,
    count: usize,
}

#[derive(Clone, Copy)]
struct Node {
    /// The lower bits of the step in which it fires; the step is less than half of their range away from the hand.
    step: u32,
    /// The next node of the list, or `NONE`.
    next: u32,
    /// The previous node, or the list of which it is the first, or `NONE` if it is in no list.
    previous: u32,
}

const _: () = assert!(size_of::<Node>() == 12, "every connection has one");

/// Nodes of capacity that are kept.
const NODES_KEPT: usize = 256;
const NONE: u32 = u32::MAX;
/// In `Node::previous`: the rest is a level and a list.
const FIRST_OF: u32 = 1 << 31;

impl Node {
    const IDLE: Node = Node { step: 0, next: NONE, previous: NONE };
}

impl Wheel {
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            heads: [[NONE; LISTS as usize]; LEVELS as usize],
            filled: [0; LEVELS as usize],
            nodes: Vec::new(),
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

    /// Fires once for `slot`, at `at` or up to one step later; replaces the earlier time. [`Tick::NEVER`] only clears.
    pub fn set(&mut self, slot: u32, at: Tick) {
        self.clear(slot);
        if at == Tick::NEVER {
            return;
        }
        if slot as usize >= self.nodes.len() {
            self.grow(slot as usize + 1);
        }
        self.count += 1;
        // Rounded up, because a timer never fires early. A time beyond the last level waits in its last list, and is placed
        // again when the hand is there.
        let step = ((at.micros() >> STEP_BITS) + 1).clamp(self.hand + 1, self.hand + u64::from(u32::MAX / 2));
        self.nodes[slot as usize] = Node { step: step as u32, ..Node::IDLE };
        self.place(slot);
    }

    /// Fires for `slot` at `at` or up to one step later, unless an earlier timer is set: that one stays, and fires first.
    /// So a deadline that is moved away again and again costs only one look.
    pub fn promise(&mut self, slot: u32, at: Tick) {
        let is_set = self.nodes.get(slot as usize).is_some_and(|node| node.previous != NONE);
        let is_kept = is_set && self.step_of(slot) <= (at.micros() >> STEP_BITS) + 1;
        if !is_kept {
            self.set(slot, at);
        }
    }

    /// Removes the timer of a slot, if there is one. Must be called before the slot gets another tenant.
    pub fn clear(&mut self, slot: u32) {
        let is_set = self.nodes.get(slot as usize).is_some_and(|node| node.previous != NONE);
        if is_set {
            self.unlink(slot);
            self.count -= 1;
        }
        if slot as usize + 1 == self.nodes.len() {
            self.shrink();
        }
    }

    /// Frees the nodes after the last timer.
    fn shrink(&mut self) {
        let len = self.nodes.iter().rposition(|node| node.previous != NONE).map_or(0, |last| last + 1);
        self.nodes.truncate(len);
        if self.nodes.capacity() > 2 * len + NODES_KEPT {
            self.nodes.shrink_to(len + NODES_KEPT);
        }
    }

    /// Grows by an eighth: doubling would leave half of a large table empty.
    fn grow(&mut self, len: usize) {
        if len > self.nodes.capacity() {
            self.nodes.reserve_exact(len - self.nodes.len() + self.nodes.len() / 8);
        }
        self.nodes.resize(len, Node::IDLE);
    }

    /// The full step in which a node fires.
    fn step_of(&self, slot: u32) -> u64 {
        let ahead = self.nodes[slot as usize].step.wrapping_sub(self.hand as u32) as i32;
        self.hand.saturating_add_signed(ahead.into())
    }

    fn place(&mut self, slot: u32) {
        let step = self.step_of(slot);
        let ahead = step - self.hand;
        let fitting = (0..LEVELS).find(|level| ahead < LISTS << (level * LEVEL_BITS));
        let (level, list) = match fitting {
            Some(level) => (level, (step >> (level * LEVEL_BITS)) % LISTS),
            None => (LEVELS - 1, ((self.hand >> ((LEVELS - 1) * LEVEL_BITS)) + LISTS - 1) % LISTS),
        };
        let head = &mut self.heads[level as usize][list as usize];
        let second = std::mem::replace(head, slot);
        self.filled[level as usize] |= 1 << list;
        if let Some(node) = self.nodes.get_mut(second as usize) {
            node.previous = slot;
        }
        let node = &mut self.nodes[slot as usize];
        node.next = second;
        node.previous = FIRST_OF | level << LEVEL_BITS | list as u32;
    }

    fn unlink(&mut self, slot: u32) {
        let Node { next, previous, .. } = self.nodes[slot as usize];
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.previous = previous;
        }
        if previous & FIRST_OF == 0 {
            self.nodes[previous as usize].next = next;
        } else {
            let (level, list) = ((previous & !FIRST_OF) >> LEVEL_BITS, u64::from(previous) % LISTS);
            self.heads[level as usize][list as usize] = next;
            if next == NONE {
                self.filled[level as usize] &= !(1 << list);
            }
        }
        self.nodes[slot as usize].previous = NONE;
    }

    /// When `expire` must be called next; never later than the earliest timer's step, often earlier (a fall).
    pub fn next(&self) -> Tick {
        if self.count == 0 {
            return Tick::NEVER;
        }
        let mut nearest = u64::MAX;
        for level in (0..LEVELS).filter(|level| self.filled[*level as usize] != 0) {
            let base = (self.hand >> (level * LEVEL_BITS)) + 1;
            // The lists in the order in which the hand reaches them, from the next one on.
            let ahead = self.filled[level as usize].rotate_right((base % LISTS) as u32).trailing_zeros();
            nearest = nearest.min((base + u64::from(ahead)) << (level * LEVEL_BITS));
        }
        Tick::from_micros(nearest << STEP_BITS)
    }

    /// Calls `fire` for every timer whose deadline is not after `now`, in no particular order within one step.
    pub fn expire(&mut self, now: Tick, mut fire: impl FnMut(u32)) {
        let target = now.micros() >> STEP_BITS;
        while self.hand < target {
            if self.count == 0 {
                self.hand = target;
                return;
            }
            self.hand = (self.next().micros() >> STEP_BITS).min(target);
            for level in (0..LEVELS).rev() {
                let shift = level * LEVEL_BITS;
                if self.hand.is_multiple_of(1 << shift) {
                    self.empty(level, (self.hand >> shift) % LISTS, &mut fire);
                }
            }
        }
    }

    /// Fires the due timers of a list that the hand has reached, and lets the others fall.
    fn empty(&mut self, level: u32, list: u64, fire: &mut impl FnMut(u32)) {
        let mut slot = std::mem::replace(&mut self.heads[level as usize][list as usize], NONE);
        self.filled[level as usize] &= !(1 << list);
        while slot != NONE {
            let node = &mut self.nodes[slot as usize];
            let next = node.next;
            node.previous = NONE;
            if self.step_of(slot) <= self.hand {
                self.count -= 1;
                fire(slot);
            } else {
                self.place(slot);
            }
            slot = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_timer_fires_once_never_early_at_most_one_step_late(
            deadlines in prop::collection::vec(0u64..40_000_000_000, 1..60),
            steps in prop::collection::vec(1u64..3_000_000_000, 1..60),
        ) {
            let mut wheel = Wheel::new(Tick::ZERO);
            for (slot, at) in deadlines.iter().enumerate() {
                wheel.set(slot as u32, Tick::from_micros(*at));
            }
            let mut fired = vec![None; deadlines.len()];
            let mut now = 0;
            let mut previous = 0;
            for step in steps.into_iter().chain([50_000_000_000]) {
                now += step;
                wheel.expire(Tick::from_micros(now), |slot| {
                    assert!(fired[slot as usize].replace(now).is_none(), "fired twice");
                    let at = deadlines[slot as usize];
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
            wheel.set(0, Tick::from_micros(at));
            let mut fired_at = None;
            for _ in 0..500 {
                let wake = wheel.next();
                if wake == Tick::NEVER { break; }
                wheel.expire(wake, |_| fired_at = Some(wake.micros()));
            }
            let fired_at = fired_at.expect("it fires within a bounded number of wake-ups");
            prop_assert!(fired_at >= at && fired_at <= at + (2 << STEP_BITS));
        }

        #[test]
        fn only_what_was_set_last_fires(
            calls in prop::collection::vec((0u32..12, prop::option::weighted(0.8, 0u64..200_000_000)), 1..200),
            pace in 1u64..20_000_000,
        ) {
            let mut wheel = Wheel::new(Tick::ZERO);
            let mut set: std::collections::BTreeMap<u32, u64> = Default::default();
            let mut now = 0;
            for (slot, at) in calls {
                now += pace;
                let due = |set: &std::collections::BTreeMap<u32, u64>, slot| set.get(&slot).copied();
                let mut fired = Vec::new();
                wheel.expire(Tick::from_micros(now), |slot| fired.push(slot));
                for slot in fired {
                    let at = due(&set, slot).expect("nothing fires that was not set");
                    prop_assert!(at <= now);
                    set.remove(&slot);
                }
                match at {
                    Some(at) => {
                        wheel.set(slot, Tick::from_micros(at));
                        set.insert(slot, at);
                    }
                    None => {
                        wheel.clear(slot);
                        set.remove(&slot);
                    }
                }
                prop_assert_eq!(wheel.len(), set.len());
            }
            let mut left = Vec::new();
            wheel.expire(Tick::from_micros(now + 300_000_000), |slot| left.push(slot));
            left.sort();
            prop_assert_eq!(left, set.into_keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_promise_moves_a_timer_only_to_the_front() {
        let (early, late) = (Tick::from_millis(1_000), Tick::from_millis(9_000));
        let mut wheel = Wheel::new(Tick::ZERO);
        wheel.promise(0, late);
        wheel.promise(0, early);
        wheel.promise(0, late);
        let mut fired = Vec::new();
        wheel.expire(early + std::time::Duration::from_millis(20), |slot| fired.push(slot));
        assert_eq!(fired, [0]);
        wheel.promise(0, early);
        wheel.clear(0);
        assert!(wheel.is_empty());
    }

    #[test]
    fn memory_goes_back_when_the_crowd_has_left() {
        let mut wheel = Wheel::new(Tick::ZERO);
        (0..10_000).for_each(|slot| wheel.set(slot, Tick::from_millis(1_000)));
        (0..10_000).rev().filter(|slot| *slot != 7).for_each(|slot| wheel.clear(slot));
        assert!(wheel.nodes.capacity() <= 2 * NODES_KEPT);
        let mut fired = Vec::new();
        wheel.expire(Tick::from_millis(1_020), |slot| fired.push(slot));
        assert_eq!(fired, [7]);
    }

    #[test]
    fn a_process_that_has_run_for_years_still_fires() {
        // The hand is beyond the range of a node's 32 bits, 407 days.
        let start = Tick::from_micros((u64::from(u32::MAX) - 10) << STEP_BITS);
        let mut wheel = Wheel::new(start);
        let at = start + std::time::Duration::from_secs(60);
        wheel.set(3, at);
        wheel.expire(at, |_| panic!("early"));
        let mut fired = 0;
        wheel.expire(at + std::time::Duration::from_millis(20), |_| fired += 1);
        assert_eq!(fired, 1);
    }
}
