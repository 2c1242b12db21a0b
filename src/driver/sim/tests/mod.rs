//! The driver's contract, line by line; dials: dial.rs; all of it at once: echo.rs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use super::*;
use crate::base::Slots;

mod dial;
mod echo;

const DOOR: ListenerId = ListenerId(3);
const SEEDS: std::ops::Range<u64> = 0..300;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn batch(bytes: &[u8]) -> Box<Batch> {
    let mut batch = Box::new(Batch::new());
    let (own, shared) = bytes.split_at(bytes.len() / 2);
    batch.push(own);
    batch.push_shared(Rc::from(shared));
    batch
}

/// A completion that has been copied, so that it can be kept.
#[derive(Debug)]
enum Seen {
    Accepted(SimSocketBox),
    AcceptFailed,
    Received(Key, Vec<u8>),
    Finished(Key, Result<(), io::ErrorKind>),
    Sent(Key, usize, Result<(), io::ErrorKind>),
    Connected(Key, Result<(), io::ErrorKind>),
    Closed(Key),
    Woken,
}

struct SimSocketBox(SimSocket);

impl std::fmt::Debug for SimSocketBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.link)
    }
}

/// A driver with a listener, a scheduler around it, and what it has completed.
struct Bench {
    world: World,
    driver: SimDriver,
    seen: Vec<Seen>,
    slots: Slots<()>,
}

impl Bench {
    fn new(world: World) -> Bench {
        let mut driver = world.driver();
        driver.listen(DOOR, world.listener(address())).unwrap();
        Bench { world, driver, seen: Vec::new(), slots: Slots::new(0) }
    }

    /// One turn, or the way to the next event; false if nothing will ever happen again.
    fn step(&mut self) -> bool {
        if !self.world.is_runnable(self.driver.id()) {
            let next = self.world.next_event();
            if next == Tick::NEVER {
                return false;
            }
            self.world.advance_to(next);
            return true;
        }
        self.driver.wait(Tick::NEVER).unwrap();
        while let Some(completion) = self.driver.next() {
            self.seen.push(match completion {
                Completion::Accepted { listener, socket, .. } => {
                    assert_eq!(listener, DOOR);
                    Seen::Accepted(SimSocketBox(socket))
                }
                Completion::AcceptFailed { .. } => Seen::AcceptFailed,
                Completion::Received { key, bytes } => Seen::Received(key, bytes.to_vec()),
                Completion::Finished { key, end } => Seen::Finished(key, end),
                Completion::Sent { key, batch, outcome } => Seen::Sent(key, batch.len(), outcome),
                Completion::Connected { key, outcome } => Seen::Connected(key, outcome),
                Completion::Closed { key } => Seen::Closed(key),
                Completion::Woken => Seen::Woken,
            });
        }
        true
    }

    fn rest(&mut self) {
        while self.step() {}
    }

    fn until(&mut self, mut is_wanted: impl FnMut(&Seen) -> bool) -> Seen {
        loop {
            if let Some(index) = self.seen.iter().position(&mut is_wanted) {
                return self.seen.remove(index);
            }
            assert!(self.step(), "it never comes; seen: {:?}", self.seen);
        }
    }

    /// Connects a client and attaches its connection.
    fn open(&mut self) -> (Endpoint, Key) {
        let client = self.world.connect_calm(address()).unwrap();
        loop {
            match self.until(|seen| matches!(seen, Seen::Accepted(_) | Seen::AcceptFailed)) {
                Seen::Accepted(SimSocketBox(socket)) => {
                    let key = self.slots.insert(());
                    self.driver.attach(socket, key);
                    return (client, key);
                }
                _ => self.driver.resume_accept(DOOR),
            }
        }
    }

    /// Receives until so many bytes are there.
    fn receive(&mut self, key: Key, count: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < count {
            self.driver.recv(key);
            match self.until(|seen| matches!(seen, Seen::Received(..) | Seen::Finished(..))) {
                Seen::Received(of, bytes) => {
                    assert!(of == key && !bytes.is_empty());
                    received.extend(bytes);
                }
                other => panic!("{other:?}"),
            }
        }
        received
    }

