//! What a shard holds, in numbers: tests and the simulator look for what is left when all connections have ended.

use super::Shard;
use crate::driver::Driver;

/// What a shard holds; see [`Shard::census`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub connections: usize,
    pub subscriptions: usize,
    pub members: usize,
    pub live_channels: usize,
    /// Clients that are known to listen to channels with presence.
    pub present: usize,
    /// Users and clients whose joins or leaves are to be announced.
    pub unannounced: usize,
    pub stranded: usize,
    pub sticky: usize,
    /// Connections that have not taken all that they missed.
    pub readers: usize,
    /// Connections for which events are held back.
    pub holding: usize,
    /// Requests that this shard keeps, and the results among them.
    pub requests: usize,
    pub questions: usize,
    /// Connections that owe answers.
    pub asked: usize,
    /// Messages that clients have not acknowledged.
    pub unacked: usize,
    /// Workers that shards have handed requests to.
    pub keepers: usize,
    /// Clients that wait to hear whether they have missed a result.
    pub recalls: usize,
    /// Clients whose service has not heard of them.
    pub opening: usize,
    /// The most bytes that wait for one client, held back or not.
    pub waiting_most: usize,
    /// Publishers whose messages wait for an owner's verdict, and those that wait for a PONG.
    pub lines: usize,
    pub pongs_owed: usize,
    /// Publishers that wait for room in other shards' mailboxes.
    pub parked: usize,
    /// Letters that wait for the same.
    pub backlog: usize,
}

impl<D: Driver> Shard<D> {
    /// Connections, subscriptions, directory entries and letters that exist: all zero when everybody has gone.
    pub fn census(&self) -> Census {
        let mut census = Census {
            connections: self.core.desk.slots.len(),
            subscriptions: self.core.desk.subscribers.len(),
            members: self.core.desk.directory.len(),
            live_channels: self.core.desk.engine.len().0,
            holding: self.core.desk.held.len(),
            waiting_most: self.core.desk.waiting_most(),
            parked: self.core.desk.parked.len(),
            backlog: self.core.desk.post.backlog(),
            ..Census::default()
        };
        self.core.features.count(&mut census);
        census
    }
}
