//! A map of names, of which clients may make many, that grows in small steps.
//!
//! ```text
//!  name --hash--> part 0 | 1 | ... | 255    each part is a table, and grows by itself when it is full
//! ```
//!
//! A table that is full moves all its entries, and hashes their names again: with 114,688 names of 250 bytes that takes 80 ms,
//! in which a shard does nothing else. Parts are full at different times, and the entries of one move in half a millisecond.

use std::borrow::Borrow;

use ahash::RandomState;
use hashbrown::HashTable;

use super::shrink::room_after;

/// Of a million names, each has 4,096.
const PARTS: usize = 256;
/// Entries for which an empty part keeps room: a few hundred in all.
const KEPT_PER_PART: usize = 1;

/// Values by name; `K` owns the name. What a burst has taken is given back when its names leave.
pub struct NameTable<K, V> {
    hasher: RandomState,
    parts: Box<[HashTable<(K, V)>]>,
    /// Of all parts: it is asked for in each turn.
    len: usize,
}

impl<K, V> Default for NameTable<K, V> {
    fn default() -> NameTable<K, V> {
        NameTable { hasher: RandomState::new(), parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

impl<K: Borrow<str>, V> NameTable<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries for which there is room.
    pub fn capacity(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    #[inline]
    pub fn get(&self, name: &str) -> Option<&V> {
        let hash = self.hasher.hash_one(name);
        self.parts[part_of(hash)].find(hash, |(known, _)| known.borrow() == name).map(|(_, value)| value)
    }

    #[inline]
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let hash = self.hasher.hash_one(name);
        self.parts[part_of(hash)].find_mut(hash, |(known, _)| known.borrow() == name).map(|(_, value)| value)
    }

    /// The value of `key`; it is made if there is none.
    pub fn get_or_insert_with(&mut self, key: &K, value: impl FnOnce() -> V) -> &mut V
    where
        K: Clone,
    {
        let NameTable { hasher, parts, len } = self;
        let name: &str = key.borrow();
        let hash = hasher.hash_one(name);
        let same = |(known, _): &(K, V)| known.borrow() == name;
        let entry = parts[part_of(hash)].entry(hash, same, |(known, _)| hasher.hash_one(known.borrow()));
        let added = || {
            *len += 1;
            (key.clone(), value())
        };
        &mut entry.or_insert_with(added).into_mut().1
    }

    pub fn remove(&mut self, name: &str) -> Option<V> {
        let NameTable { hasher, parts, len } = self;
        let hash = hasher.hash_one(name);
        let part = &mut parts[part_of(hash)];
        let found = part.find_entry(hash, |(known, _)| known.borrow() == name).ok()?;
        let ((_, value), _) = found.remove();
        *len -= 1;
        if let Some(room) = room_after(part.len(), part.capacity(), KEPT_PER_PART) {
            part.shrink_to(room, |(known, _)| hasher.hash_one(known.borrow()));
        }
        Some(value)
    }
}

/// By bits that the tables themselves do not use: they take the lowest ones and the highest seven.
#[inline]
fn part_of(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u32) -> String {
        format!("own.{number}")
    }

    #[test]
    fn no_insertion_moves_many_entries() {
        let mut names = NameTable::default();
        let mut largest = 0;
        for number in 0..50_000 {
            let before = names.parts.iter().map(HashTable::capacity).collect::<Vec<_>>();
            names.get_or_insert_with(&key(number), || number);
            let grown = names.parts.iter().zip(&before).filter(|(part, before)| part.capacity() > **before);
            largest = largest.max(grown.map(|(part, _)| part.len()).sum());
        }
        assert_eq!((names.len(), names.get("own.49999")), (50_000, Some(&49_999)));
        assert!(largest < 50_000 / PARTS * 2, "{largest} entries moved at once");
    }

    #[test]
    fn the_room_of_names_that_have_left_is_given_back() {
        let mut names = NameTable::default();
        for number in 0..50_000 {
            names.get_or_insert_with(&key(number), || number);
        }
        for number in 0..50_000 {
            assert_eq!(names.remove(&key(number)), Some(number));
        }
        assert!(names.is_empty() && names.get("own.1").is_none());
        assert!(names.capacity() <= 4 * PARTS * KEPT_PER_PART, "room for {}", names.capacity());
    }

    proptest! {
        #[test]
        fn they_are_a_map(steps in prop::collection::vec((0..64_u32, any::<bool>()), 0..512)) {
            let (mut names, mut model) = (NameTable::default(), HashMap::new());
            for (number, is_added) in steps {
                let key = key(number);
                if is_added {
                    let value = *names.get_or_insert_with(&key, || number);
                    prop_assert_eq!(value, *model.entry(key.clone()).or_insert(number));
                    *names.get_mut(&key).expect("it is there") += 1;
                    *model.get_mut(&key).expect("it is there") += 1;
                } else {
                    prop_assert_eq!(names.remove(&key), model.remove(&key));
                }
                prop_assert_eq!((names.len(), names.get(&key), names.contains(&key)), (model.len(), model.get(&key), model.contains_key(&key)));
            }
        }
    }
}
