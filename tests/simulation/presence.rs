//! Users that come to rooms, go, are cut and come back, within the grace and beyond it, and those who watch them, on random
//! numbers of shards.
//!
//! ```text
//!  Guest --opens, drops--> gateway --tg.event.join, tg.event.leave--> Worker: all of it, from the start
//!                             '-----subscribe, presence, pushes-----> Watcher: comes and goes, begins with the list
//!  Truth: who is there, and how long users were away; in the end it is what all of them have heard
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::Tick;
use tidegate::conn::Door;
use tidegate::driver::sim::{Faults, Random, World};
use tidegate::limits;
use tidegate::proto::channel::{Keep, Rule, Rules};
use tidegate::proto::subject::Pattern;

use crate::bus::Bus;
use crate::gateway::{Kept, Read, Shape, address};
use crate::line::Line;
use crate::stage::{Play, Stage};
use crate::sweep::expect_all_to_happen;
use crate::websocket::{Phase, WebSocket};

const SEEDS: std::ops::Range<u64> = 0..300;
const ROOMS: u64 = 2;
const USERS: u64 = 5;
/// The first of them have connections that nothing breaks.
const CALM_USERS: u64 = 3;
/// Longer than all stalls of an arrival or a departure take together.
const MARGIN: Duration = Duration::from_millis(500);
/// Longer than everything that is on its way takes, bytes one by one, and clients that do not read for a while.
const REST: Duration = Duration::from_secs(30);
/// When the last of the connections has broken that were to break, for both sides (`Faults::life_us`).
const LIFE_MAX: Duration = Duration::from_secs(60);

/// A user in a room, or a client without a name, which is called by its connection.
type Visitor = (u64, String);

fn room(channel: &str) -> u64 {
    channel.strip_prefix("present.").and_then(|room| room.parse().ok()).expect("one of the rooms")
}

/// A user's connection to a room.
struct Guest {
    user: u64,
    room: u64,
    is_there: bool,
    socket: WebSocket,
}

/// How often and how long a user was away.
#[derive(Default)]
struct Absences {
    /// How many of its connections are open.
    open: usize,
    gone_at: Option<Tick>,
    /// Longer than the grace beyond doubt; possibly so.
    surely: usize,
    maybe: usize,
}

impl Absences {
    fn ends(&mut self, now: Tick, grace: Duration) {
        if let Some(gone_at) = self.gone_at.take() {
            let away = now.since(gone_at);
            self.surely += usize::from(away > grace + MARGIN);
            self.maybe += usize::from(away + MARGIN > grace);
        }
    }
}

/// A worker that hears of everybody from the start.
struct Worker {
    /// Until it goes home.
    bus: Option<Bus>,
    there: BTreeSet<Visitor>,
    leaves: BTreeMap<Visitor, usize>,
}

impl Worker {
    fn poll(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        bus.poll();
        for message in std::mem::take(&mut bus.received) {
            let said: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let name = said["user"].as_str().or(said["conn"].as_str()).expect("a name");
            let visitor = (room(said["channel"].as_str().expect("a channel")), name.to_owned());
            assert_eq!(message.header("Tg-User"), said["user"].as_str());
            if message.subject.starts_with("tg.event.join.") {
                assert!(self.there.insert(visitor.clone()), "{visitor:?} joins twice");
            } else {
                assert!(self.there.remove(&visitor), "{visitor:?} leaves, and was not there");
                *self.leaves.entry(visitor).or_default() += 1;
            }
        }
    }
}

/// A client that watches a room by the client protocol.
struct Watcher {
    room: u64,
    is_calm: bool,
    is_begun: bool,
    asks_at_once: bool,
    socket: WebSocket,
    /// Its own connection's id.
    client: Option<String>,
    /// From its list on.
    there: Option<BTreeSet<String>>,
}

impl Watcher {
    fn poll(&mut self) {
        self.socket.poll();
        let channel = format!("present.{}", self.room);
        let presence = || json!({"id": 3, "presence": {"channel": channel}});
        if !self.is_begun && self.socket.phase == Phase::Open {
            self.is_begun = true;
            let connect = json!({"id": 1, "connect": {}});
            let subscribe = json!({"id": 2, "subscribe": {"channel": channel, "join_leave": true}});
            let mut commands = vec![connect, subscribe];
            commands.extend(self.asks_at_once.then(presence));
            self.socket.send_json(&commands);
        }
        for said in self.socket.take_json() {
            if said["id"] == 2 && !self.asks_at_once {
                self.socket.send_json(&[presence()]);
            }
            self.hear(&said);
        }
        self.socket.poll();
    }

