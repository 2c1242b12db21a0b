//! What happens to an event for a connection whose earlier bytes are not all sent: the channel's rule decides.
//!
//! ```text
//!  push_behind --queue--> outbox, or the end
//!              --latest, drop--> held (see there) --release, when the batch in flight is back--> outbox
//! ```

use std::rc::Rc;

use crate::base::Key;
use crate::limits;
use crate::proto::channel::{Delivery, Loss, Queue, Rule};
use crate::proto::event::Event;
use crate::proto::subject::Subject;

use super::held::{self, Held, Next};
use super::settings::Settings;
use super::{Conn, Session};

/// The outcome of an event for a connection that is not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is framed. Contains the subscription's key in the hub if this was its last message.
    Framed(Option<Key>),
    /// It is held until there is room; this many other events are lost for it.
    Held(Option<(Loss, u64)>),
    Lost(Loss),
    /// Too much waits: the connection must be ended.
    TooSlow,
}

impl Pushed {
    /// Events that were lost, and why.
    pub fn lost(self) -> Option<(Loss, u64)> {
        match self {
            Pushed::Framed(_) | Pushed::Held(None) => None,
            Pushed::Held(Some(lost)) => Some(lost),
            Pushed::Lost(loss) => Some((loss, 1)),
            Pushed::TooSlow => Some((Loss::Closed, 1)),
        }
    }
}

/// Only the bus bounds what a worker may leave unread.
const UNBOUNDED: Queue = Queue { messages: usize::MAX, bytes: usize::MAX };

/// What [`Conn::release`] has framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub events: u64,
    /// Gaps that the client was told of, because it was too slow.
    pub gaps: u64,
}

impl Conn {
    /// Like [`Conn::push_event`], for a connection that is not idle: the channel's rule decides. Workers get every
    /// event, whatever the rule. The bound is checked before the event is added: a single message never makes a client
    /// slow.
    pub fn push_behind(
        &mut self,
        key: Key,
        tag: u32,
        event: &Rc<Event>,
        rule: &Rule,
        held: &mut Held,
        settings: &Settings,
    ) -> Pushed {
        let bytes_max = self.session.outbox_bytes_max(settings);
        let held_bytes = if self.session.is_behind { held.cost(key) } else { 0 };
        let is_worker = self.session.is_worker();
        if rule.delivery == Delivery::Queue || is_worker {
            let Queue { messages, bytes } = if is_worker { UNBOUNDED } else { rule.queue };
            let is_full = self.link.outbox.backlog() + held_bytes > bytes_max.min(bytes)
                || self.link.outbox.pending_events() >= messages;
            return if is_full { Pushed::TooSlow } else { Pushed::Framed(self.push_event(tag, event)) };
        }
        let goes_out_next = !self.session.is_behind && !self.link.outbox.is_sending();
        if goes_out_next && self.link.outbox.pending_len() <= limits::HELD_BYTES_PER_BATCH {
            return Pushed::Framed(self.push_event(tag, event));
        }
        let bytes_max = bytes_max.saturating_sub(self.link.outbox.backlog());
        let outcome = held.offer(key, tag, event, rule.delivery, held::HoldingBounds { queue: rule.queue, bytes_max });
        self.session.is_behind = true;
        match outcome {
            held::EventFate::Waits(loss) => Pushed::Held(loss),
            held::EventFate::Lost(loss) => Pushed::Lost(loss),
            held::EventFate::Full => Pushed::TooSlow,
        }
    }

    /// Frames a piece of the held events if the last batch has been sent; or all of them, before the last words.
    pub fn release(&mut self, key: Key, held: &mut Held, is_all: bool) -> Released {
        let mut released = Released::default();
        if !self.session.is_behind
            || (!is_all && (self.link.outbox.is_sending() || self.session.awaits_registrations()))
        {
            return released;
        }
        let end = self.link.outbox.pending_len() + limits::HELD_BYTES_PER_BATCH;
        held.begin_piece(key);
        while is_all || self.link.outbox.pending_len() < end {
            match held.next(key) {
                Some(Next::Event { tag, event, stands_at }) => {
                    self.session.push_event_at(tag, &event, stands_at, &mut self.link.outbox);
                    released.events += 1;
                }
                Some(Next::Gap { tag, channel, gap, stands_at }) => {
                    let outbox = &mut self.link.outbox;
                    let is_told = self.session.push_gap((tag, &channel), &gap, stands_at, outbox);
                    released.gaps += u64::from(is_told);
                }
                None => {
                    self.session.is_behind = false;
                    break;
                }
            }
        }
        released
    }
}

impl Session {
    /// Ends the state of being behind: true if it was. Then events may be held for it, which the caller drops.
    pub fn stop_holding(&mut self) -> bool {
        std::mem::take(&mut self.is_behind)
    }

    /// Drops the held events of a channel.
    pub fn forget_held(&mut self, key: Key, channel: &Subject, held: &mut Held) {
        self.is_behind = self.is_behind && held.forget(key, channel);
    }
}
