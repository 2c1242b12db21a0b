//! Bytes that connections keep, in sum, and the connection to end first when the sum is too large.
//!
//! ```text
//!  class 10  [1 KiB, 2 KiB)    oldest  .  .  newest        40 KiB in all
//!  class 16  [64 KiB, 128 KiB) oldest  .  .  .  newest    900 KiB in all   <-- the heaviest class: its oldest goes first
//!  class 20  [1 MiB, 2 MiB)    oldest                       1 MiB in all
//! ```
//!
//! The largest class goes first if it is the heaviest, too. Otherwise it does not: if the largest load always went first, a
//! thousand loads of middle size would end each large one that is on its way, and stay. In one class, a load that grows or
//! ends leaves the class, and a load that stalls becomes the oldest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Key;

/// Classes of loads by the power of two below their bytes.
const CLASSES: usize = usize::BITS as usize;

/// The loads of many connections. Each step takes logarithmic time, and no memory remains for connections without a load.
pub struct Loads {
    by_key: BTreeMap<Key, Weighed>,
    /// By class, then by the time of entry.
    order: BTreeSet<(u32, u64, Key)>,
    class_bytes: [usize; CLASSES],
    bytes: usize,
    /// Entries into any class so far.
    entries: u64,
}

#[derive(Clone, Copy)]
struct Weighed {
    bytes: usize,
    /// The number of its entry into its class.
    entry: u64,
}

impl Default for Loads {
    fn default() -> Loads {
        Loads { by_key: BTreeMap::new(), order: BTreeSet::new(), class_bytes: [0; CLASSES], bytes: 0, entries: 0 }
    }
}

impl Loads {
    /// The bytes of all loads.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of connections with a load.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The next connection with a load in the order of keys, after `key`; the first after the last.
    pub fn after(&self, key: Option<Key>) -> Option<Key> {
        let further = key.and_then(|key| self.by_key.range((Bound::Excluded(key), Bound::Unbounded)).next());
        further.or_else(|| self.by_key.first_key_value()).map(|(key, _)| *key)
    }

    /// From now on `key` has a load of `bytes`; 0 means none.
    pub fn set(&mut self, key: Key, bytes: usize) {
        let before = self.by_key.get(&key).copied();
        let class = bytes.checked_ilog2();
        let is_same_class = before.is_some_and(|before| before.bytes.checked_ilog2() == class);
        let entry = match before {
            Some(before) if is_same_class => before.entry,
            _ => {
                self.entries += 1;
                self.entries
            }
        };
        if let Some(before) = before {
            let class = before.bytes.ilog2();
            self.bytes -= before.bytes;
            self.class_bytes[class as usize] -= before.bytes;
            if !is_same_class {
                self.order.remove(&(class, before.entry, key));
                self.by_key.remove(&key);
            }
        }
        if let Some(class) = class {
            self.bytes += bytes;
            self.class_bytes[class as usize] += bytes;
            if !is_same_class {
                self.order.insert((class, entry, key));
            }
            self.by_key.insert(key, Weighed { bytes, entry });
        }
    }

    /// The connection to end first: the oldest of the class that has the most bytes.
    pub fn first_to_go(&self) -> Option<Key> {
        let (class, _) = (0..).zip(&self.class_bytes).max_by_key(|(class, bytes)| (**bytes, *class))?;
        let (_, _, key) = self.order.range((class, 0, Key { slot: 0, generation: 0 })..).next()?;
        Some(*key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    #[test]
    fn the_sum_is_that_of_all_loads_and_nothing_stays() {
        let mut loads = Loads::default();
        let sizes = [1, 2, 1_023, 1_024, 1_025, 65_536, 70_000, 0, 5];
        for (round, bytes) in sizes.iter().cycle().take(900).enumerate() {
            loads.set(key(round as u32 % 7), *bytes);
            let sum: usize = loads.by_key.values().map(|load| load.bytes).sum();
            assert_eq!((loads.bytes(), loads.class_bytes.iter().sum()), (sum, sum));
            assert_eq!(loads.order.len(), loads.len());
        }
        (0..7).for_each(|slot| loads.set(key(slot), 0));
        assert!(loads.is_empty() && loads.order.is_empty() && loads.bytes() == 0);
        assert_eq!(loads.first_to_go(), None);
    }

    #[test]
    fn a_round_meets_each_load_once_and_those_that_leave_break_nothing() {
        let mut loads = Loads::default();
        assert_eq!(loads.after(None), None);
        (0..5).for_each(|slot| loads.set(key(slot), 1));
        let mut at = None;
        let round = |at: &mut Option<Key>, loads: &Loads| {
            *at = loads.after(*at);
            at.map(|key| key.slot)
        };
        assert_eq!([(); 6].map(|()| round(&mut at, &loads)), [0, 1, 2, 3, 4, 0].map(Some));
        loads.set(key(0), 0);
        loads.set(key(1), 0);
        assert_eq!(round(&mut at, &loads), Some(2));
    }

    #[test]
    fn the_heaviest_class_goes_first_and_in_it_the_oldest() {
        let mut loads = Loads::default();
        loads.set(key(0), 1_000_000);
        assert_eq!(loads.first_to_go(), Some(key(0)), "the largest of few");
        (1..=20).for_each(|slot| loads.set(key(slot), 65_536));
        assert_eq!(loads.first_to_go(), Some(key(1)), "twenty of middle size are more than one large one");
        loads.set(key(1), 65_537);
        assert_eq!(loads.first_to_go(), Some(key(1)), "a few bytes more make no difference");
        loads.set(key(1), 131_072);
        assert_eq!(loads.first_to_go(), Some(key(2)), "a load that grows is new in its class");
        (2..=20).for_each(|slot| loads.set(key(slot), 0));
        assert_eq!(loads.first_to_go(), Some(key(0)));
    }
}
