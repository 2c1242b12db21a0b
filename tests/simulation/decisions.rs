//! Permissions that ask the application, over a faulty network and shards that lose their cores: deciders that dawdle, keep silent, answer
//! twice or nonsense, or leave; clients that come, go, and want more than they may.
//!
//! ```text
//!  Member --subscribe, publish--> gateway --tg.authorize.clubs--> Decider
//!  Listener --GET /clubs/n-->     ^-------- tg.decision.… --------'      it allows what `may` says, and nothing else
//!
//!  each command has one answer, and no member does what it may not; once all have gone, nothing is left
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::Tick;
use tidegate::conn::Door;
use tidegate::conn::decisions::{DecidedBy, Decider as Asked};
use tidegate::conn::route::{CentrifugeRoute, ChannelTemplate, Route, RouteTarget, UserField};
use tidegate::driver::sim::{Endpoint, Random};
use tidegate::proto::permission::{DeciderId, PermissionText, Permissions, Right};
use tidegate::proto::reserved::subjects;
use tidegate::proto::subject::Pattern;

use crate::bus::Bus;
use crate::gateway::{Kept, address};
use crate::line::Line;
use crate::sse::EventStream;
use crate::stage::{Play, Stage};
use crate::sweep::expect_all_to_happen;
use crate::websocket::{Phase, WebSocket};

const SEEDS: Range<u64> = 0..150;
const USERS: u64 = 4;
const CLUBS: u64 = 6;
const TIMEOUT: Duration = Duration::from_millis(800);
/// Longer than the commands of one member take together, if each waits for an answer that never comes.
const REST: Duration = Duration::from_secs(60);

pub fn routes() -> Vec<Route> {
    let clubs = || vec![Pattern::new("club.*").expect("a pattern")];
    let channel = ChannelTemplate::parse("club.{club}").expect("a template");
    let members = CentrifugeRoute {
        channels: clubs(),
        publish_to: clubs(),
        user: Some(UserField::Query("user".into())),
        ..CentrifugeRoute::default()
    };
    vec![
        Route::new("/ws/club", RouteTarget::Centrifuge(Box::new(members))).expect("a path"),
        Route::new("/clubs/{club}", RouteTarget::Sse { channels: vec![channel], retry: Duration::from_secs(2) })
            .expect("a path"),
    ]
}

pub fn permissions() -> Permissions {
    Permissions::new(&[PermissionText {
        channels: vec!["club.>".to_owned()],
        rights: vec![Right::Hear, Right::Publish],
        required: Vec::new(),
        decider: Some(DeciderId(0)),
    }])
    .expect("a pattern")
}

pub fn deciders() -> Box<[Asked]> {
    let by = DecidedBy::Workers(subjects::authorize("clubs").expect("a name"));
    [Asked { by, timeout: TIMEOUT, kept: Duration::from_secs(2) }].into()
}

/// The application's rule.
fn may(user: &str, right: &str, channel: &str) -> bool {
    let sum: u32 = user.bytes().chain(channel.bytes()).map(u32::from).sum();
    let is_member = !sum.is_multiple_of(3);
    if right == "publish" { is_member && sum.is_multiple_of(2) } else { is_member }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    allowed: u64,
    denied: u64,
    undecided: u64,
    heard: u64,
    opened: u64,
    refused: u64,
    later: u64,
    asked: u64,
}

/// How a decider goes about questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Prompt,
    /// Up to so many microseconds later.
    Slow(u64),
    Silent,
    Nonsense,
    Twice,
}

struct Decider {
    bus: Bus,
    manner: Manner,
    due: VecDeque<(Tick, String, String)>,
}

impl Decider {
    fn new(endpoint: Endpoint, manner: Manner) -> Decider {
        let mut bus = Bus::new(endpoint, "");
        bus.subscribe("tg.authorize.clubs", "deciders");
        Decider { bus, manner, due: VecDeque::new() }
    }

    fn poll(&mut self, now: Tick, counts: &mut Counts) {
        self.bus.poll();
        for message in std::mem::take(&mut self.bus.received) {
            counts.asked += 1;
            let asked: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let user = asked["user"].as_str().unwrap_or("");
            let (right, channel) =
                (asked["right"].as_str().expect("a right"), asked["channel"].as_str().expect("a name"));
            let answer = json!({"allow": may(user, right, channel)}).to_string();
            let reply = message.reply.expect("a reply subject");
            match self.manner {
                Manner::Prompt => self.due.push_back((now, reply, answer)),
                Manner::Slow(us) => self.due.push_back((now + Duration::from_micros(us), reply, answer)),
                Manner::Silent => {}
                Manner::Nonsense => self.due.push_back((now, reply, "{\"allow\":\"yes\"}".to_owned())),
                Manner::Twice => {
                    // The second one would allow everything.
                    self.due.push_back((now, reply.clone(), answer));
                    self.due.push_back((now, reply, "{\"allow\":true}".to_owned()));
                }
            }
        }
        while self.due.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, reply, answer)) = self.due.pop_front() else { break };
            self.bus.publish(&reply, "", answer.as_bytes());
        }
        self.bus.poll();
    }
}

