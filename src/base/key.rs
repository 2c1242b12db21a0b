//! Slots with generations: a key that outlives its value finds nothing, never another value.
//!
//! ```text
//! segments   [512 entries] [512 entries] [ freed ] [512 entries]
//!                 |  full       '- the lowest with room takes the next value
//!                 '- entry: generation, value, and while it is vacant the next vacant one of its segment
//! ```
//!
//! Growth copies nothing and doubles nothing, and an entry never moves. New values go to the lowest segment with room,
//! so that the higher ones drain when there are fewer values; a segment without values is freed. (A single `slab::Slab`
//! could do neither, and its entries have no room for the generation, which a look-up needs in the same cache line.)

/// Names one value of a [`Slots`]: its slot, and the generation of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub slot: u32,
    /// The lowest [`Key::GENERATION_BITS`] bits are used, so that a key and an operation fit in 64 bits.
    pub generation: u32,
}

impl Key {
    pub const GENERATION_BITS: u32 = 24;
    pub const GENERATION_MASK: u32 = (1 << Self::GENERATION_BITS) - 1;

    /// The key as the lower 56 bits of a word; the upper 8 are free for the caller.
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.slot as u64
    }

    /// Reads [`Key::to_bits`] back; the upper 8 bits are ignored.
    pub const fn from_bits(bits: u64) -> Key {
        Key { slot: bits as u32, generation: (bits >> 32) as u32 & Self::GENERATION_MASK }
    }

    const fn next_generation(generation: u32) -> u32 {
        (generation + 1) & Self::GENERATION_MASK
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Slots of one segment: large enough that its own fields do not count, small enough to be freed one by one.
pub const SEGMENT_SLOTS: usize = 512;

/// The end of a segment's list of vacant entries.
const NONE: u16 = u16::MAX;

/// Values by key, in segments.
pub struct Slots<T> {
    segments: Vec<SlotSegment<T>>,
    /// No segment below this one has room.
    lowest_with_room: usize,
    len: usize,
    first_generation: u32,
}

/// See [`Slots::generations`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    pub first: u32,
    pub segments: Vec<SegmentGenerations>,
}

/// The generations of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentGenerations {
    /// The generation of entries that do not exist yet.
    pub first: u32,
    /// For each existing entry: its tenant's generation, or its next tenant's. At most [`SEGMENT_SLOTS`] of them.
    pub entries: Vec<u32>,
}

struct SlotSegment<T> {
    /// Without capacity, or with capacity for all its slots: it never moves.
    entries: Vec<Slot<T>>,
    len: u16,
    /// The first of the existing entries that are vacant.
    first_vacant: u16,
    /// The generation with which new entries begin.
    first_generation: u32,
}

struct Slot<T> {
    /// The generation of the present tenant or, if the slot is vacant, of the next.
    generation: u32,
    next_vacant: u16,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// Every slot begins at `first_generation`: a random one makes keys of an earlier process miss.
    pub fn new(first_generation: u32) -> Slots<T> {
        let first_generation = first_generation & Key::GENERATION_MASK;
        Slots { segments: Vec::new(), lowest_with_room: 0, len: 0, first_generation }
    }

    pub fn insert(&mut self, value: T) -> Key {
        while self.segments.get(self.lowest_with_room).is_some_and(|segment| !segment.has_room()) {
            self.lowest_with_room += 1;
        }
        let index = self.lowest_with_room;
        if index == self.segments.len() {
            self.segments.push(SlotSegment::new(self.first_generation));
        }
        self.len += 1;
        self.segments[index].insert((index * SEGMENT_SLOTS) as u32, value)
    }

    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let (segment, entry) = place(key.slot);
        let entry = self.segments.get(segment)?.entries.get(entry)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (segment, entry) = place(key.slot);
        let entry = self.segments.get_mut(segment)?.entries.get_mut(entry)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// The key of a slot's present tenant.
    pub fn key_at(&self, slot: u32) -> Option<Key> {
        let (segment, entry) = place(slot);
        let entry = self.segments.get(segment)?.entries.get(entry)?;
        entry.value.is_some().then_some(Key { slot, generation: entry.generation })
    }

