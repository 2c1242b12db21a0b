//! Who is there: each shard says who of its clients listens to a channel whose rule asks for it; the owner knows all of them,
//! and announces who comes and goes. Where a user is: each shard knows its own connections.
//!
//! ```text
//!  subscribe --Arrive--> owner <--Who----- a client, the admin listener
//!  withdraw  --Depart--> owner ---Roster-> the one who asked
//!                        owner <-- tg.presence.<channel>, a worker's request; answered to its shard
//!                        owner --> tg.event.join.<channel>, tg.event.leave.<channel>: workers, clients that watch
//!
//!  the admin listener --Find--> every shard --Found--> the one who asked
//! ```
//!
//! What is announced about a channel comes from the shard that answers `Who`, in the same lane: whoever watches before it asks
//! hears of every change that the answer does not have.

use std::sync::Arc;

use crate::base::{Address, Key};
use crate::conn::Door;
use crate::hub::SubKey;
use crate::limits;
use crate::mesh::{Mail, Publish, Publisher};
use crate::proto::event::Message;
use crate::proto::presence::{Change, Connected, Found, Present, Roster};
use crate::proto::subject::Subject;

use super::Core;

impl Core {
    /// A subscription has begun.
    pub(super) fn announce_arrival(&mut self, sub: SubKey) {
        let Some((conn, channel)) = self.watched(sub) else { return };
        let since = (self.desk.settings.unix_time)();
        let Some((user, info)) = self.desk.slots.get(conn.key).map(|conn| conn.who()) else { return };
        let present = Present { conn, user: user.cloned(), info: info.map(Box::from), since };
        let owner = self.desk.owner_of(&channel);
        self.desk.send(owner, Mail::Arrive { channel, present: Box::new(present) });
    }

    /// A subscription ends.
    pub(super) fn announce_departure(&mut self, sub: SubKey) {
        let Some((conn, channel)) = self.watched(sub) else { return };
        let owner = self.desk.owner_of(&channel);
        self.desk.send(owner, Mail::Depart { channel, conn });
    }

    /// Of a channel that this shard owns.
    pub(super) fn arrived(&mut self, channel: Subject, present: Present) {
        let is_back = self.desk.engine.arrive(channel, present, self.desk.now);
        self.desk.counters().returns.add(is_back.into());
    }

    /// Says who has come and gone. That is nobody's answer, and makes mail: as much of it as fits (TELLS ARE TERMINAL).
    pub(super) fn announce(&mut self) {
        for _ in 0..limits::ANNOUNCEMENTS_PER_TURN {
            if self.desk.post.is_crowded() {
                return;
            }
            let Some(announcement) = self.desk.engine.announcement(self.desk.now) else { return };
            match announcement.change {
                Change::Join => self.desk.counters().joins.add(1),
                Change::Leave => self.desk.counters().leaves.add(1),
            }
            let Some(message) = announcement.message() else { continue };
            let subject = message.subject.clone();
            // Nobody is told of itself.
            let from = Publisher {
                address: announcement.present.conn,
                wants_position: None,
                wants_no_responders: false,
                is_silent: true,
            };
            self.publish_owned(&subject, Publish::new(message, Some(from)));
        }
    }

    /// Has a client hear who comes to a channel and who leaves it.
    pub(super) fn watch(&mut self, key: Key, tag: u32, channel: &Subject) {
        for subject in Change::ALL.into_iter().filter_map(|change| change.subject(channel)) {
            self.subscribe(key, tag, &subject);
        }
    }

    /// A client's subscription to a channel with presence.
    fn watched(&self, sub: SubKey) -> Option<(Address, Subject)> {
        let key = self.desk.subscribers.listener(sub)?.key;
        let rule = self.desk.subscribers.rule(sub)?;
        let is_client = self.desk.slots.get(key)?.door == Door::Front;
        let is_watched = is_client && self.desk.settings.channels.rule(rule).has_presence;
        is_watched.then(|| Some((self.desk.address(key), self.desk.subscribers.subject(sub)?.clone())))?
    }

    /// Asks who is there; `key` is told.
    pub(super) fn ask_presence(&mut self, key: Key, channel: Subject) {
        let owner = self.desk.owner_of(&channel);
        let asker = self.desk.address(key);
        self.desk.send(owner, Mail::Who { channel, asker });
    }

    /// The owner has answered.
    pub(super) fn tell_presence(&mut self, key: Key, channel: &Subject, roster: Option<&Roster>) {
        self.desk.answer(key, |conn, settings, now| conn.push_presence(channel, roster, settings, now));
    }

    /// A worker asks, by a request to `tg.presence.<channel>`. Whoever listens to its reply subject on its shard is told, so
    /// that the answer is a tell.
    pub(super) fn publish_presence(&mut self, channel: &Subject, publish: Publish) {
        let owner = self.desk.owner_of(channel);
        if owner != self.desk.place {
            return self.desk.send_on(publish.from, owner, Mail::Publish(Box::new(publish)));
        }
        let Some(roster) = self.desk.engine.roster(channel) else { return self.desk.tell_nobody_there(&publish) };
        let (Some(from), Some(reply)) = (publish.from, &publish.message.reply) else { return };
        let payload = Roster::to_json(Some(&roster), channel).into_bytes().into();
        let message = Arc::new(Message { subject: reply.clone(), reply: None, headers: None, payload });
        let delivery = Publish::new(message, None).to_workers(false);
        self.desk.send_on(Some(from), from.address.place, Mail::Deliver(Box::new(delivery)));
    }

    // --- where a user is -----------------------------------------------------------------------------------------------

    /// Asks every shard; `key` is told.
    pub(super) fn ask_whereabouts(&mut self, key: Key, user: Subject) {
        let asker = self.desk.address(key);
        self.desk.send_all(|| Mail::Find { user: user.clone(), asker });
    }

    /// This shard's part of the answer: who listens to the user's subject is one of its connections, or a worker.
    pub(super) fn find_user(&self, user: &Subject) -> Found {
        let mut found = Found { shards: self.desk.post.mesh().shards(), ..Found::default() };
        self.desk.subscribers.for_each(user, |listener, _| {
            let Some(conn) = self.desk.slots.get(listener.key) else { return };
            let Some((route, identity)) = conn.websocket() else { return };
            found.count += 1;
            if found.connected.len() < limits::FOUND_PER_SHARD_MAX {
                found.connected.push(Connected {
                    conn: self.desk.address(listener.key),
                    route: self.desk.settings.routes[route as usize].template.clone(),
                    peer: conn.peer.to_string().into(),
                    since: identity.since(),
                });
            }
        });
        found
    }

    /// A shard has answered.
    pub(super) fn found(&mut self, key: Key, found: Found) {
        self.desk.answer(key, |conn, settings, now| conn.found(found, settings, now));
    }
}
