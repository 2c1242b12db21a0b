//! The servers of all upstreams, as one shard sees them: which of them gets a request, which connection, and which requests
//! wait.
//!
//! ```text
//!  request --pick--> Server ----> take_idle --Some--> a connection that is there      (LIFO)
//!             |                      '-------None--> the shard dials `UpstreamServer::at`
//!             |                  answered | failed, then done: its place is free again --> next_waiter
//!             |-----> Full ------> wait --(queue)--> next_waiter, or leave when its deadline has passed
//!             '-----> Exhausted    each server has been tried: 503
//!
//!  found, set_up, set_drained: what the gateway has learned of a server, and what its operator wants
//! ```
//!
//! - `choice`    which of the servers that may be chosen
//! - `pool`      the servers of one upstream: their requests, their idle connections, their failures
//! - `queue`     the requests that wait for one of them
//! - `rotation`  the addresses of a server that is configured by its name
//!
//! Pure state: a connection is a key, time and randomness are arguments. A shard counts its own requests only, so bounds of
//! the whole gateway are divided by the number of shards, as its other bounds are.

mod choice;
#[cfg(test)]
mod model;
mod pool;
mod queue;
mod rotation;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Key, Tick};
use crate::proto::upstream::{Affinity, ServerId, UpstreamId, UpstreamRule};

use choice::ServerSet;
use pool::Pool;

pub(crate) use pool::Freshness;

/// The servers that a request has been offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried(ServerSet);

impl Tried {
    /// The same with another server.
    pub(crate) fn with(self, server: ServerId) -> Tried {
        Tried(self.0.with(server.server))
    }
}

/// The server of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picked {
    pub server: ServerId,
    /// The client does not have the server's mark: where the upstream is sticky, the answer sets its cookie.
    pub is_unmarked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The request has a place in this server until [`Upstreams::done`].
    Server(Picked),
    /// Each server that may have it has as many requests as it takes.
    Full,
    /// Each server has been tried.
    Exhausted,
}

/// The queue of an upstream is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// See the module's picture.
#[derive(Default)]
pub(crate) struct Upstreams {
    /// By id.
    pools: Box<[Pool]>,
    /// Requests that wait, of all upstreams.
    waiting: usize,
}

impl Upstreams {
    /// The part of one of `shards`.
    pub(crate) fn new(rules: &[UpstreamRule], shards: usize) -> Upstreams {
        Upstreams { pools: rules.iter().map(|rule| Pool::new(rule, shards)).collect(), waiting: 0 }
    }

    fn pool(&mut self, id: UpstreamId) -> Option<&mut Pool> {
        self.pools.get_mut(usize::from(id.0))
    }

    /// Chooses a server that the request has not tried. `draw` is random.
    pub(crate) fn pick(
        &mut self,
        upstream: UpstreamId,
        affinity: Affinity,
        tried: Tried,
        draw: u64,
        now: Tick,
    ) -> Pick {
        let Some(pool) = self.pool(upstream) else { return Pick::Exhausted };
        match pool.pick(affinity, tried.0, draw, now) {
            pool::Finding::Server(server) => Pick::Server(picked(upstream, pool, server, affinity)),
            pool::Finding::Full => Pick::Full,
            pool::Finding::Exhausted => Pick::Exhausted,
        }
    }

    /// A request that has found all servers full waits. Returns its deadline: when it has passed, or the client has gone, the
    /// request must [`leave`](Upstreams::leave).
    pub(crate) fn wait(
        &mut self,
        upstream: UpstreamId,
        key: Key,
        affinity: Affinity,
        tried: Tried,
        now: Tick,
    ) -> Result<Tick, QueueFull> {
        let until = self.pool(upstream).ok_or(QueueFull)?.wait(key, affinity, tried.0, now)?;
        self.waiting += 1;
        Ok(until)
    }

    /// A request waits no longer. False if it did not wait.
    pub(crate) fn leave(&mut self, upstream: UpstreamId, key: Key) -> bool {
        let has_left = self.pool(upstream).is_some_and(|pool| pool.leave(key));
        self.waiting -= usize::from(has_left);
        has_left
    }

    /// A request whose wait is over, because a server has room for it. To be called until there is none, after servers
    /// have had [`done`](Upstreams::done) or failed.
    pub(crate) fn next_waiter(&mut self, draw: u64, now: Tick) -> Option<(Key, Picked)> {
        if self.waiting == 0 {
            return None;
        }
        for (index, pool) in self.pools.iter_mut().enumerate() {
            if let Some((key, server, affinity)) = pool.next_waiter(draw, now) {
                self.waiting -= 1;
                return Some((key, picked(UpstreamId(index as u16), pool, server, affinity)));
            }
        }
        None
    }

    /// When [`next_waiter`](Upstreams::next_waiter) is to be called at the latest: in the past, if it should be now.
    #[inline]
    pub(crate) fn deadline(&self) -> Tick {
        if self.waiting == 0 {
            return Tick::NEVER;
        }
        self.pools.iter().map(Pool::next_look).min().unwrap_or(Tick::NEVER)
    }

    /// An idle connection to the server, the one that was used last. Its deadline as an idle one is void.
    pub(crate) fn take_idle(&mut self, server: ServerId, freshness: Freshness, now: Tick) -> Option<Key> {
        self.pool(server.upstream)?.take_idle(server.server, freshness, now)
    }

