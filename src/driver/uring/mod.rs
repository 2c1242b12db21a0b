//! The driver over io_uring: one ring tells what is readable, and takes the sends of a turn in one go.
//!
//! ```text
//! attach, recv -> multishot poll, armed once --.
//! listen -------> multishot poll --------------+--> completion queue --> digest --> readable, backlog: see `sockets`
//! connect ------> a poll that reports once ----+                           |--> SO_ERROR --> Connected
//! send ---------> one submission a batch ------'                           '--> rest? again : Sent
//! ```
//!
//! Receives are system calls and not submissions: an armed receive costs the kernel 864 bytes a connection (request
//! 256, message header 512, poll 96), an armed poll 256, and reading bytes that are known to be there is equally fast.
//! So both kernel drivers read alike, and this one differs in how it learns of readiness and how it sends.
//!
//! A completion is digested when no other work is ready, so a busy shard leaves the rest in the completion queue. If
//! that overflows, the kernel keeps the rest (IORING_FEAT_NODROP), and each enter fetches more.
//!
//! The owners of the memory that the kernel uses:
//!
//! - a batch that is sent, and the header that describes it, stay with the connection until the completion has come; a
//!   slot is not settled, and `Closed` not delivered, before;
//! - a poll names no memory: its completion may come after `Closed`, and then finds no connection;
//! - a driver that is dropped cancels everything and waits for the completions; memory whose completion does not come is
//!   leaked, with a word in the log.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, Fd};

mod digest;
mod probe;
mod ring;
mod send;

pub use probe::probe;

use super::attached::{ConnectionRecord, Flag};
use super::clock::Clock;
use super::dial;
use super::socket::ListeningSocket;
use super::sockets::{Ready, Sockets};
use super::{Completion, Driver, ListenerId, Remote, Waker};
use crate::base::{Batch, Fold, InFlight, Key, TcpFacts, Tick};
use crate::limits;
use ring::{Op, Ring};
use send::SendmsgHeader;

/// Sizes of a [`UringDriver`]; small ones are for tests.
#[derive(Clone, Debug)]
pub struct UringOptions {
    /// Submission entries; the kernel rounds up to a power of two.
    pub submissions: u32,
    /// Completion entries, no fewer than submissions.
    pub completions: u32,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        UringOptions { submissions: limits::URING_SUBMISSIONS, completions: limits::URING_COMPLETIONS }
    }
}

pub struct UringDriver {
    clock: Clock,
    waker: Waker,
    ring: Ring,
    sockets: Sockets,
    is_kernels_turn: bool,
    /// By slot: the headers of batches in flight with several slices. Most batches have one slice and need no header.
    messages: AHashMap<u32, Box<SendmsgHeader>>,
    /// Headers for reuse.
    #[expect(clippy::vec_box, reason = "the kernel knows their addresses")]
    spare_messages: Vec<Box<SendmsgHeader>>,
}

/// What the kernel holds of one connection.
#[derive(Clone, Copy)]
struct Armed {
    is_watched: bool,
    is_sending: bool,
    is_dialling: bool,
}

impl Armed {
    fn of(connection: &ConnectionRecord) -> Armed {
        Armed {
            is_watched: connection.is(Flag::Watched),
            is_sending: connection.is_sending(),
            is_dialling: connection.is_dialling(),
        }
    }
}

impl UringDriver {
    /// Must be called in the thread that will use it. All drivers of a process get the same clock and the same `fold`.
    pub fn new(waker: Waker, clock: Clock, fold: Arc<Fold>, options: &UringOptions) -> io::Result<UringDriver> {
        let mut driver = UringDriver {
            clock,
            waker,
            ring: Ring::new(options)?,
            sockets: Sockets::new(fold),
            is_kernels_turn: false,
            messages: AHashMap::new(),
            spare_messages: Vec::new(),
        };
        driver.watch_waker()?;
        Ok(driver)
    }

    // --- what is told by polls ---------------------------------------------------------------------------------------

    fn watch(&mut self, op: Op, value: u64, fd: i32, events: i16) {
        let entry = opcode::PollAdd::new(Fd(fd), events as u32).multi(true).build();
        // SAFETY: a poll names no memory.
        unsafe { self.ring.push(op, value, entry) };
    }

