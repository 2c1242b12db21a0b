//! The whole contract at once: a server that echoes, clients that talk to it, in every kind of world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// Sends back what it receives, as a shard would; counts that every submission ends once.
#[derive(Default)]
struct Echo {
    open: BTreeMap<Key, Echoed>,
    accept_again_at: Option<Tick>,
}

#[derive(Default)]
struct Echoed {
    is_receiving: bool,
    is_sending: bool,
    is_closing: bool,
    is_finished: bool,
    waiting: Vec<u8>,
}

impl Echo {
    fn turn(&mut self, driver: &mut SimDriver, slots: &mut Slots<()>) {
        let now = driver.wait(self.accept_again_at.unwrap_or(Tick::NEVER)).unwrap();
        if self.accept_again_at.is_some_and(|at| at <= now) {
            self.accept_again_at = None;
            driver.resume_accept(DOOR);
        }
        while let Some(completion) = driver.next() {
            let key = match completion {
                Completion::Accepted { socket, .. } => {
                    let key = slots.insert(());
                    driver.attach(socket, key);
                    assert!(self.open.insert(key, Echoed::default()).is_none());
                    key
                }
                Completion::AcceptFailed { .. } => {
                    self.accept_again_at = Some(now + Duration::from_millis(100));
                    continue;
                }
                Completion::Received { key, bytes } => {
                    let echoed = self.of(key);
                    assert!(std::mem::take(&mut echoed.is_receiving) && !echoed.is_closing && !bytes.is_empty());
                    echoed.waiting.extend_from_slice(bytes);
                    key
                }
                Completion::Finished { key, .. } => {
                    let echoed = self.of(key);
                    assert!(std::mem::take(&mut echoed.is_receiving) && !echoed.is_closing);
                    echoed.is_finished = true;
                    key
                }
                Completion::Sent { key, batch, outcome } => {
                    let echoed = self.of(key);
                    assert!(std::mem::take(&mut echoed.is_sending));
                    assert!(outcome.is_err() || batch.is_empty());
                    // What cannot be sent any more is not kept.
                    if outcome.is_err() {
                        echoed.is_finished = true;
                        echoed.waiting.clear();
                    }
                    key
                }
                Completion::Closed { key } => {
                    let echoed = self.open.remove(&key).unwrap();
                    assert!(echoed.is_closing && !echoed.is_sending);
                    slots.remove(key).unwrap();
                    continue;
                }
                Completion::Connected { key, .. } => panic!("{key:?} was not dialled"),
                Completion::Woken => continue,
            };
            self.go_on(driver, key);
        }
    }

    fn of(&mut self, key: Key) -> &mut Echoed {
        self.open.get_mut(&key).expect("nothing comes for a key after Closed")
    }

    fn go_on(&mut self, driver: &mut SimDriver, key: Key) {
        let echoed = self.of(key);
        if echoed.is_closing {
            return;
        }
        if !echoed.is_sending && !echoed.waiting.is_empty() {
            echoed.is_sending = true;
            driver.send(key, batch(&std::mem::take(&mut echoed.waiting)));
        } else if !echoed.is_sending && echoed.is_finished {
            echoed.is_closing = true;
            driver.close(key);
        }
        let echoed = self.of(key);
        if !echoed.is_receiving && !echoed.is_closing && !echoed.is_finished && !echoed.is_sending {
            echoed.is_receiving = true;
            driver.recv(key);
        }
    }
}

/// A client that says something and wants to hear it again.
struct Talker {
    endpoint: Endpoint,
    said: usize,
    heard: Vec<u8>,
    is_done: bool,
}

impl Talker {
    const WORDS: usize = 3_000;

    fn poll(&mut self, words: &[u8]) {
        if self.is_done {
            return;
        }
        self.said += self.endpoint.write(&words[self.said..]);
        if self.said == words.len() {
            self.endpoint.shutdown_write();
        }
        match self.endpoint.read(&mut self.heard) {
            ReadOutcome::End | ReadOutcome::Broken(_) => self.is_done = true,
            ReadOutcome::Bytes(_) | ReadOutcome::Pending => {}
        }
        assert!(words.starts_with(&self.heard), "what is heard is what was said");
    }
}

fn converse(seed: u64) -> u64 {
    let world = World::seeded(seed);
    let mut driver = world.driver();
    driver.listen(DOOR, world.listener(address())).unwrap();
    let words = text(Talker::WORDS);
    let mut echo = Echo::default();
    let mut slots = Slots::new(0);
    let mut talkers: Vec<Talker> = (0..8)
        .map(|index| {
            let endpoint = if index % 2 == 0 { world.connect_calm(address()) } else { world.connect(address()) };
            Talker { endpoint: endpoint.unwrap(), said: 0, heard: Vec::new(), is_done: false }
        })
        .collect();
    for _ in 0..200_000 {
        let picked = world.random_below(talkers.len() as u64 + 1) as usize;
        match talkers.get_mut(picked) {
            Some(talker) => talker.poll(&words),
            None if world.is_runnable(driver.id()) => echo.turn(&mut driver, &mut slots),
            None => match world.next_event() {
                Tick::NEVER if talkers.iter().all(|talker| talker.is_done) => break,
                Tick::NEVER => {}
                next => world.advance_to(next),
            },
        }
    }
    for talker in &talkers {
        assert!(talker.is_done, "seed {seed}: {:?} never ends", talker.endpoint.id());
        if talker.endpoint.is_calm() {
            assert_eq!(talker.heard, words, "seed {seed}: a connection that stayed up lost something");
        }
    }
    drop(talkers);
    assert!(echo.open.is_empty() && slots.is_empty(), "seed {seed}: {} left", slots.len());
    assert_eq!(world.open_connections(), 0, "seed {seed}");
    assert_eq!(world.attached(driver.id()), 0, "seed {seed}");
    assert_eq!(world.bytes_held(), 0, "seed {seed}");
    world.history()
}

#[test]
fn an_echo_survives_every_world_and_frees_everything() {
    SEEDS.for_each(|seed| assert_ne!(converse(seed), 0));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let histories: BTreeSet<u64> = (0..20).map(converse).collect();
    assert_eq!(histories.len(), 20, "worlds differ");
    assert!((0..20).map(converse).all(|history| histories.contains(&history)));
}
