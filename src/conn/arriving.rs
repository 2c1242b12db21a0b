//! What a connection has received and cannot use yet: bytes that wait for the rest of what they belong to.
//!
//! ```text
//!  wire --> carry: half a record, head, verb --> TLS: half a message --> session: fragments, a body, unread commands
//!           `----------------------- all of it counts: Conn::arriving_bytes -----------------------'
//! ```
//!
//! The figure is computed from the buffers themselves, by their capacity, so it cannot be wrong for long: the shard
//! compares it with what it has counted ([`Loads`](crate::base::Loads)) after each step that can change it.

use super::Conn;
use super::http::HttpState;
use super::session::{Phase, Session};
use crate::limits;

impl Conn {
    /// Bytes of memory for what has arrived, the state of an unfinished TLS handshake included; 0 for no more than every
    /// connection may keep, the bytes of most heads and of frames cut by a segment.
    #[inline]
    pub fn arriving_bytes(&self) -> usize {
        let bytes = self.link.arriving_bytes() + self.session.arriving_bytes();
        if bytes > limits::ARRIVING_BYTES_FREE { bytes } else { 0 }
    }
}

impl Session {
    #[inline]
    fn arriving_bytes(&self) -> usize {
        match &self.phase {
            Phase::Http(http) => match &http.state {
                HttpState::Body(incoming) => incoming.bytes(),
                HttpState::Proxying(proxying) => proxying.bytes(),
                HttpState::Checking(checking) => checking.bytes(),
                _ => 0,
            },
            Phase::WebSocket(_, websocket) => websocket.arriving_bytes(),
            Phase::Centrifuge(centrifuge) => {
                centrifuge.websocket.arriving_bytes() + centrifuge.unread().capacity() + centrifuge.asked.bytes()
            }
            Phase::EventStream(..) | Phase::Worker(_) | Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => 0,
        }
    }
}