    fn watch_waker(&mut self) -> io::Result<()> {
        let fd = self.waker.raw_fd().ok_or_else(|| io::Error::other("io_uring needs a waker with a descriptor"))?;
        self.watch(Op::Wake, 0, fd, libc::POLLIN);
        Ok(())
    }

    fn watch_listener(&mut self, index: usize) {
        let fd = self.sockets.listeners[index].listener.raw_fd();
        self.watch(Op::Accept, index as u64, fd, libc::POLLIN);
    }

    /// Makes the kernel watch a connection whose readiness is awaited.
    fn watch_connection(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        let waits = connection.is(Flag::Asked) && !connection.is(Flag::Readable);
        if waits
            && !connection.is(Flag::Watched)
            && let Some(fd) = connection.fd()
        {
            connection.set(Flag::Watched);
            self.watch(Op::Readable, key.to_bits(), fd, libc::POLLIN | libc::POLLRDHUP);
        }
    }

    /// Closes, now or when the kernel has released the batch that it sends: `end_sending` makes it do so.
    fn close_with(&mut self, key: Key, end_sending: fn(&ConnectionRecord)) {
        let connection = self.sockets.connections.expect(key);
        assert!(!connection.is(Flag::Closing), "{key:?} closed twice");
        connection.set(Flag::Closing);
        connection.clear(Flag::Asked);
        let armed = Armed::of(connection);
        if armed.is_sending {
            end_sending(connection);
        } else {
            connection.socket = None;
            self.sockets.ready.push_back(Ready::Closed(key));
        }
        self.cancel_armed(key, armed);
    }

    /// By user data and not by descriptor: the kernel finds the user data in a hash, but for a descriptor it checks
    /// every request.
    fn cancel_armed(&mut self, key: Key, armed: Armed) {
        let Armed { is_watched, is_sending, is_dialling } = armed;
        for (op, is_armed) in [(Op::Readable, is_watched), (Op::Send, is_sending), (Op::Connect, is_dialling)] {
            if is_armed {
                self.cancel(CancelBuilder::user_data(op.user_data(key.to_bits())));
            }
        }
    }

    fn cancel(&mut self, what: CancelBuilder) {
        // Cancelled operations complete by themselves.
        let entry = opcode::AsyncCancel2::new(what).build().flags(Flags::SKIP_SUCCESS);
        // SAFETY: a cancellation names no memory.
        unsafe { self.ring.push(Op::Cancel, 0, entry) };
    }

    /// Submits the rest of the connection's batch.
    fn send_on(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        let (Some(batch), Some(socket)) = (&connection.batch, &connection.socket) else { return };
        let fd = Fd(socket.as_raw_fd());
        let entry = send::one_slice(fd, batch).unwrap_or_else(|| {
            let spare = || self.spare_messages.pop().unwrap_or_else(SendmsgHeader::new);
            self.messages.entry(key.slot).or_insert_with(spare).entry(fd, batch)
        });
        // SAFETY: batch and message stay where they are, untouched, until `on_sent` takes the completion.
        unsafe { self.ring.push(Op::Send, key.to_bits(), entry) };
    }
}

impl Driver for UringDriver {
    type Socket = OwnedFd;
    type Listener = ListeningSocket;

    fn wait(&mut self, deadline: Tick) -> io::Result<Tick> {
        self.sockets.begin_turn();
        loop {
            let timeout = match deadline {
                _ if !self.sockets.ready.is_empty() || self.ring.has_completions() => Some(Duration::ZERO),
                Tick::NEVER => None,
                _ => Some(deadline.since(self.now())),
            };
            self.ring.enter(timeout)?;
            // Not every completion of the kernel is one of the driver.
            while self.sockets.ready.is_empty()
                && let Some(done) = self.ring.pop()
            {
                let ready = self.digest(done);
                self.sockets.ready.extend(ready);
            }
            let now = self.now();
            if !self.sockets.ready.is_empty() || now >= deadline {
                return Ok(now);
            }
        }
    }

    fn now(&self) -> Tick {
        self.clock.now()
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        loop {
            let ready = self.next_ready()?;
            if let Some(outcome) = self.sockets.carry_out(ready) {
                return Some(self.sockets.completion(outcome));
            }
            if let Ready::Receive(key) = ready {
                self.watch_connection(key);
            }
        }
    }

    fn listen(&mut self, id: ListenerId, listener: ListeningSocket) -> io::Result<()> {
        let index = self.sockets.listen(id, listener)?;
        self.watch_listener(index);
        Ok(())
    }

