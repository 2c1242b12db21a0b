//! Clients: event streams, WebSockets, and what malformed requests get.

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::events::{End, events};
use crate::support::*;

#[test]
fn an_event_stream_gets_what_is_published_after_its_head() {
    on_both_drivers("", |gateway| {
        let mut stream = events(gateway, "/sse/1");
        for number in 1..=20 {
            let position = publish(gateway, "room.1", "Tg-Event: move\r\n", &format!("a\r\nb {number}"));
            let record = stream.read_until(&format!("data: b {number}\n\n"));
            assert_eq!(record, format!("id: {position}\nevent: move\ndata: a\ndata: b {number}\n\n"));
        }
    });
}

#[test]
fn what_one_websocket_says_in_a_room_all_hear_in_order() {
    on_both_drivers("", |gateway| {
        let mut clients: Vec<_> = (0..6).map(|_| websocket(gateway, "/ws/7")).collect();
        let mut stranger = websocket(gateway, "/ws/8");
        for number in 0..50 {
            let speaker = &mut clients[0];
            speaker.send(Message::text(format!("hello {number}"))).unwrap();
        }
        for client in &mut clients {
            for number in 0..50 {
                assert_eq!(client.read().unwrap(), Message::text(format!("hello {number}")));
            }
        }
        stranger.send(Message::binary(vec![0xff, 0])).unwrap();
        assert_eq!(stranger.read().unwrap(), Message::binary(vec![0xff, 0]), "the first it hears is its own");
    });
}

#[test]
fn whoever_may_not_send_is_closed_with_1008() {
    on_both_drivers("", |gateway| {
        let mut client = websocket(gateway, "/listen/1");
        client.send(Message::text("hello")).unwrap();
        let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("a close frame") };
        assert_eq!(frame.code, CloseCode::Policy);
    });
}

#[test]
fn stopping_closes_websockets_with_1001_and_ends_streams() {
    for driver in ["epoll", "uring"] {
        let gateway = builder(driver, "").start().unwrap();
        let mut client = websocket(&gateway, "/ws/1");
        let mut stream = events(&gateway, "/sse/1");
        let reader = std::thread::spawn(move || (client.read().unwrap(), stream.read_all()));
        gateway.stop();
        let (message, (rest, end)) = reader.join().unwrap();
        let Message::Close(Some(frame)) = message else { panic!("a close frame, not {message:?}") };
        assert_eq!(frame.code, CloseCode::Away);
        let returns = rest.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")).map(str::parse::<u32>);
        assert!(returns.is_some_and(|ms| ms.is_ok()), "when to come back, and nothing else: {rest:?}");
        assert_eq!(end, End::Regular);
    }
}

