//! An answer that is longer than a piece: its next piece is made when there is room, and nothing else is said meanwhile.

use super::*;
use crate::conn::settings::DrainSettings;
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::http::{Body, BodyStep, Framing};
use crate::proto::subject::Pattern;

/// Six bytes of JSON for each byte of a payload.
const PAYLOAD: usize = 60_000;
/// How much longer a piece may be than it should, with its frame.
const SLACK: usize = 6 * 1536 + 200;
const NEXT: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

fn asked(method: &str, version: &str) -> String {
    format!("{method} /api/channels/long.1/history {version}\r\nHost: a\r\n\r\n")
}

/// The history's text, as one piece.
fn expected() -> String {
    let data = "\\u0001".repeat(PAYLOAD);
    format!(
        "{{\"channel\":\"long.1\",\"gap\":null,\"is_kept\":true,\"is_last\":true,\"messages\":[{{\"data\":\"{data}\",\
         \"position\":\"POSITION\"}}],\"position\":\"POSITION\"}}\n"
    )
}

/// A history of one long message.
fn bench(shards: u16) -> Bench {
    let keep = Keep { messages: 1, bytes: 1 << 20, age: 600 * SECOND };
    let rule = Rule { history: Some(keep), ..Rule::default() };
    let settings = with(settings(), |generation| {
        generation.channels = Arc::new(Rules::new([(Pattern::new("long.*").unwrap(), rule)]));
        generation.drain = DrainSettings { notice: Duration::ZERO, spread: SECOND };
    });
    let mut bench = Bench::new(shards, settings);
    let worker = bench.connect(0, BUS);
    worker.say([format!("PUB long.1 {PAYLOAD}\r\n").as_bytes(), &[1; PAYLOAD], b"\r\n"].concat());
    bench.run_for(SECOND);
    bench
}

/// Reads at most `bytes` at a time until no more arrive. At any time no more than two pieces wait for the peer: the last
/// piece of one answer, and the first piece of the next.
fn take_slowly(bench: &mut Bench, peer: &mut Peer, bytes: usize) {
    let mut idle = 0;
    while idle < 20 {
        let taken = matches!(peer.end.read_at_most(bytes, &mut peer.heard), ReadOutcome::Bytes(_));
        idle = if taken { 0 } else { idle + 1 };
        bench.run_for(SECOND / 100);
        let waiting = (0..bench.shards.len()).filter(|shard| bench.shards[*shard].is_some());
        let waiting = waiting.map(|shard| bench.census(shard).waiting_most).max().unwrap_or(0);
        assert!(waiting <= 2 * limits::REPLY_PIECE_BYTES + SLACK, "{waiting} bytes wait");
    }
}

