//! Clients that begin to send and do not go on: their bytes are bounded in sum, and a bystander goes on being served.

use super::*;
use crate::conn::route::AcceptRoute;

/// Most bytes that may have arrived for nothing yet.
const BYTES_MAX: usize = 200_000;
const BODY: usize = 30_000;

fn settings() -> Settings {
    let jobs = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "tg.result".into(),
        timeout: SECOND,
        keep: SECOND,
        user: None,
        headers: Box::default(),
    };
    let mut settings = super::settings();
    let methods = vec!["POST".into()];
    add_routes(&mut settings, [Route { methods, ..route("/jobs", RouteTarget::Accept(jobs)) }]);
    with(settings, |generation| {
        generation.arriving_bytes_max = BYTES_MAX;
        generation.handshaking_bytes_max = BYTES_MAX;
    })
}

/// The counted bytes, which the connections really have, are never more than the bound.
fn arriving(bench: &Bench) -> usize {
    let sums = &bench.core(0).desk.sums;
    assert!(sums.arriving_bytes() <= BYTES_MAX && sums.handshaking_bytes() <= BYTES_MAX);
    bench.census(0).arriving_bytes
}

/// Says the bytes in pieces that fit.
fn say_all(bench: &mut Bench, peer: &Peer, mut bytes: &[u8]) {
    while !bytes.is_empty() && peer.end.is_open() {
        bytes = &bytes[peer.end.write(bytes)..];
        bench.run_for(Duration::from_millis(1));
    }
}

fn post(path: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + len, b'x');
    bytes
}

#[test]
fn bodies_one_byte_short_are_bounded_in_sum_and_the_oldest_gets_503() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let worker = bench.connect(0, BUS);
    worker.say("SUB tg.service.jobs workers 1\r\n");
    let mut strangers = Vec::new();
    for _ in 0..30 {
        let stranger = bench.connect(0, 0);
        let body = post("/jobs", BODY);
        say_all(&mut bench, &stranger, &body[..body.len() - 1]);
        assert!(arriving(&bench) <= BYTES_MAX);
        strangers.push(stranger);
        expect_echo(&mut bench, &mut bystander);
    }
    let refused: Vec<bool> =
        strangers.iter_mut().map(|stranger| stranger.hear().starts_with("HTTP/1.1 503 ")).collect();
    assert!(refused.iter().is_sorted_by(|a, b| a >= b) && refused[0] && !refused[29], "the oldest first: {refused:?}");
    assert_eq!(bench.closed(0, CloseReason::ArrivingFull), refused.iter().filter(|is| **is).count() as u64);
    // A body that comes whole is accepted meanwhile.
    let mut client = bench.connect(0, 0);
    say_all(&mut bench, &client, &post("/jobs", BODY));
    bench.run_for(SECOND / 10);
    assert!(client.hear().starts_with("HTTP/1.1 202 "));
    drop(strangers);
    bench.run_for(SECOND);
    assert_eq!(arriving(&bench), 0, "all is free once they have gone");
}

#[test]
fn half_sent_messages_are_bounded_in_sum_and_end_with_1013() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let message = text(&vec![b'x'; BODY]);
    let mut strangers = Vec::new();
    for number in 0..20 {
        let stranger = bench.open(0, &format!("/ws/of{number}"));
        say_all(&mut bench, &stranger, &message[..BODY - 100]);
        arriving(&bench);
        strangers.push(stranger);
        expect_echo(&mut bench, &mut bystander);
    }
    let words = CloseReason::ArrivingFull.row().words;
    let mut ended = strangers.iter_mut().map(|stranger| stranger.hear().contains(words));
    assert!(ended.next() == Some(true) && ended.next_back() == Some(false));
    // The last one ends its message, and that is passed on.
    say_all(&mut bench, &strangers[19], &message[BODY - 100..]);
    bench.run_for(SECOND / 10);
    assert!(strangers[19].hear().contains("xxxxx"));
}

#[test]
fn stalled_handshakes_are_bounded_in_sum_and_push_out_no_body() {
    let mut bench = Bench::new(1, settings());
    let upload = bench.connect(0, 0);
    let body = post("/jobs", 150_000);
    say_all(&mut bench, &upload, &body[..120_000]);
    let before = arriving(&bench);
    // A record that never ends: it waits in the carry.
    let mut record = vec![22, 3, 1, 0x3f, 0xfb, 1, 0, 0x3f, 0xf7];
    record.resize(12_000, 0);
    let mut strangers: Vec<Peer> = (0..40)
        .map(|_| {
            let stranger = bench.connect(0, TLS);
            say_all(&mut bench, &stranger, &record);
            arriving(&bench);
            stranger
        })
        .collect();
    assert!(strangers[0].is_at_end() && !strangers[39].is_at_end());
    assert!(bench.closed(0, CloseReason::HandshakeRefused) > 20);
    assert_eq!(bench.closed(0, CloseReason::ArrivingFull), 0);
    assert!(arriving(&bench) > before && upload.end.is_open());
    bench.run_for(limits::HANDSHAKE_TIMEOUT + SECOND);
    assert_eq!(bench.core(0).desk.sums.handshaking_bytes(), 0);
}

#[test]
fn workers_and_the_admin_listener_are_not_ended_for_clients() {
    let mut bench = Bench::new(1, settings());
    let mut admin = bench.connect(0, ADMIN);
    let publication = post("/api/channels/room.1", 180_000);
    say_all(&mut bench, &admin, &publication[..publication.len() - 1]);
    let worker = bench.connect(0, BUS);
    say_all(&mut bench, &worker, &[&b"PUB room.1 180000\r\n"[..], &[b'x'; 179_999]].concat());
    let strangers: Vec<Peer> = (0..20)
        .map(|_| {
            let stranger = bench.connect(0, 0);
            say_all(&mut bench, &stranger, &post("/jobs", 40_000)[..40_000]);
            arriving(&bench);
            stranger
        })
        .collect();
    assert!(bench.closed(0, CloseReason::ArrivingFull) > 0);
    assert!(worker.end.is_open() && strangers[19].end.is_open());
    admin.say(&publication[publication.len() - 1..]);
    bench.run_for(SECOND / 10);
    assert!(admin.hear().starts_with("HTTP/1.1 200 "));
}
