//! One TLS connection, the server's side: records in, plaintext out, and back.
//!
//! ```text
//! input: [held][record][record][rec     held:  records of a handshake message that is not whole yet; rustls has
//!              |                               decrypted them in place and will come back for them
//!              '--> one whole record at a time, so that between two calls rustls waits for nothing inside the input
//! ```
//!
//! That last point is what makes sealing possible at any time after the handshake: rustls encrypts only when it has been
//! shown its input, and it would look for a half handshake message where an empty slice is now.

use std::mem;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ServerConfig};

use crate::limits::{HANDSHAKE_BYTES_MAX, RECORD_CONTENT_BYTES};
use crate::proto::CloseReason;

/// Type, version and length in front of each record (RFC 8446 section 5.1).
const HEADER_BYTES: usize = 5;
/// What sealing adds to a record: the header, an explicit nonce (8, TLS 1.2), the content type (1, TLS 1.3), the tag (16).
const EXPANSION_BYTES: usize = HEADER_BYTES + 8 + 1 + 16;

/// A server's TLS connection.
pub struct Tls {
    connection: UnbufferedServerConnection,
    phase: Phase,
}

enum Phase {
    /// `open` alone is legal. Followed by `Open` or `Failed`.
    Handshaking {
        /// Bytes at the front of the input that rustls has processed and still refers to.
        held: usize,
        /// Bytes of whole records so far.
        taken: usize,
    },
    /// Application data flows both ways. Followed by `PeerClosed`, `Closed` or `Failed`.
    Open,
    /// The peer has sent close_notify; sealing goes on (RFC 8446 section 6.1: each direction is closed on its own).
    /// Followed by `Closed`.
    PeerClosed,
    /// We have sent close_notify; what still comes is thrown away unread.
    Closed,
    /// Nothing more can be opened or sealed.
    Failed(Error),
}

/// Why [`Tls::open`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing to do until more bytes arrive after what is left in the input.
    More,
    /// `plain` is full; the input starts with a whole record.
    Full,
    /// The handshake has just been finished; there may be more in the input, so call again. Comes once.
    Handshaken,
    /// The peer has closed its direction cleanly; the input has been emptied, and so it will be from now on.
    PeerClosed,
}

