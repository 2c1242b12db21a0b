//! From accept to the free slot.
//!
//! ```text
//!  accepted --> open --(end: last words, subscriptions dropped)--> ended --(all sent: shutdown)--> lingering
//!                 '--(broken)---------------------------------------.                                 | EOF or timeout
//!                                                                    '--> close --> closed: slot free <'
//! ```

use std::io;

use log::info;

use crate::base::{Batch, Key, Tick};
use crate::conn::access::LastEntry;
use crate::conn::{Door, Refused, halves};
use crate::limits;
use crate::proto::CloseReason;

use super::Core;
use super::desk::excess::count_excess;
use super::desk::slow::{may_weigh, weigh_waiting};
use super::desk::{Told, catch_up, mark_dirty, sums};

impl Core {
    /// The peer has ended its half, or the connection is broken.
    pub(super) fn finished(&mut self, key: Key, end: Result<(), io::ErrorKind>) {
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        conn.link.receive_done();
        conn.link.peer_finished();
        if let Err(kind) = end {
            return self.desk.broken(key, reason_of(kind, CloseReason::PeerReset));
        }
        // An answer may still be on its way; `after_feed` handles the end after it.
        if !conn.is_paused() || halves::ends_with_client(&conn.session) {
            self.after_last_input(key);
        }
    }

    /// The peer has ended its half, and no answer is owed: the connection ends, unless the peer only listens.
    pub(super) fn after_last_input(&mut self, key: Key) {
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        let may_end = conn.link.transport().may_end();
        let listens_on = may_end && conn.listens_on(self.desk.now);
        if listens_on || may_end && self.features.proxy.finished(&mut self.desk, key) {
            self.desk.schedule(key);
        } else if let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.is_open()) {
            let reason = conn.link.transport().reason_of_end(false);
            self.end(key, if may_end { CloseReason::PeerClosed } else { reason });
        }
        self.desk.mark_dirty(key);
    }

    pub(super) fn sent(&mut self, key: Key, batch: Box<Batch>, outcome: Result<(), io::ErrorKind>) {
        let Some(mut conn) = self.desk.slots.get_mut(key) else { return };
        let was_paused = conn.is_paused();
        let has_moved = conn.sent(batch, &mut self.desk.sealing, &self.desk.settings, self.desk.now);
        if may_weigh(conn) {
            weigh_waiting(&mut self.desk, key);
            let Some(still) = self.desk.slots.get_mut(key) else { return };
            conn = still;
        }
        if let Err(kind) = outcome {
            // If the peer had ended its half, a failed send means that it has ended the other, too.
            if halves::is_deafened(conn) {
                return self.features.connection_sent(&mut self.desk, key);
            }
            let has_left = conn.link.is_peer_finished();
            let reason = if has_left { CloseReason::PeerClosed } else { CloseReason::WriteFailed };
            return self.desk.broken(key, reason_of(kind, reason));
        }
        if was_paused {
            // A paused connection is not read, so its pong may be unread. That it took bytes counts as a sign of life.
            conn.heard(&self.desk.settings, self.desk.now);
        }
        if was_paused && !conn.is_paused() {
            self.desk.work.resume.push_back(key);
        }
        if conn.has_output() || conn.link.is_flushed() {
            if conn.link.is_urgent {
                mark_dirty(key, conn, &mut self.desk.work.dirty);
            } else if conn.link.mark_dirty_later() {
                self.desk.work.dirty_later.push_back(key);
            }
        }
        self.features.connection_sent(&mut self.desk, key);
        if has_moved {
            self.desk.schedule(key);
        }
    }

    pub(super) fn closed(&mut self, key: Key) {
        sums::forget(&mut self.desk, key);
        if let Some(conn) = self.desk.slots.remove(key) {
            self.desk.wheel.clear(key.slot);
            self.desk.counters().open.sub(1);
            self.desk.counters().clients.sub((conn.link.door() == Door::Front).into());
            self.entrances.left(&self.desk, &conn);
        }
    }

    /// Ends `key` for `reason`: its service is told, its subscriptions are dropped, its last words are written. Further
    /// calls do nothing.
    pub(super) fn end(&mut self, key: Key, reason: CloseReason) {
        let address = self.desk.address(key);
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        if !conn.is_open() {
            return;
        }
        let last = LastEntry::of(conn, address, &self.desk.settings, self.desk.now);
        let peer = conn.link.peer();
        let (is_client, is_proxied) = (conn.link.door() != Door::Upstream, halves::is_proxied(&conn.session));
        catch_up(&mut self.desk, key);
        // What a server has done is told with the request that it was for.
        let told = if is_client { Told::of(&self.desk, key, reason) } else { None };
        if is_proxied {
            self.features.proxy.half_ended(&mut self.desk, key, reason);
        }
        self.features.connection_ends(&mut self.desk, key);
        self.desk.frame_or_forget(key, reason);
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        // Messages for a worker that has left go to others.
        let at_once = if conn.session.is_worker() { usize::MAX } else { self.desk.meter.budget.withdrawn_at_once };
        let mut subs = conn.end(reason, self.desk.now);
        if let Some(last) = last {
            last.tell(conn, reason, &self.desk.settings, self.desk.now);
        }
        if conn.link.can_receive() {
            self.desk.work.receive.push(key);
        }
        sums::unload(&mut self.desk, key);
        self.desk.work.withdraw.extend(subs.split_off(subs.len().min(at_once)));
        for sub in subs {
            self.withdraw(sub);
        }
        self.features.connection_ended(&mut self.desk, key);
        if is_client {
            self.desk.count_end(reason, peer, told);
        }
        self.desk.mark_dirty(key);
        self.desk.schedule(key);
    }

    /// A request was refused. Clients decide how often this happens, so the log line is folded.
    pub(super) fn refused(&mut self, key: Key, refused: Refused) {
        self.desk.counters().closed[refused.reason as usize].add(1);
        if matches!(refused.reason, CloseReason::InvalidToken | CloseReason::InsufficientScope) {
            // A signature was checked, and a stranger may send any number of tokens.
            self.desk.meter.spend(limits::TOKEN_UNITS);
        }
        if let Some(remark) = refused.remark
            && let Some(left_out) = self.desk.fold.say(&remark, self.desk.now)
        {
            info!("{remark}{left_out}");
        }
        if let (Some(excess), Some(conn)) = (refused.excess, self.desk.slots.get(key)) {
            count_excess(&self.desk, excess, conn.link.peer().ip());
        }
        if refused.is_last {
            self.end(key, CloseReason::Normal);
        }
    }

    // --- what the turn hands to the driver ---------------------------------------------------------------------------
}

/// Withdraws subscriptions of connections that have ended with many. What is left goes on in the next turn; meanwhile fan-outs
/// find the connection closed, or gone.
pub(super) fn withdraw_some(core: &mut Core, clock: impl Fn() -> Tick) {
    if core.desk.work.withdraw.is_empty() {
        return;
    }
    core.desk.meter.begin_share();
    while let Some(sub) = core.desk.work.withdraw.pop_front() {
        core.withdraw(sub);
        core.settle();
        core.desk.meter.spend(limits::PIECE_UNITS);
        if core.desk.meter.is_share_spent(&clock) {
            return;
        }
    }
}

/// The close reason for an I/O error. For a peer that acknowledges nothing the kernel reports a time-out, or the last error of
/// a router on the way to it: both mean that the peer has vanished. Any other error has the reason `other`.
fn reason_of(kind: io::ErrorKind, other: CloseReason) -> CloseReason {
    match kind {
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            CloseReason::PeerVanished
        }
        _ => other,
    }
}
