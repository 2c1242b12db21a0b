//! The clients of the channels that this shard owns, as far as rules ask for presence, and the joins and leaves to
//! announce.
//!
//! ```text
//!  arrive --> listed <--> counted alone: the channel's list is full, or the shard's
//!  depart --> no client left: nothing is kept of the channel
//!
//!  A visitor (a user, or a client without a name), once it has a connection on the list:
//!
//!  arrive --> Coming --join--> There <--arrive-- Away --grace over: leave--> forgotten
//!                                '--last depart---^
//! ```
//!
//! A visitor is announced by exactly one join and then one leave. A visitor that is away keeps its entry on the list,
//! so the bounds of the lists bound these too. Clients without a name have no grace: no other connection can return as
//! the same client.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Address, NameTable, Tick};
use crate::limits;
use crate::proto::presence::{Announcement, Present, Roster};
use crate::proto::reserved::subjects::Change;
use crate::proto::subject::Subject;
use crate::proto::user::User;

/// The presence lists of a shard.
#[derive(Default)]
pub(crate) struct Presences {
    channels: NameTable<Subject, ChannelPresence>,
    /// One entry for each visitor that is coming or away: the shard's one timer.
    due: BTreeMap<AnnouncementTime, (Subject, Name)>,
    serial: u64,
    /// Entries on all lists.
    taken: usize,
    /// Clients that are present, including those that are only counted.
    count: usize,
}

/// When to announce something. Announcements of one time keep the order of their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AnnouncementTime {
    at: Tick,
    serial: u64,
}

/// The list of one channel; never empty.
struct ChannelPresence {
    grace: Duration,
    listed: BTreeMap<Address, Arc<Present>>,
    visitors: BTreeMap<Name, Visitor>,
    /// Visitors without a connection.
    away: usize,
    /// Clients that found no room on the list.
    unlisted: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    User(User),
    Nameless(Address),
}

struct Visitor {
    /// Its connections on the list.
    connections: usize,
    stage: VisitorStage,
    /// The connection that the next announcement names: the first in a join, the last in a leave.
    seen: Arc<Present>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VisitorStage {
    /// Its join is not announced yet. It may have left again.
    Coming,
    There,
    /// Its leave will be announced, unless it returns before.
    Away(AnnouncementTime),
}

impl Presences {
    /// A connection has subscribed to a channel; called once until it departs. `grace` is the channel's. True if this
    /// brings a visitor back that was away.
    pub(crate) fn arrive(&mut self, channel: Subject, present: Present, grace: Duration, now: Tick) -> bool {
        let presence = self.channels.get_or_insert_with(&channel, || ChannelPresence::new(grace));
        self.count += 1;
        let present = Arc::new(present);
        let name = Name::of(&present);
        let is_full = presence.places() >= limits::PRESENT_PER_CHANNEL_MAX || self.taken >= limits::PRESENT_MAX;
        let visitor = presence.visitors.get_mut(&name);
        let is_expected = visitor.as_ref().is_some_and(|visitor| visitor.connections == 0);
        if is_full && !is_expected {
            presence.unlisted += 1;
            return false;
        }
        let before = presence.listed.insert(present.conn.address(), present.clone());
        assert!(before.is_none(), "a connection listens to a channel once");
        if is_expected {
            // Its entry was kept.
            presence.away -= 1;
        } else {
            self.taken += 1;
        }
        let Some(visitor) = visitor else {
            let visitor = Visitor { connections: 1, stage: VisitorStage::Coming, seen: present };
            presence.visitors.insert(name.clone(), visitor);
            self.put_off(now, channel, name);
            return false;
        };
        visitor.connections += 1;
        if let VisitorStage::Away(due) = visitor.stage {
            visitor.stage = VisitorStage::There;
            self.due.remove(&due);
            return true;
        }
        false
    }

