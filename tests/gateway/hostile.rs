//! Clients that break the rules, are slow, or vanish: each can only ever close its own connection.

use std::io::Read;

use tidegate::proto::ws::{Opcode, frame};
use tungstenite::Message;

use crate::events::events;
use crate::peers::*;
use crate::support::*;

/// What is sent once the WebSocket is open, where to, and the code that it is closed with.
pub fn broken_rules() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let mut unmasked = Vec::new();
    frame::write(&mut unmasked, Opcode::Text, b"x");
    let mut reserved = masked(Opcode::Text, b"x");
    reserved[0] |= 0x40;
    let mut unknown = masked(Opcode::Text, b"x");
    unknown[0] = 0x83;
    let mut fragmented_ping = masked(Opcode::Ping, b"x");
    fragmented_ping[0] = 0x09;
    // Only the header of a frame that announces 2^40 bytes.
    let endless = [&[0x82, 0xFF][..], &(1_u64 << 40).to_be_bytes(), &[1, 2, 3, 4]].concat();
    vec![
        ("an unmasked frame", "/ws/1", unmasked, 1002),
        ("a reserved bit", "/ws/1", reserved, 1002),
        ("an unknown opcode", "/ws/1", unknown, 1002),
        ("a fragmented ping", "/ws/1", fragmented_ping, 1002),
        ("a continuation of nothing", "/ws/1", masked(Opcode::Continuation, b"x"), 1002),
        ("a close code of nobody", "/ws/1", masked(Opcode::Close, &[0, 1]), 1002),
        ("text that is not UTF-8", "/ws/1", masked(Opcode::Text, b"\xff\xfe"), 1007),
        ("a reason that is not UTF-8", "/ws/1", masked(Opcode::Close, b"\x03\xe8\xff"), 1007),
        ("a message that is too big", "/ws/1", masked(Opcode::Binary, &[0; 70_000]), 1009),
        ("an endless message", "/ws/1", endless, 1009),
        ("a message to a room one may only listen to", "/listen/1", masked(Opcode::Text, b"x"), 1008),
        ("a proper end", "/ws/1", masked(Opcode::Close, b"\x0f\xa0bye"), 4000),
    ]
}

#[test]
fn whoever_breaks_the_websocket_rules_is_closed_with_their_code() {
    on_both_drivers("", |gateway| {
        let mut bystander = websocket(gateway, "/ws/1");
        for (what, path, bytes, code) in broken_rules() {
            let mut peer = Raw::connect(front(gateway));
            peer.send(upgrade(path)).read_until("\r\n\r\n");
            peer.send(bytes);
            expect_close(what, &mut peer, code);
        }
        publish(gateway, "room.1", "", "still there");
        assert_eq!(bystander.read().unwrap(), Message::text("still there"), "the first it hears");
        drop(bystander);
        expect_nobody(gateway);
    });
}

/// A close frame with this code, and then the end of the stream.
pub fn expect_close(what: &str, peer: &mut impl Read, code: u16) {
    let mut rest = Vec::new();
    // A gateway that closes before it has read everything may reset; what it said first counts.
    let _ = peer.read_to_end(&mut rest);
    let [0x88, length, high, low, ..] = rest[..] else { panic!("{what}: no close frame but {rest:?}") };
    assert_eq!(u16::from_be_bytes([high, low]), code, "{what}");
    assert_eq!(rest.len(), 2 + usize::from(length), "{what}: nothing after it");
}

#[test]
fn a_half_closer_gets_whole_answers() {
    on_both_drivers("", |gateway| {
        let answer = HalfCloser::ask(front(gateway), "GET /a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
        assert_eq!(String::from_utf8_lossy(&answer).matches("HTTP/1.1 404 ").count(), 3);
        let publication = "POST /api/channels/a.b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
        for _ in 0..10 {
            let answer = HalfCloser::ask(admin(gateway), publication.repeat(5));
            assert_eq!(String::from_utf8_lossy(&answer).matches("\"channel\":\"a.b\"").count(), 5, "each is answered");
        }
        let mut bystander = websocket(gateway, "/ws/1");
        let said = [upgrade("/ws/1").into_bytes(), masked(Opcode::Text, b"last words")].concat();
        let answer = HalfCloser::ask(front(gateway), said);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("the peer closed the connection"), "{answer}");
        assert_eq!(bystander.read().unwrap(), Message::text("last words"));
        drop(bystander);
        expect_nobody(gateway);
    });
}

