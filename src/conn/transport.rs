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

const _: () = assert!(size_of::<Transport>() == size_of::<usize>(), "a plain connection pays one word for TLS");

pub struct TlsTransport {
    tls: Tls,
    /// What most connections have none of most of the time.
    waiting: Option<Box<Waiting>>,
}

const _: () = assert!(size_of::<TlsTransport>() <= 224, "all the TLS state of an idle connection, in one allocation");

/// Bytes between two turns.
#[derive(Default)]
struct Waiting {
    /// Sealed already, or sent in the clear: the handshake's messages, alerts, tickets. Goes out before what is sealed later.
    wire: Vec<u8>,
    /// Plaintext that is no whole message yet.
    plain: Carry,
}

impl Transport {
    pub fn tls(config: &Arc<ServerConfig>) -> Result<Transport, CloseReason> {
        Ok(Transport::Tls(Box::new(TlsTransport { tls: Tls::new(config)?, waiting: None })))
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
            Transport::Tls(tls) => tls.tls.is_peer_closed() || tls.tls.is_closed(),
        }
    }

    /// Bytes wait that do not come from the outbox.
    pub fn has_output(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Tls(tls) => tls.waiting.as_ref().is_some_and(|waiting| !waiting.wire.is_empty()),
        }
    }

    /// close_notify can be said, and has not been.
    pub fn owes_close_notify(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Tls(tls) => tls.tls.is_open(),
        }
    }
}

impl TlsTransport {
    /// Opens records off the front of `input`; their plaintext is appended to `plain`.
    pub fn open(&mut self, input: &mut &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, CloseReason> {
        let TlsTransport { tls, waiting } = self;
        let mut wire = waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.wire)).unwrap_or_default();
        let opened = tls.open(input, plain, &mut wire, limits::RECEIVE_BYTES);
        if !wire.is_empty() {
            waiting.get_or_insert_default().wire = wire;
        }
        opened
    }

    /// Puts the plaintext that was kept into `plain`, which is empty.
    pub fn take_plain(&mut self, plain: &mut Vec<u8>) {
        let carried = self.waiting.as_mut().and_then(|waiting| waiting.plain.take_joined(&[]));
        if let Some(carried) = carried {
            plain.extend_from_slice(&carried);
        }
        self.tidy();
    }

    /// Keeps plaintext that is no whole message yet.
    pub fn keep_plain(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.waiting.get_or_insert_default().plain.keep(rest);
        }
    }

    /// Appends to `sealed`: what waits on the wire, the records of `plain`, and close_notify if `is_last`.
    pub fn seal(
        &mut self,
        plain: Option<&Batch>,
        is_last: bool,
        scratch: &mut Vec<u8>,
        sealed: &mut Batch,
    ) -> Result<(), CloseReason> {
        let TlsTransport { tls, waiting } = self;
        let mut outcome = Ok(());
        sealed.extend_with(|out| {
            if let Some(waiting) = waiting {
                out.append(&mut waiting.wire);
            }
            if let Some(plain) = plain.filter(|_| !tls.is_handshaking()) {
                outcome = tls.seal(plain.slices(), scratch, out);
            }
            if is_last {
                tls.close_notify(out);
            }
        });
        self.tidy();
        outcome
    }

    /// The handshake's messages are kilobytes; an idle connection keeps nothing of that.
    fn tidy(&mut self) {
        self.waiting.take_if(|waiting| waiting.wire.is_empty() && waiting.plain.is_empty());
    }
}
