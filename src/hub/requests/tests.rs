//! Requests from acceptance to oblivion, worker by worker.

use std::sync::Arc;

use super::*;
use crate::base::{Key, Place};
use crate::hub::Membership;
use crate::proto::bus::HeaderBlock;
use crate::proto::subject::Pattern;

const TIMEOUT: Duration = Duration::from_secs(10);
const KEEP: Duration = Duration::from_secs(100);

struct Play {
    requests: KeptRequests,
    directory: Directory,
    now: Tick,
    made: u128,
}

fn route(number: usize) -> RouteId {
    RouteId::new(number).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn worker(number: u32) -> Member {
    let key = Key { slot: number, generation: 0 };
    Member { place: Place(1), key, sub: key }
}

fn address(number: u32) -> Address {
    Address { place: Place(1), key: Key { slot: number, generation: 0 } }
}

fn membership(pattern: &str, queue: Option<&str>, number: u32) -> Membership {
    let member = worker(number);
    Membership { pattern: Pattern::new(pattern).unwrap(), queue: queue.map(Arc::from), member }
}

/// Enough for the bodies of 64 megabytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;

fn sources(network: u64, user: Option<&str>) -> RequestSources {
    RequestSources { network, user: user.map(Arc::from) }
}

impl Play {
    fn new() -> Play {
        Play { requests: KeptRequests::new(1, BYTES_MAX), directory: Directory::default(), now: Tick::ZERO, made: 0 }
    }

    fn request(&mut self, payload: &[u8]) -> AcceptedRequest {
        self.made += 1;
        let id = RequestId::new(None, Place(0), self.made);
        let mut headers = HeaderBlock::new();
        headers.push("Tg-Kind", "request");
        let reply = subject(&format!("tg.request.{id}"));
        let message = Message::new(subject("tg.service.jobs"), Some(reply), Some(headers.finish()), payload.into());
        let channel = subject(&format!("request.{id}"));
        AcceptedRequest {
            id,
            route: route(3),
            channel,
            message: message.into(),
            timeout: TIMEOUT,
            keep: KEEP,
            key: None,
            sources: sources(1, None),
        }
    }

    fn accept(&mut self) -> RequestId {
        let request = self.request(b"job");
        self.requests.accept(request, self.now).expect("there is room").id
    }

    fn accept_with_key(&mut self, name: &str, fingerprint: u8) -> Result<Receipt, CloseReason> {
        let mut request = self.request(b"job");
        request.key = Some(IdempotencyKey { name: name.into(), fingerprint: [fingerprint; 32] });
        self.requests.accept(request, self.now)
    }

    fn comes(&mut self, number: u32) {
        self.directory.enlist(membership("tg.service.jobs", Some("workers"), number));
        self.requests.stir();
    }

    fn goes(&mut self, number: u32) -> usize {
        self.directory.resign(&membership("tg.service.jobs", Some("workers"), number));
        self.requests.gone(address(number))
    }

    /// All that is handed on now: each request and its worker.
    fn hands(&mut self) -> Vec<(RequestId, u32)> {
        let hands = std::iter::from_fn(|| self.requests.next_hand(&self.directory));
        hands.map(|hand| (hand.id, hand.worker.key.slot)).collect()
    }

    fn answer(&mut self, id: RequestId) -> Result<Status, Dropped> {
        let answer = WorkerAnswer { has_failed: false, content_type: None, body: b"1" };
        self.requests.answer(id, answer, self.now)
    }

    fn news(&mut self) -> Vec<(RequestId, Status)> {
        std::iter::from_fn(|| self.requests.next_news()).map(|news| (news.id, news.status)).collect()
    }

    fn status(&self, id: RequestId) -> Option<Status> {
        self.requests.read(id, route(3)).map(|reading| reading.status)
    }

    fn pass(&mut self, time: Duration) -> usize {
        self.now = self.now + time;
        self.requests.expire(self.now)
    }
}

#[test]
fn a_request_goes_to_one_worker_and_its_result_is_kept() {
    let mut play = Play::new();
    let id = play.accept();
    assert_eq!((play.hands(), play.status(id)), (vec![], Some(Status::Pending)));
    play.comes(1);
    assert_eq!((play.hands(), play.hands()), (vec![(id, 1)], vec![]));
    assert_eq!(play.answer(id), Ok(Status::Done));
    assert_eq!((play.news(), play.news()), (vec![(id, Status::Done)], vec![]), "told once");
    assert_eq!(
        (play.status(id), play.requests.read(id, route(4))),
        (Some(Status::Done), None),
        "by its own route alone"
    );
    assert_eq!(play.answer(id), Err(Dropped::Twice));
    assert_eq!(play.pass(KEEP - Duration::from_secs(1)), 0);
    assert_eq!(play.status(id), Some(Status::Done));
    play.pass(Duration::from_secs(1));
    assert_eq!((play.status(id), play.answer(id)), (None, Err(Dropped::Unknown)));
    assert!(play.requests.is_empty() && !play.requests.has_work() && play.requests.bytes == 0);
    assert!(play.requests.shares.is_empty());
    assert_eq!(play.requests.deadline(), Tick::NEVER);
}

#[test]
fn what_a_worker_leaves_behind_goes_to_another_in_its_old_order() {
    let mut play = Play::new();
    play.comes(1);
    let ids = [play.accept(), play.accept(), play.accept()];
    assert_eq!(play.hands().len(), 3);
    assert_eq!(play.answer(ids[1]), Ok(Status::Done));
    assert_eq!(play.goes(1), 2);
    let later = play.accept();
    assert_eq!(play.hands(), [], "nobody is there");
    play.comes(2);
    assert_eq!(play.hands(), [(ids[0], 2), (ids[2], 2), (later, 2)]);
    assert_eq!(play.goes(1), 0, "it has nothing any more");
    assert_eq!(play.answer(ids[0]), Ok(Status::Done));
}

#[test]
fn a_worker_hears_that_it_is_not_the_first_one() {
    let mut play = Play::new();
    play.comes(1);
    play.accept();
    let first = play.requests.next_hand(&play.directory).unwrap();
    assert_eq!(first.message.header("Tg-Attempt"), None);
    play.goes(1);
    play.comes(2);
    let second = play.requests.next_hand(&play.directory).unwrap();
    assert_eq!((second.id, second.message.header("Tg-Attempt")), (first.id, Some("2")));
    assert_eq!(second.message.header("Tg-Kind"), Some("request"));
}

#[test]
fn a_worker_that_only_stops_listening_keeps_what_it_has() {
    let mut play = Play::new();
    play.comes(1);
    let (kept, missed) = (play.accept(), play.accept());
    play.hands();
    play.directory.resign(&membership("tg.service.jobs", Some("workers"), 1));
    play.comes(2);
    assert_eq!(play.hands(), []);
    play.requests.missed(missed, address(1));
    play.requests.missed(kept, address(2));
    assert_eq!(play.hands(), [(missed, 2)], "one had not come to it, the other is not that worker's");
    play.requests.missed(missed, address(1));
    assert_eq!(play.hands(), [], "an old message about an earlier try");
    assert_eq!(play.answer(kept), Ok(Status::Done));
}

#[test]
fn what_nobody_answers_expires_with_and_without_a_worker() {
    let mut play = Play::new();
    let waiting = play.accept();
    assert_eq!(play.requests.deadline(), Tick::ZERO + TIMEOUT);
    assert_eq!(play.pass(TIMEOUT), 1);
    play.comes(1);
    assert_eq!(play.hands(), [], "it does not wait any more");
    let given = play.accept();
    assert_eq!(play.hands(), [(given, 1)]);
    assert_eq!(play.pass(TIMEOUT), 1);
    assert_eq!(play.news(), [(waiting, Status::Expired), (given, Status::Expired)]);
    assert_eq!(play.answer(given), Err(Dropped::Late));
    assert_eq!(play.goes(1), 0);
    assert_eq!(play.status(given), Some(Status::Expired));
}

#[test]
fn the_same_key_gets_the_same_receipt_until_its_request_is_forgotten() {
    let mut play = Play::new();
    let first = play.accept_with_key("0 ann k", 1).unwrap();
    assert_eq!(play.accept_with_key("0 ann k", 1), Ok(first.clone()));
    assert_eq!(play.accept_with_key("0 ann k", 2), Err(CloseReason::KeyReused));
    assert_ne!(play.accept_with_key("0 bob k", 2).unwrap().id, first.id);
    play.comes(1);
    assert_eq!(play.hands().len(), 2, "each once");
    play.answer(first.id).unwrap();
    assert_eq!(play.accept_with_key("0 ann k", 1), Ok(first.clone()), "although it is done");
    assert_eq!(play.hands(), []);
    play.news();
    play.pass(TIMEOUT + KEEP);
    let again = play.accept_with_key("0 ann k", 2).unwrap();
    assert_ne!(again.id, first.id);
}

#[test]
fn the_worker_with_the_fewest_gets_the_next_and_none_gets_too_many() {
    let mut play = Play::new();
    (1..=3).for_each(|number| play.comes(number));
    let count = 3 * limits::REQUESTS_PER_WORKER_MAX;
    let ids: Vec<RequestId> = (0..count + 1).map(|_| play.accept()).collect();
    let hands = play.hands();
    for number in 1..=3 {
        let share = hands.iter().filter(|(_, worker)| *worker == number).count();
        assert_eq!(share, limits::REQUESTS_PER_WORKER_MAX);
    }
    let last = ids[count];
    assert!(!hands.iter().any(|(id, _)| *id == last) && !play.requests.has_work(), "it waits for room");
    let (answered, by) = hands[5];
    play.answer(answered).unwrap();
    assert_eq!(play.hands(), [(last, by)]);
}

#[test]
fn one_worker_holds_no_more_bytes_than_may_wait_for_it() {
    let mut play = Play::new();
    play.comes(1);
    let payload = vec![b'x'; limits::BODY_BYTES_MAX];
    for network in 0..40 {
        let request = AcceptedRequest { sources: sources(network, None), ..play.request(&payload) };
        play.requests.accept(request, play.now).unwrap();
    }
    let held = play.hands().len();
    assert!(held * payload.len() <= limits::REQUEST_BYTES_PER_WORKER_MAX, "{held}");
    assert!((held + 2) * payload.len() > limits::REQUEST_BYTES_PER_WORKER_MAX, "{held}");
}

#[test]
fn only_those_who_listen_to_the_service_itself_get_requests() {
    let mut play = Play::new();
    for (number, (pattern, queue)) in
        [(">", None), ("tg.>", Some("log")), ("tg.service.*", Some("log"))].iter().enumerate()
    {
        play.directory.enlist(membership(pattern, *queue, number as u32));
        play.requests.stir();
    }
    let id = play.accept();
    assert_eq!(play.hands(), []);
    play.directory.enlist(membership("tg.service.jobs", None, 9));
    play.requests.stir();
    assert_eq!(play.hands(), [(id, 9)], "with a queue group or without");
}

/// Requests of these sources until one is refused: how many were taken, and the reason.
fn fill(play: &mut Play, sources: &RequestSources) -> (usize, CloseReason) {
    for count in 0.. {
        let request = AcceptedRequest { sources: sources.clone(), ..play.request(b"") };
        if let Err(reason) = play.requests.accept(request, play.now) {
            return (count, reason);
        }
    }
    unreachable!("the store has a bound")
}

#[test]
fn results_are_kept_for_their_time_and_what_is_full_refuses_requests() {
    let mut play = Play::new();
    play.comes(1);
    let first = play.accept();
    play.hands();
    play.answer(first).unwrap();
    play.news();
    let mut network = 1;
    while fill(&mut play, &sources(network, None)).1 != CloseReason::RequestsFull {
        network += 1;
    }
    assert!(network > 5, "each network leaves room for others");
    assert!(play.requests.bytes <= BYTES_MAX / 4 * 3);
    play.pass(KEEP - Duration::from_secs(1));
    assert_eq!(play.status(first), Some(Status::Done), "although the store has been full since");
}

#[test]
fn a_source_with_more_than_its_share_is_refused_and_another_one_is_not() {
    let mut play = Play::new();
    let (taken, reason) = fill(&mut play, &sources(1, None));
    let room = BYTES_MAX / 4 * 3;
    assert_eq!(reason, CloseReason::RequestsShare);
    let share = taken as f64 / (room / play.requests.bytes.div_ceil(taken)) as f64;
    assert!((0.79..0.81).contains(&share), "a network alone may have four fifths: {share}");
    let bystander = AcceptedRequest { sources: sources(2, Some("ann")), ..play.request(b"booking") };
    let id = play.requests.accept(bystander, play.now).expect("it has nothing yet").id;
    // It is handed on before the rest of what the stranger has sent.
    play.comes(1);
    let place = play.hands().iter().position(|(handed, _)| *handed == id);
    assert_eq!(place, Some(1));
    assert_eq!(play.answer(id), Ok(Status::Done));
    play.news();
    play.pass(TIMEOUT);
    play.pass(KEEP - TIMEOUT - Duration::from_secs(1));
    assert_eq!(play.status(id), Some(Status::Done));
    // What the stranger sent has expired, and is forgotten in its time: then all is as before.
    play.news();
    play.pass(TIMEOUT + KEEP);
    play.pass(KEEP);
    assert!(play.requests.is_empty() && play.requests.shares.is_empty() && play.requests.bytes == 0);
}

#[test]
fn one_user_leaves_room_for_the_others_of_a_network() {
    let mut play = Play::new();
    let (of_ann, reason) = fill(&mut play, &sources(1, Some("ann")));
    let (of_bob, _) = fill(&mut play, &sources(1, Some("bob")));
    assert_eq!(reason, CloseReason::RequestsShare);
    assert!(of_bob >= of_ann / 2 && of_bob < of_ann, "{of_bob}, {of_ann}");
    // From anywhere else, too, ann has had enough.
    assert_eq!(fill(&mut play, &sources(2, Some("ann"))), (0, CloseReason::RequestsShare));
}

#[test]
fn a_result_that_does_not_fit_is_told_and_costs_no_other_result() {
    let mut play = Play::new();
    play.comes(1);
    let (first, long) = (play.accept(), play.accept());
    play.hands();
    play.answer(first).unwrap();
    let body = vec![b'x'; BYTES_MAX];
    play.requests.answer(long, WorkerAnswer { has_failed: true, content_type: None, body: &body }, play.now).unwrap();
    assert_eq!(play.news(), [(first, Status::Done), (long, Status::Failed)]);
    play.pass(Duration::ZERO);
    assert_eq!((play.status(first), play.status(long), play.requests.unkept()), (Some(Status::Done), None, 1));
    assert!(play.requests.bytes < 2 * limits::REQUEST_BYTES);
}