/// A command whose answer is still to come.
struct Wanted {
    right: &'static str,
    channel: String,
}

struct Member {
    id: u32,
    user: String,
    is_calm: bool,
    socket: WebSocket,
    is_connected: bool,
    number: u64,
    wanted: BTreeMap<u64, Wanted>,
    subscribed: BTreeSet<String>,
}

impl Member {
    fn new(id: u32, user: String, endpoint: Endpoint, seed: u64) -> Member {
        let is_calm = endpoint.is_calm();
        let socket = WebSocket::new(Line::new(endpoint), &format!("/ws/club?user={user}"), seed);
        let (wanted, subscribed) = (BTreeMap::new(), BTreeSet::new());
        Member { id, user, is_calm, socket, is_connected: false, number: 1, wanted, subscribed }
    }

    /// Several commands in one frame.
    fn want(&mut self, random: &mut Random) {
        if !self.is_connected || self.wanted.len() > 20 {
            return;
        }
        let mut commands = Vec::new();
        for _ in 0..=random.below(4) {
            self.number += 1;
            let channel = format!("club.{}", random.below(CLUBS));
            let (right, request) = match random.below(2) {
                0 if self.subscribed.contains(&channel) => continue,
                0 => ("hear", json!({"subscribe": {"channel": channel}})),
                _ => ("publish", json!({"publish": {"channel": channel, "data": self.id}})),
            };
            let mut command = request;
            command["id"] = self.number.into();
            commands.push(command);
            self.wanted.insert(self.number, Wanted { right, channel });
        }
        if !commands.is_empty() && !self.socket.send_json(&commands) {
            self.wanted.clear();
        }
    }

    fn poll(&mut self, counts: &mut Counts) {
        self.socket.poll();
        if self.socket.phase == Phase::Open && self.number == 1 {
            self.number = 2;
            self.socket.send_json(&[json!({"id": 1, "connect": {}})]);
        }
        for said in self.socket.take_json() {
            self.hear(&said, counts);
        }
        self.socket.poll();
    }

    fn hear(&mut self, said: &Value, counts: &mut Counts) {
        if said.as_object().is_some_and(serde_json::Map::is_empty) {
            self.socket.send_json(&[json!({})]);
            return;
        }
        if let Some(push) = said.get("push") {
            let channel = push["channel"].as_str().expect("a channel");
            assert!(may(&self.user, "hear", channel), "{} hears {channel}", self.user);
            assert!(self.subscribed.contains(channel), "{} hears {channel} before the answer", self.user);
            counts.heard += 1;
            return;
        }
        let id = said["id"].as_u64().expect("an id");
        if id == 1 {
            assert!(said["connect"].is_object(), "{said}");
            self.is_connected = true;
            return;
        }
        let Wanted { right, channel } = self.wanted.remove(&id).expect("one answer to each command");
        let may = may(&self.user, right, &channel);
        match said["error"]["code"].as_u64() {
            None => {
                assert!(may, "{} was let: {right} {channel}", self.user);
                counts.allowed += 1;
                if right == "hear" {
                    self.subscribed.insert(channel);
                }
            }
            Some(103) => {
                assert!(!may, "{} was refused: {right} {channel}", self.user);
                counts.denied += 1;
            }
            Some(100) => counts.undecided += 1,
            // The member has asked for the same subscription twice.
            Some(105) => assert!(right == "hear" && may, "{said}"),
            _ => panic!("{said}"),
        }
    }
}

/// A stream without a user.
struct Listener {
    stream: EventStream,
    channel: String,
    is_counted: bool,
}

impl Listener {
    fn new(endpoint: Endpoint, club: u64) -> Listener {
        let stream = EventStream::new(Line::new(endpoint), &format!("/clubs/{club}"), "");
        Listener { stream, channel: format!("club.{club}"), is_counted: false }
    }

    fn poll(&mut self, counts: &mut Counts) {
        self.stream.poll();
        let may = may("", "hear", &self.channel);
        let Some(head) = &self.stream.head else { return };
        match head.status {
            403 => {
                assert!(!may, "{} was refused", self.channel);
                counts.refused += u64::from(!std::mem::replace(&mut self.is_counted, true));
            }
            200 => {
                let heard = self.stream.received.drain(..).count() as u64;
                assert!(heard == 0 || may, "{} is heard", self.channel);
                counts.heard += heard;
                // One that is to come back later has ended, for lack of an answer or of room.
                let is_over = self.stream.end().is_some() || self.stream.has_ended_cleanly();
                if heard > 0 && !std::mem::replace(&mut self.is_counted, true) {
                    counts.opened += 1;
                } else if is_over && !std::mem::replace(&mut self.is_counted, true) {
                    counts.later += 1;
                }
            }
            status => assert!(matches!(status, 408 | 429 | 503), "{status}"),
        }
    }
}

