//! Servers behind a gateway, and clients of theirs: requests, WebSockets and event streams that pass through it, while it fans out
//! its own messages, servers come and go, and in the end it drains.
//!
//! ```text
//!  Asker --------- requests, one behind the other --\                /-- Host: answers as its mood is
//!  Passenger ----- a WebSocket ----------------------+-- Gateway ---+--- Host
//!  Listener ------ an event stream -----------------/       |        \-- Host, calm: only answers
//!  Bus --> its own room --> EventStream --------------------'
//! ```
//!
//! - **ONE ANSWER**: each request ends in one final answer, or with its connection; an `Asker` counts.
//! - **Whole, or visibly broken**: each byte of a body names its request, and what ends as its framing has it is all that was said.
//! - **CLEAN REUSE**, **NOTHING BEFORE THE 101**: a `Host` checks them.
//! - **PAIRED**: an open tunnel or stream has two ends, and what one says the other hears, in order. The census of each shard
//!   looks at it after each turn.
//! - Nothing is left: after all have gone, or the drain, no connection is open and no gauge counts one.

mod asker;
mod book;
mod host;
mod stream;
mod tunnel;

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tidegate::base::{Address, Key, Place, Tick};
use tidegate::conn::Door;
use tidegate::conn::route::{ANY_METHOD, ProxyRoute, Route, RouteTarget};
use tidegate::driver::sim::{Random, World};
use tidegate::mesh::upstreams::UpstreamMail;
use tidegate::proto::upstream::{ServerId, ServerName, UpstreamId, UpstreamRule};

use self::asker::Asker;
use self::book::{Book, Counts};
use self::host::Host;
use self::stream::Listener;
use self::tunnel::Passenger;
use crate::bus::Bus;
use crate::gateway::{Kept, Read, STALLS, Shape, address};
use crate::line::Line;
use crate::sse::EventStream;
use crate::stage::{Play, Stage, faults};
use crate::sweep::expect_all_to_happen;
use crate::trust::Trust;

const SEEDS: Range<u64> = 0..150;
const SALT: u64 = 0xED6E_0001;
/// Hosts of `api`, each at an address of its own; one more serves `calm`.
const HOSTS: u8 = 4;
/// Hosts with configured addresses. The others are found by the name of one more server.
const FIXED: u8 = 2;
/// Clients at a time of each kind.
const CLIENTS_MAX: usize = 6;
const TLS_CLIENTS_MAX: u32 = 6;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any request waits for what it needs, and than idle connections to servers are kept.
const REST: Duration = Duration::from_secs(90);
/// And for clients that do not answer a close.
const DRAIN: Duration = Duration::from_secs(60);

fn host_address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, number], 80))
}

/// The upstreams of every simulated gateway.
pub fn upstreams(seed: u32) -> Box<[UpstreamRule]> {
    let mut api = UpstreamRule::new("api");
    for number in 0..FIXED {
        api = api.with(&host_address(number).to_string(), host_address(number));
    }
    api = api.with("app.internal:80", ServerName { host: "app.internal".into(), port: 80 });
    api.in_flight_max = seed.is_multiple_of(3).then_some(8);
    [api, UpstreamRule::new("calm").with("calm", host_address(HOSTS))].into()
}

/// And the routes to them.
pub fn routes() -> [Route; 2] {
    [("/api/*", UpstreamId(0), TIMEOUT), ("/calm/*", UpstreamId(1), 12 * TIMEOUT)].map(|(path, upstream, timeout)| {
        let target = ProxyRoute { response_timeout: timeout, idle_timeout: timeout, ..ProxyRoute::new(upstream) };
        let route = Route::new(path, RouteTarget::Proxy(Box::new(target))).expect("a path");
        Route { methods: vec![ANY_METHOD.into()], ..route }
    })
}

