//! The network of a simulation: one virtual clock, one seeded source of randomness, all connections, and the events to
//! come.
//!
//! ```text
//! Endpoint::write --> pipe up   --(latency)--> arrived --> Kernel::completions --> SimDriver::next
//! Endpoint::read  <-- arrived <--(latency)--  pipe down <-- batches <------------- SimDriver::send
//! SimService::accept  <-------- dials: see `service` ----------------------------- SimDriver::connect
//! ```
//!
//! Time passes only in [`World::advance_to`]. Between two calls of it everything happens at one instant, in the order
//! in which the scheduler of the simulation lets shards and clients act.

use std::cell::{RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use super::SimDriver;
use super::endpoint::Endpoint;
use super::faults::{Faults, Random};
use super::history::{WorldEvent, WorldHistory};
use super::kernel::{self, Kernel};
use super::link::{LinkId, ServerEnd, Side, SimLink};
use super::service::{DialAttempt, ServiceState};
use crate::base::{Key, Tick};
use crate::driver::Remote;
use crate::limits::LISTEN_QUEUE;

/// A handle to one world; clones name the same one.
#[derive(Clone)]
pub struct World(Rc<RefCell<WorldState>>);

/// Names a driver of a world, in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverId(pub u32);

/// A socket to listen on; an argument of [`SimDriver`]'s `listen`.
pub struct SimListener {
    pub(super) address: SocketAddr,
}

pub(super) struct WorldState {
    pub now: Tick,
    pub random: Random,
    pub faults: Faults,
    pub links: BTreeMap<LinkId, SimLink>,
    pub kernels: Vec<Kernel>,
    pub services: BTreeMap<Remote, ServiceState>,
    pub history: WorldHistory,
    link_count: u64,
    /// Numbered, so that events of one time happen in the order in which they were planned.
    timers: BinaryHeap<Reverse<(Tick, u64, Due)>>,
    timer_count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Bytes of this connection have arrived, or its send may continue.
    Look(LinkId),
    /// A new connection arrives in its listener's queue.
    Knock {
        driver: u32,
        listener: u16,
        link: LinkId,
    },
    /// A dial arrives where it leads.
    Dial(DialAttempt),
    /// A service answers a dial late.
    Answer(DialAttempt),
    /// The answer to a dial arrives.
    DialEnds {
        attempt: DialAttempt,
        outcome: Result<(), io::ErrorKind>,
    },
    Break {
        link: LinkId,
        side: Side,
        kind: io::ErrorKind,
    },
    Closed {
        driver: u32,
        key: Key,
    },
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        faults.check();
        World(Rc::new(RefCell::new(WorldState {
            now: Tick::ZERO,
            random: Random::new(seed),
            faults,
            links: BTreeMap::new(),
            kernels: Vec::new(),
            services: BTreeMap::new(),
            history: WorldHistory::default(),
            link_count: 0,
            timers: BinaryHeap::new(),
            timer_count: 0,
        })))
    }

    /// A world whose randomness and faults both follow from `seed`.
    pub fn seeded(seed: u64) -> World {
        World::new(seed, Faults::seeded(seed))
    }

    pub fn driver(&self) -> SimDriver {
        let mut state = self.state();
        let id = DriverId(state.kernels.len() as u32);
        state.kernels.push(Kernel::new());
        SimDriver::new(self.clone(), id)
    }

    /// A listening socket. Several drivers may listen on the same address, as with SO_REUSEPORT.
    pub fn listener(&self, address: SocketAddr) -> SimListener {
        SimListener { address }
    }

    /// Connects a client to one of the drivers that listen on `address`; `None` if the connection is refused.
    pub fn connect(&self, address: SocketAddr) -> Option<Endpoint> {
        self.connect_as(address, false)
    }

    /// Connects a client whose connection the world never breaks, and which never stops reading: any lost byte was lost
    /// by the gateway. Every other fault (delays, small pieces) applies to it as well.
    pub fn connect_calm(&self, address: SocketAddr) -> Option<Endpoint> {
        self.connect_as(address, true)
    }

    fn connect_as(&self, address: SocketAddr, is_calm: bool) -> Option<Endpoint> {
        let link = self.state().connect(address, is_calm)?;
        Some(Endpoint::new(self.clone(), link))
    }

    pub fn now(&self) -> Tick {
        self.state().now
    }

    /// The time of the next event or of the next deadline of a driver; [`Tick::NEVER`] if there is none. If a driver is
    /// runnable, that is now.
    pub fn next_event(&self) -> Tick {
        let state = self.state();
        let planned = state.timers.peek().map_or(Tick::NEVER, |Reverse((at, ..))| *at);
        let drivers = state.kernels.iter().filter(|kernel| kernel.is_running);
        drivers
            .map(|kernel| if kernel.is_runnable(state.now) { state.now } else { kernel.deadline })
            .fold(planned, Tick::min)
            .max(state.now)
    }

    /// Lets time pass, with all events until then.
    pub fn advance_to(&self, time: Tick) {
        assert!(time != Tick::NEVER, "the end of time is not a time");
        let mut state = self.state();
        assert!(time >= state.now, "time does not go back");
        state.advance_to(time);
    }

    /// True if a turn of this driver's shard would find something (a completion, a wake-up, its deadline), or if the
    /// shard has not yet said until when it sleeps, because its last wait returned something.
    pub fn is_runnable(&self, driver: DriverId) -> bool {
        let state = self.state();
        let kernel = &state.kernels[driver.0 as usize];
        kernel.is_running && kernel.is_runnable(state.now)
    }

    /// Connections whose server's end is not closed, including those in the listeners' queues.
    pub fn open_connections(&self) -> usize {
        self.state().links.values().filter(|link| link.server != ServerEnd::Gone).count()
    }

    /// Keys that are attached to a driver, until their `Closed` has been taken.
    pub fn attached(&self, driver: DriverId) -> usize {
        self.state().kernels[driver.0 as usize].attached_count()
    }

    /// Bytes in flight or unread, of all connections and both directions.
    pub fn bytes_held(&self) -> usize {
        self.state().links.values().map(|link| link.up.held() + link.down.held()).sum()
    }

    /// A hash of all events: the same for the same seed and the same scheduler.
    pub fn history(&self) -> u64 {
        self.state().history.hash()
    }

    /// The latest events, oldest first, for the report of a failure.
    pub fn recent(&self) -> Vec<(Tick, WorldEvent)> {
        self.state().history.recent()
    }

    /// A random number below `bound`, for the scheduler of the simulation.
    pub fn random_below(&self, bound: u64) -> u64 {
        self.state().random.below(bound)
    }

    /// From now on no new faults occur (existing breaks and delays stay): for the end of a simulation, when everything
    /// has to come to rest.
    pub fn calm_down(&self) {
        self.state().faults = Faults::none();
    }

    pub(super) fn state(&self) -> RefMut<'_, WorldState> {
        self.0.borrow_mut()
    }

    /// For destructors, which also run while a failed assertion unwinds.
    pub(super) fn state_if_free(&self) -> Option<RefMut<'_, WorldState>> {
        self.0.try_borrow_mut().ok()
    }
}

