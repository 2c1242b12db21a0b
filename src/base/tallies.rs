//! Accounts of strangers in a table of fixed size that all shards share: how many of something are open, and a time.
//!
//! ```text
//!  key --hash--> home, tag        home      +1        +2     ...   +7       the key is in one of these, or nowhere
//!                              | tag count | tag count | ...               word: AtomicU64, tag 40 bits, count 24 bits
//!                              | time      | time      | ...               time: AtomicU64, nanoseconds
//!
//!  Tally  free:  count 0 and time past       any key may take it: compare-exchange of the word
//!         in use: count above 0, or time ahead
//!
//!  no place among the eight --> None: the caller has an account for all such keys
//! ```
//!
//! **The one exception to ONE OWNER.** The connections of one address come to any shard, so the shards have to add up what the
//! address uses. They do so without a lock and without letters: a step is one or two atomic operations.
//!
//! # What may go wrong, and what may not
//!
//! Two shards may work on one tally at the same time. Every change of a count is a compare-exchange of the whole word, with
//! the tag in it, and a tally is taken over for another key only while its count is 0, by a compare-exchange of the
//! same word. So **a count is never lost and never changed for another key**: what was acquired is released once, and the sum
//! of all counts is the number of open things.
//!
//! The time is another word, and exact only almost:
//!
//! - Between the look at the word and the change of the time, the tally may be taken over: then one charge goes to the
//!   wrong key.
//! - Two shards may enter one key twice, in different places, when a place becomes free between their looks. Both tallies hold;
//!   the second one is found when the first has gone. Until then the key may use up to twice as much. A release looks for
//!   a tally with a count, and looks again if others have moved the counts behind it.
//!
//! Both need two shards within nanoseconds, and cost an allowance too much or too little once. Orderings: a shard that sees a
//! time which is ahead sees the key that owes it, too; no other memory is published. `models` lets loom try all orders.
//!
//! Strangers choose keys (addresses, names of users). The hash is keyed with a secret, so they cannot choose places.

#[cfg(test)]
mod models;

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use ahash::RandomState;

/// A number that several threads change: the processor's, or that of a model.
pub trait Word: Default {
    fn load(&self) -> u64;
    /// Replaces `old`, or says which number is there instead. May fail although it is `old`.
    fn replace(&self, old: u64, new: u64) -> Result<u64, u64>;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        self.load(Acquire)
    }

    #[inline]
    fn replace(&self, old: u64, new: u64) -> Result<u64, u64> {
        self.compare_exchange_weak(old, new, AcqRel, Acquire)
    }
}

/// One account. All zero: free.
#[derive(Debug, Default)]
pub struct TallyOf<W> {
    /// The tag of its key, and the count.
    word: W,
    /// Nanoseconds on the clock of the process.
    time: W,
}

pub type Tally = TallyOf<AtomicU64>;

const _: () = assert!(size_of::<Tally>() == 16, "four to a cache line");

/// The place of a key in a table, and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TallyKey {
    home: u32,
    /// Never 0; in the upper 40 bits.
    tag: u64,
}

/// The table. See the module's picture.
pub struct TalliesOf<W> {
    /// A power of two.
    all: Box<[TallyOf<W>]>,
    hash: RandomState,
}

pub type Tallies = TalliesOf<AtomicU64>;

/// The outcome of [`Tallies::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// One more is open.
    Yes,
    /// As many are open as may be.
    AtMost,
    /// The table has no place for the key.
    NoPlace,
}

const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// Places in which a key may be: two or three cache lines.
const PROBES: usize = 8;
/// How often a step begins again because another shard was faster.
const TRIES: usize = 16;

impl<W> fmt::Debug for TalliesOf<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tallies({})", self.all.len())
    }
}

impl<W: Word> TallyOf<W> {
    fn count(&self) -> u32 {
        (self.word.load() & COUNT) as u32
    }

    /// Replaces the time by what `step` makes of it, unless that fails.
    pub fn charge<E>(&self, step: impl Fn(u64) -> Result<u64, E>) -> Result<u64, E> {
        let mut time = self.time.load();
        loop {
            let next = step(time)?;
            // Each failure is another shard's success.
            match self.time.replace(time, next) {
                Ok(_) => return Ok(next),
                Err(other) => time = other,
            }
        }
    }

    /// Counts one more for `tag`, unless the tally is another's or has `most`.
    fn acquire_as(&self, tag: u64, most: u32) -> Acquired {
        let mut word = self.word.load();
        loop {
            if word & !COUNT != tag {
                return Acquired::NoPlace;
            }
            if word & COUNT >= COUNT.min(most.into()) {
                return Acquired::AtMost;
            }
            match self.word.replace(word, word + 1) {
                Ok(_) => return Acquired::Yes,
                Err(other) => word = other,
            }
        }
    }

