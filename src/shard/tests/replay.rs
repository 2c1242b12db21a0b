//! Clients that come back: what they missed comes first, once, or they are told that it cannot be had.

use super::*;
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::subject::Pattern;

/// Of each room that is kept.
const KEPT: usize = 5;

fn settings() -> Settings {
    let mut settings = super::settings();
    let channel = |template: &str| ChannelTemplate::parse(template).unwrap();
    let pair = vec![channel("room.{a}"), channel("room.{b}")];
    add_routes(&mut settings, [route("/sse/{a}/{b}", RouteTarget::Sse { channels: pair, retry: SECOND })]);
    let rule = |name: &str, messages| {
        let keep = Keep { messages, bytes: 64 << 20, age: 60 * SECOND };
        (Pattern::new(name).unwrap(), Rule { history: Some(keep), ..Rule::default() })
    };
    // A room whose name begins with `n` keeps nothing.
    let rules = [rule("room.long", 10_000), rule("room.1", KEPT), rule("room.2", KEPT)];
    let greeting = [rule("room.last", 1), rule("room.few", KEPT)]
        .map(|(name, rule)| (name, Rule { is_for_newcomers: true, ..rule }));
    settings.generation_mut().channels = Arc::new(Rules::new(rules.into_iter().chain(greeting)));
    settings
}

/// A record of an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl Record {
    fn gap(&self) -> serde_json::Value {
        assert_eq!(self.event.as_deref(), Some("tg.gap"), "{self:?}");
        serde_json::from_str(self.data.as_deref().expect("a gap says what is missing")).expect("JSON")
    }
}

/// The records in what was heard, which may begin with a head.
fn records(heard: &str) -> Vec<Record> {
    let body = heard.split_once("\r\n\r\n").map_or(heard, |(_, body)| body);
    let field = |record: &str, name: &str| {
        record.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
    };
    let records = body.split("\n\n").filter(|record| !record.is_empty() && !record.starts_with("retry:"));
    records
        .map(|record| Record { id: field(record, "id:"), event: field(record, "event:"), data: field(record, "data:") })
        .collect()
}

struct Play {
    bench: Bench,
    publisher: Peer,
    said: usize,
}

impl Play {
    fn new(shards: u16) -> Play {
        let bench = Bench::new(shards, settings());
        let publisher = bench.connect(0, 2);
        Play { bench, publisher, said: 0 }
    }

    /// Publishes the next number, and returns the position that it got.
    fn say(&mut self, room: &str) -> String {
        self.said += 1;
        self.say_this(room, &self.said.to_string())
    }

    fn say_this(&mut self, room: &str, payload: &str) -> String {
        let answer = self.ask(&format!(
            "POST /api/channels/room.{room} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{payload}",
            payload.len()
        ));
        answer["position"].as_str().expect("a position").to_owned()
    }

    /// A request at the admin door, and the JSON that answers it.
    fn ask(&mut self, request: &str) -> serde_json::Value {
        self.publisher.say(request);
        self.bench.run_for(SECOND / 10);
        let heard = self.publisher.hear();
        let (head, body) = heard.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{heard}");
        serde_json::from_str(body).expect("JSON")
    }

    /// A stream of `path` for a client that stands at `last_id`, and what it hears at once.
    fn listen(&mut self, path: &str, last_id: &str) -> (Peer, Vec<Record>) {
        let mut peer = self.bench.connect(0, 0);
        let field = if last_id.is_empty() { String::new() } else { format!("Last-Event-ID: {last_id}\r\n") };
        peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        self.bench.run_for(SECOND / 10);
        let heard = peer.hear();
        assert!(heard.starts_with("HTTP/1.1 200"), "nobody is refused for where it stands: {heard}");
        let records = records(&heard);
        (peer, records)
    }

    /// What a client that came back from `last_id` hears at once.
    fn replayed(&mut self, path: &str, last_id: &str) -> Vec<Record> {
        self.listen(path, last_id).1
    }

