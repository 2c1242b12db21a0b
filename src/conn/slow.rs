//! What becomes of an event for a connection that has not taken yet what it was sent before: its channel's rule says it.
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

/// What became of an event for a connection that something waits for already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is framed. The hub's name of the subscription if that was its last message.
    Framed(Option<Key>),
    /// It is held until there is room; so many others are lost for it.
    Held(Option<(Loss, u64)>),
    Lost(Loss),
    /// More waits than may: the connection is to be ended.
    TooSlow,
}

/// What workers may leave unread is bounded by the bus alone.
const UNBOUNDED: Queue = Queue { messages: usize::MAX, bytes: usize::MAX };

/// What [`Conn::release`] has framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub events: u64,
    /// Of which the client was told: it was too slow.
    pub gaps: u64,
}

impl Conn {
    /// The same as [`Conn::push_event`] for a connection that is not idle: what the channel's rule says. Workers get
    /// everything, whatever it says. Asked before something is added: one message never makes a client slow, however long
    /// it is.
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
        let outcome = held.offer(key, tag, event, rule.delivery, held::Bounds { queue: rule.queue, bytes_max });
        self.session.is_behind = true;
        match outcome {
            held::Outcome::Waits(loss) => Pushed::Held(loss),
            held::Outcome::Lost(loss) => Pushed::Lost(loss),
            held::Outcome::Full => Pushed::TooSlow,
        }
    }

    /// Frames a piece of what is held for it, if the last batch has gone; or all of it, for its last words.
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
    /// Nothing is held for it any more: true if something was.
    pub fn stop_holding(&mut self) -> bool {
        std::mem::take(&mut self.is_behind)
    }

    /// What is held of a channel is not wanted any more.
    pub fn forget_held(&mut self, key: Key, channel: &Subject, held: &mut Held) {
        self.is_behind = self.is_behind && held.forget(key, channel);
    }
}
