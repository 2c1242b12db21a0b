//! The driver over epoll: edges of readiness in, completions out.
//!
//! ```text
//! edge  --> readable, backlog: see `sockets`
//! send  --> written at once ------> ready queue --> next: Sent
//!             '-- kernel full: the rest waits for the edge, which writes on and queues Sent
//! connect --> in progress: the edge ends it, and queues Connected
//! ```
//!
//! Every descriptor is registered once, edge-triggered, for both directions, and never re-armed.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::attached::Flag;
use super::clock::Clock;
use super::dial;
use super::socket::{self, ListeningSocket};
use super::sockets::{Ready, Sockets, UNWATCHED};
use super::{Completion, Driver, ListenerId, Remote, Waker};
use crate::base::{Batch, Fold, InFlight, Key, TcpFacts, Tick};
use crate::limits;

/// Tokens are words with a tag in the upper byte: 0 for a key, or one of these.
const TAG_SHIFT: u32 = 56;
const WAKER: u64 = 1;
const LISTENER: u64 = 2;

const _: () = assert!(usize::BITS == 64, "a token holds a key");

/// mio counts milliseconds in an `i32`; longer sleeps are split.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

pub struct EpollDriver {
    clock: Clock,
    waker: Waker,
    poll: Poll,
    events: Events,
    sockets: Sockets,
}

impl EpollDriver {
    /// All drivers of a process get the same clock and the same `fold`.
    pub fn new(waker: Waker, clock: Clock, fold: Arc<Fold>) -> io::Result<EpollDriver> {
        let poll = Poll::new()?;
        let fd = waker.raw_fd().ok_or_else(|| io::Error::other("epoll needs a waker with a descriptor"))?;
        poll.registry().register(&mut SourceFd(&fd), token(WAKER, 0), Interest::READABLE)?;
        let events = Events::with_capacity(limits::COMPLETIONS_PER_TURN);
        Ok(EpollDriver { clock, waker, poll, events, sockets: Sockets::new(fold) })
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        for event in &self.events {
            on_event(&mut self.sockets, event, &self.waker, &self.clock);
        }
        Ok(())
    }
}

impl Driver for EpollDriver {
    type Socket = OwnedFd;
    type Listener = ListeningSocket;

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
        self.clock.now()
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        while let Some(ready) = self.sockets.ready.pop_front() {
            if let Some(outcome) = self.sockets.carry_out(ready) {
                return Some(self.sockets.completion(outcome));
            }
        }
        None
    }

    fn listen(&mut self, id: ListenerId, listener: ListeningSocket) -> io::Result<()> {
        let fd = listener.raw_fd();
        let index = self.sockets.listen(id, listener)?;
        self.poll.registry().register(&mut SourceFd(&fd), token(LISTENER, index as u64), Interest::READABLE)
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
        let fd = socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        // If bytes have arrived already, the first poll reports them.
        let watched = self.poll.registry().register(&mut SourceFd(&fd), token(0, key.to_bits()), interest);
        let connection = self.sockets.connections.insert(key, socket);
        if let Err(error) = watched {
            connection.give_up();
            if let Some(left_out) = self.sockets.fold.say(&"epoll cannot watch", self.now()) {
                log::warn!("epoll cannot watch another socket: {error}{left_out}");
            }
        }
    }

    fn connect(&mut self, to: &Remote, from: Option<IpAddr>, key: Key) {
        let begun = dial::begin(to, from).and_then(|begun| {
            let fd = begun.socket.as_raw_fd();
            // If the connect has ended already, the first poll reports it.
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut SourceFd(&fd), token(0, key.to_bits()), interest)?;
            Ok(begun)
        });
        self.sockets.dial(key, begun, self.clock.now());
    }

    fn recv(&mut self, key: Key) {
        self.sockets.recv(key);
    }

    fn send(&mut self, key: Key, batch: Box<Batch>) {
        let connection = self.sockets.connections.expect(key);
        assert!(connection.may_send(), "send of {key:?} while closing, outstanding or not connected");
        connection.batch = Some(batch);
        write_on(&mut self.sockets, key);
    }

    fn shutdown(&mut self, key: Key) {
        self.sockets.connections.expect(key).end_sending_half();
    }

    fn close(&mut self, key: Key) {
        let connection = self.sockets.connections.expect(key);
        assert!(!connection.is(Flag::Closing), "{key:?} closed twice");
        connection.set(Flag::Closing);
        connection.clear(Flag::Asked);
        // epoll forgets the socket when its last descriptor is closed; an event that is on its way finds the connection
        // closing.
        connection.socket = None;
        if connection.is_sending() {
            connection.finish_sending();
            self.sockets.ready.push_back(Ready::Sent(key, Err(io::ErrorKind::ConnectionAborted)));
        }
        self.sockets.ready.push_back(Ready::Closed(key));
    }

    fn abort(&mut self, key: Key) {
        self.sockets.connections.expect(key).reset_at_close();
        self.close(key);
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

fn on_event(sockets: &mut Sockets, event: &Event, waker: &Waker, clock: &Clock) {
    let token = event.token().0 as u64;
    match token >> TAG_SHIFT {
        WAKER => {
            if waker.take() {
                sockets.ready.push_back(Ready::Woken);
            }
        }
        LISTENER => sockets.arrived((token & !(LISTENER << TAG_SHIFT)) as usize),
        // It may be an edge of the slot's earlier tenant; then no connection is found.
        _ => {
            let key = Key::from_bits(token);
            let has_ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || has_ended {
                let ready = sockets.readable(key, has_ended);
                sockets.ready.extend(ready);
            }
            if event.is_writable() || event.is_error() {
                match sockets.connections.find(key) {
                    Some(connection) if connection.is_sending() => write_on(sockets, key),
                    Some(connection) if connection.is_dialling() => {
                        let ready = sockets.dialled(key, Ok(()), clock.now());
                        sockets.ready.extend(ready);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Writes until the batch is gone, the kernel is full or the connection is broken.
fn write_on(sockets: &mut Sockets, key: Key) {
    let Some(connection) = sockets.connections.find(key).filter(|connection| connection.is_sending()) else { return };
    let Some(batch) = &mut connection.batch else { return };
    let outcome = loop {
        let Some(socket) = &connection.socket else { break Err(UNWATCHED) };
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
    connection.finish_sending();
    sockets.ready.push_back(Ready::Sent(key, outcome));
}

fn token(tag: u64, value: u64) -> Token {
    Token((tag << TAG_SHIFT | value) as usize)
}