    /// A connection is idle after `served` requests, and the server has announced that it keeps it for `announced`. Returns
    /// when it is to be closed; `None` if it is not kept.
    pub(crate) fn keep(
        &mut self,
        server: ServerId,
        key: Key,
        served: u32,
        announced: Option<Duration>,
        now: Tick,
    ) -> Option<Tick> {
        self.pool(server.upstream)?.keep(server.server, key, served, announced, now)
    }

    /// An idle connection has ended, or is about to. False if it was not idle.
    pub(crate) fn lose_idle(&mut self, server: ServerId, key: Key) -> bool {
        self.pool(server.upstream).is_some_and(|pool| pool.lose_idle(server.server, key))
    }

    /// The server has answered a request: its failures are forgotten.
    pub(crate) fn answered(&mut self, server: ServerId, now: Tick) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.answered(server.server, now);
        }
    }

    /// The server has refused a connection, or not answered as it should. Returns for how long it is left out from now on,
    /// if this failure was one too many.
    pub(crate) fn failed(&mut self, server: ServerId, now: Tick) -> Option<Duration> {
        self.pool(server.upstream)?.failed(server.server, now)
    }

    /// A request has left its server, in whatever way: its place is free. Once for each [`Picked`].
    pub(crate) fn done(&mut self, server: ServerId) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.done(server.server);
        }
    }

    /// The name of the server leads to these addresses now; none is an answer, too. A server with a fixed address is as before.
    pub(crate) fn found(&mut self, server: ServerId, addresses: &[SocketAddr]) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.found(server.server, addresses);
        }
    }

    /// Where the next connection to a server leads that is configured by its name.
    pub(crate) fn next_address(&mut self, server: ServerId, now: Tick) -> Option<SocketAddr> {
        self.pool(server.upstream)?.next_address(server.server, now)
    }

    /// Whether the server is there, as far as is known.
    pub(crate) fn is_at(&self, server: ServerId, address: SocketAddr) -> bool {
        let pool = self.pools.get(usize::from(server.upstream.0));
        pool.is_some_and(|pool| pool.is_at(server.server, address))
    }

    /// A dial to this address of the server has failed. True if the server has another one that may be tried.
    pub(crate) fn unreachable(&mut self, server: ServerId, address: SocketAddr, now: Tick) -> bool {
        self.pool(server.upstream).is_some_and(|pool| pool.unreachable(server.server, address, now))
    }

    /// Probes of the server pass, or do not. One that is down is left out until it is up.
    pub(crate) fn set_up(&mut self, server: ServerId, is_up: bool, now: Tick) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.set_up(server.server, is_up, now);
        }
    }

    /// Whether the server is to have no further request.
    pub(crate) fn set_drained(&mut self, server: ServerId, is_drained: bool) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.set_drained(server.server, is_drained);
        }
    }

    /// Its idle connections.
    pub(crate) fn idle(&self, server: ServerId) -> impl Iterator<Item = Key> {
        let pool = self.pools.get(usize::from(server.upstream.0));
        pool.into_iter().flat_map(move |pool| pool.idle(server.server))
    }

    /// When a server that is left out at that time returns.
    pub(crate) fn next_return(&self, after: Tick) -> Tick {
        self.pools.iter().map(|pool| pool.next_return(after)).min().unwrap_or(Tick::NEVER)
    }

    /// A request has opened a WebSocket, which may last for days: it takes no place of a request, and still counts in the choice of
    /// a server. Instead of [`done`](Upstreams::done).
    pub(crate) fn switched(&mut self, server: ServerId) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.switched(server.server);
        }
    }

    /// Such a WebSocket is over.
    pub(crate) fn tunnel_ended(&mut self, server: ServerId) {
        if let Some(pool) = self.pool(server.upstream) {
            pool.tunnel_ended(server.server);
        }
    }

    /// Sums for the metrics and the census.
    pub(crate) fn standing(&self, server: ServerId, now: Tick) -> ServerStanding {
        let pool = self.pools.get(usize::from(server.upstream.0));
        pool.map(|pool| pool.standing(server.server, now)).unwrap_or_default()
    }

    /// Requests that wait for a server of this upstream.
    pub(crate) fn waiting(&self, upstream: UpstreamId) -> usize {
        self.pools.get(usize::from(upstream.0)).map_or(0, Pool::waiting)
    }

    /// Requests of this upstream that were given to a server that is left out, because all were.
    pub(crate) fn desperate(&self, upstream: UpstreamId) -> u64 {
        self.pools.get(usize::from(upstream.0)).map_or(0, Pool::desperate)
    }
}

fn picked(upstream: UpstreamId, pool: &Pool, server: u8, affinity: Affinity) -> Picked {
    let is_unmarked = affinity.mark != pool.mark(server);
    Picked { server: ServerId { upstream, server }, is_unmarked }
}

/// A server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerStanding {
    pub in_flight: usize,
    pub idle: usize,
    pub tunnels: usize,
    /// It is left out for a while after failures.
    pub is_out: bool,
    /// Its probes fail.
    pub is_down: bool,
    pub is_drained: bool,
    /// One, of a server that is configured by its address.
    pub addresses: usize,
}

impl ServerStanding {
    /// Whether it gets requests, as long as others do.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_out && !self.is_down && self.addresses > 0
    }
}
