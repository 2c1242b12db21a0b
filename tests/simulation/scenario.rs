//! One simulated life of a gateway: who comes, what they do, and how it ends, all decided by a seed.
//!
//! ```text
//!  seed --> world (faults), gateway (shape) --> acts, one after the other --> rest --> everybody leaves | drain
//!                                                 |  between them: turns, in random order; time
//!                                                 '- after each turn: what was heard is held to what was said
//! ```

mod acts;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate::base::Tick;
use tidegate::conn::Door;
use tidegate::driver::sim::{Endpoint, Random, World};
use tidegate::limits;
use tidegate::proto::CloseReason;

use self::acts::{ACTS, TLS_ACTS};
use crate::client::{Client, Kind};
use crate::clients::{Mercy, Stream};
use crate::deed::Deed;
use crate::ear::{Pattern, STEADY_GROUP};
use crate::gateway::{Kept, STALLS, Shape, address, drawn_budget};
use crate::ledger::Ledger;
use crate::line::Line;
use crate::stage::{Play, Stage, faults};
use crate::tally::Counts;
use crate::traveller::Travels;
use crate::trust::Trust;
use crate::worker::Worker;

const ROOMS: u64 = 3;
const USERS: u64 = 3;
/// Clients at a time; each costs every instant of the simulation.
const CLIENTS_MAX: usize = 28;
/// Of all clients of a scenario in which there are some.
const TLS_CLIENTS_MAX: u32 = 12;
const TRAVELLERS_MAX: usize = 6;
/// Acts that are kept for a failure's report.
const JOURNAL_LINES: usize = 60;
/// Long enough for every stall, delay and deadline that a message can meet.
const REST: Duration = Duration::from_secs(20);
/// And for clients that do not answer a close.
const DRAIN: Duration = Duration::from_secs(30);

