//! The kernel of a simulated driver: its listeners, its attached sockets, and the completions that wait to be taken.
//!
//! A completion waits as a [`Token`]; its content is looked up when it is taken. The assertions here catch breaches of
//! the driver's contract: each names one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use super::SimSocket;
use super::history::WorldEvent;
use super::link::{LinkId, ServerEnd, Side};
use super::service::{self, DialAttempt};
use super::world::{self, Due, World, WorldState};
use crate::base::{Batch, InFlight, Key, TcpFacts, Tick};
use crate::driver::{Completion, ListenerId, Waker};
use crate::limits::RECEIVE_BYTES;

pub(super) struct Kernel {
    /// False once the driver has been dropped.
    pub is_running: bool,
    /// The time until which the shard sleeps, from its last wait.
    pub deadline: Tick,
    /// True if the last wait found nothing. Otherwise the shard would wait again at once, perhaps with another
    /// deadline, so it gets another turn before time passes.
    is_asleep: bool,
    pub waker: Waker,
    /// Tokens for `next`.
    ready: VecDeque<Token>,
    /// Tokens for `next` after the next wait.
    deferred: Vec<Token>,
    listeners: BTreeMap<u16, AcceptQueue>,
    /// By slot: two generations of one slot cannot be attached at the same time.
    attached: BTreeMap<u32, AttachedSocket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Accept { listener: u16 },
    Connected { slot: u32 },
    Receive { slot: u32 },
    Sent { slot: u32 },
    Closed { slot: u32 },
    Woken,
}

struct AcceptQueue {
    address: SocketAddr,
    is_accepting: bool,
    queue: VecDeque<LinkId>,
}

struct AttachedSocket {
    key: Key,
    link: LinkId,
    connect: Connect,
    receive: Receive,
    send: Option<Sending>,
    /// The sending half ends as soon as nothing is being sent.
    is_shutdown: bool,
    is_closing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connect {
    /// Or accepted.
    Done,
    Waiting,
    /// A token waits to be taken.
    Ready(Result<(), io::ErrorKind>),
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    NotAsked,
    Waiting,
    /// A token waits to be taken.
    Ready,
}

struct Sending {
    batch: Box<Batch>,
    /// When a partial write continues.
    resume_at: Tick,
    /// Set while a token waits to be taken.
    outcome: Option<Result<(), io::ErrorKind>>,
}

impl Token {
    fn slot(self) -> Option<u32> {
        match self {
            Token::Connected { slot } | Token::Receive { slot } | Token::Sent { slot } | Token::Closed { slot } => {
                Some(slot)
            }
            Token::Accept { .. } | Token::Woken => None,
        }
    }
}

impl Kernel {
    pub(super) fn new() -> Kernel {
        Kernel {
            is_running: true,
            deadline: Tick::NEVER,
            is_asleep: false,
            waker: Waker::in_memory(),
            ready: VecDeque::new(),
            deferred: Vec::new(),
            listeners: BTreeMap::new(),
            attached: BTreeMap::new(),
        }
    }

    pub(super) fn is_runnable(&self, now: Tick) -> bool {
        let has_completions = !self.ready.is_empty() || !self.deferred.is_empty();
        !self.is_asleep || has_completions || self.waker.is_pending() || self.deadline <= now
    }

