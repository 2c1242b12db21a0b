//! A whole gateway on simulated drivers: some shards, their mailboxes, and the entrances of all doors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate::base::counters::Counter;
use tidegate::base::{NodeId, Place, Tick};
use tidegate::conn::Door;
use tidegate::conn::access::lines::AccessRule;
use tidegate::conn::hosts::Hosts;
use tidegate::conn::quota::{Quota, QuotaBy, Quotas};
use tidegate::conn::route::{
    AcceptRoute, CentrifugeRoute, ChannelTemplate, Route, RouteTarget, Service, UserField, WebSocketRoute,
};
use tidegate::conn::routes::Routes;
use tidegate::conn::settings::{Generation, Process, Readiness, Settings};
use tidegate::driver::sim::{Random, SimDriver, World};
use tidegate::driver::{Driver, ListenerId};
use tidegate::limits;
use tidegate::mesh::drain::DrainMail;
use tidegate::mesh::upstreams::UpstreamMail;
use tidegate::mesh::{Mail, Mesh, Threads};
use tidegate::proto::CloseReason;
use tidegate::proto::access::LineFormat;
use tidegate::proto::channel::{Keep, Rule, Rules};
use tidegate::proto::networks::Networks;
use tidegate::proto::pace::Gcra;
use tidegate::proto::subject::Pattern;
use tidegate::shard::budget::Budget;
use tidegate::shard::counters::Counters;
use tidegate::shard::{Census, Entrance, Parts, Shard, Turn};

use crate::decisions;
use crate::edge;
use crate::sweep::Happenings;
use crate::trust;

/// More turns of one shard than anything needs without time passing; a shard that takes them spins.
const TURNS_PER_INSTANT_MAX: usize = 5_000;

/// How long an accepted request may take, and how long its result is kept.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(5);
pub const JOB_KEEP: Duration = Duration::from_secs(20);

/// As long as another thread may have a core, or a storm of handshakes.
const STALL_US_MAX: u64 = 40_000;

/// What differs from one simulated gateway to the next.
#[derive(Clone, Debug)]
pub struct Shape {
    pub shards: u16,
    /// Letters that one lane of a mailbox holds.
    pub mails_max: usize,
    pub outbox_bytes_max: usize,
    /// Clients of one shard.
    pub connections_max: usize,
    /// After so many of a thousand turns a shard's core is taken away for a while.
    pub stalls: u32,
    pub kept: Kept,
    pub seed: u32,
    /// Names it in its ids; those of a gateway that is alone name none.
    pub node: Option<NodeId>,
    /// What one turn of a shard may do.
    pub budget: Budget,
}

/// How often a core is taken away: in half of the worlds never.
pub const STALLS: [u32; 4] = [0, 0, 20, 200];

impl Shape {
    /// One with room for everybody, some shards, and mailboxes that are small or not.
    pub fn drawn(random: &mut Random, stalls: [u32; 4], kept: impl FnOnce(&mut Random) -> Kept) -> Shape {
        Shape {
            shards: 1 + random.below(4) as u16,
            mails_max: [1, 2, 3, 8, 64, limits::MAILBOX_MAILS][random.below(6) as usize],
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            connections_max: 1_000_000,
            stalls: stalls[random.below(4) as usize],
            kept: kept(random),
            seed: random.bits() as u32,
            node: None,
            budget: drawn_budget(random),
        }
    }
}

/// In half of the worlds that of the real gateway, in the others one with which nearly nothing fits into a turn, and rooms are
/// large from a few clients on.
pub fn drawn_budget(random: &mut Random) -> Budget {
    if random.chance(500) {
        return Budget::default();
    }
    Budget {
        share: 1 + random.below(200),
        share_time: Duration::from_secs(1),
        quantum: 1 + random.below(40),
        worker_quantum: 1 + random.below(100),
        fan_out_at_once: random.below(4) as usize,
        withdrawn_at_once: random.below(3) as usize,
        owed_max: random.below(50) as usize,
    }
}

/// What is kept of the rooms: of one for ever, of one not much, of one not long.
#[derive(Clone, Debug)]
pub struct Kept {
    pub rules: Arc<Rules>,
    /// Of each shard.
    pub bytes_max: usize,
}

/// The room of which everything is kept, if anything is.
pub const EVER_ROOM: &str = "room.0";

