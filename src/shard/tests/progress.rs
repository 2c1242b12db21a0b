//! A peer is slow if it makes no progress for a while, whatever else it does; one that makes progress is waited for.

use super::*;

/// Publishes so much to the room that it does not fit on the way.
fn flood(bench: &mut Bench, room: u16, count: usize) {
    let worker = bench.connect(0, BUS);
    let payload = "x".repeat(30_000);
    for _ in 0..count {
        worker.say(format!("PUB room.{room} 30000\r\n{payload}\r\n"));
        bench.run_for(Duration::from_millis(1));
    }
}

/// Takes some of what is there.
fn take(peer: &mut Peer, count: usize) {
    let _ = peer.end.read_at_most(count, &mut peer.heard);
}

#[test]
fn whoever_speaks_and_does_not_listen_is_slow() {
    let mut bench = Bench::new(1, settings());
    let mut peer = bench.open(0, "/ws/1");
    // Not so much that nothing would be read from it any more.
    flood(&mut bench, 1, 4);
    for _ in 0..60 {
        // Each of its pings would put off the question whether it is there.
        let mut ping = Vec::new();
        frame::write_masked(&mut ping, true, Opcode::Ping, b"", [1, 2, 3, 4]);
        peer.end.write(&ping);
        bench.run_for(SECOND);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1);
    peer.hear();
}

#[test]
fn whoever_takes_a_little_now_and_then_is_not_slow() {
    let mut bench = Bench::new(1, settings());
    let mut peers: Vec<Peer> = ["/ws/1", "/sse/1"].iter().map(|path| bench.open(0, path)).collect();
    flood(&mut bench, 1, 10);
    for _ in 0..20 {
        peers.iter_mut().for_each(|peer| take(peer, 500));
        // Less than the time within which it has to take something.
        bench.run_for(15 * SECOND);
    }
    assert_eq!(bench.census(0).connections, 2);
    for _ in 0..10 {
        peers.iter_mut().for_each(|peer| drop(peer.hear()));
        bench.run_for(SECOND);
    }
    // Nothing is stuck any more: heartbeats and pings come again.
    bench.run_for(60 * SECOND);
    assert_eq!(bench.closed(0, CloseReason::NoPong), 1);
    assert!(peers[1].hear().contains(": \n\n"));
}

#[test]
fn last_words_reach_a_slow_client_that_goes_on_taking() {
    let mut bench = Bench::new(1, settings());
    let mut client = bench.open(0, "/ws/1");
    flood(&mut bench, 1, 10);
    let worker = bench.connect(0, BUS);
    worker.say("PUB tg.event.nothing 0\r\n\r\n");
    // A protocol error of its own: the gateway closes it behind what it is owed.
    client.end.write(&[0xff, 0x80, 1, 2, 3, 4]);
    let mut seconds = 0;
    while client.end.is_open() && seconds < 120 {
        bench.run_for(SECOND);
        take(&mut client, 5_000);
        seconds += 1;
    }
    assert!(seconds > 3 * limits::CLOSE_TIMEOUT.as_secs(), "it is slower than one timeout: {seconds} s");
    let end = &client.heard[client.heard.len() - 60..];
    assert!(String::from_utf8_lossy(end).contains("protocol error"), "the close frame is the last word");
    assert_eq!(bench.closed(0, CloseReason::WebSocketProtocol), 1);
}

#[test]
fn last_words_are_not_offered_for_ever() {
    let mut bench = Bench::new(1, settings());
    let client = bench.open(0, "/ws/1");
    // Not so much that what it says would not be read any more.
    flood(&mut bench, 1, 4);
    client.end.write(&[0xff, 0x80, 1, 2, 3, 4]);
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.core(0).desk.counters().clients.value(), 0);
}
