//! AN ANSWER ALONE IS NEVER TOO MUCH: a peer that asks for a long answer gets it, by any door, and is not slow while it
//! receives it.

use serde_json::{Value, json};

use super::centrifuge::Client;
use super::*;
use crate::conn::route::{AcceptRoute, CentrifugeRoute};
use crate::proto::channel::{Keep, Queue, Rule, Rules};
use crate::proto::subject::Pattern;

/// What may wait for a client; each answer here is longer.
const OUTBOX: usize = 20_000;
const LONG: usize = 30_000;
/// Channels of one stream.
const MANY: usize = 8;

fn settings() -> Settings {
    let mut settings = super::settings();
    let channel = |name: &str| ChannelTemplate::parse(name).unwrap();
    let sse = |channels| RouteTarget::Sse { channels, retry: SECOND };
    let many: Vec<_> = (0..MANY).map(|number| channel(&format!("last.{number}"))).collect();
    let websocket = WebSocketRoute { channel: Some(channel("last.{name}")), ..WebSocketRoute::default() };
    let client = |names: &[usize]| {
        let server_side = names.iter().map(|number| channel(&format!("last.{number}"))).collect();
        let channels = vec![Pattern::new(">").unwrap()];
        RouteTarget::Centrifuge(Box::new(CentrifugeRoute { channels, server_side, ..CentrifugeRoute::default() }))
    };
    let jobs = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: channel("request.{id}"),
        event: "tg.result".into(),
        timeout: SECOND,
        keep: 60 * SECOND,
        user: None,
        headers: Box::default(),
    };
    add_routes(
        &mut settings,
        [
            route("/sse/last/{name}", sse(vec![channel("last.{name}")])),
            route("/sse/all/of/them", sse(many)),
            route("/sse/result/{id}", sse(vec![channel("request.{id}")])),
            route("/ws/last/{name}", RouteTarget::WebSocket(websocket)),
            route("/client", client(&[])),
            route("/client/one", client(&[0])),
            route("/client/all", client(&(0..MANY).collect::<Vec<_>>())),
            Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(jobs)) },
        ],
    );
    let keep = |messages| Some(Keep { messages, bytes: 64 << 20, age: 60 * SECOND });
    let last = Rule { history: keep(1), is_for_newcomers: true, ..Rule::default() };
    let short = Queue { messages: 3, bytes: usize::MAX };
    let few = Rule { history: keep(100), is_for_newcomers: true, queue: short, ..Rule::default() };
    let there = Rule { has_presence: true, ..Rule::default() };
    let rules = [("last.*", last), ("few.*", few), ("there.*", there)];
    settings.generation_mut().channels =
        Arc::new(Rules::new(rules.map(|(name, rule)| (Pattern::new(name).unwrap(), rule))));
    settings.generation_mut().outbox_bytes_max = OUTBOX;
    settings
}

/// A value of its channel, longer than may wait.
fn long(number: usize) -> String {
    format!("\"{number}{}\"", "x".repeat(LONG))
}

fn publish(worker: &Peer, channel: &str, payload: &str) {
    worker.say(format!("PUB {channel} {}\r\n{payload}\r\n", payload.len()));
}

/// With the newest value of each of the channels `last.*`.
fn bench(shards: u16) -> (Bench, Peer) {
    let mut bench = Bench::new(shards, settings());
    let worker = bench.connect(0, BUS);
    for number in 0..MANY {
        publish(&worker, &format!("last.{number}"), &long(number));
        bench.run_for(SECOND / 10);
    }
    (bench, worker)
}

/// All that `peer` hears while it takes everything at once.
fn hear(bench: &mut Bench, peer: &mut Peer, time: Duration) -> String {
    let step = SECOND / 100;
    let mut heard = String::new();
    for _ in 0..time.as_millis() / step.as_millis() {
        bench.run_for(step);
        heard += &peer.hear();
    }
    heard
}

