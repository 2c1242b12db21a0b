//! One TLS connection, the side of a server or that of a client: records in, plaintext out, and back.
//!
//! ```text
//! RustlsSession --server, TLS 1.3, handshake over--> Records (ours) --.
//!    '--TLS 1.2, client--> stays                                      '--> Failed: no keys any more
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, Error, ServerConfig};
use rustls_pki_types::ServerName as CertifiedName;

use crate::proto::CloseReason;

use super::clients::ClientCertificate;
use super::hello::{FirstBytes, first_bytes};
use super::record::{Fault, Records, STATE_BYTES, State};
use super::session::{RustlsSession, UNKNOWN_NAME};

/// A TLS connection.
pub struct Tls {
    stage: TlsStage,
}

enum TlsStage {
    /// Boxed: it is freed when the handshake ends, and the state that remains is a sixth of its size.
    Session(Box<RustlsSession<UnbufferedServerConnection>>),
    /// Of a connection to a server behind the gateway. There are few, and idle ones are not kept for long.
    Client(Box<RustlsSession<UnbufferedClientConnection>>),
    Records(Records),
    /// Nothing more can be opened or sealed.
    Failed(TlsFailure),
}

const _: () = assert!(size_of::<Tls>() == size_of::<Records>(), "an idle connection pays for its record layer alone");

/// The cause of a failed connection.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsFailure {
    /// During the handshake, or in TLS 1.2. Boxed for the size of [`Tls`].
    Session(Box<Error>),
    Record(Fault),
    /// rustls has not shown the traffic secrets of a finished handshake.
    NoSecrets,
}

/// The reason why [`Tls::open`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing to do until more bytes arrive after what is left in the input.
    More,
    /// `plain` is full; the input begins with a complete record.
    Full,
    /// The handshake is complete; the input may have more, so call again. Reported once.
    Handshaken(Agreed),
    /// The peer has closed its direction cleanly. The input has been discarded, and later input will be.
    PeerClosed,
}

/// What the bytes of an unfinished handshake are that have arrived and are not used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Nothing can be done before more bytes arrive.
    Part,
    /// A whole ClientHello, the first one.
    Hello {
        /// Whether the client asks to resume a session.
        has_ticket: bool,
    },
    /// Of a handshake that has begun: a whole record, or a fault.
    Later,
    /// Another protocol, or a handshake that cannot succeed: [`Tls::open`] answers with an alert, at no cost.
    Junk,
}

/// The parameters that a handshake has agreed on; not kept afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: &'static str,
    /// The name of the key exchange, for example `X25519MLKEM768`. None was made by a resumed TLS 1.2 connection.
    pub key_exchange: Option<&'static str>,
    /// The application protocol.
    pub alpn: Option<&'static [u8]>,
    /// Whether the client resumed a session with a ticket.
    pub is_resumed: bool,
    /// The certificate of a client that has shown one, verified.
    pub client: Option<Arc<ClientCertificate>>,
}

impl Agreed {
    pub fn is_tls13(&self) -> bool {
        self.version == "TLSv1_3"
    }
}

