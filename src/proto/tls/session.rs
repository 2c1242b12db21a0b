//! A connection inside rustls: every handshake, and for its whole life TLS 1.2 and the side of a client.
//!
//! ```text
//! input: [held][record][record][rec     held:  records of a handshake message that is not whole yet; rustls has
//!              |                               decrypted them in place and will come back for them
//!              '--> one whole record at a time, so that between two calls rustls waits for nothing inside the input
//! ```
//!
//! Records of early data that are not accepted are skipped: rustls fails to decrypt them, and they leave the input.
//!
//! The last point of the picture makes it possible to seal at any time after the handshake: rustls encrypts only after it has been
//! shown its input, and it would look for half a handshake message where an empty slice is now. It also ensures that
//! nothing is left inside rustls when a TLS 1.3 connection moves to the record layer.

use std::mem;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::ServerName as CertifiedName;

use crate::limits::{HANDSHAKE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_CONTENT_BYTES, SERVER_HANDSHAKE_BYTES_MAX};

use super::clients::ClientCertificate;
use super::config::ALPN;
use super::connection::{Agreed, Opened};
use super::hello;
use super::record::{Beginning, Records, Suite};
use super::secrets::{self, Secrets};

/// Type, version and length in front of each record (RFC 8446 section 5.1).
const HEADER_BYTES: usize = 5;
/// The type of a protected record of TLS 1.3 (section 5.2).
const APPLICATION_DATA: u8 = 23;
/// The alert unrecognized_name (RFC 6066 section 3).
const UNRECOGNIZED_NAME: u8 = 112;
/// As rustls says it when there is no certificate for a client.
const NO_CERTIFICATE: &str = "no server certificate chain resolved";
/// As we say it.
pub(super) const UNKNOWN_NAME: &str = "no certificate is for the name that the client asks for";
/// Every cipher suite's tag has this length.
const TAG_BYTES: usize = 16;
/// Bytes that sealing adds to a record: the header, an explicit nonce (8, TLS 1.2), the content type (1, TLS 1.3), the
/// tag (16).
const EXPANSION_BYTES: usize = HEADER_BYTES + 8 + 1 + TAG_BYTES;

/// A side of a connection: rustls has a type for each.
pub(super) trait TlsSide {
    type Data;
    /// Most bytes of the peer before the handshake is complete.
    const PEER_BYTES_MAX: usize;
    /// Whether the peer begins: another protocol is noticed by its first bytes, and early data may come.
    const IS_SERVER: bool;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn common(&self) -> &CommonState;
}

impl TlsSide for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const PEER_BYTES_MAX: usize = HANDSHAKE_BYTES_MAX;
    const IS_SERVER: bool = true;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl TlsSide for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const PEER_BYTES_MAX: usize = SERVER_HANDSHAKE_BYTES_MAX;
    const IS_SERVER: bool = false;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

pub(super) struct RustlsSession<S: TlsSide> {
    connection: S,
    phase: SessionPhase,
    /// For TLS 1.3, from our first flight on.
    secrets: Option<Box<Secrets>>,
    /// Records that the last call of `advance` produced. If it completed a handshake of TLS 1.3, these are the tickets,
    /// the first records under the key for application data.
    sealed: u64,
}

enum SessionPhase {
    /// Only `open` is legal. Followed by `Open`.
    Handshaking {
        /// Bytes at the front of the input that rustls has processed and still refers to.
        held: usize,
        /// Bytes of complete records so far.
        taken: usize,
    },
    /// Application data flows both ways. Followed by `PeerClosed` or `Closed`.
    Open,
    /// The peer has sent close_notify; sealing continues. Followed by `Closed`.
    PeerClosed,
    /// We have sent close_notify; further input is discarded unread.
    Closed,
}

impl RustlsSession<UnbufferedServerConnection> {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(RustlsSession::of(UnbufferedServerConnection::new(config.clone())?))
    }
}

impl RustlsSession<UnbufferedClientConnection> {
    /// A client of the server that proves to have this name. Its first message goes to `out`.
    pub(super) fn client(
        config: &Arc<ClientConfig>,
        name: CertifiedName<'static>,
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let mut session = RustlsSession::of(UnbufferedClientConnection::new(config.clone(), name)?);
        session.advance(&mut [], &mut Vec::new(), out)?;
        Ok(session)
    }
}