    pub(super) fn attached_count(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn listeners_on(&self, address: SocketAddr) -> impl Iterator<Item = u16> {
        let listeners = self.listeners.iter().filter(move |(_, listener)| listener.address == address);
        listeners.map(|(&id, _)| id)
    }

    fn revoke(&mut self, token: Token) {
        self.ready.retain(|other| *other != token);
        self.deferred.retain(|other| *other != token);
    }

    /// Takes one of the ready tokens: the oldest or any, but `Closed` is the last one of its key.
    fn take_ready(&mut self, index: usize) -> Option<Token> {
        let token = *self.ready.get(index)?;
        let index = match token {
            Token::Closed { slot } => self.ready.iter().position(|other| other.slot() == Some(slot))?,
            _ => index,
        };
        self.ready.remove(index)
    }

    fn listener_mut(&mut self, id: u16) -> &mut AcceptQueue {
        self.listeners.get_mut(&id).unwrap_or_else(|| panic!("no listener {id}"))
    }

    /// The socket a submission is for.
    pub(super) fn weigh(&mut self, key: Key) -> InFlight {
        let attached = self.attached.get(&key.slot).filter(|attached| attached.key == key);
        let send = attached.unwrap_or_else(|| panic!("{key:?} is not attached")).send.as_ref();
        InFlight::of(send.map(|send| &*send.batch))
    }

    fn attached_mut(&mut self, key: Key) -> &mut AttachedSocket {
        let attached = self.attached.get_mut(&key.slot).filter(|attached| attached.key == key);
        let attached = attached.unwrap_or_else(|| panic!("{key:?} is not attached"));
        assert!(!attached.is_closing, "{key:?} is being closed");
        attached
    }

    /// The same for a submission that needs a connection.
    fn connected_mut(&mut self, key: Key) -> &mut AttachedSocket {
        let attached = self.attached_mut(key);
        assert!(attached.connect == Connect::Done, "{key:?} is not connected");
        attached
    }

    pub(super) fn attach_dial(&mut self, key: Key, link: LinkId) {
        self.insert(key, link, Connect::Waiting);
    }

    fn take_connected(&mut self, slot: u32) -> (Key, Result<(), io::ErrorKind>) {
        let attached = self.attached.get_mut(&slot).expect("closing takes the token back");
        let Connect::Ready(outcome) = attached.connect else { unreachable!("a token stands for an outcome") };
        attached.connect = if outcome.is_ok() { Connect::Done } else { Connect::Failed };
        (attached.key, outcome)
    }

    fn insert(&mut self, key: Key, link: LinkId, connect: Connect) {
        let receive = Receive::NotAsked;
        let attached =
            AttachedSocket { key, link, connect, receive, send: None, is_shutdown: false, is_closing: false };
        let before = self.attached.insert(key.slot, attached);
        assert!(before.is_none(), "slot {} is attached already", key.slot);
    }
}

/// The connect has ended, unless `close` has revoked it.
pub(super) fn end_dial(state: &mut WorldState, attempt: DialAttempt, outcome: Result<(), io::ErrorKind>) {
    let DialAttempt { driver, key, .. } = attempt;
    let WorldState { kernels, links, .. } = state;
    let attached = kernels[driver as usize].attached.get_mut(&key.slot);
    let Some(attached) = attached.filter(|attached| attached.key == key && !attached.is_closing) else { return };
    // The break of a connection can overtake the answer that made it.
    let broken = links.get(&attached.link).and_then(|link| link.server_broken);
    attached.connect = Connect::Ready(broken.map_or(outcome, Err));
    state.complete(driver, Token::Connected { slot: key.slot });
}

pub(super) fn facts(state: &mut WorldState, driver: u32, key: Key) -> Option<TcpFacts> {
    let attached = state.kernel(driver).attached.get(&key.slot).filter(|attached| attached.key == key)?;
    let id = attached.link;
    state.links.get(&id)?.facts()
}

pub(super) fn abort(state: &mut WorldState, driver: u32, key: Key) {
    state.record(WorldEvent::Abort { driver, key });
    let link = let_go(state, driver, key);
    world::reset_server(state, link);
    plan_close(state, driver, key);
}

/// Revokes what is outstanding for `key`, and returns its batch.
fn let_go(state: &mut WorldState, driver: u32, key: Key) -> LinkId {
    let kernel = state.kernel(driver);
    let attached = kernel.attached_mut(key);
    attached.is_closing = true;
    let link = attached.link;
    let unsent = attached.send.as_mut().filter(|send| send.outcome.is_none());
    let was_sending = unsent.is_some();
    if let Some(send) = unsent {
        send.outcome = Some(Err(io::ErrorKind::ConnectionAborted));
    }
    kernel.revoke(Token::Connected { slot: key.slot });
    kernel.revoke(Token::Receive { slot: key.slot });
    if was_sending {
        state.complete(driver, Token::Sent { slot: key.slot });
    }
    link
}

fn plan_close(state: &mut WorldState, driver: u32, key: Key) {
    if state.random.chance(state.faults.late_close) {
        let at = state.now + state.faults.pause(&mut state.random);
        state.plan(at, Due::Closed { driver, key });
    } else {
        state.complete_close(driver, key);
    }
}

// The submissions of the driver's caller.
impl WorldState {
    pub(super) fn kernel(&mut self, driver: u32) -> &mut Kernel {
        &mut self.kernels[driver as usize]
    }