#[test]
fn a_byte_dripper_is_understood() {
    on_both_drivers("", |gateway| {
        let mut dripper = ByteDripper::connect(front(gateway));
        dripper.drip(upgrade("/ws/1")).read_until("\r\n\r\n");
        dripper.drip(masked(Opcode::Text, &[b'x'; 200])).read_until(&"x".repeat(200));
        dripper.drip(masked(Opcode::Close, b""));
        drop(dripper);
        let mut worker = ByteDripper::connect(gateway.address(tidegate::conn::Door::Bus, false).unwrap());
        worker.drip("SUB a.> 1\r\nPUB a.b 2\r\nhi\r\n").read_until("MSG a.b 1 2\r\nhi\r\n");
        drop(worker);
        expect_nobody(gateway);
    });
}

#[test]
fn a_flooder_is_not_read_until_it_reads_and_loses_nothing() {
    const PONG: &[u8] = b"\x8a\x7d";
    on_both_drivers("", |gateway| {
        let ping = masked(Opcode::Ping, &[b'p'; 125]);
        let mut flooder = Flooder::connect(front(gateway), &upgrade("/ws/1"), "\r\n\r\n", ping);
        let pings = flooder.flood();
        for _ in 0..pings {
            assert_eq!(flooder.hear(127)[..2], *PONG);
        }
        drop(flooder);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let mut flooder = Flooder::connect(front(gateway), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n", request);
        flooder.flood();
        drop(flooder);
        expect_nobody(gateway);
    });
}

#[test]
fn whoever_vanishes_leaves_nothing_behind() {
    on_both_drivers("", |gateway| {
        let mut bystander = websocket(gateway, "/ws/1");
        for _ in 0..20 {
            let stream = events(gateway, "/sse/1").raw;
            let socket = websocket(gateway, "/ws/1");
            let worker = bus(gateway);
            let nobody_yet = Raw::connect(front(gateway));
            for socket in [&stream.0, &socket.get_ref().0, &worker.0, &nobody_yet.0] {
                Vanisher::vanish(socket);
            }
        }
        await_that("they are gone", || metric(gateway, "connections_open") == 1);
        publish(gateway, "room.1", "", "x");
        assert_eq!(bystander.read().unwrap(), Message::text("x"));
        drop(bystander);
        expect_nobody(gateway);
    });
}

#[test]
fn a_slow_reader_harms_nobody_and_is_closed_and_counted() {
    let payload = "x".repeat(50_000);
    on_both_drivers("[limits]\nmessage_bytes_max = 1000\noutbox_bytes_max = 100_000", |gateway| {
        let slow_stream = SlowReader::connect(front(gateway), "GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        let slow_socket = SlowReader::connect(front(gateway), &upgrade("/ws/1"));
        let mut fast = [websocket(gateway, "/ws/1"), websocket(gateway, "/ws/1")];
        let mut publisher = bus(gateway);
        let mut published = 0;
        while metric(gateway, "closed_total:slow_consumer") < 2 {
            publisher.send(format!("PUB room.1 {}\r\n{payload}\r\n", payload.len()));
            published += 1;
            assert!(published < 2_000, "100 MB wait for somebody who takes nothing");
            fast.iter_mut().for_each(|fast| assert_eq!(fast.read().unwrap().len(), payload.len()));
        }
        drop((slow_stream, slow_socket, fast, publisher));
        expect_nobody(gateway);
    });
}

#[test]
fn too_many_get_503_and_come_back_later() {
    on_both_drivers("[limits]\nconnections_max = 2", |gateway| {
        let mut answers = Vec::new();
        let peers: Vec<Raw> = (0..5)
            .map(|_| {
                let mut peer = Raw::connect(front(gateway));
                peer.send(upgrade("/ws/1"));
                answers.push(peer.read_until("\r\n\r\n"));
                peer
            })
            .collect();
        let refused: Vec<&String> = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).collect();
        assert!((3..5).contains(&refused.len()), "one place on each shard: {answers:?}");
        for answer in refused {
            let after = answer.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("it says when");
            assert!((1..=5).contains(&after.parse::<u32>().unwrap()), "{answer}");
            assert!(answer.contains("Connection: close"), "{answer}");
        }
        drop(peers);
        expect_nobody(gateway);
        assert!(ask(front(gateway), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").contains("404"));
    });
}

#[test]
fn what_is_published_cannot_forge_a_field_of_an_event() {
    const RECORD: &str = "event: move\ndata: a\ndata: id: 7\ndata: \ndata: event: evil\ndata: retry: 1\0\n\n";
    let payload = "a\rid: 7\n\nevent: evil\r\nretry: 1\0";
    on_both_drivers("", |gateway| {
        let mut stream = events(gateway, "/sse/1");
        let position = publish(gateway, "room.1", "Tg-Event: move\r\n", payload);
        assert_eq!(stream.read_until("retry: 1\0\n\n"), format!("id: {position}\n{RECORD}"));

        let mut worker = bus(gateway);
        let headers = "NATS/1.0\r\nTg-Event: move\r\n\r\n";
        let (length, total) = (headers.len(), headers.len() + payload.len());
        worker.send(format!("HPUB room.1 {length} {total}\r\n{headers}{payload}\r\n"));
        let record = stream.read_until("retry: 1\0\n\n");
        assert_eq!(record.split_once('\n').unwrap().1, RECORD);

        for name in ["a\rdata: b", "a\0b"] {
            let request = format!(
                "POST /api/channels/room.1 HTTP/1.1\r\nHost: a\r\nTg-Event: {name}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            assert!(ask(admin(gateway), &request).starts_with("HTTP/1.1 400 "), "{name:?}");
            let headers = format!("NATS/1.0\r\nTg-Event: {name}\r\n\r\n");
            let (length, total) = (headers.len(), headers.len() + 1);
            worker.send(format!("HPUB room.1 {length} {total}\r\n{headers}.\r\nPING\r\n"));
            worker.read_until("PONG\r\n");
        }
        publish(gateway, "room.1", "", "end");
        let rest = stream.read_until("data: end\n\n");
        let is_known =
            |line: &&str| line.is_empty() || line.starts_with("id: ") || ["data: .", "data: end"].contains(line);
        assert!(rest.lines().all(|line| is_known(&line)), "{rest:?}");
    });
}

#[test]
fn what_a_request_names_cannot_become_a_wildcard_or_a_header() {
    on_both_drivers("", |gateway| {
        for name in ["%00", "a%0D%0Ab", ""] {
            let answer =
                ask(front(gateway), &format!("GET /sse/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 40"), "{name:?} got {answer:?}");
            let request = upgrade(&format!("/echo?user={name}"));
            let answer = HalfCloser::ask(front(gateway), request);
            assert!(answer.starts_with(b"HTTP/1.1 40"), "{name:?} got {:?}", String::from_utf8_lossy(&answer));
        }
        // As parts of a path they are names, and listen to nothing but that.
        for (name, token) in [("*", "%2A"), ("%3E", "%3E"), ("a.b", "a%2Eb"), ("a%2Eb", "a%2Eb"), ("a%20b", "a%20b")] {
            let mut stream = events(gateway, &format!("/sse/{name}"));
            for room in ["room.1", "room.a", "room.a.b"] {
                publish(gateway, room, "", "of another room");
            }
            let mut worker = bus(gateway);
            worker.send(format!("PUB room.{token} 3\r\nown\r\nPING\r\n")).read_until("PONG\r\n");
            let heard = stream.read_until("data: own\n\n");
            assert!(!heard.contains("another"), "{name:?} heard {heard:?}");
        }
        expect_nobody(gateway);
    });
}
