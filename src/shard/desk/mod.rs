//! The desk that every feature works at: the connections, their subscriptions, and the letters and submissions that
//! leave with this turn.

pub(super) mod access;
mod endings;
mod errands;
pub(super) mod excess;
mod fan_out;
mod output;
mod single;
pub(super) mod slow;
pub(super) mod sums;
mod trail;
mod workers;

pub(super) use endings::Told;
pub(super) use errands::Errand;
pub(super) use fan_out::{catch_up, catch_up_sub, spread_on};
pub(super) use trail::Trail;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Address, Fold, Key, Place, Remote, Slots, Tick, Wheel};
use crate::conn::held::Held;
use crate::conn::settings::Settings;
use crate::conn::{Conn, Sealing};
use crate::hub::{self, Directory, Engine, SubKey, Subscribers};
use crate::limits;
use crate::mesh::{Mail, Post, Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::event::Message;
use crate::proto::subject::Subject;

use super::Parts;
use super::budget::Meter;
use super::counters::Counters;
use errands::Errands;
use sums::Sums;

pub(super) struct Desk {
    pub place: Place,
    pub settings: Settings,
    /// The counters of all shards, for the metrics. This shard writes its own.
    pub counters: Arc<[Counters]>,
    /// One for the process: folds log lines that clients or lasting conditions cause again and again.
    pub fold: Arc<Fold>,
    pub slots: Slots<Conn>,
    pub subscribers: Subscribers,
    /// The logs and routing of the channels that this shard owns.
    pub engine: Engine,
    /// All subscriptions of workers, of every shard.
    pub directory: Directory,
    /// Events held for slow clients.
    pub held: Held,
    pub post: Post,
    pub wheel: Wheel,
    pub work: Work,
    /// Publishers that are paused until other shards' mailboxes have room, and fan-outs to many have caught up.
    pub parked: VecDeque<Key>,
    pub errands: Errands,
    /// What clients have sent that cannot be used yet, in bytes.
    pub sums: Sums,
    pub meter: Meter,
    pub trail: Trail,
    /// Batches for reuse.
    pub sealing: Sealing,
    pub now: Tick,
}

/// Submissions to the driver, collected while completions are handled.
#[derive(Default)]
pub(super) struct Work {
    /// Connections that have something to send …
    pub dirty: VecDeque<Key>,
    /// … and those that have only something of a fan-out to many. They are sent afterwards, with a share of their own.
    pub dirty_later: VecDeque<Key>,
    pub receive: Vec<Key>,
    /// Handed over before closes, so that none is closed that the driver does not know.
    pub orders: Vec<SocketOrder>,
    pub close: Vec<Key>,
    /// Connections with input that can be read on, one after another.
    pub resume: VecDeque<Key>,
    /// Connections whose deadline has come.
    pub due: VecDeque<Key>,
    /// Subscriptions of connections that have ended.
    pub withdraw: VecDeque<SubKey>,
}

/// A rare call of the driver.
pub(super) enum SocketOrder {
    Dial { key: Key, remote: Remote, from: Option<IpAddr> },
    KeepAlive(Key),
}

impl Work {
    /// Whether nothing is left for the next turn.
    pub(super) fn is_done(&self) -> bool {
        [&self.dirty, &self.dirty_later, &self.resume, &self.due, &self.withdraw].into_iter().all(VecDeque::is_empty)
    }

    /// How many entries the longest list of a turn has room for.
    pub(super) fn capacity(&self) -> usize {
        let queues = self.dirty.capacity().max(self.dirty_later.capacity()).max(self.resume.capacity());
        let seldom = self.due.capacity().max(self.withdraw.capacity()).max(self.orders.capacity());
        queues.max(self.receive.capacity()).max(self.close.capacity()).max(seldom)
    }

    /// Frees the memory of a turn with very many entries.
    pub(super) fn shrink(&mut self) {
        for queue in [&mut self.dirty, &mut self.dirty_later, &mut self.resume, &mut self.due, &mut self.withdraw] {
            queue.shrink_to(limits::TURN_ENTRIES_KEPT);
        }
        for list in [&mut self.receive, &mut self.close] {
            list.shrink_to(limits::TURN_ENTRIES_KEPT);
        }
        self.orders.shrink_to(limits::TURN_ENTRIES_KEPT);
    }
}

impl Desk {
    pub(super) fn new(parts: &Parts) -> Desk {
        Desk {
            place: parts.place,
            settings: parts.settings.clone(),
            counters: parts.counters.clone(),
            fold: parts.fold.clone(),
            slots: Slots::new(parts.seed),
            subscribers: Subscribers::new(parts.place, parts.settings.generation.channels.clone()),
            engine: Engine::new(
                parts.settings.generation.channels.clone(),
                parts.settings.process.history_bytes_max,
                parts.seed,
            ),
            directory: Directory::default(),
            held: Held::default(),
            post: Post::new(parts.mesh.clone(), parts.place),
            wheel: Wheel::new(parts.now),
            work: Work::default(),
            parked: VecDeque::new(),
            errands: Errands::default(),
            sums: Sums::default(),
            meter: Meter::new(parts.budget),
            trail: Trail::new(parts.place, parts.mesh.shards()),
            sealing: Sealing::default(),
            now: parts.now,
        }
    }

    /// The counters of this shard.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters[self.place.index()]
    }

    pub(super) fn address(&self, key: Key) -> Address {
        Address { place: self.place, key }
    }

    /// Puts `key` on the list of connections that have something to send.
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(conn) = self.slots.get_mut(key) {
            mark_dirty(key, conn, &mut self.work.dirty);
        }
    }

    /// Not reading is the back-pressure: a connection that makes mail is paused while other shards have too much of it, and one
    /// that publishes into a large room while too many deliveries are still to come.
    pub(super) fn park_if_crowded(&mut self, key: Key) {
        let is_behind = self.meter.has_caused() && self.meter.is_behind(&self.subscribers);
        if (is_behind || self.post.is_crowded())
            && let Some(conn) = self.slots.get_mut(key).filter(|conn| conn.is_open())
        {
            conn.session.park();
            self.parked.push_back(key);
        }
    }

    /// Sends a letter to this shard, another one, or an in-process worker.
    pub(super) fn send(&mut self, to: Place, mail: Mail) {
        if to == self.place {
            self.errands.push(Errand::Letter(mail));
        } else {
            self.post.push(to, mail);
        }
    }

    /// Sends a letter to every shard, this one included.
    pub(super) fn send_all(&mut self, mut mail: impl FnMut() -> Mail) {
        self.post.push_all(&mut mail);
        self.errands.push(Errand::Letter(mail()));
    }

    /// Publishes a message of the gateway itself.
    pub(super) fn publish(&mut self, message: Message) {
        self.errands.push(Errand::Publish(Publish::new(message, None)));
    }

    /// Publishes a message of the gateway itself about a connection, which does not receive it.
    pub(super) fn announce(&mut self, message: Message, about: Address) {
        let from = Publisher {
            address: about,
            wants_position: None,
            wants_reach: false,
            wants_no_responders: false,
            is_silent: true,
        };
        self.errands.push(Errand::Announce(Publish::new(message, Some(from))));
    }

    /// Ends a connection.
    pub(super) fn end(&mut self, key: Key, reason: CloseReason) {
        self.errands.push(Errand::End(key, reason));
    }

    /// Ends a subscription.
    pub(super) fn withdraw(&mut self, sub: SubKey) {
        self.errands.push(Errand::Withdraw(sub));
    }

    /// The shard that owns a channel: the same on every shard.
    pub(super) fn owner_of(&self, subject: &Subject) -> Place {
        hub::owner_of(subject.as_str(), self.post.mesh().shards())
    }

    /// Whether `key` is a client that takes questions and messages to acknowledge.
    pub(super) fn can_answer(&self, key: Key) -> bool {
        self.slots.get(key).is_some_and(|conn| conn.session.can_answer(&self.settings))
    }

    /// The subscription of `key` to a subject.
    pub(super) fn sub_of(&self, key: Key, subject: &Subject) -> Option<SubKey> {
        let subs = self.slots.get(key)?.session.subs();
        subs.iter().copied().find(|sub| self.subscribers.subject(*sub) == Some(subject))
    }

    /// Ends the expired subscriptions of `key`, and returns them.
    pub(super) fn drop_expired(&mut self, key: Key) -> SmallVec<[SubKey; 2]> {
        let mut dropped = SmallVec::new();
        while let Some(subs) = self.slots.get_mut(key).and_then(|conn| conn.take_expired(self.now)) {
            dropped.extend(subs);
        }
        dropped.iter().for_each(|sub| self.withdraw(*sub));
        dropped
    }

    /// Makes the wheel check a connection no later than its deadline.
    pub(super) fn schedule(&mut self, key: Key) {
        if let Some(conn) = self.slots.get(key) {
            self.wheel.promise(key.slot, conn.link.deadline());
        }
    }

    /// Ends `key` without last words: its peer cannot receive them.
    pub(super) fn broken(&mut self, key: Key, reason: CloseReason) {
        self.end(key, reason);
        self.work.close.push(key);
    }

    /// Resumes a parked connection: a worker has come for its message, or its line is short again.
    pub(super) fn unpark(&mut self, key: Key) {
        if let Some(conn) = self.slots.get_mut(key) {
            conn.session.unpark();
            self.work.resume.push_back(key);
        }
    }
}

/// See [`Desk::mark_dirty`]; for callers that hold the connection already.
pub(super) fn mark_dirty(key: Key, conn: &mut Conn, dirty: &mut VecDeque<Key>) {
    if conn.link.mark_dirty() {
        dirty.push_back(key);
    }
}
