//! Where connections come in: the listeners, those of them that pause after a failed accept, and the slot for a new
//! connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::warn;
use rustls::ServerConfig;

use crate::base::{Key, Tick};
use crate::conn::quota::PeerStanding;
use crate::conn::{self, Conn, Door};
use crate::driver::{Driver, ListenerId};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::networks::Networks;

use super::desk::excess::count_excess;
use super::desk::{Desk, Told};
use super::drain::DrainProgress;

/// One listener of a shard: the door that its connections come in by, and whether they speak TLS.
#[derive(Clone)]
pub struct Entrance {
    pub door: Door,
    pub tls: Option<Arc<ServerConfig>>,
    /// Load balancers that begin with a PROXY header (`listener.proxy_protocol`).
    pub introduced_by: Networks,
}

/// The room for another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    ForOneMore,
    /// The client can be told that there is none, and occupies a slot until it has read the answer.
    ForLastWords,
    None,
}

impl Room {
    /// `limits.connections_max` bounds the clients of all shards, because the kernel distributes them at random. The
    /// descriptors of this shard's table bound its own connections, so that workers and operators find some.
    fn in_shard(desk: &Desk) -> Room {
        let clients = desk.counters.iter().map(|counters| counters.clients.value() as usize).sum::<usize>();
        let own = desk.counters().open.value();
        let clients_max = desk.settings.generation.connections_max;
        let own_max = desk.settings.process.shard_connections_max;
        // In a small table the last words leave most of the reserve to others.
        let words_max = (limits::REFUSALS_OPEN_MAX as u64).min(own_max / 4);
        let is_within = |clients_more: usize, own_more: u64| {
            clients < clients_max.saturating_add(clients_more) && own < own_max.saturating_add(own_more)
        };
        match is_within(0, 0) {
            true => Room::ForOneMore,
            false if is_within(limits::REFUSALS_OPEN_MAX, words_max) => Room::ForLastWords,
            false => Room::None,
        }
    }
}

/// How a shard listens at an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    No,
    Alone,
    /// The socket outlives this process: the next one has it too.
    ForNow,
}

/// All of a shard, by the ids of their listeners.
pub(super) struct Entrances {
    all: Vec<Entrance>,
    listening: Vec<Listens>,
    /// Listeners that pause after a failed accept, and until when.
    resting: Vec<(ListenerId, Tick)>,
    /// Connections that are open only to be told that a limit has no room for them.
    told: usize,
}

impl Entrances {
    pub(super) fn new(all: Vec<Entrance>) -> Entrances {
        let listening = vec![Listens::No; all.len()];
        Entrances { all, listening, resting: Vec::new(), told: 0 }
    }

    /// From now on connections of these networks begin with a PROXY header, at the listeners for clients.
    #[cfg(test)]
    pub(super) fn introduce(&mut self, networks: &Networks) {
        let fronts = self.all.iter_mut().filter(|entrance| entrance.door == Door::Front);
        fronts.for_each(|entrance| entrance.introduced_by = networks.clone());
    }

    /// From now on the shard listens at `id`.
    pub(super) fn open(&mut self, id: ListenerId, listens: Listens) {
        assert!((id.0 as usize) < self.all.len(), "a listener has an entrance");
        self.listening[id.0 as usize] = listens;
    }

    /// From now on the kernel refuses connections, or keeps them for the next process if that has the socket too.
    pub(super) fn close<D: Driver>(&mut self, driver: &mut D, is_meant: impl Fn(Door) -> bool) {
        for (index, listens) in self.listening.iter_mut().enumerate() {
            let id = ListenerId(index as u16);
            if !is_meant(self.all[index].door) {
                continue;
            }
            match std::mem::replace(listens, Listens::No) {
                Listens::No => {}
                Listens::Alone => driver.unlisten(id),
                Listens::ForNow => driver.pause_accept(id),
            }
            self.resting.retain(|(resting, _)| *resting != id);
        }
    }

    /// Listeners whose pause is over accept again.
    pub(super) fn resume<D: Driver>(&mut self, driver: &mut D, now: Tick) {
        self.resting.retain(|(listener, until)| {
            let is_over = *until <= now;
            if is_over {
                driver.resume_accept(*listener);
            }
            !is_over
        });
    }

    /// When the first pause ends.
    pub(super) fn deadline(&self) -> Tick {
        self.resting.iter().fold(Tick::NEVER, |deadline, (_, until)| deadline.min(*until))
    }

