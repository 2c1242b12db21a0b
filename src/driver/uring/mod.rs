//! The driver over io_uring: submissions of a turn go in together, completions come out of one queue.
//!
//! ```text
//! recv -> stash? ----------------------------.
//!           '-> multishot receive, armed once |      send -> one submission a batch (Send or SendMsg)
//!                 | fills a provided buffer   v                     |
//! kernel ---> completion queue ---> digest ---> ready ---> next     '--> completion -> rest? again : Sent
//!                                     '-> nobody asked: copied to the stash, buffer goes back at once;
//!                                         a stash of a buffer's size cancels the receive: back-pressure
//! ```
//!
//! An idle connection holds no buffer, only its armed receive. A completion is digested when `ready` is empty, so a
//! busy shard leaves the rest where it is, in the completion queue; if that overflows, the kernel keeps the rest
//! (IORING_FEAT_NODROP) and each enter asks for it.
//!
//! Who owns the memory that the kernel uses:
//!
//! - a batch that is sent, and the header that describes it, belong to `Sending` until the completion has come; a slot
//!   is not settled, and `Closed` not delivered, before;
//! - provided buffers belong to `Buffers`, which outlives the ring;
//! - a driver that is dropped cancels everything and waits for the completions; memory whose completion does not come is
//!   leaked, with a word in the log.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, Fd};

mod accept;
mod buffers;
mod connection;
mod digest;
mod probe;
mod ring;
mod send;

pub use probe::probe;

use super::attached::Attached;
use super::socket::Listener;
use super::{Completion, Driver, ListenerId, Waker};
use crate::base::{Batch, Key, Tick};
use crate::limits;
use accept::{Listening, accepted};
use buffers::Buffers;
use connection::{Armed, Connection, Stashed};
use ring::{Op, Ring};
use send::{Message, Sending};

/// Sizes of a [`UringDriver`]; small ones are for tests.
#[derive(Clone, Debug)]
pub struct UringOptions {
    /// Submission entries; the kernel rounds up to a power of two.
    pub submissions: u32,
    /// Completion entries, no fewer than submissions.
    pub completions: u32,
    /// Provided buffers, a power of two.
    pub buffers: u16,
    pub buffer_bytes: usize,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        UringOptions {
            submissions: limits::URING_SUBMISSIONS,
            completions: limits::URING_COMPLETIONS,
            buffers: limits::URING_BUFFERS,
            buffer_bytes: limits::URING_BUFFER_BYTES,
        }
    }
}

pub struct UringDriver {
    started: Instant,
    waker: Waker,
    ring: Ring,
    buffers: Buffers,
    connections: Attached<Connection>,
    listeners: Vec<Listening>,
    ready: VecDeque<Ready>,
    /// What the last `Received` has lent to the caller, one or the other.
    lent_buffer: Option<u16>,
    lent_chunk: Vec<u8>,
    /// Headers for the next batches of several slices.
    #[expect(clippy::vec_box, reason = "the kernel knows their addresses")]
    messages: Vec<Box<Message>>,
}

/// What `next` delivers, unless `close` or `pause_accept` came in between.
enum Ready {
    Received(Key, u16, usize),
    /// Taken from a stash.
    Chunk(Key, Vec<u8>),
    /// The connection is asked and its stash is not empty.
    Stashed(Key),
    Finished(Key, Result<(), io::ErrorKind>),
    Sent(Key, Box<Batch>, Result<(), io::ErrorKind>),
    Closed(Key),
    /// The listener's index.
    Accepted(usize, OwnedFd, SocketAddr),
    AcceptFailed(usize, io::Error),
    Woken,
}

impl UringDriver {
    /// To be called in the thread that will use it. `started` is when the clock of the process began; all its drivers
    /// are given the same.
    pub fn new(waker: Waker, started: Instant, options: &UringOptions) -> io::Result<UringDriver> {
        let ring = Ring::new(options)?;
        let buffers = Buffers::new(options.buffers, options.buffer_bytes)?;
        buffers.register(&ring.submitter())?;
        let mut driver = UringDriver {
            started,
            waker,
            ring,
            buffers,
            connections: Attached::new(),
            listeners: Vec::new(),
            ready: VecDeque::new(),
            lent_buffer: None,
            lent_chunk: Vec::new(),
            messages: Vec::new(),
        };
        driver.arm_waker()?;
        Ok(driver)
    }

