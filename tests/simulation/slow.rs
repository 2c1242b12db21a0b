//! Slow readers: channels of each delivery, mixed on one stream, over a faulty network and shards that lose their cores.
//!
//! ```text
//!  publisher --> room.0 latest --.
//!            --> room.1 drop   --+--> streams of one or two of them, WebSockets: deaf for seconds, or eager
//!            --> room.2 queue  --'         after each turn: what waits for one is within its bounds
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate::conn::Door;
use tidegate::driver::sim::{Random, World};
use tidegate::limits;
use tidegate::proto::channel::{Delivery, Queue, Rule, Rules};
use tidegate::proto::subject::Pattern;

use crate::bus::Bus;
use crate::gateway::{Kept, Shape, address, drawn_budget};
use crate::line::Line;
use crate::reader::{Counts, KEYS, Reader, Said, payload};
use crate::stage::{Play, Stage, faults};
use crate::sweep::expect_all_to_happen;

/// In a few seconds on two cores, in a debug build.
const SEEDS: Range<u64> = 0..60;
const DELIVERIES: [Delivery; 3] = [Delivery::Latest, Delivery::Drop, Delivery::Queue];
const PAYLOAD_BYTES_MAX: u64 = 4_000;
/// Framing, and what has been framed already of what is held.
const SLACK_BYTES: usize = 2 * limits::HELD_BYTES_PER_BATCH;
const REST: Duration = Duration::from_secs(10);

struct Scenario {
    stage: Stage,
    publisher: Bus,
    readers: Vec<Reader>,
    said: Vec<Said>,
    /// Bytes that may wait for one client.
    waiting_max: usize,
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x510C_4EAD);
        let world = World::new(seed, faults(&mut random, seed, 200));
        let outbox_bytes_max = [16 * 1024, 64 * 1024, limits::OUTBOX_BYTES_MAX][random.below(3) as usize];
        let mut rule = |(room, delivery)| {
            let messages = match delivery {
                Delivery::Latest => KEYS as usize,
                Delivery::Drop => 1 + random.below(20) as usize,
                Delivery::Queue => 3 + random.below(200) as usize,
            };
            let queue = Queue { messages, bytes: if random.chance(300) { 20_000 } else { usize::MAX } };
            let pattern = Pattern::new(&format!("room.{room}")).expect("a pattern");
            (pattern, Rule { delivery, queue, ..Rule::default() })
        };
        let rules: Vec<_> = DELIVERIES.into_iter().enumerate().map(&mut rule).collect();
        let shape = Shape {
            shards: 1 + random.below(3) as u16,
            mails_max: [2, 8, limits::MAILBOX_MAILS][random.below(3) as usize],
            outbox_bytes_max,
            stalls: [0, 20][random.below(2) as usize],
            connections_max: 1_000_000,
            kept: Kept { rules: Arc::new(Rules::new(rules)), bytes_max: 0 },
            seed: random.bits() as u32,
            node: None,
            budget: drawn_budget(&mut random),
        };
        let stage = Stage::new(random, world, shape);
        let endpoint = stage.world.connect_calm(address(Door::Bus, false)).expect("somebody listens");
        let said = DELIVERIES.map(|delivery| Said { delivery, count: 0, newest: [0; KEYS as usize] });
        Scenario {
            stage,
            publisher: Bus::new(endpoint, ""),
            readers: Vec::new(),
            said: said.into(),
            waiting_max: outbox_bytes_max + PAYLOAD_BYTES_MAX as usize + SLACK_BYTES,
        }
    }

    fn run(&mut self) -> Counts {
        (0..6).for_each(|_| self.come());
        self.live(Duration::from_secs(1));
        for _ in 0..40 + self.stage.random.below(60) {
            match self.stage.random.below(10) {
                0 => self.come(),
                1 | 2 => self.fall_deaf(),
                _ => self.say(),
            }
            let pause_us = [0, 1_000, 300_000][self.stage.random.below(3) as usize];
            let pause_us = self.stage.random.below(pause_us + 1);
            self.live(Duration::from_micros(pause_us));
        }
        self.stage.calm_down();
        let now = self.stage.world.now();
        self.readers.iter_mut().for_each(|reader| reader.deaf_until = now);
        self.live(REST);
        let mut counts = Counts::default();
        for reader in &mut self.readers {
            reader.settle(&self.said);
            counts.add(reader.counts);
        }
        counts
    }

    fn come(&mut self) {
        let is_calm = self.stage.random.chance(700);
        let Some(endpoint) = self.stage.connect(address(Door::Front, false), is_calm) else { return };
        let line = Line::new(endpoint);
        let (id, is_eager) = (self.readers.len() as u32, self.stage.random.chance(300));
        let room = self.stage.random.below(DELIVERIES.len() as u64) as usize;
        let other = (room + 1 + self.stage.random.below(2) as usize) % DELIVERIES.len();
        self.readers.push(match self.stage.random.below(3) {
            0 => Reader::websocket(id, line, room, self.stage.random.bits(), is_eager),
            1 => Reader::stream(id, line, &[room], is_eager),
            _ => Reader::stream(id, line, &[room, other], is_eager),
        });
    }

    /// For less than the gateway waits for progress.
    fn fall_deaf(&mut self) {
        let index = self.stage.random.below(self.readers.len() as u64) as usize;
        let until = self.stage.world.now() + Duration::from_micros(self.stage.random.below(4_000_000));
        if !self.readers[index].is_eager {
            self.readers[index].deaf_until = until;
        }
    }

    /// One message, or as many as make any reader slow.
    fn say(&mut self) {
        let count = if self.stage.random.chance(300) { 1 + self.stage.random.below(150) } else { 1 };
        let room = self.stage.random.below(DELIVERIES.len() as u64) as usize;
        for _ in 0..count {
            let padding =
                if self.stage.random.chance(200) { self.stage.random.below(PAYLOAD_BYTES_MAX - 50) } else { 20 }
                    as usize;
            let key = self.stage.random.below(KEYS);
            let said = &mut self.said[room];
            said.count += 1;
            said.newest[key as usize] = said.count;
            let payload = payload(room, key, said.count, padding);
            let key = key.to_string();
            self.publisher.publish_with(&format!("room.{room}"), "", &[("Tg-Key", &key)], payload.as_bytes());
        }
    }
}

impl Play for Scenario {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn poll(&mut self) {
        let now = self.stage.world.now();
        self.publisher.poll();
        self.readers.iter_mut().for_each(|reader| reader.poll(now, &self.said));
    }

    fn after_turn(&mut self, shard: usize) {
        let waiting = self.stage.gateway.waiting_most(shard);
        assert!(waiting <= self.waiting_max, "{waiting} bytes wait for one client, not {}", self.waiting_max);
    }
}

#[test]
fn slow_readers_get_what_their_channels_rules_say() {
    expect_all_to_happen(SEEDS, |seed| {
        let Counts { heard, skipped, gaps, closed, settled } = Scenario::new(seed).run();
        [("heard", heard), ("skipped", skipped), ("gaps", gaps), ("closed", closed), ("settled", settled)]
    });
}