struct Scenario {
    stage: Stage,
    book: Book,
    hosts: Vec<Host>,
    askers: Vec<Asker>,
    passengers: Vec<Passenger>,
    listeners: Vec<Listener>,
    /// None once it has gone.
    publisher: Option<Bus>,
    published: u64,
    /// Streams of the gateway's own room, and what each has heard.
    room: Vec<(EventStream, u64)>,
    trust: Trust,
    tls_left: u32,
    /// Then even the calm host may not be reached.
    dials_fail: bool,
    is_draining: bool,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ SALT);
        let faults = faults(&mut random, seed, 100);
        let dials_fail = faults.dial_failure > 0;
        let world = World::new(seed, faults);
        let shape = Shape::drawn(&mut random, STALLS, |_| Kept::nothing());
        let mut stage = Stage::new(random, world, shape);
        let mut hosts: Vec<Host> =
            (0..HOSTS).map(|number| Host::new(&stage.world, host_address(number), false)).collect();
        hosts.push(Host::new(&stage.world, host_address(HOSTS), true));
        let calm = |door| stage.world.connect_calm(address(door, false)).expect("somebody listens");
        let publisher = Some(Bus::new(calm(Door::Bus), ""));
        let room = (0..2).map(|_| (EventStream::new(Line::new(calm(Door::Front)), "/sse/1", ""), 0)).collect();
        let trust = Trust::new(&mut stage.random);
        let tls_left = if stage.random.chance(250) { TLS_CLIENTS_MAX } else { 0 };
        Scenario {
            stage,
            book: Book::default(),
            hosts,
            askers: Vec::new(),
            passengers: Vec::new(),
            listeners: Vec::new(),
            publisher,
            published: 0,
            room,
            trust,
            tls_left,
            dials_fail,
            is_draining: false,
        }
    }

    fn run(&mut self) -> Counts {
        while !self.room.iter().all(|(stream, _)| stream.is_open()) {
            self.live(Duration::from_millis(100));
        }
        for _ in 0..80 + self.stage.random.below(120) {
            self.act();
            let pause = self.stage.pause([20, 60, 97], 6_000_000);
            self.live(pause);
        }
        self.stage.calm_down();
        self.hosts.iter_mut().for_each(|host| host.come_up(&self.stage.world));
        self.hear_all();
        self.live(REST);
        self.assert_settled();
        if self.stage.random.chance(500) {
            self.end_with_farewells()
        } else {
            self.end_with_drain()
        }
        let failed = &self.book.failed;
        assert!(
            failed.is_empty() || self.is_draining || self.dials_fail,
            "a server that serves well has not served: {failed:?}"
        );
        self.book.counts
    }

    /// Those whose connection has ended go, and are held to what they have heard.
    fn retire(&mut self) {
        let (book, is_draining) = (&mut self.book, self.is_draining);
        self.askers.retain(|own| !own.is_ended());
        self.passengers.retain(|own| {
            let is_ended = own.socket.end().is_some();
            book.talk(own.tag).is_client_gone |= is_ended;
            if is_ended {
                own.assert_settled(book, is_draining);
            }
            !is_ended
        });
        self.listeners.retain(|own| {
            let is_ended = own.stream.end().is_some();
            book.talk(own.tag).is_client_gone |= is_ended;
            if is_ended {
                own.assert_settled(book, is_draining);
            }
            !is_ended
        });
    }

    fn act(&mut self) {
        self.retire();
        let (now, Stage { random, world, .. }) = (self.stage.world.now(), &mut self.stage);
        match random.below(24) {
            0 | 1 => self.come(),
            2..8 => {
                for _ in 0..1 + random.below(3) {
                    let index = random.below(self.askers.len().max(1) as u64) as usize;
                    self.askers.get_mut(index).into_iter().for_each(|asker| asker.ask(random, &mut self.book));
                }
            }
            8 => self.go(),
            9 | 10 => {
                let padding = random.below(300) as usize;
                let index = random.below(self.passengers.len().max(1) as u64) as usize;
                self.passengers.get_mut(index).into_iter().for_each(|own| own.say(padding, &mut self.book));
            }
            11..15 => {
                let ends = random.chance(150);
                let host = &mut self.hosts[random.below(u64::from(HOSTS)) as usize];
                host.speak(ends, random, &mut self.book);
            }
            15 => self.hosts[random.below(u64::from(HOSTS)) as usize].leave_one(random, &mut self.book),
            16 => self.hosts[random.below(u64::from(HOSTS)) as usize].go_down(random.chance(500), &mut self.book),
            17 | 18 => self.hosts[random.below(u64::from(HOSTS)) as usize].come_up(world),
            19 => self.tell_something(),
            20 => {
                let until = now + Duration::from_micros(random.below(4_000_000));
                self.fall_deaf(until);
            }
            _ => {
                self.published += 1;
                let word = format!("r{}", self.published);
                self.publisher.iter_mut().for_each(|bus| bus.publish("room.1", "", word.as_bytes()));
            }
        }
    }

    /// A client of some kind comes.
    fn come(&mut self) {
        let is_calm = self.stage.random.chance(400);
        let is_tls = self.tls_left > 0 && self.stage.random.chance(300);
        let Some(endpoint) = self.stage.connect(address(Door::Front, is_tls), is_calm) else { return };
        let line = if is_tls {
            self.tls_left -= 1;
            Line::with_tls(endpoint, self.trust.client(self.stage.random.bits()))
        } else {
            Line::new(endpoint)
        };
        let random = &mut self.stage.random;
        match random.below(3) {
            0 if self.passengers.len() < CLIENTS_MAX => {
                let (tag, is_hasty) = (self.book.next_tag(), random.chance(300));
                self.passengers.push(Passenger::new(line, tag, is_hasty, random));
            }
            1 if self.listeners.len() < CLIENTS_MAX => self.listeners.push(Listener::new(line, self.book.next_tag())),
            _ if self.askers.len() < CLIENTS_MAX => {
                // A client that is served well everywhere is served well by the calm host.
                let service = if is_calm && random.chance(600) { "calm" } else { "api" };
                self.askers.push(Asker::new(line, service, random.chance(150)));
            }
            _ => {}
        }
    }

    /// A client goes, one way or the other.
    fn go(&mut self) {
        let Stage { random, .. } = &mut self.stage;
        match random.below(3) {
            0 if !self.passengers.is_empty() => {
                let index = random.below(self.passengers.len() as u64) as usize;
                if random.chance(500) {
                    return self.passengers[index].leave();
                }
                self.book.talk(self.passengers.swap_remove(index).tag).is_client_gone = true;
            }
            1 if !self.listeners.is_empty() => {
                let index = random.below(self.listeners.len() as u64) as usize;
                self.book.talk(self.listeners.swap_remove(index).tag).is_client_gone = true;
            }
            2 if !self.askers.is_empty() => {
                let asker = self.askers.swap_remove(random.below(self.askers.len() as u64) as usize);
                if random.chance(500) {
                    asker.reset();
                }
            }
            _ => {}
        }
    }

    /// Somebody reads nothing for less than the gateway waits.
    fn fall_deaf(&mut self, until: Tick) {
        let deaf = self.askers.iter_mut().map(|own| &mut own.deaf_until);
        let deaf = deaf.chain(self.passengers.iter_mut().map(|own| &mut own.deaf_until));
        let mut deaf: Vec<&mut Tick> = deaf.chain(self.listeners.iter_mut().map(|own| &mut own.deaf_until)).collect();
        if !deaf.is_empty() {
            *deaf.swap_remove(self.stage.random.below(deaf.len() as u64) as usize) = until;
        }
    }

    fn hear_all(&mut self) {
        self.askers.iter_mut().for_each(|own| own.deaf_until = Tick::ZERO);
        self.passengers.iter_mut().for_each(|own| own.deaf_until = Tick::ZERO);
        self.listeners.iter_mut().for_each(|own| own.deaf_until = Tick::ZERO);
    }

    /// The shards learn something about a server: where it is, how it is, or what its operator wants.
    fn tell_something(&mut self) {
        let random = &mut self.stage.random;
        let server = ServerId { upstream: UpstreamId(0), server: random.below(u64::from(FIXED) + 1) as u8 };
        let mail = match random.below(5) {
            0..3 => {
                let addresses = (FIXED..HOSTS).map(host_address).filter(|_| random.chance(600)).collect();
                UpstreamMail::Found { server: ServerId { server: FIXED, ..server }, addresses }
            }
            3 => UpstreamMail::Probed { server, is_up: random.chance(700) },
            _ => {
                let asker = Address { place: Place(0), key: Key { slot: 0, generation: 0 } };
                UpstreamMail::Drain { server, is_drained: random.chance(300), asker }
            }
        };
        self.stage.gateway.tell(&mail);
    }

    fn assert_settled(&mut self) {
        let (book, is_draining) = (&mut self.book, self.is_draining);
        self.askers.iter().for_each(Asker::assert_settled);
        self.passengers.iter().for_each(|own| own.assert_settled(book, is_draining));
        self.listeners.iter().for_each(|own| own.assert_settled(book, is_draining));
        self.hosts.iter().for_each(|host| host.assert_settled(book));
        for (_, heard) in &self.room {
            assert_eq!(*heard, self.published, "the gateway's own room has not heard all");
        }
    }

    /// All clients go.
    fn leave(&mut self) {
        self.askers.clear();
        self.passengers.clear();
        self.listeners.clear();
        self.room.clear();
        self.publisher = None;
    }

    /// All clients go; nothing of them stays.
    fn end_with_farewells(&mut self) {
        self.leave();
        self.live(REST);
        self.stage.gateway.assert_empty();
        self.assert_nothing_counted();
    }

    fn end_with_drain(&mut self) {
        self.is_draining = true;
        self.stage.gateway.drain();
        self.live(DRAIN);
        assert!(self.stage.gateway.is_over(), "a shard does not end");
        self.assert_settled();
        let askers = self.askers.iter().map(Asker::is_ended);
        let passengers = self.passengers.iter().map(|own| own.socket.end().is_some());
        let is_over = askers.chain(passengers).all(|is_ended| is_ended);
        assert!(is_over, "a client hears nothing of the drain");
        self.assert_nothing_counted();
        self.leave();
        self.hosts.clear();
        self.live(REST);
        assert_eq!(self.stage.world.open_connections(), 0, "a socket is open for nobody");
    }

    /// A connection that has ended is not counted as open anywhere.
    fn assert_nothing_counted(&self) {
        let gauges: [(&str, Read); 6] = [
            ("connections", |counters| &counters.open),
            ("clients", |counters| &counters.clients),
            ("requests at servers", |counters| &counters.proxied),
            ("requests that wait for a server", |counters| &counters.proxied_waiting),
            ("tunnels", |counters| &counters.tunnels),
            ("idle connections to servers", |counters| &counters.upstream_idle),
        ];
        let counted = self.stage.gateway.happenings(gauges);
        assert!(counted.iter().all(|(_, count)| *count == 0), "all is over, and these are counted: {counted:?}");
        self.stage.gateway.assert_no_quota_used();
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn next_due(&mut self) -> Tick {
        self.hosts.iter().map(Host::next_due).min().unwrap_or(Tick::NEVER)
    }

    fn poll(&mut self) {
        let now = self.stage.world.now();
        let (book, random) = (&mut self.book, &mut self.stage.random);
        self.hosts.iter_mut().for_each(|host| host.poll(now, random, book));
        self.askers.iter_mut().for_each(|own| own.poll(now, book));
        self.passengers.iter_mut().for_each(|own| own.poll(now, book));
        self.listeners.iter_mut().for_each(|own| own.poll(now, book));
        self.publisher.iter_mut().for_each(Bus::poll);
        for (stream, heard) in &mut self.room {
            stream.poll();
            for event in std::mem::take(&mut stream.received) {
                *heard += 1;
                assert_eq!(event.data, format!("r{heard}"), "lost, twice, or out of order");
                book.counts.fanned_out += 1;
            }
        }
    }
}

#[test]
fn proxied_requests_tunnels_and_streams_keep_their_promises() {
    expect_all_to_happen(SEEDS, |seed| Scenario::new(seed).run().happenings());
}
