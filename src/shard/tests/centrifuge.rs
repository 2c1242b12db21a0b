//! Clients of the client protocol by the clock: pings, tokens that end, calls without an answer, commands that wait.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::conn::route::{AcceptRoute, CentrifugeRoute};
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::subject::Pattern;
use crate::proto::token::Verifier;

/// Unix time, which stands still here: what counts is how long a token holds from now on.
pub(super) const NOW: u64 = 1_700_000_000;
const KEPT: usize = 3;

pub(super) fn settings() -> Settings {
    let mut settings = super::settings();
    let everything = || vec![Pattern::new("room.>").unwrap()];
    let target = |token: Option<Verifier>| CentrifugeRoute {
        service: Some(Service::new("desk").unwrap()),
        token,
        channels: everything(),
        publish_to: everything(),
        ..CentrifugeRoute::default()
    };
    add_routes(&mut settings, [route("/open", RouteTarget::Centrifuge(Box::new(target(None))))]);
    add_routes(
        &mut settings,
        [route("/token", RouteTarget::Centrifuge(Box::new(target(Some(Verifier::hmac(b"secret"))))))],
    );
    let keep = Keep { messages: KEPT, bytes: 64 << 20, age: 60 * SECOND };
    let kept = Rule { history: Some(keep), ..Rule::default() };
    let last = Rule { is_for_newcomers: true, ..kept.clone() };
    let rules = [("room.kept.*", kept), ("room.last", last)];
    settings.generation_mut().channels =
        Arc::new(Rules::new(rules.map(|(name, rule)| (Pattern::new(name).unwrap(), rule))));
    settings.process_mut().unix_time = || NOW;
    settings
}

pub(super) fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(b"secret")).unwrap()
}

/// A frame of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(Value),
    Close(u16, String),
}

/// A client after its upgrade.
pub(super) struct Client(Peer);

impl Client {
    pub(super) fn open(bench: &mut Bench, path: &str) -> Client {
        Client(bench.open(0, path))
    }

    /// One that has connected, and the answer.
    pub(super) fn connected(bench: &mut Bench, path: &str, connect: Value) -> (Client, Value) {
        let mut client = Client::open(bench, path);
        client.say(&[json!({"id": 1, "connect": connect})]);
        bench.run_for(SECOND / 10);
        let answer = client.texts().remove(0);
        assert!(answer["connect"]["pong"] == true, "{answer}");
        (client, answer)
    }

    /// The client is gone.
    pub(super) fn reset(self) {
        self.0.end.reset();
    }

    /// Commands in one frame.
    pub(super) fn say(&self, commands: &[Value]) {
        let lines: Vec<String> = commands.iter().map(Value::to_string).collect();
        self.0.say(text(lines.join("\n").as_bytes()));
    }

    pub(super) fn hear(&mut self) -> Vec<Said> {
        while matches!(self.0.end.read(&mut self.0.heard), ReadOutcome::Bytes(_)) {}
        let heard = std::mem::take(&mut self.0.heard);
        let mut rest = &heard[..];
        let mut said = Vec::new();
        while let [opcode, length, tail @ ..] = rest {
            let (length, tail) = match length {
                126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
                127 => (u64::from_be_bytes(tail[..8].try_into().unwrap()) as usize, &tail[8..]),
                short => (usize::from(*short), tail),
            };
            // The rest of it is still on its way.
            let Some((payload, next)) = tail.split_at_checked(length) else { break };
            said.push(match opcode & 15 {
                8 => Said::Close(
                    u16::from_be_bytes([payload[0], payload[1]]),
                    String::from_utf8(payload[2..].into()).unwrap(),
                ),
                _ => Said::Text(serde_json::from_slice(payload).expect("JSON")),
            });
            rest = next;
        }
        self.0.heard = rest.to_vec();
        said
    }

    pub(super) fn texts(&mut self) -> Vec<Value> {
        let said = self.hear().into_iter().map(|said| match said {
            Said::Text(value) => value,
            close => panic!("{close:?}"),
        });
        said.collect()
    }

    fn expect_close(&mut self, code: u16, words: &str) {
        assert_eq!(self.hear().last(), Some(&Said::Close(code, words.to_owned())));
    }
}

