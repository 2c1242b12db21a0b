//! Sums of what clients make a shard keep, and the clients that are ended when a sum is too large.
//!
//! ```text
//!  a step of a connection --weigh--> its load, by difference --> sum above its bound? --> the first to go ends
//!                                                                        '-- as often as it takes, in this step
//! ```
//!
//! - `arriving`     bytes that wait for the rest of what they belong to (`conn::arriving`): ended with an answer or a close frame
//! - `handshaking`  the same before TLS is established, and a sum of its own: stalled handshakes push out no body that a client
//!   uploads; closed without last words, which cannot be sent yet
//!
//! - `waiting`      memory for what clients do not read, framed or held: closed without last words, behind which the
//!   unread bytes lie; a connection counts until its socket is closed, because its batch in flight exists until then. Of bytes
//!   that several wait for, each one's share counts; a sweep weighs the shares again, because they grow when others have read
//!
//! Clients, and servers that have a request of one: a worker and the admin listener are bounded by their own limits, and no stranger can push them out.

use std::mem;

use crate::base::{Key, Loads, Tick};
use crate::conn::Door;
use crate::limits;
use crate::proto::CloseReason;

use super::Desk;

#[derive(Default)]
pub(in crate::shard) struct Sums {
    arriving: Loads,
    handshaking: Loads,
    waiting: Loads,
    /// The client that was weighed again last, and when the next ones are.
    swept: Option<Key>,
    sweep_at: Tick,
}

impl Sums {
    pub(in crate::shard) fn arriving_bytes(&self) -> usize {
        self.arriving.bytes()
    }

    pub(in crate::shard) fn handshaking_bytes(&self) -> usize {
        self.handshaking.bytes()
    }

    pub(in crate::shard) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// When some of the clients for which much waits are weighed again.
    #[inline]
    pub(in crate::shard) fn sweep_at(&self) -> Tick {
        if self.waiting.is_empty() { Tick::NEVER } else { self.sweep_at }
    }

    /// How many clients can be weighed again.
    pub(super) fn begin_sweep(&mut self, now: Tick) -> usize {
        self.sweep_at = now + limits::WAITING_SWEEP_INTERVAL;
        self.waiting.len()
    }

    /// The client to weigh again next; the sweep goes on behind it.
    pub(super) fn next_to_weigh(&mut self) -> Option<Key> {
        self.swept = self.waiting.after(self.swept);
        self.swept
    }

    fn set(&mut self, key: Key, bytes: usize, is_handshaking: bool) {
        let (arriving, handshaking) = if is_handshaking { (0, bytes) } else { (bytes, 0) };
        self.arriving.set(key, arriving);
        self.handshaking.set(key, handshaking);
    }
}

/// Whether strangers decide how much arrives on such a connection, or waits for it.
pub(in crate::shard) fn is_counted(door: Door) -> bool {
    matches!(door, Door::Front | Door::Upstream)
}

/// Counts the load of `key` after a step that may have changed it, and ends clients until both sums are within their
/// bounds.
#[inline]
pub(in crate::shard) fn weigh(desk: &mut Desk, key: Key) {
    let Some(conn) = desk.slots.get_mut(key) else { return };
    let is_counted = is_counted(conn.link.door()) && conn.is_open();
    let bytes = if is_counted { conn.arriving_bytes() } else { 0 };
    let was_loaded = mem::replace(&mut conn.link.counted.arriving, bytes > 0);
    if bytes > 0 || was_loaded {
        let is_handshaking = conn.link.is_handshaking();
        desk.sums.set(key, bytes, is_handshaking);
        shed(desk);
    }
}

/// The slot of `key` becomes free.
pub(in crate::shard) fn unload(desk: &mut Desk, key: Key) {
    if desk.slots.get_mut(key).is_some_and(|conn| mem::take(&mut conn.link.counted.arriving)) {
        desk.sums.set(key, 0, false);
    }
}

/// The memory that waits for `key` has this weight, of which it is the shard that knows. Ends clients until the sum is within
/// its bound.
pub(in crate::shard) fn set_waiting(desk: &mut Desk, key: Key, weight: usize) {
    desk.sums.waiting.set(key, weight);
    while desk.sums.waiting.bytes() > desk.settings.generation.waiting_bytes_max
        && let Some(key) = desk.sums.waiting.first_to_go()
    {
        desk.sums.waiting.set(key, 0);
        desk.broken(key, CloseReason::WaitingFull);
    }
}

/// The connection is closed, and nothing of it is left.
pub(in crate::shard) fn forget(desk: &mut Desk, key: Key) {
    unload(desk, key);
    if desk.slots.get_mut(key).is_some_and(|conn| mem::take(&mut conn.link.counted.waiting)) {
        desk.sums.waiting.set(key, 0);
    }
}

#[cold]
fn shed(desk: &mut Desk) {
    while desk.sums.arriving.bytes() > desk.settings.generation.arriving_bytes_max
        && let Some(key) = desk.sums.arriving.first_to_go()
    {
        unload(desk, key);
        desk.end(key, CloseReason::ArrivingFull);
    }
    while desk.sums.handshaking.bytes() > desk.settings.generation.handshaking_bytes_max
        && let Some(key) = desk.sums.handshaking.first_to_go()
    {
        unload(desk, key);
        desk.broken(key, CloseReason::HandshakeRefused);
    }
}

/// Both sums as the connections themselves have them: what [`weigh`] has counted must be equal to it after every turn.
pub(in crate::shard) fn weighed_again(desk: &Desk) -> (usize, usize) {
    let clients = desk.slots.keys().filter_map(|key| desk.slots.get(key));
    clients.filter(|conn| is_counted(conn.link.door()) && conn.is_open()).fold(
        (0, 0),
        |(arriving, handshaking), conn| {
            let bytes = conn.arriving_bytes();
            if conn.link.is_handshaking() { (arriving, handshaking + bytes) } else { (arriving + bytes, handshaking) }
        },
    )
}