    fn arm_waker(&mut self) -> io::Result<()> {
        let fd = self.waker.raw_fd().ok_or_else(|| io::Error::other("io_uring needs a waker with a descriptor"))?;
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build();
        // SAFETY: a poll names no memory.
        unsafe { self.ring.push(Op::Wake, 0, entry) };
        Ok(())
    }

    fn arm_accept(&mut self, index: usize) {
        let listening = &mut self.listeners[index];
        listening.accepting = Armed::Yes;
        let entry = opcode::AcceptMulti::new(Fd(listening.listener.raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: a multishot accept names no memory.
        unsafe { self.ring.push(Op::Accept, index as u64, entry) };
    }

    fn arm_receive(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        let Some(socket) = &connection.socket else { return };
        connection.receiving = Armed::Yes;
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), buffers::GROUP).build();
        // SAFETY: the kernel writes to provided buffers alone, which live as long as the ring.
        unsafe { self.ring.push(Op::Receive, key.to_bits(), entry) };
    }

    fn cancel(&mut self, what: CancelBuilder) {
        // What was cancelled says so itself.
        let entry = opcode::AsyncCancel2::new(what).build().flags(Flags::SKIP_SUCCESS);
        // SAFETY: a cancellation names no memory.
        unsafe { self.ring.push(Op::Cancel, 0, entry) };
    }

    /// Submits what the connection's batch has left.
    fn send_on(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        let (Some(sending), Some(socket)) = (&mut connection.sending, &connection.socket) else { return };
        let entry = sending.entry(socket.as_raw_fd(), || self.messages.pop().unwrap_or_else(Message::new));
        // SAFETY: batch and message stay in `connection.sending`, untouched, until `on_sent` takes the completion.
        unsafe { self.ring.push(Op::Send, key.to_bits(), entry) };
    }

    /// Lets through what is still wanted: not what `close` has revoked, nor sockets accepted before a pause took hold.
    fn admit(&mut self, ready: Ready) -> Option<Ready> {
        match ready {
            Ready::Received(key, buffer, _) if self.connections.expect(key).closing => {
                self.buffers.give_back(buffer);
                None
            }
            Ready::Finished(key, _) if self.connections.expect(key).closing => None,
            Ready::Stashed(key) => {
                // Closed since, and perhaps gone.
                let connection = self.connections.find(key).filter(|connection| connection.asked)?;
                connection.asked = false;
                Some(match connection.stash.pop()? {
                    Stashed::Bytes(chunk) => Ready::Chunk(key, chunk),
                    Stashed::End(end) => Ready::Finished(key, end),
                })
            }
            Ready::Accepted(index, socket, peer) if !self.listeners[index].is_open => {
                self.listeners[index].held.push((socket, peer));
                None
            }
            ready => Some(ready),
        }
    }

    fn complete(&mut self, ready: Ready) -> Completion<'_, OwnedFd> {
        match ready {
            Ready::Received(key, buffer, count) => {
                self.lent_buffer = Some(buffer);
                Completion::Received { key, bytes: self.buffers.bytes(buffer, count) }
            }
            Ready::Chunk(key, chunk) => {
                self.lent_chunk = chunk;
                Completion::Received { key, bytes: &mut self.lent_chunk }
            }
            Ready::Stashed(key) => unreachable!("the stash of {key:?} was not opened"),
            Ready::Finished(key, end) => Completion::Finished { key, end },
            Ready::Sent(key, batch, outcome) => Completion::Sent { key, batch, outcome },
            Ready::Closed(key) => {
                self.connections.remove(key);
                Completion::Closed { key }
            }
            Ready::Accepted(index, socket, peer) => {
                Completion::Accepted { listener: self.listeners[index].id, socket, peer }
            }
            Ready::AcceptFailed(index, error) => Completion::AcceptFailed { listener: self.listeners[index].id, error },
            Ready::Woken => Completion::Woken,
        }
    }

    fn take_back_lent(&mut self) {
        if let Some(buffer) = self.lent_buffer.take() {
            self.buffers.give_back(buffer);
        }
        self.lent_chunk = Vec::new();
    }

    fn index_of(&self, id: ListenerId) -> usize {
        let index = self.listeners.iter().position(|listening| listening.id == id);
        index.unwrap_or_else(|| panic!("{id:?} does not listen"))
    }
}

