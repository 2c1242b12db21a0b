//! The life of a connection: its steps, and their order.
//!
//! ```text
//!  Open --end--> Ending --(all is sent: linger)--> Lingering --(the peer has ended too, or time is up: close)--> Closing
//!                  '----------(broken, or time is up: close)------------------------------------------------------^  |
//!                                                                            the driver has closed it: slot free <---'
//! ```
//!
//! Where the last words are an answer, `Ending` is `Delivering`; where that lacks its rest, `Cut`. Both may close with a reset.
//!
//! No step is skipped: a connection that breaks is ended first, so that its reason is known, and closed in the same turn.

use crate::proto::CloseReason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It receives and sends.
    Open,
    /// The last words are in the outbox, or being sent; input is ignored.
    Ending(CloseReason),
    /// The same. The last words are an answer: if it is not sent in time, a reset tells its reader so, because the length may
    /// follow only from the end of the connection (RFC 9112 section 8).
    Delivering(CloseReason),
    /// The answer in hand lacks its rest, and only a reset can tell its reader so. The part that is there is sent before.
    Cut(CloseReason),
    /// The last words are sent and our half has ended; the peer's remaining bytes are awaited.
    Lingering(CloseReason),
    /// The driver was asked to close the socket, and accepts no other call for it.
    Closing(CloseReason),
}

/// The answer that ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastAnswer {
    Whole,
    /// Its reader would take the part that it got for all of it.
    Cut,
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
            Life::Ending(reason)
            | Life::Delivering(reason)
            | Life::Cut(reason)
            | Life::Lingering(reason)
            | Life::Closing(reason) => Some(reason),
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

    /// The last words are those of an answer.
    pub(super) fn deliver(&mut self, last: LastAnswer) {
        if let Life::Ending(reason) = *self {
            *self = match last {
                LastAnswer::Whole => Life::Delivering(reason),
                LastAnswer::Cut => Life::Cut(reason),
            };
        }
    }

    /// Whether TLS says that nothing follows: not after a part that must not look whole (RFC 8446 section 6.1).
    pub(super) fn takes_leave(self) -> bool {
        !self.is_open() && !self.is_cut()
    }

    pub(super) fn is_cut(self) -> bool {
        matches!(self, Life::Cut(_))
    }

    /// Whether the socket is to be reset, if it is closed now. `is_sent`: nothing waits for the peer.
    pub(super) fn ends_with_reset(self, is_sent: bool) -> bool {
        self.is_cut() || matches!(self, Life::Delivering(_)) && !is_sent
    }

    /// True the first time, unless it is closing already.
    pub(super) fn linger(&mut self) -> bool {
        let (Life::Ending(reason) | Life::Delivering(reason)) = *self else { return false };
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
    fn an_answer_that_lacks_something_ends_with_a_reset() {
        let mut life = Life::Open;
        life.end(CloseReason::Normal);
        assert!(!life.ends_with_reset(false), "only answers do");
        life.deliver(LastAnswer::Whole);
        assert!(life.ends_with_reset(false) && !life.ends_with_reset(true));
        assert!(life.linger() && !life.ends_with_reset(false), "the kernel has it all");
        let mut life = Life::Open;
        life.end(CloseReason::UpstreamBroke);
        life.deliver(LastAnswer::Cut);
        assert!(life.is_cut() && life.ends_with_reset(true) && !life.linger());
        assert!(life.close() && life.reason() == Some(CloseReason::UpstreamBroke));
    }

    #[test]
    fn what_is_broken_does_not_linger() {
        let mut life = Life::Open;
        assert!(life.end(CloseReason::PeerReset) && life.close());
        assert!(!life.linger());
    }
}