impl Kept {
    pub fn new(random: &mut Random) -> Kept {
        let keep = |messages, age| Some(Keep { messages, bytes: 64 << 20, age });
        let (few, brief) = (1 + random.below(60) as usize, Duration::from_micros(1 + random.below(3_000_000)));
        let rules = [
            (EVER_ROOM, keep(1_000_000, Duration::from_secs(86_400))),
            ("room.1", keep(few, Duration::from_secs(86_400))),
            ("room.*", keep(1_000, brief)),
        ];
        let is_short = random.chance(150);
        // Of what is forgotten while it is read, newcomers would hear gaps.
        let is_greeting = !is_short && random.chance(400);
        let rules = rules.map(|(name, history)| {
            let rule = Rule { history, is_for_newcomers: is_greeting && name == EVER_ROOM, ..Rule::default() };
            (Pattern::new(name).expect("a pattern"), rule)
        });
        let is_kept = random.chance(800);
        Kept {
            rules: Arc::new(if is_kept { Rules::new(rules) } else { Rules::default() }),
            bytes_max: if is_short { random.below(100_000) as usize } else { limits::HISTORY_BYTES_MAX },
        }
    }

    pub fn nothing() -> Kept {
        Kept { rules: Arc::default(), bytes_max: 0 }
    }

    pub fn is_short_of_room(&self) -> bool {
        self.bytes_max < limits::HISTORY_BYTES_MAX
    }
}

/// One of the counters of a shard.
pub type Read = fn(&Counters) -> &Counter;

pub struct Gateway {
    world: World,
    shape: Shape,
    mesh: Mesh,
    counters: Arc<[Counters]>,
    quotas: Option<Arc<Quotas>>,
    /// None once it has ended.
    shards: Vec<Option<Shard<SimDriver>>>,
    /// Turns of each shard at this instant.
    turns: Vec<usize>,
    instant: Tick,
    /// When each shard has its core back.
    stalled_until: Vec<Tick>,
    to_drain: Vec<Place>,
}

/// Where a gateway that is alone in its world listens.
pub fn address(door: Door, is_tls: bool) -> SocketAddr {
    address_on(0, door, is_tls)
}

/// Where the gateway on this host does: hosts are numbered from 0.
pub fn address_on(host: u8, door: Door, is_tls: bool) -> SocketAddr {
    let port = match door {
        Door::Front if is_tls => 8443,
        Door::Front => 8080,
        Door::Bus => 4222,
        Door::Admin => 9180,
        Door::Upstream => 0,
    };
    SocketAddr::from(([127, 0, host, 1], port))
}

/// Each with its door, and whether TLS is spoken there.
const LISTENERS: [(Door, bool); 4] =
    [(Door::Front, false), (Door::Bus, false), (Door::Admin, false), (Door::Front, true)];

impl Gateway {
    pub fn new(world: &World, shape: Shape) -> Gateway {
        Gateway::on(0, world, shape)
    }

    /// One of several in a world: on a host of its own.
    pub fn on(host: u8, world: &World, shape: Shape) -> Gateway {
        let drivers: Vec<SimDriver> = (0..shape.shards).map(|_| world.driver()).collect();
        let wakers = drivers.iter().map(Driver::waker).collect();
        let (mesh, mailboxes) = Mesh::new(Threads { shards: wakers, ..Threads::default() }, shape.mails_max);
        let settings = settings(&shape);
        let counters: Arc<[Counters]> = (0..shape.shards).map(|_| Counters::of(&settings)).collect();
        let mut shards = Vec::new();
        for (index, (driver, mailbox)) in drivers.into_iter().zip(mailboxes).enumerate() {
            let parts = Parts {
                place: Place(index as u16),
                settings: settings.clone(),
                entrances: LISTENERS
                    .map(|(door, is_tls)| Entrance {
                        door,
                        tls: is_tls.then(trust::server),
                        introduced_by: Default::default(),
                    })
                    .to_vec(),
                mesh: mesh.clone(),
                mailbox,
                counters: counters.clone(),
                fold: Arc::default(),
                seed: shape.seed.wrapping_add(index as u32),
                secret: [shape.seed as u8; 32],
                budget: shape.budget,
                now: world.now(),
            };
            let mut shard = Shard::new(driver, parts);
            for (id, (door, is_tls)) in LISTENERS.into_iter().enumerate() {
                shard
                    .listen(ListenerId(id as u16), world.listener(address_on(host, door, is_tls)))
                    .expect("the simulator listens");
            }
            shards.push(Some(shard));
        }
        Gateway {
            world: world.clone(),
            mesh,
            counters,
            quotas: settings.generation.quotas.clone(),
            turns: vec![0; shards.len()],
            instant: Tick::ZERO,
            stalled_until: vec![Tick::ZERO; shards.len()],
            to_drain: Vec::new(),
            shape,
            shards,
        }
    }

    /// The shards that would find something to do, and have their core.
    pub fn runnable(&self) -> Vec<usize> {
        let shards = self.shards.iter().enumerate();
        let now = self.world.now();
        let is_runnable = |shard: &Shard<SimDriver>| self.world.is_runnable(shard.driver().id());
        let running = shards.filter(|(index, _)| self.stalled_until[*index] <= now);
        running.filter(|(_, shard)| shard.as_ref().is_some_and(is_runnable)).map(|(index, _)| index).collect()
    }