    fn pause_accept(&mut self, id: ListenerId) {
        self.sockets.pause_accept(id);
    }

    fn resume_accept(&mut self, id: ListenerId) {
        self.sockets.resume_accept(id);
    }

    fn unlisten(&mut self, id: ListenerId) {
        self.sockets.unlisten(id);
    }

    fn attach(&mut self, socket: OwnedFd, key: Key) {
        self.sockets.connections.insert(key, socket);
    }

    fn connect(&mut self, to: &Remote, from: Option<IpAddr>, key: Key) {
        let begun = dial::begin(to, from);
        if let Some(fd) = self.sockets.dial(key, begun, self.clock.now()) {
            let entry = opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).build();
            // SAFETY: a poll names no memory.
            unsafe { self.ring.push(Op::Connect, key.to_bits(), entry) };
        }
    }

    fn recv(&mut self, key: Key) {
        self.sockets.recv(key);
        self.watch_connection(key);
    }

    fn send(&mut self, key: Key, batch: Box<Batch>) {
        let connection = self.sockets.connections.expect(key);
        assert!(connection.may_send(), "send of {key:?} while closing, outstanding or not connected");
        let is_empty = batch.is_empty();
        connection.batch = Some(batch);
        if is_empty {
            connection.set(Flag::Sent);
            self.sockets.ready.push_back(Ready::Sent(key, Ok(())));
        } else {
            self.send_on(key);
        }
    }

    fn shutdown(&mut self, key: Key) {
        self.sockets.connections.expect(key).end_sending_half();
    }

    fn close(&mut self, key: Key) {
        self.close_with(key, ConnectionRecord::end_sending);
    }

    fn abort(&mut self, key: Key) {
        self.sockets.connections.expect(key).reset_at_close();
        self.close_with(key, ConnectionRecord::reset);
    }

    fn keep_alive(&mut self, key: Key) {
        self.sockets.keep_alive(key);
    }

    fn taken(&mut self, key: Key) -> u32 {
        self.sockets.taken(key)
    }

    fn facts(&mut self, key: Key) -> Option<TcpFacts> {
        self.sockets.facts(key)
    }

    fn weigh(&mut self, key: Key) -> InFlight {
        self.sockets.weigh(key)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// How long a dropped driver waits for the kernel to release its memory; cancelling takes microseconds.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

impl UringDriver {
    /// By turns what was queued here and what the kernel has completed: sockets that always have more queue here again and
    /// again, and a kernel's completion that waited for an empty queue would wait as long as they do.
    fn next_ready(&mut self) -> Option<Ready> {
        self.is_kernels_turn = !self.is_kernels_turn;
        if !self.is_kernels_turn && !self.sockets.ready.is_empty() {
            return self.sockets.ready.pop_front();
        }
        while let Some(done) = self.ring.pop() {
            let ready = self.digest(done);
            if ready.is_some() {
                return ready;
            }
        }
        self.sockets.ready.pop_front()
    }
    /// Makes the kernel release everything. By user data, one cancellation for each request: for a single cancellation of
    /// all, the kernel would walk through all requests for each one.
    fn cancel_all(&mut self) {
        let armed: Vec<(Key, Armed)> =
            self.sockets.connections.iter().map(|(key, connection)| (key, Armed::of(connection))).collect();
        for (key, armed) in armed {
            if armed.is_sending {
                self.sockets.connections.expect(key).end_sending();
            }
            self.cancel_armed(key, armed);
        }
        for index in 0..self.sockets.listeners.len() {
            self.cancel(CancelBuilder::user_data(Op::Accept.user_data(index as u64)));
        }
        self.cancel(CancelBuilder::user_data(Op::Wake.user_data(0)));
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        let began = Instant::now();
        self.cancel_all();
        while self.ring.in_flight() > 0 && began.elapsed() < DROP_PATIENCE {
            if self.ring.enter(Some(Duration::from_millis(1))).is_err() {
                break;
            }
            while self.ring.pop().is_some() {}
        }
        if self.ring.in_flight() > 0 {
            log::error!("io_uring still holds {} operations; their memory is leaked", self.ring.in_flight());
            self.sockets.connections.drain().for_each(std::mem::forget);
            std::mem::forget(std::mem::take(&mut self.messages));
        }
    }
}
