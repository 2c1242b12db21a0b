//! How a connection ends: its last words.

use super::Conn;
use super::link::Link;
use super::peer::retry_after_s;
use super::session::{Phase, Session};
use crate::base::{Key, Tick};
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
        let is_handshaking = self.link.is_handshaking();
        match &mut self.session.phase {
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
        if let Phase::Http(http) = &mut self.session.phase {
            http.turn_away();
            self.link.wait_until(now + limits::CLOSE_TIMEOUT);
        }
    }

    /// Says the last words that `reason` and the session ask for, and ignores the peer from now on. Returns the hub's names of
    /// everything that it listened to.
    pub fn end(&mut self, reason: CloseReason, now: Tick) -> Vec<Key> {
        if self.link.end(reason, now) { self.session.end(reason, &mut self.link) } else { Vec::new() }
    }
}

impl Session {
    /// Its last words. What the phase has kept on the heap is dropped.
    fn end(&mut self, reason: CloseReason, link: &mut Link) -> Vec<Key> {
        let (peer, outbox) = (link.peer(), &mut link.outbox);
        let mut subs = self.stop_listening();
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Http(mut http) => http.end(reason.row(), retry_after_s(peer), outbox),
            Phase::WebSocket(_, mut websocket) => websocket.end(reason.row(), peer, outbox),
            Phase::Centrifuge(mut centrifuge) => {
                centrifuge.end(reason, outbox);
                subs.extend(centrifuge.take_subs());
            }
            Phase::EventStream(stream) => stream.end(reason, peer, outbox),
            // nats-server says nothing to a slow worker, nor in a drain: what is told to go comes back after silence alone.
            Phase::Worker(mut worker) => subs.extend(worker.take_subs()),
            Phase::Over => {}
        }
        subs
    }
}
