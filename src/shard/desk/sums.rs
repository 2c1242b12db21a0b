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
//! Clients only: a worker and the admin listener are bounded by their own limits, and no stranger can push them out.

use crate::base::{Key, Loads};
use crate::conn::Door;
use crate::proto::CloseReason;

use super::Desk;

#[derive(Default)]
pub(in crate::shard) struct Sums {
    arriving: Loads,
    handshaking: Loads,
}

impl Sums {
    pub(in crate::shard) fn arriving_bytes(&self) -> usize {
        self.arriving.bytes()
    }

    pub(in crate::shard) fn handshaking_bytes(&self) -> usize {
        self.handshaking.bytes()
    }

    fn set(&mut self, key: Key, bytes: usize, is_handshaking: bool) {
        let (arriving, handshaking) = if is_handshaking { (0, bytes) } else { (bytes, 0) };
        self.arriving.set(key, arriving);
        self.handshaking.set(key, handshaking);
    }
}

/// Counts the load of `key` after a step that may have changed it, and ends clients until both sums are within their
/// bounds.
#[inline]
pub(in crate::shard) fn weigh(desk: &mut Desk, key: Key) {
    let Some(conn) = desk.slots.get_mut(key) else { return };
    let is_counted = conn.link.door() == Door::Front && conn.is_open();
    let bytes = if is_counted { conn.arriving_bytes() } else { 0 };
    let was_loaded = conn.link.replace_loaded(bytes > 0);
    if bytes > 0 || was_loaded {
        let is_handshaking = conn.link.is_handshaking();
        desk.sums.set(key, bytes, is_handshaking);
        shed(desk);
    }
}

/// The slot of `key` becomes free.
pub(in crate::shard) fn unload(desk: &mut Desk, key: Key) {
    if desk.slots.get_mut(key).is_some_and(|conn| conn.link.replace_loaded(false)) {
        desk.sums.set(key, 0, false);
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
    clients.filter(|conn| conn.link.door() == Door::Front && conn.is_open()).fold(
        (0, 0),
        |(arriving, handshaking), conn| {
            let bytes = conn.arriving_bytes();
            if conn.link.is_handshaking() { (arriving, handshaking + bytes) } else { (arriving + bytes, handshaking) }
        },
    )
}