    /// The connection has unsubscribed.
    pub(crate) fn depart(&mut self, channel: &Subject, conn: Address, now: Tick) {
        let Some(presence) = self.channels.get_mut(channel.as_str()) else { return };
        self.count -= 1;
        let Some(present) = presence.listed.remove(&conn) else {
            presence.unlisted -= 1;
            return self.forget_empty(channel);
        };
        let name = Name::of(&present);
        let Some(visitor) = presence.visitors.get_mut(&name) else { unreachable!("whoever is listed is a visitor") };
        visitor.connections -= 1;
        if visitor.connections > 0 {
            self.taken -= 1;
            return;
        }
        visitor.seen = present;
        presence.away += 1;
        if visitor.stage == VisitorStage::There {
            let at = now + name.grace(presence.grace);
            let due = self.put_off(at, channel.clone(), name.clone());
            self.stage(channel, &name, VisitorStage::Away(due));
        }
    }

    /// The next announcement, if its time has come.
    pub(crate) fn announcement(&mut self, now: Tick) -> Option<Announcement> {
        let entry = self.due.first_entry().filter(|entry| entry.key().at <= now)?;
        let (channel, name) = entry.remove();
        let presence = self.channels.get_mut(channel.as_str())?;
        let Entry::Occupied(mut entry) = presence.visitors.entry(name) else { return None };
        let visitor = entry.get_mut();
        let present = visitor.seen.clone();
        match visitor.stage {
            VisitorStage::Coming if visitor.connections > 0 => {
                visitor.stage = VisitorStage::There;
                Some(Announcement { change: Change::Join, channel, present })
            }
            VisitorStage::Coming => {
                // It has left already; its grace begins when its join is announced.
                let (name, at) = (entry.key().clone(), now + entry.key().grace(presence.grace));
                let due = self.put_off(at, channel.clone(), name.clone());
                self.stage(&channel, &name, VisitorStage::Away(due));
                Some(Announcement { change: Change::Join, channel, present })
            }
            VisitorStage::There => unreachable!("nothing is due of whoever is there"),
            VisitorStage::Away(_) => {
                entry.remove();
                presence.away -= 1;
                self.taken -= 1;
                self.forget_empty(&channel);
                Some(Announcement { change: Change::Leave, channel, present })
            }
        }
    }

    /// When [`Presences::announcement`] has one.
    pub(crate) fn due_at(&self) -> Tick {
        self.due.first_key_value().map_or(Tick::NEVER, |(due, _)| due.at)
    }

    fn put_off(&mut self, at: Tick, channel: Subject, name: Name) -> AnnouncementTime {
        self.serial += 1;
        let due = AnnouncementTime { at, serial: self.serial };
        self.due.insert(due, (channel, name));
        due
    }

    fn stage(&mut self, channel: &Subject, name: &Name, stage: VisitorStage) {
        let visitor = self.channels.get_mut(channel.as_str()).and_then(|presence| presence.visitors.get_mut(name));
        if let Some(visitor) = visitor {
            visitor.stage = stage;
        }
    }

    fn forget_empty(&mut self, channel: &Subject) {
        let is_empty = |presence: &ChannelPresence| presence.visitors.is_empty() && presence.unlisted == 0;
        if self.channels.get(channel.as_str()).is_some_and(is_empty) {
            self.channels.remove(channel.as_str());
        }
    }

    pub(crate) fn roster(&self, channel: &Subject) -> Roster {
        let Some(presence) = self.channels.get(channel.as_str()) else { return Roster::default() };
        let away = presence.visitors.values().filter(|visitor| visitor.connections == 0);
        Roster {
            listed: presence.listed.values().cloned().collect(),
            away: away.map(|visitor| visitor.seen.clone()).collect(),
            clients: presence.places() + presence.unlisted,
        }
    }

    /// Present clients, each counted once for each of its channels.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Visitors with an announcement to come.
    pub(crate) fn unannounced(&self) -> usize {
        self.due.len()
    }
}

impl ChannelPresence {
    fn new(grace: Duration) -> ChannelPresence {
        ChannelPresence { grace, listed: BTreeMap::new(), visitors: BTreeMap::new(), away: 0, unlisted: 0 }
    }

    /// Its entries on the list.
    fn places(&self) -> usize {
        self.listed.len() + self.away
    }
}

impl Name {
    fn of(present: &Present) -> Name {
        present.user.as_ref().map_or(Name::Nameless(present.conn.address()), |user| Name::User(user.clone()))
    }

