//! The life of a connection: its steps, and their order.
//!
//! ```text
//!  Open --end--> Ending --(all is sent: linger)--> Lingering --(the peer has ended too, or time is up: close)--> Closing
//!                  '----------(broken, or time is up: close)------------------------------------------------------^  |
//!                                                                            the driver has closed it: slot free <---'
//! ```
//!
//! No step is skipped: a connection that breaks is ended first, so that its reason is known, and closed in the same turn.

use crate::proto::CloseReason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It receives and sends.
    Open,
    /// The last words are in the outbox, or being sent; input is ignored.
    Ending(CloseReason),
    /// The last words are sent and our half has ended; the peer's remaining bytes are awaited.
    Lingering(CloseReason),
    /// The driver was asked to close the socket, and accepts no other call for it.
    Closing(CloseReason),
}

const _: () = assert!(size_of::<Life>() == 2, "every connection has one");

impl Life {
    pub(super) fn is_open(self) -> bool {
        self == Life::Open
    }

    pub(super) fn is_closing(self) -> bool {
        matches!(self, Life::Closing(_))
    }

    /// The reason of its end, once it has ended.
    fn reason(self) -> Option<CloseReason> {
        match self {
            Life::Open => None,
            Life::Ending(reason) | Life::Lingering(reason) | Life::Closing(reason) => Some(reason),
        }
    }

    /// True the first time; later reasons are ignored.
    pub(super) fn end(&mut self, reason: CloseReason) -> bool {
        let is_first = self.is_open();
        if is_first {
            *self = Life::Ending(reason);
        }
        is_first
    }

    /// True the first time, unless it is closing already.
    pub(super) fn linger(&mut self) -> bool {
        let Life::Ending(reason) = *self else { return false };
        *self = Life::Lingering(reason);
        true
    }

    /// True the first time.
    pub(super) fn close(&mut self) -> bool {
        let is_first = !self.is_closing();
        debug_assert!(!self.is_open(), "it ends before it is closed");
        if let Some(reason) = self.reason() {
            *self = Life::Closing(reason);
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_once_and_none_backward() {
        let mut life = Life::Open;
        assert!(!life.linger(), "it has said no last words");
        assert!(life.end(CloseReason::Drain) && !life.end(CloseReason::TooSlow));
        assert_eq!(life.reason(), Some(CloseReason::Drain));
        assert!(life.linger() && !life.linger() && !life.end(CloseReason::TooSlow));
        assert!(life.close() && !life.close() && !life.linger());
        assert_eq!(life, Life::Closing(CloseReason::Drain));
    }

    #[test]
    fn what_is_broken_does_not_linger() {
        let mut life = Life::Open;
        assert!(life.end(CloseReason::PeerReset) && life.close());
        assert!(!life.linger());
    }
}
