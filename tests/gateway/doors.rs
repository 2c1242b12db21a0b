//! What means nothing at the doors of presence, questions, acknowledgements, accepted requests, positions and the client protocol:
//! each gets a clear word, costs at most the connection it came by, and leaves nothing open.

use std::io::Read;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tidegate::conn::Door;
use tidegate::gateway::Gateway;
use tidegate::proto::ws::Opcode;
use tungstenite::{Message, WebSocket};

use crate::events::Events;
use crate::hostile::expect_close;
use crate::peers::*;
use crate::support::*;

const DOORS: &str = r#"
[[channel]]
name = "room.*"
presence = true
presence_grace_s = 0
history = { messages = 5 }

[[route]]
path = "/control"
websocket = { control = true, user = { query = "user", unverified = true } }

[[route]]
path = "/desk"
websocket = { protocol = "centrifuge-json", service = "desk", channels = "room.*", publish_to = "room.*", user = { query = "user", unverified = true } }

[[route]]
path = "/jobs"
accept = { service = "jobs", user = { header = "X-User", unverified = true } }

[limits]
payload_bytes_max = 100000
"#;

/// A nesting that no reader of ours follows to its end.
fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Other connections hear nothing of all that, and the gateway is well.
pub fn expect_health(gateway: &Gateway) {
    let answer = ask(admin(gateway), "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    expect_nobody(gateway);
    for name in ["questions_open", "unacked", "present"] {
        await_that(&format!("no {name}"), || metric(gateway, name) == 0);
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

pub fn expect_status(what: &str, address: SocketAddr, request: impl AsRef<[u8]>, status: u16) {
    let answer = Raw::connect(address).send(request).read_all();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what} got {answer}");
}

#[test]
fn what_no_operator_means_is_refused() {
    on_both_drivers(DOORS, |gateway| {
        let (long, many) = ("x".repeat(300), vec!["a"; 40].join("."));
        let far = "9".repeat(30);
        for path in [
            "users/",
            "users/%00",
            "users/%ff%fe",
            "users/%",
            "users/%zz",
            "users/%2e%2e",
            &format!("users/{long}"),
            "channels//presence",
            "channels/room.*/presence",
            "channels/tg.user.ann/presence",
            "channels/room..1/presence",
            &format!("channels/{many}/presence"),
            "channels/room.1/history?limit=-1",
            "channels/room.1/history?limit=many",
            &format!("channels/room.1/history?limit={far}"),
            "channels/room.1/history?since=",
            &format!("channels/room.1/history?since={far}"),
            "channels/room.1/history?since=%ff",
            "channels/room.1/history?limit=1&limit=2",
            "channels/room.1/history?limit=1&%6cimit=1",
        ] {
            expect_status(path, admin(gateway), get(&format!("/api/{path}")), 400);
        }
        expect_status("a long path", admin(gateway), get(&format!("/api/users/{}", "x".repeat(9_000))), 414);
        expect_status("a user with a slash", admin(gateway), get("/api/users/a%2Fb"), 200);
        expect_status("a way below a user", admin(gateway), get("/api/users/ann/x"), 404);
        expect_health(gateway);
    });
}

#[test]
fn a_name_that_is_not_utf8_is_nobody_elses() {
    const REST: &str = "Host: a\r\nConnection: close\r\nContent-Length: 1\r\n";
    on_both_drivers(DOORS, |gateway| {
        for name in [&b"\xff"[..], b"\xfe", b"Ren\xe9"] {
            for (address, head) in [
                (front(gateway), "POST /jobs HTTP/1.1\r\nX-User: "),
                (front(gateway), "POST /jobs HTTP/1.1\r\nX-User: ann\r\nIdempotency-Key: "),
                (admin(gateway), "POST /api/channels/room.1 HTTP/1.1\r\nNats-Msg-Id: "),
            ] {
                let request = [head.as_bytes(), name, b"\r\n", REST.as_bytes(), b"\r\nx"].concat();
                expect_status(head, address, request, 400);
            }
        }
        let kept = ask(admin(gateway), &get("/api/channels/room.1/history"));
        assert!(kept.contains("\"messages\":[]"), "{kept}");
        expect_health(gateway);
    });
}

#[test]
fn what_a_client_says_of_its_request_is_the_bodys_and_no_header_of_ours() {
    on_both_drivers(DOORS, |gateway| {
        let mut worker = bus(gateway);
        worker.send("SUB tg.service.jobs workers 1\r\nPING\r\n").read_until("PONG\r\n");
        let forged =
            "Tg-User: root\r\nTg-Request: 1\r\nTg-Kind: close\r\nTg-Attempt: 9\r\nTg-Ack: 5\r\nNats-Msg-Id: a\r\n";
        let request = |fields: &str, body: &str| {
            format!(
                "POST /jobs?a=%0d%0aTg-User:%20root HTTP/1.1\r\nHost: a\r\nX-User: ann\r\nConnection: close\r\n{fields}\r\n{body}"
            )
        };
        expect_status("forged", front(gateway), request(&format!("{forged}Content-Length: 3\r\n"), "job"), 202);
        let heard = worker.read_until("\r\n\r\njob\r\n");
        for line in ["Tg-Kind: request", "Tg-User: ann", "Tg-Query: a=%0d%0aTg-User:%20root"] {
            assert!(heard.contains(&format!("\r\n{line}\r\n")), "no {line:?} in {heard}");
        }
        for line in ["Tg-User: root", "Tg-Request: 1", "Tg-Kind: close", "Tg-Attempt", "Tg-Ack", "Nats-Msg-Id"] {
            assert!(!heard.contains(&format!("\r\n{line}")), "{line:?} in {heard}");
        }
        let long = "x".repeat(100_001);
        for (fields, body, status) in [
            ("Content-Length: -1\r\n", "", 400),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", "xx", 400),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", "", 400),
            ("Content-Length: 100001\r\n", &long, 413),
            ("Transfer-Encoding: gzip\r\n", "", 400),
            ("Transfer-Encoding: chunked\r\n", "zz\r\n", 400),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabcX\r\n", 400),
            ("Transfer-Encoding: chunked\r\n", "fffffff\r\n", 413),
            ("Content-Length: 1\r\nContent-Type: a\r\nContent-Type: b\r\n", "x", 400),
            ("Content-Length: 1\r\nIdempotency-Key: \r\n", "x", 400),
            ("Content-Length: 1\r\nX-User: bob\r\n", "x", 400),
        ] {
            expect_status(fields, front(gateway), request(fields, body), status);
        }
        worker.send("PING\r\n");
        assert_eq!(worker.read_until("PONG\r\n"), "PONG\r\n", "none of them was a request");
        drop(worker);
        expect_health(gateway);
    });
}

#[test]
fn a_position_that_no_gateway_gave_is_a_gap_and_no_silence() {
    on_both_drivers(DOORS, |gateway| {
        let position = publish(gateway, "room.1", "", "kept");
        let (epoch, _) = position.split_once('-').expect("epoch and offset");
        let other_epoch = format!("{:08x}-1", !u32::from_str_radix(epoch, 16).unwrap());
        for (id, reason) in [
            ("0".to_owned(), "malformed"),
            ("x".repeat(9_000), "malformed"),
            (format!("{epoch}-"), "malformed"),
            (format!("{epoch}-+1"), "malformed"),
            (format!("{epoch}--1"), "malformed"),
            (format!("{epoch}-18446744073709551616"), "malformed"),
            (format!("{epoch}-18446744073709551615"), "future"),
            (format!("{position},{position}"), "malformed"),
            (",".repeat(500), "malformed"),
            ("\u{1F6A7}".to_owned(), "malformed"),
            (other_epoch, "epoch"),
        ] {
            let request = format!("GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n");
            let mut stream = Events::ask(gateway, &request);
            let heard = stream.read_until("data: kept\n\n");
            let gap =
                heard.split_once("event: tg.gap\ndata: ").unwrap_or_else(|| panic!("no gap after {id:?}: {heard}")).1;
            let gap: Value = serde_json::from_str(gap.lines().next().unwrap()).expect("JSON");
            let expected = json!({"channel": "room.1", "reason": reason, "first": position, "last": position});
            assert_eq!(gap, expected, "{id:?}");
        }
        let endless = [b"GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ".to_vec(), vec![b'9'; 10_000_000]].concat();
        expect_status("10 MB", front(gateway), endless, 431);
        expect_health(gateway);
    });
}

#[test]
fn a_position_that_is_said_twice_is_a_gap_and_no_refusal() {
    on_both_drivers(DOORS, |gateway| {
        let position = publish(gateway, "room.1", "", "kept");
        for (query, fields) in [
            (format!("?last_event_id={position}&last_event_id={position}"), String::new()),
            (format!("?last_event_id={position}&last%5fevent_id=0"), String::new()),
            (String::new(), format!("Last-Event-ID: {position}\r\nLast-Event-ID: {position}\r\n")),
        ] {
            let mut stream = Raw::connect(front(gateway));
            stream.send(format!("GET /sse/1{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let heard = stream.read_until("data: kept\n\n");
            assert!(heard.contains("event: tg.gap\n") && heard.contains("\"reason\":\"malformed\""), "{query} {heard}");
        }
    });
}

/// The replies to these commands, which are one frame.
fn replies(client: &mut WebSocket<Raw>, commands: &[String]) -> Vec<Value> {
    client.send(Message::text(commands.join("\n"))).unwrap();
    let mut replies = Vec::new();
    while replies.len() < commands.len() {
        let text = client.read().expect("a reply").into_text().expect("a text");
        replies.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    replies
}

fn desk(gateway: &Gateway) -> WebSocket<Raw> {
    let mut client = websocket(gateway, "/desk?user=ann");
    let connected = replies(&mut client, &[json!({"id": 1, "connect": {}}).to_string()]);
    assert!(connected[0]["connect"]["client"].is_string(), "{connected:?}");
    client
}

#[test]
fn what_is_no_command_disconnects_with_its_code() {
    let nested = deep(5_000);
    let commands = [
        "{",
        "[]",
        "null",
        "{\"id\":2}",
        "{\"id\":-2,\"ping\":{}}",
        "{\"id\":4294967296,\"ping\":{}}",
        "{\"id\":2.5,\"ping\":{}}",
        "{\"id\":\"2\",\"ping\":{}}",
        "{\"ping\":{}}",
        "{\"id\":2,\"dance\":{}}",
        "{\"id\":2,\"connect\":{}}",
        "{\"id\":2,\"subscribe\":{\"channel\":7}}",
        "{\"id\":2,\"subscribe\":{\"channel\":\"room.1\",\"recover\":\"yes\"}}",
        "{\"id\":2,\"subscribe\":{\"channel\":\"room.1\",\"offset\":-1}}",
        "{\"id\":2,\"subscribe\":{\"channel\":\"room.1\",\"offset\":18446744073709551616}}",
        "{\"id\":2,\"history\":{\"channel\":\"room.1\",\"limit\":2.5}}",
        "{\"id\":2,\"presence\":[[]]}",
        "{\"id\":2,\"ping\":{}}{\"id\":3,\"ping\":{}}",
        "{\"id\":2,\"ping\":{}}\0",
        &format!("{{\"id\":2,\"publish\":{{\"channel\":\"room.1\",\"data\":{nested}}}}}"),
        &format!("{{\"id\":2,\"rpc\":{{\"method\":\"tg.answer\",\"data\":{{\"id\":1,\"data\":{nested}}}}}}}"),
        &"{\"id\":2,\"ping\":{}}\n".repeat(3_000),
        &"\n".repeat(60_000),
    ];
    on_both_drivers(DOORS, |gateway| {
        let first = [(&b"{\"id\":1,\"subscribe\":{\"channel\":\"room.1\"}}"[..], 3501), (b"{}", 3501), (b"\xff", 1007)];
        for (bytes, code) in first {
            let mut peer = Raw::connect(front(gateway));
            peer.send(upgrade("/desk?user=ann")).read_until("\r\n\r\n");
            expect_close("before connect", peer.send(masked(Opcode::Text, bytes)), code);
        }
        for command in commands {
            let mut client = desk(gateway);
            client.send(Message::text(command)).unwrap();
            let mut heard = client.read();
            while let Ok(Message::Text(_)) = heard {
                heard = client.read();
            }
            let shown = &command[..command.len().min(80)];
            let Ok(Message::Close(Some(close))) = heard else { panic!("{shown:?} got {heard:?}") };
            assert_eq!(u16::from(close.code), 3501, "{shown:?}");
        }
        expect_health(gateway);
    });
}

#[test]
fn what_a_command_may_not_ask_is_answered_and_the_connection_goes_on() {
    let command = |id: usize, method: &str, parameters: Value| json!({"id": id, method: parameters}).to_string();
    on_both_drivers(DOORS, |gateway| {
        publish(gateway, "room.1", "", "1");
        let mut client = desk(gateway);
        let refused = [
            ("subscribe", json!({}), 107),
            ("subscribe", json!({"channel": "room.*"}), 107),
            ("subscribe", json!({"channel": "x".repeat(50_000)}), 107),
            ("subscribe", json!({"channel": "tg.user.bob"}), 103),
            ("publish", json!({"channel": "news", "data": 1}), 103),
            ("history", json!({"channel": "secret"}), 103),
            (
                "history",
                json!({"channel": "room.1", "limit": 3, "since": {"offset": 5, "epoch": "e".repeat(5_000)}}),
                112,
            ),
            ("history", json!({"channel": "room.new", "limit": 3, "since": {"offset": 5, "epoch": "e"}}), 112),
            ("presence", json!({"channel": "tg.user.bob"}), 103),
            ("refresh", json!({"token": "x"}), 108),
            ("rpc", json!({"method": "tg.answer"}), 108),
            ("rpc", json!({"method": "tg.answer", "data": 7}), 108),
            ("rpc", json!({"method": "tg.answer", "data": {"id": "ffffffffffffffff"}}), 108),
            ("rpc", json!({"method": "tg.ack"}), 108),
            ("rpc", json!({"method": "tg.ack", "data": {"id": ["0000000000000001"]}}), 108),
        ];
        for (method, parameters, code) in refused {
            let shown: String = parameters.to_string().chars().take(80).collect();
            let reply = replies(&mut client, &[command(2, method, parameters)]).remove(0);
            assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(2), &json!(code)), "{method} {shown}");
        }
        // More than can be kept is all that is kept.
        let all = command(2, "history", json!({"channel": "room.1", "limit": 99_999_999_999_999_u64}));
        let reply = replies(&mut client, &[all]).remove(0);
        assert!(reply["history"]["publications"].is_array(), "{reply}");
        // As many as one frame may hold; each is answered, though only so many channels may be had.
        let subscribe = |index: usize| command(index + 2, "subscribe", json!({"channel": format!("room.{index}")}));
        let answers = replies(&mut client, &(0..200).map(subscribe).collect::<Vec<_>>());
        let full = answers.iter().filter(|answer| answer["error"]["code"] == 106).count();
        assert_eq!(full, 200 - 128);
        let presence = |index: usize| command(index + 2, "presence", json!({"channel": format!("room.{index}")}));
        for round in 0..20 {
            let answers = replies(&mut client, &(0..200).map(presence).collect::<Vec<_>>());
            assert!(answers.iter().all(|answer| answer["presence"]["presence"].is_object()), "round {round}");
        }
        drop(client);
        expect_health(gateway);
    });
}

#[test]
fn words_to_the_gateway_that_mean_nothing_cost_nothing_and_too_many_answers_their_connection() {
    on_both_drivers(DOORS, |gateway| {
        let mut client = websocket(gateway, "/control?user=ann");
        let nested = format!("{{\"tg\":\"answer\",\"id\":\"{:016x}\",\"data\":{}}}", 1, deep(30_000));
        let numbers = format!("{{\"tg\":\"ack\",\"id\":{}}}", "9".repeat(30_000));
        for text in ["{\"tg\":\"ack\"}", "{\"tg\":\"answer\"}", "{\"tg\":\"answer\",\"id\":7}", &nested, &numbers] {
            client.send(Message::text(text)).unwrap();
        }
        for number in 0..10_000 {
            client.write(Message::text(format!("{{\"tg\":\"ack\",\"id\":\"{number:016x}\"}}"))).unwrap();
        }
        client.flush().unwrap();
        await_that("all are stray", || metric(gateway, "acks_stray_total") == 10_002);
        let stray = metric(gateway, "answers_stray_total");
        assert_eq!(stray, 3, "the client is there still");
        for _ in 0..10_000 {
            // The gateway closes on the way.
            _ = client.write(Message::text("{\"tg\":\"answer\",\"id\":\"0000000000000001\"}"));
        }
        _ = client.flush();
        let heard = client.read();
        let Ok(Message::Close(Some(close))) = heard else { panic!("{heard:?}") };
        assert_eq!(u16::from(close.code), 1008);
        assert!(metric(gateway, "answers_stray_total") < 200, "the rest is not read");
        for text in
            ["hello", "{\"tg\":\"dance\"}", "{\"tg\":\"ans", "{\"tg\":\"\\ud800\"}", "{\"tg\":\"ack\",\"tg\":\"ack\"}"]
        {
            let mut peer = Raw::connect(front(gateway));
            peer.send(upgrade("/control?user=ann")).read_until("\r\n\r\n");
            expect_close(text, peer.send(masked(Opcode::Text, text.as_bytes())), 1008);
        }
        drop(client);
        expect_health(gateway);
    });
}

/// A message of a worker, as it goes over the wire.
fn hpub(subject: &str, reply: &str, headers: &str, payload: &[u8]) -> Vec<u8> {
    let block = format!("NATS/1.0\r\n{headers}\r\n");
    let verb = format!("HPUB {subject} {reply} {} {}\r\n", block.len(), block.len() + payload.len());
    [verb.as_bytes(), block.as_bytes(), payload, b"\r\n"].concat()
}

/// The next message to a worker: its headers and payload.
fn inbox(worker: &mut Raw) -> String {
    let line = worker.read_until("\r\n");
    assert!(line.contains("MSG in.a 1 "), "{line}");
    let length: usize = line.trim_end().rsplit(' ').next().and_then(|length| length.parse().ok()).expect("a length");
    let mut message = vec![0; length + 2];
    worker.read_exact(&mut message).expect("the message");
    String::from_utf8(message).expect("a text")
}

#[test]
fn what_a_worker_asks_wrongly_is_answered_and_its_connection_goes_on() {
    const NOBODY: &str = "NATS/1.0 503\r\n";
    const BAD: &str = "NATS/1.0 400 Bad Request\r\n";
    on_both_drivers(DOORS, |gateway| {
        let mut worker = Raw::connect(gateway.address(Door::Bus, false).expect("a bus"));
        worker.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB in.> 1\r\nPING\r\n");
        worker.read_until("PONG\r\n");
        let client = websocket(gateway, "/control?user=ann");
        await_that("it is known", || ask(admin(gateway), &get("/api/users/ann")).contains("\"connections\":1"));
        let nested = deep(20_000);
        let cases = [
            ("tg.presence.secret", "", "", NOBODY),
            ("tg.presence.tg.user.ann", "", "", NOBODY),
            ("tg.presence.room.1", "", &nested, "\"clients\":0"),
            ("tg.conn.zz", "", "x", NOBODY),
            ("tg.user.ann.dance", "", "x", NOBODY),
            ("tg.request.00112233445566778899aabbccddeeff00.half", "", "x", NOBODY),
            ("tg.conn.ffffffffffffffff.close", "", &nested, NOBODY),
            ("tg.user.ann", "Tg-Ack: \r\n", "x", BAD),
            ("tg.user.ann", "Tg-Ack: 0\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Ack: -1\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Ack: 1, 0\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Ack: 99999999999999999999\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Ack: \u{0663}\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Timeout: soon\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Timeout: -1\r\n", "x", BAD),
            ("tg.user.ann", "Tg-Timeout: 0\r\n", &nested, "NATS/1.0 408 Request Timeout\r\n"),
        ];
        for (subject, headers, payload, words) in cases {
            worker.send(hpub(subject, "in.a", headers, payload.as_bytes()));
            let heard = inbox(&mut worker);
            assert!(heard.contains(words), "{subject} {headers:?} {heard}");
        }
        for (verb, words) in [
            ("PUB tg.presence 0\r\n\r\n", "-ERR 'Permissions Violation for Publish to \"tg.presence\"'\r\n"),
            (
                "PUB tg.history.room.1 0\r\n\r\n",
                "-ERR 'Permissions Violation for Publish to \"tg.history.room.1\"'\r\n",
            ),
            (
                "PUB tg.event.join.room.1 0\r\n\r\n",
                "-ERR 'Permissions Violation for Publish to \"tg.event.join.room.1\"'\r\n",
            ),
            ("PUB tg.user.> 0\r\n\r\n", "-ERR 'Invalid Publish Subject'\r\n"),
            ("SUB tg.user.* 7\r\n", "-ERR 'Permissions Violation for Subscription to \"tg.user.*\"'\r\n"),
            ("SUB tg.request.> 7\r\n", "-ERR 'Permissions Violation for Subscription to \"tg.request.>\"'\r\n"),
            ("PUB tg.request.zz 1\r\nx\r\nPING\r\n", "PONG\r\n"),
            ("PUB tg.user.ann.subscribe 1\r\n*\r\nPING\r\n", "PONG\r\n"),
            ("PUB tg.user.ann.subscribe 9\r\ntg.user.a\r\nPING\r\n", "PONG\r\n"),
        ] {
            worker.send(verb);
            assert_eq!(worker.read_until(words), words, "{verb:?}");
        }
        assert!(ask(admin(gateway), &get("/api/users/ann")).contains("\"connections\":1"), "the client is there still");
        drop((worker, client));
        expect_health(gateway);
    });
}

/// What good peers of each door say once they are let in, so that it can be cut anywhere.
fn words_of_doors() -> Vec<(&'static str, Door, Vec<u8>)> {
    let text = |text: &str| masked(Opcode::Text, text.as_bytes());
    let said = |path: &str, texts: &[&str]| {
        let frames = texts.iter().flat_map(|one| text(one));
        [upgrade(path).into_bytes(), frames.collect()].concat()
    };
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB in.> 1\r\n";
    let asked =
        [hpub("tg.user.ann", "in.a", "Tg-Ack: 1\r\n", b"{}"), hpub("tg.user.ann", "in.b", "Tg-Timeout: 1\r\n", b"{}")];
    vec![
        ("a user", Door::Admin, get("/api/users/ann").into_bytes()),
        ("a presence", Door::Admin, get("/api/channels/room.1/presence").into_bytes()),
        (
            "a request",
            Door::Front,
            b"POST /jobs HTTP/1.1\r\nHost: a\r\nX-User: ann\r\nTransfer-Encoding: chunked\r\n\r\n3\r\njob\r\n0\r\n\r\n"
                .to_vec(),
        ),
        ("a stream", Door::Front, b"GET /sse/1 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 00000000-1\r\n\r\n".to_vec()),
        (
            "an answer",
            Door::Front,
            said(
                "/control?user=ann",
                &["{\"tg\":\"answer\",\"id\":\"0000000000000001\"}", "{\"tg\":\"ack\",\"id\":\"01\"}"],
            ),
        ),
        (
            "commands",
            Door::Front,
            said(
                "/desk?user=ann",
                &[
                    "{\"id\":1,\"connect\":{}}",
                    "{\"id\":2,\"subscribe\":{\"channel\":\"room.1\"}}\n{\"id\":3,\"presence\":{\"channel\":\"room.1\"}}",
                ],
            ),
        ),
        (
            "a worker",
            Door::Bus,
            [connect.as_bytes(), &asked[0], &asked[1], b"PUB tg.presence.room.1 in.c 0\r\n\r\n"].concat(),
        ),
    ]
}

#[test]
fn whoever_is_gone_in_the_middle_of_a_word_leaves_nothing_behind() {
    on_both_drivers(DOORS, |gateway| {
        for (what, door, words) in words_of_doors() {
            let address = gateway.address(door, false).unwrap_or_else(|| panic!("no door for {what}"));
            for end in 0..=words.len() {
                let mut peer = Raw::connect(address);
                peer.send(&words[..end]);
                if end % 2 == 1 {
                    Vanisher::vanish(&peer.0);
                }
            }
            expect_nobody(gateway);
        }
        expect_health(gateway);
    });
}