impl WorldState {
    pub(super) fn record(&mut self, event: WorldEvent) {
        self.history.record(self.now, event);
    }

    pub(super) fn plan(&mut self, at: Tick, due: Due) {
        assert!(at > self.now, "what is planned lies ahead");
        self.timer_count += 1;
        self.timers.push(Reverse((at, self.timer_count, due)));
    }

    /// When a segment that is sent now arrives, if it overtakes no other.
    pub(super) fn arrival(&mut self) -> Tick {
        self.now + self.faults.latency(&mut self.random)
    }

    fn advance_to(&mut self, time: Tick) {
        while let Some(&Reverse((at, _, due))) = self.timers.peek()
            && at <= time
        {
            self.timers.pop();
            self.now = at;
            match due {
                Due::Look(link) => self.look(link),
                Due::Knock { driver, listener, link } => self.knock(driver, listener, link),
                Due::Dial(attempt) => attempt.arrive(self),
                Due::Answer(attempt) => attempt.answer(self),
                Due::DialEnds { attempt, outcome } => kernel::end_dial(self, attempt, outcome),
                Due::Break { link, side, kind } => self.break_side(link, side, kind),
                Due::Closed { driver, key } => self.complete_close(driver, key),
            }
        }
        self.now = time;
    }

    fn connect(&mut self, address: SocketAddr, is_calm: bool) -> Option<LinkId> {
        let mut candidates = Vec::new();
        for (driver, kernel) in self.kernels.iter().enumerate() {
            candidates.extend(kernel.listeners_on(address).map(|listener| (driver as u32, listener)));
        }
        if candidates.is_empty() {
            return None;
        }
        let (driver, listener) = candidates[self.random.below(candidates.len() as u64) as usize];
        let queued = self.links.values().filter(|link| link.server == ServerEnd::Queued).count();
        if queued >= LISTEN_QUEUE as usize {
            return None;
        }

        let id = self.new_link(peer_address, is_calm);
        self.record(WorldEvent::Connected { link: id });
        let knock_at = self.arrival();
        self.plan(knock_at, Due::Knock { driver, listener, link: id });
        if !is_calm && self.random.chance(self.faults.reset) {
            self.plan_breakdown(id);
        }
        Some(id)
    }