    fn assert_nobody_is_left(mut self) {
        drop(self.publisher);
        self.bench.run_for(10 * SECOND);
        for shard in 0..self.bench.shards.len() {
            assert_eq!(self.bench.census(shard), Census::default());
        }
    }
}

fn data(records: &[Record]) -> Vec<&str> {
    records.iter().filter_map(|record| record.data.as_deref()).collect()
}

/// On one shard, and with the channels' owner elsewhere or here, as the names have it.
fn on_some_shards(play: impl Fn(Play)) {
    (1..=3).for_each(|shards| play(Play::new(shards)));
}

#[test]
fn whoever_comes_back_misses_nothing_and_hears_nothing_twice() {
    on_some_shards(|mut play| {
        let before = play.say("1");
        let (mut peer, begun) = play.listen("/sse/1", "");
        assert_eq!(begun, [Record { id: Some(before), event: None, data: None }], "an id, although nothing has come");
        let second = play.say("1");
        assert_eq!(records(&peer.hear())[0].id.as_ref(), Some(&second));
        drop(peer);
        let third = play.say("1");
        let fourth = play.say("1");
        let (mut peer, missed) = play.listen("/sse/1", &second);
        assert_eq!(data(&missed), ["3", "4"]);
        assert_eq!([missed[0].id.as_ref(), missed[1].id.as_ref()], [Some(&third), Some(&fourth)]);
        play.say("1");
        assert_eq!(data(&records(&peer.hear())), ["5"]);
        drop(peer);
        assert_eq!(data(&play.replayed("/sse/1?last_event_id=junk", &third)), ["4", "5"], "the header wins");
        assert_eq!(data(&play.replayed(&format!("/sse/1?last_event_id={third}"), "")), ["4", "5"]);
        play.assert_nobody_is_left();
    });
}

#[test]
fn a_stream_that_is_cut_before_its_first_event_can_be_come_back_to() {
    on_some_shards(|mut play| {
        let (peer, begun) = play.listen("/sse/1", "");
        let id = begun[0].id.clone().unwrap();
        drop(peer);
        play.say("1");
        let missed = play.replayed("/sse/1", &id);
        assert_eq!((data(&missed), missed.len()), (vec!["1"], 1));
    });
}

#[test]
fn newcomers_get_what_is_kept_where_the_rule_says_so() {
    on_some_shards(|mut play| {
        let (_early, begun) = play.listen("/sse/last", "");
        assert_eq!((begun.len(), begun[0].data.as_ref()), (1, None), "an id, as nothing is kept yet");
        play.say("last");
        let position = play.say("last");
        let (mut peer, begun) = play.listen("/sse/last", "");
        assert_eq!(begun, [Record { id: Some(position.clone()), event: None, data: Some("2".to_owned()) }]);
        let next = play.say("last");
        assert_eq!(data(&records(&peer.hear())), ["3"]);
        assert_eq!(data(&play.replayed("/sse/last", &position)), ["3"], "whoever comes back gets what it missed");
        assert_eq!(data(&play.replayed("/sse/last", &next)), Vec::<&str>::new());

        let mut socket = play.bench.connect(0, 0);
        socket.say(request("/ws/last"));
        play.bench.run_for(SECOND / 10);
        let heard = socket.hear();
        assert!(heard.starts_with("HTTP/1.1 101") && heard.ends_with("\r\n\r\n\u{fffd}\u{1}3"), "{heard:?}");
    });
}

#[test]
fn who_has_no_words_for_a_gap_is_closed_rather_than_told_nothing() {
    on_some_shards(|mut play| {
        let large = "x".repeat(60_000);
        (0..KEPT).for_each(|_| _ = play.say_this("few", &large));
        let mut socket = play.bench.connect(0, 0);
        socket.say(request("/ws/few"));
        // It reads nothing until what it was to get has gone.
        play.bench.run_for(SECOND);
        (0..2 * KEPT).for_each(|_| _ = play.say_this("few", &large));
        for _ in 0..100 {
            socket.hear();
            play.bench.run_for(SECOND / 100);
        }
        assert_eq!(play.bench.closed(0, CloseReason::SlowConsumer), 1);
    });
}

