//! Questions to clients that answer, dawdle, leave, answer twice or answer nothing, on random numbers of shards.
//!
//! ```text
//!  Asker --PUB with reply--> gateway --question, over--> Client
//!     ^                         |  ^------- answer ---------'
//!     '-- answer, 503, 410, 408 '    Asked: what everybody saw of each question, held together
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::Tick;
use tidegate::driver::sim::Endpoint;

use crate::bus;
use crate::cast::Cast;
use crate::gateway::{Kept, Read};
use crate::line::Line;
use crate::stage::{Play, Stage};
use crate::sweep::expect_all_to_happen;
use crate::websocket::{Phase, WebSocket};

const SEEDS: std::ops::Range<u64> = 0..300;
const USERS: u64 = 3;
/// Longest time that a question may take here.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Longer than all faults and stalls of one answer take together.
const MARGIN: Duration = Duration::from_secs(2);

/// What is known about one question.
struct Question {
    user: u64,
    said: Tick,
    timeout: Duration,
    /// By an asker that never left.
    is_calm: bool,
    heard_by: BTreeSet<u32>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    AnsweredBy(u32),
    Status(u16),
}

#[derive(Default)]
struct Asked {
    now: Tick,
    questions: BTreeMap<u64, Question>,
    /// By calm clients that are there: whose they are, and since when.
    steady: BTreeMap<u32, (u64, Tick)>,
}

impl Asked {
    /// Hears what an asker hears of a question.
    fn hear(&mut self, number: u64, message: &bus::Message) {
        let answered = || {
            let words: Vec<u64> = serde_json::from_slice(&message.payload).expect("an answer");
            let [client, about, nth] = words[..] else { panic!("{words:?} is no answer") };
            assert_eq!((about, nth), (number, 1), "the first answer counts");
            assert_eq!(message.header("Tg-User"), Some(&*format!("u{}", self.questions[&number].user)));
            Outcome::AnsweredBy(client as u32)
        };
        let outcome = message.status().map_or_else(answered, Outcome::Status);
        self.ends(number, outcome);
    }

    fn ends(&mut self, number: u64, outcome: Outcome) {
        let question = self.questions.get_mut(&number).expect("an outcome of a question");
        assert_eq!(question.outcome, None, "question {number} ends with {outcome:?} as well");
        match &outcome {
            Outcome::AnsweredBy(client) => {
                assert!(question.heard_by.contains(client), "{client} was not asked {number}")
            }
            Outcome::Status(503) => {
                let was_there = |(user, since): &(u64, Tick)| *user == question.user && *since < question.said;
                let there = self.steady.iter().find(|(_, client)| was_there(client));
                assert_eq!(there, None, "question {number} finds nobody");
            }
            Outcome::Status(410) => {
                let left: Vec<&u32> =
                    question.heard_by.iter().filter(|client| self.steady.contains_key(client)).collect();
                assert!(left.is_empty(), "{left:?} have heard question {number}, and are still there");
            }
            Outcome::Status(408) => {
                assert!(self.now >= question.said + question.timeout, "question {number} is late before its time");
            }
            Outcome::Status(other) => panic!("question {number} ends with {other}"),
        }
        question.outcome = Some(outcome);
    }
}

/// How a client goes about questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Prompt,
    /// So many microseconds later.
    Slow(u64),
    Twice,
    Never,
    Leaves,
}

struct Client {
    id: u32,
    user: u64,
    is_calm: bool,
    socket: WebSocket,
    manner: Manner,
    /// By id: the number.
    heard: BTreeMap<String, u64>,
    over: BTreeSet<String>,
    /// Answers that are due: when, with which id, about what, for the nth time.
    due: VecDeque<(Tick, String, u64, u64)>,
}

