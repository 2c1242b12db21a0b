//! WebSockets that a server behind the gateway serves: the shard moves what one end says to the other end's outbox.
//!
//! ```text
//!  Switched --> two tunnels (conn::tunnel) --Frames--> pass: into the partner's outbox; full: stopped until it is sent
//!                                            |-- FIN --> finished: passed on behind all that was said
//!                                            '-- end --> tunnel_ended: the other half ends, too
//! ```

use super::{Proxy, new_mark};
use crate::base::Key;
use crate::conn::tunnel::{Tunnel, TunnelEnd, reason_for_client};
use crate::conn::{access, ends, halves};
use crate::proto::CloseReason;
use crate::proto::http::AnswerHead;
use crate::shard::desk::{Desk, SocketOrder, sums};

impl Proxy {
    /// The server has opened the WebSocket.
    pub(super) fn switched(&mut self, desk: &mut Desk, client: Key, server: Key, head: &AnswerHead<'_>) {
        let mask = (self.draw() as u32).to_ne_bytes();
        let (settings, now) = (&desk.settings, desk.now);
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let Some(proxying) = halves::proxying(&mut conn.session) else { return };
        let (mark, idle, place) = (new_mark(proxying, settings), proxying.request.stream_idle, proxying.place.take());
        debug_assert!(!proxying.is_stopped, "the request has no body");
        (proxying.journey.answered, proxying.journey.status) = (Some(now), head.status);
        access::travelled(conn, client, settings);
        access::stream_begun(client, settings, now);
        ends::switch_client(conn, server, head, mark.as_deref(), now);
        if let Some(conn) = desk.slots.get_mut(server) {
            ends::switch_server(conn, client, mask, idle, now);
        }
        if let Some(id) = place {
            self.upstreams.answered(id, now);
            self.upstreams.switched(id);
            desk.counters().server(id).inspect(|server| server.answered.add(1));
        }
        self.change(now);
        // The head of the request is kept no longer.
        sums::weigh(desk, client);
        desk.work.orders.extend([client, server].map(SocketOrder::KeepAlive));
        desk.mark_dirty(client);
        desk.schedule(client);
        // The bytes that it has sent before the 101 are read now.
        desk.work.resume.push_back(client);
    }

    /// One end has said this.
    pub(super) fn pass(&mut self, desk: &mut Desk, key: Key, bytes: &[u8]) {
        let now = desk.now;
        let Some((partner, stand)) = desk.slots.get_mut(key).and_then(|conn| ends::said(conn, now)) else { return };
        let (settings, other) = (&desk.settings, desk.slots.get_mut(partner));
        let Some(took) = other.and_then(|conn| ends::take(conn, (bytes, stand), settings, now)) else { return };
        desk.mark_dirty(partner);
        if took.is_timed {
            desk.schedule(partner);
        }
        if let Some(reason) = took.leaves {
            desk.end(partner, reason);
        }
        if took.is_full
            && let Some(tunnel) = tunnel_of(desk, key)
        {
            self.stopped += usize::from(!std::mem::replace(&mut tunnel.is_stopped, true));
        }
    }

    /// One end has finished its half. True if the tunnel goes on: then the other end learns of it. Behind TLS it does not: there a
    /// half cannot be ended for itself.
    pub(in crate::shard) fn finished(&mut self, desk: &mut Desk, key: Key) -> bool {
        let Some(partner) = tunnel_of(desk, key).and_then(|tunnel| tunnel.partner) else { return false };
        let Some(conn) = desk.slots.get_mut(partner) else { return false };
        if conn.link.is_peer_finished() || conn.link.transport().is_tls() {
            return false;
        }
        if ends::half_close(conn, desk.now) {
            self.half_closed += 1;
            desk.mark_dirty(partner);
            desk.schedule(partner);
        }
        true
    }

    /// A half ends for `reason`, and with it the other one. False if it is no tunnel.
    pub(super) fn tunnel_ended(&mut self, desk: &mut Desk, key: Key, reason: CloseReason) -> bool {
        let Some(tunnel) = tunnel_of(desk, key) else { return false };
        // Otherwise the other half has ended before.
        let Some(partner) = tunnel.partner else { return true };
        let own = tunnel.leave();
        let Some(other) = tunnel_of(desk, partner).map(Tunnel::leave) else { return true };
        for half in [own, other] {
            self.stopped -= usize::from(half.was_stopped);
            self.half_closed -= usize::from(half.was_half_closed);
            if let TunnelEnd::Server(id) = half.end {
                self.upstreams.tunnel_ended(id);
            }
        }
        self.change(desk.now);
        desk.end(partner, if other.end == TunnelEnd::Client { reason_for_client(reason) } else { reason });
        true
    }
}

pub(super) fn tunnel_of(desk: &mut Desk, key: Key) -> Option<&mut Tunnel> {
    ends::tunnel(&mut desk.slots.get_mut(key)?.session)
}
