//! Accepted requests under random workers that die, dawdle, drain and answer twice, on random numbers of shards.
//!
//! ```text
//!  Asker --POST, GET--> gateway <--SUB, PUB-- Jobber          Watcher <-- the channel of one request
//!      '------------------> Jobs <------------'-----------------'
//!                           what each of them saw of each request, held together after every turn
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tidegate::base::Tick;
use tidegate::conn::Door;
use tidegate::driver::sim::Endpoint;

use crate::bus::Bus;
use crate::gateway::{JOB_KEEP, JOB_TIMEOUT, Kept, Read, address};
use crate::http::{Answers, Head};
use crate::jobs::{Jobs, MARGIN};
use crate::line::Line;
use crate::sse::EventStream;
use crate::stage::{Play, Stage};
use crate::sweep::expect_all_to_happen;

const SEEDS: std::ops::Range<u64> = 0..300;

/// An HTTP client that posts jobs and reads what became of them, on one connection.
struct Asker {
    answers: Answers,
    asked: VecDeque<Asked>,
}

enum Asked {
    Post {
        number: u64,
        key: Option<String>,
    },
    /// Somebody knew already that it was over.
    Read {
        id: String,
        is_over: bool,
    },
}

impl Asker {
    fn new(endpoint: Endpoint) -> Asker {
        Asker { answers: Answers::new(Line::new(endpoint)), asked: VecDeque::new() }
    }

    fn post(&mut self, number: u64, key: Option<String>) {
        let body = number.to_string();
        let field = key.as_ref().map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let head = format!("POST /jobs HTTP/1.1\r\nHost: a\r\n{field}Content-Length: {}\r\n\r\n{body}", body.len());
        self.answers.line.say(head.as_bytes());
        self.asked.push_back(Asked::Post { number, key });
    }

    fn read(&mut self, id: &str, is_over: bool) {
        self.answers.line.say(format!("GET /jobs/{id} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.asked.push_back(Asked::Read { id: id.to_owned(), is_over });
    }

    fn poll(&mut self, jobs: &mut Jobs) {
        self.answers.line.poll();
        while let Some((head, body)) = self.answers.take() {
            if head.status == 408 {
                // Nothing came for a while.
                return;
            }
            let asked = self.asked.pop_front().expect("an answer to nothing");
            on_answer(jobs, asked, &head, &body);
        }
    }
}

fn on_answer(jobs: &mut Jobs, asked: Asked, head: &Head, body: &[u8]) {
    let said = || String::from_utf8_lossy(body).into_owned();
    match asked {
        Asked::Post { number, key } => {
            assert_eq!(head.status, 202, "{}", said());
            let receipt: Value = serde_json::from_slice(body).expect("a receipt");
            let id = receipt["id"].as_str().expect("an id").to_owned();
            assert_eq!(head.field("location"), Some(&*format!("/jobs/{id}")));
            assert_eq!(receipt["channel"], format!("request.{id}"));
            let job = jobs.by_id.entry(id.clone()).or_default();
            let known = *job.number.get_or_insert(number);
            assert_eq!(known, number, "{id} is the receipt of two jobs");
            if let Some(key) = key {
                assert_eq!(*jobs.by_key.entry(key).or_insert(id.clone()), id, "a key has two requests");
            }
        }
        Asked::Read { id, is_over } => match head.status {
            200 => {
                let document: Value = serde_json::from_slice(body).expect("a document");
                assert_eq!(document["id"], id);
                let is_pending = document["status"] == "pending";
                assert_eq!(head.field("retry-after").is_some(), is_pending);
                assert!(!is_pending || !is_over, "{id} is pending after {:?}", jobs.by_id[&id].end);
                jobs.told(&document);
            }
            404 => {
                let number = jobs.by_id[&id].number.expect("it was accepted");
                assert!(jobs.now >= jobs.posted[&number] + JOB_KEEP, "{id} is unknown: {}", said());
            }
            status => panic!("{status}: {}", said()),
        },
    }
}

/// How a worker goes about its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Prompt,
    /// So many microseconds later.
    Slow(u64),
    Twice,
    Fails,
    Never,
}

/// A worker of the service.
struct Jobber {
    id: u32,
    is_calm: bool,
    bus: Bus,
    sid: u64,
    manner: Manner,
    /// Answers that are due: when, to which, about what, for the nth time.
    due: VecDeque<(Tick, String, u64, u64)>,
}

impl Jobber {
    fn new(id: u32, endpoint: Endpoint, manner: Manner) -> Jobber {
        let is_calm = endpoint.is_calm();
        let mut bus = Bus::new(endpoint, "");
        let sid = bus.subscribe("tg.service.jobs", "workers");
        Jobber { id, is_calm, bus, sid, manner, due: VecDeque::new() }
    }

