//! Each deed of a TLS client and the answer to it, while a message to that client is still on its way.

use std::time::Duration;

use tidegate::conn::Door;
use tidegate::driver::sim::{Faults, Random, World};
use tidegate::proto::CloseReason;
use tidegate::shard::budget::Budget;

use crate::bus::Bus;
use crate::deed::{DEEDS, Deed};
use crate::gateway::{Kept, Shape, address};
use crate::line::{End, Line};
use crate::sse::EventStream;
use crate::stage::{Play, Stage};
use crate::trust::Trust;

/// Many times what the network takes at once.
const MESSAGE: [u8; 6_000] = [b'x'; 6_000];

struct Scene {
    stage: Stage,
    trust: Trust,
    /// None while it does nothing.
    reader: Option<EventStream>,
    worker: Bus,
}

impl Scene {
    /// A reader and a worker, let in by a gateway whose connections take 512 bytes at a time.
    fn new(seed: u64) -> Scene {
        let world = World::new(seed, Faults { pipe_bytes: 512..=512, ..Faults::none() });
        let shape = Shape {
            shards: 1,
            mails_max: 64,
            outbox_bytes_max: 1 << 20,
            connections_max: 10,
            stalls: 0,
            kept: Kept::nothing(),
            seed: seed as u32,
            node: None,
            budget: Budget::default(),
        };
        let stage = Stage::new(Random::new(seed), world, shape);
        let trust = Trust::new(&mut Random::new(seed));
        let connect = |door, is_tls| stage.connect(address(door, is_tls), true).expect("somebody listens");
        let line = Line::with_tls(connect(Door::Front, true), trust.client(seed));
        let reader = Some(EventStream::new(line, "/sse/1", ""));
        let worker = Bus::new(connect(Door::Bus, false), "");
        let mut play = Scene { stage, trust, reader, worker };
        play.go_on();
        assert!(play.reader().is_open() && play.worker.info.is_some());
        play
    }

    fn reader(&mut self) -> &mut EventStream {
        self.reader.as_mut().expect("it is there")
    }

    /// Lets everybody act for a second.
    fn go_on(&mut self) {
        self.live(Duration::from_secs(1));
    }

    /// The same, in which the reader is deaf and gets the beginning of a message.
    fn begin_message(&mut self, message: &[u8]) {
        let reader = self.reader.take();
        self.worker.publish("room.1", "", message);
        self.go_on();
        self.reader = reader;
    }
}

impl Play for Scene {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        self.worker.poll();
        self.reader.iter_mut().for_each(EventStream::poll);
    }

    /// Nothing is left to chance.
    fn after_turn(&mut self, _shard: usize) {}
}

fn reason(deed: Deed) -> CloseReason {
    match deed {
        Deed::Farewell => unreachable!("a stream goes on after it"),
        Deed::Cut => CloseReason::TlsTruncated,
        Deed::Forged | Deed::Shortened | Deed::Replayed | Deed::Swapped => CloseReason::TlsForged,
        Deed::Oversized => CloseReason::TlsProtocol,
        Deed::KeyUpdates => CloseReason::TlsFlood,
    }
}

#[test]
fn each_deed_is_counted_as_what_it_is_and_answered_behind_what_is_on_its_way() {
    for seed in 0..16 {
        for deed in DEEDS {
            // A fourth of the seeds speaks TLS 1.2.
            if deed.needs_tls13() && seed % 4 == 0 {
                continue;
            }
            let mut play = Scene::new(seed);
            play.begin_message(&MESSAGE);
            assert!(play.reader().line.act(deed, b"nobody listens"));
            play.go_on();
            let end = play.reader().end();
            let counts = play.trust.tally.counts();
            let who = format!("{deed:?} with seed {seed}: {end:?}, {counts:?}");
            let lengths: Vec<usize> = play.reader().received.iter().map(|event| event.data.len()).collect();
            assert_eq!(lengths, [MESSAGE.len()], "{who}");
            if deed == Deed::Farewell {
                play.worker.publish("room.1", "", &MESSAGE);
                play.go_on();
                assert_eq!((play.reader().received.len(), play.reader().end()), (2, None), "{who}");
                continue;
            }
            assert_eq!(play.stage.gateway.closed(reason(deed)), 1, "{who}");
            assert_eq!(counts.alerts_heard(), u64::from(deed.alert(true).is_some()), "{who}");
            let has_no_answer = deed.breaks_rules() && deed.alert(true).is_none();
            assert_eq!(end, Some(if has_no_answer { End::Truncated } else { End::Finished }), "{who}");
        }
    }
}

#[test]
fn a_key_update_is_answered_with_what_is_said_next() {
    for seed in [1, 2, 3, 5] {
        let mut play = Scene::new(seed);
        for _ in 0..3 {
            assert!(play.reader().line.update_keys());
            play.go_on();
            assert!(play.reader().line.awaits_key_update(), "an answer in a record of its own");
            play.worker.publish("room.1", "", &MESSAGE);
            play.go_on();
            assert!(!play.reader().line.awaits_key_update());
        }
        assert_eq!(play.reader().received.len(), 3);
    }
}

#[test]
fn whoever_vanishes_while_it_is_not_read_is_noticed_by_what_is_sent() {
    for seed in [1, 4] {
        let mut play = Scene::new(seed);
        // So much waits that nothing more is read after what it says now.
        play.reader().line.say(b"nobody listens");
        play.begin_message(&[b'x'; 100_000]);
        play.reader().line.poll();
        let reader = play.reader.take();
        play.go_on();
        drop(reader);
        play.go_on();
        assert_eq!(play.stage.gateway.closed(CloseReason::WriteFailed), 1, "with seed {seed}");
        assert_eq!(play.stage.world.open_connections(), 1, "the worker's");
    }
}