    /// The present tenant of a slot, for a caller that knows the slot is not stale.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (segment, entry) = place(slot);
        self.segments.get_mut(segment)?.entries.get_mut(entry)?.value.as_mut()
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (index, entry) = place(key.slot);
        let segment = self.segments.get_mut(index)?;
        let value = segment.remove(entry, key.generation)?;
        // The first segment stays: it would be freed and allocated with every value of a nearly empty structure.
        if segment.len == 0 && index > 0 {
            segment.free();
        }
        self.lowest_with_room = self.lowest_with_room.min(index);
        self.len -= 1;
        Some(value)
    }

    /// The generation of each slot, for a process that takes over from this one.
    pub fn generations(&self) -> Generations {
        let of_segment = |segment: &SlotSegment<T>| SegmentGenerations {
            first: segment.first_generation,
            entries: segment.entries.iter().map(|entry| entry.generation).collect(),
        };
        Generations { first: self.first_generation, segments: self.segments.iter().map(of_segment).collect() }
    }

    /// Vacant slots that continue the generations of another process: no key of either process finds the other's
    /// values, except those that [`Slots::insert_at`] brings back.
    pub fn with_generations(generations: &Generations) -> Slots<T> {
        let segments = generations.segments.iter().map(SlotSegment::with_generations).collect();
        Slots { segments, ..Slots::new(generations.first) }
    }

    /// Inserts a value under the key that it had in another process. Returns it if the slot is not vacant or has had
    /// other tenants since.
    pub fn insert_at(&mut self, key: Key, value: T) -> Result<(), T> {
        let (segment, entry) = place(key.slot);
        match self.segments.get_mut(segment) {
            Some(segment) => segment.insert_at(entry, key.generation, value)?,
            None => return Err(value),
        }
        self.len += 1;
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every slot number is less than this ([`Slots::key_at`]).
    pub fn end(&self) -> u32 {
        (self.segments.len() * SEGMENT_SLOTS) as u32
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.segments.iter().enumerate().flat_map(|(index, segment)| {
            let entries = segment.entries.iter().enumerate().filter(|(_, entry)| entry.value.is_some());
            entries
                .map(move |(at, entry)| Key { slot: (index * SEGMENT_SLOTS + at) as u32, generation: entry.generation })
        })
    }
}

/// The segment, and the entry in it.
fn place(slot: u32) -> (usize, usize) {
    (slot as usize / SEGMENT_SLOTS, slot as usize % SEGMENT_SLOTS)
}

impl<T> SlotSegment<T> {
    fn new(first_generation: u32) -> SlotSegment<T> {
        SlotSegment { entries: Vec::new(), len: 0, first_vacant: NONE, first_generation }
    }

    fn has_room(&self) -> bool {
        usize::from(self.len) < SEGMENT_SLOTS
    }

    fn insert(&mut self, first_slot: u32, value: T) -> Key {
        let at = match self.first_vacant {
            NONE => self.entries.len(),
            vacant => usize::from(vacant),
        };
        if at == self.entries.len() {
            if self.entries.capacity() == 0 {
                self.entries.reserve_exact(SEGMENT_SLOTS);
            }
            self.entries.push(Slot { generation: self.first_generation, next_vacant: NONE, value: None });
        }
        let entry = &mut self.entries[at];
        let key = Key { slot: first_slot + at as u32, generation: entry.generation };
        entry.value = Some(value);
        self.first_vacant = entry.next_vacant;
        self.len += 1;
        key
    }

    fn remove(&mut self, at: usize, generation: u32) -> Option<T> {
        let entry = self.entries.get_mut(at).filter(|entry| entry.generation == generation)?;
        let value = entry.value.take()?;
        entry.generation = Key::next_generation(generation);
        entry.next_vacant = std::mem::replace(&mut self.first_vacant, at as u16);
        self.len -= 1;
        Some(value)
    }

    fn with_generations(generations: &SegmentGenerations) -> SlotSegment<T> {
        let mut segment = SlotSegment::new(generations.first);
        let count = generations.entries.len().min(SEGMENT_SLOTS);
        if count > 0 {
            segment.entries.reserve_exact(SEGMENT_SLOTS);
            segment.first_vacant = 0;
        }
        for (at, generation) in generations.entries[..count].iter().enumerate() {
            let next_vacant = if at + 1 < count { at as u16 + 1 } else { NONE };
            let generation = generation & Key::GENERATION_MASK;
            segment.entries.push(Slot { generation, next_vacant, value: None });
        }
        segment
    }

    fn insert_at(&mut self, at: usize, generation: u32, value: T) -> Result<(), T> {
        let is_free = |entry: &Slot<T>| entry.value.is_none() && entry.generation == generation;
        if !self.entries.get(at).is_some_and(is_free) {
            return Err(value);
        }
        self.take_from_vacant(at);
        self.entries[at].value = Some(value);
        self.len += 1;
        Ok(())
    }

    /// Takes a vacant entry off the list of vacant entries.
    fn take_from_vacant(&mut self, at: usize) {
        let next = self.entries[at].next_vacant;
        let mut before = usize::from(self.first_vacant);
        if before == at {
            self.first_vacant = next;
            return;
        }
        while usize::from(self.entries[before].next_vacant) != at {
            before = usize::from(self.entries[before].next_vacant);
        }
        self.entries[before].next_vacant = next;
    }

