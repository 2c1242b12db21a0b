//! The driver over epoll: readiness comes in edges, completions go out.
//!
//! ```text
//! recv  --> asked and readable? --> ready queue --> next: one read into the shared buffer --> Received
//! send  --> written at once ------> ready queue --> next: Sent
//!             '-- kernel full: the rest waits for the edge, which writes on and queues Sent
//! accept --> the edge queues its listener --> next: one accept a call, ACCEPTS_PER_TURN a turn --> Accepted
//! ```
//!
//! Every descriptor is registered once, edge-triggered, for both directions; nothing is ever re-armed. An edge is
//! remembered in `readable` until a read says that the socket is empty. The driver holds no received bytes at all.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::attached::Attached;
use super::socket::{self, Listener};
use super::{Completion, Driver, ListenerId, Waker};
use crate::base::{Batch, Key, Tick};
use crate::limits;

/// Tokens are words with a tag in the upper byte: 0 and a key, or one of these.
const TAG_SHIFT: u32 = 56;
const WAKER: u64 = 1;
const LISTENER: u64 = 2;

const _: () = assert!(usize::BITS == 64, "a token holds a key");

/// mio counts milliseconds in an `i32`; longer sleeps come in several.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

pub struct EpollDriver {
    started: Instant,
    waker: Waker,
    poll: Poll,
    events: Events,
    /// Where every receive of this shard lands.
    buffer: Box<[u8]>,
    sockets: Sockets,
}

/// Everything that an edge can change.
struct Sockets {
    connections: Attached<Connection>,
    listeners: Vec<Listening>,
    ready: VecDeque<Ready>,
}

/// What `next` will look at, in the order in which it became possible.
enum Ready {
    /// The connection is asked, and its socket was readable.
    Receive(Key),
    Sent(Key, Box<Batch>, Result<(), io::ErrorKind>),
    Closed(Key),
    /// The listener's index.
    Accept(usize),
    Woken,
}

struct Connection {
    /// `None` once `close` was called, until `Closed` is delivered.
    socket: Option<OwnedFd>,
    /// An outstanding `recv`. Asked and readable means: exactly one `Ready::Receive` is queued.
    asked: bool,
    /// An edge came and no read has found the socket empty since.
    readable: bool,
    /// The peer ended its half or the connection broke: readable for ever, no further edge will come.
    ended: bool,
    sending: Sending,
    /// `shutdown` waits for the batch.
    shutdown_follows: bool,
}

enum Sending {
    Idle,
    /// The kernel's buffer is full; the next edge writes on.
    Blocked(Box<Batch>),
    /// `Ready::Sent` is queued.
    Done,
}

struct Listening {
    id: ListenerId,
    listener: Listener,
    /// Between `listen` or `resume_accept` and `pause_accept` or `AcceptFailed`.
    is_open: bool,
    /// Connections may be waiting in the kernel's queue.
    has_backlog: bool,
    /// `Ready::Accept` is queued.
    is_queued: bool,
    accepts_left: usize,
}

impl EpollDriver {
    /// `started` is when the clock of the process began; all its drivers are given the same.
    pub fn new(waker: Waker, started: Instant) -> io::Result<EpollDriver> {
        let poll = Poll::new()?;
        let fd = waker.raw_fd().ok_or_else(|| io::Error::other("epoll needs a waker with a descriptor"))?;
        poll.registry().register(&mut SourceFd(&fd), token(WAKER, 0), Interest::READABLE)?;
        Ok(EpollDriver {
            started,
            waker,
            poll,
            events: Events::with_capacity(limits::COMPLETIONS_PER_TURN),
            buffer: vec![0; limits::RECEIVE_BYTES].into_boxed_slice(),
            sockets: Sockets { connections: Attached::new(), listeners: Vec::new(), ready: VecDeque::new() },
        })
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        for event in &self.events {
            self.sockets.on_event(event, &self.waker);
        }
        Ok(())
    }
}

impl Driver for EpollDriver {
    type Socket = OwnedFd;
    type Listener = Listener;