    pub(super) fn wait(&mut self, driver: u32, deadline: Tick) {
        let now = self.now;
        let is_spurious = self.random.chance(self.faults.spurious_wake);
        let kernel = self.kernel(driver);
        kernel.deadline = deadline;
        kernel.ready.extend(kernel.deferred.drain(..));
        if (kernel.waker.take() || is_spurious) && !kernel.ready.contains(&Token::Woken) {
            kernel.ready.push_back(Token::Woken);
        }
        kernel.is_asleep = kernel.ready.is_empty() && deadline > now;
    }

    pub(super) fn listen(&mut self, driver: u32, id: ListenerId, address: SocketAddr) {
        let listener = AcceptQueue { address, is_accepting: true, queue: VecDeque::new() };
        let before = self.kernel(driver).listeners.insert(id.0, listener);
        assert!(before.is_none(), "{id:?} listens already");
    }

    pub(super) fn pause_accept(&mut self, driver: u32, id: ListenerId) {
        self.record(WorldEvent::PauseAccept { driver, listener: id.0 });
        let kernel = self.kernel(driver);
        kernel.listener_mut(id.0).is_accepting = false;
        kernel.revoke(Token::Accept { listener: id.0 });
    }

    pub(super) fn resume_accept(&mut self, driver: u32, id: ListenerId) {
        self.record(WorldEvent::ResumeAccept { driver, listener: id.0 });
        let listener = self.kernel(driver).listener_mut(id.0);
        if !listener.is_accepting {
            listener.is_accepting = true;
            if !listener.queue.is_empty() {
                self.complete(driver, Token::Accept { listener: id.0 });
            }
        }
    }

    pub(super) fn unlisten(&mut self, driver: u32, id: ListenerId) {
        self.pause_accept(driver, id);
        let listener = self.kernel(driver).listeners.remove(&id.0).expect("it has listened until now");
        for link in listener.queue {
            self.leave_server(link);
        }
    }

    pub(super) fn attach(&mut self, driver: u32, link: LinkId, key: Key) {
        self.record(WorldEvent::Attach { driver, link, key });
        // A socket's link lives as long as the socket does.
        let end = &mut self.links.get_mut(&link).expect("a socket has a connection").server;
        assert_eq!(*end, ServerEnd::Accepted { driver }, "a socket is attached where it was accepted, once");
        *end = ServerEnd::Attached { driver, slot: key.slot };
        self.kernel(driver).insert(key, link, Connect::Done);
    }

    pub(super) fn recv(&mut self, driver: u32, key: Key) {
        self.record(WorldEvent::Recv { driver, key });
        let attached = self.kernel(driver).connected_mut(key);
        assert!(attached.receive == Receive::NotAsked, "{key:?} has a receive outstanding");
        attached.receive = Receive::Waiting;
        let link = attached.link;
        self.look(link);
    }

    pub(super) fn send(&mut self, driver: u32, key: Key, batch: Box<Batch>) {
        self.record(WorldEvent::Send { driver, key, count: batch.len() as u64 });
        let now = self.now;
        let attached = self.kernel(driver).connected_mut(key);
        assert!(attached.send.is_none(), "{key:?} has a batch outstanding");
        attached.send = Some(Sending { batch, resume_at: now, outcome: None });
        let link = attached.link;
        self.look(link);
    }

    pub(super) fn shutdown(&mut self, driver: u32, key: Key) {
        self.record(WorldEvent::Shutdown { driver, key });
        let attached = self.kernel(driver).connected_mut(key);
        attached.is_shutdown = true;
        let link = attached.link;
        if attached.send.as_ref().is_none_or(|send| send.outcome.is_some()) {
            self.finish_down(link);
        }
    }

    pub(super) fn taken(&mut self, driver: u32, key: Key) -> u32 {
        let link = self.kernel(driver).attached_mut(key).link;
        self.links.get(&link).map_or(0, |link| link.down.taken())
    }

    pub(super) fn close(&mut self, driver: u32, key: Key) {
        self.record(WorldEvent::Close { driver, key });
        let link = let_go(self, driver, key);
        self.leave_server(link);
        plan_close(self, driver, key);
    }

