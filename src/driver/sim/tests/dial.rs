//! Dials: what becomes of each, and that nothing is left of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;

const REQUEST: &[u8] = b"ask";
const ANSWER: &[u8] = b"an answer";

fn server() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 1], 80))
}

impl Bench {
    fn dial(&mut self, to: impl Into<Remote>) -> Key {
        let key = self.slots.insert(());
        self.driver.connect(&to.into(), None, key);
        key
    }

    /// The outcome of a dial; `None` if nothing will ever happen again.
    fn outcome(&mut self, key: Key) -> Option<Result<(), io::ErrorKind>> {
        loop {
            let outcome = self.seen.iter().find_map(|seen| match seen {
                Seen::Connected(of, outcome) if *of == key => Some(*outcome),
                _ => None,
            });
            if outcome.is_some() || !self.step() {
                return outcome;
            }
        }
    }

    /// Nothing but `Closed` comes after this, and nothing is left.
    fn close_dial(&mut self, key: Key) {
        self.seen.retain(|seen| !matches!(seen, Seen::Connected(..)));
        self.driver.close(key);
        self.until(|seen| matches!(seen, Seen::Closed(of) if *of == key));
        self.slots.remove(key).unwrap();
        self.rest();
        assert!(!self.seen.iter().any(|seen| matches!(seen, Seen::Connected(..))), "{:?}", self.seen);
    }

    fn is_empty(&self) {
        assert_eq!((self.world.open_connections(), self.world.attached(self.driver.id())), (0, 0));
        assert_eq!(self.world.bytes_held(), 0);
        assert_eq!(self.world.state().links.len(), 0);
    }
}

#[test]
fn a_dial_is_refused_if_the_service_says_so_or_is_not_there() {
    let mut bench = quiet();
    let refuse = |bench: &mut Bench, to: Remote, kind| {
        let key = bench.dial(to);
        assert_eq!(bench.outcome(key), Some(Err(kind)));
        bench.close_dial(key);
    };
    let path = Remote::Unix(Path::new("/run/app.sock").into());
    refuse(&mut bench, server().into(), io::ErrorKind::ConnectionRefused);
    refuse(&mut bench, path.clone(), io::ErrorKind::NotFound);
    let service = bench.world.serve(server());
    service.decide(DialFate::Refused);
    refuse(&mut bench, server().into(), io::ErrorKind::ConnectionRefused);
    let full = bench.world.serve(path.clone());
    full.set_queue_max(0);
    refuse(&mut bench, path, io::ErrorKind::WouldBlock);
    let key = bench.dial(server());
    assert_eq!(bench.outcome(key), Some(Ok(())), "a fate is that of one dial");
    drop(service.accept());
    bench.close_dial(key);
    bench.is_empty();
}

#[test]
fn a_silent_service_never_answers() {
    let mut bench = quiet();
    let service = bench.world.serve(server());
    service.decide(DialFate::Silent);
    let key = bench.dial(server());
    assert_eq!(bench.outcome(key), None);
    assert!(service.accept().is_none());
    bench.close_dial(key);
    bench.is_empty();
}

#[test]
fn a_late_answer_comes_at_its_time() {
    let mut bench = quiet();
    let service = bench.world.serve(server());
    let delay = Duration::from_secs(3);
    service.decide(DialFate::Late(delay));
    let key = bench.dial(server());
    let began = bench.world.now();
    assert_eq!(bench.outcome(key), Some(Ok(())));
    let took = bench.world.now().since(began);
    assert!((delay..delay + Duration::from_millis(1)).contains(&took), "{took:?}");
    // A service that goes meanwhile refuses.
    service.decide(DialFate::Late(delay));
    let orphan = bench.dial(server());
    bench.world.advance_to(bench.world.now() + delay / 2);
    drop(service);
    assert_eq!(bench.outcome(orphan), Some(Err(io::ErrorKind::ConnectionRefused)));
    bench.close_dial(orphan);
    bench.close_dial(key);
    bench.is_empty();
}

#[test]
fn a_full_service_is_asked_again_until_there_is_room() {
    let mut bench = quiet();
    let service = bench.world.serve(server());
    service.set_queue_max(1);
    let keys = [(); 3].map(|()| bench.dial(server()));
    assert_eq!(bench.outcome(keys[0]), Some(Ok(())));
    let ends: Vec<Endpoint> = keys[1..]
        .iter()
        .map(|key| {
            let end = service.accept().expect("the one before");
            assert_eq!(bench.outcome(*key), Some(Ok(())));
            end
        })
        .collect();
    assert!(bench.world.now() >= Tick::ZERO + Duration::from_secs(1));
    drop(ends);
    drop(service.accept());
    keys.into_iter().for_each(|key| bench.close_dial(key));
    bench.is_empty();
}