    fn wait(&mut self, deadline: Tick) -> io::Result<Tick> {
        self.sockets.begin_turn();
        let mut now = self.now();
        loop {
            let timeout = match deadline {
                _ if !self.sockets.ready.is_empty() => Some(Duration::ZERO),
                Tick::NEVER => None,
                // mio rounds up to whole milliseconds, so this does not spin just before the deadline.
                _ => Some(deadline.since(now).min(SLEEP_MAX)),
            };
            self.poll(timeout)?;
            now = self.now();
            if !self.sockets.ready.is_empty() || now >= deadline {
                return Ok(now);
            }
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.started.elapsed()
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        while let Some(ready) = self.sockets.ready.pop_front() {
            match ready {
                Ready::Receive(key) => match self.sockets.receive(key, &mut self.buffer) {
                    None => {}
                    Some(Ok(0)) => return Some(Completion::Finished { key, end: Ok(()) }),
                    Some(Ok(count)) => return Some(Completion::Received { key, bytes: &mut self.buffer[..count] }),
                    Some(Err(kind)) => return Some(Completion::Finished { key, end: Err(kind) }),
                },
                Ready::Sent(key, batch, outcome) => {
                    self.sockets.connections.expect(key).sending = Sending::Idle;
                    return Some(Completion::Sent { key, batch, outcome });
                }
                Ready::Closed(key) => {
                    self.sockets.connections.remove(key);
                    return Some(Completion::Closed { key });
                }
                Ready::Accept(index) => {
                    if let Some(completion) = self.sockets.accept(index) {
                        return Some(completion);
                    }
                }
                Ready::Woken => return Some(Completion::Woken),
            }
        }
        None
    }

    fn listen(&mut self, id: ListenerId, listener: Listener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let token = token(LISTENER, self.sockets.listeners.len() as u64);
        self.poll.registry().register(&mut SourceFd(&listener.raw_fd()), token, Interest::READABLE)?;
        self.sockets.listeners.push(Listening {
            id,
            listener,
            is_open: true,
            has_backlog: false,
            is_queued: false,
            accepts_left: limits::ACCEPTS_PER_TURN,
        });
        Ok(())
    }

    fn pause_accept(&mut self, id: ListenerId) {
        let index = self.sockets.index_of(id);
        self.sockets.listeners[index].is_open = false;
    }

    fn resume_accept(&mut self, id: ListenerId) {
        let index = self.sockets.index_of(id);
        let listening = &mut self.sockets.listeners[index];
        listening.is_open = true;
        // The edge for what waits may have come while nobody accepted.
        listening.has_backlog = true;
        self.sockets.queue_accept(index);
    }

    fn attach(&mut self, socket: OwnedFd, key: Key) {
        let fd = socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        // If data is there already, the first poll reports it.
        let watched = self.poll.registry().register(&mut SourceFd(&fd), token(0, key.to_bits()), interest);
        if let Err(error) = &watched {
            // Without a watch it can only be ended; the caller learns it from its first receive or send.
            log::warn!("epoll cannot watch another socket: {error}");
            socket::shutdown(&socket, Shutdown::Both);
        }
        let ended = watched.is_err();
        self.sockets.connections.insert(
            key,
            Connection {
                socket: Some(socket),
                asked: false,
                readable: ended,
                ended,
                sending: Sending::Idle,
                shutdown_follows: false,
            },
        );
    }

    fn recv(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        assert!(connection.socket.is_some() && !connection.asked, "recv of {key:?} while closing or outstanding");
        connection.asked = true;
        if connection.readable {
            self.sockets.ready.push_back(Ready::Receive(key));
        }
    }

    fn send(&mut self, key: Key, batch: Box<Batch>) {
        let connection = self.sockets.connections.expect(key);
        assert!(
            connection.socket.is_some() && matches!(connection.sending, Sending::Idle),
            "send of {key:?} while closing or outstanding"
        );
        connection.sending = Sending::Blocked(batch);
        self.sockets.write_on(key);
    }

    fn shutdown(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        match (&connection.sending, &connection.socket) {
            (Sending::Blocked(_), _) => connection.shutdown_follows = true,
            (_, Some(socket)) => socket::shutdown(socket, Shutdown::Write),
            (_, None) => {}
        }
    }

    fn close(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        // Its last descriptor closed, epoll forgets the socket too; an event that is on its way finds no socket here.
        assert!(connection.socket.take().is_some(), "{key:?} closed twice");
        connection.asked = false;
        if matches!(connection.sending, Sending::Blocked(_)) {
            self.sockets.report_sent(key, Err(io::ErrorKind::ConnectionAborted));
        }
        self.sockets.ready.push_back(Ready::Closed(key));
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Sockets {
    /// Grants each listener its accepts anew, and queues those that ran out of them.
    fn begin_turn(&mut self) {
        for index in 0..self.listeners.len() {
            self.listeners[index].accepts_left = limits::ACCEPTS_PER_TURN;
            self.queue_accept(index);
        }
    }

    fn on_event(&mut self, event: &Event, waker: &Waker) {
        let token = event.token().0 as u64;
        match token >> TAG_SHIFT {
            WAKER => {
                if waker.take() {
                    self.ready.push_back(Ready::Woken);
                }
            }
            LISTENER => {
                let index = (token & !(LISTENER << TAG_SHIFT)) as usize;
                self.listeners[index].has_backlog = true;
                self.queue_accept(index);
            }
            _ => self.on_edge(Key::from_bits(token), event),
        }
    }

    fn on_edge(&mut self, key: Key, event: &Event) {
        let Some(connection) = self.connections.find(key) else {
            return; // an edge of the slot's earlier tenant
        };
        connection.ended |= event.is_read_closed() || event.is_error();
        let is_readable = event.is_readable() || connection.ended;
        if is_readable && !connection.readable {
            connection.readable = true;
            if connection.asked {
                self.ready.push_back(Ready::Receive(key));
            }
        }
        if event.is_writable() || event.is_error() {
            self.write_on(key);
        }
    }

    /// One read for an outstanding `recv`; `None` if it was revoked or has to go on waiting.
    fn receive(&mut self, key: Key, buffer: &mut [u8]) -> Option<Result<usize, io::ErrorKind>> {
        let connection = self.connections.find(key)?;
        let socket = connection.socket.as_ref().filter(|_| connection.asked)?;
        let outcome = loop {
            match socket::receive(socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.readable = false;
                    return None;
                }
                outcome => break outcome,
            }
        };
        connection.asked = false;
        // A short read has emptied the socket; only the end of the stream would not announce itself again.
        if outcome.as_ref().is_ok_and(|&count| count < buffer.len()) {
            connection.readable = connection.ended;
        }
        Some(outcome.map_err(|error| error.kind()))
    }

    /// Writes until the batch is gone, the kernel is full or the connection is broken.
    fn write_on(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        let (Sending::Blocked(batch), Some(socket)) = (&mut connection.sending, &connection.socket) else {
            return;
        };
        let outcome = loop {
            if batch.is_empty() {
                break Ok(());
            }
            match socket::send(socket, batch) {
                Ok(count) => batch.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => break Err(error.kind()),
            }
        };
        if connection.shutdown_follows {
            socket::shutdown(socket, Shutdown::Write);
        }
        self.report_sent(key, outcome);
    }

    fn report_sent(&mut self, key: Key, outcome: Result<(), io::ErrorKind>) {
        let connection = self.connections.expect(key);
        if let Sending::Blocked(batch) = std::mem::replace(&mut connection.sending, Sending::Done) {
            self.ready.push_back(Ready::Sent(key, batch, outcome));
        }
    }

    fn queue_accept(&mut self, index: usize) {
        let listening = &mut self.listeners[index];
        if listening.is_open && listening.has_backlog && !listening.is_queued {
            listening.is_queued = true;
            self.ready.push_back(Ready::Accept(index));
        }
    }

    /// One accept; queues the listener again, behind what is ready already.
    fn accept(&mut self, index: usize) -> Option<Completion<'static, OwnedFd>> {
        let listening = &mut self.listeners[index];
        listening.is_queued = false;
        while listening.is_open && listening.accepts_left > 0 {
            listening.accepts_left -= 1;
            match listening.listener.accept() {
                Ok((socket, peer)) => {
                    let listener = listening.id;
                    self.queue_accept(index);
                    return Some(Completion::Accepted { listener, socket, peer });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.has_backlog = false;
                    return None;
                }
                Err(error) if socket::is_fault_of_one_connection(&error) => {}
                Err(error) => {
                    listening.is_open = false;
                    return Some(Completion::AcceptFailed { listener: listening.id, error });
                }
            }
        }
        None
    }

    fn index_of(&self, id: ListenerId) -> usize {
        let index = self.listeners.iter().position(|listening| listening.id == id);
        index.unwrap_or_else(|| panic!("{id:?} does not listen"))
    }
}

fn token(tag: u64, value: u64) -> Token {
    Token((tag << TAG_SHIFT | value) as usize)
}