    /// The driver is dropped, as at the end of its thread: all its sockets and listeners close.
    pub(super) fn stop(&mut self, driver: u32) {
        let kernel = self.kernel(driver);
        kernel.is_running = false;
        kernel.ready.clear();
        kernel.deferred.clear();
        let attached = std::mem::take(&mut kernel.attached);
        let listeners = std::mem::take(&mut kernel.listeners);
        let queued = listeners.into_values().flat_map(|listener| listener.queue);
        for link in attached.into_values().map(|attached| attached.link).chain(queued) {
            self.leave_server(link);
        }
    }
}

// The effects of submissions.
impl WorldState {
    fn complete(&mut self, driver: u32, token: Token) {
        let is_deferred = self.random.chance(self.faults.defer);
        let kernel = self.kernel(driver);
        // `Closed` follows everything that is deferred for its key.
        let follows = token.slot().is_some() && kernel.deferred.iter().any(|other| other.slot() == token.slot());
        if is_deferred || follows {
            kernel.deferred.push(token);
        } else {
            kernel.ready.push_back(token);
        }
    }

    pub(super) fn complete_close(&mut self, driver: u32, key: Key) {
        if self.kernel(driver).attached.contains_key(&key.slot) {
            self.complete(driver, Token::Closed { slot: key.slot });
        }
    }

    /// A connection has arrived at its listener.
    pub(super) fn knock(&mut self, driver: u32, listener: u16, link: LinkId) {
        let kernel = self.kernel(driver);
        let Some(found) = kernel.listeners.get_mut(&listener) else {
            return self.leave_server(link);
        };
        found.queue.push_back(link);
        let token = Token::Accept { listener };
        let is_told = kernel.ready.contains(&token) || kernel.deferred.contains(&token);
        if kernel.listener_mut(listener).is_accepting && !is_told {
            self.complete(driver, token);
        }
    }

    /// Something may have changed for this connection: completes what can be completed now.
    pub(super) fn look(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let ServerEnd::Attached { driver, slot } = link.server else { return };
        let has_news = link.has_news_for_server(now);
        let attached = self.kernels[driver as usize].attached.get_mut(&slot).expect("an attached link has a slot");
        if has_news && attached.receive == Receive::Waiting {
            attached.receive = Receive::Ready;
            self.complete(driver, Token::Receive { slot });
        }
        if self.move_batch(driver, slot, id) {
            self.complete(driver, Token::Sent { slot });
            let attached = &self.kernels[driver as usize].attached[&slot];
            if attached.is_shutdown {
                self.finish_down(id);
            }
        }
    }

    /// Moves as much of the batch in flight into the pipe as possible; true if that ends the batch.
    fn move_batch(&mut self, driver: u32, slot: u32, id: LinkId) -> bool {
        let arrival = self.arrival();
        let WorldState { now, random, faults, links, kernels, .. } = self;
        let attached = kernels[driver as usize].attached.get_mut(&slot).expect("asked for by its slot");
        let Some(send) = attached.send.as_mut().filter(|send| send.outcome.is_none() && send.resume_at <= *now) else {
            return false;
        };
        let link = links.get_mut(&id).expect("an attached slot has a connection");
        if let Some(kind) = link.server_broken {
            send.outcome = Some(Err(kind));
            return true;
        }
        if link.down.is_finished() {
            send.outcome = Some(Err(io::ErrorKind::BrokenPipe));
            return true;
        }
        let most = send.batch.len().min(link.down.room());
        let is_partial = most > 0 && random.chance(faults.partial_write);
        let count = link.pass(if is_partial { random.some_of(most) } else { most });
        let mut left = count;
        let mut arrives_at = arrival;
        for bytes in send.batch.slices() {
            let step = left.min(bytes.len());
            if !link.is_client_gone && step > 0 {
                arrives_at = link.down.push(&bytes[..step], arrival);
            }
            left -= step;
        }
        send.batch.advance(count);
        let is_client_gone = link.is_client_gone;
        let is_spent = link.is_spent();
        let is_done = send.batch.is_empty();
        if is_done {
            send.outcome = Some(Ok(()));
        } else if is_partial {
            send.resume_at = *now + faults.pause(random);
            let resume_at = send.resume_at;
            self.plan(resume_at, Due::Look(id));
        }
        if count > 0 {
            if is_client_gone {
                self.plan_reset(id, Side::Server);
            } else {
                self.plan(arrives_at, Due::Look(id));
            }
            if is_spent {
                service::plan_both_resets(self, id);
            }
        }
        is_done
    }

