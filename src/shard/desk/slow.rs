//! What waits until its client has received what was framed before: events that are held, and the rest of a long answer.

use crate::base::{InFlight, Key};
use crate::conn::{self, After, Conn};
use crate::hub::{SubKey, Subscriber};
use crate::limits;
use crate::proto::CloseReason;

use super::Desk;
use super::sums;

impl Desk {
    /// Frames some of the held events of `key`, or the next piece of a long answer to it, if its last batch has been sent.
    /// After the last piece of an answer the connection takes its next request, or ends.
    pub(crate) fn frame_waiting(&mut self, key: Key) {
        let Some(conn) = self.slots.get_mut(key) else { return };
        if !conn.session.is_replying() {
            return self.release(key, false);
        }
        match conn.go_on(&self.settings, self.now) {
            After::Close => self.end(key, CloseReason::Normal),
            After::KeepOpen if conn.session.is_replying() => return,
            After::KeepOpen => self.work.resume.push_back(key),
        }
        self.schedule(key);
    }

    /// The connection `key` ends: its held events are sent before its last words, unless it was too slow.
    pub(crate) fn frame_or_forget(&mut self, key: Key, reason: CloseReason) {
        if !matches!(reason, CloseReason::SlowConsumer | CloseReason::WaitingFull) {
            self.release(key, true);
        }
        if let Some(conn) = self.slots.get_mut(key)
            && conn.session.stop_holding()
        {
            self.held.forget_all(key);
        }
    }

    fn release(&mut self, key: Key, is_all: bool) {
        let Some(conn) = self.slots.get_mut(key) else { return };
        let released = conn.release(key, &mut self.held, is_all);
        self.counters().delivered.add(released.events);
        self.counters().slow_gaps().add(released.gaps);
    }

    /// A subscription ends: the held events of its channel are dropped.
    pub(crate) fn forget_waiting(&mut self, sub: SubKey) {
        if self.held.is_empty() {
            return;
        }
        let Some(Subscriber { key, .. }) = self.subscribers.subscriber(sub) else { return };
        let Some(channel) = self.subscribers.subject(sub) else { return };
        if let Some(conn) = self.slots.get_mut(key) {
            conn.session.forget_held(key, channel, &mut self.held);
        }
        weigh_waiting(self, key);
    }

    /// The most bytes that wait for one client, framed or held.
    pub(crate) fn waiting_most(&self) -> usize {
        let clients = self.slots.keys().filter_map(|key| Some((key, self.slots.get(key)?)));
        let waiting = clients.filter(|(_, conn)| !conn.session.is_worker());
        waiting.map(|(key, conn)| conn.link.waiting_bytes() + self.held.cost(key)).max().unwrap_or(0)
    }
}

/// Whether so much waits for it that its weight counts, or did.
#[inline]
pub(in crate::shard) fn may_weigh(conn: &Conn) -> bool {
    let is_much = conn.link.waiting_bytes() >= limits::WAITING_BYTES_FREE;
    is_much || conn.link.counted.waiting || conn.session.is_behind()
}

/// Counts the memory that waits for `key`, framed or held, after a step that may have changed it.
#[inline]
pub(in crate::shard) fn weigh_waiting(desk: &mut Desk, key: Key) {
    let Some(conn) = desk.slots.get_mut(key) else { return };
    let mut weight = conn.link.weigh_waiting();
    if conn.session.is_behind() {
        weight += desk.held.weigh(key);
    }
    let was_counted = conn.link.counted.waiting;
    if sums::is_counted(conn.link.door()) && (weight > 0 || was_counted) {
        conn.link.counted.waiting = weight > 0;
        sums::set_waiting(desk, key, weight);
    }
}

/// Weighs some of the clients again for which much waits, one after another: their shares of bytes grow when other holders let
/// go of them, and no step of their own tells. `in_flight`: the batch that the driver has. Ends clients as [`weigh_waiting`] does.
#[inline]
pub(in crate::shard) fn weigh_again(desk: &mut Desk, in_flight: impl FnMut(Key) -> InFlight) {
    if desk.sums.sweep_at() <= desk.now {
        sweep(desk, in_flight);
    }
}

#[cold]
fn sweep(desk: &mut Desk, mut in_flight: impl FnMut(Key) -> InFlight) {
    let mut parts = 0;
    for _ in 0..desk.sums.begin_sweep(desk.now) {
        let Some(key) = desk.sums.next_to_weigh() else { return };
        parts += limits::WEIGHED_AT_LEAST + desk.held.weigh_again(key);
        if let Some(conn) = desk.slots.get_mut(key) {
            parts += conn::weigh_again(&mut conn.link, in_flight(key));
        }
        weigh_waiting(desk, key);
        if parts >= limits::WEIGHED_PER_SWEEP {
            return;
        }
    }
}

/// The sum of it as the connections themselves have it.
pub(in crate::shard) fn waiting_again(desk: &Desk) -> usize {
    let clients = desk.slots.keys().filter_map(|key| Some((key, desk.slots.get(key)?)));
    let clients = clients.filter(|(_, conn)| sums::is_counted(conn.link.door()));
    clients
        .map(|(key, conn)| {
            let held = if conn.session.is_behind() { desk.held.weight(key) } else { 0 };
            conn.link.waiting_weight() + held
        })
        .sum()
}
