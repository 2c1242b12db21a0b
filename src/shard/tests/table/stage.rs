//! A gateway with a publisher at each of its doors, and receivers that come by any way.

use std::thread;

use serde_json::{Value, json};

use super::super::centrifuge;
use super::super::*;
use super::ear::{Ear, Sound};
use super::way::Way;
use crate::conn::route::AcceptRoute;
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::subject::Pattern;

/// What may wait for a client and for a worker, and the longest message: one message is longer than a client may leave unread.
pub(super) const OUTBOX: usize = 20_000;
pub(super) const BUS_OUTBOX: usize = 60_000;
pub(super) const PAYLOAD: usize = 40_000;
pub(super) const CONNECT: &str = "\"verbose\":false,\"headers\":true,\"no_responders\":true";
const THREADS: u16 = 5;

/// A door by which messages come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Bus,
    /// An in-process worker.
    Thread,
    /// The admin listener.
    Post,
}

pub(super) struct Stage {
    pub bench: Bench,
    /// Whose owner is the first shard.
    pub room: String,
    /// Where receivers come to, and where voices are.
    pub ear_at: u16,
    pub voice_at: u16,
    /// In-process workers without work.
    threads: Vec<Worker>,
    /// The voices.
    speaker: Worker,
    bus: Peer,
    /// A worker of the service `jobs`.
    jobs: Option<Peer>,
    asks: u32,
}

fn settings() -> Settings {
    let mut settings = centrifuge::settings();
    // Messages are longer here than may wait, and nothing answers pings.
    settings.generation_mut().ping_interval = 1_000 * SECOND;
    settings.generation_mut().outbox_bytes_max = OUTBOX;
    settings.generation_mut().bus.outbox_bytes_max = BUS_OUTBOX;
    settings.generation_mut().payload_bytes_max = PAYLOAD;
    settings.generation_mut().bus.limits.payload_bytes_max = PAYLOAD;
    let control =
        WebSocketRoute { user: Some(UserField::Query("user".into())), control: true, ..WebSocketRoute::default() };
    let jobs = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("result.{id}").unwrap(),
        event: "tg.result".into(),
        timeout: 5 * SECOND,
        keep: 60 * SECOND,
        user: None,
        headers: Box::default(),
    };
    let result = ChannelTemplate::parse("result.{id}").unwrap();
    add_routes(
        &mut settings,
        [
            route("/control", RouteTarget::WebSocket(control)),
            route("/sse/result/{id}", RouteTarget::Sse { channels: vec![result], retry: SECOND }),
            Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(jobs)) },
        ],
    );
    let keep = Keep { messages: 100, bytes: 64 << 20, age: 60 * SECOND };
    let rule = Rule { history: Some(keep), is_distinct: true, has_presence: true, ..Rule::default() };
    let result = Rule { has_presence: true, ..Rule::default() };
    let rules = [("room.*", rule), ("result.*", result)];
    settings.generation_mut().channels =
        Arc::new(Rules::new(rules.map(|(name, rule)| (Pattern::new(name).unwrap(), rule))));
    settings
}

/// What a worker on the bus says to publish.
pub(super) fn publication(subject: &str, reply: &str, headers: &str, payload: &str) -> String {
    let headers = format!("NATS/1.0\r\n{headers}\r\n");
    let (length, total) = (headers.len(), headers.len() + payload.len());
    format!("HPUB {subject} {reply} {length} {total}\r\n{headers}{payload}\r\n")
}

impl Stage {
    pub(super) fn new(shards: u16, ear_at: u16) -> Stage {
        let world = World::new(1, Faults::none());
        let (mut bench, mut threads) = Bench::staffed(world, shards, THREADS, settings());
        let voice_at = shards - 1;
        let bus = Stage::worker_of(&mut bench, voice_at, CONNECT, "SUB _INBOX.voice.* 1\r\n");
        let speaker = threads.remove(0);
        let room = format!("room.{}", room_of(0, shards));
        Stage { bench, room, ear_at, voice_at, threads, speaker, bus, jobs: None, asks: 0 }
    }

    pub(super) fn wait(&mut self) {
        self.bench.run_for(SECOND / 10);
    }

