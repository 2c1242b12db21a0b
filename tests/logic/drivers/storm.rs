//! Random conversations: whatever is asked in whatever order, every submission ends once and no byte moves.

use std::collections::HashMap;
use std::time::Duration;

use tidegate::base::{Batch, Key};
use tidegate::driver::Driver;

use crate::drivers::stage::{Event, Peer, Read, Server, Stage, World};

const CONNECTIONS: usize = 24;
const STEPS: usize = 6_000;
const PIECE_BYTES_MAX: usize = 20_000;

/// What both ends of one connection have said and heard.
struct Talk<P> {
    peer: Option<P>,
    /// Bytes the peer has written, and how many of them were received.
    written: usize,
    received: usize,
    /// Bytes given to `send`, and how many of them the peer has read.
    sent: usize,
    read: usize,
    asked: bool,
    sending: bool,
    finished: bool,
    peer_finished: bool,
    closing: bool,
    /// `Connected` has not come.
    dialling: bool,
}

impl<P> Talk<P> {
    fn new(peer: Option<P>) -> Talk<P> {
        Talk {
            peer,
            written: 0,
            received: 0,
            sent: 0,
            read: 0,
            asked: false,
            sending: false,
            finished: false,
            peer_finished: false,
            closing: false,
            dialling: false,
        }
    }
}

