//! A gateway in a world of its own, and the time in which players act on it.
//!
//! ```text
//!  live --> act_now: a shard that can run takes a turn | all players look --> nobody has anything to do at this instant
//!    ^                                                                                          |
//!    '------- time passes: to the world's next event, or to what a player has meant to do -------'
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::base::Tick;
use tidegate::driver::sim::{Endpoint, Faults, Random, World};

use crate::gateway::{Gateway, Kept, STALLS, Shape};

/// How often players act while shards have no core.
const STALL_STEP: Duration = Duration::from_micros(500);
/// More rounds without time passing than anything needs.
const ROUNDS_PER_INSTANT_MAX: usize = 100_000;

pub struct Stage {
    pub world: World,
    pub gateway: Gateway,
    /// Decides who acts next, and what the players do.
    pub random: Random,
}

impl Stage {
    pub fn new(random: Random, world: World, shape: Shape) -> Stage {
        Stage { gateway: Gateway::new(&world, shape), world, random }
    }

    /// One whose faults and shape are drawn; `salt` makes it another than that of the same seed elsewhere.
    pub fn drawn(seed: u64, salt: u64, kept: impl FnOnce(&mut Random) -> Kept) -> Stage {
        let mut random = Random::new(seed ^ salt);
        let world = World::new(seed, faults(&mut random, seed, 100));
        let shape = Shape::drawn(&mut random, STALLS, kept);
        Stage::new(random, world, shape)
    }

    /// A connection; nothing ever breaks a calm one.
    pub fn connect(&self, address: SocketAddr, is_calm: bool) -> Option<Endpoint> {
        if is_calm { self.world.connect_calm(address) } else { self.world.connect(address) }
    }

    /// The index of one of so many, if there are any.
    pub fn one_of(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.random.below(count as u64) as usize)
    }

    /// One of the ids that somebody was given, or one that nobody was.
    pub fn known_or_not(&mut self, mut ids: Vec<String>) -> String {
        let index = self.random.below(ids.len() as u64 + 1) as usize;
        if index < ids.len() { ids.swap_remove(index) } else { format!("{:016x}", self.random.bits()) }
    }

    /// Time between two acts. In a hundred cases there is none, and from each of the `bounds` on it is a moment, a while, and
    /// up to `longest_us`.
    pub fn pause(&mut self, bounds: [u64; 3], longest_us: u64) -> Duration {
        let case = self.random.below(100);
        let kind = bounds.iter().filter(|bound| **bound <= case).count();
        let most_us = [0, 3_000, 200_000, longest_us][kind];
        Duration::from_micros(if most_us == 0 { 0 } else { self.random.below(most_us) })
    }

    /// From now on nothing new goes wrong.
    pub fn calm_down(&mut self) {
        self.world.calm_down();
        self.gateway.calm_down();
    }
}

/// Those of a seed, or none in `good` of 1,000 seeds.
pub fn faults(random: &mut Random, seed: u64, good: u32) -> Faults {
    if random.chance(good) { Faults::none() } else { Faults::seeded(seed) }
}

/// Those who act on a stage.
pub trait Play {
    fn stage(&mut self) -> &mut Stage;

    /// All players look at what has come, and say what they have to say.
    fn poll(&mut self);

    /// When the first of them wants to say something, even if nothing happens until then; never in the past.
    fn next_due(&mut self) -> Tick {
        Tick::NEVER
    }

    /// A shard has taken a turn. Now and then players are as fast as it is.
    fn after_turn(&mut self, _shard: usize) {
        if self.stage().random.chance(100) {
            self.poll();
        }
    }

    /// Lets everybody act for so long.
    fn live(&mut self, time: Duration) {
        let until = self.stage().world.now() + time;
        loop {
            self.act_now();
            let due = self.next_due();
            let stage = self.stage();
            let now = stage.world.now();
            let mut next = stage.world.next_event();
            if next <= now {
                // Only shards without a core have something to do now; meanwhile players go on.
                next = stage.gateway.next_stall_end().min(now + STALL_STEP);
            }
            let next = next.min(due.max(now + Duration::from_micros(1)));
            if next > until {
                break;
            }
            stage.world.advance_to(next);
        }
        self.stage().world.advance_to(until);
    }

    /// Lets shards and players act until nobody has anything to do at this instant.
    fn act_now(&mut self) {
        for _ in 0..ROUNDS_PER_INSTANT_MAX {
            let stage = self.stage();
            let runnable = stage.gateway.runnable();
            if !runnable.is_empty() {
                let chosen = runnable[stage.random.below(runnable.len() as u64) as usize];
                stage.gateway.turn(chosen);
                self.after_turn(chosen);
                continue;
            }
            let before = stage.world.history();
            self.poll();
            let stage = self.stage();
            if stage.world.history() == before && stage.gateway.runnable().is_empty() {
                return;
            }
        }
        panic!("they never stop at {:?}", self.stage().world.now());
    }
}
