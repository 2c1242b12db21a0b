//! How a connection ends: its last words, and when its client should come back.

use std::time::Duration;

use super::{Conn, Peer, Phase};
use crate::base::{Carry, Key, Tick};
use crate::limits;
use crate::proto::CloseReason;

/// How a connection leaves in a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With the last words of its protocol.
    Now,
    /// It cannot be told anything yet.
    Mute,
    /// It is owed an answer, which ends it ([`Readiness`](super::settings::Readiness)).
    ByItself,
}

impl Conn {
    /// How it is to be sent away. A request in hand becomes the last one.
    pub fn departure(&mut self) -> Departure {
        let is_handshaking = self.is_handshaking();
        match &mut self.phase {
            _ if is_handshaking => Departure::Mute,
            Phase::Http(http) if http.is_asked() => {
                http.make_last();
                Departure::ByItself
            }
            _ => Departure::Now,
        }
    }

    /// There is no place for it: what it asks for is answered so, soon, and ends it.
    pub fn turn_away(&mut self, now: Tick) {
        if let Phase::Http(http) = &mut self.phase {
            http.turn_away();
            self.wait_until(now + limits::CLOSE_TIMEOUT);
        }
    }

    /// Says the last words that `reason` and the phase ask for, and ignores the peer from now on.
    pub fn end(&mut self, reason: CloseReason, now: Tick) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason);
        self.registrations = 0;
        if reason == CloseReason::SlowConsumer {
            self.outbox.drop_pending();
        }
        match &mut self.phase {
            Phase::Http(http) => http.end(reason.row(), retry_after_s(self.peer), &mut self.outbox),
            Phase::WebSocket(_, websocket) => websocket.end(reason.row(), self.peer, &mut self.outbox),
            Phase::Centrifuge(session) => session.end(reason, &mut self.outbox),
            Phase::EventStream(stream) => stream.end(reason, self.peer, &mut self.outbox),
            // nats-server says nothing to a slow worker, nor in a drain: what is told to go comes back after silence alone.
            Phase::Worker(_) | Phase::Ending => {}
        }
        self.carry = Carry::new();
        self.wait_until(now + limits::CLOSE_TIMEOUT);
    }

    /// The hub's names of everything it listens to; with this the phase is over.
    pub fn take_subs(&mut self) -> Vec<Key> {
        let mut subs = self.subs.take();
        match &mut self.phase {
            Phase::Worker(worker) => subs.extend(worker.take_subs()),
            Phase::Centrifuge(session) => subs.extend(session.take_subs()),
            _ => {}
        }
        self.phase = Phase::Ending;
        subs
    }

    /// True the first time: our half may end now, and the peer's is waited for.
    pub fn begin_linger(&mut self, now: Tick) -> bool {
        if self.is_closing || std::mem::replace(&mut self.is_lingering, true) {
            return false;
        }
        self.wait_until(now + limits::CLOSE_TIMEOUT);
        true
    }

    /// True when the last words have been sent.
    pub fn is_flushed(&self) -> bool {
        self.ended.is_some() && self.outbox.is_empty() && !self.has_output()
    }
}

/// When a client that is sent away should come back: spread, so that they do not all come back at once.
pub fn return_after(peer: Peer) -> Duration {
    limits::RETURN_AFTER + peer.part(limits::RETURN_SPREAD)
}

/// The same for `Retry-After`, which counts whole seconds.
pub(super) fn retry_after_s(peer: Peer) -> u32 {
    return_after(peer).as_secs() as u32
}
