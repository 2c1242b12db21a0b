//! The framing with which a body is passed on: its own, or that which its reader understands.

use super::body::Framing;
use super::chunk::Streaming;

/// How a body is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// As it is: there is none, or its length is announced.
    Bare,
    Streamed(Streaming),
}

impl Framed {
    /// Appends a piece of the body.
    pub fn write(self, out: &mut Vec<u8>, piece: &[u8]) {
        match self {
            Framed::Bare => out.extend_from_slice(piece),
            Framed::Streamed(streaming) => streaming.copy(out, piece),
        }
    }

    /// The bytes that end the body.
    pub fn end(self) -> &'static [u8] {
        match self {
            Framed::Bare => b"",
            Framed::Streamed(streaming) => streaming.end(),
        }
    }

    /// How a request's body reaches the upstream.
    pub fn of_request(framing: Framing) -> Framed {
        match framing {
            Framing::Chunked | Framing::UntilEnd => Framed::Streamed(Streaming::Chunked),
            Framing::None | Framing::Length(_) => Framed::Bare,
        }
    }
}
