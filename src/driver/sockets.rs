//! The common part of both kernel drivers. It reads and accepts once the kernel has reported readiness, and keeps the
//! work for `next`.
//!
//! ```text
//! recv -------> asked --.
//!                        >-- both --> Ready::Receive --> next: one read into the shared buffer --> Received
//! the kernel -> readable '
//! the kernel -> backlog  ---- open? -> Ready::Accept  --> next: one accept a call, ACCEPTS_PER_TURN a turn --> Accepted
//! connect ----> dialling --> the kernel: writable --> SO_ERROR -----------> Ready::Connected --> next: Connected
//! ```
//!
//! The kernel reports edges: a report stays valid until a read or an accept has found nothing. Bytes are read only when
//! they are requested, so an idle connection holds no buffer, and a peer whose bytes are not read is stopped by its own
//! kernel.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::attached::{Attached, Flag};
use super::dial::{self, Begun};
use super::socket::{self, ListeningSocket};
use super::{Completion, ListenerId};
use crate::base::{Batch, Fold, InFlight, Key, TcpFacts, Tick};
use crate::limits;

pub(super) struct Sockets {
    pub fold: Arc<Fold>,
    pub connections: Attached,
    pub listeners: Vec<ListenerRecord>,
    pub ready: VecDeque<Ready>,
    /// The buffer for every receive of this shard.
    buffer: Box<[u8]>,
}

/// Work for `next`, in the order in which it became possible.
#[derive(Clone, Copy)]
pub(super) enum Ready {
    /// A `recv` is outstanding, and the socket was readable.
    Receive(Key),
    /// The batch, still stored in the connection, is finished.
    Sent(Key, Result<(), io::ErrorKind>),
    /// The connect has ended. Pointless once `close` was called.
    Connected(Key, Result<(), io::ErrorKind>),
    Closed(Key),
    /// The listener's index.
    Accept(usize),
    Woken,
}

const _: () = assert!(size_of::<Ready>() <= 16, "thousands of them are queued in one turn");

pub(super) struct ListenerRecord {
    id: ListenerId,
    pub listener: ListeningSocket,
    /// Between `listen` or `resume_accept` and `pause_accept` or `AcceptFailed`.
    is_open: bool,
    /// Connections may be waiting in the kernel's queue.
    has_backlog: bool,
    /// `Ready::Accept` is queued.
    is_queued: bool,
    accepts_left: usize,
}

impl Drop for ListenerRecord {
    /// Closing is not enough: other threads' tables may have copies of the descriptor, and the kernel would continue to
    /// queue connections that are never accepted.
    fn drop(&mut self) {
        if !self.listener.is_shared() {
            self.listener.stop();
        }
    }
}

/// The completion to deliver after the driver has done its part.
pub(super) enum PendingCompletion {
    Received(Key, usize),
    Finished(Key, Result<(), io::ErrorKind>),
    Sent(Key, Box<Batch>, Result<(), io::ErrorKind>),
    Connected(Key, Result<(), io::ErrorKind>),
    Closed(Key),
    Accepted(ListenerId, OwnedFd, SocketAddr),
    AcceptFailed(ListenerId, io::Error),
    Woken,
}

/// The error of a connection that the kernel could not watch.
pub(super) const UNWATCHED: io::ErrorKind = io::ErrorKind::OutOfMemory;

impl Sockets {
    /// `fold` is for log lines about sockets that the kernel cannot watch: the condition lasts, and every connection
    /// meets it.
    pub(super) fn new(fold: Arc<Fold>) -> Sockets {
        Sockets {
            fold,
            connections: Attached::new(),
            listeners: Vec::new(),
            ready: VecDeque::new(),
            buffer: vec![0; limits::RECEIVE_BYTES].into_boxed_slice(),
        }
    }

    /// Renews each listener's budget of accepts, and queues those that had used it up. Frees the memory of a queue that
    /// was once as long as all connections, when they ended together.
    pub(super) fn begin_turn(&mut self) {
        self.ready.shrink_to(limits::TURN_ENTRIES_KEPT.max(2 * self.ready.len()));
        for index in 0..self.listeners.len() {
            self.listeners[index].accepts_left = limits::ACCEPTS_PER_TURN;
            self.queue_accept(index);
        }
    }

    // --- connections -------------------------------------------------------------------------------------------------

    pub(super) fn recv(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        assert!(connection.may_receive(), "recv of {key:?} while closing, outstanding or not connected");
        connection.set(Flag::Asked);
        if connection.is(Flag::Readable) {
            self.ready.push_back(Ready::Receive(key));
        }
    }

