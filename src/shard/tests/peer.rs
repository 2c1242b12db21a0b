//! A client without manners: it says and hears bytes.

use super::*;
use crate::proto::http::{Body, BodyStep, Framing};

pub(super) struct Peer {
    pub end: Endpoint,
    pub heard: Vec<u8>,
    /// Of a stream that comes in chunks.
    chunks: Option<Body>,
}

impl Peer {
    pub(super) fn new(end: Endpoint) -> Peer {
        Peer { end, heard: Vec::new(), chunks: None }
    }

    pub(super) fn say(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        assert_eq!(self.end.write(bytes), bytes.len(), "it fits");
    }

    /// What has arrived since it was asked last; of a stream in chunks what is in them.
    pub(super) fn hear(&mut self) -> String {
        while matches!(self.end.read(&mut self.heard), ReadOutcome::Bytes(_)) {}
        let mut heard = String::new();
        if self.chunks.is_none()
            && let Some(head_len) = memchr::memmem::find(&self.heard, b"\r\n\r\n").map(|at| at + 4)
        {
            let head: Vec<u8> = self.heard.drain(..head_len).collect();
            heard.push_str(&String::from_utf8_lossy(&head));
            if heard.contains("\r\nTransfer-Encoding: chunked\r\n") {
                self.chunks = Body::new(Framing::Chunked, u64::MAX).ok();
            }
        }
        let Some(chunks) = &mut self.chunks else {
            return heard + &String::from_utf8_lossy(&std::mem::take(&mut self.heard));
        };
        let (mut input, mut body) = (&mut self.heard[..], Vec::new());
        while let BodyStep::Data(data) = chunks.next(&mut input).expect("well-formed chunks") {
            body.extend_from_slice(data);
        }
        self.heard = input.to_vec();
        heard + &String::from_utf8_lossy(&body)
    }

    /// The bytes that have arrived since the last call, as they came.
    pub(super) fn hear_bytes(&mut self) -> Vec<u8> {
        while matches!(self.end.read(&mut self.heard), ReadOutcome::Bytes(_)) {}
        std::mem::take(&mut self.heard)
    }

    /// Whether the gateway has ended its half, all that came before being heard.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.hear();
        !self.end.is_open()
    }

    /// Whether its stream has ended as one that was not cut.
    pub(super) fn has_last_chunk(&mut self) -> bool {
        self.hear();
        let chunks = self.chunks.as_mut().expect("a stream in chunks");
        matches!(chunks.next(&mut &mut [][..]), Ok(BodyStep::End))
    }
}
