//! A set of threads.

use crate::base::Place;

const WORDS: usize = 8;

/// The threads that have subscribers: one bit for each place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceSet([u64; WORDS]);

impl PlaceSet {
    /// Places above this cannot be in a set.
    pub(crate) const PLACES_MAX: usize = WORDS * 64;

    pub(crate) fn insert(&mut self, place: Place) {
        self.0[place.index() / 64] |= 1 << (place.index() % 64);
    }

    pub(crate) fn remove(&mut self, place: Place) {
        self.0[place.index() / 64] &= !(1 << (place.index() % 64));
    }

    pub(crate) fn contains(&self, place: Place) -> bool {
        self.0[place.index() / 64] & (1 << (place.index() % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(crate) fn is_one(&self) -> bool {
        self.iter().take(2).count() == 1
    }

    pub(crate) fn len(&self) -> u16 {
        self.0.iter().map(|word| word.count_ones() as u16).sum()
    }

    pub(crate) fn union(&mut self, other: &PlaceSet) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(Place((index * 64) as u16 + bit as u16))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterates_in_order() {
        let mut set = PlaceSet::default();
        for place in [300, 0, 63, 64] {
            set.insert(Place(place));
        }
        set.remove(Place(63));
        assert_eq!(set.iter().map(|place| place.0).collect::<Vec<_>>(), [0, 64, 300]);
        assert!(set.contains(Place(64)) && !set.contains(Place(63)) && !set.is_empty());
        assert!(!set.is_one());
        [0, 64].into_iter().for_each(|place| set.remove(Place(place)));
        assert!(set.is_one());
    }
}