    /// When the next stalled shard goes on.
    pub fn next_stall_end(&self) -> Tick {
        let now = self.world.now();
        self.stalled_until.iter().copied().filter(|until| *until > now).min().unwrap_or(Tick::NEVER)
    }

    /// Lets one shard take its turn, and looks at what must hold after each.
    pub fn turn(&mut self, index: usize) {
        self.drain_on();
        let now = self.world.now();
        if self.instant != now {
            self.instant = now;
            self.turns.fill(0);
        }
        self.turns[index] += 1;
        assert!(self.turns[index] <= TURNS_PER_INSTANT_MAX, "shard {index} spins at {now:?}");
        let Some(shard) = &mut self.shards[index] else { return };
        let before = shard.units_done();
        let turn = shard.turn().expect("the simulator does not fail");
        let units = shard.units_done() - before;
        assert!(units <= self.shape.budget.turn_max(), "shard {index} does {units} units of work in one turn");
        if self.world.random_below(1_000) < u64::from(self.shape.stalls) {
            self.stalled_until[index] = now + Duration::from_micros(1 + self.world.random_below(STALL_US_MAX));
        }
        let census = shard.census();
        assert!(census.backlog <= self.backlog_max(&census), "shard {index} gathers mail: {census:?}");
        if turn == Turn::Over {
            self.shards[index] = None;
        }
        if let Some(quotas) = &self.quotas {
            let of_shards = self.shards.iter().flatten().map(|shard| shard.census().limited as u64).sum::<u64>();
            assert_eq!(quotas.open(), of_shards, "what limits have counted is not what is open");
        }
    }

    /// Not reading IS the back-pressure. What was begun may still be finished: one step of each connection, and all
    /// asks that a mailbox holds, each with a letter to every shard and some members.
    fn backlog_max(&self, census: &Census) -> usize {
        const LETTERS_PER_STEP_MAX: usize = 16;
        let steps = census.connections + self.shape.mails_max.min(limits::MAILS_PER_TURN);
        limits::BACKLOG_MAILS_HIGH + steps * LETTERS_PER_STEP_MAX
    }

    /// From now on no shard loses its core.
    pub fn calm_down(&mut self) {
        self.shape.stalls = 0;
    }

    /// Tells every shard to end, as the gateway does at its end.
    pub fn drain(&mut self) {
        self.to_drain = (0..self.shape.shards).map(Place).collect();
        self.drain_on();
    }

    /// Every shard gets this letter; one whose mailbox is full does not.
    pub fn tell(&self, mail: &UpstreamMail) {
        for place in (0..self.shape.shards).map(Place) {
            if self.mesh.try_send(place, Mail::Upstreams(mail.clone())).is_ok() {
                self.mesh.wake(place);
            }
        }
    }

    /// A full mailbox is tried again, as the gateway's thread does.
    fn drain_on(&mut self) {
        let mesh = &self.mesh;
        self.to_drain.retain(|place| {
            let is_full = mesh.try_send(*place, Mail::Drain(DrainMail::Begin)).is_err();
            if !is_full {
                mesh.wake(*place);
            }
            is_full
        });
    }

    /// The most bytes that wait for one client of a shard.
    pub fn waiting_most(&self, index: usize) -> usize {
        self.shards[index].as_ref().map_or(0, |shard| shard.census().waiting_most)
    }

