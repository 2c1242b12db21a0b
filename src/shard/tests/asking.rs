//! Permissions that ask the application: clients wait for its answer, one question is asked for all, and without an answer nothing is
//! allowed.

use serde_json::{Value, json};

use super::centrifuge::{Client, NOW, worker};
use super::proven::{close_code, signed};
use super::*;
use crate::conn::auth::{Auth, AuthBy, Auths};
use crate::conn::decisions::{DecidedBy, Decider, DecisionOutcome};
use crate::conn::forward_auth::{ForwardAuth, ForwardBy};
use crate::proto::channel::{Rule, Rules};
use crate::proto::permission::{DeciderId, PermissionText, Permissions, Right};
use crate::proto::reserved::subjects;
use crate::proto::subject::Pattern;

const SUBJECT: &str = "tg.authorize.rooms";
const YES: &str = "{\"allow\":true}";
const NO: &str = "{\"allow\":false}";

/// The service `rooms` decides about rooms, and about what is `own`.
fn settings() -> Settings {
    let all = [Right::Hear, Right::Publish, Right::History, Right::Watch];
    let rule = |channels: &str| PermissionText {
        channels: vec![channels.to_owned()],
        rights: all.to_vec(),
        required: Vec::new(),
        decider: Some(DeciderId(0)),
    };
    let permissions = Permissions::new(&[rule("room.>"), rule("own.>")]).expect("patterns");
    let present = Rule { has_presence: true, ..Rule::default() };
    with(super::proven::settings(), |generation| {
        generation.permissions = permissions;
        generation.deciders = [Decider {
            by: DecidedBy::Workers(subjects::authorize("rooms").unwrap()),
            timeout: 2 * SECOND,
            kept: 10 * SECOND,
        }]
        .into();
        generation.channels = Arc::new(Rules::new([(Pattern::new("room.*").unwrap(), present)]));
    })
}

fn path(path: &str, name: &str) -> String {
    format!("{path}?token={}", signed(&json!({"sub": name, "exp": NOW + 600})))
}

fn ask(bench: &mut Bench, shard: u16, path: &str) -> Peer {
    let mut peer = bench.connect(shard, 0);
    peer.say(request(path));
    bench.run_for(SECOND / 10);
    assert_eq!(peer.hear(), "", "it waits");
    peer
}

/// The questions that a worker has heard: the reply subject of each, and its document.
fn questions(worker: &mut Peer) -> Vec<(String, Value)> {
    let heard = worker.hear();
    let lines: Vec<&str> = heard.lines().collect();
    let question = |pair: &[&str]| {
        let words: Vec<&str> = pair[0].split(' ').collect();
        assert_eq!(words[..3], ["MSG", SUBJECT, "1"]);
        (words[3].to_owned(), serde_json::from_str(pair[1]).expect("JSON"))
    };
    lines.chunks(2).map(question).collect()
}

fn answer(bench: &mut Bench, worker: &Peer, reply: &str, document: &str) {
    worker.say(format!("PUB {reply} {}\r\n{document}\r\n", document.len()));
    bench.run_for(SECOND / 10);
}

/// Answers the only question, and returns its document.
fn decide(bench: &mut Bench, worker: &mut Peer, document: &str) -> Value {
    let [(reply, question)] = &questions(worker)[..] else { panic!("there is one question") };
    answer(bench, worker, reply, document);
    question.clone()
}

fn count(bench: &Bench, shard: usize, outcome: DecisionOutcome) -> u64 {
    bench.core(shard).desk.settings.decisions.count(0, outcome)
}

fn assert_none_waits(bench: &Bench) {
    for shard in 0..bench.shards.len() {
        let Census { deciding, open_decisions, arriving_bytes, .. } = bench.census(shard);
        assert_eq!((deciding, open_decisions, arriving_bytes), (0, 0, 0), "shard {shard}");
    }
}