    /// Lets the client read to the end of the stream, however long its pauses are.
    fn read_to_end(&mut self, client: &Endpoint) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match client.read(&mut bytes) {
                ReadOutcome::Bytes(_) => {}
                ReadOutcome::Pending => assert!(self.step(), "the end never comes"),
                ReadOutcome::End => return bytes,
                ReadOutcome::Broken(kind) => panic!("{kind}"),
            }
        }
    }
}

fn in_every_world(test: impl Fn(Bench)) {
    test(Bench::new(World::new(0, Faults::none())));
    SEEDS.for_each(|seed| test(Bench::new(World::seeded(seed))));
}

fn quiet() -> Bench {
    Bench::new(World::new(0, Faults::none()))
}

fn text(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7 + index / 251) as u8).collect()
}

#[test]
fn hands_over_what_the_client_wrote_in_order() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        let bytes = text(400);
        assert_eq!(client.write(&bytes[..123]), 123);
        assert_eq!(client.write(&bytes[123..]), 277);
        assert_eq!(bench.receive(key, 400), bytes);
    });
}

#[test]
fn hands_over_the_clients_end_behind_its_bytes() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        client.write(b"last words");
        client.shutdown_write();
        assert_eq!(client.write(b"more"), 0);
        assert_eq!(bench.receive(key, 10), b"last words");
        bench.driver.recv(key);
        let end = bench.until(|seen| matches!(seen, Seen::Received(..) | Seen::Finished(..)));
        assert!(matches!(end, Seen::Finished(of, Ok(())) if of == key), "{end:?}");
        // The other direction still works.
        bench.driver.send(key, batch(b"answer"));
        bench.driver.shutdown(key);
        assert_eq!(bench.read_to_end(&client), b"answer");
    });
}

#[test]
fn completes_nothing_that_was_not_asked_for() {
    in_every_world(|mut bench| {
        let (client, _key) = bench.open();
        client.write(b"unheard");
        bench.rest();
        bench.seen.retain(|seen| !matches!(seen, Seen::Woken));
        assert!(bench.seen.is_empty(), "{:?}", bench.seen);
    });
}

#[test]
fn holds_a_bounded_number_of_bytes_that_nobody_asked_for() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        let bytes = text(100_000);
        let mut written = 0;
        for _ in 0..10 {
            written += client.write(&bytes[written..]);
            bench.rest();
        }
        assert!((512..=65_536).contains(&written));
        assert_eq!(bench.world.bytes_held(), written);
        // And goes on once a caller asks.
        assert_eq!(bench.receive(key, written), bytes[..written]);
        assert!(client.write(&bytes[written..]) > 0);
    });
}

#[test]
fn a_batch_comes_back_sent_whole() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        let bytes = text(70_000);
        bench.driver.send(key, batch(&bytes));
        bench.driver.shutdown(key);
        assert_eq!(bench.read_to_end(&client), bytes);
        let sent = bench.until(|seen| matches!(seen, Seen::Sent(..)));
        assert!(matches!(sent, Seen::Sent(of, 0, Ok(())) if of == key), "{sent:?}");
    });
}

#[test]
fn a_batch_waits_for_a_client_that_does_not_read() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        bench.driver.send(key, batch(&text(70_000)));
        bench.rest();
        assert!(!bench.seen.iter().any(|seen| matches!(seen, Seen::Sent(..))));
        client.reset();
        let sent = bench.until(|seen| matches!(seen, Seen::Sent(..)));
        assert!(matches!(sent, Seen::Sent(_, left, Err(io::ErrorKind::ConnectionReset)) if left > 0), "{sent:?}");
    });
}

#[test]
fn a_reset_ends_the_outstanding_receive_with_an_error() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        bench.driver.recv(key);
        client.reset();
        let end = bench.until(|seen| matches!(seen, Seen::Finished(..)));
        assert!(matches!(end, Seen::Finished(of, Err(_)) if of == key), "{end:?}");
        bench.driver.close(key);
        bench.until(|seen| matches!(seen, Seen::Closed(_)));
        assert_eq!(bench.world.open_connections(), 0);
    });
}

#[test]
fn sending_after_a_shutdown_fails() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.shutdown(key);
    bench.driver.shutdown(key);
    bench.driver.send(key, batch(b"late"));
    let sent = bench.until(|seen| matches!(seen, Seen::Sent(..)));
    assert!(matches!(sent, Seen::Sent(_, 4, Err(io::ErrorKind::BrokenPipe))), "{sent:?}");
}