    /// Makes a slot for a socket, or refuses it.
    pub(super) fn accepted(
        &mut self,
        desk: &mut Desk,
        drain: &DrainProgress,
        listener: ListenerId,
        peer: SocketAddr,
    ) -> Option<Key> {
        let entrance = &self.all[listener.0 as usize];
        desk.counters().accepted.add(1);
        let is_client = entrance.door == Door::Front;
        let room = if is_client { Room::in_shard(desk) } else { Room::ForOneMore };
        let is_full = room != Room::ForOneMore;
        let may_refuse = entrance.tls.is_none() && room == Room::ForLastWords;
        let is_closed = if is_client { drain.has_closed_fronts() } else { drain.has_closed_all() };
        if is_closed || (is_full && !may_refuse) {
            let reason = if is_full { CloseReason::TooManyConnections } else { CloseReason::Drain };
            desk.count_end(reason, peer.into(), Told::of_refused(desk, reason));
            return None;
        }
        let is_introduced = entrance.introduced_by.contain(peer.ip());
        let is_stranger = is_client && !is_full && !is_introduced && desk.settings.generation.quotas.is_some();
        let may_tell = entrance.tls.is_none();
        let stand = if is_stranger { stand(&mut self.told, desk, peer.ip(), may_tell) } else { Ok(Entered::default()) };
        let entered = stand.and_then(|stand| match conn::transport(entrance.tls.as_ref(), is_introduced) {
            Ok(transport) => Ok((transport, stand)),
            Err(reason) => {
                leave(&mut self.told, desk, peer.ip(), stand.standing);
                Err(reason)
            }
        });
        let (transport, stand) = match entered {
            Ok(entered) => entered,
            Err(reason) => {
                desk.count_end(reason, peer.into(), Told::of_refused(desk, reason));
                return None;
            }
        };
        let (settings, now) = (&desk.settings, desk.now);
        // Unique over all shards: no two connections of the process have the same.
        let count = desk.counters().accepted.value() - 1;
        let number = count * u64::from(desk.post.mesh().shards()) + u64::from(desk.place.0) + 1;
        let mut conn = Conn::new(number, peer, (listener.0, entrance.door), transport, settings, now);
        conn.session.counted.set_standing(stand.standing);
        // Without TLS a refusal can be sent. Which one depends on the request.
        if let Some(reason) = stand.surplus.or(is_full.then_some(CloseReason::TooManyConnections)) {
            conn.turn_away(reason, now);
        }
        let key = desk.slots.insert(conn);
        desk.counters().open.add(1);
        desk.counters().clients.add(is_client.into());
        desk.work.receive.push(key);
        desk.mark_dirty(key);
        desk.schedule(key);
        Some(key)
    }

    /// The client that a load balancer has introduced is counted as one that has come itself. False if the connection ends.
    pub(super) fn introduced(&mut self, desk: &mut Desk, key: Key) -> bool {
        let Some(conn) = desk.slots.get(key) else { return false };
        if desk.settings.generation.quotas.is_none() || conn::is_turned_away(conn) {
            return true;
        }
        let may_tell = !conn.link.is_handshaking();
        let stand = stand(&mut self.told, desk, conn.link.peer().ip(), may_tell);
        match (stand, desk.slots.get_mut(key)) {
            (Ok(Entered { standing, surplus }), Some(conn)) => {
                conn.session.counted.set_standing(standing);
                surplus.into_iter().for_each(|reason| conn.turn_away(reason, desk.now));
                true
            }
            (Err(reason), _) => {
                desk.broken(key, reason);
                false
            }
            (Ok(_), None) => false,
        }
    }

    /// The connection is closed.
    pub(super) fn left(&mut self, desk: &Desk, conn: &Conn) {
        leave(&mut self.told, desk, conn.link.peer().ip(), conn.session.counted.standing());
    }

    pub(super) fn accept_failed(&mut self, desk: &mut Desk, listener: ListenerId, error: &io::Error) {
        // The usual causes are a lack of descriptors or memory. They last, and affect all listeners of all shards.
        if let Some(left_out) = desk.fold.say(&("accept", error.raw_os_error()), desk.now) {
            warn!("connections wait, because none can be accepted: {error}{left_out}");
        }
        desk.counters().accept_failures.add(1);
        self.resting.push((listener, desk.now + limits::ACCEPT_BACKOFF));
    }

    /// After a failed accept no client is accepted for a while, so that descriptors that become free are for workers and the
    /// admin listener.
    pub(super) fn rest_fronts<D: Driver>(&mut self, driver: &mut D, now: Tick) {
        for (index, entrance) in self.all.iter().enumerate() {
            let id = ListenerId(index as u16);
            let is_resting = self.resting.iter().any(|(resting, _)| *resting == id);
            if entrance.door == Door::Front && self.listening[index] != Listens::No && !is_resting {
                driver.pause_accept(id);
                self.resting.push((id, now + limits::ACCEPT_BACKOFF));
            }
        }
    }
}

/// What a new connection is counted as, and the reason if it is open only to be told so.
#[derive(Clone, Copy, Default)]
struct Entered {
    standing: PeerStanding,
    surplus: Option<CloseReason>,
}

/// Counts a client among those of its address. If it is one too many, it may be told so (`may_tell`: without TLS), as long as few
/// are; otherwise it is closed for the reason that is returned. Trusted proxies are not counted: their clients are, when a
/// request or stream begins.
fn stand(told: &mut usize, desk: &Desk, ip: IpAddr, may_tell: bool) -> Result<Entered, CloseReason> {
    let generation = &desk.settings.generation;
    let Some(quotas) = generation.quotas.as_deref().filter(|_| !generation.trust.networks.contain(ip)) else {
        return Ok(Entered::default());
    };
    let Err(excess) = quotas.connection_came(ip, desk.now) else {
        return Ok(Entered { standing: PeerStanding::Counted, surplus: None });
    };
    count_excess(desk, excess, ip);
    let reason = excess.measure.reason();
    if !may_tell || *told >= limits::REFUSALS_OPEN_MAX {
        return Err(reason);
    }
    *told += 1;
    Ok(Entered { standing: PeerStanding::Told, surplus: Some(reason) })
}

fn leave(told: &mut usize, desk: &Desk, ip: IpAddr, standing: PeerStanding) {
    match (standing, &desk.settings.generation.quotas) {
        (PeerStanding::Counted, Some(quotas)) => quotas.connection_gone(ip),
        (PeerStanding::Told, _) => *told -= 1,
        (PeerStanding::Uncounted | PeerStanding::Counted, _) => {}
    }
}