    /// The kernel reports readable bytes or, with `has_ended`, the end of the stream. Returns the work for an
    /// outstanding `recv`.
    pub(super) fn readable(&mut self, key: Key, has_ended: bool) -> Option<Ready> {
        let connection = self.connections.find(key).filter(|connection| !connection.is(Flag::Closing))?;
        if has_ended {
            connection.set(Flag::Ended);
        }
        if connection.is(Flag::Readable) {
            return None;
        }
        connection.set(Flag::Readable);
        if connection.is(Flag::Asked) { Some(Ready::Receive(key)) } else { None }
    }

    /// One read for an outstanding `recv`; `None` if the `recv` was revoked or has to wait longer.
    fn receive(&mut self, key: Key) -> Option<PendingCompletion> {
        let connection = self.connections.find(key).filter(|connection| connection.is(Flag::Asked))?;
        let Some(socket) = &connection.socket else {
            connection.clear(Flag::Asked);
            return Some(PendingCompletion::Finished(key, Err(UNWATCHED)));
        };
        let outcome = loop {
            match socket::receive(socket, &mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.clear(Flag::Readable);
                    return None;
                }
                outcome => break outcome,
            }
        };
        connection.clear(Flag::Asked);
        // A short read has emptied the socket; only the end of the stream would not be reported again.
        if outcome.as_ref().is_ok_and(|&count| count < self.buffer.len()) && !connection.is(Flag::Ended) {
            connection.clear(Flag::Readable);
        }
        Some(match outcome {
            Ok(0) => PendingCompletion::Finished(key, Ok(())),
            Ok(count) => PendingCompletion::Received(key, count),
            Err(error) => PendingCompletion::Finished(key, Err(error.kind())),
        })
    }

    /// Takes a dial over that has begun, or has failed at once. Returns the descriptor if the connect is in progress.
    pub(super) fn dial(&mut self, key: Key, begun: io::Result<Begun>, now: Tick) -> Option<RawFd> {
        match begun {
            Ok(Begun { socket, is_connected }) => {
                let fd = socket.as_raw_fd();
                let connection = self.connections.insert(key, socket);
                if is_connected {
                    self.ready.push_back(Ready::Connected(key, Ok(())));
                    return None;
                }
                connection.set_unconnected();
                Some(fd)
            }
            Err(error) => {
                self.connections.insert(key, None).set_unconnected();
                let refusal = self.refusal(&error, now);
                self.ready.push_back(Ready::Connected(key, Err(refusal)));
                None
            }
        }
    }

    /// The kernel reports that a connect is no longer in progress, or with an error that it does not watch it.
    pub(super) fn dialled(&mut self, key: Key, report: io::Result<()>, now: Tick) -> Option<Ready> {
        let connection = self.connections.find(key).filter(|connection| connection.is_dialling())?;
        let outcome = report.and_then(|()| connection.socket.as_ref().map_or(Ok(()), dial::outcome));
        Some(match outcome {
            Ok(()) => {
                connection.set_connected();
                Ready::Connected(key, Ok(()))
            }
            Err(error) => {
                connection.socket = None;
                Ready::Connected(key, Err(self.refusal(&error, now)))
            }
        })
    }

    fn refusal(&self, error: &io::Error, now: Tick) -> io::ErrorKind {
        let kind = dial::kind_of(error);
        if kind == io::ErrorKind::OutOfMemory
            && let Some(left_out) = self.fold.say(&"no resources to dial", now)
        {
            log::warn!("no connection to a server can be made: {error}{left_out}");
        }
        kind
    }

    /// Not the progress of the batch: the kernel accepts it in pieces of a third of its buffer, so a slow peer seems to
    /// make no progress for minutes, and io_uring reports nothing until all is sent.
    pub(super) fn taken(&mut self, key: Key) -> u32 {
        self.connections.expect(key).socket.as_ref().map_or(0, socket::taken)
    }

    pub(super) fn keep_alive(&mut self, key: Key) {
        let connection = self.connections.find(key);
        connection.and_then(|connection| connection.socket.as_ref()).into_iter().for_each(socket::keep_alive);
    }

    pub(super) fn facts(&mut self, key: Key) -> Option<TcpFacts> {
        socket::facts(self.connections.find(key)?.socket.as_ref()?)
    }

    pub(super) fn weigh(&mut self, key: Key) -> InFlight {
        InFlight::of(self.connections.expect(key).batch.as_deref())
    }

    // --- listeners ---------------------------------------------------------------------------------------------------

    /// Adds an open listener and returns its index.
    pub(super) fn listen(&mut self, id: ListenerId, listener: ListeningSocket) -> io::Result<usize> {
        listener.set_nonblocking(true)?;
        self.listeners.push(ListenerRecord {
            id,
            listener,
            is_open: true,
            has_backlog: false,
            is_queued: false,
            accepts_left: limits::ACCEPTS_PER_TURN,
        });
        Ok(self.listeners.len() - 1)
    }

    pub(super) fn pause_accept(&mut self, id: ListenerId) {
        let index = self.index_of(id);
        self.listeners[index].is_open = false;
    }

    pub(super) fn resume_accept(&mut self, id: ListenerId) {
        let index = self.index_of(id);
        self.listeners[index].is_open = true;
        // The kernel may have reported the waiting connections while accepting was paused.
        self.arrived(index);
    }

    /// The socket is closed with its driver; until then its index stays in use, and it accepts nothing.
    pub(super) fn unlisten(&mut self, id: ListenerId) {
        self.pause_accept(id);
        let index = self.index_of(id);
        self.listeners[index].listener.stop();
    }

    /// The kernel reports that connections are waiting.
    pub(super) fn arrived(&mut self, index: usize) {
        self.listeners[index].has_backlog = true;
        self.queue_accept(index);
    }

    fn queue_accept(&mut self, index: usize) {
        let listening = &mut self.listeners[index];
        if listening.is_open && listening.has_backlog && listening.accepts_left > 0 && !listening.is_queued {
            listening.is_queued = true;
            self.ready.push_back(Ready::Accept(index));
        }
    }

    /// One accept; queues the listener again, after the work that is ready.
    fn accept(&mut self, index: usize) -> Option<PendingCompletion> {
        let listening = &mut self.listeners[index];
        listening.is_queued = false;
        while listening.is_open && listening.accepts_left > 0 {
            listening.accepts_left -= 1;
            match listening.listener.accept() {
                Ok((socket, peer)) => {
                    let id = listening.id;
                    self.queue_accept(index);
                    return Some(PendingCompletion::Accepted(id, socket, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.has_backlog = false;
                    return None;
                }
                Err(error) if socket::is_fault_of_one_connection(&error) => {}
                Err(error) => {
                    listening.is_open = false;
                    return Some(PendingCompletion::AcceptFailed(listening.id, error));
                }
            }
        }
        None
    }

    fn index_of(&self, id: ListenerId) -> usize {
        let index = self.listeners.iter().position(|listening| listening.id == id);
        index.unwrap_or_else(|| panic!("{id:?} does not listen"))
    }

    // --- out of `next` -----------------------------------------------------------------------------------------------

    /// Does the work; `None` if it has become pointless.
    pub(super) fn carry_out(&mut self, ready: Ready) -> Option<PendingCompletion> {
        match ready {
            Ready::Receive(key) => self.receive(key),
            Ready::Sent(key, outcome) => {
                let connection = self.connections.expect(key);
                connection.clear(Flag::Sent);
                connection.batch.take().map(|batch| PendingCompletion::Sent(key, batch, outcome))
            }
            Ready::Connected(key, outcome) => {
                self.connections.find(key).filter(|connection| !connection.is(Flag::Closing))?;
                Some(PendingCompletion::Connected(key, outcome))
            }
            Ready::Closed(key) => {
                self.connections.remove(key);
                Some(PendingCompletion::Closed(key))
            }
            Ready::Accept(index) => self.accept(index),
            Ready::Woken => Some(PendingCompletion::Woken),
        }
    }

    pub(super) fn completion(&mut self, outcome: PendingCompletion) -> Completion<'_, OwnedFd> {
        match outcome {
            PendingCompletion::Received(key, count) => Completion::Received { key, bytes: &mut self.buffer[..count] },
            PendingCompletion::Finished(key, end) => Completion::Finished { key, end },
            PendingCompletion::Sent(key, batch, outcome) => Completion::Sent { key, batch, outcome },
            PendingCompletion::Connected(key, outcome) => Completion::Connected { key, outcome },
            PendingCompletion::Closed(key) => Completion::Closed { key },
            PendingCompletion::Accepted(listener, socket, peer) => Completion::Accepted { listener, socket, peer },
            PendingCompletion::AcceptFailed(listener, error) => Completion::AcceptFailed { listener, error },
            PendingCompletion::Woken => Completion::Woken,
        }
    }
}
