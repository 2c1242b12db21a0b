//! Presence. Each shard reports which of its clients subscribe to a channel with presence; the owner keeps the list,
//! and announces joins and leaves. The connections of a user: each shard knows its own.
//!
//! ```text
//!  subscription_began --Arrive--> owner <--Who----- ask: a client, the admin listener
//!  subscription_ends  --Depart--> owner ---Roster-> the asker
//!                                 owner <-- tg.presence.<channel>, a worker's request; answered to its shard
//!                                 owner --> tg.event.join.<channel>, tg.event.leave.<channel>: workers, clients that watch
//!
//!  find: the admin listener --Find--> every shard --Found--> the asker
//! ```
//!
//! Announcements about a channel come from the shard that answers `Who`, in the same lane. So a client that watches
//! before it asks gets every change that the answer does not have. `Arrive` uses the lane of `Join`, so a client that
//! asks after it is on the list.
//!
//! Of a channel without presence the owner knows only which shards have subscribers.

use std::sync::Arc;

use crate::base::{Address, Key, Place, Tick};
use crate::conn::identity;
use crate::hub::{Presences, SubKey};
use crate::limits;
use crate::mesh::presence::PresenceMail;
use crate::mesh::{Mail, Publish};
use crate::proto::event::Message;
use crate::proto::presence::{Connected, Found, Present, Roster};
use crate::proto::reserved::subjects::{self, Change};
use crate::proto::subject::Subject;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::{Desk, catch_up};

#[derive(Default)]
pub(in crate::shard) struct Presence {
    /// The lists of the channels that this shard owns.
    presences: Presences,
}

impl Presence {
    pub(crate) fn new(_parts: &Parts) -> Presence {
        Presence::default()
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: PresenceMail) {
        match mail {
            PresenceMail::Arrive { channel, present } => self.arrived(desk, channel, *present),
            PresenceMail::Depart { channel, conn } => self.presences.depart(&channel, conn, desk.now),
            PresenceMail::Who { channel, asker } => {
                let roster = self.roster(desk, &channel).map(Box::new);
                send(desk, asker.place, PresenceMail::Roster { key: asker.key, channel, roster });
            }
            PresenceMail::Find { user, asker } => {
                let found = Box::new(find_user(desk, &user));
                send(desk, asker.place, PresenceMail::Found { key: asker.key, found });
            }
            PresenceMail::Roster { key, channel, roster } => {
                // The list has the changes that are on their way.
                catch_up(desk, key);
                let roster = roster.as_deref();
                desk.answer(key, |conn, settings, now| conn.push_presence(&channel, roster, settings, now));
            }
            PresenceMail::Found { key, found } => {
                desk.answer(key, |conn, settings, now| conn.found(*found, settings, now));
            }
        }
    }

    /// Asks the owner for the clients of a channel, on behalf of `key`.
    pub(crate) fn ask(&mut self, desk: &mut Desk, key: Key, channel: Subject) {
        let (owner, asker) = (desk.owner_of(&channel), desk.address(key));
        send(desk, owner, PresenceMail::Who { channel, asker });
    }

    /// Asks every shard for the connections of a user, on behalf of `key`.
    pub(crate) fn find(&mut self, desk: &mut Desk, key: Key, user: Subject) {
        let asker = desk.address(key);
        desk.send_all(|| Mail::Presence(PresenceMail::Find { user: user.clone(), asker }));
    }

    /// Answers a worker's request to `tg.presence.<channel>`. The answer goes to the subscribers of the reply subject
    /// on the worker's shard, so it is a tell.
    pub(crate) fn answer_worker(&mut self, desk: &mut Desk, publish: Publish) {
        let asked = subjects::presence_channel(&publish.message.subject);
        let Some(channel) = asked else { return desk.tell_nobody_there(&publish) };
        let owner = desk.owner_of(&channel);
        if owner != desk.place {
            return desk.send_on(publish.from, owner, Mail::Publish(Box::new(publish)));
        }
        let Some(roster) = self.roster(desk, &channel) else { return desk.tell_nobody_there(&publish) };
        let (Some(from), Some(reply)) = (publish.from, &publish.message.reply) else { return };
        let payload = Roster::to_json(Some(&roster), &channel).into_bytes().into();
        let message = Arc::new(Message::new(reply.clone(), None, None, payload));
        let delivery = Publish::new(message, None).to_workers(false);
        desk.send_on(Some(from), from.address.place, Mail::Deliver(Box::new(delivery)));
    }

