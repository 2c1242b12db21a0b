//! Clients that do not read: what waits for them is bounded in sum, and a bystander goes on being served.

use super::*;
use crate::proto::channel::{Delivery, Rule, Rules};
use crate::proto::subject::Pattern;

const WAITING_MAX: usize = 500_000;
/// More than pipes hold a few of, and fewer than one client may leave unread.
const BYTES: usize = 20_000;

fn bench() -> (Bench, Peer) {
    let settings = with(settings(), |generation| generation.waiting_bytes_max = WAITING_MAX);
    let bench = Bench::new(1, settings);
    let worker = bench.connect(0, BUS);
    (bench, worker)
}

fn publish(bench: &mut Bench, worker: &Peer, room: &str, payload: &[u8]) {
    worker.say([format!("PUB room.{room} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat());
    bench.run_for(SECOND / 100);
}

fn waiting(bench: &Bench) -> usize {
    let waiting = bench.core(0).desk.sums.waiting_bytes();
    assert!(waiting <= WAITING_MAX, "{waiting}");
    waiting
}

#[test]
fn what_waits_for_clients_that_do_not_read_is_bounded_in_sum() {
    let (mut bench, worker) = bench();
    let mut bystander = bench.open(0, "/ws/bystander");
    let strangers: Vec<Peer> = (0..30).map(|number| bench.open(0, &format!("/ws/{number}"))).collect();
    let payload = [b'x'; BYTES];
    // Each has its own channel: nothing that waits is shared, and none has too much for itself alone.
    for _ in 0..8 {
        for number in 0..strangers.len() {
            publish(&mut bench, &worker, &number.to_string(), &payload);
            waiting(&bench);
        }
        publish(&mut bench, &worker, "bystander", &payload);
        assert!(bystander.hear().contains("xxxx"));
    }
    let ended = bench.closed(0, CloseReason::WaitingFull);
    assert!((10..30).contains(&ended), "{ended} of 30, each with 160,000 bytes, of which pipes hold some");
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 0);
    assert!(waiting(&bench) > WAITING_MAX / 2, "no more than that has to go");
    drop(strangers);
    bench.run_for(SECOND);
    assert_eq!(waiting(&bench), 0);
    publish(&mut bench, &worker, "bystander", b"still there");
    assert!(bystander.hear().contains("still there"));
}

#[test]
fn bytes_that_all_wait_for_are_not_counted_for_each() {
    let (mut bench, worker) = bench();
    let slow: Vec<Peer> = (0..30).map(|_| bench.open(0, "/ws/1")).collect();
    for _ in 0..8 {
        publish(&mut bench, &worker, "1", &[b'x'; BYTES]);
    }
    // 30 times 160,000 bytes would be far too much.
    assert!(waiting(&bench) > 0);
    assert_eq!(bench.closed(0, CloseReason::WaitingFull), 0);
    drop(slow);
}

/// Of ten that all wait for the same bytes, nine leave, again and again: the bytes stay, and count for those that have them.
#[test]
fn the_last_holder_of_shared_bytes_answers_for_all_of_them() {
    for delivery in [Delivery::Queue, Delivery::Latest] {
        let rule = (Pattern::new("room.*").unwrap(), Rule { delivery, ..Rule::default() });
        let mut settings = with(settings(), |generation| generation.channels = Arc::new(Rules::new([rule])));
        settings.generation_mut().waiting_bytes_max = WAITING_MAX;
        let mut bench = Bench::new(1, settings);
        let worker = bench.connect(0, BUS);
        worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        let mut left = Vec::new();
        for room in 0..6 {
            let mut slow: Vec<Peer> = (0..10).map(|_| bench.open(0, &format!("/ws/{room}"))).collect();
            for key in 0..8 {
                let headers = format!("NATS/1.0\r\nTg-Key: {key}\r\n\r\n");
                let sizes = format!("{} {}", headers.len(), headers.len() + BYTES);
                let head = format!("HPUB room.{room} {sizes}\r\n{headers}");
                worker.say([head.as_bytes(), &[b'x'; BYTES], b"\r\n"].concat());
                bench.run_for(SECOND / 100);
            }
            left.extend(slow.pop());
            drop(slow);
            bench.run_for(SECOND);
            // Pipes hold three of eight.
            let really = left.len() * 5 * BYTES;
            assert!(waiting(&bench) >= really.min(WAITING_MAX / 2), "{} of {really}", waiting(&bench));
        }
        assert!(bench.closed(0, CloseReason::WaitingFull) >= 2, "six times 100,000 bytes are too much");
    }
}
