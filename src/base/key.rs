//! A generational slab: a key that outlives its value finds nothing, never somebody else's value.

use slab::Slab;

/// Names one value of a [`Slots`]: the slot it lies in, and which tenant of that slot it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub slot: u32,
    /// The lowest [`Key::GENERATION_BITS`] bits are used, so that a key and an operation fit in 64 bits.
    pub generation: u32,
}

impl Key {
    pub const GENERATION_BITS: u32 = 24;
    const GENERATION_MASK: u32 = (1 << Self::GENERATION_BITS) - 1;

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

/// Slots with generations over the `slab` crate.
pub struct Slots<T> {
    values: Slab<T>,
    /// The generation of the present (or, if the slot is vacant, of the next) tenant of each slot.
    generations: Vec<u32>,
    first_generation: u32,
}

impl<T> Slots<T> {
    /// Every slot begins at `first_generation`: a random one makes keys of an earlier process miss.
    pub fn new(first_generation: u32) -> Slots<T> {
        let first_generation = first_generation & Key::GENERATION_MASK;
        Slots { values: Slab::new(), generations: Vec::new(), first_generation }
    }

    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Inserts a value that knows its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let slot = self.values.vacant_key();
        if slot == self.generations.len() {
            self.generations.push(self.first_generation);
        }
        let key = Key { slot: slot as u32, generation: self.generations[slot] };
        self.values.insert(make(key));
        key
    }

    pub fn contains(&self, key: Key) -> bool {
        self.generations.get(key.slot as usize) == Some(&key.generation) && self.values.contains(key.slot as usize)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        if self.contains(key) { self.values.get(key.slot as usize) } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if self.contains(key) { self.values.get_mut(key.slot as usize) } else { None }
    }

    /// The present tenant of a slot, for whoever knows that it is the one it means.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.values.get_mut(slot as usize)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        if !self.contains(key) {
            return None;
        }
        let generation = &mut self.generations[key.slot as usize];
        *generation = Key::next_generation(*generation);
        Some(self.values.remove(key.slot as usize))
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.values.iter().map(|(slot, _)| Key { slot: slot as u32, generation: self.generations[slot] })
    }
}

#[cfg(test)]
mod tests {
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
}