#[test]
fn a_client_that_left_answers_with_a_reset() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        drop(client);
        bench.driver.send(key, batch(b"hello?"));
        bench.rest();
        bench.driver.recv(key);
        bench.until(|seen| matches!(seen, Seen::Finished(..)));
        bench.driver.close(key);
        bench.until(|seen| matches!(seen, Seen::Closed(_)));
        assert_eq!(bench.world.open_connections(), 0);
    });
}

#[test]
fn close_revokes_a_receive_and_returns_the_batch_before_closed() {
    in_every_world(|mut bench| {
        let (client, key) = bench.open();
        bench.driver.recv(key);
        bench.driver.send(key, batch(&text(70_000)));
        client.write(b"too late");
        for _ in 0..bench.world.random_below(5) {
            bench.step();
        }
        bench.seen.clear();
        bench.driver.close(key);
        bench.rest();
        bench.seen.retain(|seen| !matches!(seen, Seen::Woken));
        assert!(
            matches!(bench.seen[..], [Seen::Sent(_, _, Err(_)), Seen::Closed(of)] if of == key),
            "{:?}",
            bench.seen
        );
    });
}

#[test]
fn a_slot_is_attached_again_after_closed() {
    in_every_world(|mut bench| {
        for round in 0..4 {
            let (client, key) = bench.open();
            assert_eq!(key, Key { slot: 0, generation: round });
            client.write(b"ping");
            assert_eq!(bench.receive(key, 4), b"ping");
            bench.driver.send(key, batch(b"pong"));
            bench.until(|seen| matches!(seen, Seen::Sent(..)));
            bench.driver.close(key);
            assert_eq!(bench.read_to_end(&client), b"pong");
            bench.until(|seen| matches!(seen, Seen::Closed(of) if *of == key));
            assert_eq!(bench.world.attached(bench.driver.id()), 0);
            bench.slots.remove(key);
        }
    });
}