fn expect_nobody_slow(bench: &Bench, shards: u16) {
    assert_eq!((0..shards.into()).map(|shard| bench.closed(shard, CloseReason::SlowConsumer)).sum::<u64>(), 0);
}

#[test]
fn a_newcomer_gets_a_long_value_and_what_is_live_right_behind_it() {
    for (shards, path) in [(1, "/sse/last/0"), (2, "/sse/last/0"), (1, "/ws/last/0"), (2, "/ws/last/0")] {
        let (mut bench, worker) = bench(shards);
        let mut peer = bench.connect(shards - 1, 0);
        peer.say(request(path));
        bench.run_for(Duration::from_millis(1));
        // It has taken nothing of the answer yet.
        (0..5).for_each(|number| publish(&worker, "last.0", &format!("\"live {number}\"")));
        let heard = hear(&mut bench, &mut peer, SECOND);
        let at = |words: &str| heard.find(words).unwrap_or_else(|| panic!("no {words} over {path}, {shards} shards"));
        assert!(at(&long(0)) < at("live 0") && at("live 0") < at("live 4"), "in the channel's order");
        assert!(peer.end.is_open());
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn long_values_of_many_channels_come_one_after_the_other() {
    for shards in 1..=3 {
        let (mut bench, worker) = bench(shards);
        let mut peer = bench.connect(0, 0);
        peer.say(request("/sse/all/of/them"));
        bench.run_for(Duration::from_millis(1));
        let most = (0..shards.into()).map(|shard| bench.census(shard).waiting_most).max();
        assert!(most < Some(2 * LONG), "never more than one of them waits: {most:?}");
        let mut heard = hear(&mut bench, &mut peer, SECOND);
        publish(&worker, "last.7", "\"live\"");
        heard += &hear(&mut bench, &mut peer, SECOND);
        for number in 0..MANY {
            assert_eq!(heard.matches(&long(number)).count(), 1, "{number}, {shards} shards");
        }
        assert_eq!(heard.matches("\"live\"").count(), 1);
        assert!(!heard.contains("tg.gap") && peer.end.is_open());
        assert_eq!(bench.census(0).readers, 0);
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn a_replay_is_more_than_may_wait_of_its_channel_and_makes_nobody_slow() {
    for shards in 1..=2 {
        let mut bench = Bench::new(shards, settings());
        let worker = bench.connect(0, BUS);
        (0..100).for_each(|number| publish(&worker, "few.1", &format!("\"kept {number}\"")));
        bench.run_for(SECOND / 10);
        let (mut client, _) = Client::connected(&mut bench, "/client", json!({}));
        client.say(&[json!({"id": 2, "subscribe": {"channel": "few.1"}})]);
        bench.run_for(Duration::from_millis(1));
        (0..3).for_each(|number| publish(&worker, "few.1", &format!("\"live {number}\"")));
        bench.run_for(SECOND / 10);
        let heard = client.texts();
        let replayed = heard[0]["subscribe"]["publications"].as_array().map(Vec::len);
        assert!(replayed > Some(10), "more than the three of the rule: {replayed:?}");
        assert_eq!(heard.last().unwrap()["push"]["pub"]["data"], "live 2");
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn the_operators_questions_are_answered_on_one_connection_however_long_the_answer() {
    for shards in 1..=2 {
        let (mut bench, _worker) = bench(shards);
        let _there: Vec<Peer> = (0..300).map(|index| bench.open(index % shards, "/sse/1")).collect();
        let mut peer = bench.connect(0, ADMIN);
        let history = "/api/channels/last.0/history";
        for path in [history, "/metrics", history, "/api/channels/there.1/presence", "/metrics", history, history] {
            peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        let heard = hear(&mut bench, &mut peer, SECOND);
        assert_eq!((heard.matches("HTTP/1.1 200 OK\r\n").count(), heard.matches("HTTP/1.1").count()), (7, 7));
        assert_eq!(heard.matches(&long(0).trim_matches('"').to_owned()).count(), 4, "whole each time");
        assert!(peer.end.is_open());
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn the_list_of_who_is_there_is_longer_than_may_wait() {
    let mut settings = settings();
    let there = ChannelTemplate::parse("there.{name}").unwrap();
    add_routes(&mut settings, [route("/sse/there/{name}", RouteTarget::Sse { channels: vec![there], retry: SECOND })]);
    for shards in 1..=2 {
        let mut bench = Bench::new(shards, settings.clone());
        let _there: Vec<Peer> = (0..700).map(|index| bench.connect(index % shards, 0)).collect();
        _there.iter().for_each(|peer| peer.say(request("/sse/there/1")));
        bench.run_for(SECOND);
        let mut operator = bench.connect(0, ADMIN);
        operator.say("GET /api/channels/there.1/presence HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
        let heard = hear(&mut bench, &mut operator, SECOND);
        assert!(heard.len() > 2 * OUTBOX && heard.matches("\"clients\":700").count() == 2, "{heard:.300}");
        let (mut client, _) = Client::connected(&mut bench, "/client", json!({}));
        client.say(&[
            json!({"id": 2, "subscribe": {"channel": "there.1"}}),
            json!({"id": 3, "presence": {"channel": "there.1"}}),
        ]);
        bench.run_for(Duration::from_millis(1));
        let worker = bench.connect(0, BUS);
        (0..5).for_each(|number| publish(&worker, "there.1", &number.to_string()));
        bench.run_for(SECOND / 10);
        let heard = client.texts();
        let listed = heard.iter().find_map(|said| said["presence"]["presence"].as_object()).expect("an answer");
        assert_eq!(listed.len(), 701);
        assert_eq!(heard.last().unwrap()["push"]["pub"]["data"], 4);
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn a_client_of_the_protocol_gets_long_answers_and_what_is_live_right_behind_them() {
    for shards in 1..=2 {
        let (mut bench, worker) = bench(shards);
        let (mut client, _) = Client::connected(&mut bench, "/client", json!({}));
        let asks = [
            json!({"id": 2, "subscribe": {"channel": "last.0"}}),
            json!({"id": 3, "history": {"channel": "last.0", "limit": 1}}),
            json!({"id": 4, "subscribe": {"channel": "last.1", "recover": true, "epoch": "_", "offset": 0}}),
        ];
        for (ask, answer) in asks.into_iter().zip(["subscribe", "history", "subscribe"]) {
            client.say(&[ask]);
            bench.run_for(Duration::from_millis(1));
            (0..5).for_each(|number| publish(&worker, "last.0", &format!("\"live {number}\"")));
            bench.run_for(SECOND / 10);
            let heard = client.texts();
            let got: Vec<&Value> =
                heard.iter().filter_map(|said| said[answer]["publications"].as_array()).flatten().collect();
            assert!(got[0]["data"].as_str().is_some_and(|data| data.len() > 1), "{answer}: {got:?}");
            assert_eq!(heard.last().unwrap()["push"]["pub"]["data"], "live 4");
            publish(&worker, "last.0", &long(0));
            bench.run_for(SECOND / 10);
            client.texts();
        }
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn whoever_connects_gets_long_values_of_its_channels_in_the_answer_or_behind_it() {
    for shards in 1..=2 {
        for (path, count) in [("/client/one", 1), ("/client/all", MANY)] {
            let (mut bench, _worker) = bench(shards);
            let mut client = Client::open(&mut bench, path);
            client.say(&[json!({"id": 1, "connect": {}})]);
            bench.run_for(Duration::from_millis(1));
            let said = client.texts();
            let subs = said[0]["connect"]["subs"].as_object().expect("channels");
            let mut got: Vec<String> = subs
                .values()
                .filter_map(|sub| sub["publications"].as_array())
                .flatten()
                .map(|publication| publication["data"].to_string())
                .collect();
            assert_eq!(got.len(), 1, "one always fits");
            let mut pushed = said[1..].to_vec();
            for _ in 0..100 {
                bench.run_for(SECOND / 100);
                pushed.extend(client.texts());
            }
            let pushed = pushed.iter().map(|said| &said["push"]["pub"]["data"]).filter(|data| !data.is_null());
            got.extend(pushed.map(Value::to_string));
            got.sort();
            let begin = |value: &String| value[..3].to_owned();
            let beginnings: Vec<String> = got.iter().map(begin).collect();
            assert_eq!(got, (0..count).map(long).collect::<Vec<_>>(), "{path}, {shards} shards: {beginnings:?}");
            expect_nobody_slow(&bench, shards);
        }
    }
}

#[test]
fn a_result_is_as_long_as_it_is() {
    for shards in 1..=2 {
        let mut bench = Bench::new(shards, settings());
        let mut worker = bench.connect(0, BUS);
        worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.service.jobs workers 1\r\n");
        bench.run_for(SECOND / 10);
        let mut asker = bench.connect(0, 0);
        asker.say("POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
        bench.run_for(SECOND / 10);
        let heard = asker.hear();
        let receipt: Value = serde_json::from_str(heard.split_once("\r\n\r\n").unwrap().1).expect("a receipt");
        let id = receipt["id"].as_str().unwrap();
        assert!(worker.hear().contains("{}"), "it has the job");
        publish(&worker, &format!("tg.request.{id}"), &long(0));
        bench.run_for(SECOND / 10);
        asker.say(format!("GET /jobs/{id} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(3));
        let heard = hear(&mut bench, &mut asker, SECOND);
        assert_eq!((heard.matches("HTTP/1.1 200 OK").count(), heard.matches(&"x".repeat(LONG)).count()), (3, 3));
        let mut late = bench.connect(shards - 1, 0);
        late.say(request(&format!("/sse/result/{id}")));
        bench.run_for(Duration::from_millis(1));
        (0..5).for_each(|number| publish(&worker, receipt["channel"].as_str().unwrap(), &format!("live {number}")));
        let heard = hear(&mut bench, &mut late, SECOND);
        assert!(heard.contains(&"x".repeat(LONG)) && heard.contains("data: live 4\n\n"), "{heard:.400}");
        expect_nobody_slow(&bench, shards);
    }
}

#[test]
fn answers_that_are_made_at_once_wait_for_each_other() {
    let mut settings = settings();
    static PAGE: [u8; 100_000] = [b'p'; 100_000];
    add_routes(&mut settings, [route("/page", RouteTarget::page("text/plain", &PAGE))]);
    let mut bench = Bench::new(1, settings);
    let mut peer = bench.connect(0, 0);
    peer.say("GET /page HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50));
    bench.run_for(Duration::from_millis(1));
    let waiting = bench.census(0).waiting_most;
    assert!(waiting < 2 * PAGE.len(), "{waiting} bytes wait, of 5 MB that were asked for");
    let heard = hear(&mut bench, &mut peer, 2 * SECOND);
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 50);
    expect_nobody_slow(&bench, 1);
}

#[test]
fn whoever_takes_nothing_of_an_answer_is_slow_as_ever() {
    let (mut bench, worker) = bench(1);
    let _stuck = bench.open(0, "/sse/last/0");
    for _ in 0..100 {
        publish(&worker, "last.0", &"x".repeat(1_000));
        bench.run_for(SECOND / 100);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1, "what is live counts");
    let mut settings = settings();
    settings.generation_mut().send_timeout = SECOND;
    let mut bench = Bench::new(1, settings);
    let worker = bench.connect(0, BUS);
    let said = format!("PUB last.0 900000\r\n{}\r\n", "x".repeat(900_000));
    let mut rest = said.as_bytes();
    while !rest.is_empty() {
        rest = &rest[worker.end.write(rest)..];
        bench.run_for(SECOND / 100);
    }
    let _stuck = bench.open(0, "/sse/last/0");
    bench.run_for(limits::SSE_HEARTBEAT + 3 * SECOND);
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1, "and so does the time");
}