    /// Counts one less for `tag`. False if it has none.
    fn release_as(&self, tag: u64) -> bool {
        let mut word = self.word.load();
        loop {
            if word & !COUNT != tag || word & COUNT == 0 {
                return false;
            }
            match self.word.replace(word, word - 1) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
    }

    /// Counts one more, unless it has `most`: for a tally that is no table's, and so no key's.
    pub fn acquire(&self, most: u32) -> bool {
        self.acquire_as(0, most) == Acquired::Yes
    }

    /// Counts one less. False if it has none.
    pub fn release(&self) -> bool {
        self.release_as(0)
    }

    /// How many are open.
    pub fn open(&self) -> u32 {
        self.count()
    }
}

impl<W: Word> TalliesOf<W> {
    /// A table with `places`, or a few more: a power of two. `secret` is random.
    pub fn new(places: usize, secret: [u64; 4]) -> TalliesOf<W> {
        let places = places.clamp(PROBES, 1 << 32).next_power_of_two();
        let [a, b, c, d] = secret;
        TalliesOf { all: (0..places).map(|_| TallyOf::default()).collect(), hash: RandomState::with_seeds(a, b, c, d) }
    }

    /// The key of something that is counted.
    pub fn key(&self, thing: &impl Hash) -> TallyKey {
        let hash = self.hash.hash_one(thing);
        // The tag's bits and the home's are different ones: neighbours rarely have equal tags.
        let tag = (hash & !COUNT).max(1 << COUNT_BITS);
        TallyKey { home: (self.hash.hash_one(hash) as usize & (self.all.len() - 1)) as u32, tag }
    }

    fn places(&self, key: TallyKey) -> impl Iterator<Item = &TallyOf<W>> {
        (0..PROBES).map(move |step| &self.all[(key.home as usize + step) & (self.all.len() - 1)])
    }

    /// The tally of the key, entered if it is not there. `None`: there is no place.
    fn find(&self, key: TallyKey, now_ns: u64) -> Option<&TallyOf<W>> {
        let is_own = |word: u64| word & !COUNT == key.tag;
        for _ in 0..TRIES {
            let mut free = None;
            // One look at each word: a key that others enter meanwhile takes the place that looks free here.
            for tally in self.places(key) {
                let word = tally.word.load();
                if is_own(word) {
                    return Some(tally);
                }
                if free.is_none() && word & COUNT == 0 && tally.time.load() <= now_ns {
                    free = Some((tally, word));
                }
            }
            match free {
                Some((tally, word)) if tally.word.replace(word, key.tag).is_ok() => return Some(tally),
                Some(_) => {}
                // Others may have entered and charged it between the looks at a word and at its time.
                None => return self.places(key).find(|tally| is_own(tally.word.load())),
            }
        }
        None
    }

    /// Replaces the key's time by what `step` makes of it, unless that fails. `None`: there is no place for the key.
    pub fn charge<E>(
        &self,
        key: TallyKey,
        now_ns: u64,
        step: impl Fn(u64) -> Result<u64, E>,
    ) -> Option<Result<u64, E>> {
        Some(self.find(key, now_ns)?.charge(step))
    }

    /// Counts one more for the key, unless it has `most`.
    pub fn acquire(&self, key: TallyKey, most: u32, now_ns: u64) -> Acquired {
        for _ in 0..TRIES {
            let Some(tally) = self.find(key, now_ns) else { return Acquired::NoPlace };
            match tally.acquire_as(key.tag, most) {
                // Another key has taken the place meanwhile.
                Acquired::NoPlace => {}
                outcome => return outcome,
            }
        }
        Acquired::NoPlace
    }

    /// Counts one less for the key. False if the table has none of it.
    pub fn release(&self, key: TallyKey) -> bool {
        // Of a key in two places, the count can move behind the look from one to the other.
        (0..TRIES).any(|_| self.places(key).any(|tally| tally.release_as(key.tag)))
    }

    /// How many are open, of all keys.
    pub fn open(&self) -> u64 {
        self.all.iter().map(|tally| u64::from(tally.count())).sum()
    }

    /// How many places the table has.
    pub fn places_max(&self) -> usize {
        self.all.len()
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.all)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    const SECRET: [u64; 4] = [1, 2, 3, 4];

    /// Ahead by one, as long as it stays within 3 of `now`.
    fn within_three(now_ns: u64) -> impl Fn(u64) -> Result<u64, u64> {
        move |time| if time.max(now_ns) < now_ns + 3 { Ok(time.max(now_ns) + 1) } else { Err(time) }
    }

    #[test]
    fn counts_each_key_up_to_its_bound_and_down_again() {
        let table = Tallies::new(64, SECRET);
        let (a, b) = (table.key(&"a"), table.key(&"b"));
        assert_eq!([2, 2, 2].map(|most| table.acquire(a, most, 0)), [Acquired::Yes, Acquired::Yes, Acquired::AtMost]);
        assert_eq!(table.acquire(b, 1, 0), Acquired::Yes);
        assert_eq!(table.open(), 3);
        assert!(table.release(a) && table.release(a) && !table.release(a));
        assert_eq!((table.open(), table.acquire(a, 1, 0)), (1, Acquired::Yes));
    }