    /// A worker that has been greeted.
    fn worker_of(bench: &mut Bench, shard: u16, options: &str, subscriptions: &str) -> Peer {
        let mut worker = bench.connect(shard, BUS);
        worker.say(format!("CONNECT {{{options}}}\r\n{subscriptions}PING\r\n"));
        bench.run_for(SECOND / 10);
        let heard = worker.hear();
        assert!(heard.ends_with("PONG\r\n"), "{heard}");
        worker
    }

    /// The same, beside the receivers.
    pub(super) fn worker(&mut self, options: &str, subscriptions: &str) -> Peer {
        Stage::worker_of(&mut self.bench, self.ear_at, options, subscriptions)
    }

    // --- receivers -----------------------------------------------------------------------------------------------------

    /// A receiver comes.
    pub(super) fn join(&mut self, way: Way) -> Ear {
        let mut subject = way.subject(&self.room);
        let room = self.room.trim_start_matches("room.").to_owned();
        let sound = match way {
            Way::Plain | Way::Wildcard | Way::Queue | Way::Service | Way::Reply => {
                let subscription = way.subscription(&self.room).expect("a worker on the bus");
                Sound::Peer(self.worker(CONNECT, &subscription))
            }
            Way::User => Sound::Peer(self.bench.open(self.ear_at, "/control?user=ann")),
            Way::Connection => {
                let peer = self.bench.open(self.ear_at, "/control?user=ann");
                let user = self.get("/api/users/ann");
                let last = user["connected"].as_array().and_then(|all| all.last()).expect("it is connected");
                subject = format!("tg.conn.{}", last["conn"].as_str().unwrap());
                Sound::Peer(peer)
            }
            Way::Request => {
                let id = self.request("");
                subject = format!("tg.request.{id}");
                Sound::Peer(self.bench.open(self.ear_at, &format!("/sse/result/{id}")))
            }
            Way::Client => Sound::Peer(self.client(json!({"channel": self.room}))),
            Way::Thread => Sound::Thread(self.enlist()),
            Way::Http => Sound::Peer(self.bench.open(self.ear_at, &format!("/sse/{room}"))),
        };
        let mut ear = Ear { subject, sound };
        ear.hear();
        ear
    }

    /// A receiver goes: a worker unsubscribes, a client's connection breaks, a thread ends. What can still hear is given back.
    pub(super) fn leave(ear: Ear, way: Way) -> Option<Ear> {
        match (ear.sound, way.subscription("")) {
            (Sound::Peer(peer), Some(_)) => {
                peer.say("UNSUB 7\r\n");
                Some(Ear { subject: ear.subject, sound: Sound::Peer(peer) })
            }
            (Sound::Peer(peer), None) => {
                peer.end.reset();
                None
            }
            (Sound::Thread(_), _) => None,
        }
    }

    /// A client of the client protocol that has subscribed.
    pub(super) fn client(&mut self, subscribe: Value) -> Peer {
        let mut peer = self.bench.open(self.ear_at, "/open");
        peer.say(text(json!({"id": 1, "connect": {}}).to_string().as_bytes()));
        peer.say(text(json!({"id": 2, "subscribe": subscribe}).to_string().as_bytes()));
        self.wait();
        // What it has been told of the past stays to be heard.
        let heard = peer.hear();
        assert!(heard.contains("\"id\":2,\"subscribe\""), "{heard}");
        peer.heard.extend_from_slice(heard.split("\"id\":2").nth(1).unwrap_or_default().as_bytes());
        peer
    }

    /// An in-process worker subscribes to the room, which it waits for on a thread of its own while the shards turn.
    fn enlist(&mut self) -> Worker {
        let (mut worker, room) = (self.threads.pop().expect("one without work"), self.room.clone());
        let joining = thread::spawn(move || worker.subscribe(&room, None).map(|()| worker));
        while !joining.is_finished() {
            self.bench.run_for(Duration::ZERO);
            thread::yield_now();
        }
        joining.join().unwrap().unwrap()
    }