impl Client {
    fn new(id: u32, user: u64, endpoint: Endpoint, manner: Manner, seed: u64) -> Client {
        let is_calm = endpoint.is_calm();
        let socket = WebSocket::new(Line::new(endpoint), &format!("/ws/asked?user=u{user}"), seed);
        let (heard, over, due) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Client { id, user, is_calm, socket, manner, heard, over, due }
    }

    fn answer(&mut self, id: &str, data: Value) {
        self.socket.send_json(&[json!({"tg": "answer", "id": id, "data": data})]);
    }

    fn poll(&mut self, asked: &mut Asked) {
        self.socket.poll();
        if self.is_calm && self.socket.phase == Phase::Open && self.manner != Manner::Leaves {
            asked.steady.entry(self.id).or_insert((self.user, asked.now));
        }
        for said in self.socket.take_json() {
            let id = said["id"].as_str().expect("an id").to_owned();
            match said["tg"].as_str() {
                Some("question") => self.hear(asked, id, said["data"].as_u64().expect("a number")),
                Some("over") => {
                    assert!(self.heard.contains_key(&id), "client {} was never asked {id}", self.id);
                    assert!(self.over.insert(id), "client {} hears twice that it is over", self.id);
                }
                _ => panic!("{said}"),
            }
        }
        while self.next_due() <= asked.now {
            let Some((_, id, number, nth)) = self.due.pop_front() else { break };
            self.answer(&id, json!([self.id, number, nth]));
        }
        // What is said now goes out now: nothing else may happen for long.
        self.socket.poll();
        if self.socket.phase != Phase::Open {
            asked.steady.remove(&self.id);
        }
    }

    fn hear(&mut self, asked: &mut Asked, id: String, number: u64) {
        let question = asked.questions.get_mut(&number).expect("it was asked");
        assert_eq!(question.user, self.user, "question {number} is for somebody else");
        assert!(question.heard_by.insert(self.id), "client {} is asked {number} twice", self.id);
        let delay = if let Manner::Slow(us) = self.manner { us } else { 0 };
        let times = match self.manner {
            Manner::Never | Manner::Leaves => 0,
            Manner::Twice => 2,
            Manner::Prompt | Manner::Slow(_) => 1,
        };
        for nth in 1..=times {
            self.due.push_back((asked.now + Duration::from_micros(delay), id.clone(), number, nth));
        }
        self.heard.insert(id, number);
        if self.manner == Manner::Leaves {
            self.socket.close(1000);
        }
    }

    fn next_due(&self) -> Tick {
        self.due.front().map_or(Tick::NEVER, |(at, ..)| *at)
    }
}

