//! A stage for one driver: the smallest shard that can hold connections, and the peers that it talks to.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tidegate::base::{Batch, Key, Slots, Tick};
use tidegate::driver::{Completion, Driver, ListenerId, Remote};

/// How long a test waits for a fact. Only a failing one waits that long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long the driver may sleep before a test looks at its peers again.
pub const GLANCE: Duration = Duration::from_millis(2);

pub const LISTENER: ListenerId = ListenerId(7);

/// A driver that listens, and what connects to it.
pub trait World {
    type Driver: Driver;
    type Peer: Peer;
    type Server: Server<Peer = Self::Peer>;

    /// Why this world cannot be had on this machine, in a sentence.
    fn missing() -> Option<String> {
        None
    }

    fn new() -> Self;
    fn driver(&mut self) -> &mut Self::Driver;
    /// Lets the driver wait, and time pass.
    fn wait(&mut self, deadline: Tick) -> Tick {
        self.driver().wait(deadline).expect("wait")
    }
    /// Begins a connection to the driver's listener.
    fn connect(&mut self) -> Self::Peer;
    /// Whether nobody listens for another.
    fn refuses(&mut self) -> bool;

    /// A server that the driver can dial.
    fn serve(&mut self) -> Self::Server;
    /// One that answers nothing until there is room in its queue.
    fn serve_full(&mut self) -> Self::Server;
    /// One on a unix socket.
    fn serve_unix(&mut self) -> Self::Server;
    /// An address where no server is.
    fn unserved(&mut self) -> Remote;
    /// How many dials to this server the kernel still tries to connect, where the test has no other connections.
    fn half_open(&mut self, server: &Self::Server) -> usize;
    /// The source address of a dialled connection.
    fn source(peer: &Self::Peer) -> Option<IpAddr>;
}

/// Listens for dials. Nothing here blocks.
pub trait Server {
    type Peer;
    fn remote(&self) -> Remote;
    fn accept(&mut self) -> Option<Self::Peer>;
    /// Answers the dials that found it full.
    fn make_room(&mut self);
}

/// The other end of a connection. Nothing here blocks.
pub trait Peer {
    /// Writes as much as is taken now.
    fn write(&mut self, bytes: &[u8]) -> usize;
    fn read(&mut self, buffer: &mut [u8]) -> Read;
    /// Ends its sending half.
    fn finish(&mut self);
    /// Breaks the connection.
    fn reset(self);
}

#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// A completion that owns what it carries.
#[derive(Debug)]
pub enum Event {
    Accepted,
    AcceptFailed(io::Error),
    Connected(Key, Result<(), io::ErrorKind>),
    Received(Key, Vec<u8>),
    Finished(Key, Result<(), io::ErrorKind>),
    Sent(Key, Box<Batch>, Result<(), io::ErrorKind>),
    Closed(Key),
    Woken,
}

pub struct Stage<W: World> {
    pub world: W,
    pub events: VecDeque<Event>,
    pub sockets: VecDeque<<W::Driver as Driver>::Socket>,
    keys: Slots<()>,
    began: Instant,
}

impl<W: World> Stage<W> {
    pub fn new(world: W) -> Stage<W> {
        Stage { world, events: VecDeque::new(), sockets: VecDeque::new(), keys: Slots::new(1), began: Instant::now() }
    }

    pub fn driver(&mut self) -> &mut W::Driver {
        self.world.driver()
    }

    /// One turn: a short wait, and everything that completed.
    pub fn turn(&mut self) {
        self.turn_within(GLANCE);
    }

    pub fn turn_within(&mut self, sleep: Duration) {
        self.turn_with(sleep, usize::MAX);
    }

    /// The same for a shard that leaves all but so many completions to its next turn.
    pub fn turn_with(&mut self, sleep: Duration, completions_max: usize) {
        assert!(self.began.elapsed() < PATIENCE, "what the test waits for did not happen; events: {:?}", self.events);
        let deadline = self.driver().now() + sleep;
        self.world.wait(deadline);
        for _ in 0..completions_max {
            let Some(completion) = self.world.driver().next() else { break };
            let event = match completion {
                Completion::Accepted { listener, socket, .. } => {
                    assert_eq!(listener, LISTENER);
                    self.sockets.push_back(socket);
                    Event::Accepted
                }
                Completion::AcceptFailed { listener, error } => {
                    assert_eq!(listener, LISTENER);
                    Event::AcceptFailed(error)
                }
                Completion::Connected { key, outcome } => Event::Connected(key, outcome),
                Completion::Received { key, bytes } => {
                    assert!(!bytes.is_empty(), "a receive is never empty");
                    Event::Received(key, bytes.to_vec())
                }
                Completion::Finished { key, end } => Event::Finished(key, end),
                Completion::Sent { key, batch, outcome } => Event::Sent(key, batch, outcome),
                Completion::Closed { key } => Event::Closed(key),
                Completion::Woken => Event::Woken,
            };
            self.events.push_back(event);
        }
    }

