//! Event streams: how they come, how they end, and what their clients may leave out.

use super::*;

const OLD: &str = "GET /sse/1 HTTP/1.0\r\nHost: a\r\n\r\n";

fn publish(bench: &mut Bench, worker: &Peer, payload: &str) {
    worker.say(format!("PUB room.1 {}\r\n{payload}\r\n", payload.len()));
    bench.run_for(SECOND / 10);
}

/// The bytes as they come.
fn raw(peer: &mut Peer) -> String {
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    String::from_utf8(std::mem::take(&mut peer.heard)).expect("text")
}

/// `retry: 4567` in milliseconds, the last of them.
fn return_after(heard: &str) -> Duration {
    let (_, last) = heard.rsplit_once("retry: ").expect("it is told");
    Duration::from_millis(last.trim_end().parse().expect("digits"))
}

#[test]
fn everything_that_a_stream_says_is_a_chunk_of_its_own() {
    let mut bench = Bench::new(1, settings());
    let worker = bench.connect(0, BUS);
    let mut peer = bench.connect(0, 0);
    peer.say(request("/sse/1"));
    bench.run_for(SECOND / 10);
    let heard = raw(&mut peer);
    let (head, body) = heard.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(body, "d\r\nretry: 1000\n\n\r\n");
    publish(&mut bench, &worker, "hello\nworld");
    let heard = raw(&mut peer);
    let (size, record) = heard.split_once("\r\n").expect("a size");
    let record = record.strip_suffix("\r\n").expect("the end of the chunk");
    assert_eq!(usize::from_str_radix(size, 16), Ok(record.len()));
    assert!(record.starts_with("id: ") && record.ends_with("\ndata: hello\ndata: world\n\n"), "{record}");
    bench.run_for(limits::SSE_HEARTBEAT);
    assert_eq!(raw(&mut peer), "4\r\n: \n\n\r\n");
}

#[test]
fn a_client_of_http_1_0_gets_a_stream_without_chunks() {
    let mut bench = Bench::new(1, settings());
    let worker = bench.connect(0, BUS);
    let mut old = bench.connect(0, 0);
    old.say(OLD);
    let mut new = bench.open(0, "/sse/1");
    bench.run_for(SECOND / 10);
    let heard = raw(&mut old);
    assert!(!heard.contains("Transfer-Encoding") && heard.ends_with("\r\n\r\nretry: 1000\n\n"), "{heard}");
    publish(&mut bench, &worker, "hello");
    assert_eq!(raw(&mut old), new.hear(), "what the other has in its chunk");
    bench.drain();
    bench.run_for(SECOND);
    let last = raw(&mut old);
    assert!(last.starts_with("retry: ") && last.ends_with("\n\n") && old.is_at_end(), "{last:?}");
}

#[test]
fn a_stream_that_has_ended_is_told_from_one_that_was_cut() {
    let settings = || with(settings(), |generation| generation.outbox_bytes_max = 10_000);
    let mut bench = Bench::new(1, settings());
    let mut peer = bench.open(0, "/sse/1");
    bench.drain();
    bench.run_for(SECOND);
    assert!(return_after(&peer.hear()) >= limits::RETURN_AFTER && peer.has_last_chunk() && peer.is_at_end());

    let mut bench = Bench::new(1, settings());
    let mut slow = bench.open(0, "/sse/1");
    let worker = bench.connect(0, BUS);
    let payload = "x".repeat(9_000);
    while bench.closed(0, CloseReason::SlowConsumer) == 0 {
        publish(&mut bench, &worker, &payload);
    }
    for _ in 0..100 {
        bench.run_for(SECOND / 100);
        slow.hear();
    }
    assert!(slow.is_at_end() && !slow.has_last_chunk());
}

#[test]
fn an_event_source_that_finds_no_place_is_told_when_to_come_back_and_others_get_503() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.connections_max = 1));
    let _first = bench.open(0, "/ws/1");
    let mut returns = Vec::new();
    for _ in 0..20 {
        let mut peer = bench.connect(0, 0);
        peer.say(request("/sse/1"));
        bench.run_for(SECOND / 10);
        let heard = peer.hear();
        assert!(heard.starts_with("HTTP/1.1 200 ") && peer.has_last_chunk() && peer.is_at_end(), "{heard}");
        returns.push(return_after(&heard));
    }
    returns.sort();
    let spread = limits::RETURN_AFTER..limits::RETURN_AFTER + limits::RETURN_SPREAD;
    assert!(returns.iter().all(|after| spread.contains(after)) && returns[0] != returns[19], "{returns:?}");
    for path in ["/ws/1", "/echo?user=ann"] {
        let mut peer = bench.connect(0, 0);
        peer.say(request(path));
        bench.run_for(SECOND / 10);
        let heard = peer.hear();
        assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("\r\nRetry-After: "), "{heard}");
        assert!(peer.is_at_end());
    }
    let mut lost = bench.connect(0, 0);
    lost.say("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    bench.run_for(SECOND / 10);
    assert!(lost.hear().starts_with("HTTP/1.1 404 "), "what is final stays so");
    assert_eq!(bench.closed(0, CloseReason::TooManyConnections), 22);
    assert_eq!(bench.census(0).subscriptions, 1, "none of them was subscribed");
}

