//! Clients that do not read, and what their channels' rules make of that.

use super::*;
use crate::proto::channel::{Delivery, Loss, Queue, Rule, Rules};
use crate::proto::replay::GapReason;
use crate::proto::subject::Pattern;

/// More than pipes hold a few of.
const BYTES: usize = 9_000;
const MESSAGES: u64 = 60;
/// That wait for a client of `room.drop` or `room.queue`.
const WAITING_MAX: usize = 5;

fn settings() -> Settings {
    let rule = |name: &str, delivery, messages| {
        let queue = Queue { messages, ..Queue::default() };
        (Pattern::new(name).unwrap(), Rule { delivery, queue, ..Rule::default() })
    };
    let rules = [
        rule("room.latest", Delivery::Latest, 100),
        rule("room.drop", Delivery::Drop, WAITING_MAX),
        rule("room.queue", Delivery::Queue, WAITING_MAX),
    ];
    with(super::settings(), |generation| generation.channels = Arc::new(Rules::new(rules)))
}

struct Play {
    bench: Bench,
    worker: super::Peer,
}

impl Play {
    fn new() -> Play {
        let bench = Bench::new(1, super::access::logged(settings(), false));
        let worker = bench.connect(0, BUS);
        worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        Play { bench, worker }
    }

    /// Says the numbers one by one, with the number's last digit as the key if there is to be one.
    fn say(&mut self, room: &str, numbers: impl Iterator<Item = u64>, is_keyed: bool) {
        for number in numbers {
            let payload = format!("{number:>BYTES$}");
            if is_keyed {
                let headers = format!("NATS/1.0\r\nTg-Key: {}\r\n\r\n", number % 10);
                let (head, all) = (headers.len(), headers.len() + BYTES);
                self.worker.say(format!("HPUB room.{room} {head} {all}\r\n{headers}{payload}\r\n"));
            } else {
                self.worker.say(format!("PUB room.{room} {BYTES}\r\n{payload}\r\n"));
            }
            self.bench.run_for(SECOND / 100);
        }
    }

    /// Everything that `peer` is sent until nothing more comes.
    fn hear_all(&mut self, peer: &mut super::Peer) -> String {
        let mut heard = String::new();
        loop {
            let more = peer.hear();
            if more.is_empty() {
                return heard;
            }
            heard += &more;
            self.bench.run_for(SECOND / 100);
        }
    }

    fn lost(&self, rule: usize, loss: Loss) -> u64 {
        let core = self.bench.core(0);
        let (number, _) = core.desk.settings.generation.channels.patterns().nth(rule).expect("a rule");
        core.desk.counters().lost(number, loss).value()
    }
}

/// The numbers that were heard, in order.
fn numbers(heard: &str) -> Vec<u64> {
    let digits = heard.split(|character: char| !character.is_ascii_digit() && character != ' ');
    digits.filter(|word| word.len() >= BYTES).map(|word| word.trim().parse().expect("a number")).collect()
}

#[test]
fn latest_skips_what_is_superseded_and_ends_with_the_newest() {
    for path in ["/ws/latest", "/sse/latest"] {
        let mut play = Play::new();
        let (mut slow, mut fast) = (play.bench.open(0, path), play.bench.open(0, path));
        let mut heard_at_once = 0;
        for number in 1..=MESSAGES {
            play.say("latest", number..=number, false);
            heard_at_once += numbers(&fast.hear()).len() as u64;
        }
        assert_eq!(heard_at_once, MESSAGES, "others are not delayed");
        assert_eq!(play.bench.census(0).holding, 1);
        let heard = numbers(&play.hear_all(&mut slow));
        assert!(heard.is_sorted_by(|one, next| one < next) && heard.last() == Some(&MESSAGES), "{heard:?}");
        assert_eq!(play.lost(0, Loss::Superseded), MESSAGES - heard.len() as u64);
        assert!(heard.len() < 20, "{heard:?}");
        assert_eq!((play.bench.census(0).holding, play.bench.closed(0, CloseReason::SlowConsumer)), (0, 0));
    }
}

#[test]
fn latest_keeps_the_newest_of_each_key() {
    let mut play = Play::new();
    let mut slow = play.bench.open(0, "/ws/latest");
    play.say("latest", 1..=MESSAGES, true);
    let heard = numbers(&play.hear_all(&mut slow));
    for key in 0..10 {
        let of_key: Vec<u64> = heard.iter().copied().filter(|number| number % 10 == key).collect();
        let newest = (1..=MESSAGES).rev().find(|number| number % 10 == key);
        assert!(of_key.is_sorted_by(|one, next| one < next) && of_key.last() == newest.as_ref(), "{heard:?}");
    }
}

#[test]
fn a_client_of_latest_that_comes_back_is_not_told_that_it_has_what_it_has_not() {
    let mut play = Play::new();
    let mut slow = play.bench.open(0, "/sse/latest");
    play.say("latest", 1..=MESSAGES, true);
    let mut got = [0; 10];
    let heard = play.hear_all(&mut slow);
    for record in heard.split("\n\n") {
        let Some(number) = numbers(record).first().copied() else { continue };
        got[number as usize % 10] = number;
        let id = record.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
        let stands_at: u64 = id.split_once('-').expect("a position").1.parse().unwrap();
        for key in 0..10 {
            let newest = (1..=MESSAGES).rev().find(|number| number % 10 == key).unwrap_or(0);
            let would_come = newest > stands_at;
            assert!(would_come || got[key as usize] == newest, "{stands_at} passes {newest}: {got:?}");
        }
    }
    assert!(heard.contains(&format!("-{MESSAGES}\n")), "once it has everything it stands at the end");
}

