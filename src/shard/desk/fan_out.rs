//! The loop bodies of a fan-out: one event to one subscriber after another, or for large rooms, all events of a round.
//!
//! ```text
//!  fan_out --few clients---> each gets the event at once
//!     '------many clients--> `hub::topic` keeps the event --spread_on: a piece of the round--> each gets all its events
//! ```

use std::rc::Rc;

use smallvec::SmallVec;

use crate::base::{Address, Key, Slots};
use crate::conn::held::Held;
use crate::conn::settings::Settings;
use crate::conn::{Conn, Pushed, access};
use crate::hub::{Pending, SubKey, Subscriber, Subscribers};
use crate::mesh::Audience;
use crate::proto::CloseReason;
use crate::proto::channel::RuleNumber;
use crate::proto::event::Event;
use crate::proto::reserved::destination::Expects;

use super::super::counters::Counters;
use super::{Desk, Work, mark_dirty};

/// Gives events to connections of one shard.
struct FanOut<'a> {
    slots: &'a mut Slots<Conn>,
    settings: &'a Settings,
    held: &'a mut Held,
    counters: &'a Counters,
    work: &'a mut Work,
    delivered: u64,
    /// Events that were held or lost.
    others: u64,
    /// Subscriptions that end with this message.
    finished: SmallVec<[SubKey; 4]>,
    /// Connections that are too slow for the event.
    ended: SmallVec<[(Key, CloseReason); 4]>,
}

/// When the flush sends a connection that gets an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    First,
    /// After the others, perhaps in a later turn: it is one of many.
    Later,
}

impl FanOut<'_> {
    /// Gives an event to one subscriber; false if the subscriber is gone or too slow for it. Inlined into the loops that
    /// call it: a call would cost about a fiftieth of a delivery.
    #[inline(always)]
    fn push(&mut self, pending: &Pending, subscriber: Subscriber, number: RuleNumber, sends: Sends) -> bool {
        let Subscriber { key, tag } = subscriber;
        let Some(conn) = self.slots.get_mut(key).filter(|conn| conn.is_open()) else { return false };
        if pending.except == Some(key) || pending.is_said && conn.session.can_answer(self.settings) {
            return true;
        }
        let event = &pending.event;
        let pushed = if conn.is_idle() {
            Pushed::Framed(conn.push_event(tag, event))
        } else {
            conn.push_behind(key, tag, event, self.settings.generation.channels.rule(number), self.held, self.settings)
        };
        match pushed {
            Pushed::Framed(last) => {
                self.delivered += 1;
                if let Some(sub) = last {
                    self.finished.push(sub);
                }
            }
            _ => {
                self.others += 1;
                self.counters.count_lost(number, pushed);
                if let Some((_, count)) = pushed.lost() {
                    access::lost(key, count, self.settings);
                }
            }
        }
        if pushed == Pushed::TooSlow {
            self.ended.push((key, CloseReason::SlowConsumer));
            return false;
        }
        match sends {
            Sends::First => mark_dirty(key, conn, &mut self.work.dirty),
            Sends::Later if conn.link.mark_dirty_later() => self.work.dirty_later.push_back(key),
            Sends::Later => {}
        }
        true
    }
}

impl Desk {
    /// Gives the event to all subscribers of this shard; if they are many, begins to. Returns the number of those that were
    /// sent it at once, or will be: an event that is held or lost does not count.
    pub(crate) fn fan_out(&mut self, event: &Rc<Event>, audience: Audience, except: Option<Address>) -> u64 {
        // Connections that can answer already got this as a question, or as a message to acknowledge.
        let is_said = event.message.destination().expects() != Expects::Nothing;
        let except = except.filter(|except| except.place == self.place).map(|except| except.key);
        let pending = Pending { event: event.clone(), except, is_said };
        let at_once_max = self.meter.budget.fan_out_at_once;
        let mut later = 0;
        let delivered = give(self, |subscribers, fan_out| match audience {
            Audience::Clients => {
                later = subscribers.fan_out(&pending, at_once_max, |subscriber, number| {
                    fan_out.push(&pending, subscriber, number, Sends::First);
                });
            }
            Audience::Workers => {
                let number = RuleNumber::FALLBACK;
                subscribers.for_each_worker(&event.message.subject, |subscriber| {
                    fan_out.push(&pending, subscriber, number, Sends::First);
                });
            }
        });
        self.meter.cause(later as u64);
        delivered + later as u64
    }
}

/// Does one piece of the fan-outs to many clients. False if there is none to do in this turn.
pub(in crate::shard) fn spread_on(desk: &mut Desk) -> bool {
    let deliveries = desk.meter.budget.fan_out_at_once.max(1);
    let mut is_done = false;
    give(desk, |subscribers, fan_out| {
        is_done = subscribers.go_on(deliveries, |subscriber, number, round| {
            _ = round.iter().all(|pending| fan_out.push(pending, subscriber, number, Sends::Later));
        });
    });
    is_done
}

/// Gives a connection the events that are on their way to it: something follows that may not overtake them, such as its end.
pub(in crate::shard) fn catch_up(desk: &mut Desk, key: Key) {
    if !desk.subscribers.is_spreading() {
        return;
    }
    let Some(conn) = desk.slots.get_mut(key) else { return };
    let mut subs = conn.session.subs().to_vec();
    subs.extend(conn.centrifuge().map(|(centrifuge, _)| centrifuge.subs()).unwrap_or_default());
    subs.into_iter().for_each(|sub| catch_up_sub(desk, sub));
}

/// The same for one subscription.
pub(in crate::shard) fn catch_up_sub(desk: &mut Desk, sub: SubKey) {
    if !desk.subscribers.is_spreading() {
        return;
    }
    let Some((subscriber, number)) = desk.subscribers.subscriber(sub).zip(desk.subscribers.rule(sub)) else { return };
    give(desk, |subscribers, fan_out| {
        let pending = subscribers.take_pending(sub);
        _ = pending.iter().all(|pending| fan_out.push(pending, subscriber, number, Sends::First));
    });
}

/// Lets `body` give events, then counts them, and leaves the errands that follow. Returns the number of events that were sent at
/// once.
#[inline]
fn give(desk: &mut Desk, body: impl FnOnce(&mut Subscribers, &mut FanOut<'_>)) -> u64 {
    let Desk { subscribers, slots, settings, work, place, held, counters, .. } = &mut *desk;
    let mut fan_out = FanOut {
        slots,
        settings,
        held,
        counters: &counters[place.index()],
        work,
        delivered: 0,
        others: 0,
        finished: SmallVec::new(),
        ended: SmallVec::new(),
    };
    body(subscribers, &mut fan_out);
    let FanOut { delivered, others, finished, ended, .. } = fan_out;
    desk.counters().delivered.add(delivered);
    desk.meter.spend(delivered + others);
    finished.into_iter().for_each(|sub| desk.withdraw(sub));
    ended.into_iter().for_each(|(key, reason)| desk.end(key, reason));
    delivered
}