    fn hear(&mut self, said: &Value) {
        assert!(said["error"].is_null(), "{said}");
        let name = |info: &Value| {
            let user = info["user"].as_str().filter(|user| !user.is_empty());
            user.or(info["client"].as_str()).expect("a name").to_owned()
        };
        match said["id"].as_u64() {
            Some(1) => self.client = said["connect"]["client"].as_str().map(str::to_owned),
            Some(3) => {
                let present = said["presence"]["presence"].as_object().expect("a list");
                self.there = Some(present.values().map(name).collect());
            }
            _ => {}
        }
        let (join, leave) = (&said["push"]["join"]["info"], &said["push"]["leave"]["info"]);
        assert!(join["client"].as_str().is_none_or(|client| Some(client) != self.client.as_deref()), "its own join");
        let Some(there) = &mut self.there else { return };
        if !join.is_null() {
            there.insert(name(join));
        }
        if !leave.is_null() {
            assert!(there.remove(&name(leave)), "{leave} leaves room {}, and was not there", self.room);
        }
    }
}

struct Scenario {
    stage: Stage,
    grace: Duration,
    /// Nothing takes long on its way, so that it is known how long users without faults were away.
    is_prompt: bool,
    worker: Worker,
    guests: Vec<Guest>,
    watchers: Vec<Watcher>,
    /// By room and user.
    absences: BTreeMap<(u64, u64), Absences>,
}

