//! The gateway goes away: in which order, how fast, and with which words.

use super::*;
use crate::conn::settings::DrainSettings;

fn draining(notice: Duration, spread: Duration) -> Settings {
    with(settings(), |generation| generation.drain = DrainSettings { notice, spread })
}

fn ask(bench: &mut Bench, door: u16, path: &str) -> String {
    let mut peer = bench.connect(0, door);
    peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    bench.run_for(Duration::from_millis(100));
    peer.hear()
}

#[test]
fn readiness_fails_first_while_everything_is_served() {
    let mut bench = Bench::new(1, draining(10 * SECOND, SECOND));
    assert!(ask(&mut bench, ADMIN, "/ready").starts_with("HTTP/1.1 200 "));
    bench.drain();
    bench.run_for(SECOND);
    assert!(ask(&mut bench, ADMIN, "/ready").starts_with("HTTP/1.1 503 "));
    assert!(ask(&mut bench, ADMIN, "/health").starts_with("HTTP/1.1 200 "));
    let mut late = bench.open(0, "/sse/1");
    bench.run_for(SECOND);
    assert!(!late.is_at_end(), "it is served like any other");
    // Then the front is closed, but a health check still gets an answer.
    bench.run_for(8 * SECOND);
    assert!(bench.world.connect(address(0, 0)).is_none(), "the kernel refuses it");
    assert!(ask(&mut bench, ADMIN, "/ready").starts_with("HTTP/1.1 503 "));
    drop(late);
    bench.run_for(SECOND);
    assert!(bench.is_over());
}

#[test]
fn clients_are_told_one_after_the_other_and_when_to_come_back() {
    const CLIENTS: usize = 2_000;
    let mut bench = Bench::new(2, draining(Duration::ZERO, 5 * SECOND));
    let mut peers: Vec<Peer> = (0..CLIENTS).map(|index| bench.connect(index as u16 % 2, 0)).collect();
    for (index, peer) in peers.iter().enumerate() {
        peer.say(request(if index % 2 == 0 { "/sse/1" } else { "/ws/1" }));
    }
    bench.run_for(SECOND);
    peers.iter_mut().for_each(|peer| assert!(peer.hear().contains("\r\n\r\n")));
    bench.drain();
    let mut left = Vec::new();
    let mut returns = Vec::new();
    for _ in 0..50 {
        bench.run_for(Duration::from_millis(100));
        let before = peers.len();
        peers.retain_mut(|peer| {
            while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
            if !peer.end.is_open() {
                returns.push(return_ms(&peer.hear()));
            }
            peer.end.is_open()
        });
        left.push(before - peers.len());
    }
    bench.run_for(SECOND);
    assert!(peers.iter_mut().all(Peer::is_at_end));
    // 40 in 100 ms, from the first to the last.
    assert!(left.iter().skip(1).all(|count| (36..=44).contains(count)), "{left:?}");
    let (least, most) = (returns.iter().min().unwrap(), returns.iter().max().unwrap());
    assert!((1_000..1_200).contains(least) && (5_800..6_000).contains(most), "{least} to {most} ms");
}

/// What a stream or a WebSocket was told last.
fn return_ms(heard: &str) -> u64 {
    let told = match heard.split_once("retry: ") {
        Some((_, retry)) => retry.trim_end(),
        None => heard.split_once("come back in ").and_then(|(_, rest)| rest.split_once(' ')).expect("it is told").0,
    };
    told.parse().unwrap_or_else(|_| panic!("{heard:?}"))
}

#[test]
fn a_websocket_is_closed_with_1001() {
    let mut bench = Bench::new(1, draining(Duration::ZERO, SECOND));
    let mut peer = bench.open(0, "/ws/1");
    bench.drain();
    bench.run_for(SECOND / 10);
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    assert_eq!((peer.heard[0], &peer.heard[2..4]), (0x88, &1001_u16.to_be_bytes()[..]));
}

#[test]
fn few_clients_do_not_take_the_whole_time() {
    let mut bench = Bench::new(2, draining(Duration::ZERO, 20 * SECOND));
    let mut peers: Vec<Peer> = (0..20).map(|index| bench.open(index % 2, "/sse/1")).collect();
    bench.drain();
    bench.run_for(SECOND / 2);
    assert!(peers.iter_mut().all(Peer::is_at_end));
}