    /// The next completion of a driver; received bytes are put into `lent`.
    pub(super) fn take<'a>(
        &mut self,
        driver: u32,
        world: &World,
        lent: &'a mut Vec<u8>,
    ) -> Option<Completion<'a, SimSocket>> {
        let count = self.kernel(driver).ready.len() as u64;
        let is_reordered = count > 1 && self.random.chance(self.faults.reorder);
        let index = if is_reordered { self.random.below(count) } else { 0 };
        Some(match self.kernel(driver).take_ready(index as usize)? {
            Token::Accept { listener } => self.take_accept(driver, listener, world),
            Token::Connected { slot } => {
                let (key, outcome) = self.kernel(driver).take_connected(slot);
                self.record(WorldEvent::DialEnded { driver, key, error: outcome.err() });
                Completion::Connected { key, outcome }
            }
            Token::Receive { slot } => self.take_receive(driver, slot, lent),
            Token::Sent { slot } => self.take_sent(driver, slot),
            Token::Closed { slot } => self.take_closed(driver, slot),
            Token::Woken => {
                self.record(WorldEvent::Woken { driver });
                Completion::Woken
            }
        })
    }

    fn take_accept<'a>(&mut self, driver: u32, id: u16, world: &World) -> Completion<'a, SimSocket> {
        let fails = self.random.chance(self.faults.accept_failure);
        let errno = if self.random.chance(500) { libc::EMFILE } else { libc::ENOBUFS };
        let listener = self.kernel(driver).listener_mut(id);
        assert!(listener.is_accepting, "pausing takes the token back");
        if fails {
            listener.is_accepting = false;
            self.record(WorldEvent::AcceptFailed { driver, listener: id });
            return Completion::AcceptFailed { listener: ListenerId(id), error: io::Error::from_raw_os_error(errno) };
        }
        let link = listener.queue.pop_front().expect("a token stands for a queue that is not empty");
        if !listener.queue.is_empty() {
            self.complete(driver, Token::Accept { listener: id });
        }
        self.record(WorldEvent::Accepted { driver, listener: id, link });
        let found = self.links.get_mut(&link).expect("what is queued has a server's end");
        found.server = ServerEnd::Accepted { driver };
        Completion::Accepted { listener: ListenerId(id), socket: SimSocket::new(world.clone(), link), peer: found.peer }
    }

    fn take_receive<'a>(&mut self, driver: u32, slot: u32, lent: &'a mut Vec<u8>) -> Completion<'a, SimSocket> {
        let WorldState { now, random, faults, links, kernels, .. } = self;
        let attached = kernels[driver as usize].attached.get_mut(&slot).expect("closing takes the token back");
        attached.receive = Receive::NotAsked;
        let key = attached.key;
        let link = links.get_mut(&attached.link).expect("an attached slot has a connection");
        let most = link.up.readable(*now).min(RECEIVE_BYTES);
        if most > 0 {
            let count = if random.chance(faults.partial_read) { random.some_of(most) } else { most };
            link.up.take(count, lent);
            let is_opaque = link.is_opaque;
            self.record(WorldEvent::Received { driver, key, count: count as u64 });
            if !is_opaque {
                self.history.record_bytes(lent);
            }
            return Completion::Received { key, bytes: lent };
        }
        let error = if link.up.is_ended(*now) { None } else { link.server_broken };
        self.record(WorldEvent::Finished { driver, key, error });
        Completion::Finished { key, end: error.map_or(Ok(()), Err) }
    }

    fn take_sent<'a>(&mut self, driver: u32, slot: u32) -> Completion<'a, SimSocket> {
        let attached = self.kernel(driver).attached.get_mut(&slot).expect("a batch comes back before Closed");
        let key = attached.key;
        let Sending { batch, outcome, .. } = attached.send.take().expect("a token stands for a batch");
        let outcome = outcome.expect("a token stands for an outcome");
        self.record(WorldEvent::Sent { driver, key, error: outcome.err() });
        Completion::Sent { key, batch, outcome }
    }

    fn take_closed<'a>(&mut self, driver: u32, slot: u32) -> Completion<'a, SimSocket> {
        let attached = self.kernel(driver).attached.remove(&slot).expect("closed once");
        assert!(attached.send.is_none(), "a batch comes back before Closed");
        let key = attached.key;
        self.record(WorldEvent::Closed { driver, key });
        Completion::Closed { key }
    }
}