impl Tls {
    /// A connection that waits for its ClientHello.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Tls, CloseReason> {
        let connection = UnbufferedServerConnection::new(config.clone()).map_err(|_| CloseReason::TlsProtocol)?;
        Ok(Tls { connection, phase: Phase::Handshaking { held: 0, taken: 0 } })
    }

    /// Takes whole records off the front of `input`. Appends what they decrypt to to `plain` until that holds `plain_max`
    /// bytes or more (by less than one record), and what has to be sent for them to `out`.
    ///
    /// What is left in `input`, as it is left (records are decrypted in place), must be the start of the next input.
    ///
    /// On an error `out` ends with the alert for the peer, if there is one to be sent. What is in `plain` then is valid.
    pub fn open(
        &mut self,
        input: &mut &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        plain_max: usize,
    ) -> Result<Opened, CloseReason> {
        loop {
            let held = match self.phase {
                Phase::Handshaking { held, .. } => held,
                Phase::Open => 0,
                Phase::PeerClosed => {
                    *input = &mut [];
                    return Ok(Opened::PeerClosed);
                }
                Phase::Closed => {
                    *input = &mut [];
                    return Ok(Opened::More);
                }
                Phase::Failed(_) => return Err(CloseReason::TlsProtocol),
            };
            assert!(held <= input.len(), "the caller keeps what was left in the input");
            let Some(record) = record_bytes(&input[held..]) else {
                // rustls judges a header before its record is whole: whoever speaks another protocol hears it at once.
                if input.len() >= held + HEADER_BYTES {
                    self.advance(input, plain, out)?;
                }
                return Ok(Opened::More);
            };
            if plain.len() >= plain_max {
                return Ok(Opened::Full);
            }
            self.count_handshake_bytes(record, out)?;
            let processed = held + record;
            let released = self.advance(&mut input[..processed], plain, out)?;
            *input = &mut mem::take(input)[released..];
            if self.settle(processed - released, out)? {
                return Ok(Opened::Handshaken);
            }
        }
    }

    /// Bounds the work for a peer that has not shown yet that it wants to talk.
    fn count_handshake_bytes(&mut self, record: usize, out: &mut Vec<u8>) -> Result<(), CloseReason> {
        let Phase::Handshaking { taken, .. } = &mut self.phase else { return Ok(()) };
        *taken += record;
        if *taken > HANDSHAKE_BYTES_MAX {
            return Err(self.fail(Error::General("the handshake is too long".into()), out));
        }
        Ok(())
    }

    /// Draws the phase after a whole record of which rustls still wants `held` bytes. Says whether the handshake is over.
    ///
    /// After the handshake a message that is not whole at the end of its record is refused: all that a client may send
    /// then is a KeyUpdate of 5 bytes, or in TLS 1.2 a renegotiation, which is refused anyway.
    fn settle(&mut self, held: usize, out: &mut Vec<u8>) -> Result<bool, CloseReason> {
        match &mut self.phase {
            Phase::Handshaking { held: kept, .. } if self.connection.is_handshaking() => {
                *kept = held;
                Ok(false)
            }
            Phase::Handshaking { .. } | Phase::Open if held != 0 => {
                Err(self.fail(Error::General("a handshake message in pieces after the handshake".into()), out))
            }
            Phase::Handshaking { .. } => {
                self.phase = Phase::Open;
                Ok(true)
            }
            Phase::Open | Phase::PeerClosed | Phase::Closed | Phase::Failed(_) => Ok(false),
        }
    }

    /// Lets rustls process `records` until it wants more bytes or waits for ours. Returns how many bytes at their front it
    /// does not need any more.
    fn advance(&mut self, records: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, CloseReason> {
        let mut released = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut records[released..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        // The one copy: rustls decrypts in place, but hands out a vector of its own.
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                    return Ok(released + discard);
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.phase = Phase::PeerClosed;
                    return Ok(released + discard);
                }
                // Early data is not offered, and rustls has no further states for a server.
                Ok(_) => return Err(self.fail(Error::HandshakeNotComplete, out)),
                Err(error) => return Err(self.fail(error, out)),
            }
            released += discard;
        }
    }

    /// Ends the connection: what rustls has queued (the alert) goes out.
    fn fail(&mut self, error: Error, out: &mut Vec<u8>) -> CloseReason {
        // Messages come before anything else as long as there are any; asked once more, rustls would look for records.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                _ => break,
            }
        }
        self.phase = Phase::Failed(error);
        CloseReason::TlsProtocol
    }

    /// Encrypts slices as records and appends them to `out`. Small slices share a record: they are gathered in `scratch`,
    /// which is empty before and after and never grows beyond one record.
    ///
    /// Legal after the handshake and before [`Tls::close_notify`]; else, and when the keys are used up, an error.
    pub fn seal<'p>(
        &mut self,
        plain: impl IntoIterator<Item = &'p [u8]>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        let mut writer = self.writer(out)?;
        scratch.clear();
        for mut slice in plain {
            while !slice.is_empty() {
                if scratch.is_empty() && slice.len() >= RECORD_CONTENT_BYTES {
                    let (content, rest) = slice.split_at(RECORD_CONTENT_BYTES);
                    encrypt(&mut writer, content, out)?;
                    slice = rest;
                    continue;
                }
                let (content, rest) = slice.split_at(slice.len().min(RECORD_CONTENT_BYTES - scratch.len()));
                scratch.extend_from_slice(content);
                slice = rest;
                if scratch.len() == RECORD_CONTENT_BYTES {
                    encrypt(&mut writer, scratch, out)?;
                    scratch.clear();
                }
            }
        }
        encrypt(&mut writer, scratch, out)?;
        scratch.clear();
        Ok(())
    }

    /// Tells the peer that nothing more will come (RFC 8446 section 6.1); nothing is read after it. Once; does nothing
    /// before the end of the handshake or after a failure, where there is nothing to be cut short.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        let Ok(mut writer) = self.writer(out) else { return };
        with_room(out, HEADER_BYTES, |room| match writer.queue_close_notify(room) {
            Ok(written) => Ok(written),
            Err(EncryptError::InsufficientSize(needed)) => Err(needed),
            Err(EncryptError::EncryptExhausted) => Ok(0),
        });
        self.phase = Phase::Closed;
    }

    /// rustls' hand for writing; what it has to send first goes to `out`.
    fn writer(&mut self, out: &mut Vec<u8>) -> Result<WriteTraffic<'_, ServerConnectionData>, CloseReason> {
        if !matches!(self.phase, Phase::Open | Phase::PeerClosed) {
            return Err(CloseReason::TlsProtocol);
        }
        self.advance(&mut [], &mut Vec::new(), out)?;
        match self.connection.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(writer)) => Ok(writer),
            _ => Err(CloseReason::TlsProtocol),
        }
    }

    pub fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshaking { .. })
    }

    /// Has the peer sent close_notify, and we not yet? A socket that ends without it was cut
    /// ([`CloseReason::TlsTruncated`]), unless we had closed first.
    pub fn is_peer_closed(&self) -> bool {
        matches!(self.phase, Phase::PeerClosed)
    }

    /// What went wrong, for the log.
    pub fn failure(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The application protocol that was agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// `TLSv1_3` or `TLSv1_2`.
    pub fn version(&self) -> Option<&'static str> {
        self.connection.protocol_version()?.as_str()
    }

    /// The name of the key exchange, for example `X25519MLKEM768`.
    pub fn key_exchange(&self) -> Option<&'static str> {
        self.connection.negotiated_key_exchange_group()?.name().as_str()
    }

    /// Did the client come back with a ticket?
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// The length of the record at the front, if it is whole.
fn record_bytes(input: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_BYTES] = input.first_chunk()?;
    let bytes = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (input.len() >= bytes).then_some(bytes)
}

fn encode(message: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    with_room(out, 0, |room| match message.encode(room) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(needed)) => Err(needed),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    });
}

/// One record, behind messages that rustls has to send first (a KeyUpdate).
fn encrypt(
    writer: &mut WriteTraffic<'_, ServerConnectionData>,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CloseReason> {
    let mut is_exhausted = false;
    with_room(out, content.len() + EXPANSION_BYTES, |room| match writer.encrypt(content, room) {
        Ok(written) => Ok(written),
        Err(EncryptError::InsufficientSize(needed)) => Err(needed),
        Err(EncryptError::EncryptExhausted) => {
            is_exhausted = true;
            Ok(0)
        }
    });
    if is_exhausted { Err(CloseReason::TlsProtocol) } else { Ok(()) }
}

/// Lets `write` fill room at the end of `out`: `guess` bytes, and if it asks for more, what it asks for.
fn with_room(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, InsufficientSizeError>,
) {
    let start = out.len();
    let mut room = guess;
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => return out.truncate(start + written),
            Err(needed) => {
                assert!(needed.required_size > room, "rustls asks for more room only when there is too little");
                room = needed.required_size;
            }
        }
    }
}
