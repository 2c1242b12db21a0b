//! The kernel's side of a shard: submissions in, completions out.
//!
//! ```text
//!   attach connect recv send shutdown close abort   Accepted Connected Received Sent Closed Woken
//!  shard  ------------------------------------> driver ------------------------------------> shard
//!                                                  |
//!                                      epoll | io_uring | simulator
//! ```
//!
//! The contract, the same for the three bodies:
//!
//! - **Every submission ends in exactly one completion.** `connect` ends in `Connected`; `recv` in `Received` or
//!   `Finished`; `send` in `Sent`; `close` and `abort` in `Closed`; `listen` and `resume_accept` in any number of `Accepted` until one `AcceptFailed` (or a
//!   pause).
//! - Received bytes are lent until the next call of `next`; at most one `recv` and one `send` are outstanding for a key.
//! - Not requesting the next receive is back-pressure: a driver holds a bounded number of bytes that no `recv`
//!   requested.
//! - A batch that is being sent belongs to the driver and comes back with `Sent`, sent whole or failed; the rest of a
//!   failed batch is not sent.
//! - Until `Connected` has come, and after a `Connected` with an error, `close` and `abort` are the only legal calls for that key. After
//!   a success the connection is like an attached one.
//! - `close` revokes an outstanding `connect` or `recv` without a completion; an outstanding batch comes back (`Sent` with
//!   an error) before `Closed`. After `Closed` there are no completions for that key, and its slot may be attached again.
//! - `abort` is a `close` that the peer sees as a broken connection (RFC 9293 section 3.10.5): bytes that were sent and not yet taken
//!   by it may be lost. A unix socket has no such sign, and ends as with `close`.
//! - `shutdown` ends the sending half after the bytes that were sent; it has no completion and cannot fail visibly.
//! - A call with a key that is not attached is a bug of the caller, and panics.
//! - Nothing here knows what the bytes mean.

use std::io;
use std::net::{IpAddr, SocketAddr};

pub use crate::base::Remote;
use crate::base::{Batch, InFlight, Key, TcpFacts, Tick};

mod attached;
pub mod choice;
pub mod clock;
mod dial;
pub mod epoll;
pub mod memory;
pub mod path;
pub mod sim;
pub mod socket;
mod sockets;
pub mod uring;
pub mod waker;

pub use choice::{Choice, DriverKind, choose};
pub use waker::Waker;

/// The number of a listener of one shard, chosen by the caller of [`Driver::listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u16);

/// The outcome of a submission.
#[derive(Debug)]
pub enum Completion<'a, S> {
    /// A socket that has not been attached yet; dropping it closes it.
    Accepted {
        listener: ListenerId,
        socket: S,
        peer: SocketAddr,
    },
    /// Accepting has stopped (EMFILE, ENFILE, ENOBUFS, ENOMEM …) until [`Driver::resume_accept`].
    AcceptFailed {
        listener: ListenerId,
        error: io::Error,
    },
    /// The connection that was dialled exists, or the reason why it does not: `OutOfMemory` for every shortage of this
    /// machine (descriptors, memory), `AddrNotAvailable` if the source address is not one of this machine or has no free
    /// port left, `WouldBlock` if the queue of a unix socket is full. The others (`ConnectionRefused`, `TimedOut`,
    /// `NotFound` …) speak of the remote address.
    Connected {
        key: Key,
        outcome: Result<(), io::ErrorKind>,
    },
    /// Never empty; may be changed in place; valid until the next call of [`Driver::next`].
    Received {
        key: Key,
        bytes: &'a mut [u8],
    },
    /// No more bytes will arrive: `Ok` is the peer's end of stream, `Err` a broken connection.
    Finished {
        key: Key,
        end: Result<(), io::ErrorKind>,
    },
    /// The batch is back: sent whole, or the connection broke.
    Sent {
        key: Key,
        batch: Box<Batch>,
        outcome: Result<(), io::ErrorKind>,
    },
    Closed {
        key: Key,
    },
    /// The [`Waker`] was used; several wake-ups may cause one completion.
    Woken,
}

/// One shard's kernel. See the module's contract.
pub trait Driver {
    type Socket;
    type Listener;

    /// The only sleep, and the clock of a turn: submits everything, and returns the time when something has completed
    /// or `deadline` has passed.
    fn wait(&mut self, deadline: Tick) -> io::Result<Tick>;

    /// The time now; used to bound work within a turn, never to measure it.
    fn now(&self) -> Tick;

    /// The next completion, or `None` if [`Driver::wait`] must be called.
    fn next(&mut self) -> Option<Completion<'_, Self::Socket>>;

    fn listen(&mut self, id: ListenerId, listener: Self::Listener) -> io::Result<()>;
    fn pause_accept(&mut self, id: ListenerId);
    fn resume_accept(&mut self, id: ListenerId);
    /// Stops listening for good: the kernel refuses new connections, and those that were not accepted.
    fn unlisten(&mut self, id: ListenerId);

    fn attach(&mut self, socket: Self::Socket, key: Key);
    /// Dials `to`, from the address `from` if there is one (a unix socket has none, and ignores it). The key is attached
    /// from this call on, whatever the outcome. The caller decides how long to wait, and closes then: the kernel alone
    /// gives up after a minute or two.
    fn connect(&mut self, to: &Remote, from: Option<IpAddr>, key: Key);
    fn recv(&mut self, key: Key);
    fn send(&mut self, key: Key, batch: Box<Batch>);
    fn shutdown(&mut self, key: Key);
    fn close(&mut self, key: Key);
    /// Closes with a reset instead of an end of stream: for bytes that must not be taken for the whole.
    fn abort(&mut self, key: Key);

    /// From now on the peer is asked for a sign of life while the connection is silent (RFC 9293 section 3.8.4). One that gives none
    /// ends in `Finished` with `TimedOut`, a minute later. Nothing for a unix socket, or a key that is not attached.
    fn keep_alive(&mut self, key: Key);

    /// How many bytes the peer has received so far, modulo 2^32: an equal number later means no progress, although a
    /// batch is with the driver. Not for a connection that is being closed. It may be a system call, so it is called
    /// only for connections that seem stuck.
    fn taken(&mut self, key: Key) -> u32;

    /// The facts that TCP has about the connection; `None` for a unix socket, a key that is not attached, or a socket that is gone. A system
    /// call.
    fn facts(&mut self, key: Key) -> Option<TcpFacts>;

    /// Weighs the batch of `key` that the driver has.
    fn weigh(&mut self, key: Key) -> InFlight;

    fn waker(&self) -> Waker;
}
