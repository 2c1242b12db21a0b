//! Two gateways in one world: one clock and one network, and nothing else in common. Each hears its own publishers alone, and one
//! drains while the other serves on. (`nodes` has two whose ids name them.)

use std::time::Duration;

use tidegate::conn::Door;
use tidegate::driver::sim::{Endpoint, Random, World};

use crate::bus::Bus;
use crate::gateway::{Gateway, Kept, STALLS, Shape, address_on};
use crate::line::Line;
use crate::seeds::seeds;
use crate::sse::EventStream;
use crate::stage::faults;
use crate::sweep::{attempt, sweep};

pub const GATEWAYS: usize = 2;
/// How often players act while shards have no core.
const STALL_STEP: Duration = Duration::from_micros(500);
/// Longer than everything that is on its way takes, bytes one by one.
const REST: Duration = Duration::from_secs(30);
/// Messages before the first gateway drains, and after that.
const BEFORE: usize = 20;
const AFTER: usize = 20;

/// The clients and workers of one gateway; no fault breaks their connections.
pub trait Players {
    /// All look at what has come, and say what they have to say.
    fn poll(&mut self);
}

/// One gateway, and its players.
pub struct Site<P> {
    pub gateway: Gateway,
    pub players: P,
}

pub struct Fleet<P> {
    pub world: World,
    pub random: Random,
    pub sites: Vec<Site<P>>,
}

impl<P: Players> Fleet<P> {
    /// `gather` connects the players of a host.
    pub fn new(
        seed: u64,
        salt: u64,
        mut shape: impl FnMut(usize, &mut Random) -> Shape,
        gather: impl Fn(&dyn Fn(Door) -> Endpoint) -> P,
    ) -> Fleet<P> {
        let mut random = Random::new(seed ^ salt);
        let world = World::new(seed, faults(&mut random, seed, 100));
        let sites = (0..GATEWAYS).map(|host| {
            let gateway = Gateway::on(host as u8, &world, shape(host, &mut random));
            let connect = |door| world.connect_calm(address_on(host as u8, door, false)).expect("it listens");
            Site { gateway, players: gather(&connect) }
        });
        let sites = sites.collect();
        Fleet { world, random, sites }
    }

    /// Lets all act for so long.
    pub fn live(&mut self, time: Duration) {
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
                site.players.poll();
            }
            if self.world.history() == before {
                return;
            }
        }
    }
}

/// A publisher, and a subscriber.
struct Pair {
    publisher: Bus,
    subscriber: EventStream,
    said: Vec<String>,
}

impl Players for Pair {
    fn poll(&mut self) {
        self.publisher.poll();
        self.subscriber.poll();
    }
}

impl Fleet<Pair> {
    fn say(&mut self, site: usize) {
        let own = &mut self.sites[site].players;
        let words = format!("{} of gateway {site}", own.said.len());
        own.publisher.publish("room.1", "", words.as_bytes());
        own.said.push(words);
    }

    fn run(&mut self) {
        while !self.sites.iter().all(|site| site.players.subscriber.is_open()) {
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
        assert!(self.sites[0].players.subscriber.has_ended_cleanly(), "its subscriber was sent away");
        assert!(self.world.connect_calm(address_on(0, Door::Front, false)).is_none(), "nothing listens there any more");
        assert!(
            !self.sites[1].gateway.is_over() && self.sites[1].players.subscriber.end().is_none(),
            "the second serves on"
        );
        self.assert_all_heard(1);
    }

    /// What its own publisher has said, in order, and nothing else.
    fn assert_all_heard(&self, site: usize) {
        let Pair { subscriber, said, .. } = &self.sites[site].players;
        let heard: Vec<&str> = subscriber.received.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(heard, *said, "gateway {site}");
    }
}

#[test]
fn two_gateways_in_one_world_share_nothing() {
    let gather = |connect: &dyn Fn(Door) -> Endpoint| {
        let publisher = Bus::new(connect(Door::Bus), "");
        let subscriber = EventStream::new(Line::new(connect(Door::Front)), "/sse/1", "");
        Pair { publisher, subscriber, said: Vec::new() }
    };
    let shape = |_: usize, random: &mut Random| Shape::drawn(random, STALLS, |_| Kept::nothing());
    sweep(&seeds(0..60), |seed| attempt(seed, || Fleet::new(seed, 0xF1EE7, shape, gather).run()));
}