pub(super) fn worker(bench: &mut Bench, subject: &str) -> Peer {
    let mut worker = bench.connect(0, BUS);
    worker.say(format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {subject} 1\r\nPING\r\n"));
    bench.run_for(SECOND / 10);
    assert!(worker.hear().ends_with("PONG\r\n"));
    worker
}

#[test]
fn whoever_never_connects_is_stale() {
    let mut bench = Bench::new(1, settings());
    let mut client = Client::open(&mut bench, "/open");
    // Signs of life do not help.
    for _ in 0..limits::HEAD_TIMEOUT.as_secs() {
        client.0.say([0x8a, 0x80, 0, 0, 0, 0]);
        bench.run_for(SECOND);
    }
    bench.run_for(SECOND);
    client.expect_close(3502, "stale");
    assert_eq!(bench.closed(0, CloseReason::NotConnected), 1);
}

#[test]
fn a_subscription_token_may_allow_publishing_as_long_as_it_holds() {
    let mut bench = Bench::new(1, settings());
    let connect = json!({"token": token(&json!({"sub": "ann"}))});
    let (mut client, _) = Client::connected(&mut bench, "/token", connect);
    let claims = |exp: u64, publish: bool| json!({"sub": "ann", "channel": "club.7", "exp": exp, "publish": publish});
    let mut code = |bench: &mut Bench, id: u64, command: Value| {
        let mut command = command;
        command["id"] = id.into();
        client.say(&[command]);
        bench.run_for(SECOND / 10);
        let said = client.texts();
        let own = said.iter().find(|said| said["id"] == id).unwrap_or_else(|| panic!("no answer: {said:?}"));
        own["error"]["code"].as_u64().unwrap_or(0)
    };
    let publish = || json!({"publish": {"channel": "club.7", "data": 1}});
    assert_eq!(code(&mut bench, 2, publish()), 103, "it is not subscribed");
    let subscribe = |claims: &Value| json!({"subscribe": {"channel": "club.7", "token": token(claims)}});
    assert_eq!(code(&mut bench, 3, subscribe(&claims(NOW + 60, true))), 0);
    assert_eq!(code(&mut bench, 4, publish()), 0);
    assert_eq!(code(&mut bench, 5, json!({"publish": {"channel": "club.8", "data": 1}})), 103);
    let refresh = |claims: &Value| json!({"sub_refresh": {"channel": "club.7", "token": token(claims)}});
    assert_eq!(code(&mut bench, 6, refresh(&claims(NOW + 60, false))), 0);
    assert_eq!(code(&mut bench, 7, publish()), 103, "its token has been replaced");
    assert_eq!(code(&mut bench, 8, refresh(&claims(NOW + 60, true))), 0);
    assert_eq!(code(&mut bench, 9, publish()), 0);
    assert_eq!(code(&mut bench, 10, json!({"unsubscribe": {"channel": "club.7"}})), 0);
    assert_eq!(code(&mut bench, 11, publish()), 103);
}

#[test]
fn pings_come_as_announced_and_silence_is_no_pong() {
    let mut bench = Bench::new(1, settings());
    let (mut lively, answer) = Client::connected(&mut bench, "/open", json!({}));
    let (mut silent, _) = Client::connected(&mut bench, "/open", json!({}));
    assert_eq!(answer["connect"]["ping"], limits::PING_INTERVAL.as_secs());
    for _ in 0..4 {
        bench.run_for(limits::PING_INTERVAL);
        assert_eq!(lively.texts(), [json!({})]);
        lively.say(&[json!({})]);
    }
    silent.expect_close(3012, "no pong");
    assert_eq!(bench.closed(0, CloseReason::NoPong), 1);
}

#[test]
fn a_token_holds_until_it_is_not_refreshed() {
    let mut bench = Bench::new(1, settings());
    let claims = |seconds: u64| json!({"token": token(&json!({"sub": "ann", "exp": NOW + seconds}))});
    let (mut client, answer) = Client::connected(&mut bench, "/token", claims(10));
    assert_eq!((&answer["connect"]["expires"], &answer["connect"]["ttl"]), (&json!(true), &json!(10)));
    bench.run_for(9 * SECOND);
    client.say(&[json!({"id": 2, "refresh": claims(20)})]);
    bench.run_for(19 * SECOND);
    let answers = client.texts();
    assert!(answers.iter().any(|answer| answer["refresh"]["ttl"] == 20), "{answers:?}");
    client.say(&[json!({})]);
    bench.run_for(SECOND + limits::TOKEN_GRACE - SECOND);
    client.say(&[json!({})]);
    assert!(client.hear().iter().all(|said| matches!(said, Said::Text(_))), "it may come a little late");
    bench.run_for(2 * SECOND);
    client.expect_close(3005, "connection expired");

    let other = json!({"token": token(&json!({"sub": "bob", "exp": NOW + 60}))});
    let (mut client, _) = Client::connected(&mut bench, "/token", claims(10));
    client.say(&[json!({"id": 2, "refresh": other})]);
    bench.run_for(SECOND);
    client.expect_close(3500, "invalid token");
}

#[test]
fn a_subscription_ends_with_its_token() {
    let mut bench = Bench::new(2, settings());
    let (mut client, _) = Client::connected(&mut bench, "/token", json!({"token": token(&json!({"sub": "ann"}))}));
    let claims = json!({"sub": "ann", "channel": "vault", "exp": NOW + 5});
    client.say(&[json!({"id": 2, "subscribe": {"channel": "vault", "token": token(&claims)}})]);
    bench.run_for(6 * SECOND);
    let said = client.texts();
    assert_eq!(said[0], json!({"id": 2, "subscribe": {"expires": true, "ttl": 5}}));
    let unsubscribe = json!({"code": 2501, "reason": "subscription expired"});
    assert_eq!(said[1], json!({"push": {"channel": "vault", "unsubscribe": unsubscribe}}));
    let publisher = bench.connect(0, BUS);
    publisher.say("PUB vault 1\r\n1\r\n");
    bench.run_for(SECOND);
    assert_eq!(client.texts(), [] as [Value; 0]);
    assert_eq!(bench.census(0).subscriptions, 1, "its user's alone");
}

#[test]
fn a_call_that_nobody_answers_is_an_error_in_the_end_and_a_late_answer_none_of_anybodys() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, "tg.service.desk");
    let (mut client, answer) = Client::connected(&mut bench, "/open", json!({}));
    client.say(&[json!({"id": 2, "rpc": {"method": "book", "data": {"seat": 1}}})]);
    bench.run_for(limits::PING_INTERVAL);
    client.say(&[json!({})]);
    assert!(worker.hear().contains("Tg-Method: book\r\n"));
    bench.run_for(limits::CALL_TIMEOUT - limits::PING_INTERVAL + SECOND);
    let answers: Vec<Value> = client.texts().into_iter().filter(|said| said["id"] == 2).collect();
    assert_eq!(
        (answers.len(), &answers[0]["error"]["code"], &answers[0]["error"]["temporary"]),
        (1, &json!(100), &json!(true))
    );
    let conn = answer["connect"]["client"].as_str().unwrap();
    for _ in 0..1_000 {
        worker.say(format!("PUB tg.conn.{conn}.answer.1 1\r\n1\r\n"));
        bench.run_for(SECOND / 1_000);
    }
    assert!(client.texts().iter().all(|said| *said == json!({})), "nothing but pings");
}