#[test]
fn a_stream_waits_until_the_application_has_decided_and_the_answer_is_remembered() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    for (shard, name, document, status) in [(0, "ann", YES, 200), (1, "bob", NO, 403)] {
        let mut peer = ask(&mut bench, shard, &path("/sse/in/7", name));
        let question = decide(&mut bench, &mut worker, document);
        assert_eq!(question, json!({"right": "hear", "channel": "room.7", "user": name}));
        let heard = peer.hear();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
        assert_eq!(heard.contains("error=\"insufficient_scope\""), status == 403);
        // The next one is not asked, for ten seconds.
        let again = |bench: &mut Bench| {
            let mut peer = bench.connect(shard, 0);
            peer.say(request(&path("/sse/in/7", name)));
            bench.run_for(SECOND / 10);
            peer.hear()
        };
        assert!(again(&mut bench).starts_with(&format!("HTTP/1.1 {status} ")));
        bench.run_for(10 * SECOND);
        assert_eq!(again(&mut bench), "");
        decide(&mut bench, &mut worker, document);
    }
    let counted = |outcome| (count(&bench, 0, outcome), count(&bench, 1, outcome));
    assert_eq!((counted(DecisionOutcome::Allowed), counted(DecisionOutcome::Denied)), ((2, 0), (0, 2)));
    assert_eq!(counted(DecisionOutcome::Remembered), (1, 1));
    assert_none_waits(&bench);
}

#[test]
fn a_websocket_is_asked_about_once_for_both_of_its_rights() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    for (name, hear, publish) in [("ann", YES, YES), ("bob", YES, NO), ("eve", NO, YES)] {
        let mut peer = ask(&mut bench, 0, &path("/in/7", name));
        let asked = questions(&mut worker);
        assert_eq!(asked.iter().map(|(_, asked)| &asked["right"]).collect::<Vec<_>>(), ["hear", "publish"]);
        answer(&mut bench, &worker, &asked[1].0, publish);
        assert_eq!(peer.hear(), "", "it waits for both");
        answer(&mut bench, &worker, &asked[0].0, hear);
        if hear == NO {
            assert!(peer.hear().starts_with("HTTP/1.1 403 "));
            continue;
        }
        assert!(peer.hear().starts_with("HTTP/1.1 101 "));
        peer.say(text(b"hello"));
        bench.run_for(SECOND / 10);
        assert_eq!(close_code(&peer.hear_bytes()), (publish == NO).then_some(1008), "{name}");
    }
    assert_none_waits(&bench);
}

#[test]
fn commands_wait_in_their_order_and_one_question_is_asked_for_all() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    let (mut one, _) = Client::connected(&mut bench, &path("/protocol", "ann"), json!({}));
    let (mut other, _) = Client::connected(&mut bench, &path("/protocol", "ann"), json!({}));
    let commands = [
        json!({"id": 2, "subscribe": {"channel": "room.7", "join_leave": true}}),
        json!({"id": 3, "publish": {"channel": "room.7", "data": {"a": 1}}}),
        json!({"id": 4, "presence": {"channel": "room.7"}}),
        json!({"id": 5, "subscribe": {"channel": "elsewhere"}}),
    ];
    one.say(&commands);
    other.say(&commands[..1]);
    bench.run_for(SECOND / 10);
    let mut rights = Vec::new();
    for document in [YES, NO, NO] {
        assert!(rights.len() == 2 || one.texts().is_empty(), "no later command is answered before it");
        let question = decide(&mut bench, &mut worker, document);
        rights.push(question["right"].as_str().unwrap().to_owned());
    }
    // Joins and leaves are asked for by the subscription; the command after it is asked with the same right.
    assert_eq!(rights, ["hear", "presence", "publish"]);
    let said = one.texts();
    let code =
        |id: u64| said.iter().find(|said| said["id"] == id).map(|said| said["error"]["code"].as_u64().unwrap_or(0));
    assert_eq!([code(2), code(3), code(4), code(5)], [Some(0), Some(103), Some(103), Some(103)], "{said:?}");
    assert_eq!(other.texts().iter().filter(|said| said["subscribe"].is_object()).count(), 1);
    assert_eq!(bench.closed(0, CloseReason::NotPermitted), 3);
    assert_none_waits(&bench);
}