#[test]
fn whoever_finds_no_place_and_says_nothing_does_not_keep_it() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.connections_max = 1));
    let _first = bench.open(0, "/ws/1");
    let mut silent: Vec<Peer> = (0..limits::REFUSALS_OPEN_MAX).map(|_| bench.connect(0, 0)).collect();
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert!(
        silent.iter_mut().all(|peer| peer.hear().is_empty() && peer.is_at_end()),
        "nothing that could be an answer"
    );
    drop(silent);
    bench.run_for(SECOND);
    assert_eq!(bench.census(0).connections, 1);
}

#[test]
fn what_may_be_an_event_source_gets_no_408() {
    for (begun, is_told) in [
        ("", false),
        ("GE", false),
        ("GET /sse/1 HTTP/1.1\r\nHost: a\r\n", false),
        ("\r\nGET /sse/1?last_event_id=1 HTTP/1.1\r\nAccept: text/ev", false),
        ("HEAD /sse/1 HTTP/1.1\r\n", false),
        ("GET http://a/sse/1 HTTP/1.1\r\n", false),
        ("GET /ws/1 HTTP/1.1\r\nHost: a\r\n", true),
        ("POST /sse/1 HTTP/1.1\r\nHost: a\r\n", true),
        ("GET /nowhere HTTP/1.1\r\n", true),
    ] {
        let mut bench = Bench::new(1, settings());
        let mut peer = bench.connect(0, 0);
        peer.say(begun);
        bench.run_for(limits::HEAD_TIMEOUT + SECOND);
        let heard = peer.hear();
        assert_eq!((heard.starts_with("HTTP/1.1 408 "), heard.is_empty()), (is_told, !is_told), "{begun:?}: {heard}");
        assert!(peer.is_at_end());
        assert_eq!(bench.closed(0, CloseReason::TooSlow), 1);
    }
}

#[test]
fn a_client_that_ends_its_half_listens_on() {
    for shards in 1..=2 {
        let mut bench = Bench::new(shards, settings());
        let worker = bench.connect(0, BUS);
        // One ends its half with the request, the other later.
        let mut peers = [bench.connect(0, 0), bench.open(shards - 1, "/sse/1")];
        peers[0].say(request("/sse/1"));
        peers.iter().for_each(|peer| peer.end.shutdown_write());
        for number in 0..5 {
            bench.run_for(2 * limits::SSE_HEARTBEAT);
            publish(&mut bench, &worker, &format!("number {number}"));
            for peer in &mut peers {
                let heard = peer.hear();
                assert!(heard.contains(&format!("data: number {number}\n\n")) && heard.contains(": \n\n"), "{heard}");
            }
        }
        drop(peers);
        // Nothing says so when a client goes whose half has ended before; each heartbeat finds out.
        bench.run_for(limits::SSE_HEARTBEAT + limits::HALF_CLOSE_PROBE + SECOND);
        assert_eq!((0..shards.into()).map(|shard| bench.census(shard).subscriptions).sum::<usize>(), 0);
    }
}

#[test]
fn a_client_that_is_gone_altogether_is_noticed_soon_and_has_closed_the_connection() {
    let mut bench = Bench::new(1, settings());
    let peer = bench.open(0, "/sse/1");
    drop(peer);
    bench.run_for(limits::HALF_CLOSE_PROBE + SECOND / 10);
    assert_eq!(bench.census(0), Census::default());
    assert_eq!(bench.closed(0, CloseReason::PeerClosed), 1);
}

#[test]
fn a_client_that_ends_its_half_can_be_slow_be_sent_away_and_vanish_like_any_other() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.outbox_bytes_max = 10_000));
    let worker = bench.connect(0, BUS);
    let slow = bench.open(0, "/sse/1");
    slow.end.shutdown_write();
    let payload = "x".repeat(9_000);
    for _ in 0..100 {
        publish(&mut bench, &worker, &payload);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1);
    let vanishing = bench.open(0, "/sse/2");
    vanishing.end.shutdown_write();
    bench.run_for(SECOND);
    vanishing.end.reset();
    let mut last = bench.open(0, "/sse/2");
    last.end.shutdown_write();
    bench.drain();
    bench.run_for(2 * SECOND);
    assert!(return_after(&last.hear()) >= limits::RETURN_AFTER && last.has_last_chunk() && last.is_at_end());
}
