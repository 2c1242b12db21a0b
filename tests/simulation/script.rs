//! A server that says what a test tells it to, for the tests of the clients.

use std::net::SocketAddr;

use tidegate::base::{Batch, Key, Tick};
use tidegate::driver::sim::{Endpoint, Faults, SimDriver, World};
use tidegate::driver::{Completion, Driver, ListenerId};

const LISTENER: ListenerId = ListenerId(0);
const KEY: Key = Key { slot: 0, generation: 0 };
/// More turns than any script takes; one that takes them all hangs.
const STEPS_MAX: usize = 1_000_000;

/// One connection's server.
pub struct Script {
    world: World,
    driver: SimDriver,
    address: SocketAddr,
    is_attached: bool,
    is_sending: bool,
    heard: Vec<u8>,
    to_say: Vec<u8>,
    finishes: bool,
}

/// Runs a script in a good world, and in some where everything happens in pieces and late.
pub fn in_worlds(play: impl Fn(Script)) {
    play(Script::new(World::new(0, Faults::none())));
    for seed in 0..40 {
        play(Script::new(World::seeded(seed)));
    }
}

impl Script {
    pub fn new(world: World) -> Script {
        let address = SocketAddr::from(([127, 0, 0, 1], 4222));
        let mut driver = world.driver();
        driver.listen(LISTENER, world.listener(address)).expect("listen");
        Script {
            world,
            driver,
            address,
            is_attached: false,
            is_sending: false,
            heard: Vec::new(),
            to_say: Vec::new(),
            finishes: false,
        }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client's connection that the world never breaks.
    pub fn connect(&self) -> Endpoint {
        self.world.connect_calm(self.address).expect("somebody listens")
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.to_say.extend_from_slice(bytes);
    }

    /// Ends the server's direction behind what it says.
    pub fn finish(&mut self) {
        self.finishes = true;
    }

    /// Lets server and client act until the client's test is true.
    pub fn until(&mut self, mut client: impl FnMut() -> bool) {
        for _ in 0..STEPS_MAX {
            self.step();
            if client() {
                return;
            }
        }
        panic!("it never comes; {:?}", self.world.recent());
    }

    /// Waits for the client's connection.
    pub fn connected(&mut self, mut client: impl FnMut()) {
        while !self.is_attached {
            self.step();
            client();
        }
    }

    /// Waits for what the client says up to `mark`, and takes it without the mark.
    pub fn hear_until(&mut self, mark: &[u8], mut client: impl FnMut()) -> Vec<u8> {
        for _ in 0..STEPS_MAX {
            if let Some(at) = self.heard.windows(mark.len()).position(|window| window == mark) {
                let mut heard: Vec<u8> = self.heard.drain(..at + mark.len()).collect();
                heard.truncate(at);
                return heard;
            }
            self.step();
            client();
        }
        panic!("the client never says {mark:?}; {:?}", self.world.recent());
    }

    /// Waits for so many bytes of what the client says.
    pub fn hear(&mut self, count: usize, mut client: impl FnMut()) -> Vec<u8> {
        for _ in 0..STEPS_MAX {
            if self.heard.len() >= count {
                return self.heard.drain(..count).collect();
            }
            self.step();
            client();
        }
        panic!("the client says too little; {:?}", self.world.recent());
    }

    /// One turn of the server, or some time.
    fn step(&mut self) {
        self.send_on();
        if !self.world.is_runnable(self.driver.id()) {
            match self.world.next_event() {
                Tick::NEVER => {}
                next => self.world.advance_to(next),
            }
            return;
        }
        self.driver.wait(Tick::NEVER).expect("wait");
        let mut asks = false;
        let mut accepts = false;
        let mut socket_accepted = None;
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Accepted { socket, .. } => socket_accepted = Some(socket),
                Completion::AcceptFailed { .. } => accepts = true,
                Completion::Received { bytes, .. } => {
                    self.heard.extend_from_slice(bytes);
                    asks = true;
                }
                Completion::Finished { .. } | Completion::Woken => {}
                Completion::Sent { .. } => self.is_sending = false,
                Completion::Closed { .. } => panic!("nobody closes"),
                Completion::Connected { .. } => panic!("nobody dials"),
            }
        }
        if accepts {
            self.driver.resume_accept(LISTENER);
        }
        if let Some(socket) = socket_accepted {
            self.driver.attach(socket, KEY);
            self.is_attached = true;
            asks = true;
        }
        if asks {
            self.driver.recv(KEY);
        }
    }

    fn send_on(&mut self) {
        if !self.is_attached || self.is_sending {
            return;
        }
        if !self.to_say.is_empty() {
            let mut batch = Box::new(Batch::new());
            batch.push(&std::mem::take(&mut self.to_say));
            self.driver.send(KEY, batch);
            self.is_sending = true;
        } else if std::mem::take(&mut self.finishes) {
            self.driver.shutdown(KEY);
        }
    }
}
