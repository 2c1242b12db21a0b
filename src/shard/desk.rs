//! What every feature of a shard works with: the connections, their subscriptions, and the letters and submissions that leave with
//! this turn.

use std::sync::Arc;

use crate::base::{Address, Fold, Key, Place, Slots, Tick, Wheel};
use crate::conn::Conn;
use crate::conn::held::Held;
use crate::conn::settings::Settings;
use crate::hub::{Listeners, SubKey};
use crate::mesh::{Mail, Post, Publish};
use crate::proto::CloseReason;
use crate::proto::event::Message;

use super::Parts;
use super::counters::Counters;
use super::errands::{Errand, Errands};

pub(super) struct Desk {
    pub place: Place,
    pub settings: Arc<Settings>,
    /// Of all shards, for the metrics; this shard writes its own.
    pub counters: Arc<[Counters]>,
    /// Of the process, for log lines that strangers or lasting conditions cause again and again.
    pub fold: Arc<Fold>,
    pub slots: Slots<Conn>,
    pub subscribers: Listeners,
    /// Events that are kept back for slow clients.
    pub held: Held,
    pub post: Post,
    pub wheel: Wheel,
    pub work: Work,
    /// Publishers that wait for room in other shards' mailboxes.
    pub parked: Vec<Key>,
    pub errands: Errands,
    pub now: Tick,
}

/// Submissions for the driver, gathered while completions are handled.
#[derive(Default)]
pub(super) struct Work {
    pub dirty: Vec<Key>,
    pub receive: Vec<Key>,
    pub close: Vec<Key>,
    pub resume: Vec<Key>,
}

impl Desk {
    pub fn new(parts: &Parts) -> Desk {
        Desk {
            place: parts.place,
            settings: parts.settings.clone(),
            counters: parts.counters.clone(),
            fold: parts.fold.clone(),
            slots: Slots::new(parts.seed),
            subscribers: Listeners::new(parts.place, parts.settings.channels.clone()),
            held: Held::default(),
            post: Post::new(parts.mesh.clone(), parts.place),
            wheel: Wheel::new(parts.now),
            work: Work::default(),
            parked: Vec::new(),
            errands: Errands::default(),
            now: parts.now,
        }
    }

    /// This shard's own.
    pub fn counters(&self) -> &Counters {
        &self.counters[self.place.index()]
    }

    pub fn address(&self, key: Key) -> Address {
        Address { place: self.place, key }
    }

    /// Puts `key` on the list of connections that have something to send.
    pub fn mark_dirty(&mut self, key: Key) {
        if let Some(conn) = self.slots.get_mut(key) {
            mark_dirty(key, conn, &mut self.work.dirty);
        }
    }

    /// Not reading on is the back-pressure: a connection that makes mail waits while other shards have too much of it.
    pub fn park_if_crowded(&mut self, key: Key) {
        if self.post.is_crowded()
            && let Some(conn) = self.slots.get_mut(key)
        {
            conn.is_parked = true;
            self.parked.push(key);
        }
    }

    /// Sends a letter, to this shard or another, or to an in-process worker.
    pub fn send(&mut self, to: Place, mail: Mail) {
        if to == self.place {
            self.errands.push(Errand::Letter(mail));
        } else {
            self.post.push(to, mail);
        }
    }

    /// To every shard, this one too.
    pub fn send_all(&mut self, mut mail: impl FnMut() -> Mail) {
        self.post.push_all(&mut mail);
        self.errands.push(Errand::Letter(mail()));
    }

    /// Publishes what the gateway itself says.
    pub fn publish(&mut self, message: Message) {
        self.errands.push(Errand::Publish(Publish::new(message, None)));
    }

    /// Ends a connection.
    pub fn end(&mut self, key: Key, reason: CloseReason) {
        self.errands.push(Errand::End(key, reason));
    }

    /// Ends a subscription.
    pub fn withdraw(&mut self, sub: SubKey) {
        self.errands.push(Errand::Withdraw(sub));
    }

    /// What a parked connection waited for has come.
    pub fn unpark(&mut self, key: Key) {
        if let Some(conn) = self.slots.get_mut(key) {
            conn.is_parked = false;
            self.work.resume.push(key);
        }
    }
}

/// See [`Desk::mark_dirty`]; for callers that hold the connection already.
pub(super) fn mark_dirty(key: Key, conn: &mut Conn, dirty: &mut Vec<Key>) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(key);
    }
}
