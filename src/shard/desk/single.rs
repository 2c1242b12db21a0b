//! From the gateway to one connection.

use std::rc::Rc;

use crate::base::{Address, Key, Tick};
use crate::conn::settings::Settings;
use crate::conn::{After, Conn, Pushed, access};
use crate::mesh::{Mail, Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::channel::RuleNumber;
use crate::proto::event::{Event, Position};
use crate::proto::subject::Subject;

use super::{Desk, catch_up};
use crate::shard::operations;

impl Desk {
    /// Gives an event to one connection. It belongs to no channel, so no channel's rule applies.
    pub(crate) fn push_to(&mut self, key: Key, tag: u32, event: &Rc<Event>) {
        catch_up(self, key);
        let Desk { slots, held, settings, .. } = self;
        let Some(conn) = slots.get_mut(key) else { return };
        let number = RuleNumber::FALLBACK;
        let pushed = conn.push_behind(key, tag, event, settings.generation.channels.rule(number), held, settings);
        match pushed {
            Pushed::Framed(last) => {
                self.counters().delivered.add(1);
                self.mark_dirty(key);
                last.into_iter().for_each(|sub| self.withdraw(sub));
            }
            _ => {
                self.counters().count_lost(number, pushed);
                if let Some((_, count)) = pushed.lost() {
                    access::lost(key, count, &self.settings);
                }
                self.end(key, CloseReason::SlowConsumer);
            }
        }
    }

    /// Sends a control message to one client.
    pub(crate) fn put_control(&mut self, key: Key, json: &[u8]) {
        catch_up(self, key);
        let Some(conn) = self.slots.get_mut(key) else { return };
        if conn.is_overfull(&self.settings) {
            return self.end(key, CloseReason::SlowConsumer);
        }
        conn.push_control(json);
        self.counters().delivered.add(1);
        self.mark_dirty(key);
    }

    /// Answers a request of a connection, which then takes its next request, or ends.
    pub(crate) fn answer(&mut self, key: Key, write: impl FnOnce(&mut Conn, &Settings, Tick) -> After) {
        let Desk { slots, settings, now, .. } = self;
        let after = slots.get_mut(key).map(|conn| {
            let from = access::before_answer(conn, settings);
            let after = write(conn, settings, *now);
            access::answered(conn, (key, from), None, settings, *now);
            after
        });
        if after == Some(After::Close) {
            self.end(key, CloseReason::Normal);
        }
        self.work.resume.push_back(key);
        self.mark_dirty(key);
    }

    /// One registration that `key` waits for is confirmed.
    pub(crate) fn registered(&mut self, key: Key) {
        let Some(conn) = self.slots.get_mut(key) else { return };
        if conn.session.registered() {
            self.work.resume.push_back(key);
            self.mark_dirty(key);
        }
    }

    // --- back to the publisher ---------------------------------------------------------------------------------------

    /// Tells a publisher, of any shard, the position of its message.
    pub(crate) fn tell_published(&mut self, from: Publisher, number: u32, position: Option<Position>) {
        let Address { place, key } = from.address;
        self.send(place, Mail::Published { key, number, position });
    }

    /// Tells a publisher, of any shard, that its message reached no subscriber. `reply` is the subject at which it
    /// waits for the answer.
    pub(crate) fn tell_no_responders(&mut self, to: Address, reply: &Subject) {
        let Address { place, key } = to;
        self.send(place, Mail::NoResponders { key, reply: reply.clone() });
    }

    /// The same, if the publisher wants to be told.
    pub(crate) fn tell_nobody_there(&mut self, publish: &Publish) {
        operations::tell_reached(self, publish, 0);
        let Some(from) = publish.from.filter(|from| from.wants_no_responders) else { return };
        let Some(reply) = &publish.message.reply else { return };
        self.tell_no_responders(from.address, reply);
    }

    /// The same, for a connection of this shard.
    pub(crate) fn no_responders(&mut self, key: Key, reply: &Subject) {
        let Some(conn) = self.slots.get_mut(key) else { return };
        if conn.is_overfull(&self.settings) {
            return self.end(key, CloseReason::SlowConsumer);
        }
        if let Some(sub) = conn.push_no_responders(reply) {
            self.withdraw(sub);
        }
        self.mark_dirty(key);
    }
}
