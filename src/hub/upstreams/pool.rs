//! The servers of one upstream: their requests, their idle connections, their failures.
//!
//! ```text
//!  in  --fails_max failures in a row--> out for eject_s --its time is over--> in, in slow start
//!   ^                                    | ^                                   |
//!   '---- an answer: all is forgotten ---' '--- the next failure: twice as long, up to 300 s
//!
//!  up --probes fail--> down --probes pass--> up, in slow start       out and down: used only if all are
//!  drained, or a name without an address                             never used
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use super::choice::{self, FULL_SHARE, ServerSet};
use super::queue::{Waiter, WaitingLine};
use super::rotation::Rotation;
use super::{QueueFull, ServerStanding};
use crate::base::{Key, Tick};
use crate::limits::{UPSTREAM_EJECT_MAX, UPSTREAM_FRESH, UPSTREAM_KEEP_ALIVE_MARGIN, UPSTREAM_SERVED_MAX};
use crate::proto::upstream::{Affinity, Balance, ServerMark, UpstreamRule, UpstreamServer};

/// Which idle connections a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Any: if it ends before the answer begins, the request is repeated.
    Any,
    /// One that was used a moment ago: the request cannot be repeated.
    Fresh,
}

/// The result of [`Pool::pick`].
pub(super) enum Finding {
    Server(u8),
    Full,
    Exhausted,
}

pub(super) struct Pool {
    servers: Box<[Server]>,
    queue: WaitingLine,
    /// A server may have room for a request that waits …
    has_changed: bool,
    /// … and so may one that returns after this time.
    looked_at: Tick,
    /// Requests that were given to a server that was left out.
    desperate: u64,
    is_hashed: bool,
    idle_max: usize,
    /// Of one server, in this shard.
    in_flight_max: u32,
    keep_alive: Duration,
    queue_wait: Duration,
    fails_max: u32,
    eject: Duration,
    slow_start: Duration,
}

struct Server {
    mark: ServerMark,
    seed: u64,
    in_flight: u32,
    /// WebSockets that requests have opened.
    tunnels: u32,
    /// The one that was used last is the last.
    idle: Vec<Idle>,
    /// In a row.
    failures: u32,
    /// Times in a row that it was left out.
    ejections: u32,
    /// It is left out until then; zero if it never was.
    out_until: Tick,
    /// Its probes fail: it is left out until they pass.
    is_down: bool,
    /// An operator wants it to have no further request.
    is_drained: bool,
    /// Of a server that is configured by its name.
    addresses: Option<Rotation>,
}

/// A connection without a request.
struct Idle {
    key: Key,
    since: Tick,
    until: Tick,
}

