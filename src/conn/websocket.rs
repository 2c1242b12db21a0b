//! A client's WebSocket after the upgrade: frames to steps, events to frames, pings, the closing handshake.
//!
//! ```text
//!            Close from the peer: answered behind all events -------.
//!  open -----------------------------------------------------------+--> ending (see Conn::end)
//!            end(reason): our Close first, the peer's is awaited ---'
//! ```

use crate::base::Tick;
use crate::proto::CloseReason;
use crate::proto::close::CloseRow;
use crate::proto::ws::{self, Opcode, Payload, SessionLimits, WebSocketSession, frame};

use super::outbox::Outbox;
use super::{Peer, return_after};

/// The client's side of one WebSocket.
pub struct WebSocket {
    session: WebSocketSession,
    /// A ping is unanswered; any bytes count as its answer.
    is_pinged: bool,
    /// The client's close frame, by its status code. The answer is the last frame, so it is written when the session ends:
    /// until then come the events that were on their way.
    goodbye: Option<StatusCode>,
    /// The index of the route's subprotocol that was chosen.
    subprotocol: Option<u8>,
}

/// Of a close frame, which may have none (RFC 6455 section 5.5.1).
type StatusCode = Option<u16>;

/// An item of a client: a message or frame of its protocol, or the end.
pub enum Heard<T> {
    Message(T),
    /// The client has closed properly, and is answered at the end of the session.
    Goodbye,
}

/// One message of a client.
pub struct ClientMessage<'a> {
    pub opcode: Opcode,
    pub payload: Payload<'a>,
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket { session: WebSocketSession::server(), is_pinged: false, goodbye: None, subprotocol: None }
    }
}

impl WebSocket {
    /// One that speaks this subprotocol of its route.
    pub fn speaking(subprotocol: Option<u8>) -> WebSocket {
        WebSocket { subprotocol, ..WebSocket::default() }
    }

    pub fn subprotocol(&self) -> Option<u8> {
        self.subprotocol
    }

    /// Takes one message, or the close frame, off `input`; answers pings on the way.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &SessionLimits,
        outbox: &mut Outbox,
    ) -> Result<Option<Heard<ClientMessage<'a>>>, CloseReason> {
        while let Some(step) = self.session.next(input, limits)? {
            match step {
                ws::WebSocketStep::Message { opcode, payload } => {
                    return Ok(Some(Heard::Message(ClientMessage { opcode, payload })));
                }
                ws::WebSocketStep::Ping(payload) => outbox.write(|out| {
                    frame::write_header(out, Opcode::Pong, payload.len());
                    out.extend_from_slice(payload);
                }),
                ws::WebSocketStep::Pong(_) => {}
                ws::WebSocketStep::Close { code, .. } => {
                    self.goodbye = Some(code);
                    return Ok(Some(Heard::Goodbye));
                }
            }
        }
        Ok(None)
    }

    /// Bytes of memory for the parts of an incomplete message.
    pub fn arriving_bytes(&self) -> usize {
        self.session.arriving_bytes()
    }

    /// See [`WebSocketSession::await_rest`] and [`WebSocketSession::due`].
    pub fn await_rest(&mut self, until: Tick) -> Tick {
        self.session.await_rest(until)
    }

    pub fn extend(&mut self, until: Tick) {
        self.session.extend(until);
    }

    pub fn due(&self) -> Tick {
        self.session.due()
    }

    /// Any bytes count as a sign of life.
    pub fn heard(&mut self) {
        self.is_pinged = false;
    }

    /// Sends a ping, or gives up if the last one is unanswered.
    pub fn on_silence(&mut self, outbox: &mut Outbox) -> Result<(), CloseReason> {
        if std::mem::replace(&mut self.is_pinged, true) {
            return Err(CloseReason::NoPong);
        }
        outbox.write(|out| frame::write_header(out, Opcode::Ping, 0));
        Ok(())
    }

    /// The last words: a close frame, unless none may be sent.
    pub fn end(&self, row: &CloseRow, peer: Peer, outbox: &mut Outbox) {
        const NEVER_ON_THE_WIRE: u16 = 1006;
        if matches!(row.reason, CloseReason::Drain | CloseReason::SentBack) {
            // 1001 is RFC 6455's code for a server that shuts down, and every client knows it. 1012 ("service restart")
            // is registered, but older clients fail the connection over an unknown code.
            let words = format!("{} in {} ms", row.words, return_after(peer).as_millis());
            self.write_close(row.websocket_code, &words, outbox);
        } else if row.websocket_code != NEVER_ON_THE_WIRE {
            self.write_close(row.websocket_code, row.words, outbox);
        }
    }

    /// The last frame. An answer typically repeats the client's status code (RFC 6455 section 5.5.1).
    pub fn write_close(&self, code: u16, words: &str, outbox: &mut Outbox) {
        let (code, words) = self.goodbye.map_or((Some(code), words), |heard| (heard, ""));
        outbox.write(|out| frame::write_close(out, code, words));
    }
}
