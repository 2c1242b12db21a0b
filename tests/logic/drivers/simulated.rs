//! The world of the simulator: the same behaviours in virtual time.

use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tidegate::base::Tick;
use tidegate::driver::sim::{self, Endpoint, Faults, SimDriver, SimService};
use tidegate::driver::{Driver, Remote};

use crate::drivers::kernel::ANY_PORT;
use crate::drivers::stage::{LISTENER, Peer, Read, Server, World};

/// What looking costs: in a world without it, a loop that only looks would look for ever.
const LOOK: Duration = Duration::from_micros(20);

/// A world whose network is good (`Calm`) or slow and crumbling (`Rough`), but breaks nothing by itself.
pub struct SimWorld<W: Weather> {
    weather: PhantomData<W>,
    world: sim::World,
    driver: SimDriver,
    served: u16,
}

pub trait Weather {
    fn faults() -> Faults;
}

pub struct Calm;

impl Weather for Calm {
    fn faults() -> Faults {
        Faults::none()
    }
}

pub struct Rough;

impl Weather for Rough {
    fn faults() -> Faults {
        Faults {
            partial_read: 300,
            partial_write: 300,
            delay: 50,
            delay_us: 1..=500,
            reorder: 500,
            defer: 500,
            late_close: 500,
            ..Faults::none()
        }
    }
}

const ADDRESS: SocketAddr = ANY_PORT;

impl<W: Weather> World for SimWorld<W> {
    type Driver = SimDriver;
    type Peer = SimPeer;
    type Server = SimServer;

    fn new() -> Self {
        let world = sim::World::new(1, W::faults());
        let mut driver = world.driver();
        driver.listen(LISTENER, world.listener(ADDRESS)).expect("listen");
        SimWorld { weather: PhantomData, world, driver, served: 0 }
    }

    fn driver(&mut self) -> &mut SimDriver {
        &mut self.driver
    }

    fn wait(&mut self, deadline: Tick) -> Tick {
        self.world.advance_to(self.world.now() + LOOK);
        self.driver.wait(deadline).expect("wait");
        while !self.world.is_runnable(self.driver.id()) {
            self.world.advance_to(self.world.next_event().min(deadline));
        }
        self.driver.wait(deadline).expect("wait")
    }

    fn connect(&mut self) -> SimPeer {
        let endpoint = self.world.connect(ADDRESS).expect("somebody listens");
        SimPeer { world: self.world.clone(), endpoint }
    }

    fn refuses(&mut self) -> bool {
        self.world.connect(ADDRESS).is_none()
    }

    fn serve(&mut self) -> SimServer {
        let Remote::Tcp(address) = self.unserved() else { unreachable!("it is one of TCP") };
        SimServer { world: self.world.clone(), service: self.world.serve(address) }
    }

    fn serve_full(&mut self) -> SimServer {
        let server = self.serve();
        server.service.set_queue_max(0);
        server
    }

    fn serve_unix(&mut self) -> SimServer {
        let service = self.world.serve(Remote::Unix(Path::new("/run/app.sock").into()));
        service.set_queue_max(8);
        SimServer { world: self.world.clone(), service }
    }

    fn unserved(&mut self) -> Remote {
        self.served += 1;
        Remote::Tcp(SocketAddr::from(([127, 0, 0, 1], 1_000 + self.served)))
    }

    fn half_open(&mut self, _server: &SimServer) -> usize {
        self.world.open_connections()
    }

    fn source(peer: &SimPeer) -> Option<IpAddr> {
        peer.endpoint.source()
    }
}

pub struct SimServer {
    world: sim::World,
    service: SimService,
}

impl Server for SimServer {
    type Peer = SimPeer;

    fn remote(&self) -> Remote {
        self.service.remote().clone()
    }

    fn accept(&mut self) -> Option<SimPeer> {
        self.world.advance_to(self.world.now() + LOOK);
        Some(SimPeer { world: self.world.clone(), endpoint: self.service.accept()? })
    }

    fn make_room(&mut self) {
        self.service.set_queue_max(1024);
    }
}

pub struct SimPeer {
    world: sim::World,
    endpoint: Endpoint,
}

impl Peer for SimPeer {
    fn write(&mut self, bytes: &[u8]) -> usize {
        self.endpoint.write(bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Read {
        self.world.advance_to(self.world.now() + LOOK);
        let outcome = std::io::Read::read(&mut self.endpoint, buffer);
        match outcome {
            Ok(0) => Read::End,
            Ok(count) => Read::Bytes(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => Read::Broken,
        }
    }

    fn finish(&mut self) {
        self.endpoint.shutdown_write();
    }

    fn reset(self) {
        self.endpoint.reset();
    }
}
