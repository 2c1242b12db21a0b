//! A shard without a kernel: what peers say is scripted, what is sent to them has arrived at once. A server that the shard
//! dials is there, and answers whatever it is sent with the same bytes.
//!
//! ```text
//!  peers.say(bytes) --> ready --> Script::next --> the shard's turn --> Script::send --> counted, and heard if asked for
//!                         ^                                                  |
//!                         '------------ Sent, at the next wait --------------'
//! ```
//!
//! So a turn executes what it executes on a real driver, less the driver. About 170 instructions for each send and its
//! completion are the script's own, and part of what is counted.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tidegate::base::{Batch, InFlight, Key, Place, TcpFacts, Tick};
use tidegate::conn::settings::Settings;
use tidegate::driver::{Completion, Driver, ListenerId, Remote, Waker};
use tidegate::mesh::{Mesh, Threads};
use tidegate::shard::budget::Budget;
use tidegate::shard::counters::Counters;
use tidegate::shard::{Entrance, Parts, Shard};

/// Letters that a shard's mailbox takes; nobody writes any here.
const MAILS_MAX: usize = 16;

/// One shard and all who talk to it.
pub struct Gate {
    shard: Shard<Script>,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    /// What `next` hands over.
    ready: VecDeque<Happening>,
    /// What `next` hands over after the next wait.
    pending: Vec<Happening>,
    /// The connection that was attached last.
    attached: Option<Key>,
    /// Sends since it was asked last.
    sends: usize,
    /// What was sent, by slot; gathered while `is_listening`.
    heard: Vec<Vec<u8>>,
    is_listening: bool,
    /// The answer of servers.
    answer: Rc<[u8]>,
    /// The connections to servers.
    dialled: Vec<Key>,
}

enum Happening {
    Accepted(ListenerId),
    Connected(Key),
    Received(Key, Rc<[u8]>),
    Sent(Key, Box<Batch>),
    Finished(Key),
    Closed(Key),
}

impl Gate {
    /// A shard with one listener for each of `entrances`.
    pub fn new(settings: Settings, entrances: Vec<Entrance>) -> Gate {
        let state = Rc::new(RefCell::new(State { is_listening: true, ..State::default() }));
        let driver = Script { state: state.clone(), lent: Vec::new(), waker: Waker::in_memory() };
        let (mesh, mailboxes) = Mesh::new(Threads { shards: vec![driver.waker()], ..Threads::default() }, MAILS_MAX);
        let parts = Parts {
            place: Place(0),
            settings,
            entrances,
            mesh,
            mailbox: mailboxes.into_iter().next().expect("one for the one shard"),
            counters: [Counters::default()].into(),
            fold: Arc::default(),
            seed: 1,
            secret: [0; 32],
            budget: Budget::default(),
            now: Tick::ZERO,
        };
        Gate { shard: Shard::new(driver, parts), state }
    }

    /// A connection that has come in by the entrance of that number.
    pub fn connect(&mut self, entrance: u16) -> Key {
        self.state.borrow_mut().ready.push_back(Happening::Accepted(ListenerId(entrance)));
        self.settle();
        self.state.borrow_mut().attached.take().expect("the shard has taken it in")
    }

    /// What a peer says comes to the shard in the next turn.
    pub fn say(&mut self, key: Key, bytes: &Rc<[u8]>) {
        self.state.borrow_mut().ready.push_back(Happening::Received(key, bytes.clone()));
    }

    /// Servers answer each send with this.
    pub fn serve(&mut self, answer: &[u8]) {
        self.state.borrow_mut().answer = answer.into();
    }

    /// Says it, and answers with what comes back.
    pub fn ask(&mut self, key: Key, bytes: &[u8]) -> Vec<u8> {
        self.say(key, &bytes.into());
        self.settle();
        self.hear(key)
    }

