//! Messages that clients acknowledge at once, late, twice, on the next connection or never, on random numbers of shards.
//!
//! ```text
//!  Sender --PUB with Tg-Ack--> gateway --message, again and again--> Client
//!     ^                          |  ^--------- ack -------------------' '--cut--> another Client of the user
//!     '-- 200, 408, 503, 400 ----'   Sent: what everybody saw of each message, held together
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;
use tidegate::base::Tick;
use tidegate::driver::sim::Endpoint;
use tidegate::limits;

use crate::bus;
use crate::cast::Cast;
use crate::gateway::{Kept, Read};
use crate::line::Line;
use crate::stage::{Play, Stage};
use crate::sweep::expect_all_to_happen;
use crate::websocket::{Phase, WebSocket};

const SEEDS: std::ops::Range<u64> = 0..300;
const USERS: u64 = 3;
/// Longest time that a message may wait here.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Longer than all faults and stalls of one way through the gateway take together.
const MARGIN: Duration = Duration::from_secs(2);

/// What is known about one message.
#[derive(Debug)]
struct Sending {
    user: u64,
    said: Tick,
    time: Duration,
    times: Option<u32>,
    is_readable: bool,
    /// By a sender that never left.
    is_calm: bool,
    id: Option<String>,
    /// The first time that a client of its user has acknowledged it, and the first that one did whose line is calm.
    acknowledged: Option<Tick>,
    calmly: Option<Tick>,
    outcome: Option<(Tick, u16)>,
}

#[derive(Default)]
struct Sent {
    now: Tick,
    messages: BTreeMap<u64, Sending>,
    /// Calm clients that are there and acknowledge at once: whose they are, and since when.
    steady: BTreeMap<u32, (u64, Tick)>,
    /// By user: what a client has heard and left without acknowledging.
    owed: BTreeMap<u64, Vec<(String, u64)>>,
    is_draining: bool,
}

impl Sent {
    /// Hears what a sender hears of a message.
    fn hear(&mut self, number: u64, message: &bus::Message) {
        let outcome = message.status().expect("a status");
        if outcome == 200 {
            let user = format!("u{}", self.messages[&number].user);
            assert_eq!(message.header("Tg-User"), Some(&*user), "whoever has acknowledged {number}");
        }
        self.ends(number, outcome);
    }

    /// A client of `user` hears a message.
    fn heard(&mut self, number: u64, user: u64, id: &str, is_prompt: bool) {
        let now = self.now;
        let message = self.messages.get_mut(&number).expect("it was said");
        assert_eq!(message.user, user, "message {number} is for somebody else");
        assert!(message.is_readable, "message {number} was not to be taken");
        let known = message.id.get_or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "message {number} has one id");
        if let Some((ended, _)) = message.outcome.filter(|_| is_prompt) {
            assert!(ended + 5 * MARGIN > now, "at {now:?} message {number} is sent although it has ended: {message:?}");
        }
    }

    fn acknowledges(&mut self, number: u64, is_calm: bool) {
        let now = self.now;
        let message = self.messages.get_mut(&number).expect("it was said");
        message.acknowledged.get_or_insert(now);
        if is_calm {
            message.calmly.get_or_insert(now);
        }
    }

    fn ends(&mut self, number: u64, outcome: u16) {
        let now = self.now;
        let is_draining = self.is_draining;
        let message = self.messages.get_mut(&number).expect("an outcome of a message");
        assert_eq!(message.outcome, None, "message {number} ends with {outcome} as well");
        assert_eq!(message.is_readable, outcome != 400, "message {number} ends with {outcome}");
        match outcome {
            200 => assert!(message.acknowledged.is_some(), "nobody has acknowledged {number}"),
            400 => {}
            503 => assert!(is_draining, "message {number} finds a gateway that goes away"),
            408 => {
                let end = message.said + message.time;
                let least = if message.times.is_some() { limits::ACK_RESEND.min(message.time) } else { message.time };
                assert!(now >= message.said + least, "message {number} has expired before its time");
                // Another sender may hear of it much later.
                if let Some(at) = message.calmly.filter(|_| message.is_calm) {
                    assert!(
                        at + 2 * MARGIN > now,
                        "at {now:?} {number} was acknowledged at {at:?}, and has expired: {message:?}"
                    );
                }
                let has_met = |(user, since): &(u64, Tick)| {
                    *user == message.user && (*since).max(message.said) + 2 * MARGIN <= end && message.times.is_none()
                };
                let met = self.steady.iter().find(|(_, client)| has_met(client));
                assert_eq!(met, None, "message {number} has expired, and there was somebody");
            }
            other => panic!("message {number} ends with {other}"),
        }
        if outcome == 503 {
            let calmly = message.calmly;
            let is_late = calmly.is_none_or(|at| at + 2 * MARGIN > now) || !message.is_calm;
            assert!(is_late, "message {number} was acknowledged at {calmly:?}");
        }
        self.messages.get_mut(&number).expect("it was there").outcome = Some((now, outcome));
    }
}