struct Scenario {
    stage: Stage,
    counts: Counts,
    /// Until the end.
    publisher: Option<Bus>,
    deciders: Vec<Decider>,
    members: Vec<Member>,
    listeners: Vec<Listener>,
    ids: u32,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let stage = Stage::drawn(seed, 0xDEC1_5107, |_| Kept::nothing());
        let endpoint = stage.world.connect_calm(address(Door::Bus, false)).expect("somebody listens");
        Scenario {
            stage,
            counts: Counts::default(),
            publisher: Some(Bus::new(endpoint, "")),
            deciders: Vec::new(),
            members: Vec::new(),
            listeners: Vec::new(),
            ids: 0,
        }
    }

    fn run(&mut self) -> Counts {
        for _ in 0..40 + self.stage.random.below(80) {
            match self.stage.random.below(100) {
                0..10 => self.hire(),
                10..16 => self.dismiss(),
                16..32 => self.come(),
                32..38 => self.go(),
                38..75 => self.want(),
                _ => self.publish(),
            }
            let pause = self.stage.pause([30, 70, 97], 2_000_000);
            self.live(pause);
        }
        self.stage.calm_down();
        self.live(REST);
        for member in &self.members {
            let is_there = member.is_calm && member.socket.phase == Phase::Open;
            assert!(!is_there || member.wanted.is_empty(), "member {} waits for {}", member.id, member.wanted.len());
        }
        for Listener { stream, channel, .. } in &self.listeners {
            let is_served = stream.is_open() && stream.end().is_none() && !stream.has_ended_cleanly();
            assert!(!is_served || may("", "hear", channel), "{channel} is open");
        }
        self.deciders.clear();
        self.members.clear();
        self.listeners.clear();
        self.publisher = None;
        self.live(Duration::from_secs(20));
        self.stage.gateway.assert_empty();
        self.counts
    }

    fn hire(&mut self) {
        let manner = match self.stage.random.below(10) {
            0..4 => Manner::Prompt,
            4..7 => Manner::Slow(self.stage.random.below(2 * TIMEOUT.as_micros() as u64)),
            7 => Manner::Silent,
            8 => Manner::Nonsense,
            _ => Manner::Twice,
        };
        let is_calm = self.stage.random.chance(700);
        if let Some(endpoint) = self.stage.connect(address(Door::Bus, false), is_calm) {
            self.deciders.push(Decider::new(endpoint, manner));
        }
    }

    fn dismiss(&mut self) {
        if let Some(index) = self.stage.one_of(self.deciders.len()) {
            self.deciders.swap_remove(index);
        }
    }

    fn come(&mut self) {
        let (is_calm, seed) = (self.stage.random.chance(700), self.stage.random.bits());
        let (user, club) = (self.stage.random.below(USERS), self.stage.random.below(CLUBS));
        let Some(endpoint) = self.stage.connect(address(Door::Front, false), is_calm) else { return };
        self.ids += 1;
        match self.stage.random.below(3) {
            0 => self.listeners.push(Listener::new(endpoint, club)),
            _ => self.members.push(Member::new(self.ids, format!("u{user}"), endpoint, seed)),
        }
    }

    fn go(&mut self) {
        if let Some(index) = self.stage.one_of(self.members.len()) {
            self.members.swap_remove(index);
        }
        if let Some(index) = self.stage.one_of(self.listeners.len()) {
            self.listeners.swap_remove(index);
        }
    }

    fn want(&mut self) {
        if let Some(index) = self.stage.one_of(self.members.len()) {
            self.members[index].want(&mut self.stage.random);
        }
    }

    fn publish(&mut self) {
        let channel = format!("club.{}", self.stage.random.below(CLUBS));
        if let Some(publisher) = &mut self.publisher {
            publisher.publish(&channel, "", b"0");
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let (now, counts) = (self.stage.world.now(), &mut self.counts);
        self.publisher.iter_mut().for_each(Bus::poll);
        self.deciders.iter_mut().for_each(|decider| decider.poll(now, counts));
        self.members.iter_mut().for_each(|member| member.poll(counts));
        self.listeners.iter_mut().for_each(|listener| listener.poll(counts));
        self.deciders.retain(|decider| decider.bus.end().is_none());
        self.members.retain(|member| member.socket.end().is_none());
    }

    fn next_due(&mut self) -> Tick {
        let due = self.deciders.iter().filter_map(|decider| decider.due.iter().map(|(at, ..)| *at).min());
        due.min().unwrap_or(Tick::NEVER)
    }
}

#[test]
fn nothing_is_done_that_the_application_does_not_allow() {
    expect_all_to_happen(SEEDS, |seed| {
        let Counts { allowed, denied, undecided, heard, opened, refused, later, asked } = Scenario::new(seed).run();
        [
            ("allowed", allowed),
            ("denied", denied),
            ("undecided", undecided),
            ("heard", heard),
            ("opened", opened),
            ("refused", refused),
            ("to come later", later),
            ("asked", asked),
            ("spared", (allowed + denied + opened + refused).saturating_sub(asked)),
        ]
    });
}