#[test]
fn bad_requests_get_the_answer_of_their_row() {
    let long = "x".repeat(9_000);
    let rows: Vec<(String, &str)> = vec![
        ("GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("GET /sse/1 HTTP/1.1\nHost: a\n\n".into(), "400"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), "404"),
        ("POST /sse/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(), "405"),
        ("GET /sse/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n".into(), "403"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\nB: {long}\r\n\r\n"), "431"),
        ("GET /ws/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), "426"),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n".into(), "400"),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".into(), "401"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n".into(), "417"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".into(), "505"),
    ];
    on_both_drivers("", |gateway| {
        for (request, status) in &rows {
            let answer = ask(front(gateway), request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{:.60?} got {answer:?}", request);
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    on_both_drivers("", |gateway| {
        let answers = ask(
            front(gateway),
            "GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\nPUT /sse/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 2, "{answers}");
        assert_eq!(answers.matches("no route").count(), 1, "HEAD has no body: {answers}");
        assert!(answers.contains("HTTP/1.1 405 ") && answers.contains("Allow: GET"), "{answers}");
    });
}

#[test]
fn a_head_that_takes_too_long_gets_408() {
    on_both_drivers("[limits]\nhead_timeout_s = 1", |gateway| {
        let answer = ask(front(gateway), "GET / HTTP/1.1\r\nHost:");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    });
}

#[test]
fn the_admin_listener_publishes_counts_and_refuses_pages() {
    on_both_drivers("", |gateway| {
        let first = publish(gateway, "a.b", "", "x");
        let second = publish(gateway, "a.b", "", "y");
        assert_eq!(first.split_once('-').unwrap().0, second.split_once('-').unwrap().0, "one epoch");
        assert!(first.ends_with("-1") && second.ends_with("-2"), "{first} {second}");
        let metrics = ask(admin(gateway), "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(metrics.contains("tidegate_messages_received_total"), "{metrics}");
        for (request, status) in [
            (
                "POST /api/channels/a HTTP/1.1\r\nHost: a\r\nOrigin: http://x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                "403",
            ),
            ("POST /api/channels/a..b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "400"),
            ("POST /api/channels/tg.x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "400"),
            ("POST /api/channels/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "413"),
            ("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"),
            ("DELETE /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
        ] {
            let answer = ask(admin(gateway), request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} got {answer:?}");
        }
        assert_eq!(metric(gateway, "closed_total:bad_publish"), 2);
        assert_eq!(metric(gateway, "closed_total:method_not_allowed"), 1);
    });
}

#[test]
fn a_listed_origin_may_read_a_stream_and_no_other() {
    on_both_drivers("", |gateway| {
        let mut stream = Raw::connect(front(gateway));
        stream.send("GET /sse/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n");
        let head = stream.read_until("\r\n\r\n");
        assert!(head.contains("Access-Control-Allow-Origin: https://app.example\r\n"), "{head}");
        assert!(head.contains("Vary: Origin\r\n"), "{head}");
        let preflight = |origin: &str| {
            ask(
                front(gateway),
                &format!(
                    "OPTIONS /sse/1 HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nConnection: close\r\n\
                     Access-Control-Request-Method: GET\r\n\r\n"
                ),
            )
        };
        let allowed = preflight("https://app.example");
        assert!(
            allowed.starts_with("HTTP/1.1 204 ") && allowed.contains("Access-Control-Allow-Methods: GET"),
            "{allowed}"
        );
        let refused = preflight("https://evil.example");
        assert!(refused.starts_with("HTTP/1.1 403 ") && !refused.contains("Access-Control"), "{refused}");
    });
}

/// A handshake with this key and these lines besides.
fn handshake(path: &str, key: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n{lines}\r\n"
    )
}

#[test]
fn a_key_is_answered_whatever_its_last_bits_are() {
    // RFC 6455 section 4.1 has the first in a note; what answers it is computed from the text of the key (section 4.2.2).
    let keys = [
        ("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM="),
        ("AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
    ];
    on_both_drivers("", |gateway| {
        for (key, accept) in keys {
            let answer = Raw::connect(front(gateway)).send(handshake("/ws/1", key, "")).read_until("\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 101 "), "{key} got {answer}");
            assert!(answer.contains(&format!("\r\nSec-WebSocket-Accept: {accept}\r\n")), "{key} got {answer}");
        }
    });
}

#[test]
fn a_client_of_the_client_protocol_may_offer_it_or_nothing() {
    const ROUTE: &str = "[[route]]\npath = \"/connect\"\n\
                         websocket = { protocol = \"centrifuge-json\", channels = \"news\" }\n";
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    on_both_drivers(ROUTE, |gateway| {
        for (offer, answered) in [
            ("", Some("")),
            ("Sec-WebSocket-Protocol:\r\n", Some("")),
            ("Sec-WebSocket-Protocol: , ,\r\nSec-WebSocket-Protocol:\r\n", Some("")),
            ("Sec-WebSocket-Protocol: centrifuge-json\r\n", Some("centrifuge-json")),
            ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: , Centrifuge-JSON\r\n", Some("Centrifuge-JSON")),
            ("Sec-WebSocket-Protocol: centrifuge-protobuf\r\n", None),
            ("Sec-WebSocket-Protocol: \u{e9}\r\n", None),
        ] {
            let answer = Raw::connect(front(gateway)).send(handshake("/connect", KEY, offer)).read_until("\r\n\r\n");
            let chosen = answer.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
            let chosen = answer.starts_with("HTTP/1.1 101 ").then_some(chosen.unwrap_or_default());
            assert_eq!(chosen, answered, "{offer:?} got {answer}");
        }
    });
}

#[test]
fn a_user_who_is_named_twice_is_not_known() {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    on_both_drivers("", |gateway| {
        for (query, expected) in [
            ("user=ann", "101"),
            ("user=ann&discount=50%&%zz=1", "101"),
            ("user=ann&user=bob", "400"),
            ("user=ann&user=ann", "400"),
            ("user=ann&%75ser=bob", "400"),
            ("user&x=1&user=ann", "400"),
            ("user=ann&user=%", "400"),
        ] {
            let request = handshake(&format!("/echo?{query}"), KEY, "");
            let answer = Raw::connect(front(gateway)).send(request).read_until("\r\n\r\n");
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{query} got {answer}");
        }
    });
}