#[test]
fn commands_behind_a_message_that_waits_for_a_worker_wait_as_well() {
    let mut bench = Bench::new(1, settings());
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    let send = |number: u32| json!({"send": {"data": number}});
    client.say(&[send(1), send(2), json!({"id": 2, "ping": {}}), send(3)]);
    bench.run_for(SECOND);
    assert_eq!(client.texts(), [] as [Value; 0]);
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.service.desk 1\r\n");
    bench.run_for(SECOND);
    let heard = worker.hear();
    let numbers: Vec<&str> = heard.split("Tg-Opcode: text\r\n\r\n").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!((numbers, client.texts()), (vec!["1", "2", "3"], vec![json!({"id": 2, "ping": {}})]));
}

#[test]
fn the_commands_of_a_frame_are_taken_one_by_one_however_it_comes() {
    let history = |id: u32| json!({"id": id, "history": {"channel": "room.kept.1", "limit": 1}}).to_string();
    // The client waits for the answer to each history before its next command is taken.
    let frame = [
        "\n".into(),
        json!({"id": 2, "publish": {"channel": "room.kept.1", "data": 1}}).to_string(),
        history(3),
        json!({"id": 4, "rpc": {"method": "add", "data": {"a": 1}}}).to_string(),
        " \r\n".into(),
        history(5),
        json!({"send": {"data": {"b": 2}}}).to_string(),
        json!({"id": 6, "ping": {}}).to_string(),
        "\n".into(),
    ];
    let frames = [text(frame.join("\n").as_bytes()), text(b" \n"), text(br#"{"id":7,"ping":{}}"#)].concat();
    for cut in [0, 1, 9, frames.len() / 2, frames.len() - 3] {
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, "tg.service.desk");
        let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
        client.0.say(&frames[..cut]);
        bench.run_for(SECOND / 10);
        client.0.say(&frames[cut..]);
        bench.run_for(SECOND / 10);
        let said = client.texts();
        let ids: Vec<&Value> = said.iter().map(|said| &said["id"]).collect();
        assert_eq!(ids, [2, 3, 5, 6, 7], "cut at {cut}: {said:?}");
        let heard = worker.hear();
        let places = ["Tg-Method: add", "{\"a\":1}", "{\"b\":2}"].map(|part| heard.find(part).expect(part));
        assert!(places.is_sorted(), "cut at {cut}: {heard}");
    }
}

#[test]
fn what_is_not_its_time_or_not_the_protocol_is_a_bad_request_and_leaves_nothing() {
    let mut bench = Bench::new(2, settings());
    for commands in [
        vec![json!({"id": 1, "connect": {}}), json!({"id": 2, "connect": {}})],
        vec![json!({"id": 1, "subscribe": {"channel": "room.1"}})],
        vec![json!({"id": 1, "connect": {}}), json!({"id": 2, "subscribe": {"channel": "room.1"}}), json!(7)],
        vec![json!({"id": 1, "connect": {}}), json!({"id": 2, "dance": {}})],
        vec![json!({}); limits::COMMANDS_PER_FRAME_MAX + 1],
    ] {
        let mut client = Client::open(&mut bench, "/open");
        client.say(&commands);
        bench.run_for(SECOND);
        client.expect_close(3501, "bad request");
    }
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!((bench.census(0), bench.census(1)), (Census::default(), Census::default()));
}

#[test]
fn newcomers_get_what_is_kept_where_the_rule_says_so() {
    let mut bench = Bench::new(2, settings());
    let publisher = bench.connect(0, BUS);
    publisher.say("PUB room.last 1\r\n1\r\nPUB room.last 1\r\n2\r\n");
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    client.say(&[json!({"id": 2, "subscribe": {"channel": "room.last"}})]);
    bench.run_for(SECOND / 10);
    publisher.say("PUB room.last 1\r\n3\r\n");
    bench.run_for(SECOND / 10);
    let said = client.texts();
    let reply = &said[0]["subscribe"];
    // `recovered`: the packages hand on nothing else of what comes with a connection.
    assert_eq!((&reply["was_recovering"], &reply["recovered"]), (&Value::Null, &json!(true)));
    assert_eq!(reply["publications"], json!([{"data": 1, "offset": 1}, {"data": 2, "offset": 2}]));
    assert_eq!(said[1]["push"]["pub"], json!({"data": 3, "offset": 3}));

    let (mut client, answer) = Client::connected(&mut bench, "/open", json!({}));
    let client_id = answer["connect"]["client"].as_str().unwrap();
    publisher.say(format!("PUB tg.conn.{client_id}.subscribe 9\r\nroom.last\r\n"));
    bench.run_for(SECOND / 10);
    let said = client.texts();
    assert_eq!(said[0]["push"]["subscribe"]["offset"], Value::Null, "it stands before the first");
    let offsets: Vec<&Value> = said[1..].iter().map(|said| &said["push"]["pub"]["offset"]).collect();
    assert_eq!(offsets, [1, 2, 3]);
}

#[test]
fn the_result_of_a_request_comes_to_those_who_subscribe_before_it_and_after_it() {
    let mut settings = settings();
    let target = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "result".into(),
        timeout: 60 * SECOND,
        keep: 60 * SECOND,
        user: None,
        headers: Box::default(),
    };
    add_routes(&mut settings, [Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(target)) }]);
    let results = vec![Pattern::new("request.*").unwrap()];
    let target = CentrifugeRoute { channels: results, ..CentrifugeRoute::default() };
    add_routes(&mut settings, [route("/results", RouteTarget::Centrifuge(Box::new(target)))]);
    let mut bench = Bench::new(2, settings);
    let mut worker = worker(&mut bench, "tg.service.jobs");
    // Kept by the shard of the client, and by the other one.
    for keeper in 0..2 {
        let mut poster = bench.connect(keeper, 0);
        poster.say("POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
        bench.run_for(SECOND / 10);
        let answer = poster.hear();
        let receipt: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let (id, channel) = (receipt["id"].as_str().unwrap(), &receipt["channel"]);
        let (mut early, _) = Client::connected(&mut bench, "/results", json!({}));
        early.say(&[json!({"id": 2, "subscribe": {"channel": channel}})]);
        bench.run_for(SECOND / 10);
        assert!(worker.hear().contains("{}"), "it has the job");
        worker.say(format!("PUB tg.request.{id} 2\r\n42\r\n"));
        bench.run_for(SECOND / 10);
        let (mut late, _) = Client::connected(&mut bench, "/results", json!({}));
        late.say(&[json!({"id": 2, "subscribe": {"channel": channel}})]);
        bench.run_for(SECOND / 10);
        for client in [&mut early, &mut late] {
            let said = client.texts();
            assert_eq!((said.len(), &said[0]["id"]), (2, &json!(2)), "{said:?}");
            assert_eq!(said[1]["push"]["channel"], *channel);
            assert_eq!(said[1]["push"]["pub"]["data"]["status"], "done", "{said:?}");
        }
    }
    assert_eq!((bench.census(0).recalls, bench.census(1).recalls), (0, 0));
}