    fn poll(&mut self, now: Tick, jobs: &mut Jobs) {
        self.bus.poll();
        assert!(self.bus.errors.is_empty(), "worker {} is told {:?}", self.id, self.bus.errors);
        for message in std::mem::take(&mut self.bus.received) {
            let id = message.header("Tg-Request").expect("an id").to_owned();
            assert_eq!(message.reply, Some(format!("tg.request.{id}")));
            assert_eq!(message.header("Tg-Kind"), Some("request"));
            let number = String::from_utf8_lossy(&message.payload).parse().expect("a number");
            let attempt = message.header("Tg-Attempt").map_or(1, |digits| digits.parse().expect("a number"));
            jobs.handed(&id, number, attempt, self.id);
            let delay = if let Manner::Slow(us) = self.manner { us } else { 0 };
            let times = match self.manner {
                Manner::Never => 0,
                Manner::Twice => 2,
                Manner::Prompt | Manner::Slow(_) | Manner::Fails => 1,
            };
            for nth in 1..=times {
                self.due.push_back((now + Duration::from_micros(delay), id.clone(), number, nth));
            }
        }
        while self.next_due() <= now {
            let Some((_, id, number, nth)) = self.due.pop_front() else { break };
            let status = if self.manner == Manner::Fails { "failed" } else { "done" };
            let payload = format!("{} {number} {nth}", self.id);
            let headers = [("Tg-Status", status), ("Content-Type", "text/plain")];
            self.bus.publish_with(&format!("tg.request.{id}"), "", &headers, payload.as_bytes());
            if self.is_calm {
                jobs.by_id.get_mut(&id).expect("it was handed").answered.get_or_insert((self.id, now));
            }
        }
        // What is said now goes out now: nothing else may happen for long.
        self.bus.poll();
        if self.bus.end().is_some() {
            jobs.gone.insert(self.id);
        }
    }

    fn next_due(&self) -> Tick {
        self.due.front().map_or(Tick::NEVER, |(at, ..)| *at)
    }
}

/// Somebody on the channel of one request.
struct Watcher {
    id: String,
    is_calm: bool,
    stream: EventStream,
    heard: usize,
    opened: Option<Tick>,
}

impl Watcher {
    fn poll(&mut self, now: Tick, jobs: &mut Jobs) {
        self.stream.poll();
        if self.stream.is_open() {
            self.opened.get_or_insert(now);
        }
        for event in std::mem::take(&mut self.stream.received) {
            assert_eq!(event.name, "tg.result");
            let document: Value = serde_json::from_str(&event.data).expect("a document");
            assert_eq!(document["id"], self.id);
            jobs.told(&document);
            self.heard += 1;
            assert_eq!(self.heard, 1, "the result of {} comes twice", self.id);
        }
    }
}

struct Scenario {
    stage: Stage,
    jobs: Jobs,
    askers: Vec<Asker>,
    jobbers: Vec<Jobber>,
    watchers: Vec<Watcher>,
    posted: u64,
    hired: u32,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let stage = Stage::drawn(seed, 0xACCE_97ED, Kept::new);
        let mut scenario = Scenario {
            stage,
            jobs: Jobs::default(),
            askers: Vec::new(),
            jobbers: Vec::new(),
            watchers: Vec::new(),
            posted: 0,
            hired: 0,
        };
        for _ in 0..3 {
            let endpoint = scenario.stage.connect(address(Door::Front, false), true).expect("somebody listens");
            scenario.askers.push(Asker::new(endpoint));
        }
        scenario
    }

