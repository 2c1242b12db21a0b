//! One client's connection as two streams of bytes: what it wants to say, and what it has heard.

use std::io;

use tidegate::driver::sim::{Endpoint, ReadOutcome};

pub struct Line {
    endpoint: Endpoint,
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
    Broken(io::ErrorKind),
}

impl Line {
    pub fn new(endpoint: Endpoint) -> Line {
        Line { endpoint, outgoing: Vec::new(), incoming: Vec::new(), end: None }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Moves bytes: as many as fit out, one read in. Calm clients read whenever they are polled.
    pub fn poll(&mut self) {
        let count = self.endpoint.write(&self.outgoing);
        self.outgoing.drain(..count);
        if self.end.is_none() {
            self.end = match self.endpoint.read(&mut self.incoming) {
                ReadOutcome::Bytes(_) | ReadOutcome::Pending => None,
                ReadOutcome::End => Some(End::Finished),
                ReadOutcome::Broken(kind) => Some(End::Broken(kind)),
            };
        }
    }

    /// True if everything that was said is on its way.
    pub fn has_said_all(&self) -> bool {
        self.outgoing.is_empty()
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