/// How a client goes about messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Prompt,
    /// So many microseconds later.
    Slow(u64),
    Thrice,
    Never,
    /// At the first message, which the next client of its user acknowledges.
    Leaves,
    /// Once it is open, reads nothing until then.
    DeafUntil(Tick),
}

struct Client {
    id: u32,
    user: u64,
    is_calm: bool,
    socket: WebSocket,
    manner: Manner,
    /// By id: the number, and how often it has come.
    heard: BTreeMap<String, (u64, u32)>,
    /// Acknowledgements that are due.
    due: VecDeque<(Tick, String, u64)>,
    acknowledged: Vec<u64>,
    has_opened: bool,
}

impl Client {
    fn new(id: u32, user: u64, endpoint: Endpoint, manner: Manner, seed: u64) -> Client {
        let is_calm = endpoint.is_calm();
        let socket = WebSocket::new(Line::new(endpoint), &format!("/ws/asked?user=u{user}"), seed);
        let (heard, due, acknowledged) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        Client { id, user, is_calm, socket, manner, heard, due, acknowledged, has_opened: false }
    }

    fn say_ack(&mut self, id: &str) -> bool {
        self.socket.send_json(&[json!({"tg": "ack", "id": id})])
    }

    fn poll(&mut self, sent: &mut Sent) {
        if self.is_deaf(sent.now) {
            return;
        }
        self.socket.poll();
        if self.socket.phase == Phase::Open {
            if self.is_calm && matches!(self.manner, Manner::Prompt | Manner::Thrice) {
                sent.steady.entry(self.id).or_insert((self.user, sent.now));
            }
            if !std::mem::replace(&mut self.has_opened, true) {
                let owed = sent.owed.remove(&self.user).unwrap_or_default();
                self.due.extend(owed.into_iter().map(|(id, number)| (sent.now, id, number)));
            }
        }
        for said in self.socket.take_json() {
            assert_eq!(said["tg"], "message", "{said}");
            let id = said["id"].as_str().expect("an id").to_owned();
            self.hear(sent, id, said["data"].as_u64().expect("a number"));
        }
        while self.next_due(sent.now) <= sent.now {
            let Some((_, id, number)) = self.due.pop_front() else { break };
            if self.say_ack(&id) {
                // Whoever was deaf may not know yet that its connection has ended.
                sent.acknowledges(number, self.is_calm && !matches!(self.manner, Manner::DeafUntil(_)));
                self.acknowledged.push(number);
            }
        }
        // What is said now goes out now: nothing else may happen for long.
        self.socket.poll();
        if self.socket.phase != Phase::Open {
            sent.steady.remove(&self.id);
        }
    }

