//! Bytes out: the outbox, sealed if there is TLS, one batch at a time.

use super::session::Phase;
use super::settings::Settings;
use super::{Conn, Sealing};
use crate::base::{Batch, CoarseTick, Tick};
use crate::proto::CloseReason;

impl Conn {
    /// True if there is something for the driver now.
    pub fn has_output(&self) -> bool {
        !self.session.awaits_registrations()
            && self.link.can_send()
            && (self.link.has_waiting() || self.session.is_behind())
    }

    /// The batch of this turn, framed and sealed, if there is one. Takes the connection off the list of the turn's
    /// flush.
    pub fn fill(&mut self, sealing: &mut Sealing) -> Result<Option<Box<Batch>>, CloseReason> {
        self.link.flushing();
        if self.has_output() { self.link.fill(sealing) } else { Ok(None) }
    }

    /// The batch is back: whether sent whole or in part, its bytes no longer belong to the outbox. True if it had
    /// seemed stuck, which moves the deadline.
    pub fn sent(&mut self, batch: Box<Batch>, sealing: &mut Sealing, settings: &Settings, now: Tick) -> bool {
        let was_looked_at = self.link.sent(batch, sealing);
        if let Phase::EventStream(_, stream) = &mut self.session.phase {
            stream.spoke_at = CoarseTick::floor(now);
        }
        if was_looked_at {
            self.recovered(settings, now);
        }
        was_looked_at
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::conn::{Door, Transport};

    #[test]
    fn nothing_goes_out_after_close_although_the_batch_in_flight_was_sent() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let settings = Settings::default();
        let mut conn = Conn::new(1, peer, (0, Door::Front), Transport::Plain, &settings, Tick::ZERO);
        let mut sealing = Sealing::default();
        conn.link.outbox.push(b"what it has asked for");
        let answer = conn.fill(&mut sealing).unwrap().expect("a batch");
        conn.end(CloseReason::TooSlow, Tick::ZERO);
        assert!(conn.link.begin_close().is_some());
        conn.sent(answer, &mut sealing, &settings, Tick::ZERO);
        assert!(!conn.has_output(), "its last words would go to a socket that is closed");
        assert!(conn.fill(&mut sealing).unwrap().is_none());
    }
}
