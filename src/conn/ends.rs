//! The two ends of a tunnel, as the shard handles them: its calls to each.
//!
//! ```text
//!  switch_client, switch_server --> said .. take --> half_close, takes_fin | is_put_off | the end (Conn::end)
//! ```

use std::time::Duration;

use super::Conn;
use super::halves::{proxying, upstream};
use super::session::{Phase, Session};
use super::settings::Settings;
use super::tunnel::{Tunnel, TunnelEnd};
use crate::base::{Key, Tick};
use crate::proto::CloseReason;
use crate::proto::http::{AnswerHead, write_switched};
use crate::proto::ws::FrameStand;
use crate::proto::ws::mask::Mask;

/// The tunnel, if it is half of one.
pub fn tunnel(session: &mut Session) -> Option<&mut Tunnel> {
    match &mut session.phase {
        Phase::Tunnel(tunnel) => Some(tunnel),
        _ => None,
    }
}

/// Whether it is a client of a tunnel.
pub fn is_client(session: &Session) -> bool {
    matches!(&session.phase, Phase::Tunnel(tunnel) if tunnel.end == TunnelEnd::Client)
}

/// The server has opened the WebSocket of a client, which learns of it.
pub fn switch_client(conn: &mut Conn, server: Key, head: &AnswerHead<'_>, set_cookie: Option<&str>, now: Tick) {
    let half = proxying(&mut conn.session);
    let Some((idle, client)) = half.map(|half| (half.request.stream_idle, std::mem::take(&mut half.client))) else {
        return;
    };
    conn.link.outbox.write(|out| write_switched(out, head, set_cookie));
    let mut tunnel = Tunnel::new(TunnelEnd::Client, server, Mask::default(), idle, now);
    tunnel.client = client;
    switch(conn, tunnel, now);
}

/// The connection to the server carries the WebSocket of a client, and nothing after it.
pub fn switch_server(conn: &mut Conn, client: Key, mask: Mask, idle: Duration, now: Tick) {
    let Some(id) = upstream(&mut conn.session).map(|half| half.server) else { return };
    switch(conn, Tunnel::new(TunnelEnd::Server(id), client, mask, idle, now), now);
}

fn switch(conn: &mut Conn, tunnel: Tunnel, now: Tick) {
    let until = now + tunnel.idle();
    conn.session.phase = Phase::Tunnel(Box::new(tunnel));
    conn.link.wait_until_unless_stuck(until);
}

/// This end has said something now: the other half, and where that ends.
pub fn said(conn: &mut Conn, now: Tick) -> Option<(Key, FrameStand)> {
    tunnel(&mut conn.session)?.said(now)
}

/// The state of an end after something was put into its outbox.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// No more should come.
    pub is_full: bool,
    /// Its deadline has moved.
    pub is_timed: bool,
    /// It ends for this reason now: the frame is whole.
    pub leaves: Option<CloseReason>,
}

/// Sends an end what the other one has said, which ends there.
pub fn take(conn: &mut Conn, (bytes, stand): (&[u8], FrameStand), settings: &Settings, now: Tick) -> Option<Took> {
    let leaves = tunnel(&mut conn.session)?.hears(stand, now);
    conn.link.outbox.push(bytes);
    let before = conn.link.deadline();
    conn.link.wait_no_longer_than(now + settings.generation.send_timeout);
    Some(Took { is_full: conn.link.is_full(), is_timed: conn.link.deadline() < before, leaves })
}

/// The other end has finished its half: so will the gateway towards this one. True the first time.
pub fn half_close(conn: &mut Conn, now: Tick) -> bool {
    let Some(tunnel) = tunnel(&mut conn.session) else { return false };
    let is_first = tunnel.half_close();
    if is_first {
        let until = now + tunnel.idle();
        conn.link.wait_no_longer_than(until);
    }
    is_first
}

/// The gateway is about to end the half for `reason`: true if that waits, until `until` at most, for the end of a frame that is being
/// sent to it.
pub fn is_put_off(conn: &mut Conn, reason: CloseReason, until: Tick) -> bool {
    let is_put_off = tunnel(&mut conn.session).is_some_and(|tunnel| tunnel.put_off(reason));
    if is_put_off {
        conn.link.wait_no_longer_than(until);
    }
    is_put_off
}

/// True once, when all that the other end has said is sent, and it has finished its half.
pub fn takes_fin(conn: &mut Conn) -> bool {
    let Some(tunnel) = tunnel(&mut conn.session) else { return false };
    let is_due = tunnel.owes_fin() && conn.link.is_taken() && conn.link.is_open();
    if is_due {
        tunnel.finish();
    }
    is_due
}
