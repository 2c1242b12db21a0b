//! The servers of an upstream beside a model of them that is as simple as can be: lists, walked through for each question.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{APP, EJECT, IDLE_MAX, KEEP_ALIVE, WAIT, at, key, rule};
use super::{Freshness, Pick, Picked, QueueFull, ServerStanding, Tried, Upstreams};
use crate::base::{Key, Tick, mix};
use crate::limits::{UPSTREAM_EJECT_MAX, UPSTREAM_SERVED_MAX};
use crate::proto::upstream::{Affinity, Balance, HashedPart, ServerMark, UpstreamRule};

/// One thing that happens to the servers.
#[derive(Clone, Debug)]
enum Deed {
    /// A request with this mark (of a server, or of none), this hash, and these servers tried.
    Ask {
        mark: Option<u8>,
        hash: Option<u8>,
        tried: Vec<u8>,
    },
    /// One of the requests in flight ends: with an answer, or with a failure.
    End {
        which: usize,
        has_failed: bool,
    },
    /// One of them opens a WebSocket.
    Switch {
        which: usize,
    },
    /// One of the WebSockets ends.
    EndTunnel {
        which: usize,
    },
    /// One of those that wait gives up.
    Leave {
        which: usize,
    },
    Keep {
        server: u8,
        served: u32,
        announced_s: Option<u64>,
    },
    TakeIdle {
        server: u8,
        is_fresh: bool,
    },
    LoseIdle {
        which: usize,
    },
    /// Probes of it pass or fail.
    SetUp {
        server: u8,
        is_up: bool,
    },
    /// An operator takes it out, or back in.
    SetDrained {
        server: u8,
        is_drained: bool,
    },
    Pass {
        millis: u64,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let server = || 0u8..4;
    let tried = prop::collection::vec(server(), 0..3);
    prop_oneof![
        6 => (prop::option::of(0u8..6), prop::option::of(any::<u8>()), tried)
            .prop_map(|(mark, hash, tried)| Deed::Ask { mark, hash, tried }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, has_failed)| Deed::End { which, has_failed }),
        2 => any::<usize>().prop_map(|which| Deed::Switch { which }),
        1 => any::<usize>().prop_map(|which| Deed::EndTunnel { which }),
        1 => any::<usize>().prop_map(|which| Deed::Leave { which }),
        3 => (server(), prop_oneof![Just(1), Just(UPSTREAM_SERVED_MAX)], prop::option::of(0u64..8))
            .prop_map(|(server, served, announced_s)| Deed::Keep { server, served, announced_s }),
        3 => (server(), any::<bool>()).prop_map(|(server, is_fresh)| Deed::TakeIdle { server, is_fresh }),
        1 => any::<usize>().prop_map(|which| Deed::LoseIdle { which }),
        1 => (server(), any::<bool>()).prop_map(|(server, is_up)| Deed::SetUp { server, is_up }),
        1 => (server(), any::<bool>()).prop_map(|(server, is_drained)| Deed::SetDrained { server, is_drained }),
        3 => prop_oneof![1u64..50, 500u64..2_000, 9_000u64..40_000].prop_map(|millis| Deed::Pass { millis }),
    ]
}

#[derive(Clone, Copy, Default)]
struct ModelServer {
    in_flight: usize,
    failures: u32,
    out_s: u64,
    out_until: Tick,
    is_down: bool,
    is_drained: bool,
}

struct Waiting {
    key: Key,
    affinity: Affinity,
    tried: Vec<u8>,
    until: Tick,
}

struct Model {
    rule: UpstreamRule,
    upstreams: Upstreams,
    now: Tick,
    servers: Vec<ModelServer>,
    in_flight: Vec<u8>,
    tunnels: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Server, key, since, until.
    idle: Vec<(u8, Key, Tick, Tick)>,
    /// The servers that hashes were given, by hash and by the servers to choose from.
    hashed: BTreeMap<(u64, Vec<u8>), u8>,
    next_slot: u32,
    draws: u64,
}