    fn run(&mut self) {
        for _ in 0..20 + self.stage.random.below(60) {
            match self.stage.random.below(100) {
                0..45 => self.post(),
                45..60 => self.read(),
                60..72 => self.hire(),
                72..80 => self.dismiss(),
                80..85 => self.retire(),
                _ => self.watch(),
            }
            let pause = self.stage.pause([40, 80, 97], 4_000_000);
            self.live(pause);
        }
        self.stage.calm_down();
        self.live(JOB_TIMEOUT + MARGIN);
        self.assert_over();
        self.live(JOB_TIMEOUT + JOB_KEEP + MARGIN);
        self.askers.clear();
        self.jobbers.clear();
        self.watchers.clear();
        self.live(Duration::from_secs(20));
        self.stage.gateway.assert_empty();
    }

    // --- the acts ----------------------------------------------------------------------------------------------------

    fn asker(&mut self) -> &mut Asker {
        let index = self.stage.random.below(self.askers.len() as u64) as usize;
        &mut self.askers[index]
    }

    /// Some jobs; now and then one that comes again.
    fn post(&mut self) {
        let most = if self.stage.random.chance(50) { 400 } else { 4 };
        for _ in 0..1 + self.stage.random.below(most) {
            let is_again = self.posted > 0 && self.stage.random.chance(200);
            let number = if is_again { self.stage.random.below(self.posted) } else { self.posted };
            // Every third has a key, and may be sent again.
            let key = number.is_multiple_of(3).then(|| format!("key-{number}"));
            let now = self.stage.world.now();
            // As long as the first is certainly not forgotten.
            let may_come_again = |at: &Tick| key.is_some() && now < *at + JOB_KEEP / 2;
            if is_again && !self.jobs.posted.get(&number).is_some_and(may_come_again) {
                continue;
            }
            self.jobs.posted.entry(number).or_insert(now);
            self.posted = self.posted.max(number + 1);
            self.asker().post(number, key);
        }
    }

    fn known(&mut self) -> Option<String> {
        let accepted: Vec<&String> = self.jobs.by_id.keys().collect();
        let index = self.stage.random.below(accepted.len().max(1) as u64) as usize;
        accepted.get(index).map(|id| (*id).clone())
    }

    fn read(&mut self) {
        if let Some(id) = self.known() {
            let is_over = self.jobs.by_id[&id].end.is_some();
            self.asker().read(&id, is_over);
        }
    }

    fn hire(&mut self) {
        let manner = match self.stage.random.below(10) {
            0..4 => Manner::Prompt,
            4..6 => Manner::Slow(self.stage.random.below(8_000_000)),
            6..8 => Manner::Twice,
            8 => Manner::Fails,
            _ => Manner::Never,
        };
        let is_calm = self.stage.random.chance(600);
        let Some(endpoint) = self.stage.connect(address(Door::Bus, false), is_calm) else { return };
        self.hired += 1;
        if !is_calm {
            // The network may have parted it from the gateway, and it does not know.
            self.jobs.gone.insert(self.hired);
        }
        self.jobbers.push(Jobber::new(self.hired, endpoint, manner));
    }

    /// A worker dies.
    fn dismiss(&mut self) {
        if !self.jobbers.is_empty() {
            let index = self.stage.random.below(self.jobbers.len() as u64) as usize;
            let jobber = self.jobbers.swap_remove(index);
            self.jobs.gone.insert(jobber.id);
        }
    }