#[test]
fn what_a_route_subscribes_a_client_to_is_asked_when_it_connects() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    for (document, code) in [(YES, None), (NO, Some(103)), ("nonsense", Some(100))] {
        let mut client = Client::open(&mut bench, "/connect/ann");
        let token = signed(&json!({"sub": code.map_or("ann".to_owned(), |code| code.to_string()), "exp": NOW + 600}));
        client.say(&[json!({"id": 1, "connect": {"token": token}})]);
        bench.run_for(SECOND / 10);
        assert!(client.texts().is_empty());
        assert_eq!(decide(&mut bench, &mut worker, document)["channel"], "own.ann");
        let answer = client.texts().remove(0);
        assert_eq!(answer["error"]["code"].as_u64(), code, "{answer}");
        assert_eq!(answer["connect"]["subs"]["own.ann"].is_object(), code.is_none(), "{answer}");
        assert_eq!(answer["error"]["temporary"].as_bool(), (code == Some(100)).then_some(true));
    }
    assert_none_waits(&bench);
}

#[test]
fn without_an_answer_nothing_is_allowed() {
    let mut bench = Bench::new(1, settings());
    // An EventSource gives up after any status but 200.
    let is_unavailable = |heard: &str| heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("retry: 5000\n\n");
    let at_once = |bench: &mut Bench| {
        let mut peer = bench.connect(0, 0);
        peer.say(request(&path("/sse/in/7", "ann")));
        bench.run_for(SECOND / 10);
        peer.hear()
    };
    let heard = at_once(&mut bench);
    assert!(is_unavailable(&heard), "no worker: {heard}");
    let mut peer = bench.connect(0, 0);
    peer.say(request(&path("/in/7", "ann")));
    bench.run_for(SECOND / 10);
    let heard = peer.hear();
    assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("Retry-After: 5\r\n"), "{heard}");
    let mut worker = worker(&mut bench, SUBJECT);
    for document in ["", "yes", "{\"allow\":1}"] {
        let mut peer = ask(&mut bench, 0, &path("/sse/in/7", "ann"));
        decide(&mut bench, &mut worker, document);
        assert!(is_unavailable(&peer.hear()), "{document}");
    }
    // One that comes too late decides nothing, and neither does one that was not asked for.
    let mut peer = ask(&mut bench, 0, &path("/sse/in/7", "ann"));
    let asked = questions(&mut worker);
    bench.run_for(2 * SECOND);
    assert!(is_unavailable(&peer.hear()));
    answer(&mut bench, &worker, &asked[0].0, YES);
    let mut peer = ask(&mut bench, 0, &path("/sse/in/7", "ann"));
    answer(&mut bench, &worker, &asked[0].0, YES);
    answer(&mut bench, &worker, "tg.decision.0000000000000000ff", YES);
    answer(&mut bench, &worker, "tg.decision.x", YES);
    assert_eq!(peer.hear(), "");
    decide(&mut bench, &mut worker, NO);
    assert!(peer.hear().starts_with("HTTP/1.1 403 "));
    let counted = [DecisionOutcome::Unreachable, DecisionOutcome::TooSlow, DecisionOutcome::Unreadable];
    assert_eq!(counted.map(|outcome| count(&bench, 0, outcome)), [3, 1, 3]);
    assert_eq!(bench.closed(0, CloseReason::Undecided), 6);
    assert_none_waits(&bench);
}

