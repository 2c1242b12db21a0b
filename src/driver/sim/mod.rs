//! The driver without a kernel: a whole gateway's connections in memory, in virtual time, with seeded faults.
//!
//! ```text
//!   World            clock, chance, faults, connections         world.rs, link.rs, faults.rs, history.rs
//!    |-- SimDriver   one per shard: the Driver trait            here; what its kernel holds: kernel.rs
//!    |-- Endpoint    one per client                             endpoint.rs
//!    '-- SimService  one per server that is dialled             service.rs
//! ```
//!
//! One thread, no sleep, no real descriptor. A simulation picks the next actor (a shard that [`World::is_runnable`] runs one
//! turn, a client reads or writes), and when none can act, calls [`World::advance_to`] with [`World::next_event`]. The
//! same seed and the same picks give the same history, bit for bit.
//!
//! A shard that breaks the contract panics here, even if a kernel would tolerate it.

use std::io;
use std::net::IpAddr;

use super::{Completion, Driver, ListenerId, Remote, Waker};
use crate::base::{Batch, InFlight, Key, TcpFacts, Tick};

mod endpoint;
mod faults;
mod history;
mod kernel;
mod link;
mod service;
mod world;

pub use endpoint::{Endpoint, ReadOutcome};
pub use faults::{Faults, Random};
pub use history::WorldEvent;
pub use link::LinkId;
use service::DialAttempt;
pub use service::{DialFate, SimService};
pub use world::{DriverId, SimListener, World};

/// The driver of one shard in a [`World`]; dropping it closes everything that it holds.
pub struct SimDriver {
    world: World,
    id: DriverId,
    /// The bytes of the last completion.
    lent: Vec<u8>,
}

/// The gateway's end of a connection; dropping it before it is attached closes it.
pub struct SimSocket {
    world: World,
    link: LinkId,
    is_attached: bool,
}

impl SimDriver {
    fn new(world: World, id: DriverId) -> SimDriver {
        SimDriver { world, id, lent: Vec::new() }
    }

    pub fn id(&self) -> DriverId {
        self.id
    }
}

impl SimSocket {
    fn new(world: World, link: LinkId) -> SimSocket {
        SimSocket { world, link, is_attached: false }
    }

    pub fn id(&self) -> LinkId {
        self.link
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if self.is_attached {
            return;
        }
        if let Some(mut state) = self.world.state_if_free() {
            state.leave_server(self.link);
        }
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        if let Some(mut state) = self.world.state_if_free() {
            state.stop(self.id.0);
        }
    }
}

impl Driver for SimDriver {
    type Socket = SimSocket;
    type Listener = SimListener;

    fn wait(&mut self, deadline: Tick) -> io::Result<Tick> {
        let mut state = self.world.state();
        state.wait(self.id.0, deadline);
        Ok(state.now)
    }

    fn now(&self) -> Tick {
        self.world.now()
    }

    fn next(&mut self) -> Option<Completion<'_, SimSocket>> {
        self.lent.clear();
        self.world.state().take(self.id.0, &self.world, &mut self.lent)
    }

    fn listen(&mut self, id: ListenerId, listener: SimListener) -> io::Result<()> {
        self.world.state().listen(self.id.0, id, listener.address);
        Ok(())
    }

    fn pause_accept(&mut self, id: ListenerId) {
        self.world.state().pause_accept(self.id.0, id);
    }

    fn resume_accept(&mut self, id: ListenerId) {
        self.world.state().resume_accept(self.id.0, id);
    }

    fn unlisten(&mut self, id: ListenerId) {
        self.world.state().unlisten(self.id.0, id);
    }

    fn attach(&mut self, mut socket: SimSocket, key: Key) {
        socket.is_attached = true;
        self.world.state().attach(self.id.0, socket.link, key);
    }

    fn connect(&mut self, to: &Remote, from: Option<IpAddr>, key: Key) {
        DialAttempt::begin(&mut self.world.state(), self.id.0, to, from, key);
    }

    fn recv(&mut self, key: Key) {
        self.world.state().recv(self.id.0, key);
    }

    fn send(&mut self, key: Key, batch: Box<Batch>) {
        self.world.state().send(self.id.0, key, batch);
    }

    fn shutdown(&mut self, key: Key) {
        self.world.state().shutdown(self.id.0, key);
    }

    fn close(&mut self, key: Key) {
        self.world.state().close(self.id.0, key);
    }

    fn abort(&mut self, key: Key) {
        kernel::abort(&mut self.world.state(), self.id.0, key);
    }

    /// No peer vanishes without a word here.
    fn keep_alive(&mut self, _: Key) {}

    fn taken(&mut self, key: Key) -> u32 {
        self.world.state().taken(self.id.0, key)
    }

    fn facts(&mut self, key: Key) -> Option<TcpFacts> {
        kernel::facts(&mut self.world.state(), self.id.0, key)
    }

    fn weigh(&mut self, key: Key) -> InFlight {
        self.world.state().kernel(self.id.0).weigh(key)
    }

    fn waker(&self) -> Waker {
        self.world.state().kernel(self.id.0).waker.clone()
    }
}

#[cfg(test)]
mod tests;