#[test]
fn whoever_is_too_slow_for_what_is_kept_is_told_to_come_back() {
    let mut bench = Bench::new(1, settings());
    let publisher = bench.connect(0, BUS);
    let publish = |bench: &mut Bench, number: usize| {
        let payload = format!("[{number},\"{}\"]", "x".repeat(60_000));
        publisher.say(format!("PUB room.kept.1 {}\r\n{payload}\r\n", payload.len()));
        bench.run_for(SECOND / 100);
    };
    (0..KEPT).for_each(|number| publish(&mut bench, number));
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    client
        .say(&[json!({"id": 2, "subscribe": {"channel": "room.kept.1", "recover": true, "epoch": "_", "offset": 1}})]);
    bench.run_for(SECOND / 10);
    // It reads nothing until what it was to get has gone.
    (KEPT..4 * KEPT).for_each(|number| publish(&mut bench, number));
    let mut said = Vec::new();
    for _ in 0..100 {
        said.extend(client.texts());
        bench.run_for(SECOND / 100);
    }
    let reply = &said[0]["subscribe"];
    assert_eq!((&reply["was_recovering"], &reply["recovered"]), (&json!(true), &Value::Null));
    assert_eq!(
        (&reply["data"]["gap"]["reason"], &reply["publications"][0]["data"][0]),
        (&json!("malformed"), &json!(0))
    );
    let ends: Vec<&Value> =
        said.iter().map(|said| &said["push"]["unsubscribe"]["code"]).filter(|code| !code.is_null()).collect();
    assert_eq!(ends, [&json!(2500)]);
    let offsets: Vec<u64> = said.iter().filter_map(|said| said["push"]["pub"]["offset"].as_u64()).collect();
    assert!(offsets.is_sorted() && offsets.first().is_none_or(|first| *first <= KEPT as u64), "{offsets:?}");
}