#[test]
fn whoever_cannot_get_what_it_missed_is_told_and_gets_what_is_kept() {
    on_some_shards(|mut play| {
        let positions: Vec<String> = (0..KEPT + 2).map(|_| play.say("1")).collect();
        let elsewhere = play.say("2");
        let (kept, last) = (&positions[2], &positions[KEPT + 1]);
        let epoch = &last[..8];
        for (id, reason) in [
            (&positions[0], "gone"),
            (&format!("{epoch}-99"), "future"),
            (&format!("{epoch}-{}", u64::MAX), "future"),
            (&elsewhere, "epoch"),
            (&"00000000-1".to_owned(), "epoch"),
            (&"42".to_owned(), "malformed"),
            (&format!("{last},{last}"), "malformed"),
            (&"x".repeat(8_000), "malformed"),
            (&"\u{fffd}".to_owned(), "malformed"),
        ] {
            let heard = play.replayed("/sse/1", id);
            let gap = heard[0].gap();
            assert_eq!(gap["reason"], reason, "{id}");
            assert_eq!(
                (&gap["channel"], &gap["first"], &gap["last"]),
                (&"room.1".into(), &kept[..].into(), &last[..].into())
            );
            assert_eq!(data(&heard[1..]), ["3", "4", "5", "6", "7"], "{id}");
            let after_gap = heard[0].id.clone().unwrap();
            let again = play.replayed("/sse/1", &after_gap);
            assert_eq!(data(&again), ["3", "4", "5", "6", "7"], "who was told once is not told again");
        }
        assert_eq!(data(&play.replayed("/sse/1", last)), Vec::<&str>::new(), "nothing is missing, nothing is said");
    });
}

#[test]
fn a_query_that_nobody_can_read_is_a_gap_and_no_refusal() {
    let mut play = Play::new(1);
    play.say("1");
    for query in ["%", "%ff", "%2c%2c", "+", "00000000-1"] {
        let heard = play.replayed(&format!("/sse/1?last_event_id={query}"), "");
        assert_eq!((heard[0].event.as_deref(), data(&heard[1..])), (Some("tg.gap"), vec!["1"]), "{query}");
    }
    assert_eq!(play.replayed("/sse/1?last_event_id=", "").len(), 1, "an empty one is none");
}

#[test]
fn an_id_that_does_not_fit_into_a_head_is_refused_with_it() {
    let mut play = Play::new(1);
    let mut peer = play.bench.connect(0, 0);
    peer.say("GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ");
    let mut heard = String::new();
    // Of ten megabytes, until the gateway has had enough.
    for _ in 0..10 * 1024 {
        if !peer.end.is_open() || !heard.is_empty() {
            break;
        }
        peer.end.write(&[b'7'; 1024]);
        play.bench.run_for(SECOND / 1_000);
        heard += &peer.hear();
    }
    assert!(heard.starts_with("HTTP/1.1 431"), "{heard}");
}

#[test]
fn a_channel_that_keeps_nothing_says_only_whether_something_is_missing() {
    on_some_shards(|mut play| {
        let (peer, begun) = play.listen("/sse/none", "");
        assert_eq!(begun, [], "it costs its owner nothing");
        drop(peer);
        let first = play.say("none");
        let unchanged = play.replayed("/sse/none", &first);
        assert_eq!(unchanged, [Record { id: Some(first.clone()), event: None, data: None }]);
        let last = play.say("none");
        let heard = play.replayed("/sse/none", &first);
        assert_eq!((heard.len(), heard[0].id.as_ref()), (1, Some(&last)));
        assert_eq!((&heard[0].gap()["reason"], &heard[0].gap()["first"]), (&"gone".into(), &serde_json::Value::Null));
    });
}

