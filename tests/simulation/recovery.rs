//! Clients of the client protocol that lose the connection and come back with epoch and offset: they recover what they missed,
//! or are told that they have not.
//!
//! ```text
//!  Publisher --1 2 3 4 5 …--> room.n --pub--> Wanderer: 1 2 3 (cut, deaf, slow) subscribe {recover, epoch, offset: 3}
//!                                                          4 5 …           recovered
//!                                                          gap, 7 8 …      not, because 7 is the first that is kept
//! ```
//!
//! A room has one publisher, so a message's number is its offset.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::Tick;
use tidegate::conn::Door;
use tidegate::driver::sim::{Random, World};
use tidegate::limits;
use tidegate::proto::channel::{Keep, Rule, Rules};
use tidegate::proto::subject::Pattern;

use crate::bus::Bus;
use crate::gateway::{Kept, STALLS, Shape, address};
use crate::ledger::Position;
use crate::line::Line;
use crate::stage::{Play, Stage, faults};
use crate::sweep::expect_all_to_happen;
use crate::websocket::{Phase, WebSocket};

const SEEDS: std::ops::Range<u64> = 0..150;
/// One of which everything is kept, one of which not much is, one of which nothing is kept for long.
const ROOMS: usize = 3;
const ALL_KEPT: usize = 0;
const REST: Duration = Duration::from_secs(20);

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    returns: u64,
    /// Messages that were recovered, in a reply.
    recovered: u64,
    heard: u64,
    /// Gaps because something is not kept any more, and because the client said what was not so.
    gone: u64,
    lies: u64,
    /// Ends of a subscription amid a recovery.
    insufficient: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.returns += other.returns;
        self.recovered += other.recovered;
        self.heard += other.heard;
        self.gone += other.gone;
        self.lies += other.lies;
        self.insufficient += other.insufficient;
    }
}

/// One room as a client sees it.
#[derive(Clone, Debug, Default)]
struct Track {
    room: usize,
    stands: Option<Position>,
    /// The reason of the gap that must come, because of what it said.
    lie: Option<&'static str>,
    is_subscribed: bool,
}

struct Wanderer {
    id: u32,
    socket: Option<WebSocket>,
    is_connected: bool,
    tracks: Vec<Track>,
    deaf_until: Tick,
    random: Random,
    counts: Counts,
}

impl Wanderer {
    fn new(id: u32, rooms: &[usize], seed: u64) -> Wanderer {
        Wanderer {
            id,
            socket: None,
            is_connected: false,
            tracks: rooms.iter().map(|room| Track { room: *room, ..Track::default() }).collect(),
            deaf_until: Tick::ZERO,
            random: Random::new(seed),
            counts: Counts::default(),
        }
    }

    fn is_away(&self) -> bool {
        self.socket.as_ref().is_none_or(|socket| socket.end().is_some())
    }

    fn cut(&mut self) {
        self.socket = None;
    }

    fn come(&mut self, line: Line) {
        self.socket = Some(WebSocket::new(line, "/ws/desk", self.random.bits()));
        self.is_connected = false;
        self.tracks.iter_mut().for_each(|track| track.is_subscribed = false);
        self.counts.returns += u64::from(self.tracks.iter().any(|track| track.stands.is_some()));
    }

    fn poll(&mut self, now: Tick) {
        if self.deaf_until > now {
            return;
        }
        let Some(socket) = &mut self.socket else { return };
        socket.poll();
        if let Some(head) = &socket.refusal {
            // It was so deaf that its request came too slowly.
            assert!(matches!(head.status, 408 | 503), "wanderer {} was refused: {}", self.id, head.status);
        }
        if socket.phase == Phase::Open && !self.is_connected {
            self.is_connected = true;
            let mut commands = vec![json!({"id": 100, "connect": {}})];
            commands.extend((0..self.tracks.len()).map(|index| self.subscribe(index)));
            self.say(&commands);
        }
        let heard = self.socket.as_mut().map(WebSocket::take_json).unwrap_or_default();
        heard.iter().for_each(|said| self.hear(said));
        // What is said now goes out now: nothing else may happen for long.
        if let Some(socket) = &mut self.socket {
            socket.poll();
        }
    }

    fn say(&mut self, commands: &[Value]) {
        if let Some(socket) = &mut self.socket {
            socket.send_json(commands);
        }
    }

    /// The command of its nth room; now and then it says of itself what is not so.
    fn subscribe(&mut self, index: usize) -> Value {
        let track = &mut self.tracks[index];
        let mut request = json!({"channel": format!("room.{}", track.room)});
        track.lie = None;
        if let Some(Position { mut epoch, mut offset }) = track.stands {
            if self.random.chance(60) {
                track.lie = Some(["epoch", "future"][self.random.below(2) as usize]);
                match track.lie {
                    Some("epoch") => epoch ^= 1,
                    _ => offset += 1_000_000,
                }
            }
            request["recover"] = true.into();
            request["epoch"] = format!("{epoch:08x}").into();
            request["offset"] = offset.into();
        }
        json!({"id": index + 1, "subscribe": request})
    }