impl Pool {
    pub(super) fn new(rule: &UpstreamRule, shards: usize) -> Pool {
        let server = |server: &UpstreamServer| Server {
            mark: server.mark,
            seed: server.seed,
            in_flight: 0,
            tunnels: 0,
            idle: Vec::new(),
            failures: 0,
            ejections: 0,
            out_until: Tick::ZERO,
            is_down: false,
            is_drained: false,
            addresses: server.is_named().then(Rotation::default),
        };
        Pool {
            servers: rule.servers.iter().map(server).collect(),
            queue: WaitingLine::new(if rule.queue_max == 0 { 0 } else { (rule.queue_max / shards.max(1)).max(1) }),
            has_changed: false,
            looked_at: Tick::ZERO,
            desperate: 0,
            is_hashed: rule.balance != Balance::Least,
            idle_max: rule.idle_of_shard(shards),
            in_flight_max: rule
                .in_flight_of_shard(shards)
                .map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX)),
            keep_alive: rule.keep_alive,
            queue_wait: rule.queue_wait,
            fails_max: rule.fails_max,
            eject: rule.eject,
            slow_start: rule.slow_start,
        }
    }

    fn server(&mut self, server: u8) -> Option<&mut Server> {
        self.servers.get_mut(usize::from(server))
    }

    fn those(&self, are: impl Fn(&Server) -> bool) -> ServerSet {
        ServerSet::of(self.servers.len(), |server| are(&self.servers[usize::from(server)]))
    }

    /// The servers that a request may have. If all others are left out, these are tried in spite of it.
    fn usable(&self, tried: ServerSet, now: Tick) -> ServerSet {
        self.usable_of(self.in_service(now), tried)
    }

    fn in_service(&self, now: Tick) -> ServerSet {
        self.those(|server| !server.is_out(now))
    }

    /// The servers that may have requests at all.
    fn open(&self) -> ServerSet {
        self.those(|server| !server.is_drained && server.addresses.as_ref().is_none_or(|known| known.len() > 0))
    }

    fn usable_of(&self, in_service: ServerSet, tried: ServerSet) -> ServerSet {
        let untried = self.open().without(tried);
        let usable = in_service.and(untried);
        if usable.is_empty() { untried } else { usable }
    }

    fn with_room(&self) -> ServerSet {
        self.those(|server| server.in_flight < self.in_flight_max)
    }

    /// The same for a request that comes now: those that wait come first.
    fn with_room_for_newcomers(&self) -> ServerSet {
        match self.queue.claims() {
            None => ServerSet::default(),
            Some(claimed) => self.with_room().without(claimed),
        }
    }

    /// The server that the mark chooses, or else the hash.
    fn wanted(&self, affinity: Affinity, usable: ServerSet) -> Option<u8> {
        let has_mark = |server: &u8| affinity.mark.is_some() && self.mark(*server) == affinity.mark;
        let hash = affinity.hash.filter(|_| self.is_hashed);
        let seed = |server: u8| self.servers.get(usize::from(server)).map_or(0, |server| server.seed);
        usable.iter().find(has_mark).or_else(|| choice::highest(usable, hash?, seed))
    }

    pub(super) fn pick(&mut self, affinity: Affinity, tried: ServerSet, draw: u64, now: Tick) -> Finding {
        let usable = self.usable(tried, now);
        if usable.is_empty() {
            return Finding::Exhausted;
        }
        let room = self.with_room_for_newcomers();
        let found = match self.wanted(affinity, usable) {
            Some(server) => Some(server).filter(|server| room.has(*server)),
            None => self.least(usable.and(room), draw, now),
        };
        match found {
            Some(server) => {
                self.begin(server, now);
                Finding::Server(server)
            }
            None => Finding::Full,
        }
    }

    fn least(&self, among: ServerSet, draw: u64, now: Tick) -> Option<u8> {
        let of = |server: u8| &self.servers[usize::from(server)];
        choice::least(
            among,
            draw,
            |server| of(server).in_flight + of(server).tunnels,
            |server| of(server).share(self.slow_start, now),
        )
    }

    fn begin(&mut self, server: u8, now: Tick) {
        let Some(server) = self.server(server) else { return };
        server.in_flight += 1;
        let is_out = server.is_out(now);
        self.desperate += u64::from(is_out);
    }

    pub(super) fn wait(
        &mut self,
        key: Key,
        affinity: Affinity,
        tried: ServerSet,
        now: Tick,
    ) -> Result<Tick, QueueFull> {
        let among = self.usable(tried, now);
        let (wanted, until) = (self.wanted(affinity, among), now + self.queue_wait);
        self.queue.push(Waiter { key, affinity, tried, among, wanted, until })?;
        self.has_changed = true;
        Ok(until)
    }

    pub(super) fn leave(&mut self, key: Key) -> bool {
        self.queue.remove(key)
    }

    /// A request that waits, the server that has room for it, and what it wanted.
    pub(super) fn next_waiter(&mut self, draw: u64, now: Tick) -> Option<(Key, u8, Affinity)> {
        if self.next_look() > now {
            return None;
        }
        let mut queue = std::mem::take(&mut self.queue);
        let (room, in_service) = (self.with_room(), self.in_service(now));
        let taken = queue.take_first(|waiter| {
            if waiter.until <= now || room.is_empty() {
                return None;
            }
            let usable = self.usable_of(in_service, waiter.tried);
            if usable != waiter.among {
                (waiter.among, waiter.wanted) = (usable, self.wanted(waiter.affinity, usable));
            }
            match waiter.wanted {
                Some(wanted) => Some(wanted).filter(|wanted| room.has(*wanted)),
                None => self.least(usable.and(room), draw, now),
            }
        });
        self.queue = queue;
        let Some((waiter, server)) = taken else {
            (self.has_changed, self.looked_at) = (false, now);
            return None;
        };
        self.begin(server, now);
        Some((waiter.key, server, waiter.affinity))
    }

    /// When a request that waits may find room, without another request's end.
    pub(super) fn next_look(&self) -> Tick {
        if self.queue.len() == 0 {
            return Tick::NEVER;
        }
        if self.has_changed {
            return Tick::ZERO;
        }
        self.next_return(self.looked_at)
    }

    /// When the next server that is left out at that time will be no more.
    pub(super) fn next_return(&self, after: Tick) -> Tick {
        let returns = self.servers.iter().map(|server| server.out_until);
        returns.filter(|until| *until > after).min().unwrap_or(Tick::NEVER)
    }

    pub(super) fn take_idle(&mut self, server: u8, freshness: Freshness, now: Tick) -> Option<Key> {
        let server = self.server(server)?;
        let is_young = |idle: &Idle| freshness == Freshness::Any || now.since(idle.since) < UPSTREAM_FRESH;
        let at = server.idle.iter().rposition(|idle| idle.until > now && is_young(idle))?;
        Some(server.idle.remove(at).key)
    }

    pub(super) fn keep(
        &mut self,
        server: u8,
        key: Key,
        served: u32,
        announced: Option<Duration>,
        now: Tick,
    ) -> Option<Tick> {
        let (idle_max, longest) = (self.idle_max, self.keep_alive);
        let server = self.server(server)?;
        let announced = announced.map(|announced| announced.saturating_sub(UPSTREAM_KEEP_ALIVE_MARGIN));
        let kept = announced.map_or(longest, |announced| announced.min(longest));
        let is_full = served >= UPSTREAM_SERVED_MAX || server.idle.len() >= idle_max;
        if is_full || kept.is_zero() || server.is_drained {
            return None;
        }
        let until = now + kept;
        server.idle.push(Idle { key, since: now, until });
        Some(until)
    }

    pub(super) fn lose_idle(&mut self, server: u8, key: Key) -> bool {
        let Some(server) = self.server(server) else { return false };
        let Some(at) = server.idle.iter().position(|idle| idle.key == key) else { return false };
        server.idle.remove(at);
        if server.idle.is_empty() {
            server.idle.shrink_to(0);
        }
        true
    }

    pub(super) fn answered(&mut self, server: u8, now: Tick) {
        let Some(server) = self.server(server) else { return };
        if server.failures == 0 {
            return;
        }
        (server.failures, server.ejections) = (0, 0);
        // It was tried because all were left out.
        server.out_until = server.out_until.min(now);
        self.has_changed = true;
    }

    pub(super) fn failed(&mut self, server: u8, now: Tick) -> Option<Duration> {
        let (fails_max, eject) = (self.fails_max, self.eject);
        let server = self.server(server)?;
        // Requests that had begun before fail together: they are one failure.
        if now < server.out_until {
            return None;
        }
        server.failures = server.failures.saturating_add(1);
        if server.failures < fails_max {
            return None;
        }
        let doubled = eject.checked_mul(1u32.checked_shl(server.ejections).unwrap_or(u32::MAX));
        let out = doubled.unwrap_or(UPSTREAM_EJECT_MAX).min(UPSTREAM_EJECT_MAX.max(eject));
        server.ejections = server.ejections.saturating_add(1);
        server.out_until = now + out;
        self.has_changed = true;
        Some(out)
    }

    pub(super) fn done(&mut self, server: u8) {
        let Some(server) = self.server(server) else { return };
        debug_assert!(server.in_flight > 0, "a place is given back once");
        server.in_flight = server.in_flight.saturating_sub(1);
        self.has_changed = true;
    }

    /// Its name has been looked up.
    pub(super) fn found(&mut self, server: u8, addresses: &[SocketAddr]) {
        if let Some(known) = self.server(server).and_then(|server| server.addresses.as_mut()) {
            known.replace(addresses);
            self.has_changed = true;
        }
    }

    pub(super) fn next_address(&mut self, server: u8, now: Tick) -> Option<SocketAddr> {
        self.server(server)?.addresses.as_mut()?.next(now)
    }

    pub(super) fn is_at(&self, server: u8, address: SocketAddr) -> bool {
        let server = self.servers.get(usize::from(server));
        server.is_some_and(|server| server.addresses.as_ref().is_none_or(|known| known.has(address)))
    }

    pub(super) fn unreachable(&mut self, server: u8, address: SocketAddr, now: Tick) -> bool {
        let until = now + self.eject;
        let known = self.server(server).and_then(|server| server.addresses.as_mut());
        known.is_some_and(|known| known.rest(address, until, now))
    }

    pub(super) fn set_up(&mut self, server: u8, is_up: bool, now: Tick) {
        let Some(server) = self.server(server) else { return };
        let was_down = std::mem::replace(&mut server.is_down, !is_up);
        if is_up && was_down {
            // Its slow start begins.
            server.out_until = server.out_until.max(now);
        }
        self.has_changed = true;
    }

    pub(super) fn set_drained(&mut self, server: u8, is_drained: bool) {
        if let Some(server) = self.server(server) {
            server.is_drained = is_drained;
            self.has_changed = true;
        }
    }

    pub(super) fn idle(&self, server: u8) -> impl Iterator<Item = Key> {
        self.servers.get(usize::from(server)).into_iter().flat_map(|server| server.idle.iter().map(|idle| idle.key))
    }

    pub(super) fn switched(&mut self, server: u8) {
        self.done(server);
        if let Some(server) = self.server(server) {
            server.tunnels += 1;
        }
    }

    pub(super) fn tunnel_ended(&mut self, server: u8) {
        let Some(server) = self.server(server) else { return };
        debug_assert!(server.tunnels > 0, "it ends once");
        server.tunnels = server.tunnels.saturating_sub(1);
    }

    pub(super) fn mark(&self, server: u8) -> Option<ServerMark> {
        self.servers.get(usize::from(server)).map(|server| server.mark)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn desperate(&self) -> u64 {
        self.desperate
    }

    pub(super) fn standing(&self, server: u8, now: Tick) -> ServerStanding {
        let standing = |server: &Server| ServerStanding {
            in_flight: server.in_flight as usize,
            idle: server.idle.len(),
            tunnels: server.tunnels as usize,
            is_out: now < server.out_until,
            is_down: server.is_down,
            is_drained: server.is_drained,
            addresses: server.addresses.as_ref().map_or(1, Rotation::len),
        };
        self.servers.get(usize::from(server)).map(standing).unwrap_or_default()
    }
}

impl Server {
    fn is_out(&self, now: Tick) -> bool {
        self.is_down || now < self.out_until
    }

    /// Its part of the requests that it would get otherwise, of [`FULL_SHARE`]. A tenth at least, or it would never warm up.
    fn share(&self, slow_start: Duration, now: Tick) -> u64 {
        let passed = now.since(self.out_until);
        if self.out_until == Tick::ZERO || passed >= slow_start {
            return FULL_SHARE;
        }
        let part = passed.as_micros() as u64 * FULL_SHARE / slow_start.as_micros() as u64;
        part.max(FULL_SHARE / 10)
    }
}