#[test]
fn closing_with_unread_bytes_resets_the_client() {
    let mut bench = quiet();
    let (client, key) = bench.open();
    client.write(b"unread");
    bench.rest();
    bench.driver.close(key);
    bench.rest();
    assert!(!client.is_open());
    assert_eq!(client.broken(), Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn dropping_a_socket_before_it_is_attached_closes_it() {
    in_every_world(|mut bench| {
        let client = bench.world.connect_calm(address()).unwrap();
        loop {
            match bench.until(|seen| matches!(seen, Seen::Accepted(_) | Seen::AcceptFailed)) {
                Seen::Accepted(socket) => break drop(socket),
                _ => bench.driver.resume_accept(DOOR),
            }
        }
        assert_eq!(bench.read_to_end(&client), b"");
        assert_eq!(bench.world.open_connections(), 0);
    });
}

#[test]
fn accepting_stops_when_it_failed_until_it_is_resumed() {
    let mut bench = Bench::new(World::new(1, Faults { accept_failure: 1_000, ..Faults::none() }));
    let _client = bench.world.connect(address()).unwrap();
    bench.rest();
    assert!(matches!(bench.seen[..], [Seen::AcceptFailed]));
    bench.driver.resume_accept(DOOR);
    bench.rest();
    assert!(matches!(bench.seen[..], [Seen::AcceptFailed, Seen::AcceptFailed]));
    bench.world.calm_down();
    bench.driver.resume_accept(DOOR);
    bench.driver.resume_accept(DOOR);
    bench.rest();
    assert!(matches!(bench.seen[2..], [Seen::Accepted(_)]));
}

#[test]
fn accepts_nothing_while_paused() {
    let mut bench = quiet();
    let _clients = [(); 3].map(|()| bench.world.connect(address()).unwrap());
    bench.world.advance_to(Tick::from_millis(1));
    bench.driver.pause_accept(DOOR);
    bench.rest();
    assert!(bench.seen.is_empty());
    assert_eq!(bench.world.open_connections(), 3);
    bench.driver.resume_accept(DOOR);
    bench.rest();
    assert_eq!(bench.seen.len(), 3);
}

#[test]
fn clients_are_spread_over_the_drivers_of_an_address() {
    let world = World::new(0, Faults::none());
    let mut benches = [(); 3].map(|()| Bench::new(world.clone()));
    let _clients: Vec<_> = (0..60).map(|_| world.connect(address()).unwrap()).collect();
    world.advance_to(Tick::from_millis(1));
    benches.iter_mut().for_each(|bench| assert!(bench.step()));
    for bench in &benches {
        assert!(bench.seen.len() > 8, "{}", bench.seen.len());
    }
    assert!(world.connect(SocketAddr::from(([127, 0, 0, 1], 1))).is_none());
}

#[test]
fn a_wake_up_from_elsewhere_makes_the_driver_runnable_once() {
    let mut bench = quiet();
    bench.rest();
    assert!(!bench.world.is_runnable(bench.driver.id()));
    bench.driver.waker().wake();
    bench.driver.waker().wake();
    assert!(bench.world.is_runnable(bench.driver.id()));
    assert_eq!(bench.world.next_event(), bench.world.now());
    bench.rest();
    assert!(matches!(bench.seen[..], [Seen::Woken]));
}

#[test]
fn a_deadline_makes_the_driver_runnable() {
    let mut bench = quiet();
    let deadline = Tick::from_millis(70);
    bench.driver.wait(deadline).unwrap();
    assert!(!bench.world.is_runnable(bench.driver.id()));
    assert_eq!(bench.world.next_event(), deadline);
    bench.world.advance_to(deadline);
    assert!(bench.world.is_runnable(bench.driver.id()));
    assert_eq!(bench.driver.wait(Tick::NEVER).unwrap(), deadline);
    assert_eq!(bench.driver.now(), deadline);
}

#[test]
fn dropping_a_driver_closes_what_it_held() {
    let mut bench = quiet();
    let (attached, _key) = bench.open();
    let queued = bench.world.connect(address()).unwrap();
    let knocking = bench.world.clone();
    drop(bench);
    knocking.advance_to(Tick::from_millis(10));
    assert!(!attached.is_open() && !queued.is_open());
    assert_eq!(knocking.open_connections(), 0);
    assert_eq!(knocking.next_event(), Tick::NEVER);
    assert!(knocking.connect(address()).is_none());
}

#[test]
fn an_endpoint_reads_and_writes_like_a_nonblocking_socket() {
    let mut bench = quiet();
    let (mut client, key) = bench.open();
    let mut buffer = [0; 4];
    assert_eq!(Read::read(&mut client, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    client.write_all(b"abc").unwrap();
    assert_eq!(bench.receive(key, 3), b"abc");
    bench.driver.send(key, batch(b"abcdef"));
    bench.driver.shutdown(key);
    bench.rest();
    assert_eq!(Read::read(&mut client, &mut buffer).unwrap(), 4);
    assert_eq!(Read::read(&mut client, &mut buffer).unwrap(), 2);
    assert_eq!(Read::read(&mut client, &mut buffer).unwrap(), 0);
    assert!(client.write_all(&[0; 70_000]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    client.shutdown_write();
    assert!(client.write_all(b"x").is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
#[should_panic(expected = "has a receive outstanding")]
fn two_receives_at_a_time_are_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.recv(key);
    bench.driver.recv(key);
}

#[test]
#[should_panic(expected = "has a batch outstanding")]
fn two_batches_at_a_time_are_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.send(key, batch(b"a"));
    bench.driver.send(key, batch(b"b"));
}

#[test]
#[should_panic(expected = "is not attached")]
fn a_key_of_another_generation_is_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.recv(Key { generation: key.generation + 1, ..key });
}

#[test]
#[should_panic(expected = "is being closed")]
fn a_submission_after_close_is_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.close(key);
    bench.driver.send(key, batch(b"a"));
}

#[test]
#[should_panic(expected = "is not attached")]
fn a_submission_after_closed_is_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.driver.close(key);
    bench.rest();
    bench.driver.close(key);
}

#[test]
#[should_panic(expected = "slot 0 is attached already")]
fn attaching_a_slot_twice_is_misuse() {
    let mut bench = quiet();
    let (_client, key) = bench.open();
    bench.slots.remove(key);
    bench.open();
}

#[test]
#[should_panic(expected = "listens already")]
fn listening_twice_with_one_id_is_misuse() {
    let mut bench = quiet();
    let listener = bench.world.listener(address());
    bench.driver.listen(DOOR, listener).unwrap();
}
