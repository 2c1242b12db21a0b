//! The end of a connection: its last words.

use super::Conn;
use super::link::{self, Link};
use super::peer::retry_after_s;
use super::session::{Phase, Session};
use super::tunnel::TunnelEnd;
use crate::base::{Key, Tick};
use crate::limits;
use crate::proto::CloseReason;

/// How a connection leaves in a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With the last words of its protocol.
    Now,
    /// Without last words: nothing can be sent yet.
    Mute,
    /// With the answer that it is owed, or the frame that is being sent to it, which ends it ([`Readiness`](super::settings::Readiness)).
    ByItself,
}

impl Conn {
    /// How to disconnect it in a drain. A request in hand becomes its last.
    pub fn departure(&mut self) -> Departure {
        let is_handshaking = self.link.is_handshaking();
        match &mut self.session.phase {
            _ if is_handshaking => Departure::Mute,
            // Its client has left before, or leaves now.
            Phase::Upstream(_) => Departure::Mute,
            Phase::Tunnel(tunnel) => match (tunnel.end, tunnel.put_off(CloseReason::Drain)) {
                (TunnelEnd::Server(_), _) => Departure::Mute,
                (TunnelEnd::Client, true) => Departure::ByItself,
                (TunnelEnd::Client, false) => Departure::Now,
            },
            Phase::Http(http) if http.is_asked() => {
                http.make_last();
                Departure::ByItself
            }
            _ => Departure::Now,
        }
    }

    /// There is no room for the connection, for this reason: its first request is answered accordingly, within a short time, and
    /// ends it.
    pub fn turn_away(&mut self, reason: CloseReason, now: Tick) {
        if let Phase::Http(http) = &mut self.session.phase {
            http.turn_away(reason);
            self.link.wait_until(now + limits::CLOSE_TIMEOUT);
        }
    }

    /// Writes the last words that `reason` and the session require, and ignores further input. Returns the hub's keys
    /// of all its subscriptions.
    pub fn end(&mut self, reason: CloseReason, now: Tick) -> Vec<Key> {
        if !self.link.end(reason, now) {
            return Vec::new();
        }
        if let Phase::Http(http) = &self.session.phase {
            link::deliver(&mut self.link, http.last_answer());
        }
        self.session.end(reason, &mut self.link)
    }
}

/// Whether there is no room for the connection ([`Conn::turn_away`]).
pub fn is_turned_away(conn: &Conn) -> bool {
    matches!(&conn.session.phase, Phase::Http(http) if http.surplus.is_some())
}

impl Session {
    /// Writes the last words, and frees the phase's memory.
    fn end(&mut self, reason: CloseReason, link: &mut Link) -> Vec<Key> {
        let (peer, outbox) = (link.peer(), &mut link.outbox);
        let mut subs = self.stop_listening();
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Http(mut http) => http.end(reason.row(), retry_after_s(peer), outbox),
            Phase::WebSocket(_, websocket) => websocket.end(reason.row(), peer, outbox),
            Phase::Centrifuge(centrifuge) => {
                centrifuge.end(reason, outbox);
                subs.extend(centrifuge.subs());
            }
            Phase::EventStream(_, stream) => stream.end(reason, peer, outbox),
            // Like nats-server, sends no error to a slow worker or in a drain: the packages reconnect only after a
            // silent end.
            // The rest of a request whose client has gone.
            Phase::Upstream(_) => outbox.drop_pending(),
            Phase::Tunnel(tunnel) => tunnel.end(reason, peer, outbox),
            Phase::Worker(mut worker) => subs.extend(worker.take_subs()),
            Phase::Over => {}
        }
        subs
    }
}
