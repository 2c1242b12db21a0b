//! Lists give back the memory of a burst, and keep what every turn needs.
//!
//! ```text
//!  after a burst    len ###        capacity ############################
//!  shrunk                ###                #########     at most a quarter was in use: twice as much as is used stays
//! ```
//!
//! Called where entries leave: the next shrink comes after half of the rest has left, so an entry costs no more than if
//! nothing were given back.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};

use ahash::AHashMap;
use slab::Slab;

/// A list with a capacity.
pub trait Roomy {
    /// Entries in use, and entries for which there is room.
    fn fill(&self) -> (usize, usize);

    /// Gives back room for more than this many entries.
    fn keep_room(&mut self, entries: usize);
}

/// Gives back memory if much more of it is kept than is in use; room for `kept` entries always stays.
#[inline]
pub fn shrink(list: &mut impl Roomy, kept: usize) {
    let (len, capacity) = list.fill();
    if let Some(room) = room_after(len, capacity, kept) {
        list.keep_room(room);
    }
}

/// The room that a list with so many entries keeps, if that is much less than it has.
#[inline]
pub(super) fn room_after(len: usize, capacity: usize, kept: usize) -> Option<usize> {
    (capacity > 4 * len.max(kept)).then(|| 2 * len.max(kept))
}

impl<T> Roomy for Vec<T> {
    fn fill(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

impl<T> Roomy for VecDeque<T> {
    fn fill(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Roomy for AHashMap<K, V, S> {
    fn fill(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn keep_room(&mut self, entries: usize) {
        self.shrink_to(entries);
    }
}

/// Its entries cannot move, so it shrinks when it is empty.
impl<T> Roomy for Slab<T> {
    fn fill(&self) -> (usize, usize) {
        (if self.is_empty() { 0 } else { self.capacity() }, self.capacity())
    }

    fn keep_room(&mut self, entries: usize) {
        *self = Slab::with_capacity(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: usize = 16;

    #[test]
    fn a_list_whose_burst_is_over_has_little_room_left() {
        let mut queue: VecDeque<usize> = (0..10_000).collect();
        let mut map: AHashMap<usize, usize> = (0..10_000).map(|entry| (entry, entry)).collect();
        let mut slab = Slab::new();
        (0..10_000).for_each(|entry| _ = slab.insert(entry));
        let mut moves = 0;
        for entry in 0..10_000 {
            let before = queue.capacity();
            queue.pop_front();
            map.remove(&entry);
            slab.remove(entry);
            shrink(&mut queue, KEPT);
            shrink(&mut map, KEPT);
            shrink(&mut slab, KEPT);
            moves += usize::from(queue.capacity() < before);
            assert_eq!(queue.front().copied(), Some(entry + 1).filter(|next| *next < 10_000));
        }
        assert!(moves < 12, "{moves} moves");
        let room = [queue.capacity(), map.capacity(), slab.capacity()];
        assert!(room.iter().all(|room| *room <= 4 * KEPT), "{room:?}");
    }

    #[test]
    fn what_every_turn_needs_is_kept() {
        let mut list = Vec::with_capacity(4 * KEPT);
        for _ in 0..100 {
            list.extend(0..KEPT);
            list.clear();
            shrink(&mut list, KEPT);
            assert_eq!(list.capacity(), 4 * KEPT);
        }
    }
}