impl<S: TlsSide> RustlsSession<S> {
    fn of(connection: S) -> RustlsSession<S> {
        RustlsSession { connection, phase: SessionPhase::Handshaking { held: 0, taken: 0 }, secrets: None, sealed: 0 }
    }

    /// Like [`super::Tls::open`]. After an error, whose alert is already in `out`, no other call is legal.
    pub(super) fn open(
        &mut self,
        input: &mut &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        plain_max: usize,
    ) -> Result<Opened, Error> {
        loop {
            let held = match self.phase {
                SessionPhase::Handshaking { held, taken } => {
                    if taken == 0 && S::IS_SERVER {
                        refuse_junk(input, out)?;
                    }
                    held
                }
                SessionPhase::Open => 0,
                SessionPhase::PeerClosed => {
                    *input = &mut [];
                    return Ok(Opened::PeerClosed);
                }
                SessionPhase::Closed => {
                    *input = &mut [];
                    return Ok(Opened::More);
                }
            };
            assert!(held <= input.len(), "the caller keeps what was left in the input");
            let Some(record) = record_bytes(&input[held..]) else {
                // rustls checks a header before its record is complete: a peer with another protocol gets its alert at
                // once.
                if input.len() >= held + HEADER_BYTES {
                    self.advance(input, plain, out)?;
                }
                return Ok(Opened::More);
            };
            if plain.len() >= plain_max {
                return Ok(Opened::Full);
            }
            let processed = held + record;
            let mut released = self.advance(&mut input[..processed], plain, out)?;
            self.count_handshake_bytes(record);
            if S::IS_SERVER && held == 0 && released == 0 && self.has_skipped(&input[..processed]) {
                released = processed;
            }
            self.check_handshake_bytes(out)?;
            *input = &mut mem::take(input)[released..];
            if self.settle(processed - released, out)? {
                return Ok(Opened::Handshaken(self.agreed()));
            }
        }
    }

    fn count_handshake_bytes(&mut self, record: usize) {
        if let SessionPhase::Handshaking { taken, .. } = &mut self.phase {
            *taken += record;
        }
    }

    /// Bounds the work for a peer whose handshake is not complete. Checked after each record, not before: it may be
    /// early data, which does not count.
    fn check_handshake_bytes(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self.phase {
            SessionPhase::Handshaking { taken, .. }
                if taken > S::PEER_BYTES_MAX && self.connection.common().is_handshaking() =>
            {
                Err(self.fail(Error::General("the handshake is too long".into()), out))
            }
            _ => Ok(()),
        }
    }

    /// Whether rustls, which still needs this record, has only failed to decrypt it: early data that is not accepted (RFC
    /// 8446 section 4.2.10). rustls would try it again with each further record, and would count it each time against the
    /// 16 KiB that it skips.
    ///
    /// aws-lc wipes what it cannot decrypt. An authentic record has its content type there, which is not zero.
    fn has_skipped(&mut self, record: &[u8]) -> bool {
        let SessionPhase::Handshaking { taken, .. } = &mut self.phase else { return false };
        let fragment = &record[HEADER_BYTES..];
        let is_skipped = record[0] == APPLICATION_DATA
            && fragment[..fragment.len().saturating_sub(TAG_BYTES)].iter().all(|byte| *byte == 0);
        if is_skipped {
            // rustls bounds the fragments; the headers go on counting.
            *taken -= fragment.len();
        }
        is_skipped
    }

    /// Decides the phase after a complete record of which rustls still needs `held` bytes. Returns whether the
    /// handshake is over.
    ///
    /// After the handshake, a message that is incomplete at the end of its record is refused. In TLS 1.2 a client could
    /// only send a renegotiation then, which is refused anyway, and in TLS 1.3 its last message must end its record.
    fn settle(&mut self, held: usize, out: &mut Vec<u8>) -> Result<bool, Error> {
        match &mut self.phase {
            SessionPhase::Handshaking { held: kept, .. } if self.connection.common().is_handshaking() => {
                *kept = held;
                Ok(false)
            }
            SessionPhase::Handshaking { .. } | SessionPhase::Open if held != 0 => {
                Err(self.fail(Error::General("a handshake message in pieces after the handshake".into()), out))
            }
            SessionPhase::Handshaking { .. } => {
                self.phase = SessionPhase::Open;
                Ok(true)
            }
            SessionPhase::Open | SessionPhase::PeerClosed | SessionPhase::Closed => Ok(false),
        }
    }