/// Takes a head and a body in chunks off what was heard; `None` if the last chunk is missing.
fn take_answer(heard: &mut Vec<u8>) -> (String, Option<String>) {
    let head_len = memchr::memmem::find(heard, b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(heard.drain(..head_len).collect()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (mut chunks, mut text) = (Body::new(Framing::Chunked, u64::MAX).unwrap(), Vec::new());
    let mut input = &mut heard[..];
    while let BodyStep::Data(piece) = chunks.next(&mut input).expect("well-formed chunks") {
        text.extend_from_slice(piece);
    }
    *heard = input.to_vec();
    (head, chunks.is_over().then(|| String::from_utf8(text).unwrap()))
}

/// The text with the word POSITION, as in `expected`, in place of the position, which differs from test to test.
fn unplaced(text: &str) -> String {
    let (_, position) = text.rsplit_once("\"position\":").expect("a position");
    text.replace(position.trim_end_matches("}\n").trim_matches('"'), "POSITION")
}

fn text(answer: &[u8]) -> String {
    String::from_utf8(answer.to_vec()).unwrap()
}

#[test]
fn a_slow_reader_gets_a_long_history_in_pieces_and_then_the_next_answer() {
    for (shards, bytes) in [(1, 1_000), (2, 7_000), (3, 100_000)] {
        let mut bench = bench(shards);
        let mut peer = bench.connect(shards - 1, ADMIN);
        peer.say([asked("GET", "HTTP/1.1"), NEXT.into(), asked("GET", "HTTP/1.1"), NEXT.into()].concat());
        take_slowly(&mut bench, &mut peer, bytes);
        let mut heard = std::mem::take(&mut peer.heard);
        for _ in 0..2 {
            let (head, answer) = take_answer(&mut heard);
            assert!(
                head.contains("\r\nContent-Type: application/json\r\n") && !head.contains("Content-Length"),
                "{head}"
            );
            assert!(unplaced(&answer.expect("the last chunk")) == expected(), "the same text as in one piece");
            let ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                       Content-Length: 3\r\n\r\nok\n";
            assert!(heard.starts_with(ok), "{:.200}", text(&heard));
            heard.drain(..ok.len());
        }
        assert!(heard.is_empty() && peer.end.is_open(), "the next request is waited for");
        peer.say(asked("GET", "HTTP/1.1"));
        bench.run_for(SECOND);
        let waiting = bench.census((shards - 1).into()).waiting_most;
        assert!(waiting <= limits::REPLY_PIECE_BYTES + SLACK, "{waiting} bytes of a single answer wait");
        take_slowly(&mut bench, &mut peer, bytes);
        bench.run_for(limits::KEEP_ALIVE_TIMEOUT + SECOND);
        assert_eq!(bench.closed((shards - 1).into(), CloseReason::KeepAliveOver), 1);
    }
}

#[test]
fn head_has_no_pieces_and_http_1_0_no_chunks() {
    let mut bench = bench(1);
    let mut peer = bench.connect(0, ADMIN);
    peer.say([asked("HEAD", "HTTP/1.1"), NEXT.into()].concat());
    take_slowly(&mut bench, &mut peer, 10_000);
    let (head, rest) =
        text(&peer.heard).split_once("\r\n\r\n").map(|(head, rest)| (head.to_owned(), rest.to_owned())).unwrap();
    assert!(
        head.ends_with("\r\nTransfer-Encoding: chunked") && rest.starts_with("HTTP/1.1 200 OK\r\n"),
        "{head} {rest}"
    );

    let mut old = bench.connect(0, ADMIN);
    old.say([asked("GET", "HTTP/1.0\r\nConnection: keep-alive"), NEXT.into()].concat());
    take_slowly(&mut bench, &mut old, 10_000);
    let heard = text(&old.heard);
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nConnection: close\r\n") && !head.contains("Transfer-Encoding"), "{head}");
    assert!(unplaced(body) == expected(), "nothing follows the text");
    assert!(!old.end.is_open(), "but the end of the connection");
    assert_eq!(bench.closed(0, CloseReason::Normal), 1);
}

#[test]
fn a_short_history_says_its_length() {
    let mut bench = bench(1);
    let worker = bench.connect(0, BUS);
    worker.say("PUB long.2 5\r\nshort\r\n");
    bench.run_for(SECOND);
    let mut peer = bench.connect(0, ADMIN);
    for method in ["GET", "HEAD"] {
        peer.say(format!("{method} /api/channels/long.2/history HTTP/1.1\r\nHost: a\r\n\r\n"));
        bench.run_for(SECOND);
        let heard = peer.hear();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        let len = head.rsplit_once("Content-Length: ").unwrap().1.parse::<usize>().unwrap();
        assert!(len > 100 && body.len() == if method == "GET" { len } else { 0 }, "{heard}");
    }
}

#[test]
fn a_reader_is_slow_by_what_it_takes_and_not_by_what_is_left() {
    let mut bench = bench(1);
    let mut peers = [bench.connect(0, ADMIN), bench.connect(0, ADMIN)];
    peers.iter().for_each(|peer| peer.say([asked("GET", "HTTP/1.1"), NEXT.into()].concat()));
    // One peer reads a little before each send time-out. Together this takes far longer than one time-out.
    for _ in 0..10 {
        bench.run_for(limits::SEND_TIMEOUT * 3 / 4);
        let _ = peers[0].end.read_at_most(500, &mut peers[0].heard);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1, "the other, which takes nothing");
    for (peer, is_slow) in peers.iter_mut().zip([false, true]) {
        take_slowly(&mut bench, peer, 100_000);
        let (_, answer) = take_answer(&mut peer.heard);
        assert_eq!(answer.is_none(), is_slow, "cut without a last chunk");
        assert_eq!(text(&peer.heard).matches("HTTP/1.1").count(), usize::from(!is_slow), "nor with a second answer");
        assert_eq!(peer.end.is_open(), !is_slow);
    }
}

#[test]
fn a_drain_waits_for_a_long_answer_and_then_cuts_it() {
    let mut bench = bench(1);
    let mut peers = [bench.connect(0, ADMIN), bench.connect(0, ADMIN)];
    peers.iter().for_each(|peer| peer.say([asked("GET", "HTTP/1.1"), NEXT.into()].concat()));
    bench.run_for(SECOND / 10);
    bench.drain();
    bench.run_for(2 * SECOND);
    // One of them goes on, the other does not.
    take_slowly(&mut bench, &mut peers[0], 100_000);
    bench.run_for(2 * limits::DRAIN_GRACE + SECOND);
    assert!(bench.is_over());
    for (peer, is_whole) in peers.iter_mut().zip([true, false]) {
        while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
        let (_, answer) = take_answer(&mut peer.heard);
        assert_eq!(answer.is_some(), is_whole);
        assert!(peer.heard.is_empty() || !is_whole, "it was the last: {}", text(&peer.heard));
        assert!(!text(&peer.heard).contains("HTTP/1.1") && !peer.end.is_open());
    }
}

#[test]
fn a_client_that_has_ended_its_half_gets_all_of_it() {
    let mut bench = bench(2);
    let mut peer = bench.connect(1, ADMIN);
    peer.say([asked("GET", "HTTP/1.1"), asked("GET", "HTTP/1.1")].concat());
    peer.end.shutdown_write();
    take_slowly(&mut bench, &mut peer, 5_000);
    for _ in 0..2 {
        let (_, answer) = take_answer(&mut peer.heard);
        assert!(unplaced(&answer.expect("the last chunk")) == expected());
    }
    assert!(peer.heard.is_empty() && !peer.end.is_open());
    assert_eq!(bench.closed(1, CloseReason::PeerClosed), 1);
}
