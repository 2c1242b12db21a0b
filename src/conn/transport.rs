//! What lies between the wire and the phase: nothing, or TLS.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::base::{Batch, Carry};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::tls::{Opened, Tls};

pub enum Transport {
    Plain,
    Tls(Box<TlsTransport>),
}

pub struct TlsTransport {
    tls: Tls,
    /// Sealed already, or sent in the clear: the handshake's messages, alerts, tickets. Goes out before what is sealed later.
    wire: Vec<u8>,
    /// Plaintext that is no whole message yet.
    pub plain: Carry,
    is_close_sent: bool,
}

impl Transport {
    pub fn tls(config: &Arc<ServerConfig>) -> Result<Transport, CloseReason> {
        let tls = Tls::new(config)?;
        Ok(Transport::Tls(Box::new(TlsTransport { tls, wire: Vec::new(), plain: Carry::new(), is_close_sent: false })))
    }

    pub fn is_handshaking(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Tls(tls) => tls.tls.is_handshaking(),
        }
    }

    /// Whether the socket may end here without a word.
    pub fn may_end(&self) -> bool {
        match self {
            Transport::Plain => true,
            Transport::Tls(tls) => tls.tls.is_peer_closed() || tls.is_close_sent,
        }
    }

    /// Bytes wait that do not come from the outbox.
    pub fn has_output(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Tls(tls) => !tls.wire.is_empty(),
        }
    }

    pub fn owes_close_notify(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Tls(tls) => !tls.is_close_sent,
        }
    }
}

impl TlsTransport {
    /// Opens records off the front of `input`; their plaintext is appended to `plain`.
    pub fn open(&mut self, input: &mut &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, CloseReason> {
        self.tls.open(input, plain, &mut self.wire, limits::RECEIVE_BYTES)
    }

    /// Appends to `sealed`: what waits on the wire, the records of `plain`, and close_notify if `is_last`.
    pub fn seal(
        &mut self,
        plain: Option<&Batch>,
        is_last: bool,
        scratch: &mut Vec<u8>,
        sealed: &mut Batch,
    ) -> Result<(), CloseReason> {
        let TlsTransport { tls, wire, is_close_sent, .. } = self;
        let mut outcome = Ok(());
        sealed.extend_with(|out| {
            out.append(wire);
            if let Some(plain) = plain.filter(|_| !tls.is_handshaking()) {
                outcome = tls.seal(plain.slices(), scratch, out);
            }
            if is_last && !*is_close_sent {
                *is_close_sent = true;
                tls.close_notify(out);
            }
        });
        // The handshake's messages are kilobytes; an idle connection keeps none of that.
        *wire = Vec::new();
        outcome
    }
}
