//! Bytes of a connection to steps: waits for the PROXY header where there is one, joins what was carried, opens TLS records, and stops when the connection is paused.
//!
//! ```text
//!  Received --> carry + fresh --> [tls: open -> plain carry + plaintext] --> conn.next() --> dispatch --.
//!                   ^                                                            ^----------------------'
//!                   '-- what is not whole, or not wanted yet (paused, quantum spent): resume comes back for it
//! ```

use crate::base::{Key, Tick};
use crate::conn::{self, Conn, Door, Transport, halves, put_off_handshake};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::tls::{Arrived, Opened};

use super::Core;
use super::desk::{Desk, mark_dirty, sums};
use super::features::Features;

impl Core {
    /// The driver has lent bytes that it received for `key`.
    pub(super) fn received(&mut self, key: Key, bytes: &mut [u8]) {
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        conn.link.receive_done();
        if !conn.is_open() {
            self.desk.work.receive.push(key);
        } else if conn.link.is_handshaking() {
            received_early(self, key, bytes);
        } else {
            self.feed(key, bytes);
        }
    }

    /// False if the connection has ended.
    pub(super) fn advance_handshake(&mut self, key: Key) -> bool {
        let is_there = self.desk.slots.get(key).is_some_and(|conn| conn.is_open());
        if is_there {
            self.feed(key, &mut []);
        }
        is_there
    }

    /// Continues the connections that were paused and may go on, one after another: each has a quantum at a time, until all
    /// have used their input or the share is spent.
    pub(super) fn resume(&mut self, clock: impl Fn() -> Tick) {
        if self.desk.work.resume.is_empty() && self.desk.parked.is_empty() {
            return;
        }
        self.desk.meter.begin_share();
        while let Some(key) = next_to_resume(&mut self.desk, &self.features) {
            // Not on arrival of the confirmation: that is a tell, and this makes mail (TELLS ARE TERMINAL).
            self.features.services.client_resumes(&mut self.desk, key);
            let is_ready = self.desk.slots.get(key).is_some_and(|conn| may_resume(conn) && !conn.link.is_handshaking());
            if is_ready {
                self.feed(key, &mut []);
            }
            self.desk.meter.spend(limits::COMPLETION_UNITS);
            if self.desk.meter.is_share_spent(&clock) {
                return;
            }
        }
    }

