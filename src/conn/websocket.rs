//! A client's WebSocket after the upgrade: frames to steps, events to frames, pings, the closing handshake.
//!
//! ```text
//!            Close from the peer: echoed ---------------------------.
//!  open -----------------------------------------------------------+--> ending (see Conn::end)
//!            end(reason): our Close first, the peer's is awaited ---'
//! ```

use crate::base::Tick;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::close::Row;
use crate::proto::ws::{self, Opcode, Payload, Session, SessionLimits, frame};

use super::Identity;
use super::outbox::Outbox;

/// The client's side of one WebSocket; boxed in its phase.
pub struct WebSocket {
    pub identity: Identity,
    session: Session,
    /// A ping is on its way since then; any bytes count as its answer.
    pinged_at: Option<Tick>,
    close_sent: bool,
}

/// One message of a client.
pub struct Received<'a> {
    pub opcode: Opcode,
    pub payload: Payload<'a>,
}

impl WebSocket {
    pub fn new(identity: Identity, limits: SessionLimits) -> WebSocket {
        WebSocket { identity, session: Session::server(limits), pinged_at: None, close_sent: false }
    }

    /// Takes one message off `input`; pings are answered on the way. `Err(Normal)`: the peer closed properly.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        outbox: &mut Outbox,
    ) -> Result<Option<Received<'a>>, CloseReason> {
        while let Some(step) = self.session.next(input)? {
            match step {
                ws::Step::Message { opcode, payload } => return Ok(Some(Received { opcode, payload })),
                ws::Step::Ping(payload) => outbox.write(|out| {
                    frame::write_header(out, Opcode::Pong, payload.len());
                    out.extend_from_slice(payload);
                }),
                ws::Step::Pong(_) => {}
                ws::Step::Close { code, .. } => {
                    // RFC 6455 section 5.5.1: the answer typically echoes the status code.
                    self.write_close(code, "", outbox);
                    return Err(CloseReason::Normal);
                }
            }
        }
        Ok(None)
    }

    /// Any bytes are a sign of life.
    pub fn heard(&mut self) {
        self.pinged_at = None;
    }

    /// Asks for a sign of life, or gives up; says when to look again.
    pub fn on_silence(&mut self, now: Tick, outbox: &mut Outbox) -> Result<Tick, CloseReason> {
        match self.pinged_at {
            Some(at) if now >= at + limits::PONG_TIMEOUT => Err(CloseReason::NoPong),
            Some(at) => Ok(at + limits::PONG_TIMEOUT),
            None => {
                self.pinged_at = Some(now);
                outbox.write(|out| frame::write_header(out, Opcode::Ping, 0));
                Ok(now + limits::PONG_TIMEOUT)
            }
        }
    }

    /// Our last words: a close frame, unless one has gone out already or none may be sent.
    pub fn end(&mut self, row: &Row, outbox: &mut Outbox) {
        const NEVER_ON_THE_WIRE: u16 = 1006;
        if row.websocket_code != NEVER_ON_THE_WIRE {
            self.write_close(Some(row.websocket_code), row.words, outbox);
        }
    }

    fn write_close(&mut self, code: Option<u16>, words: &str, outbox: &mut Outbox) {
        if !std::mem::replace(&mut self.close_sent, true) {
            outbox.write(|out| frame::write_close(out, code, words));
        }
    }
}
