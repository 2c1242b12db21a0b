//! The message that a session has received a part of.

use super::session::WebSocketSession;

impl WebSocketSession {
    /// Bytes of memory for its parts; 0 if no message is incomplete.
    pub fn arriving_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.capacity())
    }
}