struct Scenario {
    stage: Stage,
    asked: Asked,
    cast: Cast<Client>,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let stage = Stage::drawn(seed, 0x9E57_1095, |_| Kept::nothing());
        let cast = Cast::new(&stage, "_INBOX");
        Scenario { stage, asked: Asked::default(), cast }
    }

    fn run(&mut self) {
        for _ in 0..20 + self.stage.random.below(60) {
            match self.stage.random.below(100) {
                0..45 => self.ask(),
                45..75 => self.come(),
                75..83 => self.go(),
                83..90 => self.make_something_up(),
                90..95 => self.cast.hire(&mut self.stage),
                _ => self.dismiss(),
            }
            let pause = self.stage.pause([40, 80, 97], 4_000_000);
            self.live(pause);
        }
        self.stage.calm_down();
        self.live(TIMEOUT + MARGIN);
        self.assert_over();
        self.cast.clear();
        self.asked.steady.clear();
        self.live(Duration::from_secs(20));
        self.stage.gateway.assert_empty();
    }

    // --- the acts ----------------------------------------------------------------------------------------------------

    fn dismiss(&mut self) {
        if let Some(numbers) = self.cast.dismiss(&mut self.stage) {
            self.asked.questions.range_mut(numbers).for_each(|(_, question)| question.is_calm = false);
        }
    }

    fn ask(&mut self) {
        let asker = self.cast.sender(&mut self.stage);
        let user = self.stage.random.below(USERS);
        let timeout = match self.stage.random.below(10) {
            0..3 => Duration::from_millis(1 + self.stage.random.below(50)),
            _ => Duration::from_millis(1 + self.stage.random.below(TIMEOUT.as_millis() as u64)),
        };
        let number = asker.number(self.asked.questions.len());
        let question = Question {
            user,
            said: self.stage.world.now(),
            timeout,
            is_calm: asker.is_calm,
            heard_by: BTreeSet::new(),
            outcome: None,
        };
        self.asked.questions.insert(number, question);
        asker.send(user, number, ("Tg-Timeout", &timeout.as_millis().to_string()));
    }

    fn come(&mut self) {
        let manner = match self.stage.random.below(10) {
            0..3 => Manner::Prompt,
            3..6 => Manner::Slow(self.stage.random.below(4_000_000)),
            6 => Manner::Twice,
            7 => Manner::Leaves,
            _ => Manner::Never,
        };
        let (is_calm, user, seed) =
            (self.stage.random.chance(600), self.stage.random.below(USERS), self.stage.random.bits());
        self.cast.come(&self.stage, is_calm, |id, endpoint| Client::new(id, user, endpoint, manner, seed));
    }

    fn go(&mut self) {
        if let Some(client) = self.cast.go(&mut self.stage) {
            self.asked.steady.remove(&client.id);
        }
    }

    /// A client answers what it was not asked, maybe somebody else was.
    fn make_something_up(&mut self) {
        let clients = &mut self.cast.clients;
        let Some(index) = self.stage.one_of(clients.len()) else { return };
        let user = clients[index].user;
        let others = clients.iter().filter(|client| client.user != user);
        let ids: Vec<String> = others.flat_map(|client| client.heard.keys().cloned()).collect();
        let id = self.stage.known_or_not(ids);
        clients[index].answer(&id, json!([0, 0, 0]));
    }

    // --- the end -------------------------------------------------------------------------------------------------------

    /// Every question has one outcome, and every client knows which of its questions are over.
    fn assert_over(&self) {
        for (number, question) in &self.asked.questions {
            assert!(!question.is_calm || question.outcome.is_some(), "question {number} has no outcome");
        }
        for client in self.cast.clients.iter().filter(|client| self.asked.steady.contains_key(&client.id)) {
            for (id, number) in &client.heard {
                let question = &self.asked.questions[number];
                let has_won = question.outcome == Some(Outcome::AnsweredBy(client.id));
                let is_told = client.over.contains(id);
                assert!(!(has_won && is_told), "client {} has answered {number}, and hears that it is over", client.id);
                let must_know = question.is_calm && !has_won;
                assert!(!must_know || is_told, "client {} does not hear that {number} is over", client.id);
            }
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let asked = &mut self.asked;
        asked.now = self.stage.world.now();
        // Clients first: what one has heard, the outcome may be about.
        self.cast.clients.iter_mut().for_each(|client| client.poll(asked));
        self.cast.poll_senders(|number, message| asked.hear(number, message));
        self.cast.clients.retain(|client| client.socket.end().is_none());
    }

    fn next_due(&mut self) -> Tick {
        self.cast.clients.iter().map(Client::next_due).min().unwrap_or(Tick::NEVER)
    }
}

/// What has to happen in a sweep, for it to prove something.
const HAPPENINGS: [(&str, Read); 5] = [
    ("answered", |counters| &counters.questions_answered),
    ("unanswerable", |counters| &counters.questions_unanswerable),
    ("left", |counters| &counters.questions_gone),
    ("late", |counters| &counters.questions_late),
    ("stray", |counters| &counters.answers_stray),
];

#[test]
fn every_question_ends_in_one_outcome() {
    expect_all_to_happen(SEEDS, |seed| {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        scenario.stage.gateway.happenings(HAPPENINGS)
    });
}
