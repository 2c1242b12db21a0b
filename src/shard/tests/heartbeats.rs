//! A heartbeat breaks a silence, and only that; those of many do not come at once.

use super::*;

/// What is sent after a silence of a quarter less than this at the earliest.
const INTERVAL: Duration = limits::SSE_HEARTBEAT;
const COMMENT: &str = ": \n\n";
/// A ping without a payload, 0x89 0x00, as it looks where text is expected.
const PING: &str = "\u{fffd}\0";
const CROWD: usize = 64;

/// How many of `peers` hear `sign` within each half second of `time`.
fn signs(bench: &mut Bench, peers: &mut [Peer], sign: &str, time: Duration) -> Vec<usize> {
    let half_second = SECOND / 2;
    let spans = time.as_millis() / half_second.as_millis();
    let mut count = || {
        bench.run_for(half_second);
        peers.iter_mut().map(|peer| peer.hear().contains(sign)).filter(|has_come| *has_come).count()
    };
    (0..spans).map(|_| count()).collect()
}

#[test]
fn a_stream_that_is_told_something_in_time_gets_no_heartbeats() {
    let mut bench = Bench::new(1, settings());
    let mut peer = bench.open(0, "/sse/1");
    let worker = bench.connect(0, BUS);
    for _ in 0..20 {
        worker.say("PUB room.1 5\r\nhello\r\n");
        // Later than a silent stream's heartbeat may come, earlier than it has to.
        bench.run_for(INTERVAL - SECOND);
        let heard = peer.hear();
        assert!(heard.contains("data: hello") && !heard.contains(COMMENT), "{heard}");
    }
    bench.run_for(SECOND * 2);
    assert_eq!(peer.hear(), COMMENT);
}

#[test]
fn a_silent_stream_gets_one_within_every_interval() {
    let mut bench = Bench::new(1, settings());
    let mut peers = [bench.open(0, "/sse/1")];
    let heard = signs(&mut bench, &mut peers, COMMENT, 60 * INTERVAL);
    let heartbeats: usize = heard.iter().sum();
    assert!((60..=80).contains(&heartbeats), "{heartbeats} in 60 intervals");
    let spans = INTERVAL.as_millis() as usize / 500;
    assert!(heard.windows(spans + 1).all(|interval| interval.contains(&1)), "{heard:?}");
}

#[test]
fn streams_that_came_together_or_were_told_something_together_drift_apart() {
    let mut bench = Bench::new(1, settings());
    let mut peers: Vec<Peer> = (0..CROWD).map(|_| bench.connect(0, 0)).collect();
    peers.iter().for_each(|peer| peer.say(request("/sse/1")));
    let after_the_head = signs(&mut bench, &mut peers, COMMENT, INTERVAL + SECOND);
    let worker = bench.connect(0, BUS);
    worker.say("PUB room.1 5\r\nhello\r\n");
    // The first ones after an event come at once: each is as late as it may be.
    bench.run_for(INTERVAL + SECOND / 5);
    peers.iter_mut().for_each(|peer| drop(peer.hear()));
    let after_those = signs(&mut bench, &mut peers, COMMENT, INTERVAL + SECOND);
    for heartbeats in [after_the_head, after_those] {
        assert!(heartbeats.iter().sum::<usize>() >= CROWD, "{heartbeats:?}");
        let most = heartbeats.iter().max().unwrap();
        assert!(*most <= CROWD / 4, "{heartbeats:?}");
    }
}

#[test]
fn websockets_that_came_together_are_not_pinged_together() {
    let mut bench = Bench::new(1, settings());
    let mut peers: Vec<Peer> = (0..CROWD).map(|_| bench.connect(0, 0)).collect();
    peers.iter().for_each(|peer| peer.say(request("/ws/1")));
    let pings = signs(&mut bench, &mut peers, PING, limits::PING_INTERVAL + SECOND);
    assert_eq!(pings.iter().sum::<usize>(), CROWD, "{pings:?}");
    assert!(*pings.iter().max().unwrap() <= CROWD / 4, "{pings:?}");
}
