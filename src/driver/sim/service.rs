//! A server in the world, and the way of a dial to it.
//!
//! ```text
//! SimDriver::connect --(latency)--> the service's queue --(latency)--> Connected
//!        |                |-- no service, or Refused --(latency)-----> Connected: refused
//!        |                |-- the queue is full: the same again after SYN_RETRY; a unix socket: Connected: WouldBlock
//!        |                '-- Silent: nothing comes
//!        '-- no descriptor, no port: Connected at once
//! ```
//!
//! The service's end is an [`Endpoint`], as a client's is; the driver's end is attached from the beginning.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::endpoint::Endpoint;
use super::history::WorldEvent;
use super::kernel;
use super::link::{LinkId, ServerEnd, Side};
use super::world::{Due, World, WorldState};
use crate::base::Key;
use crate::driver::Remote;
use crate::limits::LISTEN_QUEUE;

/// After which time TCP asks again (RFC 6298 section 2); the doubling makes no difference here.
const SYN_RETRY: Duration = Duration::from_secs(1);

/// A listening server; dropping it refuses later dials and resets those that it has not accepted.
pub struct SimService {
    world: World,
    remote: Remote,
}

/// The answer of a service to a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFate {
    Answered,
    Refused,
    /// No answer comes, ever.
    Silent,
    /// Answered after this time.
    Late(Duration),
    /// Answered, and reset when so many bytes have moved, both directions together.
    ResetAt(u64),
}

pub(super) struct ServiceState {
    is_calm: bool,
    queue: VecDeque<LinkId>,
    queue_max: usize,
    /// Of the next dials; later ones are decided by the faults of the world.
    fates: VecDeque<DialFate>,
}

/// The beginning of a dialled connection, as far as it is remembered.
pub(super) struct SimDial {
    to: Remote,
    pub from: Option<IpAddr>,
}

impl SimDial {
    pub(super) fn is_local(&self) -> bool {
        is_unix(&self.to)
    }
}

impl World {
    /// A server that listens on this address, which must be free.
    pub fn serve(&self, remote: impl Into<Remote>) -> SimService {
        self.serve_as(remote.into(), false)
    }

    /// The same for a server whose connections the world never breaks, delays or refuses by itself; see
    /// [`World::connect_calm`].
    pub fn serve_calm(&self, remote: impl Into<Remote>) -> SimService {
        self.serve_as(remote.into(), true)
    }

    fn serve_as(&self, remote: Remote, is_calm: bool) -> SimService {
        let service =
            ServiceState { is_calm, queue: VecDeque::new(), queue_max: LISTEN_QUEUE as usize, fates: VecDeque::new() };
        let before = self.state().services.insert(remote.clone(), service);
        assert!(before.is_none(), "{remote} is served already");
        SimService { world: self.clone(), remote }
    }
}

impl SimService {
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The service's end of the oldest connection in its queue.
    pub fn accept(&self) -> Option<Endpoint> {
        let link = self.with(|service| service.queue.pop_front())?;
        Some(Endpoint::new(self.world.clone(), link))
    }

    /// Decides about the next dial that has no fate yet, instead of chance.
    pub fn decide(&self, fate: DialFate) {
        self.with(|service| service.fates.push_back(fate));
    }

    /// How many connections may wait to be accepted.
    pub fn set_queue_max(&self, count: usize) {
        self.with(|service| service.queue_max = count);
    }

    fn with<T>(&self, change: impl FnOnce(&mut ServiceState) -> T) -> T {
        change(self.world.state().services.get_mut(&self.remote).expect("this handle removes it"))
    }
}

impl Drop for SimService {
    fn drop(&mut self) {
        if let Some(mut state) = self.world.state_if_free()
            && let Some(service) = state.services.remove(&self.remote)
        {
            service.queue.into_iter().for_each(|link| state.client_leave(link, true));
        }
    }
}

/// One call of `connect`, and what the world knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DialAttempt {
    pub driver: u32,
    pub key: Key,
    link: LinkId,
}

