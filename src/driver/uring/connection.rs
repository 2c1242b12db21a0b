//! One connection: what is armed for it, what came that nobody asked for, what is being sent.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use super::send::Sending;
use crate::driver::socket;

pub struct Connection {
    /// `None` once nothing is armed after `close`, until `Closed` is delivered.
    pub socket: Option<OwnedFd>,
    /// `close` was called.
    pub closing: bool,
    /// An outstanding `recv` that no queued completion answers yet.
    pub asked: bool,
    pub receiving: Armed,
    pub stash: Stash,
    pub sending: Option<Sending>,
    /// `shutdown` waits for the batch.
    pub shutdown_follows: bool,
}

/// A submission that completes many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    No,
    Yes,
    /// Its cancellation is on the way; ends, like all, with a completion that says so.
    Ending,
}

/// What the kernel delivered before anybody asked for it: bytes, then perhaps the end.
#[derive(Default)]
pub struct Stash {
    // Boxed, because nearly every connection has none.
    #[expect(clippy::box_collection)]
    chunks: Option<Box<VecDeque<Vec<u8>>>>,
    end: Option<Result<(), io::ErrorKind>>,
}

pub enum Stashed {
    Bytes(Vec<u8>),
    End(Result<(), io::ErrorKind>),
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket: Some(socket),
            closing: false,
            asked: false,
            receiving: Armed::No,
            stash: Stash::default(),
            sending: None,
            shutdown_follows: false,
        }
    }

    /// Closed by the caller, and the kernel has nothing of it any more.
    pub fn is_settled(&self) -> bool {
        self.closing && self.receiving == Armed::No && self.sending.is_none()
    }

    pub fn end_sending_half(&mut self) {
        match (&self.sending, &self.socket) {
            (Some(_), _) => self.shutdown_follows = true,
            (None, Some(socket)) => socket::shutdown(socket, Shutdown::Write),
            (None, None) => {}
        }
    }
}

impl Stash {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_none() && self.end.is_none()
    }

    /// Appends a copy of `bytes` in chunks of `chunk_bytes` at most; returns how many bytes there are now, roughly.
    pub fn push(&mut self, bytes: &[u8], chunk_bytes: usize) -> usize {
        let chunks = self.chunks.get_or_insert_default();
        match chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= chunk_bytes => last.extend_from_slice(bytes),
            _ => chunks.push_back(bytes.to_vec()),
        }
        chunks.iter().map(Vec::len).sum()
    }

    pub fn push_end(&mut self, end: Result<(), io::ErrorKind>) {
        self.end = Some(end);
    }

    /// The next chunk; after the last one, the end, which stays.
    pub fn pop(&mut self) -> Option<Stashed> {
        let Some(chunks) = &mut self.chunks else {
            return self.end.map(Stashed::End);
        };
        let chunk = chunks.pop_front();
        if chunks.is_empty() {
            self.chunks = None;
        }
        chunk.map(Stashed::Bytes)
    }

    pub fn clear(&mut self) {
        *self = Stash::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stash_keeps_order_and_merges_small_pieces() {
        let mut stash = Stash::default();
        assert!(stash.is_empty() && stash.pop().is_none());
        assert_eq!(stash.push(b"ab", 4), 2);
        assert_eq!(stash.push(b"cd", 4), 4);
        assert_eq!(stash.push(b"e", 4), 5);
        stash.push_end(Ok(()));
        assert!(matches!(stash.pop(), Some(Stashed::Bytes(bytes)) if bytes == b"abcd"));
        assert!(matches!(stash.pop(), Some(Stashed::Bytes(bytes)) if bytes == b"e"));
        assert!(matches!(stash.pop(), Some(Stashed::End(Ok(())))));
        assert!(matches!(stash.pop(), Some(Stashed::End(Ok(())))), "the end stays the end");
        stash.clear();
        assert!(stash.is_empty());
    }
}
