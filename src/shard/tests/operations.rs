//! Messages and commands over the admin listener: what each does, and what its request is answered.

use serde_json::{Value, json};

use super::*;

const USER: &str = "/api/users/ann";

fn settings() -> Settings {
    let mut settings = super::settings();
    let user = Some(UserField::Query("user".into()));
    let target = WebSocketRoute { user, control: true, ..WebSocketRoute::default() };
    add_routes(&mut settings, [route("/asked", RouteTarget::WebSocket(target))]);
    settings
}

fn say(operator: &Peer, path: &str, headers: &str, body: &str) {
    operator.say(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()));
}

/// The status and the body of the one answer that has come.
fn heard(operator: &mut Peer) -> (u16, Value) {
    let heard = operator.hear();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {heard:?}"));
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    (head[9..12].parse().expect("a status"), serde_json::from_str(body).expect("JSON"))
}

fn operate(bench: &mut Bench, operator: &mut Peer, path: &str, body: &str) -> (u16, Value) {
    say(operator, path, "", body);
    bench.run_for(SECOND / 10);
    heard(operator)
}

/// The ids of the connections of ann, as the admin listener has them.
fn ids(bench: &mut Bench, operator: &mut Peer) -> Vec<String> {
    operator.say(format!("GET {USER} HTTP/1.1\r\nHost: a\r\n\r\n"));
    bench.run_for(SECOND / 10);
    let (_, found) = heard(operator);
    let ids = found["connected"].as_array().expect("a list").iter();
    ids.map(|conn| conn["conn"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_message_says_how_many_connections_it_reaches_wherever_they_are() {
    for shards in 1..=3 {
        for own in 0..shards {
            let mut bench = Bench::new(shards, settings());
            let mut operator = bench.connect(own, ADMIN);
            assert_eq!(operate(&mut bench, &mut operator, USER, "early").0, 404);
            let mut tabs: Vec<Peer> = (0..shards + 1).map(|tab| bench.open(tab % shards, "/echo?user=ann")).collect();
            let mut other = bench.open(0, "/echo?user=bob");
            let answer = operate(&mut bench, &mut operator, USER, "hello");
            assert_eq!(answer, (200, json!({ "connections": shards + 1 })));
            tabs.iter_mut().for_each(|tab| assert_eq!(tab.hear().matches("hello").count(), 1));
            let one = ids(&mut bench, &mut operator).remove(0);
            let answer = operate(&mut bench, &mut operator, &format!("/api/connections/{one}"), "you");
            assert_eq!(answer, (200, json!({ "connections": 1 })));
            assert_eq!(tabs.iter_mut().map(|tab| tab.hear().matches("you").count()).sum::<usize>(), 1);
            assert!(!other.hear().contains("hello"));
        }
    }
}

#[test]
fn a_worker_that_watches_everything_is_no_connection_of_the_user() {
    let mut bench = Bench::new(2, settings());
    let mut worker = bench.connect(1, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB > 1\r\n");
    let mut operator = bench.connect(0, ADMIN);
    bench.run_for(SECOND / 10);
    assert_eq!(operate(&mut bench, &mut operator, USER, "hello").0, 404);
    assert!(worker.hear().contains("MSG tg.user.ann 1 5\r\nhello"));
    drop(worker);
    bench.run_for(SECOND);
    let _tab = bench.open(0, "/echo?user=ann");
    assert_eq!(operate(&mut bench, &mut operator, USER, "hello"), (200, json!({ "connections": 1 })));
}

#[test]
fn a_command_is_obeyed_before_it_is_answered() {
    for own in 0..2 {
        let mut bench = Bench::new(2, settings());
        let mut operator = bench.connect(own, ADMIN);
        let mut tab = bench.open(1, "/echo?user=ann");
        let conn = format!("/api/connections/{}", ids(&mut bench, &mut operator).remove(0));
        let one = (200, json!({ "connections": 1 }));
        for to in [USER, &conn] {
            for (channel, is_subscribed) in [("news", true), ("tg.user.bob", false), ("two words", false), ("", false)]
            {
                let answer = operate(&mut bench, &mut operator, &format!("{to}/subscribe"), channel);
                let expected = if is_subscribed { one.clone() } else { (400, answer.1.clone()) };
                assert_eq!(answer, expected, "{to} {channel}");
                assert!(is_subscribed || answer.1["error"].is_string());
            }
            operate(&mut bench, &mut operator, "/api/channels/news", "extra");
            assert_eq!(tab.hear().matches("extra").count(), 1, "{to}");
            assert_eq!(operate(&mut bench, &mut operator, &format!("{to}/unsubscribe"), "news"), one);
            operate(&mut bench, &mut operator, "/api/channels/news", "late");
            assert_eq!(tab.hear(), "", "{to}");
        }
        for number in 0..limits::CHANNELS_PER_CONNECTION_MAX {
            operate(&mut bench, &mut operator, &format!("{USER}/subscribe"), &format!("news.{number}"));
        }
        assert_eq!(operate(&mut bench, &mut operator, &format!("{conn}/subscribe"), "more").0, 409);
        assert_eq!(operate(&mut bench, &mut operator, &format!("{conn}/dance"), "").0, 404);
    }
}

#[test]
fn a_close_says_whether_to_come_again() {
    for (payload, reason, code) in [
        ("", CloseReason::ClosedByWorker, 1000),
        ("reconnect", CloseReason::SentBack, 1001),
        ("kick", CloseReason::Kicked, 3003),
    ] {
        for by_user in [true, false] {
            let mut bench = Bench::new(2, settings());
            let mut operator = bench.connect(0, ADMIN);
            let tab = bench.open(1, "/echo?user=ann");
            let id = ids(&mut bench, &mut operator).remove(0);
            let to = if by_user { USER.to_owned() } else { format!("/api/connections/{id}") };
            assert_eq!(operate(&mut bench, &mut operator, &format!("{to}/close"), "begone").0, 400);
            assert_eq!(bench.census(1).subscriptions, 1, "it stays");
            let answer = operate(&mut bench, &mut operator, &format!("{to}/close"), payload);
            assert_eq!(answer, (200, json!({ "connections": 1 })));
            assert_eq!(bench.closed(1, reason), 1);
            let mut bytes = Vec::new();
            let _ = tab.end.read(&mut bytes);
            let at = bytes.iter().rposition(|byte| *byte == 0x88).expect("a close frame");
            assert_eq!(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]), code);
            drop(tab);
            bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
            assert_eq!(operate(&mut bench, &mut operator, &format!("{to}/close"), payload).0, 404);
        }
    }
}

#[test]
fn a_stream_that_is_kicked_is_told_for_good_and_one_that_is_sent_back_when_to_come() {
    for (payload, words) in [("kick", "event: tg.end\ndata: {\"reason\":\"kicked\"}"), ("reconnect", "retry: ")] {
        let mut bench = Bench::new(1, settings());
        let mut operator = bench.connect(0, ADMIN);
        let mut stream = bench.open(0, "/sse/1");
        let id = super::commands::id_of_last(&bench, 0);
        let answer = operate(&mut bench, &mut operator, &format!("/api/connections/{id}/close"), payload);
        assert_eq!(answer.0, 200);
        let heard = stream.hear();
        assert!(heard.contains(words) && stream.has_last_chunk(), "{heard}");
    }
}

#[test]
fn a_question_is_answered_by_its_client_or_with_the_reason_why_not() {
    for own in 0..2 {
        let mut bench = Bench::new(2, settings());
        let mut operator = bench.connect(own, ADMIN);
        let question = format!("{USER}/question");
        let _deaf = bench.open(0, "/echo?user=ann");
        assert_eq!(operate(&mut bench, &mut operator, &question, "{}").0, 404, "none can answer");
        let mut tab = bench.open(1, "/asked?user=ann");
        say(&operator, &question, "Tg-Timeout: soon\r\n", "{}");
        bench.run_for(SECOND / 10);
        assert_eq!(heard(&mut operator).0, 400);
        say(&operator, &question, "Tg-Timeout: 5000\r\n", "{\"ride\":7}");
        bench.run_for(SECOND);
        assert_eq!(operator.hear(), "", "it waits");
        let asked = tab.hear();
        let (_, rest) = asked.split_once("\"id\":\"").expect("a question");
        tab.say(text(format!("{{\"tg\":\"answer\",\"id\":\"{}\",\"data\":[1]}}", &rest[..16]).as_bytes()));
        bench.run_for(SECOND / 10);
        let answer = operator.hear();
        let id = super::commands::id_of_last(&bench, 1);
        assert!(answer.contains(&format!("\r\nTg-Conn: {id}\r\nTg-User: ann\r\nTg-User-Name: ann\r\n")), "{answer}");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n[1]"), "{answer}");
        say(&operator, &question, "Tg-Timeout: 20000\r\n", "{}");
        bench.run_for(19 * SECOND);
        assert_eq!(operator.hear(), "", "longer than any other answer");
        bench.run_for(2 * SECOND);
        assert_eq!(heard(&mut operator).0, 504);
        say(&operator, &question, "", "{}");
        bench.run_for(SECOND / 10);
        drop(tab);
        bench.run_for(SECOND);
        assert_eq!(heard(&mut operator).0, 410);
        assert_eq!(operate(&mut bench, &mut operator, USER, "hi").0, 200, "the connection goes on");
    }
}

#[test]
fn a_message_to_acknowledge_is_answered_with_its_outcome() {
    let mut bench = Bench::new(2, settings());
    let mut operator = bench.connect(0, ADMIN);
    say(&operator, USER, "Tg-Ack: never\r\n", "seat");
    bench.run_for(SECOND / 10);
    assert_eq!(heard(&mut operator).0, 400);
    say(&operator, USER, "Tg-Ack: 3600\r\n", "seat");
    bench.run_for(600 * SECOND);
    assert_eq!(operator.hear(), "", "it waits for a connection");
    let mut tab = bench.open(1, "/asked?user=ann");
    bench.run_for(10 * SECOND);
    let message = tab.hear();
    let (_, rest) = message.split_once("{\"tg\":\"message\",\"id\":\"").expect("the message");
    tab.say(text(format!("{{\"tg\":\"ack\",\"id\":\"{}\"}}", &rest[..16]).as_bytes()));
    bench.run_for(SECOND);
    assert_eq!(heard(&mut operator), (200, json!({ "acknowledged": true })));
    say(&operator, USER, "Tg-Ack: 20\r\n", "seat");
    bench.run_for(30 * SECOND);
    assert_eq!(heard(&mut operator).0, 504);
}

#[test]
fn an_operator_that_leaves_takes_nobodys_answer() {
    let mut bench = Bench::new(2, settings());
    let operator = bench.connect(0, ADMIN);
    let mut tab = bench.open(1, "/asked?user=ann");
    say(&operator, &format!("{USER}/question"), "", "{}");
    bench.run_for(SECOND / 10);
    operator.end.reset();
    bench.run_for(SECOND / 10);
    let mut next = bench.connect(0, ADMIN);
    let asked = tab.hear();
    let (_, rest) = asked.split_once("\"id\":\"").expect("a question");
    tab.say(text(format!("{{\"tg\":\"answer\",\"id\":\"{}\",\"data\":[1]}}", &rest[..16]).as_bytes()));
    bench.run_for(SECOND);
    assert_eq!(next.hear(), "");
    assert_eq!(operate(&mut bench, &mut next, USER, "hi").0, 200);
}

#[test]
fn a_worker_cannot_answer_for_the_gateway() {
    let mut bench = Bench::new(1, settings());
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    let mut operator = bench.connect(0, ADMIN);
    let _tab = bench.open(0, "/asked?user=ann");
    say(&operator, &format!("{USER}/question"), "", "{}");
    bench.run_for(SECOND / 10);
    let id = conn_id(bench.core(0), Key { slot: 1, generation: 1 });
    worker.hear();
    for line in [
        format!("PUB tg.reply.{id} 2\r\nno\r\n"),
        format!("PUB tg.user.ann.close tg.reply.{id} 0\r\n\r\n"),
        format!("SUB tg.reply.{id} 7\r\n"),
        "SUB tg.reply.* 8\r\n".to_owned(),
    ] {
        worker.say(line.as_str());
        bench.run_for(SECOND / 10);
        let heard = worker.hear();
        assert!(heard.starts_with("-ERR 'Permissions Violation for "), "{line}: {heard}");
    }
    assert_eq!(operator.hear(), "");
}