    /// A worker takes no new jobs, and finishes what it has.
    fn retire(&mut self) {
        if !self.jobbers.is_empty() {
            let index = self.stage.random.below(self.jobbers.len() as u64) as usize;
            let jobber = &mut self.jobbers[index];
            jobber.bus.unsubscribe(jobber.sid, 0);
        }
    }

    fn watch(&mut self) {
        let Some(id) = self.known() else { return };
        let is_calm = self.stage.random.chance(700);
        let Some(endpoint) = self.stage.connect(address(Door::Front, false), is_calm) else { return };
        let stream = EventStream::new(Line::new(endpoint), &format!("/results/{id}"), "");
        self.watchers.push(Watcher { id, is_calm, stream, heard: 0, opened: None });
    }

    // --- the end -------------------------------------------------------------------------------------------------------

    /// Every accepted request has come to one end, and all who listened have heard of it.
    fn assert_over(&mut self) {
        // What was asked last has been answered before it is read.
        for asker in &self.askers {
            assert!(
                asker.asked.is_empty() && asker.answers.line.end.is_none(),
                "an asker waits for {}",
                asker.asked.len()
            );
        }
        let ids: Vec<String> = self.jobs.by_id.keys().cloned().collect();
        for id in &ids {
            self.asker().read(id, true);
        }
        self.live(Duration::from_millis(500));
        assert!(self.askers.iter().all(|asker| asker.asked.is_empty()));
        let numbers: BTreeSet<u64> = self.jobs.by_id.values().filter_map(|job| job.number).collect();
        assert_eq!(numbers.len() as u64, self.posted, "each posted job was accepted");
        for watcher in self.watchers.iter().filter(|watcher| watcher.is_calm) {
            let job = &self.jobs.by_id[&watcher.id];
            let posted = self.jobs.posted[&job.number.expect("it was accepted")];
            let opened = watcher.opened.unwrap_or_else(|| panic!("the channel of {} never opens", watcher.id));
            // Later than that the result may have been forgotten.
            if opened < posted + JOB_KEEP {
                assert_eq!(watcher.heard, 1, "a watcher of {} misses {:?}", watcher.id, job.end);
            }
        }
        for (id, job) in &self.jobs.by_id {
            let posted = self.jobs.posted[&job.number.expect("it was accepted")];
            let is_forgotten = self.stage.world.now() >= posted + JOB_KEEP;
            assert!(job.end.is_some() || is_forgotten, "{id} has come to no end");
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let (now, jobs) = (self.stage.world.now(), &mut self.jobs);
        jobs.now = now;
        self.askers.iter_mut().for_each(|asker| asker.poll(jobs));
        self.jobbers.iter_mut().for_each(|jobber| jobber.poll(now, jobs));
        self.watchers.iter_mut().for_each(|watcher| watcher.poll(now, jobs));
        self.jobbers.retain(|jobber| jobber.bus.end().is_none());
        self.watchers.retain(|watcher| watcher.is_calm || watcher.stream.end().is_none());
    }

    fn next_due(&mut self) -> Tick {
        self.jobbers.iter().map(Jobber::next_due).min().unwrap_or(Tick::NEVER)
    }
}

/// What has to happen in a sweep, for it to prove something.
const HAPPENINGS: [(&str, Read); 6] = [
    ("done", |counters| &counters.requests_done),
    ("failed", |counters| &counters.requests_failed),
    ("expired", |counters| &counters.requests_expired),
    ("orphaned", |counters| &counters.requests_orphaned),
    ("answered twice", |counters| &counters.answers_twice),
    ("answered late", |counters| &counters.answers_late),
];

#[test]
fn every_accepted_request_comes_to_one_end() {
    expect_all_to_happen(SEEDS, |seed| {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        scenario.stage.gateway.happenings(HAPPENINGS)
    });
}
