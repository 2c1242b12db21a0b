//! The hub's keys of a client's subscriptions. Most clients have one, which needs no allocation.

use crate::base::Key;

#[derive(Default)]
pub(super) enum Subs {
    #[default]
    None,
    One(Key),
    #[expect(clippy::box_collection, reason = "one word, where a vector has three")]
    Many(Box<Vec<Key>>),
}

const _: () = assert!(size_of::<Subs>() == 16, "every connection has one");

impl Subs {
    pub(super) fn as_slice(&self) -> &[Key] {
        match self {
            Subs::None => &[],
            Subs::One(only) => std::slice::from_ref(only),
            Subs::Many(subs) => subs,
        }
    }

    pub(super) fn push(&mut self, sub: Key) {
        *self = match std::mem::take(self) {
            Subs::None => Subs::One(sub),
            Subs::One(first) => Subs::Many(Box::new(vec![first, sub])),
            Subs::Many(mut subs) => {
                subs.push(sub);
                Subs::Many(subs)
            }
        };
    }

    pub(super) fn remove(&mut self, sub: Key) {
        match self {
            Subs::One(only) if *only == sub => *self = Subs::None,
            Subs::Many(subs) => subs.retain(|own| *own != sub),
            _ => {}
        }
    }

    pub(super) fn take(&mut self) -> Vec<Key> {
        match std::mem::take(self) {
            Subs::None => Vec::new(),
            Subs::One(only) => vec![only],
            Subs::Many(subs) => *subs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    #[test]
    fn grows_from_nothing_to_many_and_gives_all_back() {
        let mut subs = Subs::default();
        subs.remove(key(1));
        (1..=3).for_each(|slot| subs.push(key(slot)));
        subs.remove(key(2));
        subs.remove(key(9));
        assert_eq!(subs.as_slice(), [key(1), key(3)]);
        assert_eq!(subs.take(), [key(1), key(3)]);
        assert!(subs.as_slice().is_empty());
        subs.push(key(4));
        subs.remove(key(4));
        assert!(subs.as_slice().is_empty());
    }
}