impl Driver for UringDriver {
    type Socket = OwnedFd;
    type Listener = Listener;

    fn wait(&mut self, deadline: Tick) -> io::Result<Tick> {
        loop {
            let timeout = match deadline {
                _ if !self.ready.is_empty() || self.ring.has_completions() => Some(Duration::ZERO),
                Tick::NEVER => None,
                _ => Some(deadline.since(self.now())),
            };
            self.ring.enter(timeout)?;
            // Not every completion of the kernel is one of ours.
            while self.ready.is_empty() && self.digest() {}
            let now = self.now();
            if !self.ready.is_empty() || now >= deadline {
                return Ok(now);
            }
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.started.elapsed()
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        self.take_back_lent();
        loop {
            let Some(ready) = self.ready.pop_front() else {
                if self.digest() {
                    continue;
                }
                return None;
            };
            if let Some(ready) = self.admit(ready) {
                return Some(self.complete(ready));
            }
        }
    }

    fn listen(&mut self, id: ListenerId, listener: Listener) -> io::Result<()> {
        listener.set_nonblocking(false)?;
        self.listeners.push(Listening::new(id, listener));
        self.arm_accept(self.listeners.len() - 1);
        Ok(())
    }

    fn pause_accept(&mut self, id: ListenerId) {
        let index = self.index_of(id);
        let listening = &mut self.listeners[index];
        listening.is_open = false;
        if listening.accepting == Armed::Yes {
            listening.accepting = Armed::Ending;
            self.cancel(CancelBuilder::user_data(Op::Accept.user_data(index as u64)));
        }
    }

    fn resume_accept(&mut self, id: ListenerId) {
        let index = self.index_of(id);
        let listening = &mut self.listeners[index];
        listening.is_open = true;
        for (socket, peer) in listening.held.drain(..) {
            self.ready.push_back(Ready::Accepted(index, socket, peer));
        }
        // One that is ending is armed again when it has ended.
        if listening.accepting == Armed::No {
            self.arm_accept(index);
        }
    }

    fn attach(&mut self, socket: OwnedFd, key: Key) {
        self.connections.insert(key, Connection::new(socket));
    }

    fn recv(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        assert!(!connection.closing && !connection.asked, "recv of {key:?} while closing or outstanding");
        connection.asked = true;
        if !connection.stash.is_empty() {
            self.ready.push_back(Ready::Stashed(key));
        } else if connection.receiving == Armed::No {
            self.arm_receive(key);
        }
    }

    fn send(&mut self, key: Key, batch: Box<Batch>) {
        let connection = self.connections.expect(key);
        assert!(!connection.closing && connection.sending.is_none(), "send of {key:?} while closing or outstanding");
        if batch.is_empty() {
            self.ready.push_back(Ready::Sent(key, batch, Ok(())));
            return;
        }
        connection.sending = Some(Sending { batch, message: None });
        self.send_on(key);
    }

    fn shutdown(&mut self, key: Key) {
        self.connections.expect(key).end_sending_half();
    }

    fn close(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        assert!(!connection.closing, "{key:?} closed twice");
        connection.closing = true;
        connection.asked = false;
        connection.stash.clear();
        let is_busy = connection.receiving != Armed::No || connection.sending.is_some();
        if let (true, Some(socket)) = (is_busy, &connection.socket) {
            let everything = CancelBuilder::fd(Fd(socket.as_raw_fd())).all();
            self.cancel(everything);
        }
        self.settle(key);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// How long a dropped driver waits for the kernel to let go; cancelling takes microseconds.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

impl Drop for UringDriver {
    fn drop(&mut self) {
        let began = Instant::now();
        while self.ring.in_flight() > 0 && began.elapsed() < DROP_PATIENCE {
            self.cancel(CancelBuilder::any());
            if self.ring.enter(Some(Duration::from_millis(1))).is_err() {
                break;
            }
            while let Some(done) = self.ring.pop() {
                if done.op == Op::Accept && done.result >= 0 {
                    drop(accepted(done));
                }
            }
        }
        if self.ring.in_flight() > 0 {
            log::error!("io_uring still holds {} operations; their memory is leaked", self.ring.in_flight());
            self.connections.drain().for_each(std::mem::forget);
            self.buffers.leak();
        }
    }
}
