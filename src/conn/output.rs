//! Bytes out: what waits in the outbox, sealed where there is TLS, in one batch at a time.

use super::settings::Settings;
use super::{Conn, Phase, Sealing, Transport};
use crate::base::{Batch, CoarseTick, Tick};
use crate::proto::CloseReason;

impl Conn {
    /// True if there is something for the driver now.
    pub fn has_output(&self) -> bool {
        // A driver takes nothing after `close`, although a batch that was in flight may still come back as sent.
        !self.awaits_registrations()
            && !self.life.is_closing()
            && !self.outbox.is_sending()
            && (self.outbox.pending_len() > 0
                || self.is_holding
                || self.transport.has_output()
                || (!self.is_open() && self.transport.owes_close_notify()))
    }

    /// Nothing goes out to a client before it is subscribed (OPEN MEANS SUBSCRIBED), nor to a worker: nats-py writes the PING of a
    /// `flush` before the SUB that waits to be flushed. So both come in one packet, and the PONG counts for both.
    pub fn awaits_registrations(&self) -> bool {
        self.registrations > 0 && (self.is_client() || self.is_worker())
    }

    /// The batch of this turn, framed and sealed, if there is one.
    pub fn fill(&mut self, sealing: &mut Sealing) -> Result<Option<Box<Batch>>, CloseReason> {
        if !self.has_output() {
            return Ok(None);
        }
        let plain = self.outbox.take();
        let answer_bytes = plain.as_ref().map_or(0, |batch| batch.answer_bytes());
        let batch = match &mut self.transport {
            Transport::Plain => plain,
            Transport::Tls(tls) => {
                let mut sealed = sealing.take();
                let outcome = tls.seal(plain.as_deref(), !self.life.is_open(), &mut sealing.scratch, &mut sealed);
                // Once it has ended, the alert is all that can still be said.
                let failure = outcome.err().filter(|_| self.life.is_open());
                if failure.is_some() || sealed.is_empty() {
                    sealing.give_back(sealed);
                    return failure.map_or(Ok(None), Err);
                }
                Some(sealed)
            }
        };
        if let Some(batch) = &batch {
            self.outbox.sending(batch.len(), answer_bytes);
        }
        Ok(batch)
    }

    /// The batch is back: whole or in part, its bytes are not ours any more. True if it had seemed stuck, which moves the
    /// deadline.
    pub fn sent(&mut self, batch: Box<Batch>, sealing: &mut Sealing, settings: &Settings, now: Tick) -> bool {
        let was_looked_at = self.outbox.sent();
        if let Phase::EventStream(stream) = &mut self.phase {
            stream.spoke_at = CoarseTick::floor(now);
        }
        if was_looked_at {
            self.recovered(settings, now);
        }
        if matches!(self.transport, Transport::Tls(_)) {
            sealing.give_back(batch);
        }
        was_looked_at
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::conn::Door;

    #[test]
    fn nothing_goes_out_after_close_although_the_batch_in_flight_was_sent() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let settings = Settings::default();
        let mut conn = Conn::new(1, peer, (0, Door::Front), Transport::Plain, &settings, Tick::ZERO);
        let mut sealing = Sealing::default();
        conn.outbox.push(b"what it has asked for");
        let answer = conn.fill(&mut sealing).unwrap().expect("a batch");
        conn.end(CloseReason::TooSlow, Tick::ZERO);
        assert!(conn.begin_close());
        conn.sent(answer, &mut sealing, &settings, Tick::ZERO);
        assert!(!conn.has_output(), "its last words would go to a socket that is closed");
        assert!(conn.fill(&mut sealing).unwrap().is_none());
    }
}