#[test]
fn a_request_in_hand_is_answered_and_the_next_one_is_told_to_go_elsewhere() {
    let mut bench = Bench::new(1, draining(Duration::ZERO, 5 * SECOND));
    // So many that its turn does not come at once.
    let _others: Vec<Peer> = (0..1_000).map(|_| bench.open(0, "/sse/1")).collect();
    let mut begun = bench.connect(0, 0);
    begun.say("GET /nowhere HTTP/1.1\r\n");
    let mut posting = bench.connect(0, ADMIN);
    posting.say("POST /api/channels/room.1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let mut idle = bench.connect(0, 0);
    idle.say("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    bench.run_for(SECOND / 10);
    assert!(idle.hear().starts_with("HTTP/1.1 404 "));
    bench.drain();
    bench.run_for(SECOND / 2);

    begun.say("Host: a\r\n\r\n");
    posting.say("llo");
    bench.run_for(SECOND / 10);
    let answers = [begun.hear(), posting.hear()];
    assert!(answers[0].starts_with("HTTP/1.1 404 ") && answers[1].starts_with("HTTP/1.1 200 "), "{answers:?}");
    assert!(answers[0].contains("\r\nConnection: close\r\n"), "{answers:?}");
    bench.run_for(12 * SECOND);
    assert_eq!(idle.hear(), "", "nobody answers what was not asked");
    assert!(idle.is_at_end() && begun.is_at_end() && posting.is_at_end());
    assert!(bench.is_over());
}

#[test]
fn a_page_gets_503_and_a_stream_is_opened_to_be_told_when_to_come_back() {
    let mut settings = draining(Duration::ZERO, 20 * SECOND);
    add_routes(&mut settings, [route("/page", RouteTarget::page("text/plain", b"hello"))]);
    let mut bench = Bench::new(1, settings);
    // So many that no client is disconnected at once.
    let _others: Vec<Peer> = (0..4_000).map(|_| bench.open(0, "/sse/1")).collect();
    let mut peers: Vec<Peer> = (0..12).map(|_| bench.connect(0, 0)).collect();
    for peer in &peers {
        peer.say("GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    bench.run_for(SECOND / 10);
    bench.drain();
    bench.run_for(Duration::from_millis(20));
    peers.retain_mut(|peer| peer.hear().ends_with("hello") && peer.end.is_open());
    assert!(peers.len() >= 4, "chance would have to send them away first");
    for (index, peer) in peers.iter().enumerate() {
        let path = if index % 2 == 0 { "/page" } else { "/sse/1" };
        peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    bench.run_for(Duration::from_millis(20));
    for (index, peer) in peers.iter_mut().enumerate() {
        let heard = peer.hear();
        let is_told = match index % 2 {
            0 => heard.starts_with("HTTP/1.1 503 ") && heard.contains("\r\nRetry-After: "),
            _ => heard.starts_with("HTTP/1.1 200 ") && heard.matches("retry: ").count() == 2,
        };
        assert!(is_told && !peer.end.is_open(), "{heard}");
    }
}

#[test]
fn workers_hear_of_it_and_stay_until_the_last_client_of_any_shard_has_gone() {
    let mut bench = Bench::new(2, draining(SECOND, 2 * SECOND));
    let mut workers = [bench.connect(0, BUS), bench.connect(1, BUS)];
    for worker in &workers {
        worker.say("CONNECT {\"verbose\":false}\r\nSUB tg.event.> 1\r\nPING\r\n");
    }
    // The client of one shard, in a room that the other one owns.
    let room = room_of(0, 2);
    let mut client = bench.open(1, &format!("/ws/{room}"));
    bench.run_for(SECOND / 10);
    workers.iter_mut().for_each(|worker| assert!(worker.hear().ends_with("PONG\r\n")));
    bench.drain();
    bench.run_for(SECOND / 2);
    for worker in &mut workers {
        let heard = worker.hear();
        assert_eq!(heard, "MSG tg.event.drain 1 27\r\n{\"notice_s\":1,\"spread_s\":2}\r\n");
    }
    client.say(text(b"still here"));
    bench.run_for(Duration::from_millis(10));
    assert!(client.hear().contains("still here"), "through the owner of its room");
    workers.iter_mut().for_each(|worker| assert!(!worker.is_at_end()));
    bench.run_for(SECOND);
    assert!(client.is_at_end());
    drop(client);
    bench.run_for(SECOND);
    assert!(workers.iter_mut().all(Peer::is_at_end));
    drop(workers);
    bench.run_for(SECOND);
    assert!(bench.is_over());
}

#[test]
fn nobody_can_publish_what_only_the_gateway_says() {
    let mut bench = Bench::new(1, settings());
    let (mut ear, mut liar) = (bench.connect(0, BUS), bench.connect(0, BUS));
    ear.say("SUB tg.event.> 1\r\nPING\r\n");
    bench.run_for(SECOND / 10);
    ear.hear();
    liar.say("PUB tg.event.drain 0\r\n\r\n");
    bench.run_for(SECOND / 10);
    assert_eq!(ear.hear(), "");
    assert!(liar.hear().contains("-ERR"));
}

#[test]
fn ends_in_time_whatever_the_peers_do() {
    let drain = DrainSettings { notice: SECOND, spread: 2 * SECOND };
    let mut bench = Bench::new(2, with(settings(), |generation| generation.drain = drain));
    // None of them ever says another word, reads, or ends its half.
    let silent: Vec<Peer> =
        [(0, 0), (0, TLS), (1, BUS), (1, ADMIN)].map(|(shard, door)| bench.connect(shard, door)).into();
    let streams: Vec<Peer> = ["/sse/1", "/ws/1"].map(|path| bench.open(0, path)).into();
    let half = bench.connect(1, 0);
    half.say("GET /sse/1 HTTP/1.1\r\n");
    let publisher = bench.connect(1, BUS);
    publisher.end.write(format!("PUB room.1 900000\r\n{}\r\n", "x".repeat(900_000)).as_bytes());
    bench.run_for(SECOND / 10);
    bench.drain();
    bench.run_for(drain.notice + drain.spread + 2 * limits::DRAIN_GRACE + SECOND / 10);
    assert!(bench.is_over());
    drop((silent, streams, half, publisher));
}