    fn hear(&mut self, sent: &mut Sent, id: String, number: u64) {
        let is_prompt = self.is_calm && !matches!(self.manner, Manner::DeafUntil(_));
        sent.heard(number, self.user, &id, is_prompt);
        let (_, times) = self.heard.entry(id.clone()).or_insert((number, 0));
        *times += 1;
        // One more if it has come while the message was being sent again.
        let times_max = sent.messages[&number].times.map_or(u32::MAX, |times| times + 1);
        assert!(*times <= times_max, "client {} hears {number} for the {times}th time", self.id);
        let delay = if let Manner::Slow(us) = self.manner { us } else { 0 };
        let count = match self.manner {
            Manner::Never => 0,
            Manner::Leaves => {
                sent.owed.entry(self.user).or_default().push((id.clone(), number));
                self.socket.close(1000);
                0
            }
            Manner::Thrice => 3,
            Manner::Prompt | Manner::Slow(_) | Manner::DeafUntil(_) => 1,
        };
        (0..count).for_each(|_| self.due.push_back((sent.now + Duration::from_micros(delay), id.clone(), number)));
    }

    fn is_deaf(&self, now: Tick) -> bool {
        self.has_opened && matches!(self.manner, Manner::DeafUntil(until) if until > now)
    }

    fn next_due(&self, now: Tick) -> Tick {
        match self.manner {
            Manner::DeafUntil(until) if until > now => until,
            _ => self.due.front().map_or(Tick::NEVER, |(at, ..)| *at),
        }
    }
}