    /// Processes the carried and the fresh bytes, keeps the rest, and requests more unless the connection is paused.
    fn feed(&mut self, key: Key, fresh: &mut [u8]) {
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        // The rest of a frame is no fresh input.
        if conn.is_paused() && !(fresh.is_empty() && may_resume(conn)) {
            return keep_for_later(self, key, fresh);
        }
        if conn.session.is_worker() && conn.is_open() && conn.is_overfull(&self.desk.settings) {
            // A peer that sends requests (a PING is always answered) and does not read the answers. Clients are paused
            // before this.
            self.end(key, CloseReason::SlowConsumer);
            return self.after_feed(key);
        }
        let is_sign = !fresh.is_empty() && (conn.session.is_client() || conn.session.is_worker());
        self.desk.meter.begin_quantum(conn.session.is_worker());
        let mut joined = conn.link.take_joined(fresh);
        let used = self.pump(key, joined.as_deref_mut().unwrap_or(fresh));
        if let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.is_open()) {
            conn.link.keep_rest(joined, fresh, used);
            if is_sign && used > 0 {
                conn.heard(&self.desk.settings, self.desk.now);
            }
        }
        self.after_feed(key);
    }

    fn after_feed(&mut self, key: Key) {
        sums::weigh(&mut self.desk, key);
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        mark_dirty(key, conn, &mut self.desk.work.dirty);
        let has_more = may_resume(conn) && conn.is_open() && !conn.link.is_handshaking();
        if has_more && self.desk.meter.is_quantum_spent() {
            // It may have more input. It goes on when the others have had their quantum.
            self.desk.work.resume.push_back(key);
            return self.desk.schedule(key);
        }
        let has_gone = |conn: &Conn| !conn.is_paused() || halves::ends_with_client(&conn.session);
        if conn.link.is_peer_finished() && conn.is_open() && has_gone(conn) {
            return self.after_last_input(key);
        }
        if !conn.is_paused() {
            self.desk.work.receive.push(key);
        }
        self.desk.schedule(key);
    }

    /// Returns the number of wire bytes that were used.
    fn pump(&mut self, key: Key, wire: &mut [u8]) -> usize {
        let size = wire.len();
        let mut input = wire;
        let is_plain = match self.desk.slots.get_mut(key) {
            Some(conn) => matches!(conn.link.transport(), Transport::Plain),
            None => return size,
        };
        if is_plain {
            self.drive(key, &mut input);
        } else {
            let mut plain = std::mem::take(&mut self.plain);
            self.pump_tls(key, &mut input, &mut plain);
            plain.clear();
            self.plain = plain;
        }
        size - input.len()
    }

    fn pump_tls(&mut self, key: Key, input: &mut &mut [u8], plain: &mut Vec<u8>) {
        loop {
            let Some(conn) = self.desk.slots.get_mut(key) else { return };
            // A handshake is bounded by the queue of handshakes.
            let has_had_its_quantum = self.desk.meter.is_quantum_spent() && !conn.link.is_handshaking();
            if !may_resume(conn) || !conn.is_open() || has_had_its_quantum {
                return;
            }
            let Some(tls) = conn.link.transport().as_tls() else { return };
            plain.clear();
            tls.take_plain(plain);
            let size = input.len();
            let mut opened = tls.open(input, plain);
            if input.len() < size {
                self.desk.meter.spend(limits::RECORD_UNITS);
            }
            if let Ok(Opened::Handshaken(agreed)) = &mut opened {
                let is_server = conn.link.door() == Door::Upstream;
                conn.link.handshaken(&self.desk.settings, self.desk.now);
                if let Some(client) = agreed.client.take() {
                    conn::certified(conn, client);
                }
                if is_server {
                    self.features.proxy.secured(&mut self.desk, key);
                } else {
                    self.desk.counters().handshakes.add(1);
                    self.desk.counters().resumed.add(agreed.is_resumed.into());
                }
            }
            let mut rest = &mut plain[..];
            self.drive(key, &mut rest);
            if let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.is_open())
                && let Some(tls) = conn.link.transport().as_tls()
            {
                tls.keep_plain(rest);
            }
            match opened {
                Ok(Opened::Handshaken(_) | Opened::Full) => {}
                Ok(Opened::More) => return,
                // The same as a half-closed socket: open requests are answered first (`after_feed`).
                Ok(Opened::PeerClosed) => return self.peer_finished(key),
                Err(reason) => return self.end(key, reason),
            }
        }
    }

    fn peer_finished(&mut self, key: Key) {
        if let Some(conn) = self.desk.slots.get_mut(key) {
            conn.link.peer_finished();
        }
    }

    /// Takes steps from plaintext until no whole one is left or the connection is paused.
    fn drive(&mut self, key: Key, input: &mut &mut [u8]) {
        let address = self.desk.address(key);
        loop {
            let Some(conn) = self.desk.slots.get_mut(key) else { return };
            if !conn.is_open() {
                *input = &mut [];
                return;
            }
            if (input.is_empty() && !conn.session.has_unread()) || !conn.may_take(input) {
                return;
            }
            match conn.next(input, address, &self.desk.settings, self.desk.now) {
                Ok(None) => return,
                Ok(Some(step)) => {
                    self.desk.meter.spend(limits::STEP_UNITS);
                    self.dispatch(key, step);
                    // After the step, so that each quantum has at least one.
                    if self.desk.meter.is_quantum_spent() {
                        return;
                    }
                }
                Err(reason) => self.end(key, reason),
            }
        }
    }
}