    /// Lets rustls process `records` until it needs more bytes or waits for ours. Returns how many bytes at their front
    /// it no longer needs.
    fn advance(&mut self, records: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Error> {
        let mut released = 0;
        self.sealed = 0;
        loop {
            let (status, overheard) = secrets::during(|| self.connection.process(&mut records[released..]));
            if overheard.is_some() {
                self.secrets = overheard;
            }
            let UnbufferedStatus { mut discard, state } = status;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        // The one copy: rustls decrypts in place, but returns a vector of its own.
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, out);
                    self.sealed += 1;
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                    return Ok(released + discard);
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.phase = SessionPhase::PeerClosed;
                    return Ok(released + discard);
                }
                // Early data is not offered, and rustls has no other states for a server.
                Ok(_) => return Err(self.fail(Error::HandshakeNotComplete, out)),
                Err(error) => return Err(self.fail(error, out)),
            }
            released += discard;
        }
    }

    /// Ends the connection: the bytes that rustls has queued (the alert) go to `out`.
    fn fail(&mut self, error: Error, out: &mut Vec<u8>) -> Error {
        // Messages come first as long as there are any; after that, rustls would look for records.
        while self.connection.common().wants_write() {
            match self.connection.process(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                _ => break,
            }
        }
        match (error, out.last_mut()) {
            // There are no keys yet, so the alert, which ends with its description, is in the clear. rustls has
            // chosen access_denied.
            (Error::General(words), Some(alert)) if words == NO_CERTIFICATE => {
                *alert = UNRECOGNIZED_NAME;
                Error::General(UNKNOWN_NAME.to_owned())
            }
            (error, _) => error,
        }
    }

    fn agreed(&self) -> Agreed {
        let version = self.connection.common().protocol_version().and_then(|version| version.as_str());
        Agreed {
            version: version.expect("agreed on by the handshake"),
            key_exchange: self
                .connection
                .common()
                .negotiated_key_exchange_group()
                .and_then(|group| group.name().as_str()),
            // There is one protocol to agree on.
            alpn: self.connection.common().alpn_protocol().map(|_| ALPN),
            is_resumed: self.connection.common().handshake_kind() == Some(HandshakeKind::Resumed),
            client: self.certificate_of_client().map(Arc::new),
        }
    }

    fn certificate_of_client(&self) -> Option<ClientCertificate> {
        let chain = self.connection.common().peer_certificates().filter(|_| S::IS_SERVER);
        ClientCertificate::read(chain?.first()?)
    }

    /// Whether the record layer can continue after the finished handshake.
    pub(super) fn may_leave(&self) -> bool {
        matches!(self.connection.common().negotiated_cipher_suite(), Some(SupportedCipherSuite::Tls13(_)))
    }

    /// The record layer for the time after a handshake of TLS 1.3. The caller frees the session, and with it all memory
    /// of rustls. `None` without secrets, which every configuration of ours records.
    ///
    /// `dangerous_into_kernel_connection` would also return the sequence numbers, but derives the keys a second time
    /// for that: 4 to 9 of the 70 to 100 µs of a handshake.
    pub(super) fn leave(&self) -> Option<Records> {
        let common = &self.connection.common().negotiated_cipher_suite()?.tls13()?.common;
        let suite = Suite::of(common.suite)?;
        let secrets = self.secrets.as_ref().filter(|secrets| secrets.length() == suite.secret_bytes())?;
        Some(Records::new(&Beginning {
            suite,
            client_secret: &secrets.client.bytes,
            server_secret: &secrets.server.bytes,
            sealed: self.sealed,
            records_max: common.confidentiality_limit,
        }))
    }

    /// Encrypts slices as records and appends them to `out`. Small slices share a record: they are gathered in
    /// `scratch`, which is empty before and after and never grows beyond one record. False if sealing is not legal, or
    /// the keys are used up.
    pub(super) fn seal<'p>(
        &mut self,
        plain: impl IntoIterator<Item = &'p [u8]>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(mut writer) = self.writer(out) else { return false };
        scratch.clear();
        for mut slice in plain {
            while !slice.is_empty() {
                let (content, rest) = slice.split_at(slice.len().min(RECORD_CONTENT_BYTES - scratch.len()));
                scratch.extend_from_slice(content);
                slice = rest;
                if scratch.len() == RECORD_CONTENT_BYTES {
                    if !encrypt(&mut writer, scratch, out) {
                        return false;
                    }
                    scratch.clear();
                }
            }
        }
        let is_sealed = encrypt(&mut writer, scratch, out);
        scratch.clear();
        is_sealed
    }

    /// Like [`super::Tls::close_notify`].
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        let Some(mut writer) = self.writer(out) else { return };
        with_room(out, HEADER_BYTES, |room| match writer.queue_close_notify(room) {
            Ok(written) => Ok(written),
            Err(EncryptError::InsufficientSize(needed)) => Err(needed),
            Err(EncryptError::EncryptExhausted) => Ok(0),
        });
        self.phase = SessionPhase::Closed;
    }

    /// rustls' state for writing; the messages that it must send first go to `out`.
    fn writer(&mut self, out: &mut Vec<u8>) -> Option<WriteTraffic<'_, S::Data>> {
        if !matches!(self.phase, SessionPhase::Open | SessionPhase::PeerClosed) {
            return None;
        }
        self.advance(&mut [], &mut Vec::new(), out).ok()?;
        match self.connection.process(&mut []).state {
            Ok(ConnectionState::WriteTraffic(writer)) => Some(writer),
            _ => None,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.phase, SessionPhase::Handshaking { .. })
    }

    /// Whether at least one complete record of the peer has arrived, and the handshake is not complete.
    pub(super) fn is_amid_handshake(&self) -> bool {
        matches!(self.phase, SessionPhase::Handshaking { taken, .. } if taken > 0)
    }

    /// Whether the input ends within a record, and nothing can be said about that record yet.
    pub(super) fn is_waiting_for_more(&self, input: &[u8]) -> bool {
        let SessionPhase::Handshaking { held, .. } = self.phase else { return false };
        let input = input.get(held..).unwrap_or_default();
        let is_sound = |header: &[u8; HEADER_BYTES]| {
            let bytes = usize::from(u16::from_be_bytes([header[3], header[4]]));
            (20..=APPLICATION_DATA).contains(&header[0]) && bytes + HEADER_BYTES <= RECORD_BYTES_MAX
        };
        record_bytes(input).is_none() && input.first_chunk().is_none_or(is_sound)
    }

    pub(super) fn is_peer_closed(&self) -> bool {
        matches!(self.phase, SessionPhase::PeerClosed)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, SessionPhase::Closed)
    }
}