    fn hear(&mut self, said: &Value) {
        let who = self.id;
        if said.as_object().is_some_and(|object| object.is_empty()) {
            return self.say(&[json!({})]);
        }
        if let Some(push) = said.get("push") {
            return self.hear_push(push);
        }
        assert!(said.get("error").is_none(), "wanderer {who}: {said}");
        let id = said["id"].as_u64().expect("an id") as usize;
        match said.get("subscribe") {
            Some(result) => self.hear_subscribed(id - 1, result),
            None => assert!(id == 100 && said["connect"]["client"].is_string(), "wanderer {who}: {said}"),
        }
    }

    fn hear_push(&mut self, push: &Value) {
        let name = push["channel"].as_str().expect("a channel");
        let found = self.tracks.iter().position(|track| format!("room.{}", track.room) == name);
        let index = found.unwrap_or_else(|| panic!("wanderer {} did not subscribe to {name}", self.id));
        if let Some(publication) = push.get("pub") {
            return self.hear_publication(index, publication);
        }
        let code = push["unsubscribe"]["code"].as_u64();
        assert_eq!(code, Some(2500), "wanderer {}: {push}", self.id);
        self.counts.insufficient += 1;
        self.tracks[index].is_subscribed = false;
        let again = self.subscribe(index);
        self.say(&[again]);
    }

    fn hear_subscribed(&mut self, index: usize, result: &Value) {
        let who = self.id;
        let epoch = u32::from_str_radix(result["epoch"].as_str().expect("an epoch"), 16).expect("a number");
        let position = Position { epoch, offset: result["offset"].as_u64().unwrap_or(0) };
        let is = |flag: &str| result[flag].as_bool().unwrap_or(false);
        let track = &mut self.tracks[index];
        assert!(is("recoverable") && is("positioned") && !track.is_subscribed, "wanderer {who}: {result}");
        track.is_subscribed = true;
        assert_eq!(is("was_recovering"), track.stands.is_some(), "wanderer {who}: {result}");
        match (track.stands, result.get("data").map(|data| &data["gap"])) {
            (None, gap) => assert_eq!(gap, None, "wanderer {who} can have missed nothing: {result}"),
            (Some(stand), None) => {
                assert_eq!(track.lie, None, "wanderer {who} was not told: {result}");
                assert!(is("recovered") && stand == position, "wanderer {who} at {stand:?}: {result}");
            }
            (Some(stand), Some(gap)) => {
                assert!(!is("recovered"), "wanderer {who}: {result}");
                let first = gap["first"].as_str().map(Position::parse);
                let last = Position::parse(gap["last"].as_str().expect("a position"));
                let before = first.map_or(last, |first| Position { offset: first.offset - 1, ..first });
                assert_eq!(position, before, "the offset leads to what follows: {result}");
                let reason = gap["reason"].as_str().expect("a reason");
                match track.lie.take() {
                    Some(lie) => {
                        assert_eq!(reason, lie, "wanderer {who} at {stand:?}: {result}");
                        self.counts.lies += 1;
                    }
                    None => {
                        let has_missed = stand.epoch == before.epoch && before.offset > stand.offset;
                        assert!(reason == "gone" && has_missed, "wanderer {who} at {stand:?}: {result}");
                        assert_ne!(track.room, ALL_KEPT, "everything is kept, and wanderer {who} hears {result}");
                        self.counts.gone += 1;
                    }
                }
            }
        }
        track.stands = Some(position);
        for publication in result["publications"].as_array().into_iter().flatten() {
            self.counts.recovered += 1;
            self.hear_publication(index, publication);
        }
    }

    fn hear_publication(&mut self, index: usize, publication: &Value) {
        let Track { room, stands, is_subscribed, .. } = &mut self.tracks[index];
        let (who, offset) = (self.id, publication["offset"].as_u64().expect("an offset"));
        let stand = stands.as_mut().expect("it stands somewhere once it is subscribed");
        assert!(*is_subscribed && offset == stand.offset + 1, "wanderer {who} at {stand:?} of {room}: {publication}");
        assert_eq!(publication["data"]["number"], offset, "of {room}");
        stand.offset = offset;
        self.counts.heard += 1;
    }
}

