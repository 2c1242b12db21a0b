//! One client's connection as two streams of bytes: what it wants to say, and what it has heard.

use std::io;

use tidegate::driver::sim::{Endpoint, ReadOutcome};

use crate::deed::Deed;
use crate::tls::Tls;

pub struct Line {
    endpoint: Endpoint,
    /// Boxed: most lines have none.
    tls: Option<Box<Tls>>,
    outgoing: Vec<u8>,
    /// Heard and not taken yet.
    pub incoming: Vec<u8>,
    /// Set once nothing more will come.
    pub end: Option<End>,
}

/// How a connection ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side ended its direction; all that it had sent was heard.
    Finished,
    /// The same, but TLS was not ended before: something may be missing.
    Truncated,
    Broken(io::ErrorKind),
}

impl Line {
    pub fn new(endpoint: Endpoint) -> Line {
        Line { endpoint, tls: None, outgoing: Vec::new(), incoming: Vec::new(), end: None }
    }

    pub fn with_tls(endpoint: Endpoint, tls: Tls) -> Line {
        endpoint.conceal();
        Line { tls: Some(Box::new(tls)), ..Line::new(endpoint) }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        if self.deed().is_none() {
            self.outgoing.extend_from_slice(bytes);
        }
    }

    /// Moves bytes: as many as fit out, one read in. Calm clients read whenever they are polled.
    pub fn poll(&mut self) {
        self.write();
        if self.end.is_none() {
            self.end = match self.read() {
                ReadOutcome::Bytes(_) | ReadOutcome::Pending => None,
                ReadOutcome::End if self.is_cut_short() => Some(End::Truncated),
                ReadOutcome::End => Some(End::Finished),
                ReadOutcome::Broken(kind) => Some(End::Broken(kind)),
            };
        }
    }

    fn write(&mut self) {
        let Some(tls) = &mut self.tls else {
            let count = self.endpoint.write(&self.outgoing);
            self.outgoing.drain(..count);
            return;
        };
        tls.seal(&mut self.outgoing);
        let count = self.endpoint.write(&tls.wire);
        tls.wire.drain(..count);
        if tls.deed() == Some(Deed::Cut) && tls.wire.is_empty() {
            self.endpoint.shutdown_write();
        }
    }

    fn read(&mut self) -> ReadOutcome {
        let Some(tls) = &mut self.tls else { return self.endpoint.read(&mut self.incoming) };
        let mut records = Vec::new();
        let outcome = self.endpoint.read(&mut records);
        let before = self.incoming.len();
        tls.open(&records, &mut self.incoming);
        self.endpoint.note(&self.incoming[before..]);
        outcome
    }

    fn is_cut_short(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| !tls.is_peer_closed())
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What a TLS client has done, after which it says nothing more.
    pub fn deed(&self) -> Option<Deed> {
        self.tls.as_ref().and_then(|tls| tls.deed())
    }

    /// Does something to its TLS; see [`Tls::act`].
    pub fn act(&mut self, deed: Deed, filler: &[u8]) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.act(deed, filler))
    }

    /// Asks for new keys; see [`Tls::update_keys`].
    pub fn update_keys(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.update_keys())
    }

    /// It has asked the other side to update its keys, and heard no KeyUpdate since.
    pub fn awaits_key_update(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.awaits_key_update())
    }

    /// Aborts the connection: what is in flight may be lost.
    pub fn reset(self) {
        self.endpoint.reset();
    }

    /// True if everything that was said is on its way.
    pub fn has_said_all(&self) -> bool {
        self.outgoing.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
    }

    /// Takes what has been heard up to and without `mark`, and the mark itself.
    pub fn take_until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        let at = self.incoming.windows(mark.len()).position(|window| window == mark)?;
        let mut taken = self.take(at + mark.len())?;
        taken.truncate(at);
        Some(taken)
    }

    /// Takes `count` bytes, if so many have been heard.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        (self.incoming.len() >= count).then(|| self.incoming.drain(..count).collect())
    }
}
