//! Deadlines of a connection, and what happens then: pings, heartbeats, or the end of a peer that shows no sign of
//! life.

use super::Conn;
use super::halves;
use super::link::apart;
use super::session::{Phase, Session};
use super::settings::Settings;
use crate::base::{Key, Tick};
use crate::limits;
use crate::proto::CloseReason;

impl Conn {
    /// Bytes arrived that could be used: a peer whose record, message or verb never ends shows no sign of life, however many
    /// bytes of it arrive. For connections that we ping when idle, that counts as a sign of life.
    pub fn heard(&mut self, settings: &Settings, now: Tick) {
        let patience = match &mut self.session.phase {
            Phase::WebSocket(_, websocket) => {
                websocket.heard();
                settings.generation.ping_interval.min(websocket.due().since(now))
            }
            Phase::Worker(worker) if !worker.is_waiting_for_credentials() => {
                worker.heard();
                limits::BUS_PING_INTERVAL
            }
            Phase::Centrifuge(centrifuge) => {
                centrifuge.heard();
                centrifuge.deadline().since(now)
            }
            Phase::Worker(_)
            | Phase::Http(_)
            | Phase::EventStream(..)
            | Phase::Upstream(_)
            | Phase::Tunnel(_)
            | Phase::Over => return,
        };
        // A peer that sends but does not read is still checked for progress.
        if !self.link.outbox.is_sending() {
            self.link.wait_until(now + patience);
        }
    }

    /// A batch that was checked has been sent: the peer is well, and its deadline starts again.
    pub(super) fn recovered(&mut self, settings: &Settings, now: Tick) {
        match &self.session.phase {
            Phase::WebSocket(..) | Phase::Centrifuge(_) | Phase::Worker(_) => self.heard(settings, now),
            Phase::EventStream(..) => self.link.wait_until(now + settings.generation.sse_heartbeat),
            Phase::Http(http) if !http.is_asked() => self.link.wait_until(now + settings.generation.keep_alive_timeout),
            Phase::Http(http) if http.is_replying() => self.link.wait_until(now + settings.generation.send_timeout),
            Phase::Http(_) | Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => {}
        }
    }

    /// The peer has ended its half. True for an event stream, whose client has nothing more to send and may still read
    /// (RFC 9112 section 9.6). A client that has gone looks the same until it is sent two pieces: it answers the first
    /// with a reset, which the second finds.
    pub fn listens_on(&mut self, now: Tick) -> bool {
        let Phase::EventStream(_, stream) = &mut self.session.phase else { return false };
        if stream.end_uplink() {
            stream.push_comment(&mut self.link.outbox);
            self.link.wait_until_unless_stuck(now + limits::HALF_CLOSE_PROBE);
        }
        true
    }

    /// The deadline has come. Afterwards [`super::Link::deadline`] is in the future. `taken` is what the peer has
    /// received of all so far; it matters while a batch is in flight.
    pub fn on_deadline(&mut self, settings: &Settings, now: Tick, taken: u32) -> Result<(), CloseReason> {
        let is_looked_at = self.link.is_looked_at();
        let progress = if is_looked_at { Some(self.link.outbox.look(taken)) } else { None };
        if !self.is_open() {
            let is_taking =
                progress.is_some_and(|bytes| bytes.is_none_or(|bytes| bytes >= limits::CLOSE_PROGRESS_BYTES));
            if is_taking {
                self.link.wait_until(now + limits::CLOSE_TIMEOUT);
                return Ok(());
            }
            self.link.wait_until(Tick::NEVER);
            return Err(CloseReason::CloseTimeout);
        }
        if self.link.is_handshaking() {
            return Err(self.link.transport.reason_of_end(true));
        }
        if let Some(patience) = halves::deadline(&mut self.session, progress, settings, now) {
            self.link.wait_until(now + patience?);
            return Ok(());
        }
        let until = now + settings.generation.message_timeout;
        let is_event_stream = matches!(self.session.phase, Phase::EventStream(..));
        if is_late(&mut self.session, now, until) || is_event_stream && self.link.stalls() {
            return Err(CloseReason::MessageTooSlow);
        }
        let is_owed_a_request =
            matches!(&self.session.phase, Phase::Http(http) if http.is_asked() && !http.is_replying());
        if let Some(progress) = progress.filter(|_| !is_owed_a_request) {
            // Bytes in flight probe the peer as well as a ping or a heartbeat would.
            self.link.wait_until(now + settings.generation.send_timeout);
            return if progress == Some(0) { Err(CloseReason::SlowConsumer) } else { Ok(()) };
        }
        let patience = match &mut self.session.phase {
            // Between two pieces of a long answer.
            Phase::Http(http) if http.is_replying() => settings.generation.send_timeout,
            Phase::Http(http) => {
                let due = http.due();
                if due > now {
                    self.link.wait_until(due);
                    return Ok(());
                }
                return Err(http.on_deadline());
            }
            Phase::EventStream(_, stream) => {
                let spoke_at = stream.spoke_at.tick();
                let patience = apart(self.link.peer, settings.generation.sse_heartbeat);
                let is_probe = stream.end_probe();
                if !is_probe && now.since(spoke_at) < patience {
                    self.link.wait_until(spoke_at + settings.generation.sse_heartbeat);
                    return Ok(());
                }
                stream.push_comment(&mut self.link.outbox);
                if !is_probe && stream.begin_probe() { limits::HALF_CLOSE_PROBE } else { patience }
            }
            Phase::WebSocket(_, websocket) => {
                websocket.on_silence(&mut self.link.outbox)?;
                limits::PONG_TIMEOUT.min(websocket.due().since(now))
            }
            Phase::Centrifuge(centrifuge) => {
                centrifuge.on_deadline(settings, now, &mut self.link.outbox)?;
                self.link.wait_until(centrifuge.deadline());
                return Ok(());
            }
            Phase::Worker(worker) => {
                worker.on_silence(&mut self.link.outbox)?;
                limits::BUS_PING_INTERVAL
            }
            Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => return Ok(()),
        };
        self.link.wait_until(now + patience);
        Ok(())
    }

    /// Takes one subscription that has to end, because its token has expired or after a gap: its keys, for the hub to end.
    pub fn take_expired(&mut self, now: Tick) -> Option<Vec<Key>> {
        let (centrifuge, outbox) = self.centrifuge()?;
        let expired = centrifuge.take_expired(now, outbox);
        let deadline = centrifuge.deadline();
        self.link.wait_until_unless_stuck(deadline);
        expired
    }
}

/// Whether the rest of a message has not arrived in time. While the gateway does not read, that is no fault of the client:
/// then it has until `until`.
fn is_late(session: &mut Session, now: Tick, until: Tick) -> bool {
    let is_waiting = session.is_waiting();
    let websocket = match &mut session.phase {
        Phase::WebSocket(_, websocket) => websocket,
        Phase::Centrifuge(centrifuge) => &mut centrifuge.websocket,
        Phase::Http(_)
        | Phase::EventStream(..)
        | Phase::Worker(_)
        | Phase::Upstream(_)
        | Phase::Tunnel(_)
        | Phase::Over => return false,
    };
    let is_due = websocket.due() <= now;
    if is_due && is_waiting {
        websocket.extend(until);
    }
    is_due && !is_waiting
}