pub struct Scenario {
    pub stage: Stage,
    pub journal: VecDeque<String>,
    shape: Shape,
    ledger: Ledger,
    clients: Vec<Client>,
    clients_made: u32,
    /// How often each of the acts: seeds differ in kind, because what needs much of one thing hides among all others.
    temper: [u64; ACTS.len()],
    /// The network moves a few bytes and rests, so that a burst may take longer than a heartbeat's patience.
    crawls: bool,
    /// Workers speak to a room in the moment in which somebody has come to it: not one word may be missed.
    greets: bool,
    /// Of a thousand messages, so many are the first of very many.
    bursts: u32,
    /// Workers of the service come and go; otherwise two are there from the beginning, and stay.
    workers_drift: bool,
    trust: Trust,
    travels: Travels,
    /// How many clients may still come with TLS: its handshakes take longer than all else here.
    tls_left: u32,
}

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5CE7_A210);
        let faults = faults(&mut random, seed, 100);
        let world = World::new(seed, faults.clone());
        let shape = Shape {
            shards: 1 + random.below(4) as u16,
            mails_max: [1, 2, 3, 8, 64, limits::MAILBOX_MAILS][random.below(6) as usize],
            outbox_bytes_max: if random.chance(200) { 16 * 1024 } else { limits::OUTBOX_BYTES_MAX },
            stalls: STALLS[random.below(4) as usize],
            connections_max: if random.chance(100) { 6 } else { 1_000_000 },
            kept: Kept::new(&mut random),
            seed: random.bits() as u32,
            node: None,
            budget: drawn_budget(&mut random),
        };
        let mut temper = ACTS.map(|(weight, _)| weight * [0, 1, 1, 8][random.below(4) as usize] + 1);
        let tls_left = if random.chance(333) { TLS_CLIENTS_MAX } else { 0 };
        if tls_left == 0 {
            temper[ACTS.len() - TLS_ACTS..].fill(0);
        }
        let mut scenario = Scenario {
            temper,
            crawls: faults.partial_write > 0 && *faults.delay_us.end() > 100_000,
            greets: random.chance(500),
            bursts: [0, 30, 100][random.below(3) as usize],
            journal: VecDeque::new(),
            ledger: Ledger::new(),
            workers_drift: random.chance(400),
            tls_left,
            trust: Trust::new(&mut random),
            travels: Travels::default(),
            stage: Stage::new(random, world, shape.clone()),
            shape,
            clients: Vec::new(),
            clients_made: 0,
        };
        scenario.note(format!("{:?}, {faults:?}, workers drift: {}", scenario.shape, scenario.workers_drift));
        scenario
    }

    /// Lives the whole life; panics when something is not as it must be.
    pub fn run(&mut self) {
        self.begin();
        for _ in 0..30 + self.stage.random.below(90) {
            self.act();
            let pause = self.stage.pause([30, 80, 97], 20_000_000);
            self.live(pause);
        }
        self.note("comes to rest".to_owned());
        self.stage.calm_down();
        self.bring_back();
        self.live(REST);
        self.assert_settled(false);
        if self.stage.random.chance(500) {
            self.end_with_farewells();
        } else {
            self.end_with_drain();
        }
    }

    /// What happened to those who came back.
    pub fn travels(&self) -> Travels {
        self.travels
    }

    /// What the clients that speak TLS did and heard.
    pub fn tls_counts(&self) -> Counts {
        self.trust.tally.counts()
    }

    fn mercy(&self, is_draining: bool) -> Mercy {
        Mercy {
            may_be_slow: self.shape.outbox_bytes_max < limits::OUTBOX_BYTES_MAX || self.crawls,
            may_lack_workers: self.workers_drift,
            may_be_refused: self.shape.connections_max < 1_000,
            is_draining,
        }
    }

    // --- who comes ---------------------------------------------------------------------------------------------------

    /// Those who stay: a reader for each room, so that every position is seen; workers, unless they drift.
    fn begin(&mut self) {
        for room in 0..ROOMS {
            self.enter_front(true, |id, line| Kind::Stream(Stream::new(id, line, room)));
        }
        let drift = self.workers_drift;
        for _ in 0..2 {
            self.enter(Door::Bus, true, |id, endpoint| {
                let mut worker = Worker::new(id, endpoint);
                worker.listen("room.*", Pattern::Below("room."), Some(STEADY_GROUP));
                worker.respond_or_serve(drift);
                Kind::Worker(worker)
            });
        }
        // The service must have its workers before clients of it come, who would not wait for ever.
        for _ in 0..1_000 {
            if self.clients.iter().all(Client::is_ready) {
                return;
            }
            self.live(Duration::from_millis(20));
        }
        panic!("those who are to stay never come in");
    }

    /// Somebody comes by the front door, or by the one beside it where TLS is spoken.
    fn enter_front(&mut self, is_calm: bool, make: impl FnOnce(u32, Line) -> Kind) {
        let is_tls = self.tls_left > 0 && self.stage.random.chance(400);
        if !is_tls {
            return self.enter(Door::Front, is_calm, |id, endpoint| make(id, Line::new(endpoint)));
        }
        self.tls_left -= 1;
        let tls = self.trust.client(self.stage.random.bits());
        self.note("the next one speaks TLS".to_owned());
        self.enter_at(address(Door::Front, true), is_calm, |id, endpoint| make(id, Line::with_tls(endpoint, tls)));
    }

    fn enter(&mut self, door: Door, is_calm: bool, make: impl FnOnce(u32, Endpoint) -> Kind) {
        self.enter_at(address(door, false), is_calm, make);
    }

    fn enter_at(&mut self, address: SocketAddr, is_calm: bool, make: impl FnOnce(u32, Endpoint) -> Kind) {
        if self.clients.len() >= CLIENTS_MAX {
            return;
        }
        let Some(endpoint) = self.stage.connect(address, is_calm) else { return };
        self.clients_made += 1;
        let id = self.clients_made;
        let client = Client::new(id, &mut self.ledger, endpoint, |endpoint| make(id, endpoint));
        let calm = if is_calm { "calm " } else { "" };
        self.note(format!("a {calm}{} comes as {id}", client.name()));
        self.clients.push(client);
    }

    fn remove(&mut self, index: usize) {
        let client = self.clients.remove(index);
        if let Kind::Traveller(traveller) = &client.kind {
            self.travels.add(traveller.counts);
        }
        self.ledger.distrust(client.id);
        self.ledger.retired.insert(client.id);
    }

    /// One of the clients that are still connected.
    fn pick(&mut self, is_meant: impl Fn(&Client) -> bool) -> Option<usize> {
        let clients = self.clients.iter().enumerate();
        let meant = clients.filter(|(_, client)| is_meant(client) && !client.is_ended());
        let found: Vec<usize> = meant.map(|(index, _)| index).collect();
        (!found.is_empty()).then(|| found[self.stage.random.below(found.len() as u64) as usize])
    }

    fn note(&mut self, line: String) {
        if self.journal.len() == JOURNAL_LINES {
            self.journal.pop_front();
        }
        self.journal.push_back(format!("{:>12} us  {line}", self.stage.world.now().micros()));
    }

    fn greet(&mut self, room: &str) {
        for client in self.clients.iter_mut().filter(|client| !client.is_ended()) {
            if let Kind::Worker(worker) = &mut client.kind {
                worker.say(&mut self.ledger, room, 0);
            }
        }
    }

    // --- the end -----------------------------------------------------------------------------------------------------

    fn assert_settled(&self, is_draining: bool) {
        let mercy = self.mercy(is_draining);
        self.clients.iter().for_each(|client| client.assert_settled(&self.ledger, mercy));
        self.assert_tls_settled();
        if !mercy.may_be_slow && !mercy.may_be_refused {
            // Each room has had a reader from the beginning.
            (0..ROOMS).for_each(|room| self.ledger.assert_no_gaps(&format!("room.{room}")));
        }
        for client in self.clients.iter().filter(|client| client.is_calm) {
            if let Kind::Worker(worker) = &client.kind {
                worker.assert_group_complete(&self.ledger, STEADY_GROUP);
            }
        }
    }

    /// Whoever broke the rules of TLS or took its leave is gone, and was counted as what it did; nobody else was. A stream goes on
    /// when its client has taken its leave: it has nothing more to say.
    fn assert_tls_settled(&self) {
        for client in &self.clients {
            let deed = client.front_line().and_then(Line::deed);
            let may_listen_on = deed == Some(Deed::Farewell) && client.is_stream();
            let may_be_there = deed.is_none() || may_listen_on;
            assert!(client.is_ended() || may_be_there, "{} did this and is still there: {deed:?}", client.id);
        }
        let counts = self.trust.tally.counts();
        let broken = [CloseReason::TlsProtocol, CloseReason::TlsForged, CloseReason::TlsFlood];
        let closed = broken.into_iter().map(|reason| self.stage.gateway.closed(reason)).sum();
        let is_counted = (counts.alerts_heard()..=counts.offences()).contains(&closed);
        assert!(is_counted, "{closed} closed for breaking TLS: {counts:?}");
        let cut = self.stage.gateway.closed(CloseReason::TlsTruncated);
        assert!(cut <= counts.left + counts.cuts(), "{cut} closed as truncated: {counts:?}");
    }

    /// Everybody goes; nothing of them stays.
    fn end_with_farewells(&mut self) {
        self.note("everybody goes".to_owned());
        for client in &mut self.clients {
            client.deaf_until = Tick::ZERO;
            match &mut client.kind {
                Kind::Room(room) if self.stage.random.chance(500) => room.leave(),
                Kind::Me(me) if self.stage.random.chance(500) => me.leave(),
                _ => {}
            }
        }
        let pause_ms = self.stage.random.below(100);
        self.live(Duration::from_millis(pause_ms));
        while !self.clients.is_empty() {
            let index = self.stage.random.below(self.clients.len() as u64) as usize;
            self.remove(index);
            let pause_us = self.stage.random.below(1_000);
            self.live(Duration::from_micros(pause_us));
        }
        self.live(REST);
        self.stage.gateway.assert_empty();
        self.stage.gateway.drain();
        self.live(DRAIN);
        assert!(self.stage.gateway.is_over(), "a shard without connections does not end");
    }

    /// The gateway goes; everybody is told.
    fn end_with_drain(&mut self) {
        self.note("the gateway drains".to_owned());
        for client in &mut self.clients {
            client.deaf_until = Tick::ZERO;
            // One shard may have sent its workers away while another still says that its clients go.
            self.ledger.retired.insert(client.id);
        }
        self.stage.gateway.drain();
        self.live(DRAIN);
        assert!(self.stage.gateway.is_over(), "a shard does not end");
        self.assert_settled(true);
        while !self.clients.is_empty() {
            self.remove(0);
        }
        self.live(REST);
        assert_eq!(self.stage.world.open_connections(), 0, "a socket is open for nobody");
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let now = self.stage.world.now();
        for client in &mut self.clients {
            client.poll(now, &mut self.ledger);
        }
        if self.greets {
            let rooms: Vec<String> = self.clients.iter_mut().filter_map(Client::just_came_to).collect();
            rooms.iter().for_each(|room| self.greet(room));
        }
        self.clients.retain(|client| client.is_calm || !client.is_ended());
    }

    fn after_turn(&mut self, _shard: usize) {
        let Stage { world, random, .. } = &mut self.stage;
        if random.chance(100) && !self.clients.is_empty() {
            let index = random.below(self.clients.len() as u64) as usize;
            self.clients[index].poll(world.now(), &mut self.ledger);
        }
    }
}