    #[test]
    fn a_time_that_is_ahead_keeps_its_place_and_one_that_is_past_gives_it_up() {
        let table = Tallies::new(PROBES, SECRET);
        let keys: Vec<_> = (0..PROBES as u64 + 1).map(|name| table.key(&name)).collect();
        for key in &keys[..PROBES] {
            assert_eq!(table.charge(*key, 10, within_three(10)), Some(Ok(11)));
        }
        assert_eq!(table.charge(keys[PROBES], 10, within_three(10)), None, "all places are in use");
        assert_eq!(table.charge(keys[0], 10, within_three(10)), Some(Ok(12)));
        assert_eq!(table.charge(keys[PROBES], 11, within_three(11)), Some(Ok(12)), "one of them is past");
        assert_eq!(table.charge(keys[0], 11, within_three(11)), Some(Ok(13)), "and it was not this one");
        let more = [(); 2].map(|()| table.charge(keys[0], 11, within_three(11)));
        assert_eq!(more, [Some(Ok(14)), Some(Err(14))], "a refusal changes nothing");
    }

    #[test]
    fn what_is_open_keeps_its_place_for_ever() {
        let table = Tallies::new(PROBES, SECRET);
        let keys: Vec<_> = (0..PROBES as u64 + 1).map(|name| table.key(&name)).collect();
        keys[..PROBES].iter().for_each(|key| assert_eq!(table.acquire(*key, 9, 0), Acquired::Yes));
        assert_eq!(table.acquire(keys[PROBES], 9, u64::MAX), Acquired::NoPlace);
        assert!(!table.release(keys[PROBES]) && table.release(keys[3]));
        assert_eq!(table.acquire(keys[PROBES], 9, 0), Acquired::Yes);
    }

    #[test]
    fn a_table_that_is_four_fifths_full_has_a_place_for_nearly_every_key() {
        let table = Tallies::new(1 << 14, SECRET);
        let count = table.places_max() * 4 / 5;
        let placed = (0..count).filter(|name| table.acquire(table.key(name), 1, 0) == Acquired::Yes).count();
        assert_eq!(table.open(), placed as u64);
        assert!(placed * 100 >= count * 95, "{placed} of {count}");
    }

    #[test]
    fn a_hundred_thousand_keys_leave_the_table_as_large_as_it_was() {
        let table = Tallies::new(4_096, SECRET);
        let bytes = table.bytes();
        let mut homeless = 0;
        for name in 0..100_000_u64 {
            // Ten arrive in a nanosecond, and each owes for 100.
            let now_ns = name / 10;
            homeless += usize::from(
                table.charge(table.key(&name), now_ns, |time| Ok::<_, ()>(time.max(now_ns) + 100)).is_none(),
            );
        }
        assert_eq!((table.bytes(), bytes), (4_096 * 16, 4_096 * 16));
        assert!(homeless < 100, "{homeless} found no place beside a thousand others");
    }

    #[test]
    fn secrets_decide_places() {
        let [one, other] = [SECRET, [5, 6, 7, 8]].map(|secret| Tallies::new(1 << 20, secret));
        let same = (0..100).filter(|name| one.key(name) == other.key(name)).count();
        assert_eq!(same, 0);
    }

    /// Threads that acquire and release a few keys in a table that is too small for them, and charge others in between.
    #[test]
    fn threads_lose_no_count_and_count_for_no_other_key() {
        let table = Arc::new(Tallies::new(16, SECRET));
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let table = table.clone();
                std::thread::spawn(move || {
                    let mut held: HashMap<u64, u32> = HashMap::new();
                    let mut draw = thread + 1;
                    for step in 0..60_000_u64 {
                        // xorshift64.
                        draw ^= draw << 13;
                        draw ^= draw >> 7;
                        draw ^= draw << 17;
                        let name = draw % 24;
                        let key = table.key(&name);
                        match draw >> 60 {
                            0..6 => {
                                if table.acquire(key, u32::MAX, step) == Acquired::Yes {
                                    *held.entry(name).or_default() += 1;
                                }
                            }
                            6..13 => {
                                if let Some(count) = held.get_mut(&name).filter(|count| **count > 0) {
                                    assert!(table.release(key), "what was acquired can be released");
                                    *count -= 1;
                                }
                            }
                            _ => _ = table.charge(key, step, |time| Ok::<_, ()>(time.max(step) + 2)),
                        }
                    }
                    held
                })
            })
            .collect();
        let held: Vec<HashMap<u64, u32>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let sum: u64 = held.iter().flat_map(HashMap::values).map(|count| u64::from(*count)).sum();
        assert_eq!(table.open(), sum);
        for (name, count) in held.into_iter().flatten() {
            (0..count).for_each(|_| assert!(table.release(table.key(&name))));
        }
        assert_eq!(table.open(), 0);
    }
}