impl Model {
    fn new(rule: UpstreamRule) -> Model {
        let upstreams = Upstreams::new(std::slice::from_ref(&rule), 1);
        let servers = vec![ModelServer::default(); rule.servers.len()];
        let (in_flight, waiting, idle) = (Vec::new(), Vec::new(), Vec::new());
        let hashed = BTreeMap::new();
        Model {
            rule,
            upstreams,
            now: Tick::from_millis(1),
            servers,
            in_flight,
            tunnels: Vec::new(),
            waiting,
            idle,
            hashed,
            next_slot: 0,
            draws: 0,
        }
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.draws)
    }

    fn fresh_key(&mut self) -> Key {
        self.next_slot += 1;
        key(self.next_slot)
    }

    /// The servers to choose from.
    fn usable(&self, tried: &[u8]) -> Vec<u8> {
        let known = |server: u8| &self.servers[usize::from(server)];
        let may_have_it = |server: &u8| !tried.contains(server) && !known(*server).is_drained;
        let untried: Vec<u8> = (0..self.servers.len() as u8).filter(may_have_it).collect();
        let is_in = |server: &u8| known(*server).out_until <= self.now && !known(*server).is_down;
        let usable: Vec<u8> = untried.iter().copied().filter(is_in).collect();
        if usable.is_empty() { untried } else { usable }
    }

    fn has_room(&self, server: u8) -> bool {
        self.rule.in_flight_max.is_none_or(|max| self.servers[usize::from(server)].in_flight < max)
    }

    fn marked(&self, affinity: Affinity, usable: &[u8]) -> Option<u8> {
        let mark = |server: u8| self.rule.servers[usize::from(server)].mark;
        usable.iter().copied().find(|server| affinity.mark == Some(mark(*server)))
    }

    /// A request was given this server: whether that is right.
    fn given(&mut self, picked: Picked, affinity: Affinity, tried: &[u8]) {
        let server = picked.server.server;
        let usable = self.usable(tried);
        assert!(usable.contains(&server), "{server} of {usable:?}");
        assert!(self.has_room(server));
        assert_eq!(picked.is_unmarked, affinity.mark != Some(self.rule.servers[usize::from(server)].mark));
        if let Some(marked) = self.marked(affinity, &usable) {
            assert_eq!(server, marked, "the mark decides");
        } else if let Some(hash) = affinity.hash.filter(|_| self.rule.balance != Balance::Least) {
            let before = *self.hashed.entry((hash, usable)).or_insert(server);
            assert_eq!(server, before, "the same hash, the same server");
        }
        self.servers[usize::from(server)].in_flight += 1;
        self.in_flight.push(server);
    }

    fn ask(&mut self, affinity: Affinity, tried: Vec<u8>) {
        let draw = self.draw();
        let set = tried.iter().fold(Tried::default(), |set, server| set.with(at(*server)));
        let usable = self.usable(&tried);
        match self.upstreams.pick(APP, affinity, set, draw, self.now) {
            Pick::Server(picked) => self.given(picked, affinity, &tried),
            Pick::Exhausted => assert!(usable.is_empty(), "{usable:?}"),
            Pick::Full => {
                let is_full = usable.iter().any(|server| !self.has_room(*server));
                assert!(is_full || !self.waiting.is_empty(), "there was room, and nothing waits");
                let key = self.fresh_key();
                let waits = self.upstreams.wait(APP, key, affinity, set, self.now);
                let is_queue_full = self.waiting.len() >= self.rule.queue_max;
                assert_eq!(waits, if is_queue_full { Err(QueueFull) } else { Ok(self.now + WAIT) });
                if !is_queue_full {
                    self.waiting.push(Waiting { key, affinity, tried, until: self.now + WAIT });
                }
            }
        }
    }

    fn end(&mut self, which: usize, has_failed: bool) {
        if self.in_flight.is_empty() {
            return;
        }
        let server = self.in_flight.swap_remove(which % self.in_flight.len());
        let (now, fails_max) = (self.now, self.rule.fails_max);
        let known = &mut self.servers[usize::from(server)];
        if has_failed {
            let mut expected = None;
            if known.out_until <= now {
                known.failures += 1;
                if known.failures >= fails_max {
                    known.out_s = if known.out_s == 0 { EJECT.as_secs() } else { known.out_s * 2 };
                    known.out_s = known.out_s.min(UPSTREAM_EJECT_MAX.as_secs());
                    expected = Some(Duration::from_secs(known.out_s));
                    known.out_until = now + Duration::from_secs(known.out_s);
                }
            }
            assert_eq!(self.upstreams.failed(at(server), now), expected);
        } else {
            if known.failures > 0 {
                (known.failures, known.out_s, known.out_until) = (0, 0, Tick::ZERO);
            }
            self.upstreams.answered(at(server), now);
        }
        self.servers[usize::from(server)].in_flight -= 1;
        self.upstreams.done(at(server));
    }

    fn switch(&mut self, which: usize) {
        if self.in_flight.is_empty() {
            return;
        }
        let server = self.in_flight.swap_remove(which % self.in_flight.len());
        self.servers[usize::from(server)].in_flight -= 1;
        self.tunnels.push(server);
        self.upstreams.switched(at(server));
    }

    fn end_tunnel(&mut self, which: usize) {
        if !self.tunnels.is_empty() {
            let server = self.tunnels.swap_remove(which % self.tunnels.len());
            self.upstreams.tunnel_ended(at(server));
        }
    }

    fn leave(&mut self, which: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = self.waiting.remove(which % self.waiting.len());
        assert!(self.upstreams.leave(APP, waiting.key));
        assert!(!self.upstreams.leave(APP, waiting.key));
    }

    fn keep(&mut self, server: u8, served: u32, announced_s: Option<u64>) {
        let key = self.fresh_key();
        let count = self.idle.iter().filter(|idle| idle.0 == server).count();
        let longest = announced_s.map_or(KEEP_ALIVE, |seconds| Duration::from_secs(seconds.saturating_sub(1)));
        let longest = longest.min(KEEP_ALIVE);
        let is_kept = usize::from(server) < self.servers.len()
            && !self.servers[usize::from(server)].is_drained
            && served < UPSTREAM_SERVED_MAX
            && count < self.rule.in_flight_max.map_or(IDLE_MAX, |most| IDLE_MAX.min(most))
            && !longest.is_zero();
        let until = is_kept.then_some(self.now + longest);
        let announced = announced_s.map(Duration::from_secs);
        assert_eq!(self.upstreams.keep(at(server), key, served, announced, self.now), until);
        self.idle.extend(until.map(|until| (server, key, self.now, until)));
    }

    fn take_idle(&mut self, server: u8, is_fresh: bool) {
        let now = self.now;
        let is_right = |idle: &&(u8, Key, Tick, Tick)| {
            idle.0 == server && idle.3 > now && (!is_fresh || now.since(idle.2) < Duration::from_secs(1))
        };
        let expected = self.idle.iter().rfind(is_right).map(|idle| idle.1);
        let freshness = if is_fresh { Freshness::Fresh } else { Freshness::Any };
        assert_eq!(self.upstreams.take_idle(at(server), freshness, now), expected, "the last one");
        self.idle.retain(|idle| Some(idle.1) != expected);
    }

    fn lose_idle(&mut self, which: usize) {
        if self.idle.is_empty() {
            return;
        }
        let idle = self.idle.remove(which % self.idle.len());
        assert!(self.upstreams.lose_idle(at(idle.0), idle.1));
        assert!(!self.upstreams.lose_idle(at(idle.0), idle.1));
    }

    /// Time passes: those whose time is over go.
    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        let now = self.now;
        for late in self.waiting.extract_if(.., |waiting| waiting.until <= now) {
            assert!(self.upstreams.leave(APP, late.key));
        }
        for late in self.idle.extract_if(.., |idle| idle.3 <= now) {
            assert!(self.upstreams.lose_idle(at(late.0), late.1));
        }
    }

    /// Gives free places to those that wait.
    fn settle(&mut self) {
        loop {
            let draw = self.draw();
            let Some((key, picked)) = self.upstreams.next_waiter(draw, self.now) else { break };
            let place = self.waiting.iter().position(|waiting| waiting.key == key).expect("it waits");
            let served = self.waiting.remove(place);
            let before = self.waiting.iter().take(place);
            // Whatever came earlier wants another server.
            for earlier in before {
                let usable = self.usable(&earlier.tried);
                let is_bound = earlier.affinity != Affinity::default() && usable.len() > 1;
                let could = usable.contains(&picked.server.server) && !is_bound;
                assert!(!could, "{key:?} overtook {:?}", earlier.key);
            }
            self.given(picked, served.affinity, &served.tried);
        }
        for waiting in &self.waiting {
            let usable = self.usable(&waiting.tried);
            let marked = self.marked(waiting.affinity, &usable);
            let hash = waiting.affinity.hash.filter(|_| self.rule.balance != Balance::Least);
            let is_full = match (marked, hash) {
                (Some(marked), _) => !self.has_room(marked),
                (None, Some(_)) => usable.iter().any(|server| !self.has_room(*server)),
                (None, None) => usable.iter().all(|server| !self.has_room(*server)),
            };
            assert!(is_full || usable.is_empty(), "{:?} waits, and there is room", waiting.key);
        }
        assert!(self.waiting.is_empty() || self.upstreams.deadline() > self.now, "nothing is left to do now");
    }

    fn check(&self) {
        assert_eq!(self.upstreams.waiting(APP), self.waiting.len());
        assert!(self.waiting.len() <= self.rule.queue_max);
        for (server, known) in self.servers.iter().enumerate() {
            let idle = self.idle.iter().filter(|idle| usize::from(idle.0) == server).count();
            let tunnels = self.tunnels.iter().filter(|tunnel| usize::from(**tunnel) == server).count();
            let ModelServer { in_flight, out_until, is_down, is_drained, .. } = *known;
            let is_out = self.now < out_until;
            let standing = ServerStanding { in_flight, idle, tunnels, is_out, is_down, is_drained, addresses: 1 };
            assert_eq!(self.upstreams.standing(at(server as u8), self.now), standing);
        }
    }

    fn play(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Ask { mark, hash, tried } => {
                    let mark = mark.map(|server| match self.rule.servers.get(usize::from(server)) {
                        Some(server) => server.mark,
                        None => ServerMark::parse("00000000000000ff").unwrap(),
                    });
                    self.ask(Affinity { mark, hash: hash.map(|hash| mix(u64::from(hash))) }, tried);
                }
                Deed::End { which, has_failed } => self.end(which, has_failed),
                Deed::Switch { which } => self.switch(which),
                Deed::EndTunnel { which } => self.end_tunnel(which),
                Deed::Leave { which } => self.leave(which),
                Deed::Keep { server, served, announced_s } => self.keep(server, served, announced_s),
                Deed::TakeIdle { server, is_fresh } => self.take_idle(server, is_fresh),
                Deed::LoseIdle { which } => self.lose_idle(which),
                Deed::SetUp { server, is_up } => {
                    self.servers.get_mut(usize::from(server)).into_iter().for_each(|known| known.is_down = !is_up);
                    self.upstreams.set_up(at(server), is_up, self.now);
                }
                Deed::SetDrained { server, is_drained } => {
                    self.servers
                        .get_mut(usize::from(server))
                        .into_iter()
                        .for_each(|known| known.is_drained = is_drained);
                    self.upstreams.set_drained(at(server), is_drained);
                }
                Deed::Pass { millis } => self.pass(millis),
            }
            self.settle();
            self.check();
        }
    }
}

proptest! {
    #[test]
    fn servers_do_what_the_model_does(
        servers in 1u8..5,
        in_flight_max in prop::option::of(1usize..3),
        queue_max in 0usize..4,
        fails_max in 1u32..4,
        is_hashed in any::<bool>(),
        deeds in prop::collection::vec(deed(), 0..120),
    ) {
        let balance = if is_hashed { Balance::Hash(HashedPart::Address) } else { Balance::Least };
        let rule = UpstreamRule { in_flight_max, queue_max, fails_max, balance, ..rule(servers) };
        Model::new(rule).play(deeds);
    }
}