/// Bytes of a client that is not read.
fn keep_for_later(core: &mut Core, key: Key, fresh: &mut [u8]) {
    let Some(conn) = core.desk.slots.get_mut(key) else { return };
    let may_have_gone = !fresh.is_empty() && halves::awaits_server(&conn.session) && conn.link.transport().is_tls();
    if may_have_gone {
        return look_for_end(core, key, fresh);
    }
    conn.link.put_off(fresh);
    conn.heard(&core.desk.settings, core.desk.now);
    sums::weigh(&mut core.desk, key);
}

/// The client waits for a server behind TLS, whose records may say that it has gone (RFC 8446 section 6.1). The rest of their
/// contents waits.
fn look_for_end(core: &mut Core, key: Key, fresh: &mut [u8]) {
    let Core { desk, plain, .. } = core;
    let Some(conn) = desk.slots.get_mut(key) else { return };
    let mut joined = conn.link.take_joined(fresh);
    let wire = joined.as_deref_mut().unwrap_or(fresh);
    let size = wire.len();
    let mut input = wire;
    let Some(tls) = conn.link.transport().as_tls() else { return };
    tls.take_plain(plain);
    let opened = tls.open(&mut input, plain);
    tls.keep_plain(plain);
    plain.clear();
    let used = size - input.len();
    conn.link.keep_rest(joined, fresh, used);
    conn.heard(&desk.settings, desk.now);
    desk.meter.spend(limits::RECORD_UNITS);
    match opened {
        Ok(Opened::PeerClosed) => conn.link.peer_finished(),
        Ok(_) => {}
        Err(reason) => core.end(key, reason),
    }
    core.after_feed(key);
    core.desk.work.receive.push(key);
}

/// Bytes that arrive before the session can be understood.
fn received_early(core: &mut Core, key: Key, bytes: &[u8]) {
    let Some(conn) = core.desk.slots.get_mut(key) else { return };
    if conn.link.transport().introduction().is_some() {
        return introduce(core, key, bytes);
    }
    match put_off_handshake(&mut conn.link, bytes) {
        Arrived::Part => core.desk.work.receive.push(key),
        // The connection is read further only after its turn, which bounds the bytes that waiting handshakes hold.
        Arrived::Hello { has_ticket } => core.handshakes.hello(&mut core.desk, key, has_ticket),
        // A handshake that has begun is finished first. At the end of the queue it would wait a second time, and
        // every client of a storm would be begun before the first one is open.
        Arrived::Later => core.handshakes.go_on(key),
        Arrived::Junk => return core.feed(key, &mut []),
    }
    sums::weigh(&mut core.desk, key);
}

/// Bytes of a PROXY header. What follows it, TLS or not, is read as that of any other connection.
fn introduce(core: &mut Core, key: Key, bytes: &[u8]) {
    let Desk { slots, settings, now, .. } = &mut core.desk;
    let Some(conn) = slots.get_mut(key) else { return };
    match conn::introduce(conn, bytes, settings, *now) {
        Ok(false) => {
            core.desk.work.receive.push(key);
            sums::weigh(&mut core.desk, key);
        }
        Ok(true) => {
            if !core.entrances.introduced(&mut core.desk, key) {
                return;
            }
            core.desk.schedule(key);
            if core.desk.slots.get(key).is_some_and(|conn| conn.link.is_handshaking()) {
                received_early(core, key, &[]);
            } else {
                core.feed(key, &mut []);
            }
        }
        Err(reason) => core.desk.broken(key, reason),
    }
}

/// Whether input of it may be used, if only the rest of a frame.
fn may_resume(conn: &Conn) -> bool {
    !conn.is_paused() || conn.session.may_go_on() && !conn.link.is_full()
}

/// The next connection that may go on: a parked publisher, as long as there is room, or the next with input to read.
fn next_to_resume(desk: &mut Desk, features: &Features) -> Option<Key> {
    while desk.post.has_room() && !desk.meter.is_behind(&desk.subscribers) {
        let Some(key) = desk.parked.pop_front() else { break };
        if let Some(conn) = desk.slots.get_mut(key) {
            let waits = features.services.is_waiting(key) || features.order.is_long(key);
            if waits {
                conn.session.park()
            } else {
                conn.session.unpark()
            }
            return Some(key);
        }
    }
    desk.work.resume.pop_front()
}
