//! A map of names that knows which was used least recently, and grows in small steps as a [`NameTable`] does.
//!
//! ```text
//!  name --NameTable--> index --> entries   [c] [a] [b]      one dense list; the last entry fills the place of one that leaves
//!                                           |   |   |
//!                        first (oldest) --> a - c - b <-- last (newest): a use moves its entry to this end
//! ```

use std::borrow::Borrow;

use super::NameTable;
use super::shrink::room_after;

/// Instead of an index: there is no neighbour.
const NONE: u32 = u32::MAX;

/// Values by name, in the order of their last use.
pub struct ByUse<K, V> {
    indices: NameTable<K, u32>,
    entries: Vec<NamedValue<K, V>>,
    /// Used least recently, and most recently.
    first: u32,
    last: u32,
}

struct NamedValue<K, V> {
    key: K,
    value: V,
    /// The entries that were used just before this one, and just after.
    before: u32,
    after: u32,
}

impl<K, V> Default for ByUse<K, V> {
    fn default() -> ByUse<K, V> {
        ByUse { indices: NameTable::default(), entries: Vec::new(), first: NONE, last: NONE }
    }
}

impl<K: Borrow<str> + Clone, V> ByUse<K, V> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.indices.contains(name)
    }

    /// The value of `name`; counts as a use.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let index = *self.indices.get(name)?;
        self.make_last(index);
        Some(&mut self.entries[index as usize].value)
    }

    /// The same without a use.
    pub fn peek(&self, name: &str) -> Option<&V> {
        self.indices.get(name).map(|index| &self.entries[*index as usize].value)
    }

    /// The same, to change it.
    pub fn peek_mut(&mut self, name: &str) -> Option<&mut V> {
        self.indices.get(name).map(|index| &mut self.entries[*index as usize].value)
    }

    /// Sets the value of `key`; counts as a use.
    pub fn put(&mut self, key: K, value: V) {
        if let Some(known) = self.get_mut(key.borrow()) {
            *known = value;
            return;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NONE);
        let index = index.expect("fewer names than 2^32");
        self.indices.get_or_insert_with(&key, || index);
        self.entries.push(NamedValue { key, value, before: NONE, after: NONE });
        self.link_last(index);
    }

    /// The name that was used least recently, and its value.
    pub fn least(&self) -> Option<(&K, &V)> {
        self.entries.get(self.first as usize).map(|entry| (&entry.key, &entry.value))
    }

    /// Removes that name.
    pub fn pop_least(&mut self) -> Option<(K, V)> {
        let key = self.least()?.0.clone();
        self.indices.remove(key.borrow());
        Some(self.take(self.first))
    }

    pub fn remove(&mut self, name: &str) -> Option<V> {
        let index = self.indices.remove(name)?;
        Some(self.take(index).1)
    }

    /// Removes an entry that has left the table.
    fn take(&mut self, index: u32) -> (K, V) {
        self.unlink(index);
        let NamedValue { key, value, .. } = self.entries.swap_remove(index as usize);
        if let Some(moved) = self.entries.get(index as usize) {
            let (before, after) = (moved.before, moved.after);
            if let Some(known) = self.indices.get_mut(moved.key.borrow()) {
                *known = index;
            }
            *self.after_of(before) = index;
            *self.before_of(after) = index;
        }
        if let Some(room) = room_after(self.entries.len(), self.entries.capacity(), 1) {
            self.entries.shrink_to(room);
        }
        (key, value)
    }

    fn make_last(&mut self, index: u32) {
        if self.last != index {
            self.unlink(index);
            self.link_last(index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let NamedValue { before, after, .. } = self.entries[index as usize];
        *self.after_of(before) = after;
        *self.before_of(after) = before;
    }

    fn link_last(&mut self, index: u32) {
        let before = self.last;
        *self.after_of(before) = index;
        self.last = index;
        let entry = &mut self.entries[index as usize];
        (entry.before, entry.after) = (before, NONE);
    }

    /// The place that says which entry follows `index`: without `index`, which is the first.
    fn after_of(&mut self, index: u32) -> &mut u32 {
        if index == NONE { &mut self.first } else { &mut self.entries[index as usize].after }
    }

    fn before_of(&mut self, index: u32) -> &mut u32 {
        if index == NONE { &mut self.last } else { &mut self.entries[index as usize].before }
    }
}

#[cfg(test)]
mod tests {
    use lru::LruCache;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_room_of_names_that_have_left_is_given_back() {
        let mut names = ByUse::default();
        (0..10_000_u32).for_each(|number| names.put(number.to_string(), number));
        for number in 0..10_000_u32 {
            assert_eq!(names.pop_least(), Some((number.to_string(), number)));
        }
        assert!(names.is_empty() && names.entries.capacity() <= 4 && names.pop_least().is_none());
    }

    proptest! {
        #[test]
        fn they_are_a_map_in_the_order_of_use(steps in prop::collection::vec((0..5_u8, 0..24_u32), 0..512)) {
            let (mut names, mut model) = (ByUse::default(), LruCache::unbounded());
            for (step, number) in steps {
                let name = number.to_string();
                match step {
                    0 => {
                        names.put(name.clone(), number);
                        model.put(name.clone(), number);
                    }
                    1 => prop_assert_eq!(names.remove(&name), model.pop(&name)),
                    2 => prop_assert_eq!(names.get_mut(&name), model.get_mut(&name)),
                    3 => prop_assert_eq!(names.pop_least(), model.pop_lru()),
                    _ => prop_assert_eq!(names.peek_mut(&name), model.peek_mut(&name)),
                }
                prop_assert_eq!((names.len(), names.contains(&name)), (model.len(), model.contains(&name)));
                prop_assert_eq!((names.least(), names.peek(&name)), (model.peek_lru(), model.peek(&name)));
            }
        }
    }
}