#[test]
fn a_rush_asks_once_and_what_is_too_much_is_refused() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    let more = 3;
    let mut peers = Vec::new();
    for _ in 0..limits::CHECKS_WAITING_MAX + more {
        let peer = bench.connect(0, 0);
        peer.say(request("/sse/7"));
        bench.run_for(Duration::from_micros(200));
        peers.push(peer);
    }
    let mut refused = peers.split_off(limits::CHECKS_WAITING_MAX);
    assert!(refused.iter_mut().all(|peer| peer.hear().ends_with("retry: 5000\n\n")));
    peers.remove(0).end.reset();
    bench.run_for(SECOND / 10);
    assert_eq!(bench.census(0).deciding, peers.len());
    assert_eq!(decide(&mut bench, &mut worker, YES), json!({"right": "hear", "channel": "room.7"}));
    bench.run_for(SECOND / 10);
    assert!(peers.iter_mut().all(|peer| peer.hear().starts_with("HTTP/1.1 200 ")));
    assert_eq!(count(&bench, 0, DecisionOutcome::Busy), more as u64);
    assert_eq!(count(&bench, 0, DecisionOutcome::Allowed), 1);
    assert_none_waits(&bench);
}

#[test]
fn clients_that_come_and_go_while_one_is_waited_for_are_not_kept() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    let mut stays = ask(&mut bench, 0, "/sse/7");
    let opened = bench.world.now();
    let mut gone = 0;
    while bench.world.now().since(opened) < SECOND {
        let peers: Vec<Peer> = (0..20).map(|_| bench.connect(0, 0)).collect();
        peers.iter().for_each(|peer| peer.say(request("/sse/7")));
        bench.run_for(Duration::from_millis(2));
        gone += peers.len();
        peers.into_iter().for_each(|peer| peer.end.reset());
        bench.run_for(Duration::from_millis(1));
    }
    assert!(gone > limits::CHECKS_WAITING_MAX, "{gone} have gone");
    assert_eq!((bench.census(0).deciding, bench.census(0).open_decisions), (1, 1));
    decide(&mut bench, &mut worker, YES);
    assert!(stays.hear().starts_with("HTTP/1.1 200 "));
    assert_none_waits(&bench);
}

#[test]
fn a_client_that_goes_and_a_gateway_that_drains_leave_no_question_behind() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    ask(&mut bench, 0, &path("/sse/in/7", "ann")).end.reset();
    let (client, _) = Client::connected(&mut bench, &path("/protocol", "ann"), json!({}));
    client.say(&[json!({"id": 2, "subscribe": {"channel": "room.8"}})]);
    bench.run_for(SECOND / 10);
    client.reset();
    bench.run_for(SECOND / 10);
    assert_eq!((bench.census(0).deciding, bench.census(0).open_decisions), (0, 2));
    for (reply, _) in questions(&mut worker) {
        answer(&mut bench, &worker, &reply, YES);
    }
    assert_none_waits(&bench);
    let mut late = ask(&mut bench, 0, &path("/sse/in/9", "ann"));
    bench.drain();
    bench.run_for(SECOND);
    decide(&mut bench, &mut worker, YES);
    bench.run_for(40 * SECOND);
    assert!(late.hear().starts_with("HTTP/1.1 "), "it has an answer");
    assert!(bench.is_over());
}

#[test]
fn a_revocation_of_a_user_forgets_what_was_decided_about_it() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, SUBJECT);
    for name in ["ann", "bob"] {
        ask(&mut bench, 1, &path("/sse/in/7", name));
        decide(&mut bench, &mut worker, YES);
    }
    let revocation = json!({"user": "ann", "issued_before": NOW}).to_string();
    answer(&mut bench, &worker, "tg.revoke", &revocation);
    let late = signed(&json!({"sub": "ann", "exp": NOW + 600, "iat": NOW + 1}));
    ask(&mut bench, 1, &format!("/sse/in/7?token={late}"));
    decide(&mut bench, &mut worker, NO);
    assert!(bench.open(1, &path("/sse/in/7", "bob")).hear().is_empty());
}

// --- which user a client is ---------------------------------------------------------------------------------------------