    /// What a peer has heard since it was asked last.
    pub fn hear(&mut self, key: Key) -> Vec<u8> {
        self.state.borrow_mut().heard.get_mut(key.slot as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Nothing that is sent is kept any more: from here on the script does as little as possible.
    pub fn stop_listening(&mut self) {
        self.state.borrow_mut().is_listening = false;
    }

    /// Turns until nothing is left to do; says how many sends there were.
    pub fn settle(&mut self) -> usize {
        loop {
            self.shard.turn().expect("the script does not fail");
            let mut state = self.state.borrow_mut();
            if state.ready.is_empty() && state.pending.is_empty() {
                return std::mem::take(&mut state.sends);
            }
        }
    }
}

/// The driver's half of a [`Gate`].
struct Script {
    state: Rc<RefCell<State>>,
    /// The bytes of the completion that was handed over last.
    lent: Vec<u8>,
    waker: Waker,
}

impl Driver for Script {
    type Socket = ();
    type Listener = ();

    fn wait(&mut self, _deadline: Tick) -> io::Result<Tick> {
        let State { ready, pending, .. } = &mut *self.state.borrow_mut();
        ready.extend(pending.drain(..));
        Ok(self.now())
    }

    /// Time stands still: no deadline comes, so every call of an operation is the same.
    fn now(&self) -> Tick {
        Tick::ZERO
    }

    #[inline]
    fn next(&mut self) -> Option<Completion<'_, ()>> {
        let happening = self.state.borrow_mut().ready.pop_front()?;
        Some(match happening {
            Happening::Accepted(listener) => {
                Completion::Accepted { listener, socket: (), peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)) }
            }
            Happening::Connected(key) => Completion::Connected { key, outcome: Ok(()) },
            Happening::Received(key, bytes) => {
                // Where the kernel would copy from its socket buffer.
                self.lent.clear();
                self.lent.extend_from_slice(&bytes);
                Completion::Received { key, bytes: &mut self.lent }
            }
            Happening::Sent(key, batch) => Completion::Sent { key, batch, outcome: Ok(()) },
            Happening::Finished(key) => Completion::Finished { key, end: Ok(()) },
            Happening::Closed(key) => Completion::Closed { key },
        })
    }

    fn listen(&mut self, _id: ListenerId, _listener: ()) -> io::Result<()> {
        Ok(())
    }

    fn pause_accept(&mut self, _id: ListenerId) {}

    fn resume_accept(&mut self, _id: ListenerId) {}
    fn unlisten(&mut self, _id: ListenerId) {}

    fn attach(&mut self, _socket: (), key: Key) {
        self.state.borrow_mut().attached = Some(key);
    }

    fn connect(&mut self, _to: &Remote, _from: Option<IpAddr>, key: Key) {
        let state = &mut *self.state.borrow_mut();
        state.dialled.push(key);
        state.pending.push(Happening::Connected(key));
    }

    fn recv(&mut self, _key: Key) {}

    fn keep_alive(&mut self, _: Key) {}

    fn taken(&mut self, _key: Key) -> u32 {
        0
    }

    fn facts(&mut self, _key: Key) -> Option<TcpFacts> {
        None
    }

    fn weigh(&mut self, _key: Key) -> InFlight {
        InFlight::default()
    }

    #[inline]
    fn send(&mut self, key: Key, mut batch: Box<Batch>) {
        let state = &mut *self.state.borrow_mut();
        if state.is_listening {
            let slot = key.slot as usize;
            if state.heard.len() <= slot {
                state.heard.resize_with(slot + 1, Vec::new);
            }
            batch.slices().for_each(|slice| state.heard[slot].extend_from_slice(slice));
        }
        batch.advance(batch.len());
        state.sends += 1;
        state.pending.push(Happening::Sent(key, batch));
        if state.dialled.contains(&key) {
            state.pending.push(Happening::Received(key, state.answer.clone()));
        }
    }

    /// The peer ends its half as soon as it has seen the end of ours.
    fn shutdown(&mut self, key: Key) {
        self.state.borrow_mut().pending.push(Happening::Finished(key));
    }

    fn close(&mut self, key: Key) {
        self.state.borrow_mut().pending.push(Happening::Closed(key));
    }

    fn abort(&mut self, key: Key) {
        self.close(key);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