fn kept(grace: Duration) -> Kept {
    let keep = Keep { messages: 10, bytes: 10_000, age: Duration::from_secs(60) };
    let rule = Rule { has_presence: true, presence_grace: grace, ..Rule::default() };
    let recoverable = Rule { history: Some(keep), ..rule.clone() };
    let rules = [("present.0", rule), ("present.*", recoverable)];
    let rules = rules.map(|(name, rule)| (Pattern::new(name).expect("a pattern"), rule));
    Kept { rules: Arc::new(Rules::new(rules)), bytes_max: limits::HISTORY_BYTES_MAX }
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x9E57_1096);
        let is_prompt = random.chance(500);
        let faults = match random.below(5) {
            0 => Faults::none(),
            _ if is_prompt => {
                Faults { partial_read: 0, partial_write: 0, delay: 0, accept_failure: 0, ..Faults::seeded(seed) }
            }
            _ => Faults::seeded(seed),
        };
        let world = World::new(seed, faults);
        let grace = Duration::from_millis([0, 1_000 + random.below(2_000)][usize::from(random.chance(900))]);
        let shape = Shape::drawn(&mut random, [0, 0, 5, 20], |_| kept(grace));
        let stage = Stage::new(random, world, shape);
        let mut bus = Bus::new(stage.world.connect_calm(address(Door::Bus, false)).expect("somebody listens"), "");
        bus.subscribe("tg.event.>", "");
        bus.ping();
        let worker = Worker { bus: Some(bus), there: BTreeSet::new(), leaves: BTreeMap::new() };
        let mut scenario = Scenario {
            stage,
            grace,
            is_prompt,
            worker,
            guests: Vec::new(),
            watchers: Vec::new(),
            absences: BTreeMap::new(),
        };
        scenario.live(REST);
        assert!(scenario.worker.bus.as_ref().is_some_and(Bus::is_settled));
        scenario
    }

    fn run(&mut self) {
        for _ in 0..20 + self.stage.random.below(60) {
            match self.stage.random.below(100) {
                0..45 => self.come(),
                45..80 => self.go(),
                80..92 => self.watch(),
                _ => self.look_away(),
            }
            let grace_us = self.grace.as_micros() as u64;
            let pause_us = match self.stage.random.below(100) {
                0..30 => 0,
                30..60 => self.stage.random.below(3_000),
                60..90 => self.stage.random.below(grace_us / 2 + 1),
                _ => grace_us + self.stage.random.below(2_000_000),
            };
            self.live(Duration::from_micros(pause_us));
        }
        self.stage.calm_down();
        self.live(LIFE_MAX + self.grace + REST);
        self.assert_known();
        self.guests.clear();
        self.watchers.clear();
        self.live(self.grace + REST);
        assert!(self.worker.there.is_empty(), "{:?} have not left", self.worker.there);
        self.worker.bus = None;
        self.live(REST);
        self.stage.gateway.assert_empty();
    }

    // --- the acts ----------------------------------------------------------------------------------------------------

    fn come(&mut self) {
        let (user, room, seed) =
            (self.stage.random.below(USERS), self.stage.random.below(ROOMS), self.stage.random.bits());
        let Some(endpoint) = self.stage.connect(address(Door::Front, false), user < CALM_USERS) else { return };
        let socket = WebSocket::new(Line::new(endpoint), &format!("/ws/present/{room}?user=u{user}"), seed);
        self.guests.push(Guest { user, room, is_there: false, socket });
    }

    /// A guest's connection is cut. Whoever is in the midst of coming is let in first, so that its time is known.
    fn go(&mut self) {
        if !self.guests.is_empty() {
            let index = self.stage.random.below(self.guests.len() as u64) as usize;
            if self.guests[index].is_there || self.guests[index].user >= CALM_USERS {
                let guest = self.guests.swap_remove(index);
                self.gone(&guest);
            }
        }
    }

    fn gone(&mut self, guest: &Guest) {
        let absences = self.absences.entry((guest.room, guest.user)).or_default();
        if guest.is_there {
            absences.open -= 1;
            if absences.open == 0 {
                absences.gone_at = Some(self.stage.world.now());
            }
        }
    }

    fn watch(&mut self) {
        let (is_calm, room, seed) =
            (self.stage.random.chance(700), self.stage.random.below(ROOMS), self.stage.random.bits());
        let asks_at_once = self.stage.random.chance(500);
        let Some(endpoint) = self.stage.connect(address(Door::Front, false), is_calm) else { return };
        let socket = WebSocket::new(Line::new(endpoint), "/desk", seed);
        self.watchers.push(Watcher { room, is_calm, is_begun: false, asks_at_once, socket, client: None, there: None });
    }

    fn look_away(&mut self) {
        if !self.watchers.is_empty() {
            let index = self.stage.random.below(self.watchers.len() as u64) as usize;
            self.watchers.swap_remove(index);
        }
    }

    // --- the end -------------------------------------------------------------------------------------------------------

    /// After some rest everybody knows who is there, and nobody has heard of an absence that was too short.
    fn assert_known(&mut self) {
        let mut there: BTreeSet<Visitor> = BTreeSet::new();
        for guest in &self.guests {
            assert!(guest.is_there, "u{} has not come to room {}", guest.user, guest.room);
            there.insert((guest.room, format!("u{}", guest.user)));
        }
        for watcher in &self.watchers {
            there.insert((watcher.room, watcher.client.clone().expect("it has connected")));
        }
        assert_eq!(self.worker.there, there, "what a worker has heard");
        for watcher in &self.watchers {
            let own = there.iter().filter(|(room, _)| *room == watcher.room).map(|(_, name)| name.clone());
            let is_calm = watcher.is_calm;
            assert_eq!(watcher.there, Some(own.collect()), "what a watcher has heard (calm: {is_calm})");
        }
        if !self.is_prompt {
            return;
        }
        let (now, grace) = (self.stage.world.now(), self.grace);
        for ((room, user), absences) in self.absences.iter_mut().filter(|((_, user), _)| *user < CALM_USERS) {
            absences.ends(now, grace);
            let leaves = self.worker.leaves.get(&(*room, format!("u{user}"))).copied().unwrap_or(0);
            let Absences { surely, maybe, .. } = absences;
            assert!(
                (*surely..=*maybe).contains(&leaves),
                "u{user} has left room {room} {leaves} times, and was away for longer than {grace:?} {surely} to {maybe} times"
            );
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        self.worker.poll();
        self.watchers.iter_mut().for_each(Watcher::poll);
        self.watchers.retain(|watcher| watcher.socket.end().is_none());
        let (now, grace) = (self.stage.world.now(), self.grace);
        for guest in &mut self.guests {
            guest.socket.poll();
            if guest.socket.phase == Phase::Open && !guest.is_there {
                guest.is_there = true;
                let absences = self.absences.entry((guest.room, guest.user)).or_default();
                absences.open += 1;
                absences.ends(now, grace);
            }
        }
        let (guests, ended): (Vec<_>, _) =
            std::mem::take(&mut self.guests).into_iter().partition(|guest| guest.socket.end().is_none());
        self.guests = guests;
        ended.iter().for_each(|guest: &Guest| self.gone(guest));
    }
}

/// What has to happen in a sweep, for it to prove something.
const HAPPENINGS: [(&str, Read); 3] = [
    ("joined", |counters| &counters.joins),
    ("left", |counters| &counters.leaves),
    ("returned in time", |counters| &counters.returns),
];

#[test]
fn joins_less_leaves_are_who_is_there_and_a_return_in_time_is_no_news() {
    expect_all_to_happen(SEEDS, |seed| {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        scenario.stage.gateway.happenings(HAPPENINGS)
    });
}