    /// Turns until there is an event, and takes it.
    pub fn event(&mut self) -> Event {
        while self.events.is_empty() {
            self.turn();
        }
        self.events.pop_front().expect("there is one")
    }

    /// A connected peer and the key its connection is attached under.
    pub fn connection(&mut self) -> (Key, W::Peer) {
        let peer = self.world.connect();
        let socket = self.accepted();
        (self.attach(socket), peer)
    }

    /// The next accepted socket; other events stay in order.
    pub fn accepted(&mut self) -> <W::Driver as Driver>::Socket {
        while self.sockets.is_empty() {
            self.turn();
        }
        let index = self.events.iter().position(|event| matches!(event, Event::Accepted)).expect("its event");
        self.events.remove(index);
        self.sockets.pop_front().expect("there is one")
    }

    pub fn attach(&mut self, socket: <W::Driver as Driver>::Socket) -> Key {
        let key = self.keys.insert(());
        self.driver().attach(socket, key);
        key
    }

    /// Dials; the outcome is an event.
    pub fn connect(&mut self, to: &Remote, from: Option<IpAddr>) -> Key {
        let key = self.keys.insert(());
        self.driver().connect(to, from, key);
        key
    }

    /// A connection that the driver has dialled, and its peer.
    pub fn dialled(&mut self, server: &mut W::Server) -> (Key, W::Peer) {
        let key = self.connect(&server.remote(), None);
        let index = loop {
            let is_outcome = |event: &Event| matches!(event, Event::Connected(connected, _) if *connected == key);
            if let Some(index) = self.events.iter().position(is_outcome) {
                break index;
            }
            self.turn();
        };
        let outcome = self.events.remove(index);
        assert!(matches!(outcome, Some(Event::Connected(_, Ok(())))), "{outcome:?}");
        (key, self.accepted_by(server))
    }

    /// The next peer in a server's queue.
    pub fn accepted_by(&mut self, server: &mut W::Server) -> W::Peer {
        loop {
            match server.accept() {
                Some(peer) => return peer,
                None => self.turn(),
            }
        }
    }

    /// Bytes go to the peer and come back.
    pub fn is_served(&mut self, (key, peer): &mut (Key, W::Peer)) {
        self.write_all(peer, b"ping");
        let heard = self.receive_exactly(*key, 4);
        self.send(*key, &heard);
        assert!(matches!(self.event(), Event::Sent(sent, _, Ok(())) if sent == *key));
        assert_eq!(self.read_exactly(peer, 4), b"ping");
    }

    pub fn recv(&mut self, key: Key) {
        self.driver().recv(key);
    }

    pub fn send(&mut self, key: Key, bytes: &[u8]) {
        let mut batch = Box::new(Batch::new());
        batch.push(bytes);
        self.driver().send(key, batch);
    }

    /// Closes, waits for `Closed`, frees the key, and returns what else came for it.
    pub fn close(&mut self, key: Key) -> Vec<Event> {
        self.driver().close(key);
        self.closed(key)
    }

    /// The same with an abort.
    pub fn abort(&mut self, key: Key) -> Vec<Event> {
        self.driver().abort(key);
        self.closed(key)
    }

    fn closed(&mut self, key: Key) -> Vec<Event> {
        let mut before = Vec::new();
        loop {
            match self.event() {
                Event::Closed(closed) if closed == key => break,
                event => before.push(event),
            }
        }
        self.free(key);
        before
    }

    /// Gives the slot of a closed connection to the next one.
    pub fn free(&mut self, key: Key) {
        self.keys.remove(key).expect("was attached");
    }

    /// Receives until `count` bytes have come for the key, and nothing else.
    pub fn receive_exactly(&mut self, key: Key, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            self.recv(key);
            match self.event() {
                Event::Received(from, bytes) if from == key => all.extend_from_slice(&bytes),
                event => panic!("expected bytes, got {event:?}"),
            }
        }
        assert_eq!(all.len(), count);
        all
    }

    pub fn write_all(&mut self, peer: &mut W::Peer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = peer.write(bytes);
            bytes = &bytes[count..];
            if count == 0 {
                self.turn();
            }
        }
    }

    /// Lets the peer read until `count` bytes have come, turning the driver meanwhile.
    pub fn read_exactly(&mut self, peer: &mut W::Peer, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while all.len() < count {
            match peer.read(&mut buffer) {
                Read::Bytes(got) => all.extend_from_slice(&buffer[..got]),
                Read::Nothing => self.turn(),
                end => panic!("{end:?} after {} of {count} bytes", all.len()),
            }
        }
        assert_eq!(all.len(), count);
        all
    }

    pub fn read_end(&mut self, peer: &mut W::Peer) -> Read {
        loop {
            match peer.read(&mut [0; 1024]) {
                Read::Nothing => self.turn(),
                read => return read,
            }
        }
    }
}

/// Bytes in which every position can be told from its neighbours.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
