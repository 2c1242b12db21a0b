//! The message that a session has received a part of: its bytes, and its deadline.

use std::time::Duration;

use super::session::WebSocketSession;
use crate::base::Tick;
use crate::limits::ARRIVING_BYTES_PER_SECOND_MIN;

impl WebSocketSession {
    /// Bytes of memory for its parts; 0 if no message is incomplete.
    pub fn arriving_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.capacity())
    }

    /// Sets the deadline of the incomplete message, unless it has one, and returns [`WebSocketSession::due`].
    pub fn await_rest(&mut self, until: Tick) -> Tick {
        if let Some(assembly) = &mut self.assembly {
            assembly.until.get_or_insert(until);
        }
        self.due()
    }

    /// Moves the deadline of the incomplete message.
    pub fn extend(&mut self, until: Tick) {
        if let Some(assembly) = &mut self.assembly {
            assembly.until = Some(until);
        }
    }

    /// When the incomplete message is late: its deadline, and a second more for each
    /// [`ARRIVING_BYTES_PER_SECOND_MIN`]. [`Tick::NEVER`] if no message is incomplete, or it has no deadline.
    pub fn due(&self) -> Tick {
        let Some(assembly) = &self.assembly else { return Tick::NEVER };
        let for_bytes = Duration::from_secs(assembly.len() as u64 / ARRIVING_BYTES_PER_SECOND_MIN);
        assembly.until.map_or(Tick::NEVER, |until| until + for_bytes)
    }
}