impl Tls {
    /// A connection that waits for its ClientHello.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Tls, CloseReason> {
        let session = RustlsSession::new(config).map_err(|_| CloseReason::TlsInternal)?;
        Ok(Tls { stage: TlsStage::Session(Box::new(session)) })
    }

    /// A connection to the server that proves to have this name. The first message of the handshake goes to `out`.
    pub fn client(
        config: &Arc<ClientConfig>,
        name: CertifiedName<'static>,
        out: &mut Vec<u8>,
    ) -> Result<Tls, CloseReason> {
        let session = RustlsSession::client(config, name, out).map_err(|_| CloseReason::TlsInternal)?;
        Ok(Tls { stage: TlsStage::Client(Box::new(session)) })
    }

    /// Takes complete records off the front of `input`. Appends their plaintext to `plain` until it holds `plain_max`
    /// bytes or more (by less than one record), and appends to `out` what must be sent in answer.
    ///
    /// The rest of `input` (records are decrypted in place) must be the beginning of the next input.
    ///
    /// On an error, `out` ends with the alert for the peer, if one is to be sent; the bytes in `plain` are valid.
    pub fn open(
        &mut self,
        input: &mut &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        plain_max: usize,
    ) -> Result<Opened, CloseReason> {
        let opened = match &mut self.stage {
            TlsStage::Session(session) => session.open(input, plain, out, plain_max).map_err(TlsFailure::from),
            TlsStage::Client(session) => session.open(input, plain, out, plain_max).map_err(TlsFailure::from),
            TlsStage::Records(records) => records.open(input, plain, out, plain_max).map_err(TlsFailure::Record),
            TlsStage::Failed(failure) => return Err(failure.close_reason()),
        };
        let opened = opened.and_then(|opened| match opened {
            Opened::Handshaken(_) => self.leave_rustls().map(|()| opened),
            _ => Ok(opened),
        });
        opened.map_err(|failure| {
            let reason = failure.close_reason();
            self.stage = TlsStage::Failed(failure);
            reason
        })
    }

    /// After a handshake of TLS 1.3 the keys move to the record layer.
    fn leave_rustls(&mut self) -> Result<(), TlsFailure> {
        if let TlsStage::Session(session) = &self.stage
            && session.may_leave()
        {
            self.stage = TlsStage::Records(session.leave().ok_or(TlsFailure::NoSecrets)?);
        }
        Ok(())
    }

    /// Encrypts slices as records and appends them to `out`. Small slices share a record. `scratch` is for TLS 1.2: it is
    /// empty before and after and never grows beyond one record.
    ///
    /// Legal after the handshake and before [`Tls::close_notify`]; otherwise an error. Also an error, with the records
    /// that could be sealed in `out`: the keys of TLS 1.2 are used up. Then close_notify is still legal.
    pub fn seal<'p>(
        &mut self,
        plain: impl IntoIterator<Item = &'p [u8]>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        let is_sealed = match &mut self.stage {
            TlsStage::Session(session) => session.seal(plain, scratch, out),
            TlsStage::Client(session) => session.seal(plain, scratch, out),
            TlsStage::Records(records) => records.seal(plain, out),
            TlsStage::Failed(_) => false,
        };
        match is_sealed {
            true => Ok(()),
            false if self.is_open() => Err(CloseReason::TlsKeysUsedUp),
            false => Err(CloseReason::TlsProtocol),
        }
    }

    /// Tells the peer that no more data will follow (RFC 8446 section 6.1); nothing is read afterwards. Once. Before
    /// the end of the handshake and after a failure it does nothing, because no data could be truncated.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        match &mut self.stage {
            TlsStage::Session(session) => session.close_notify(out),
            TlsStage::Client(session) => session.close_notify(out),
            TlsStage::Records(records) => records.close_notify(out),
            TlsStage::Failed(_) => {}
        }
    }

    pub fn is_handshaking(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_handshaking(),
            TlsStage::Client(session) => session.is_handshaking(),
            TlsStage::Records(_) | TlsStage::Failed(_) => false,
        }
    }

    /// Looks at the input that [`Tls::open`] would get next: whether it is worth a turn.
    pub fn look(&self, input: &[u8]) -> Arrived {
        let part_of = |is_part: bool| if is_part { Arrived::Part } else { Arrived::Later };
        let session = match &self.stage {
            TlsStage::Session(session) => session,
            TlsStage::Client(session) => return part_of(session.is_waiting_for_more(input)),
            TlsStage::Records(_) | TlsStage::Failed(_) => return Arrived::Later,
        };
        if session.is_amid_handshake() {
            return part_of(session.is_waiting_for_more(input));
        }
        match first_bytes(input) {
            FirstBytes::Part => Arrived::Part,
            FirstBytes::Hello { has_ticket } => Arrived::Hello { has_ticket },
            FirstBytes::Junk => Arrived::Junk,
        }
    }

    /// Whether the handshake has begun (a ClientHello, or a part of it in a record of its own, has arrived) and not
    /// ended.
    pub fn is_amid_handshake(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_amid_handshake(),
            TlsStage::Client(session) => session.is_handshaking(),
            TlsStage::Records(_) | TlsStage::Failed(_) => false,
        }
    }

    /// Whether the peer has sent close_notify, and we have not. A socket that ends without it was truncated
    /// ([`CloseReason::TlsTruncated`]), unless we had closed first.
    pub fn is_peer_closed(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_peer_closed(),
            TlsStage::Client(session) => session.is_peer_closed(),
            TlsStage::Records(records) => records.is_peer_closed(),
            TlsStage::Failed(_) => false,
        }
    }

    /// Whether we have sent close_notify.
    pub fn is_closed(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_closed(),
            TlsStage::Client(session) => session.is_closed(),
            TlsStage::Records(records) => records.is_closed(),
            TlsStage::Failed(_) => false,
        }
    }

    /// Whether anything can be sealed, at least close_notify.
    pub fn is_open(&self) -> bool {
        !self.is_handshaking() && !self.is_closed() && self.failure().is_none()
    }

    /// The cause of the failure, for the log.
    pub fn failure(&self) -> Option<&TlsFailure> {
        match &self.stage {
            TlsStage::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// The complete state of a connection in the record layer, for another process to continue; other connections come
    /// back. Nothing more can be sealed here: two that seal with one key and one number would give both texts away.
    pub fn into_bytes(self) -> Result<State, Box<Tls>> {
        match self.stage {
            TlsStage::Records(records) => Ok(records.into_bytes()),
            stage => Err(Box::new(Tls { stage })),
        }
    }

    /// The connection that [`Tls::into_bytes`] has written; `None` if these are other bytes. From each bytes only one
    /// connection may be made.
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Option<Tls> {
        Some(Tls { stage: TlsStage::Records(Records::from_bytes(bytes)?) })
    }
}

impl TlsFailure {
    /// The counter of a failure with this cause; the log has the cause itself.
    fn close_reason(&self) -> CloseReason {
        match self {
            TlsFailure::Session(error) => match **error {
                Error::General(ref words) if words == UNKNOWN_NAME => CloseReason::TlsUnknownName,
                Error::AlertReceived(_) => CloseReason::TlsAlert,
                Error::DecryptError => CloseReason::TlsForged,
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => CloseReason::TlsIncompatible,
                Error::FailedToGetCurrentTime
                | Error::FailedToGetRandomBytes
                | Error::EncryptError
                | Error::HandshakeNotComplete
                | Error::Other(_) => CloseReason::TlsInternal,
                _ => CloseReason::TlsProtocol,
            },
            TlsFailure::Record(fault) => match fault {
                Fault::Alerted(_) => CloseReason::TlsAlert,
                Fault::Forged => CloseReason::TlsForged,
                Fault::KeyUpdates | Fault::EmptyRecords | Fault::Warnings => CloseReason::TlsFlood,
                _ => CloseReason::TlsProtocol,
            },
            TlsFailure::NoSecrets => CloseReason::TlsInternal,
        }
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> TlsFailure {
        TlsFailure::Session(Box::new(error))
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFailure::Session(error) => match &**error {
                // rustls would call it unexpected; most of these words are ours.
                Error::General(words) => f.write_str(words),
                error => error.fmt(f),
            },
            TlsFailure::Record(fault) => fault.fmt(f),
            TlsFailure::NoSecrets => f.write_str("no traffic secrets for the record layer"),
        }
    }
}