    /// Frees the memory. Later tenants begin with a generation after all former ones.
    fn free(&mut self) {
        let first = self.first_generation;
        let distance = |entry: &Slot<T>| entry.generation.wrapping_sub(first) & Key::GENERATION_MASK;
        let furthest = self.entries.iter().map(distance).max().unwrap_or_default();
        *self = SlotSegment::new((first + furthest) & Key::GENERATION_MASK);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::new(7);
        let first = slots.insert("a");
        assert_eq!(slots.remove(first), Some("a"));
        let second = slots.insert("b");
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"b"));
    }

    #[test]
    fn bits_carry_a_key_below_the_operation_byte() {
        let key = Key { slot: u32::MAX - 1, generation: Key::GENERATION_MASK };
        assert_eq!(Key::from_bits(key.to_bits() | 0xA5 << 56), key);
        assert_eq!(key.to_bits() >> 56, 0);
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        let mut slots = Slots::new(Key::GENERATION_MASK);
        let last = slots.insert(());
        slots.remove(last);
        assert_eq!(slots.insert(()).generation, 0);
    }

    #[test]
    fn memory_goes_back_and_keys_from_before_find_nothing() {
        const COUNT: usize = 3 * SEGMENT_SLOTS + 1;
        let mut slots = Slots::new(Key::GENERATION_MASK - 1);
        let mut earlier: Vec<Key> = Vec::new();
        for _ in 0..3 {
            let keys: Vec<Key> = (0..COUNT).map(|value| slots.insert(value)).collect();
            assert!(earlier.iter().all(|key| !slots.contains(*key)));
            assert!(keys.iter().enumerate().all(|(value, key)| slots.get(*key) == Some(&value)));
            assert_eq!(slots.keys().collect::<HashSet<_>>(), keys.iter().copied().collect());
            keys.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
            assert_eq!(room(&slots), SEGMENT_SLOTS, "the first segment stays, the others go");
            earlier.extend(keys);
        }
    }

    #[test]
    fn the_lowest_segment_with_room_is_filled_first() {
        let mut slots = Slots::new(0);
        let keys: Vec<Key> = (0..4 * SEGMENT_SLOTS).map(|value| slots.insert(value)).collect();
        let in_second = keys[SEGMENT_SLOTS + 3];
        slots.remove(keys[3 * SEGMENT_SLOTS]);
        slots.remove(in_second);
        assert_eq!(slots.insert(0).slot, in_second.slot);
        assert_eq!(slots.insert(0).slot, keys[3 * SEGMENT_SLOTS].slot);
    }

    #[test]
    fn finds_what_a_map_finds() {
        let mut slots = Slots::new(1);
        let mut map: HashMap<Key, u32> = HashMap::new();
        let mut random = 1u32;
        for round in 0..20_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Waves: first mostly growth, then mostly shrinkage.
            if (random >> 24) % 4 < if round / 3_000 % 2 == 0 { 3 } else { 1 } {
                let key = slots.insert(round);
                assert_eq!(map.insert(key, round), None, "two values of one key");
            } else if let Some(key) = map.keys().nth((random >> 8) as usize % map.len().max(1)).copied() {
                assert_eq!(slots.remove(key), map.remove(&key));
            }
        }
        assert_eq!(slots.len(), map.len());
        assert_eq!(slots.keys().count(), map.len());
        assert!(map.iter().all(|(key, value)| slots.get(*key) == Some(value)));
    }

    #[test]
    fn another_process_goes_on_with_the_keys_of_this_one() {
        let mut slots = Slots::new(Key::GENERATION_MASK - 3);
        let mut stale: Vec<Key> = Vec::new();
        let mut random = 7u32;
        for value in 0..3_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let keys: Vec<Key> = slots.keys().take(700).collect();
            if random >> 30 == 0 && !keys.is_empty() {
                let key = keys[(random >> 8) as usize % keys.len()];
                slots.remove(key);
                stale.push(key);
            } else {
                slots.insert(value);
            }
        }
        let gone: Vec<Key> = slots.keys().filter(|key| key.slot as usize >= 2 * SEGMENT_SLOTS).collect();
        gone.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        stale.extend(gone);
        let mut next = Slots::with_generations(&slots.generations());
        for key in slots.keys() {
            assert_eq!(next.insert_at(key, slots.get(key).copied().unwrap()), Ok(()));
            assert_eq!(next.insert_at(key, 0), Err(0), "the slot is taken");
        }
        assert_eq!((next.len(), next.keys().collect::<HashSet<_>>()), (slots.len(), slots.keys().collect()));
        assert!(stale.iter().all(|key| next.insert_at(*key, 0) == Err(0)), "a key of the past brings nothing back");
        for _ in 0..3 * SEGMENT_SLOTS {
            let key = next.insert(1);
            assert!(!stale.contains(&key), "{key:?} has been another value's");
        }
        assert!(slots.keys().all(|key| next.get(key) == slots.get(key)));
    }

    #[test]
    fn a_key_of_a_slot_that_was_never_there_brings_nothing_back() {
        let mut slots = Slots::new(0);
        assert_eq!(slots.insert_at(Key { slot: 0, generation: 0 }, 1), Err(1));
        slots.insert(1);
        assert_eq!(slots.insert_at(Key { slot: 1, generation: 0 }, 2), Err(2));
        assert_eq!(slots.insert_at(Key { slot: u32::MAX, generation: 0 }, 2), Err(2));
    }

    fn room<T>(slots: &Slots<T>) -> usize {
        slots.segments.iter().map(|segment| segment.entries.capacity()).sum()
    }
}
