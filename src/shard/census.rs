//! What a shard holds, in numbers. Tests and the simulator check what is left when all connections have ended.

use super::Shard;
use super::desk::Desk;
use super::desk::excess::counted_again;
use super::desk::slow::waiting_again;
use super::desk::sums::weighed_again;
use crate::base::Key;
use crate::conn::halves;
use crate::driver::Driver;

/// What a shard holds; see [`Shard::census`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub connections: usize,
    pub subscriptions: usize,
    pub members: usize,
    pub live_channels: usize,
    /// Clients that are present in channels with presence, each counted once for each channel, listed or only counted.
    pub present: usize,
    /// Users and clients whose join or leave is not announced yet.
    pub unannounced: usize,
    pub stranded: usize,
    pub sticky: usize,
    /// Connections whose replay is not complete.
    pub readers: usize,
    /// Connections with held events.
    pub holding: usize,
    /// Accepted requests that this shard keeps, and the results among them.
    pub requests: usize,
    pub questions: usize,
    /// Connections that owe answers.
    pub asked: usize,
    /// Messages that wait for an acknowledgement.
    pub unacked: usize,
    /// Workers to which shards have handed accepted requests.
    pub keepers: usize,
    /// Clients for which this shard asks a keeper whether they missed a result.
    pub recalls: usize,
    /// Clients that their service has not been told of yet.
    pub opening: usize,
    /// The most bytes that wait for one client, held events included.
    pub waiting_most: usize,
    /// Bytes of clients that wait for the rest of what they belong to, and of unfinished handshakes.
    pub arriving_bytes: usize,
    /// Memory that waits for clients that do not keep up.
    pub waiting_bytes: usize,
    /// Publishers with a line of messages that wait for an owner's verdict, and publishers that wait for a PONG.
    pub lines: usize,
    pub pongs_owed: usize,
    /// Publishers that are paused until other shards' mailboxes have room.
    pub parked: usize,
    /// Halves of proxied requests that wait until their partner's peer takes more.
    pub stopped_halves: usize,
    /// Letters that wait for the same room.
    pub backlog: usize,
    /// How often connections are counted, each once for each limit: in sum over all shards, what the accounts say.
    pub limited: usize,
    /// Clients that are not read because they have sent messages too fast.
    pub resting: usize,
    /// Streams that end with a token.
    pub expiring: usize,
    /// Requests that wait in their admission.
    pub checking: usize,
    /// Requests and commands that wait until the application has decided, and what it is asked.
    pub deciding: usize,
    pub open_decisions: usize,
    /// Questions to servers whether clients are let in.
    pub server_checks: usize,
    /// Requests and streams whose last line is still to come in the access log.
    pub logged: usize,
}

impl<D: Driver> Shard<D> {
    /// Everything that exists in this shard. All is zero once every peer has disconnected, and the time is over for which
    /// results, messages to acknowledge and users that are away are kept.
    pub fn census(&self) -> Census {
        let mut census = Census {
            connections: self.core.desk.slots.len(),
            subscriptions: self.core.desk.subscribers.len(),
            members: self.core.desk.directory.len(),
            live_channels: self.core.desk.engine.len().0,
            holding: self.core.desk.held.len(),
            waiting_most: self.core.desk.waiting_most(),
            arriving_bytes: self.arriving_bytes(),
            waiting_bytes: self.waiting_bytes(),
            parked: self.core.desk.parked.len(),
            backlog: self.core.desk.post.backlog(),
            limited: self.limited(),
            logged: self.core.desk.settings.access.open(),
            ..Census::default()
        };
        debug_assert!(are_paired(&self.core.desk), "PAIRED");
        self.core.features.count(&mut census);
        census
    }

    fn limited(&self) -> usize {
        let quotas = self.core.desk.settings.generation.quotas.as_deref();
        quotas.map_or(0, |quotas| counted_again(&self.core.desk, quotas))
    }

    /// Memory that waits: as counted, which must be equal to what the connections have after a turn that has flushed all.
    fn waiting_bytes(&self) -> usize {
        let desk = &self.core.desk;
        let counted = desk.sums.waiting_bytes();
        let is_flushed = desk.work.dirty.is_empty() && desk.work.dirty_later.is_empty();
        debug_assert!(
            !is_flushed || counted == waiting_again(desk),
            "{counted} waiting, {} found",
            waiting_again(desk)
        );
        counted
    }

    /// Bytes that have arrived and cannot be used yet: as counted, which must be equal to what the connections have.
    fn arriving_bytes(&self) -> usize {
        let sums = &self.core.desk.sums;
        let counted = (sums.arriving_bytes(), sums.handshaking_bytes());
        debug_assert_eq!(counted, weighed_again(&self.core.desk), "arriving, handshaking: counted, and in connections");
        counted.0 + counted.1
    }
}

/// Whether each half that has a partner is its partner's partner.
fn are_paired(desk: &Desk) -> bool {
    let partner = |key: Key| desk.slots.get(key).and_then(|conn| halves::partner(&conn.session));
    desk.slots.keys().all(|key| partner(key).is_none_or(|other| partner(other) == Some(key)))
}