    /// The clients of a channel that this shard owns; `None` for a channel without presence.
    pub(crate) fn roster(&self, desk: &Desk, channel: &Subject) -> Option<Roster> {
        desk.settings.generation.channels.of(channel).has_presence.then(|| self.presences.roster(channel))
    }

    fn arrived(&mut self, desk: &mut Desk, channel: Subject, present: Present) {
        let grace = desk.settings.generation.channels.of(&channel).presence_grace;
        let is_back = self.presences.arrive(channel, present, grace, desk.now);
        desk.counters().returns.add(is_back.into());
    }
}

impl Feature for Presence {
    fn subscription_began(&mut self, desk: &mut Desk, sub: SubKey) {
        let Some((conn, channel)) = watched(desk, sub) else { return };
        let since = (desk.settings.process.unix_time)();
        let Some((user, info)) = desk.slots.get(conn.key).map(|conn| conn.session.who()) else { return };
        let conn = desk.settings.process.conn_id(conn);
        let present = Present { conn, user: user.cloned(), info: info.map(Box::from), since };
        let owner = desk.owner_of(&channel);
        send(desk, owner, PresenceMail::Arrive { channel, present: Box::new(present) });
    }

    fn subscription_ends(&mut self, desk: &mut Desk, sub: SubKey) {
        let Some((conn, channel)) = watched(desk, sub) else { return };
        let owner = desk.owner_of(&channel);
        send(desk, owner, PresenceMail::Depart { channel, conn });
    }

    const PIECES_PER_TURN: usize = limits::ANNOUNCEMENTS_PER_TURN;

    /// Announces one join or leave. It is work of the turn because it makes mail, as much as there is room for (TELLS
    /// ARE TERMINAL).
    fn work(&mut self, desk: &mut Desk) -> bool {
        if self.presences.due_at() > desk.now || desk.post.is_crowded() {
            return false;
        }
        let Some(announcement) = self.presences.announcement(desk.now) else { return false };
        match announcement.change {
            Change::Join => desk.counters().joins.add(1),
            Change::Leave => desk.counters().leaves.add(1),
        }
        if let Some(message) = announcement.message() {
            desk.announce(message, announcement.present.conn.address());
        }
        true
    }

    fn deadline(&self, _now: Tick, is_crowded: bool) -> Tick {
        if is_crowded { Tick::NEVER } else { self.presences.due_at() }
    }

    fn measure(&self, counters: &Counters) {
        counters.present.set(self.presences.len() as u64);
    }

    fn count(&self, census: &mut Census) {
        census.present = self.presences.len();
        census.unannounced = self.presences.unannounced();
    }
}

/// The client and the channel of a subscription, if the channel has presence. A worker's subscription is to a pattern, which
/// has no rule. The client's connection may have gone.
fn watched(desk: &Desk, sub: SubKey) -> Option<(Address, Subject)> {
    if !desk.settings.generation.channels.has_presence() {
        return None;
    }
    let key = desk.subscribers.subscriber(sub)?.key;
    let rule = desk.subscribers.rule(sub)?;
    let is_watched = desk.settings.generation.channels.rule(rule).has_presence;
    is_watched.then(|| Some((desk.address(key), desk.subscribers.subject(sub)?.clone())))?
}

/// This shard's part of the answer. A subscriber of the user's subject is a connection of the user, or a worker.
fn find_user(desk: &Desk, user: &Subject) -> Found {
    let mut found = Found { shards: desk.post.mesh().shards(), ..Found::default() };
    desk.subscribers.for_each(user.as_str(), |subscriber, _| {
        let Some(conn) = desk.slots.get(subscriber.key) else { return };
        let Some(identity) = identity(&conn.session).filter(|_| conn.session.is_client()) else { return };
        let route = conn.session.route();
        found.count += 1;
        if found.connected.len() < limits::FOUND_PER_SHARD_MAX {
            found.connected.push(Connected {
                conn: desk.settings.process.conn_id(desk.address(subscriber.key)),
                route: desk.settings.generation.routes[route].template.clone(),
                peer: conn.link.peer().to_string().into(),
                since: identity.since(),
            });
        }
    });
    found
}

fn send(desk: &mut Desk, to: Place, mail: PresenceMail) {
    desk.send(to, Mail::Presence(mail));
}