impl DialAttempt {
    pub(super) fn begin(state: &mut WorldState, driver: u32, to: &Remote, from: Option<IpAddr>, key: Key) {
        let peer = match to {
            Remote::Tcp(address) => *address,
            Remote::Unix(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let link = state.new_link(|_| peer, false);
        let found = state.links.get_mut(&link).expect("it is new");
        found.server = ServerEnd::Attached { driver, slot: key.slot };
        // There is no end to go until the service answers.
        found.is_client_gone = true;
        found.dial = Some(Box::new(SimDial { to: to.clone(), from }));
        state.record(WorldEvent::Dial { driver, link, key });
        state.kernel(driver).attach_dial(key, link);
        let attempt = DialAttempt { driver, key, link };
        if state.random.chance(state.faults.dial_failure) {
            let kinds = [io::ErrorKind::OutOfMemory, io::ErrorKind::AddrNotAvailable];
            let kind = kinds[state.random.below(2) as usize];
            return kernel::end_dial(state, attempt, Err(kind));
        }
        let at = state.arrival();
        state.plan(at, Due::Dial(attempt));
    }

    /// It has arrived where it leads.
    pub(super) fn arrive(self, state: &mut WorldState) {
        let Some(to) = self.destination(state) else { return };
        let Some(service) = state.services.get_mut(&to) else {
            let kind = if is_unix(&to) { io::ErrorKind::NotFound } else { io::ErrorKind::ConnectionRefused };
            return self.plan_end(state, Err(kind));
        };
        if service.queue.len() >= service.queue_max {
            if is_unix(&to) {
                return self.plan_end(state, Err(io::ErrorKind::WouldBlock));
            }
            return state.plan(state.now + SYN_RETRY, Due::Dial(self));
        }
        let is_calm = service.is_calm;
        let fate = match service.fates.pop_front() {
            Some(fate) => fate,
            None if is_calm => DialFate::Answered,
            None => state.faults.dial_fate(&mut state.random),
        };
        match fate {
            DialFate::Answered => self.answer(state),
            DialFate::Refused => self.plan_end(state, Err(io::ErrorKind::ConnectionRefused)),
            DialFate::Silent => {}
            DialFate::Late(delay) => state.plan(state.now + delay, Due::Answer(self)),
            DialFate::ResetAt(count) => {
                state.links.get_mut(&self.link).expect("it has a destination").breaks_after = Some(count);
                self.answer(state);
            }
        }
    }

    /// The service takes it into its queue.
    pub(super) fn answer(self, state: &mut WorldState) {
        let Some(to) = self.destination(state) else { return };
        let Some(service) = state.services.get_mut(&to) else {
            return self.plan_end(state, Err(io::ErrorKind::ConnectionRefused));
        };
        service.queue.push_back(self.link);
        let link = state.links.get_mut(&self.link).expect("it has a destination");
        link.is_client_gone = false;
        link.is_calm = service.is_calm;
        let (is_calm, is_spent) = (link.is_calm, link.is_spent());
        state.record(WorldEvent::Answered { link: self.link });
        self.plan_end(state, Ok(()));
        if is_spent {
            plan_both_resets(state, self.link);
        } else if !is_calm && state.random.chance(state.faults.reset) {
            state.plan_breakdown(self.link);
        }
    }

    /// Where it leads; `None` if it was closed on its way.
    fn destination(self, state: &WorldState) -> Option<Remote> {
        Some(state.links.get(&self.link)?.dial.as_ref()?.to.clone())
    }

    fn plan_end(self, state: &mut WorldState, outcome: Result<(), io::ErrorKind>) {
        let at = state.arrival();
        state.plan(at, Due::DialEnds { attempt: self, outcome });
    }
}

/// All the bytes have moved that this connection may carry: it breaks for each side when they have arrived there.
pub(super) fn plan_both_resets(state: &mut WorldState, link: LinkId) {
    for side in [Side::Client, Side::Server] {
        let at = state.arrival();
        let Some(found) = state.links.get(&link) else { return };
        let incoming = if side == Side::Client { &found.down } else { &found.up };
        let at = at.max(incoming.last_arrival());
        state.plan(at, Due::Break { link, side, kind: io::ErrorKind::ConnectionReset });
    }
}

fn is_unix(remote: &Remote) -> bool {
    matches!(remote, Remote::Unix(_))
}