struct Scenario {
    stage: Stage,
    sent: Sent,
    cast: Cast<Client>,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let stage = Stage::drawn(seed, 0xACED_1095, |_| Kept::nothing());
        let cast = Cast::new(&stage, "acks");
        Scenario { stage, sent: Sent::default(), cast }
    }

    fn run(&mut self) {
        for _ in 0..20 + self.stage.random.below(60) {
            match self.stage.random.below(100) {
                0..40 => self.send(),
                40..70 => self.come(),
                70..83 => self.go(),
                83..90 => self.make_something_up(),
                90..95 => self.cast.hire(&mut self.stage),
                _ => self.dismiss(),
            }
            let pause = self.stage.pause([40, 80, 95], 8_000_000);
            self.live(pause);
        }
        if self.stage.random.chance(250) {
            return self.drain();
        }
        self.stage.calm_down();
        self.live(TIME_MAX + MARGIN);
        self.assert_over();
        self.cast.clear();
        self.sent.steady.clear();
        self.live(Duration::from_secs(20));
        self.stage.gateway.assert_empty();
    }

    /// The gateway goes away in the middle of it all.
    fn drain(&mut self) {
        // What is published so late may meet a connection that has ended.
        let last = if self.stage.random.chance(500) {
            self.live(MARGIN);
            Tick::NEVER
        } else {
            self.stage.world.now()
        };
        self.sent.is_draining = true;
        self.sent.steady.clear();
        self.stage.gateway.drain();
        if last != Tick::NEVER {
            self.send();
        }
        let late = self.sent.messages.values_mut().filter(|message| message.said + MARGIN > last);
        late.for_each(|message| message.is_calm = false);
        self.live(limits::DRAIN_SPREAD + 3 * limits::DRAIN_GRACE + TIME_MAX);
        self.assert_over();
        assert!(self.stage.gateway.is_over(), "it goes away");
    }

    // --- the acts ----------------------------------------------------------------------------------------------------

    fn dismiss(&mut self) {
        if let Some(numbers) = self.cast.dismiss(&mut self.stage) {
            self.sent.messages.range_mut(numbers).for_each(|(_, message)| message.is_calm = false);
        }
    }

    fn send(&mut self) {
        let sender = self.cast.sender(&mut self.stage);
        let user = self.stage.random.below(USERS);
        let seconds = match self.stage.random.below(10) {
            0..3 => 1 + self.stage.random.below(3),
            _ => 1 + self.stage.random.below(TIME_MAX.as_secs()),
        };
        let times = self.stage.random.chance(300).then(|| 1 + self.stage.random.below(4) as u32);
        let is_readable = !self.stage.random.chance(20);
        let demand = match times {
            _ if !is_readable => "soon".to_owned(),
            Some(times) => format!("{seconds}, {times}"),
            None => seconds.to_string(),
        };
        let number = sender.number(self.sent.messages.len());
        let sending = Sending {
            user,
            said: self.stage.world.now(),
            time: Duration::from_secs(seconds),
            times,
            is_readable,
            is_calm: sender.is_calm,
            id: None,
            acknowledged: None,
            calmly: None,
            outcome: None,
        };
        self.sent.messages.insert(number, sending);
        sender.send(user, number, ("Tg-Ack", &demand));
    }

    fn come(&mut self) {
        let manner = match self.stage.random.below(10) {
            0..2 => Manner::Prompt,
            2..4 => Manner::Slow(self.stage.random.below(8_000_000)),
            4 => Manner::Thrice,
            5..7 => Manner::Leaves,
            7 => Manner::DeafUntil(self.stage.world.now() + Duration::from_micros(self.stage.random.below(10_000_000))),
            _ => Manner::Never,
        };
        let (is_calm, user, seed) =
            (self.stage.random.chance(600), self.stage.random.below(USERS), self.stage.random.bits());
        self.cast.come(&self.stage, is_calm, |id, endpoint| Client::new(id, user, endpoint, manner, seed));
    }

    fn go(&mut self) {
        if let Some(client) = self.cast.go(&mut self.stage) {
            self.sent.steady.remove(&client.id);
            // What it said last may go with it, and what it had to say another may.
            for number in client.acknowledged {
                self.sent.messages.get_mut(&number).expect("it was said").calmly = None;
            }
            let owed = self.sent.owed.entry(client.user).or_default();
            owed.extend(client.due.into_iter().map(|(_, id, number)| (id, number)));
        }
    }

    /// A client acknowledges what is not for it, and what nobody was sent.
    fn make_something_up(&mut self) {
        let clients = &mut self.cast.clients;
        let Some(index) = self.stage.one_of(clients.len()) else { return };
        let user = clients[index].user;
        let others = clients.iter().filter(|client| client.user != user);
        let ids: BTreeSet<String> = others.flat_map(|client| client.heard.keys().cloned()).collect();
        let id = self.stage.known_or_not(ids.into_iter().collect());
        (0..1 + self.stage.random.below(4)).for_each(|_| _ = clients[index].say_ack(&id));
    }

    /// Every message has one outcome.
    fn assert_over(&self) {
        for (number, message) in &self.sent.messages {
            assert!(!message.is_calm || message.outcome.is_some(), "message {number} has no outcome: {message:?}");
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let sent = &mut self.sent;
        sent.now = self.stage.world.now();
        // Clients first: what one has acknowledged, the outcome may be about.
        self.cast.clients.iter_mut().for_each(|client| client.poll(sent));
        self.cast.poll_senders(|number, message| sent.hear(number, message));
        self.cast.clients.retain(|client| client.socket.end().is_none());
    }

    fn next_due(&mut self) -> Tick {
        let now = self.stage.world.now();
        self.cast.clients.iter().map(|client| client.next_due(now)).min().unwrap_or(Tick::NEVER)
    }
}

/// What has to happen in a sweep, for it to prove something.
const HAPPENINGS: [(&str, Read); 5] = [
    ("acknowledged", |counters| &counters.unacked_acknowledged),
    ("expired", |counters| &counters.unacked_expired),
    ("resent", |counters| &counters.unacked_resent),
    ("refused", |counters| &counters.unacked_refused),
    ("stray", |counters| &counters.acks_stray),
];

#[test]
fn what_is_to_be_acknowledged_is_acknowledged_or_expires() {
    expect_all_to_happen(SEEDS, |seed| {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        scenario.stage.gateway.happenings(HAPPENINGS)
    });
}
