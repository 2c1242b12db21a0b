//! The loop body of a fan-out: one event to one subscriber after another.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::base::{Address, Key, Slots};
use crate::conn::held::Held;
use crate::conn::settings::Settings;
use crate::conn::{Conn, Pushed};
use crate::hub::{SubKey, Subscriber};
use crate::mesh::Audience;
use crate::proto::CloseReason;
use crate::proto::channel::RuleNumber;
use crate::proto::event::Event;
use crate::proto::reserved::destination::Expects;

use super::super::counters::Counters;
use super::{Desk, mark_dirty};

/// One event on its way to the subscribers of one shard.
struct FanOut<'a> {
    event: &'a Rc<Event>,
    /// The publisher, if it does not want its own message.
    except: Option<Key>,
    /// The event is a question or a message to acknowledge: connections that can answer have got it already.
    is_said: bool,
    slots: &'a mut Slots<Conn>,
    settings: &'a Settings,
    held: &'a mut Held,
    counters: &'a Counters,
    dirty: &'a mut Vec<Key>,
    delivered: u64,
    /// Subscriptions that end with this message.
    finished: SmallVec<[SubKey; 4]>,
    /// Connections that are too slow for the event.
    ended: SmallVec<[(Key, CloseReason); 4]>,
}

impl FanOut<'_> {
    /// Gives the event to one subscriber. Inlined into both loops that call it: a call would cost about a fiftieth of a
    /// delivery.
    #[inline(always)]
    fn push(&mut self, subscriber: Subscriber, number: RuleNumber) {
        let Subscriber { key, tag } = subscriber;
        let Some(conn) = self.slots.get_mut(key) else { return };
        if self.except == Some(key) || self.is_said && conn.session.can_answer(self.settings) {
            return;
        }
        let pushed = if conn.is_idle() {
            Pushed::Framed(conn.push_event(tag, self.event))
        } else {
            conn.push_behind(
                key,
                tag,
                self.event,
                self.settings.generation.channels.rule(number),
                self.held,
                self.settings,
            )
        };
        match pushed {
            Pushed::Framed(last) => {
                self.delivered += 1;
                if let Some(sub) = last {
                    self.finished.push(sub);
                }
            }
            _ => self.counters.count_lost(number, pushed),
        }
        if pushed == Pushed::TooSlow {
            return self.ended.push((key, CloseReason::SlowConsumer));
        }
        mark_dirty(key, conn, self.dirty);
    }
}

impl Desk {
    /// Gives the event to all subscribers of this shard. Returns the number of those that were sent it at once: an event
    /// that is held or lost does not count.
    pub(crate) fn fan_out(&mut self, event: &Rc<Event>, audience: Audience, except: Option<Address>) -> u64 {
        // Connections that can answer already got this as a question, or as a message to acknowledge.
        let is_said = event.message.destination().expects() != Expects::Nothing;
        let Desk { subscribers, slots, settings, work, place, held, counters, .. } = self;
        let counters = &counters[place.index()];
        let except = except.filter(|except| except.place == *place).map(|except| except.key);
        let mut fan_out = FanOut {
            event,
            except,
            is_said,
            slots,
            settings,
            held,
            counters,
            dirty: &mut work.dirty,
            delivered: 0,
            finished: SmallVec::new(),
            ended: SmallVec::new(),
        };
        match audience {
            Audience::Clients => {
                subscribers
                    .for_each(event.message.subject.as_str(), |subscriber, number| fan_out.push(subscriber, number));
            }
            Audience::Workers => {
                let number = RuleNumber::FALLBACK;
                subscribers.for_each_worker(&event.message.subject, |subscriber| fan_out.push(subscriber, number));
            }
        }
        let FanOut { delivered, finished, ended, .. } = fan_out;
        self.counters().delivered.add(delivered);
        finished.into_iter().for_each(|sub| self.withdraw(sub));
        ended.into_iter().for_each(|(key, reason)| self.end(key, reason));
        delivered
    }
}
