//! Who listens to the channels that this shard owns, where their rules ask for it.
//!
//! ```text
//!  arrive --> listed <--> counted alone: the channel's list is full, or the shard's
//!  depart --> nobody left: nothing is kept of the channel
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;

use crate::base::Address;
use crate::limits;
use crate::proto::presence::{Present, Roster};
use crate::proto::subject::Subject;

/// Of a shard.
#[derive(Default)]
pub(super) struct Presences {
    channels: AHashMap<Subject, Presence>,
    listed: usize,
    /// With those that are only counted.
    count: usize,
}

/// Of one channel; never empty.
#[derive(Default)]
struct Presence {
    listed: BTreeMap<Address, Arc<Present>>,
    /// Those that found no place on the list.
    unlisted: usize,
}

impl Presences {
    /// A connection listens to a channel now: once, until it departs.
    pub fn arrive(&mut self, channel: Subject, present: Present) {
        let presence = self.channels.entry(channel).or_default();
        let is_full = presence.listed.len() >= limits::PRESENT_PER_CHANNEL_MAX || self.listed >= limits::PRESENT_MAX;
        if is_full {
            presence.unlisted += 1;
        } else {
            let before = presence.listed.insert(present.conn, Arc::new(present));
            assert!(before.is_none(), "a connection listens to a channel once");
            self.listed += 1;
        }
        self.count += 1;
    }

    /// And not any more.
    pub fn depart(&mut self, channel: &Subject, conn: Address) {
        let Some(presence) = self.channels.get_mut(channel) else { return };
        match presence.listed.remove(&conn) {
            Some(_) => self.listed -= 1,
            None => presence.unlisted -= 1,
        }
        self.count -= 1;
        if presence.listed.is_empty() && presence.unlisted == 0 {
            self.channels.remove(channel);
        }
    }

    pub fn roster(&self, channel: &Subject) -> Roster {
        let Some(presence) = self.channels.get(channel) else { return Roster::default() };
        let listed: Vec<_> = presence.listed.values().cloned().collect();
        Roster { clients: listed.len() + presence.unlisted, listed }
    }

    /// Clients that are there, each counted for each of its channels.
    pub fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn channel(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn present(conn: u64) -> Present {
        let user = (!conn.is_multiple_of(3)).then(|| format!("user{}", conn % 3).into());
        Present { conn: Address::from_bits(conn), user, info: None, since: conn }
    }

    fn conns(roster: &Roster) -> Vec<u64> {
        roster.listed.iter().map(|present| present.conn.to_bits()).collect()
    }

    #[test]
    fn who_finds_no_place_on_the_list_is_counted() {
        let mut presences = Presences::default();
        let room = channel("room");
        let count = limits::PRESENT_PER_CHANNEL_MAX as u64 + 2;
        (0..count).for_each(|conn| presences.arrive(room.clone(), present(conn)));
        let roster = presences.roster(&room);
        assert_eq!((roster.clients as u64, roster.listed.len() as u64), (count, count - 2));
        presences.depart(&room, Address::from_bits(count - 1));
        presences.depart(&room, Address::from_bits(0));
        let roster = presences.roster(&room);
        assert_eq!((roster.clients as u64, roster.listed.len() as u64), (count - 2, count - 3));
        (1..count - 1).for_each(|conn| presences.depart(&room, Address::from_bits(conn)));
        assert_eq!((presences.roster(&room), presences.len()), (Roster::default(), 0));
        assert!(presences.channels.is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(deeds in prop::collection::vec((0..3usize, 0..8u64), 0..200)) {
            let rooms = ["a", "b", "c"].map(channel);
            let mut presences = Presences::default();
            let mut naive: [std::collections::BTreeSet<u64>; 3] = Default::default();
            for (room, conn) in deeds {
                if naive[room].insert(conn) {
                    presences.arrive(rooms[room].clone(), present(conn));
                } else {
                    naive[room].remove(&conn);
                    presences.depart(&rooms[room], Address::from_bits(conn));
                }
                let roster = presences.roster(&rooms[room]);
                prop_assert_eq!(conns(&roster), naive[room].iter().copied().collect::<Vec<_>>());
                let users: std::collections::BTreeSet<_> = naive[room].iter().map(|conn| conn % 3).collect();
                prop_assert_eq!((roster.clients, roster.users()), (naive[room].len(), users.len()));
            }
            prop_assert_eq!(presences.len(), naive.iter().map(|room| room.len()).sum::<usize>());
        }
    }
}