    fn grace(&self, grace: Duration) -> Duration {
        match self {
            Name::User(_) => grace,
            Name::Nameless(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ConnId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const GRACE: Duration = Duration::from_millis(5);

    fn channel(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn user(number: u64) -> User {
        User::new(&format!("user{number}")).unwrap()
    }

    fn conn_id(conn: u64) -> ConnId {
        ConnId::new(None, Address::from_bits(conn))
    }

    /// Every third connection has no name, the others belong to two users.
    fn present(conn: u64) -> Present {
        let user = (!conn.is_multiple_of(3)).then(|| user(conn % 3));
        Present { conn: conn_id(conn), user, info: None, since: conn }
    }

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn conns(present: &[Arc<Present>]) -> Vec<u64> {
        present.iter().map(|present| present.conn.address().to_bits()).collect()
    }

    fn announced(presences: &mut Presences, now: Tick) -> Vec<(Change, u64)> {
        let all = std::iter::from_fn(|| presences.announcement(now));
        all.map(|announcement| (announcement.change, announcement.present.conn.address().to_bits())).collect()
    }

    #[test]
    fn who_finds_no_place_on_the_list_is_counted() {
        let mut presences = Presences::default();
        let room = channel("room");
        let count = limits::PRESENT_PER_CHANNEL_MAX as u64 + 2;
        let arrive = |presences: &mut Presences, conn| {
            presences.arrive(room.clone(), Present { user: None, ..present(conn) }, GRACE, at(0));
        };
        (0..count).for_each(|conn| arrive(&mut presences, conn));
        let roster = presences.roster(&room);
        assert_eq!((roster.clients as u64, roster.listed.len() as u64), (count, count - 2));
        assert_eq!(announced(&mut presences, at(0)).len() as u64, count - 2, "the others are nobody");
        presences.depart(&room, Address::from_bits(count - 1), at(0));
        presences.depart(&room, Address::from_bits(0), at(0));
        assert_eq!(announced(&mut presences, at(0)), [(Change::Leave, 0)]);
        let roster = presences.roster(&room);
        assert_eq!((roster.clients as u64, roster.listed.len() as u64), (count - 2, count - 3));
        (1..count - 1).for_each(|conn| presences.depart(&room, Address::from_bits(conn), at(0)));
        assert_eq!(announced(&mut presences, at(0)).len() as u64, count - 3);
        assert_eq!((presences.roster(&room), presences.len(), presences.taken), (Roster::default(), 0, 0));
        assert!(presences.channels.is_empty());
    }

    #[test]
    fn whoever_is_away_keeps_a_place_on_the_list() {
        let mut presences = Presences::default();
        let room = channel("room");
        let count = limits::PRESENT_PER_CHANNEL_MAX as u64;
        let user = |conn: u64| Present { user: Some(user(conn)), ..present(conn) };
        (0..count).for_each(|conn| _ = presences.arrive(room.clone(), user(conn), GRACE, at(0)));
        presences.depart(&room, Address::from_bits(7), at(1));
        assert!(!presences.arrive(room.clone(), user(count), GRACE, at(2)));
        assert_eq!(presences.roster(&room).listed.len() as u64, count - 1, "its place is not free");
        assert_eq!(announced(&mut presences, at(2)).len() as u64, count);
        let back = Present { conn: conn_id(count + 1), ..user(7) };
        assert!(presences.arrive(room.clone(), back, GRACE, at(3)));
        assert_eq!(presences.roster(&room).listed.len() as u64, count);
        assert_eq!(announced(&mut presences, at(100)), []);
    }

    #[test]
    fn a_return_within_the_grace_is_no_news_and_one_after_it_is() {
        let mut presences = Presences::default();
        let room = channel("room");
        let arrive =
            |presences: &mut Presences, conn, millis| presences.arrive(room.clone(), present(conn), GRACE, at(millis));
        assert!(!arrive(&mut presences, 1, 0));
        assert_eq!(announced(&mut presences, at(0)), [(Change::Join, 1)]);
        presences.depart(&room, Address::from_bits(1), at(1));
        assert_eq!((presences.due_at(), conns(&presences.roster(&room).away)), (at(6), vec![1]));
        assert!(arrive(&mut presences, 4, 5), "the same user");
        assert!(!arrive(&mut presences, 7, 5), "which was there");
        assert_eq!((announced(&mut presences, at(50)), presences.due_at()), (vec![], Tick::NEVER));
        presences.depart(&room, Address::from_bits(4), at(51));
        assert_eq!(announced(&mut presences, at(60)), [], "another of its connections is there");
        presences.depart(&room, Address::from_bits(7), at(61));
        assert_eq!(announced(&mut presences, at(65)), []);
        assert_eq!(announced(&mut presences, at(66)), [(Change::Leave, 7)]);
        assert!(!arrive(&mut presences, 1, 67));
        assert_eq!(announced(&mut presences, at(67)), [(Change::Join, 1)]);
    }

    #[test]
    fn whoever_leaves_before_its_join_is_known_is_announced_all_the_same() {
        let mut presences = Presences::default();
        let room = channel("room");
        for conn in [1, 3] {
            presences.arrive(room.clone(), present(conn), GRACE, at(0));
            presences.depart(&room, Address::from_bits(conn), at(0));
        }
        let both = [(Change::Join, 1), (Change::Join, 3), (Change::Leave, 3)];
        assert_eq!(announced(&mut presences, at(2)), both, "a client without a name has no grace");
        assert_eq!(announced(&mut presences, at(6)), []);
        assert_eq!(announced(&mut presences, at(7)), [(Change::Leave, 1)]);
        assert!(presences.channels.is_empty() && presences.unannounced() == 0);
    }

    /// The present visitors, by the joins and leaves so far, which alternate.
    #[derive(Default)]
    struct Watcher(BTreeSet<(String, Name)>);

    impl Watcher {
        fn hear(&mut self, presences: &mut Presences, now: Tick) {
            while let Some(Announcement { change, channel, present }) = presences.announcement(now) {
                let who = (channel.to_string(), Name::of(&present));
                let is_news = if change == Change::Join { self.0.insert(who) } else { self.0.remove(&who) };
                assert!(is_news, "a join follows a leave, and a leave a join");
            }
        }
    }

    proptest! {
        #[test]
        fn lists_are_true_and_announcements_become_so(
            deeds in prop::collection::vec((0..3usize, 0..8u64, 0..4u64, any::<bool>()), 0..200),
        ) {
            let rooms = ["a", "b", "c"].map(channel);
            let mut presences = Presences::default();
            let mut naive: [BTreeSet<u64>; 3] = Default::default();
            let mut watcher = Watcher::default();
            let mut now = 0;
            for (room, conn, pause, is_heard) in deeds {
                now += pause;
                if naive[room].insert(conn) {
                    presences.arrive(rooms[room].clone(), present(conn), GRACE, at(now));
                } else {
                    naive[room].remove(&conn);
                    presences.depart(&rooms[room], Address::from_bits(conn), at(now));
                }
                if is_heard {
                    watcher.hear(&mut presences, at(now));
                }
                let roster = presences.roster(&rooms[room]);
                prop_assert_eq!(conns(&roster.listed), naive[room].iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(roster.clients, naive[room].len() + roster.away.len());
                let names: BTreeSet<_> = roster.known().map(Name::of).collect();
                let away = roster.away.iter().filter(|away| naive[room].contains(&away.conn.address().to_bits()));
                prop_assert_eq!(away.count(), 0);
                // A visitor that a watcher counts as present is present, or may return: with the list it began with,
                // the watcher is never wrong.
                let seen = watcher.0.iter().filter(|(channel, _)| channel == rooms[room].as_str());
                for (_, name) in seen {
                    prop_assert!(names.contains(name));
                }
            }
            prop_assert_eq!(presences.len(), naive.iter().map(|room| room.len()).sum::<usize>());
            for _ in 0..2 {
                now += GRACE.as_millis() as u64;
                watcher.hear(&mut presences, at(now));
            }
            let there = rooms.iter().zip(&naive).flat_map(|(room, there)| {
                there.iter().map(|conn| (room.to_string(), Name::of(&present(*conn))))
            });
            prop_assert_eq!(&watcher.0, &there.collect());
            prop_assert_eq!((presences.unannounced(), presences.taken), (0, presences.len()));
        }
    }
}