    /// A client posts a job, which a worker gets: its id.
    pub(super) fn request(&mut self, headers: &str) -> String {
        if self.jobs.is_none() {
            self.jobs = Some(self.worker(CONNECT, "SUB tg.service.jobs workers 1\r\n"));
        }
        let (_, body) = self.ask_http(self.ear_at, 0, &format!("POST /jobs HTTP/1.1\r\nHost: a\r\n{headers}"), "{}");
        let receipt: Value = serde_json::from_str(&body).expect("a receipt");
        receipt["id"].as_str().unwrap().to_owned()
    }

    /// Jobs that the worker has been handed since it was asked last.
    pub(super) fn jobs(&mut self) -> usize {
        self.jobs.as_mut().map_or(0, |jobs| jobs.hear().matches("MSG tg.service.jobs").count())
    }

    // --- voices --------------------------------------------------------------------------------------------------------

    /// Publishes by a door; what the admin listener answers.
    pub(super) fn say(&mut self, voice: Voice, subject: &str, header: Option<(&str, &str)>, mark: &str) -> Value {
        let payload = format!("\"{mark}\"");
        let line = header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        match voice {
            Voice::Bus => self.bus.say(publication(subject, "", &line, &payload)),
            Voice::Thread => {
                let header = header.into_iter().collect::<Vec<_>>();
                self.speaker.publish(subject, &header, payload.as_bytes()).unwrap();
            }
            Voice::Post => {
                let body = self.post(subject, &line, &payload).1;
                return serde_json::from_str(&body).expect("JSON");
            }
        }
        self.wait();
        Value::Null
    }

    /// Fills the mailbox of the voices' shard: until it has had a turn, it learns nothing of what other shards say from now on.
    pub(super) fn crowd(&mut self) {
        let subject = crate::proto::subject::Subject::new("room.crowd").unwrap();
        let mail = || Mail::Leave { subject: subject.clone(), from: Place(self.ear_at) };
        while self.bench.mesh.try_send(Place(self.voice_at), mail()).is_ok() {}
        self.bench.mesh.wake(Place(self.voice_at));
    }

    /// A request of the worker on the bus, which has not been given time: `hear_asker` is what comes of it.
    pub(super) fn ask(&mut self, subject: &str, header: &str, mark: &str) {
        self.asks += 1;
        let reply = format!("_INBOX.voice.{}", self.asks);
        self.bus.say(publication(subject, &reply, header, &format!("\"{mark}\"")));
    }

    pub(super) fn hear_asker(&mut self) -> String {
        self.bus.hear()
    }

    /// What the requester hears within a moment.
    pub(super) fn asked(&mut self, subject: &str, header: &str, mark: &str) -> String {
        self.ask(subject, header, mark);
        self.wait();
        self.hear_asker()
    }

    /// A worker that may not be there any more afterwards.
    pub(super) fn passing_worker(&mut self) -> Peer {
        Stage::worker_of(&mut self.bench, self.voice_at, CONNECT, "")
    }

    pub(super) fn thread(&self) -> &Worker {
        &self.speaker
    }

    /// Status line and body.
    pub(super) fn post(&mut self, channel: &str, headers: &str, payload: &str) -> (String, String) {
        let head = format!("POST /api/channels/{channel} HTTP/1.1\r\nHost: a\r\n{headers}");
        self.ask_http(self.voice_at, ADMIN, &head, payload)
    }

    pub(super) fn get(&mut self, path: &str) -> Value {
        let (_, body) = self.ask_http(self.voice_at, ADMIN, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n"), "");
        serde_json::from_str(&body).expect("JSON")
    }

    pub(super) fn ask_http(&mut self, shard: u16, door: u16, head: &str, body: &str) -> (String, String) {
        let mut peer = self.bench.connect(shard, door);
        peer.say(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        self.wait();
        let heard = peer.hear();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {heard}"));
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    pub(super) fn delivered(&self) -> u64 {
        (0..self.bench.shards.len()).map(|shard| self.bench.core(shard).desk.counters().delivered.value()).sum()
    }

    pub(super) fn slow_consumers(&self) -> u64 {
        (0..self.bench.shards.len()).map(|shard| self.bench.closed(shard, CloseReason::SlowConsumer)).sum()
    }
}
