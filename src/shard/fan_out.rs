//! The loop's body of a fan-out: one event to one listener after another.

use std::rc::Rc;

use smallvec::SmallVec;

use crate::base::{Key, Slots};
use crate::conn::held::Held;
use crate::conn::settings::Settings;
use crate::conn::{Conn, Pushed};
use crate::hub::{Listener, SubKey};
use crate::proto::CloseReason;
use crate::proto::channel::RuleNumber;
use crate::proto::event::Event;

use super::counters::Counters;
use super::desk::mark_dirty;

/// One event on its way to the listeners of one shard.
pub(super) struct FanOut<'a> {
    pub(super) event: &'a Rc<Event>,
    /// The publisher, if it does not want its own message.
    pub(super) except: Option<Key>,
    /// Connections that can answer have been asked already.
    pub(super) is_said: bool,
    pub(super) slots: &'a mut Slots<Conn>,
    pub(super) settings: &'a Settings,
    pub(super) held: &'a mut Held,
    pub(super) counters: &'a Counters,
    pub(super) dirty: &'a mut Vec<Key>,
    pub(super) delivered: u64,
    /// Subscriptions that this was the last message of.
    pub(super) finished: SmallVec<[SubKey; 4]>,
    /// Connections that are too slow for it.
    pub(super) ended: SmallVec<[(Key, CloseReason); 4]>,
}

impl FanOut<'_> {
    /// To one listener. Inlined into both loops that call it: a call would cost as much as a fiftieth of a delivery.
    #[inline(always)]
    pub(super) fn push(&mut self, listener: Listener, number: RuleNumber) {
        let Listener { key, tag } = listener;
        let Some(conn) = self.slots.get_mut(key) else { return };
        if self.except == Some(key) || self.is_said && conn.can_answer(self.settings) {
            return;
        }
        let pushed = if conn.is_idle() {
            Pushed::Framed(conn.push_event(tag, self.event))
        } else {
            conn.push_behind(key, tag, self.event, self.settings.channels.rule(number), self.held, self.settings)
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
