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

    /// Says the last words that `reason` and the phase ask for, and ignores the peer from now on. Returns the hub's names of
    /// everything it listened to; what the phase has kept on the heap is dropped.
    pub fn end(&mut self, reason: CloseReason, now: Tick) -> Vec<Key> {
        if !self.life.end(reason) {
            return Vec::new();
        }
        self.registrations = 0;
        if reason == CloseReason::SlowConsumer {
            self.outbox.drop_pending();
        }
        let mut subs = self.subs.take();
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Http(mut http) => http.end(reason.row(), retry_after_s(self.peer), &mut self.outbox),
            Phase::WebSocket(_, mut websocket) => websocket.end(reason.row(), self.peer, &mut self.outbox),
            Phase::Centrifuge(mut session) => {
                session.end(reason, &mut self.outbox);
                subs.extend(session.take_subs());
            }
            Phase::EventStream(stream) => stream.end(reason, self.peer, &mut self.outbox),
            // nats-server says nothing to a slow worker, nor in a drain: what is told to go comes back after silence alone.
            Phase::Worker(mut worker) => subs.extend(worker.take_subs()),
            Phase::Over => {}
        }
        self.carry = Carry::new();
        self.wait_until(now + limits::CLOSE_TIMEOUT);
        subs
    }

    /// True the first time: our half may end now, and the peer's is waited for.
    pub fn begin_linger(&mut self, now: Tick) -> bool {
        let begins = self.life.linger();
        if begins {
            self.wait_until(now + limits::CLOSE_TIMEOUT);
        }
        begins
    }

    /// True the first time: the driver is to close the socket.
    pub fn begin_close(&mut self) -> bool {
        self.life.close()
    }

    /// True when the last words have been sent.
    pub fn is_flushed(&self) -> bool {
        !self.is_open() && self.outbox.is_empty() && !self.has_output()
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