    pub(super) fn new_link(&mut self, peer: impl FnOnce(LinkId) -> SocketAddr, is_calm: bool) -> LinkId {
        self.link_count += 1;
        let id = LinkId(self.link_count);
        let [up_bytes, down_bytes] = [(); 2].map(|()| self.random.within(&self.faults.pipe_bytes) as usize);
        self.links.insert(id, SimLink::new(peer(id), is_calm, up_bytes, down_bytes));
        id
    }

    /// Plans a break of the network at some time of this connection's life; one side notices before the other.
    pub(super) fn plan_breakdown(&mut self, link: LinkId) {
        const KINDS: [io::ErrorKind; 3] =
            [io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut, io::ErrorKind::BrokenPipe];
        let mut sides = [Side::Client, Side::Server];
        if self.random.chance(500) {
            sides.reverse();
        }
        let mut at = self.now + std::time::Duration::from_micros(self.random.within(&self.faults.life_us));
        for side in sides {
            let kind = KINDS[self.random.below(KINDS.len() as u64) as usize];
            self.plan(at, Due::Break { link, side, kind });
            at = at + self.faults.latency(&mut self.random);
        }
    }

    /// Tells the other side that this connection is gone. The reset may overtake bytes in flight, except on a calm
    /// connection.
    pub(super) fn plan_reset(&mut self, link: LinkId, side: Side) {
        let mut at = self.arrival();
        let Some(found) = self.links.get(&link) else { return };
        if found.is_calm {
            at = at.max(if side == Side::Client { found.down.last_arrival() } else { found.up.last_arrival() });
        }
        self.plan(at, Due::Break { link, side, kind: io::ErrorKind::ConnectionReset });
    }

    fn break_side(&mut self, id: LinkId, side: Side, kind: io::ErrorKind) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let broken = if side == Side::Client { &mut link.client_broken } else { &mut link.server_broken };
        if broken.is_some() {
            return;
        }
        *broken = Some(kind);
        let (incoming, outgoing) = match side {
            Side::Client => (&mut link.down, &mut link.up),
            Side::Server => (&mut link.up, &mut link.down),
        };
        incoming.cut(self.now);
        if !link.is_calm && self.random.chance(self.faults.discard) {
            incoming.clear();
        }
        if link.is_client_gone {
            outgoing.clear();
        }
        self.record(WorldEvent::Broke { link: id, side, kind });
        self.look(id);
    }

    /// The driver's end closes its socket. Unread bytes turn the end into a reset (RFC 9293 section 3.6.1, RFC 1122
    /// section 4.2.2.13), which may lose the last answer to the client: that is why servers linger.
    pub(super) fn leave_server(&mut self, id: LinkId) {
        let has_unread = self.links.get(&id).is_some_and(|link| link.up.held() > 0);
        leave_server_with(self, id, has_unread);
    }

    /// Ends the server's direction after the bytes that were sent.
    pub(super) fn finish_down(&mut self, id: LinkId) {
        let at = self.arrival();
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.down.is_finished() {
            let at = link.down.finish(at);
            self.plan(at, Due::Look(id));
        }
    }
}

/// The driver's end aborts its connection. What is in flight may be lost.
pub(super) fn reset_server(state: &mut WorldState, id: LinkId) {
    leave_server_with(state, id, true);
}

fn leave_server_with(state: &mut WorldState, id: LinkId, with_reset: bool) {
    let Some(link) = state.links.get_mut(&id) else { return };
    link.server = ServerEnd::Gone;
    link.up.clear();
    if link.is_over() {
        state.links.remove(&id);
    } else if link.server_broken.is_none() {
        if with_reset {
            state.plan_reset(id, Side::Client);
        } else {
            state.finish_down(id);
        }
    }
    state.record(WorldEvent::ServerLeft { link: id, with_reset });
}

/// Distinct for more than sixteen million connections, and recognizable in a report.
fn peer_address(link: LinkId) -> SocketAddr {
    let address = Ipv4Addr::from(0x0A00_0000 | (link.0 as u32 & 0x00FF_FFFF));
    SocketAddr::from((address, 1_024 + (link.0 % 60_000) as u16))
}