/// The byte at a position of every stream.
fn byte(position: usize) -> u8 {
    ((position as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

fn stretch(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

fn assert_stretch(from: usize, bytes: &[u8]) {
    assert!(bytes.iter().enumerate().all(|(index, &found)| found == byte(from + index)), "a byte is out of place");
}

/// A small generator (xorshift); the seed is fixed, the kernel is the chance.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

struct Storm<W: World> {
    stage: Stage<W>,
    talks: HashMap<Key, Talk<W::Peer>>,
    /// Dialled by half of the connections.
    server: W::Server,
    /// Accepts nothing: its queue fills up, and dials are revoked in all their states.
    deaf: W::Server,
    random: Random,
}

pub fn a_storm_of_everything_keeps_the_contract<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (server, deaf) = (stage.world.serve(), stage.world.serve());
    let mut storm = Storm { stage, talks: HashMap::new(), server, deaf, random: Random(0x7469_6465) };
    for _ in 0..STEPS {
        while storm.talks.len() < CONNECTIONS {
            storm.begin();
        }
        let mut keys: Vec<Key> = storm.talks.keys().copied().collect();
        keys.sort();
        let key = keys[storm.random.below(keys.len())];
        storm.step(key);
        storm.handle_events();
    }
    storm.calm_down();
}

impl<W: World> Storm<W> {
    fn begin(&mut self) {
        if self.random.below(8) == 0 {
            return self.dial_in_vain();
        }
        let (key, peer) =
            if self.random.below(2) == 0 { self.stage.connection() } else { self.stage.dialled(&mut self.server) };
        self.talks.insert(key, Talk::new(Some(peer)));
        // What came meanwhile is told before anything else is done.
        self.handle_events();
    }

    /// A dial that is closed before its outcome, at the same time, or after it.
    fn dial_in_vain(&mut self) {
        let key = self.stage.connect(&self.deaf.remote(), None);
        self.talks.insert(key, Talk { dialling: true, ..Talk::new(None) });
        if self.random.below(2) == 0 {
            self.stage.turn_within(Duration::ZERO);
        }
        self.handle_events();
        self.close(key);
    }

    fn step(&mut self, key: Key) {
        let size = 1 + self.random.below(PIECE_BYTES_MAX);
        match self.random.below(100) {
            0..25 => self.peer_writes(key, size),
            25..45 => self.peer_reads(key),
            45..65 => self.receive(key),
            65..80 => self.send(key, size),
            80..82 => self.peer_finishes(key),
            82..83 => self.peer_resets(key),
            83..85 => self.close(key),
            _ => self.stage.turn_within(Duration::ZERO),
        }
    }

    fn talk(&mut self, key: Key) -> &mut Talk<W::Peer> {
        self.talks.get_mut(&key).expect("a key that is attached")
    }

    fn peer_writes(&mut self, key: Key, size: usize) {
        let talk = self.talk(key);
        if let (Some(peer), false, false) = (&mut talk.peer, talk.peer_finished, talk.closing) {
            talk.written += peer.write(&stretch(talk.written, size));
        }
    }

    fn peer_reads(&mut self, key: Key) {
        let talk = self.talk(key);
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        if let Some(Read::Bytes(count)) = talk.peer.as_mut().map(|peer| peer.read(&mut buffer)) {
            assert_stretch(talk.read, &buffer[..count]);
            talk.read += count;
            assert!(talk.read <= talk.sent, "the peer read what was never sent");
        }
    }

    fn peer_finishes(&mut self, key: Key) {
        let talk = self.talk(key);
        if let (Some(peer), false, false) = (&mut talk.peer, talk.peer_finished, talk.closing) {
            peer.finish();
            talk.peer_finished = true;
        }
    }

    fn peer_resets(&mut self, key: Key) {
        if let Some(peer) = self.talk(key).peer.take() {
            peer.reset();
        }
    }

    fn receive(&mut self, key: Key) {
        let talk = self.talk(key);
        if !talk.asked && !talk.finished && !talk.closing {
            talk.asked = true;
            self.stage.recv(key);
        }
    }

    fn send(&mut self, key: Key, size: usize) {
        let talk = self.talk(key);
        if talk.sending || talk.closing {
            return;
        }
        talk.sending = true;
        let bytes = stretch(talk.sent, size);
        talk.sent += size;
        let mut batch = Box::new(Batch::new());
        for (index, piece) in bytes.chunks(1 + size / 5).enumerate() {
            if index % 2 == 0 { batch.push(piece) } else { batch.push_shared(piece.into()) }
        }
        self.stage.driver().send(key, batch);
    }

    fn close(&mut self, key: Key) {
        let talk = self.talk(key);
        if !talk.closing {
            talk.closing = true;
            talk.asked = false;
            match self.random.below(3) {
                0 => self.stage.driver().abort(key),
                _ => self.stage.driver().close(key),
            }
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.stage.events.pop_front() {
            match event {
                Event::Received(key, bytes) => {
                    let talk = self.talk(key);
                    assert!(talk.asked, "nobody asked {key:?}");
                    talk.asked = false;
                    assert_stretch(talk.received, &bytes);
                    talk.received += bytes.len();
                    assert!(talk.received <= talk.written);
                }
                Event::Finished(key, end) => {
                    let talk = self.talk(key);
                    assert!(talk.asked && !talk.finished);
                    talk.asked = false;
                    talk.finished = true;
                    if end.is_ok() && talk.peer.is_some() {
                        assert!(talk.peer_finished, "an end that the peer did not make");
                        assert_eq!(talk.received, talk.written, "the end comes after the last byte");
                    }
                }
                Event::Connected(key, outcome) => {
                    let talk = self.talk(key);
                    assert!(talk.dialling && !talk.closing, "told once, and not after a close");
                    talk.dialling = false;
                    assert_eq!(outcome, Ok(()), "the server is there");
                }
                Event::Sent(key, batch, outcome) => {
                    let talk = self.talk(key);
                    assert!(talk.sending, "a second Sent");
                    talk.sending = false;
                    assert_eq!(outcome.is_ok(), batch.is_empty());
                    assert!(outcome.is_ok() || talk.closing || talk.peer.is_none(), "failed without a reason");
                }
                Event::Closed(key) => {
                    let talk = self.talks.remove(&key).expect("closed once");
                    assert!(talk.closing && !talk.sending, "the batch comes first");
                    self.stage.free(key);
                }
                Event::Accepted | Event::AcceptFailed(_) | Event::Woken => panic!("{event:?}"),
            }
        }
    }

    /// Everybody finishes and everything that was said is heard.
    fn calm_down(&mut self) {
        let keys: Vec<Key> = self.talks.keys().copied().collect();
        for &key in &keys {
            self.peer_finishes(key);
        }
        let is_quiet = |talk: &Talk<W::Peer>| talk.finished && !talk.sending && !talk.closing;
        while !self.talks.values().all(is_quiet) {
            for &key in &keys {
                if self.talks.contains_key(&key) {
                    self.receive(key);
                    self.peer_reads(key);
                }
            }
            self.stage.turn();
            self.handle_events();
        }
        for key in self.talks.keys().copied().collect::<Vec<_>>() {
            if self.talk(key).peer.is_some() {
                while self.talk(key).read < self.talk(key).sent {
                    self.peer_reads(key);
                    self.stage.turn_within(Duration::ZERO);
                }
                let talk = self.talk(key);
                assert_eq!(talk.received, talk.written);
            }
            self.close(key);
        }
        while !self.talks.is_empty() {
            self.stage.turn();
            self.handle_events();
        }
    }
}