/// The workers of `login` know the sessions of clients; nothing is asked about rooms.
fn login_settings() -> Settings {
    let forward = ForwardAuth {
        by: ForwardBy::Workers(subjects::authorize("login").unwrap()),
        send: vec!["Cookie".into(), "X-Device".into()],
        copy: vec!["X-Groups".into()],
        user: "X-User".into(),
        timeout: SECOND,
        ttl_s: 60,
    };
    with(super::proven::settings(), |generation| {
        generation.auths = Auths::new(vec![Auth { name: "login".into(), by: AuthBy::Forward(Box::new(forward)) }]);
    })
}

fn login(bench: &mut Bench, lines: &str) -> Peer {
    let peer = bench.connect(0, 0);
    peer.say(format!("GET /sse/in/%37?a=b HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    bench.run_for(SECOND / 10);
    peer
}

#[test]
fn a_worker_says_which_user_a_client_is() {
    let mut bench = Bench::new(2, login_settings());
    let mut worker = worker(&mut bench, "tg.authorize.login");
    let lines = "Cookie: sid=1\r\ncookie: b=2\r\nx-device: d\r\nAuthorization: Basic eDp5\r\n";
    let mut peer = login(&mut bench, lines);
    let heard = worker.hear();
    let (line, document) = heard.split_once("\r\n").expect("a question");
    let reply = line.split(' ').nth(3).unwrap().to_owned();
    let asked: Value = serde_json::from_str(document).expect("JSON");
    assert_eq!(asked["id"].as_str().map(str::len), Some(18), "{asked}");
    let expected = json!({"right": "connect", "method": "GET", "uri": "/sse/in/7?a=b", "host": "a", "proto": "http",
        "address": "10.0.0.2", "id": asked["id"], "fields": {"Cookie": "sid=1; b=2", "X-Device": "d"}});
    assert_eq!((&asked, peer.hear().as_str()), (&expected, ""));
    answer(&mut bench, &worker, &reply, "{\"allow\":true,\"user\":\"ann\",\"ttl_s\":30}");
    assert!(peer.hear().starts_with("HTTP/1.1 200 "));
    // Its time is over as a token's.
    bench.run_for(Duration::from_secs(31));
    assert!(peer.is_at_end());
    assert_none_waits(&bench);
}

#[test]
fn a_worker_that_refuses_or_says_nothing_lets_no_client_in() {
    let mut bench = Bench::new(1, login_settings());
    assert!(login(&mut bench, "").hear().ends_with("retry: 5000\n\n"), "there is no worker");
    let mut worker = worker(&mut bench, "tg.authorize.login");
    for (document, status) in [
        ("{\"allow\":false}", Some("403")),
        ("{\"allow\":false,\"status\":401}", Some("401")),
        ("{\"allow\":true}", None),
        ("nonsense", None),
    ] {
        let mut peer = login(&mut bench, "");
        let heard = worker.hear();
        answer(&mut bench, &worker, heard.split(' ').nth(3).unwrap(), document);
        let heard = peer.hear();
        match status {
            Some(status) => assert_eq!(heard[9..12], *status, "{document}: {heard}"),
            None => assert!(heard.ends_with("retry: 5000\n\n"), "{document}: {heard}"),
        }
    }
    let mut late = login(&mut bench, "");
    bench.run_for(SECOND);
    assert!(late.hear().ends_with("retry: 5000\n\n"));
    let heard = worker.hear();
    answer(&mut bench, &worker, heard.split(' ').nth(3).unwrap(), "{\"allow\":true,\"user\":\"ann\"}");
    login(&mut bench, "").end.reset();
    bench.run_for(SECOND / 10);
    assert_eq!((bench.census(0).deciding, bench.census(0).open_decisions), (0, 1));
    let heard = worker.hear();
    answer(&mut bench, &worker, heard.split(' ').nth(3).unwrap(), "{\"allow\":true,\"user\":\"ann\"}");
    assert_none_waits(&bench);
}
