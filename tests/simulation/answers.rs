//! Each deed of a TLS client and the answer to it, while a message to that client is still on its way.

use std::time::Duration;

use tidegate::conn::Door;
use tidegate::driver::sim::{Faults, Random, World};
use tidegate::proto::CloseReason;

use crate::bus::Bus;
use crate::deed::{DEEDS, Deed};
use crate::gateway::{Gateway, Kept, Shape, address};
use crate::line::{End, Line};
use crate::sse::EventStream;
use crate::trust::Trust;

/// Many times what the network takes at once.
const MESSAGE: [u8; 6_000] = [b'x'; 6_000];

struct Play {
    world: World,
    gateway: Gateway,
    trust: Trust,
    /// None while it does nothing.
    reader: Option<EventStream>,
    worker: Bus,
}

impl Play {
    /// A reader and a worker, let in by a gateway whose connections take 512 bytes at a time.
    fn new(seed: u64) -> Play {
        let world = World::new(seed, Faults { pipe_bytes: 512..=512, ..Faults::none() });
        let shape = Shape {
            shards: 1,
            mails_max: 64,
            outbox_bytes_max: 1 << 20,
            connections_max: 10,
            stalls: 0,
            kept: Kept::nothing(),
            seed: seed as u32,
        };
        let gateway = Gateway::new(&world, shape);
        let trust = Trust::new(&mut Random::new(seed));
        let connect = |door, is_tls| world.connect_calm(address(door, is_tls)).expect("somebody listens");
        let line = Line::with_tls(connect(Door::Front, true), trust.client(seed));
        let reader = Some(EventStream::new(line, "/sse/1", ""));
        let worker = Bus::new(connect(Door::Bus, false), "");
        let mut play = Play { world, gateway, trust, reader, worker };
        play.live();
        assert!(play.reader().is_open() && play.worker.info.is_some());
        play
    }

    fn reader(&mut self) -> &mut EventStream {
        self.reader.as_mut().expect("it is there")
    }

    /// Lets everybody act for a second.
    fn live(&mut self) {
        let until = self.world.now() + Duration::from_secs(1);
        self.act();
        while self.world.next_event() <= until {
            self.world.advance_to(self.world.next_event());
            self.act();
        }
        self.world.advance_to(until);
    }

    fn act(&mut self) {
        let mut before = None;
        while before != Some(self.world.history()) {
            before = Some(self.world.history());
            while let Some(shard) = self.gateway.runnable().first() {
                self.gateway.turn(*shard);
            }
            self.worker.poll();
            self.reader.iter_mut().for_each(EventStream::poll);
        }
    }

    /// The same, in which the reader is deaf and gets the beginning of a message.
    fn begin_message(&mut self, message: &[u8]) {
        let reader = self.reader.take();
        self.worker.publish("room.1", "", message);
        self.live();
        self.reader = reader;
    }
}

fn reason(deed: Deed) -> CloseReason {
    match deed {
        Deed::Farewell => CloseReason::PeerClosed,
        Deed::Cut => CloseReason::TlsTruncated,
        _ => CloseReason::TlsProtocol,
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
            let mut play = Play::new(seed);
            play.begin_message(&MESSAGE);
            assert!(play.reader().line.act(deed, b"nobody listens"));
            play.live();
            let end = play.reader().end();
            let counts = play.trust.tally.counts();
            let who = format!("{deed:?} with seed {seed}: {end:?}, {counts:?}");
            let lengths: Vec<usize> = play.reader().received.iter().map(|event| event.data.len()).collect();
            assert_eq!(lengths, [MESSAGE.len()], "{who}");
            assert_eq!(play.gateway.closed(reason(deed)), 1, "{who}");
            assert_eq!(counts.alerts_heard(), u64::from(deed.alert().is_some()), "{who}");
            let has_no_answer = deed.breaks_rules() && deed.alert().is_none();
            assert_eq!(end, Some(if has_no_answer { End::Truncated } else { End::Finished }), "{who}");
        }
    }
}

#[test]
fn a_key_update_is_answered_with_what_is_said_next() {
    for seed in [1, 2, 3, 5] {
        let mut play = Play::new(seed);
        for _ in 0..3 {
            assert!(play.reader().line.update_keys());
            play.live();
            assert!(play.reader().line.awaits_key_update(), "an answer in a record of its own");
            play.worker.publish("room.1", "", &MESSAGE);
            play.live();
            assert!(!play.reader().line.awaits_key_update());
        }
        assert_eq!(play.reader().received.len(), 3);
    }
}

#[test]
fn whoever_vanishes_while_it_is_not_read_is_noticed_by_what_is_sent() {
    for seed in [1, 4] {
        let mut play = Play::new(seed);
        // So much waits that nothing more is read after what it says now.
        play.reader().line.say(b"nobody listens");
        play.begin_message(&[b'x'; 100_000]);
        play.reader().line.poll();
        let reader = play.reader.take();
        play.live();
        drop(reader);
        play.live();
        assert_eq!(play.gateway.closed(CloseReason::WriteFailed), 1, "with seed {seed}");
        assert_eq!(play.world.open_connections(), 1, "the worker's");
    }
}