struct Scenario {
    stage: Stage,
    publisher: Bus,
    wanderers: Vec<Wanderer>,
    said: [u64; ROOMS],
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x3A4D_E4E4);
        let world = World::new(seed, faults(&mut random, seed, 100));
        let keep = |messages, age| Some(Keep { messages, bytes: 64 << 20, age });
        let (few, brief) = (1 + random.below(600) as usize, Duration::from_micros(1 + random.below(3_000_000)));
        let day = Duration::from_secs(86_400);
        let rules = [keep(1_000_000, day), keep(few, day), keep(1_000, brief)];
        let rules = rules.into_iter().enumerate().map(|(room, history)| {
            let pattern = Pattern::new(&format!("room.{room}")).expect("a pattern");
            (pattern, Rule { history, ..Rule::default() })
        });
        let kept = Kept { rules: Arc::new(Rules::new(rules)), bytes_max: limits::HISTORY_BYTES_MAX };
        let shape = Shape {
            outbox_bytes_max: [64 * 1024, limits::OUTBOX_BYTES_MAX][random.below(2) as usize],
            ..Shape::drawn(&mut random, STALLS, |_| kept)
        };
        let mut stage = Stage::new(random, world, shape);
        let endpoint = stage.world.connect_calm(address(Door::Bus, false)).expect("somebody listens");
        let wanderers = (0..4).map(|id| {
            let first = stage.random.below(ROOMS as u64) as usize;
            let other = (first + 1 + stage.random.below(ROOMS as u64 - 1) as usize) % ROOMS;
            Wanderer::new(id, &[first, other][..1 + stage.random.below(2) as usize], stage.random.bits())
        });
        let wanderers = wanderers.collect();
        Scenario { publisher: Bus::new(endpoint, ""), stage, wanderers, said: [0; ROOMS] }
    }

    fn run(&mut self) -> Counts {
        for _ in 0..30 + self.stage.random.below(70) {
            match self.stage.random.below(10) {
                0..5 => self.say(),
                5..9 => self.wander(),
                _ => self.fall_deaf(),
            }
            let pause = self.stage.pause([30, 80, 97], 5_000_000);
            self.live(pause);
        }
        self.stage.calm_down();
        // Whoever is thrown out of what it has missed comes back once more.
        for _ in 0..3 {
            let now = self.stage.world.now();
            for index in 0..self.wanderers.len() {
                self.wanderers[index].deaf_until = now;
                self.come_back(index, true);
            }
            self.live(REST);
        }
        let mut counts = Counts::default();
        for wanderer in &self.wanderers {
            for Track { room, stands, .. } in &wanderer.tracks {
                let stands_at = stands.map(|stand| stand.offset);
                assert_eq!(stands_at, Some(self.said[*room]), "wanderer {} at {room}", wanderer.id);
            }
            counts.add(wanderer.counts);
        }
        self.wanderers.clear();
        self.live(REST);
        counts
    }

    // --- the acts ----------------------------------------------------------------------------------------------------

    /// One message, or as many as no reply and no short history takes.
    fn say(&mut self) {
        let count = if self.stage.random.chance(250) { 1 + self.stage.random.below(700) } else { 1 };
        let room = self.stage.random.below(ROOMS as u64) as usize;
        for _ in 0..count {
            self.said[room] += 1;
            let padding = if self.stage.random.chance(50) { self.stage.random.below(3_000) } else { 10 } as usize;
            let payload = json!({"number": self.said[room], "padding": "x".repeat(padding)}).to_string();
            self.publisher.publish(&format!("room.{room}"), "", payload.as_bytes());
        }
    }

    /// One loses its connection or comes back.
    fn wander(&mut self) {
        let index = self.stage.random.below(self.wanderers.len() as u64) as usize;
        if !self.wanderers[index].is_away() && self.stage.random.chance(500) {
            self.wanderers[index].cut();
        }
        let is_calm = self.stage.random.chance(300);
        self.come_back(index, is_calm);
    }

    fn come_back(&mut self, index: usize, is_calm: bool) {
        if !self.wanderers[index].is_away() {
            return;
        }
        if let Some(endpoint) = self.stage.connect(address(Door::Front, false), is_calm) {
            self.wanderers[index].come(Line::new(endpoint));
        }
    }

    fn fall_deaf(&mut self) {
        let index = self.stage.random.below(self.wanderers.len() as u64) as usize;
        self.wanderers[index].deaf_until =
            self.stage.world.now() + Duration::from_micros(self.stage.random.below(6_000_000));
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let now = self.stage.world.now();
        self.publisher.poll();
        self.wanderers.iter_mut().for_each(|wanderer| wanderer.poll(now));
    }

    fn next_due(&mut self) -> Tick {
        let now = self.stage.world.now();
        let ends = self.wanderers.iter().map(|wanderer| wanderer.deaf_until);
        ends.filter(|until| *until > now).min().unwrap_or(Tick::NEVER)
    }
}

#[test]
fn whoever_comes_back_recovers_all_in_order_or_hears_of_the_gap() {
    expect_all_to_happen(SEEDS, |seed| {
        let Counts { returns, recovered, heard, gone, lies, insufficient } = Scenario::new(seed).run();
        [
            ("returns", returns),
            ("recovered", recovered),
            ("heard", heard),
            ("gone", gone),
            ("lies", lies),
            ("insufficient", insufficient),
        ]
    });
}
