//! The sockets that a kernel driver holds, by slot.

use crate::base::Key;

/// One value per attached key. The caller's slab gives out slots densely, so a plain vector is the map.
pub struct Attached<T> {
    slots: Vec<Option<Tenant<T>>>,
}

struct Tenant<T> {
    generation: u32,
    value: T,
}

impl<T> Attached<T> {
    pub fn new() -> Attached<T> {
        Attached { slots: Vec::new() }
    }

    /// Panics if the slot is taken: the caller attached it before `Closed`.
    pub fn insert(&mut self, key: Key, value: T) {
        let slot = key.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let tenant = &mut self.slots[slot];
        assert!(tenant.is_none(), "slot of {key:?} attached twice");
        *tenant = Some(Tenant { generation: key.generation, value });
    }

    /// The value of a key that the caller says is attached.
    pub fn expect(&mut self, key: Key) -> &mut T {
        match self.find(key) {
            Some(value) => value,
            None => panic!("{key:?} is not attached"),
        }
    }

    /// The value of a key that an event names; `None` if its tenant has gone.
    pub fn find(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize) {
            Some(Some(tenant)) if tenant.generation == key.generation => Some(&mut tenant.value),
            _ => None,
        }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.find(key)?;
        self.slots[key.slot as usize].take().map(|tenant| tenant.value)
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.slots.drain(..).flatten().map(|tenant| tenant.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Key = Key { slot: 2, generation: 5 };
    const SECOND: Key = Key { slot: 2, generation: 6 };

    #[test]
    fn a_key_of_an_earlier_tenant_finds_nothing() {
        let mut attached = Attached::new();
        attached.insert(FIRST, "first");
        assert_eq!(attached.remove(SECOND), None);
        assert_eq!(attached.remove(FIRST), Some("first"));
        attached.insert(SECOND, "second");
        assert_eq!(attached.find(FIRST), None);
        assert_eq!(*attached.expect(SECOND), "second");
        assert_eq!(attached.drain().collect::<Vec<_>>(), ["second"]);
    }

    #[test]
    #[should_panic(expected = "attached twice")]
    fn a_taken_slot_is_not_attached() {
        let mut attached = Attached::new();
        attached.insert(FIRST, ());
        attached.insert(SECOND, ());
    }

    #[test]
    #[should_panic(expected = "not attached")]
    fn a_key_that_is_not_attached_is_a_bug() {
        Attached::<()>::new().expect(FIRST);
    }
}