/// An alert for a client that speaks another protocol. rustls answers some of them only when a record is whole.
fn refuse_junk(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let Some(junk) = hello::junk(input) else { return Ok(()) };
    out.extend([ALERT, 3, 3, 0, 2, FATAL, junk as u8]);
    Err(Error::General(junk.words().to_owned()))
}

/// The length of the record at the front, if it is complete.
fn record_bytes(input: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_BYTES] = input.first_chunk()?;
    let bytes = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (input.len() >= bytes).then_some(bytes)
}

fn encode<D>(message: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    with_room(out, 0, |room| match message.encode(room) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(needed)) => Err(needed),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    });
}

/// Encrypts one record, after messages that rustls must send first. False if the key may encrypt no more.
fn encrypt<D>(writer: &mut WriteTraffic<'_, D>, content: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_exhausted = false;
    with_room(out, content.len() + EXPANSION_BYTES, |room| match writer.encrypt(content, room) {
        Ok(written) => Ok(written),
        Err(EncryptError::InsufficientSize(needed)) => Err(needed),
        Err(EncryptError::EncryptExhausted) => {
            is_exhausted = true;
            Ok(0)
        }
    });
    !is_exhausted
}

/// Lets `write` fill `guess` bytes at the end of `out`, or as many as it then asks for.
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