#[test]
fn a_reset_at_any_byte_lets_the_bytes_before_it_pass() {
    for count in 0..=(REQUEST.len() + ANSWER.len()) {
        let mut bench = quiet();
        let service = bench.world.serve_calm(server());
        service.decide(DialFate::ResetAt(count as u64));
        let key = bench.dial(server());
        let connected = bench.outcome(key);
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        if connected == Some(Ok(())) {
            bench.driver.send(key, batch(REQUEST));
            bench.driver.recv(key);
            let end = service.accept().expect("it is connected");
            let mut left = ANSWER;
            while bench.step() {
                end.read(&mut request);
                if request == REQUEST {
                    left = &left[end.write(left)..];
                }
                if let Some(at) = bench.seen.iter().position(|seen| matches!(seen, Seen::Received(..))) {
                    let Seen::Received(_, bytes) = bench.seen.remove(at) else { unreachable!() };
                    answer.extend(bytes);
                    bench.driver.recv(key);
                }
            }
            assert!(end.broken().is_some(), "{count}");
            let ended = bench.seen.iter().find(|seen| matches!(seen, Seen::Finished(..)));
            assert!(matches!(ended, Some(Seen::Finished(_, Err(io::ErrorKind::ConnectionReset)))), "{count} {ended:?}");
        } else {
            assert_eq!((count, connected), (0, Some(Err(io::ErrorKind::ConnectionReset))));
            drop(service.accept());
        }
        assert_eq!(request, REQUEST[..count.min(REQUEST.len())], "{count}");
        assert_eq!(answer, ANSWER[..count.saturating_sub(REQUEST.len())], "{count}");
        bench.close_dial(key);
        bench.is_empty();
    }
}

#[test]
fn a_close_at_any_time_of_a_dial_revokes_it() {
    for fate in [DialFate::Answered, DialFate::Refused, DialFate::Silent, DialFate::ResetAt(0)] {
        for steps in 0..8 {
            in_every_world(|mut bench| {
                let service = bench.world.serve(server());
                service.decide(fate);
                let key = bench.dial(server());
                (0..steps).for_each(|_| _ = bench.step());
                bench.close_dial(key);
                while let Some(end) = service.accept() {
                    drop(end);
                }
                bench.rest();
                bench.is_empty();
            });
        }
    }
}

#[test]
fn a_service_that_goes_resets_what_it_has_not_accepted() {
    let mut bench = quiet();
    let service = bench.world.serve(server());
    let key = bench.dial(server());
    assert_eq!(bench.outcome(key), Some(Ok(())));
    drop(service);
    bench.driver.recv(key);
    let ended = bench.until(|seen| matches!(seen, Seen::Finished(..)));
    assert!(matches!(ended, Seen::Finished(_, Err(io::ErrorKind::ConnectionReset))));
    bench.close_dial(key);
    bench.is_empty();
}

#[test]
fn a_driver_that_goes_ends_its_dials() {
    let Bench { world, mut driver, mut slots, .. } = quiet();
    let service = world.serve(server());
    driver.connect(&server().into(), None, slots.insert(()));
    world.advance_to(world.now() + Duration::from_millis(1));
    driver.connect(&server().into(), None, slots.insert(()));
    drop(driver);
    while world.next_event() != Tick::NEVER {
        world.advance_to(world.next_event());
    }
    let end = service.accept().expect("the first one has arrived");
    assert_eq!(end.read(&mut Vec::new()), ReadOutcome::End);
    assert!(service.accept().is_none(), "the second one was on its way");
}

/// Dials in a world with a character of its own, each closed after its outcome or, if none comes, at last.
fn dial_in_a_world(seed: u64) -> (BTreeSet<Option<Result<(), io::ErrorKind>>>, u64) {
    let mut bench = Bench::new(World::seeded(seed));
    let service = bench.world.serve(server());
    let keys: Vec<Key> = (0..30).map(|_| bench.dial(server())).collect();
    let outcomes: Vec<_> = keys.iter().map(|key| bench.outcome(*key)).collect();
    for (key, outcome) in keys.iter().zip(&outcomes) {
        if *outcome == Some(Ok(())) {
            bench.driver.send(*key, batch(REQUEST));
        }
    }
    let mut ends: Vec<Endpoint> = Vec::new();
    while bench.step() {
        ends.extend(service.accept());
        ends.iter().for_each(|end| _ = end.read(&mut Vec::new()));
    }
    let told: Vec<_> = bench.seen.iter().filter(|seen| matches!(seen, Seen::Connected(..))).collect();
    assert_eq!(told.len(), outcomes.iter().flatten().count(), "seed {seed}: each is told once");
    keys.into_iter().for_each(|key| bench.close_dial(key));
    drop(ends);
    drop(service);
    bench.rest();
    bench.is_empty();
    (outcomes.into_iter().collect(), bench.world.history())
}

#[test]
fn every_fate_is_met_in_some_world_and_leaves_nothing_in_any() {
    let mut met = BTreeSet::new();
    SEEDS.for_each(|seed| met.extend(dial_in_a_world(seed).0));
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, ConnectionReset, OutOfMemory};
    let failed = [AddrNotAvailable, ConnectionRefused, ConnectionReset, OutOfMemory].map(|kind| Some(Err(kind)));
    assert!(met.is_superset(&failed.into_iter().chain([None, Some(Ok(()))]).collect()), "{met:?}");
}

#[test]
fn the_same_seed_has_the_same_dials() {
    (0..20).for_each(|seed| assert_eq!(dial_in_a_world(seed), dial_in_a_world(seed)));
}
