//! Two gateways in one world: one clock and one network, and nothing else in common. Each hears its own publishers alone, and one
//! drains while the other serves on.

use std::time::Duration;

use tidegate::conn::Door;
use tidegate::driver::sim::{Random, World};

use crate::bus::Bus;
use crate::gateway::{Gateway, Kept, STALLS, Shape, address_on};
use crate::line::Line;
use crate::seeds::seeds;
use crate::sse::EventStream;
use crate::stage::faults;
use crate::sweep::{attempt, sweep};

const GATEWAYS: usize = 2;
/// How often players act while shards have no core.
const STALL_STEP: Duration = Duration::from_micros(500);
/// Longer than everything that is on its way takes, bytes one by one.
const REST: Duration = Duration::from_secs(30);
/// Messages before the first gateway drains, and after that.
const BEFORE: usize = 20;
const AFTER: usize = 20;

/// One gateway, its publisher, and its subscriber; nothing breaks their connections.
struct Site {
    gateway: Gateway,
    publisher: Bus,
    subscriber: EventStream,
    said: Vec<String>,
}

struct Fleet {
    world: World,
    random: Random,
    sites: Vec<Site>,
}

impl Fleet {
    fn new(seed: u64) -> Fleet {
        let mut random = Random::new(seed ^ 0xF1EE7);
        let world = World::new(seed, faults(&mut random, seed, 100));
        let sites = (0..GATEWAYS).map(|host| {
            let shape = Shape::drawn(&mut random, STALLS, |_| Kept::nothing());
            let gateway = Gateway::on(host as u8, &world, shape);
            let connect = |door| world.connect_calm(address_on(host as u8, door, false)).expect("it listens");
            let publisher = Bus::new(connect(Door::Bus), "");
            let subscriber = EventStream::new(Line::new(connect(Door::Front)), "/sse/1", "");
            Site { gateway, publisher, subscriber, said: Vec::new() }
        });
        let sites = sites.collect();
        Fleet { world, random, sites }
    }

    /// Lets all act for so long.
    fn live(&mut self, time: Duration) {
        let until = self.world.now() + time;
        loop {
            self.act_now();
            let now = self.world.now();
            let mut next = self.world.next_event();
            if next <= now {
                let stalls = self.sites.iter().map(|site| site.gateway.next_stall_end()).min();
                next = stalls.unwrap_or(next).min(now + STALL_STEP);
            }
            if next > until {
                return self.world.advance_to(until);
            }
            self.world.advance_to(next);
        }
    }

    /// Until nothing is left to do at this instant.
    fn act_now(&mut self) {
        loop {
            let runnable: Vec<(usize, usize)> = self
                .sites
                .iter()
                .enumerate()
                .flat_map(|(site, own)| own.gateway.runnable().into_iter().map(move |shard| (site, shard)))
                .collect();
            if let Some((site, shard)) = runnable.get(self.random.below(runnable.len().max(1) as u64) as usize) {
                self.sites[*site].gateway.turn(*shard);
                continue;
            }
            let before = self.world.history();
            for site in &mut self.sites {
                site.publisher.poll();
                site.subscriber.poll();
            }
            if self.world.history() == before {
                return;
            }
        }
    }

    fn say(&mut self, site: usize) {
        let own = &mut self.sites[site];
        let words = format!("{} of gateway {site}", own.said.len());
        own.publisher.publish("room.1", "", words.as_bytes());
        own.said.push(words);
    }

    fn run(&mut self) {
        while !self.sites.iter().all(|site| site.subscriber.is_open()) {
            self.live(Duration::from_secs(1));
        }
        for _ in 0..BEFORE {
            let site = self.random.below(GATEWAYS as u64) as usize;
            self.say(site);
            let pause = Duration::from_micros(self.random.below(20_000));
            self.live(pause);
        }
        self.live(REST);
        self.assert_all_heard(0);
        self.sites[0].gateway.drain();
        for _ in 0..AFTER {
            self.say(1);
            let pause = Duration::from_micros(self.random.below(2_000_000));
            self.live(pause);
        }
        self.live(REST);
        assert!(self.sites[0].gateway.is_over(), "the first has drained");
        assert!(self.sites[0].subscriber.has_ended_cleanly(), "its subscriber was sent away");
        assert!(self.world.connect_calm(address_on(0, Door::Front, false)).is_none(), "nothing listens there any more");
        assert!(!self.sites[1].gateway.is_over() && self.sites[1].subscriber.end().is_none(), "the second serves on");
        self.assert_all_heard(1);
    }

    /// What its own publisher has said, in order, and nothing else.
    fn assert_all_heard(&self, site: usize) {
        let Site { subscriber, said, .. } = &self.sites[site];
        let heard: Vec<&str> = subscriber.received.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(heard, *said, "gateway {site}");
    }
}

#[test]
fn two_gateways_in_one_world_share_nothing() {
    sweep(&seeds(0..60), |seed| attempt(seed, || Fleet::new(seed).run()));
}