#[test]
fn several_channels_of_a_stream_have_one_id() {
    on_some_shards(|mut play| {
        let one = play.say("1");
        let (mut peer, begun) = play.listen("/sse/1/2", "");
        let start = begun.last().unwrap().id.clone().unwrap();
        assert!(start.starts_with(&format!("{one},")), "{begun:?}");
        let two = play.say("2");
        let heard = records(&peer.hear());
        assert_eq!((data(&heard), heard[0].id.as_ref()), (vec!["2"], Some(&format!("{one},{two}"))));
        drop(peer);
        play.say("1");
        play.say("2");
        let mut missed = data(&play.replayed("/sse/1/2", heard[0].id.as_ref().unwrap())).join(" ");
        assert!(["3 4", "4 3"].contains(&missed.as_str()), "{missed}");
        missed = data(&play.replayed("/sse/1/2", &start)).join(" ");
        assert_eq!(missed.split(' ').count(), 3, "{missed}");
        let heard = play.replayed("/sse/1/2", &format!("{one},"));
        let gaps: Vec<_> = heard.iter().filter(|record| record.event.is_some()).map(Record::gap).collect();
        assert_eq!((gaps.len(), &gaps[0]["channel"], &gaps[0]["reason"]), (1, &"room.2".into(), &"unknown".into()));
        play.assert_nobody_is_left();
    });
}

#[test]
fn a_long_absence_is_made_up_for_in_pieces_between_which_nothing_is_lost() {
    const MISSED: usize = 1_500;
    on_some_shards(|mut play| {
        let (peer, begun) = play.listen("/sse/long", "");
        let id = begun[0].id.clone().unwrap();
        drop(peer);
        let publisher = play.bench.connect(0, 1);
        play.bench.run_for(SECOND / 10);
        let bulk = "x".repeat(500);
        let publish = |range: std::ops::Range<usize>| {
            for number in range {
                let payload = format!("{number} {bulk}");
                publisher.say(format!("PUB room.long {}\r\n{payload}\r\n", payload.len()));
            }
        };
        for hundred in 0..MISSED / 100 {
            publish(hundred * 100..(hundred + 1) * 100);
            play.bench.run_for(SECOND / 10);
        }
        let (mut peer, mut heard) = play.listen("/sse/long", &id);
        // It reads on while more is said.
        for number in MISSED..MISSED + 200 {
            publish(number..number + 1);
            play.bench.run_for(SECOND / 100);
            heard.extend(records(&peer.hear()));
        }
        play.bench.run_for(SECOND);
        heard.extend(records(&peer.hear()));
        let numbers: Vec<usize> =
            data(&heard).iter().map(|data| data.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..MISSED + 200).collect::<Vec<_>>());
        let replayed = play.bench.core(0).desk.counters().replayed.value();
        assert!(replayed >= MISSED as u64, "{replayed} were replayed");
    });
}

#[test]
fn what_is_not_kept_until_a_slow_reader_has_got_there_is_a_gap() {
    on_some_shards(|mut play| {
        let large = "x".repeat(60_000);
        let id = play.say_this("1", "begin");
        for _ in 0..KEPT {
            play.say_this("1", &large);
        }
        let mut peer = play.bench.connect(0, 0);
        peer.say(format!("GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n"));
        // It reads nothing until all that was kept has gone.
        play.bench.run_for(SECOND);
        for _ in 0..2 * KEPT {
            play.say_this("1", &large);
        }
        let mut heard = String::new();
        for _ in 0..100 {
            heard += &peer.hear();
            play.bench.run_for(SECOND / 100);
        }
        let heard = records(&heard);
        let offset = |id: &str| id.split_once('-').unwrap().1.parse::<usize>().unwrap();
        let mut expected = 2;
        let mut gaps = 0;
        for record in &heard {
            if record.event.is_some() {
                let first = offset(record.gap()["first"].as_str().unwrap());
                assert!(first > expected, "{first} is no gap after {expected}");
                expected = first;
                gaps += 1;
            } else {
                assert_eq!(offset(record.id.as_ref().unwrap()), expected);
                expected += 1;
            }
        }
        assert_eq!(expected, 3 * KEPT + 2, "the last is heard");
        assert!(gaps >= 1, "what is missing is said");
    });
}