    /// Connections that ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.counters.iter().map(|counters| counters.closed[reason as usize].value()).sum()
    }

    /// What all shards have counted together of each kind.
    pub fn happenings<const N: usize>(&self, kinds: [(&'static str, Read); N]) -> Happenings<N> {
        kinds.map(|(what, read)| (what, self.counters.iter().map(|counters| read(counters).value()).sum()))
    }

    pub fn is_over(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    /// No limit counts a client any more.
    pub fn assert_no_quota_used(&self) {
        assert_eq!(self.quotas.as_ref().map_or(0, |quotas| quotas.open()), 0, "limits count somebody who has gone");
    }

    /// Everybody has gone: nothing is left of them.
    pub fn assert_empty(&self) {
        for (index, shard) in self.shards.iter().enumerate() {
            if let Some(shard) = shard {
                assert_eq!(shard.census(), Census::default(), "shard {index} still holds what nobody needs");
            }
        }
        assert_eq!(self.world.open_connections(), 0, "a socket is open for nobody");
    }
}

fn settings(shape: &Shape) -> Settings {
    let generation = Generation {
        admin_hosts: Hosts::new(["a".into(), "simulated".into()]),
        upstreams: edge::upstreams(shape.seed),
        routes: Routes::new(own_routes().into_iter().chain(edge::routes()).chain(decisions::routes()).collect())
            .expect("there are few"),
        permissions: decisions::permissions(),
        deciders: decisions::deciders(),
        channels: shape.kept.rules.clone(),
        outbox_bytes_max: shape.outbox_bytes_max,
        connections_max: shape.connections_max,
        quotas: quotas(shape.seed).map(Arc::new),
        access: shape.seed.is_multiple_of(2).then(|| Arc::new(access_rule())),
        ..Generation::default()
    };
    let process = Process { history_bytes_max: shape.kept.bytes_max, node: shape.node, ..Process::default() };
    let (process, generation) = (process.into(), generation.into());
    Settings { process, generation, readiness: Readiness::Ready, ..Settings::default() }
}

/// Routes that the gateway serves itself.
fn own_routes() -> Vec<Route> {
    vec![
        route(
            "/sse/{room}",
            RouteTarget::Sse { channels: vec![channel("room.{room}")], retry: Duration::from_secs(2) },
        ),
        route(
            "/sse/{a}/{b}",
            RouteTarget::Sse {
                channels: vec![channel("room.{a}"), channel("room.{b}")],
                retry: Duration::from_secs(2),
            },
        ),
        route(
            "/ws/rooms/{room}",
            RouteTarget::WebSocket(WebSocketRoute {
                channel: Some(channel("room.{room}")),
                publish: true,
                ..WebSocketRoute::default()
            }),
        ),
        route(
            "/ws/present/{room}",
            RouteTarget::WebSocket(WebSocketRoute {
                channel: Some(channel("present.{room}")),
                user: Some(UserField::Query("user".into())),
                ..WebSocketRoute::default()
            }),
        ),
        route(
            "/desk",
            RouteTarget::Centrifuge(Box::new(CentrifugeRoute {
                channels: vec![Pattern::new("present.*").expect("a pattern")],
                ..CentrifugeRoute::default()
            })),
        ),
        route(
            "/ws/asked",
            RouteTarget::WebSocket(WebSocketRoute {
                user: Some(UserField::Query("user".into())),
                control: true,
                ..WebSocketRoute::default()
            }),
        ),
        route("/ws/desk", RouteTarget::Centrifuge(Box::new(desk()))),
        route(
            "/ws/me",
            RouteTarget::WebSocket(WebSocketRoute {
                service: Some(Service::new("echo").unwrap()),
                user: Some(UserField::Query("user".into())),
                ..WebSocketRoute::default()
            }),
        ),
        Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(jobs())) },
        route(
            "/results/{id}",
            RouteTarget::Sse { channels: vec![channel("request.{id}")], retry: Duration::from_secs(2) },
        ),
    ]
}

/// In half of the worlds a log. No thread writes it: its lines are lost, and each request has one all the same ([`Census::logged`]).
fn access_rule() -> AccessRule {
    AccessRule {
        format: LineFormat::Json,
        tells_opens: true,
        tells_tcp: true,
        listeners: Vec::new(),
        secrets: Vec::new(),
        unix_ms: || 0,
        unwritten: Counter::default(),
    }
}

/// In half of the worlds limits that count everything. Clients stay within them, or are read a little later; some find no place
/// in the table.
fn quotas(seed: u32) -> Option<Quotas> {
    let limit = |by, routes: &[&str]| Quota {
        name: "strangers".into(),
        by,
        connections: Some(100_000),
        handshake_rate: None,
        request_rate: Some(Gcra::new(1_000_000, Duration::from_secs(1), 1_000_000)),
        message_rate: Some(Gcra::new(500, Duration::from_secs(1), 1 + seed % 50)),
        routes: routes.iter().map(|route| (*route).into()).collect(),
        except: Networks::default(),
        closes: false,
    };
    let limits = vec![
        limit(QuotaBy::Network { ipv4_prefix: 32, ipv6_prefix: 64 }, &[]),
        limit(QuotaBy::User, &[]),
        limit(QuotaBy::Route, &["/sse/{room}", "/ws/rooms/{room}"]),
    ];
    let limits = if seed.is_multiple_of(2) { limits } else { Vec::new() };
    Quotas::new(limits, 8 << (seed >> 8 & 7), [u64::from(seed), 1, 2, 3])
}

fn desk() -> CentrifugeRoute {
    CentrifugeRoute { channels: vec![Pattern::new("room.*").expect("a pattern")], ..CentrifugeRoute::default() }
}

fn jobs() -> AcceptRoute {
    AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: channel("request.{id}"),
        event: "tg.result".into(),
        timeout: JOB_TIMEOUT,
        keep: JOB_KEEP,
        user: None,
        headers: Box::default(),
    }
}

fn channel(template: &str) -> ChannelTemplate {
    ChannelTemplate::parse(template).expect("a channel")
}

fn route(path: &str, target: RouteTarget) -> Route {
    Route::new(path, target).expect("a path")
}
