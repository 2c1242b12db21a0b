//! One TLS connection, the server's side: records in, plaintext out, and back.
//!
//! ```text
//! RustlsSession --TLS 1.3, handshake over--> Records (ours) --.
//!    '--TLS 1.2--> stays                                       '--> Failed: no keys any more
//! ```

use std::fmt;
use std::sync::Arc;

use rustls::{Error, ServerConfig};

use crate::proto::CloseReason;

use super::record::{Fault, Records, STATE_BYTES, State};
use super::session::RustlsSession;

/// A server's TLS connection.
pub struct Tls {
    stage: TlsStage,
}

enum TlsStage {
    /// Boxed: it is freed when the handshake ends, and what stays is a sixth of it.
    Session(Box<RustlsSession>),
    Records(Records),
    /// Nothing more can be opened or sealed.
    Failed(Failure),
}

const _: () = assert!(size_of::<Tls>() == size_of::<Records>(), "an idle connection pays for its record layer alone");

/// The cause of a failed connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// During the handshake, or in TLS 1.2. Boxed for the size of [`Tls`].
    Session(Box<Error>),
    Record(Fault),
}

/// Why [`Tls::open`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing to do until more bytes arrive after what is left in the input.
    More,
    /// `plain` is full; the input starts with a whole record.
    Full,
    /// The handshake has just been finished; there may be more in the input, so call again. Comes once.
    Handshaken(Agreed),
    /// The peer has closed its direction cleanly; the input has been emptied, and so it will be from now on.
    PeerClosed,
}

/// The parameters that a handshake has agreed on; not kept afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: &'static str,
    /// The name of the key exchange, for example `X25519MLKEM768`. None was made by a resumed TLS 1.2 connection.
    pub key_exchange: Option<&'static str>,
    /// The application protocol.
    pub alpn: Option<&'static [u8]>,
    /// Did the client come back with a ticket?
    pub is_resumed: bool,
}

impl Agreed {
    pub fn is_tls13(&self) -> bool {
        self.version == "TLSv1_3"
    }
}

impl Tls {
    /// A connection that waits for its ClientHello.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Tls, CloseReason> {
        let session = RustlsSession::new(config).map_err(|_| CloseReason::TlsProtocol)?;
        Ok(Tls { stage: TlsStage::Session(Box::new(session)) })
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
        let opened = match &mut self.stage {
            TlsStage::Session(session) => session.open(input, plain, out, plain_max).map_err(Failure::from),
            TlsStage::Records(records) => records.open(input, plain, out, plain_max).map_err(Failure::Record),
            TlsStage::Failed(_) => return Err(CloseReason::TlsProtocol),
        };
        let opened = opened.and_then(|opened| match opened {
            Opened::Handshaken(_) => self.leave_rustls().map(|()| opened),
            _ => Ok(opened),
        });
        opened.map_err(|failure| {
            self.stage = TlsStage::Failed(failure);
            CloseReason::TlsProtocol
        })
    }

    /// After a handshake of TLS 1.3 the keys move to the record layer.
    fn leave_rustls(&mut self) -> Result<(), Failure> {
        if let TlsStage::Session(session) = &self.stage
            && session.may_leave()
        {
            let without_secrets = || Error::General("no traffic secrets for the record layer".into());
            self.stage = TlsStage::Records(session.leave().ok_or_else(without_secrets)?);
        }
        Ok(())
    }

    /// Encrypts slices as records and appends them to `out`. Small slices share a record. `scratch` is for TLS 1.2: it is
    /// empty before and after and never grows beyond one record.
    ///
    /// Legal after the handshake and before [`Tls::close_notify`]; else, and when the keys are used up, an error.
    pub fn seal<'p>(
        &mut self,
        plain: impl IntoIterator<Item = &'p [u8]>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        let is_sealed = match &mut self.stage {
            TlsStage::Session(session) => session.seal(plain, scratch, out),
            TlsStage::Records(records) => records.seal(plain, out),
            TlsStage::Failed(_) => false,
        };
        if is_sealed { Ok(()) } else { Err(CloseReason::TlsProtocol) }
    }

    /// Tells the peer that nothing more will come (RFC 8446 section 6.1); nothing is read after it. Once; does nothing
    /// before the end of the handshake or after a failure, where there is nothing to be cut short.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        match &mut self.stage {
            TlsStage::Session(session) => session.close_notify(out),
            TlsStage::Records(records) => records.close_notify(out),
            TlsStage::Failed(_) => {}
        }
    }

    pub fn is_handshaking(&self) -> bool {
        matches!(&self.stage, TlsStage::Session(session) if session.is_handshaking())
    }

    /// Has the handshake begun, with the ClientHello or a part of it in a record of its own, and not ended?
    pub fn is_amid_handshake(&self) -> bool {
        matches!(&self.stage, TlsStage::Session(session) if session.is_amid_handshake())
    }

    /// Has the peer sent close_notify, and we not yet? A socket that ends without it was cut
    /// ([`CloseReason::TlsTruncated`]), unless we had closed first.
    pub fn is_peer_closed(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_peer_closed(),
            TlsStage::Records(records) => records.is_peer_closed(),
            TlsStage::Failed(_) => false,
        }
    }

    /// Have we sent close_notify?
    pub fn is_closed(&self) -> bool {
        match &self.stage {
            TlsStage::Session(session) => session.is_closed(),
            TlsStage::Records(records) => records.is_closed(),
            TlsStage::Failed(_) => false,
        }
    }

    /// Can anything be sealed, close_notify at least?
    pub fn is_open(&self) -> bool {
        !self.is_handshaking() && !self.is_closed() && self.failure().is_none()
    }

    /// The cause of the failure, for the log.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.stage {
            TlsStage::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Everything that a connection in the record layer is, for another process to go on from; `None` for the others.
    pub fn to_bytes(&self) -> Option<State> {
        match &self.stage {
            TlsStage::Records(records) => Some(records.to_bytes()),
            _ => None,
        }
    }

    /// The connection that [`Tls::to_bytes`] has written down; `None` if these are no such bytes.
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Option<Tls> {
        Some(Tls { stage: TlsStage::Records(Records::from_bytes(bytes)?) })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Session(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Session(error) => error.fmt(f),
            Failure::Record(fault) => fault.fmt(f),
        }
    }
}
