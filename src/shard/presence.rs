//! Who is there: each shard says who of its clients listens to a channel whose rule asks for it; the owner knows all of them.
//!
//! ```text
//!  subscribe --Arrive--> owner <--Who----- a client, the admin listener
//!  withdraw  --Depart--> owner ---Roster-> the one who asked
//!                        owner <-- tg.presence.<channel>, a worker's request; answered to its shard
//! ```

use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Address, Key};
use crate::conn::Door;
use crate::hub::SubKey;
use crate::mesh::{Delivery, Mail, Publish};
use crate::proto::event::{Event, Message};
use crate::proto::presence::{Present, Roster};
use crate::proto::subject::Subject;

use super::Core;

impl Core {
    /// A subscription has begun.
    pub(super) fn announce_arrival(&mut self, sub: SubKey) {
        let Some((conn, channel)) = self.watched(sub) else { return };
        let since = (self.settings.unix_time)();
        let Some((user, info)) = self.slots.get(conn.key).map(|conn| conn.who()) else { return };
        let present = Present { conn, user: user.map(Box::from), info: info.map(Box::from), since };
        let owner = self.hub.owner_of(channel.as_str());
        if owner == self.place {
            self.hub.engine.arrive(channel, present);
        } else {
            self.post.push(owner, Mail::Arrive { channel, present: Box::new(present) });
        }
    }

    /// A subscription ends.
    pub(super) fn announce_departure(&mut self, sub: SubKey) {
        let Some((conn, channel)) = self.watched(sub) else { return };
        let owner = self.hub.owner_of(channel.as_str());
        if owner == self.place {
            self.hub.engine.depart(&channel, conn);
        } else {
            self.post.push(owner, Mail::Depart { channel, conn });
        }
    }

    /// A client's subscription to a channel with presence.
    fn watched(&self, sub: SubKey) -> Option<(Address, Subject)> {
        let key = self.hub.listeners.listener(sub)?.key;
        let rule = self.hub.listeners.rule(sub)?;
        let is_client = self.slots.get(key)?.door == Door::Front;
        let is_watched = is_client && self.settings.channels.rule(rule).has_presence;
        is_watched.then(|| Some((self.address(key), self.hub.listeners.subject(sub)?.clone())))?
    }

    /// Asks who is there; `key` is told.
    pub(super) fn ask_presence(&mut self, key: Key, channel: Subject) {
        let owner = self.hub.owner_of(channel.as_str());
        if owner == self.place {
            let roster = self.hub.engine.roster(&channel);
            self.tell_presence(key, &channel, roster.as_ref());
        } else {
            self.post.push(owner, Mail::Who { channel, asker: self.address(key) });
        }
    }

    /// The owner has answered.
    pub(super) fn tell_presence(&mut self, key: Key, channel: &Subject, roster: Option<&Roster>) {
        let (settings, now) = (&self.settings, self.now);
        let Some(conn) = self.slots.get_mut(key) else { return };
        if let Err(reason) = conn.push_presence(channel, roster, settings, now) {
            self.end(key, reason);
        }
        self.work.resume.push(key);
        self.mark_dirty(key);
    }

    /// A worker asks, by a request to `tg.presence.<channel>`. Whoever listens to its reply subject on its shard is told, so
    /// that the answer is a tell.
    pub(super) fn publish_presence(&mut self, channel: &Subject, publish: Publish) {
        let owner = self.hub.owner_of(channel.as_str());
        if owner != self.place {
            return self.post.push(owner, Mail::Publish(Box::new(publish)));
        }
        let Some(roster) = self.hub.engine.roster(channel) else { return self.tell_nobody_there(&publish) };
        let (Some(from), Some(reply)) = (publish.from, &publish.message.reply) else { return };
        let payload = Roster::to_json(Some(&roster), channel).into_bytes().into();
        let message = Arc::new(Message { subject: reply.clone(), reply: None, headers: None, payload });
        if from.address.place == self.place {
            self.deliver(&Rc::new(Event::new(message, None)), None);
        } else {
            let delivery = Delivery { message, position: None, except: None };
            self.post.push(from.address.place, Mail::Deliver(Box::new(delivery)));
        }
    }
}