#[test]
fn drop_says_where_something_is_missing() {
    let mut play = Play::new();
    let mut slow = play.bench.open(0, "/sse/drop");
    play.say("drop", 1..=MESSAGES, false);
    let mut stands_at = 0;
    let mut missing = 0;
    let heard = play.hear_all(&mut slow);
    for record in heard.split("\n\n") {
        let field = |name: &str| record.lines().find_map(|line| line.strip_prefix(name));
        let Some(id) = field("id: ") else { continue };
        let offset: u64 = id.split_once('-').expect("a position").1.parse().unwrap();
        if field("event: ") == Some("tg.gap") {
            let gap: serde_json::Value = serde_json::from_str(field("data: ").unwrap()).unwrap();
            assert_eq!((&gap["channel"], &gap["reason"]), (&"room.drop".into(), &"slow".into()));
            assert!(gap["first"].as_str().unwrap().ends_with(&format!("-{}", offset + 1)), "{gap}");
            assert!(offset > stands_at, "a gap where nothing is missing");
            missing += offset - stands_at;
        } else {
            assert_eq!((offset, numbers(record)), (stands_at + 1, vec![offset]), "in order, and a gap is said");
        }
        stands_at = offset;
    }
    assert_eq!(stands_at, MESSAGES);
    assert!(missing > 0 && missing == play.lost(1, Loss::Oldest));
    assert_eq!(play.bench.core(0).desk.counters().gaps(GapReason::Slow).value(), 1, "the reader read all at once");
    slow.end.reset();
    play.bench.run_for(SECOND);
    let lines = super::access::lines(play.bench.log.as_ref().expect("there is a log"));
    assert_eq!(lines.last().map(|line| &line["lost"]), Some(&missing.into()), "{lines:?}");
}

#[test]
fn queue_closes_whoever_leaves_too_many_unread() {
    let mut play = Play::new();
    let mut slow = play.bench.open(0, "/ws/queue");
    play.say("queue", 1..=MESSAGES, false);
    assert_eq!((play.bench.closed(0, CloseReason::SlowConsumer), play.lost(2, Loss::Closed)), (1, 1));
    let heard = numbers(&play.hear_all(&mut slow));
    assert!(heard.iter().copied().eq(1..=heard.len() as u64), "what comes comes in order: {heard:?}");
    assert!(!slow.end.is_open());
}

#[test]
fn what_is_held_goes_before_the_last_words() {
    let mut play = Play::new();
    let mut slow = play.bench.open(0, "/ws/latest");
    play.say("latest", 1..=MESSAGES, false);
    assert_eq!(play.bench.census(0).holding, 1);
    play.bench.drain();
    play.bench.run_for(SECOND / 10);
    let heard = play.hear_all(&mut slow);
    assert_eq!(numbers(&heard).last(), Some(&MESSAGES));
    assert_eq!(play.bench.closed(0, CloseReason::Drain), 1);
}

#[test]
fn slow_readers_that_vanish_leave_nothing() {
    let mut play = Play::new();
    let slow = ["/ws/latest", "/sse/drop"].map(|path| play.bench.open(0, path));
    play.say("latest", 1..=MESSAGES, true);
    play.say("drop", 1..=MESSAGES, false);
    assert_eq!(play.bench.census(0).holding, 2);
    drop(slow);
    play.bench.run_for(SECOND);
    assert_eq!((play.bench.census(0).holding, play.bench.census(0).connections), (0, 1));
}

#[test]
fn what_was_said_last_is_delivered_to_nobody_and_its_publisher_hears_where_it_is() {
    let mut settings = settings();
    let rule = Rule { is_distinct: true, ..Rule::default() };
    settings.generation_mut().channels = Arc::new(Rules::new([(Pattern::new("room.*").unwrap(), rule)]));
    let mut bench = Bench::new(2, settings);
    let mut reader = bench.open(0, "/sse/1");
    let mut publisher = bench.connect(1, ADMIN);
    let mut say = |bench: &mut Bench, value: &str| {
        publisher.say(format!(
            "POST /api/channels/room.1 HTTP/1.1\r\nHost: a\r\nTg-Distinct: {value}\r\nContent-Length: 1\r\n\r\n{value}"
        ));
        bench.run_for(SECOND / 10);
        let heard = publisher.hear();
        let offset =
            heard.split_once("-").and_then(|(_, rest)| rest.rsplit_once("-")).expect("a position").1.to_owned();
        offset.trim_end_matches(['"', '}', '\n']).to_owned()
    };
    let positions: Vec<String> = ["1", "1", "2", "1", "1"].iter().map(|value| say(&mut bench, value)).collect();
    assert_eq!(positions, ["1", "1", "2", "3", "3"]);
    let heard = reader.hear();
    let data: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["1", "2", "1"]);
}