#[test]
fn whoever_leaves_in_the_middle_of_a_replay_leaves_nothing_behind() {
    on_some_shards(|mut play| {
        let id = play.say_this("1", "begin");
        for _ in 0..KEPT {
            play.say_this("1", &"x".repeat(60_000));
        }
        let peer = play.bench.connect(0, 0);
        peer.say(format!("GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n"));
        play.bench.run_for(SECOND / 10);
        drop(peer);
        play.assert_nobody_is_left();
    });
}

#[test]
fn what_a_worker_adds_has_no_id() {
    on_some_shards(|mut play| {
        play.say("last");
        let last = Record { id: None, event: None, data: Some("1".to_owned()) };
        let (mut peer, begun) = play.listen("/sse/1", "");
        let id = {
            let core = play.bench.core(0);
            let is_stream = |key: &Key| core.desk.slots.get(*key).is_some_and(|conn| conn.session.is_client());
            conn_id(core, core.desk.slots.keys().find(is_stream).expect("the stream"))
        };
        let worker = play.bench.connect(0, 1);
        let mut add = |play: &mut Play, room: &str| {
            worker.say(format!("PUB tg.conn.{id}.subscribe {}\r\nroom.{room}\r\n", 5 + room.len()));
            play.bench.run_for(SECOND / 10);
            records(&peer.hear())
        };
        assert_eq!((begun.len(), add(&mut play, "2"), add(&mut play, "few")), (1, vec![], vec![]));
        assert_eq!(add(&mut play, "last"), [last], "as for any newcomer");
        for room in ["2", "few", "last"] {
            play.say(room);
        }
        let heard = records(&peer.hear());
        assert_eq!((data(&heard), heard[0].id.as_ref()), (vec!["2", "3", "4"], None), "it cannot be come back to");
        drop((worker, peer));
        play.assert_nobody_is_left();
    });
}

#[test]
fn programs_read_what_is_kept() {
    on_some_shards(|mut play| {
        let positions: Vec<String> = (0..KEPT + 1).map(|_| play.say("1")).collect();
        let get = |query: &str| format!("GET /api/channels/room.1/history{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all = play.ask(&get(""));
        assert_eq!(all["position"], positions[KEPT][..]);
        let numbers = |answer: &serde_json::Value| -> Vec<String> {
            let messages = answer["messages"].as_array().unwrap().iter();
            messages.map(|message| message["data"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(numbers(&all), ["2", "3", "4", "5", "6"]);
        assert_eq!(numbers(&play.ask(&get("?limit=2"))), ["5", "6"], "the newest");
        let some = play.ask(&get(&format!("?limit=2&since={}", positions[2])));
        assert_eq!(
            (numbers(&some), &some["is_last"], &some["gap"]),
            (vec!["4".into(), "5".into()], &false.into(), &serde_json::Value::Null)
        );
        let gone = play.ask(&get(&format!("?since={}", positions[0].replace("-1", "-0"))));
        assert_eq!(gone["gap"]["reason"], "gone");
        let unknown = play.ask("GET /api/channels/never/history HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((numbers(&unknown).len(), &unknown["position"]), (0, &serde_json::Value::Null));
        let is_kept = [&all, &gone, &unknown].map(|answer| answer["is_kept"].as_bool());
        assert_eq!(is_kept, [Some(true), Some(true), Some(false)], "as the rule says");
        for bad in ["?since=1", "?limit=many", "?limit=-1", "?since=%"] {
            play.publisher.say(get(bad));
            play.bench.run_for(SECOND / 10);
            let heard = play.publisher.hear();
            assert!(heard.starts_with("HTTP/1.1 400"), "{bad}: {heard}");
        }
        play.publisher.say("DELETE /api/channels/room.1/history HTTP/1.1\r\nHost: a\r\n\r\n");
        play.bench.run_for(SECOND / 10);
        assert!(play.publisher.hear().starts_with("HTTP/1.1 405"));
    });
}
