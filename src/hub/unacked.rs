//! Messages that a client has to acknowledge: resent until one does, or until the time or the count is over. Time is an
//! argument; the shard carries out the results.
//!
//! ```text
//!  begin --> waiting --reached, came--> delivered --due--> resent --reached--> delivered, …
//!    |          ^                          |                 |
//!    |          '--------------------------|-- not reached --'
//!    '--> refused                          v
//!              over, once: acknowledged, expired, gone (its connection), closed (the gateway)
//! ```
//!
//! The home of a message is the shard of its connection, or the owner of its user's subject. It does not know the
//! user's connections: each shard reports where the message has reached one (`reached`), and each new connection
//! (`came`). A message that has reached no connection waits; one that has is resent with exponential back-off.
//!
//! No shard remembers which connection was sent which message: an acknowledgement belongs to the user, so it also
//! counts from the user's next connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use crate::base::{Address, ConnId, Place, Tick, mix, shrink};
use crate::limits;
use crate::proto::control;
use crate::proto::event::Message;
use crate::proto::reserved::headers::ACK_HEADER;
use crate::proto::reserved::subjects::Family;
use crate::proto::subject::Subject;

/// What the header `Tg-Ack` asks for: `<seconds>`, or `<seconds>, <times>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// How long an acknowledgement is awaited.
    pub time: Duration,
    /// How often the message is sent at most.
    pub sendings_max: u32,
}

impl Demand {
    pub(crate) fn of(message: &Message) -> Option<Demand> {
        Demand::parse(message.header(ACK_HEADER)?)
    }

    fn parse(text: &str) -> Option<Demand> {
        let (seconds, times) = match text.split_once(',') {
            Some((seconds, times)) => (seconds, Some(times)),
            None => (text, None),
        };
        let time = Duration::from_secs(count(seconds)?).min(limits::ACK_TIME_MAX);
        let sendings_max = match times {
            Some(times) => u32::try_from(count(times)?).unwrap_or(u32::MAX),
            None => u32::MAX,
        };
        Some(Demand { time, sendings_max })
    }
}

/// A number above zero.
fn count(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| is_number && *count > 0)
}

/// The outcome of a message that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckFailure {
    /// The time has passed, or the message was sent as often as allowed.
    Expired,
    /// The message was for one connection, which has ended.
    Gone,
    /// The gateway is draining.
    Closed,
}

/// An acknowledgement of a settled message, or of another user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stray;

/// The reason why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DemandRefusal {
    /// Too many messages wait for this client or in this shard.
    Full,
    /// The gateway is draining.
    Closed,
}

/// A message whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AckTimeout {
    /// It is to be resent; [`UnackedMessages::reached`] reports that it has reached a client.
    Again { id: u64, addressee: Subject, text: Arc<[u8]> },
    /// It is over; the requester is to be told.
    Over { end: AckFailure, requester: Option<Subject> },
}

/// The messages that wait for a user that has connected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub texts: Vec<Arc<[u8]>>,
    /// How many of them have been sent before.
    pub again: u64,
}

struct UnackedMessage {
    /// `tg.user.<user>` or `tg.conn.<id>`.
    addressee: Subject,
    requester: Option<Subject>,
    /// The control message for clients, encoded once for all resends.
    text: Arc<[u8]>,
    sendings: u32,
    sendings_max: u32,
    /// The current send has reached a connection.
    has_reached: bool,
    until: Tick,
    /// When it is resent, or ends. Not before `until` while it has reached no connection.
    at: Tick,
    /// The outcome, once its time has come.
    fate: AckFailure,
}

/// The messages that wait for one client.
#[derive(Default)]
struct ClientQueue {
    /// In the order of publication.
    ids: Vec<u64>,
    bytes: usize,
}

/// Bounds on waiting messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnackedBounds {
    /// For one client; a single message may be longer.
    pub client_bytes_max: usize,
    pub bytes_max: usize,
}

/// The unacknowledged messages of a home.
pub(crate) struct UnackedMessages {
    pending: AHashMap<u64, UnackedMessage>,
    by_addressee: AHashMap<Subject, ClientQueue>,
    due: BTreeSet<(Tick, u64)>,
    bounds: UnackedBounds,
    bytes: usize,
    own: Place,
    seed: u64,
    serial: u64,
    is_closed: bool,
}

impl UnackedMessages {
    pub(crate) fn new(own: Place, bounds: UnackedBounds, seed: u32) -> UnackedMessages {
        UnackedMessages {
            pending: AHashMap::new(),
            by_addressee: AHashMap::new(),
            due: BTreeSet::new(),
            bounds,
            bytes: 0,
            own,
            seed: mix(u64::from(seed) ^ 0xAC),
            serial: 0,
            is_closed: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The home of the message with this id.
    pub(crate) fn home_of(id: u64) -> Place {
        Place((id >> 56) as u16)
    }

    /// Keeps a message: returns its id, and the control message for clients.
    pub(crate) fn begin(
        &mut self,
        addressee: Subject,
        message: &Message,
        demand: Demand,
        now: Tick,
    ) -> Result<(u64, Arc<[u8]>), DemandRefusal> {
        if self.is_closed {
            return Err(DemandRefusal::Closed);
        }
        let id = self.draw();
        let mut text = Vec::with_capacity(message.payload.len() + 64);
        control::write_message(&mut text, id, &message.payload);
        let text: Arc<[u8]> = text.into();
        let cost = cost(&text);
        let queue = self.by_addressee.get(&addressee);
        let has_place = queue.is_none_or(|queue| {
            queue.ids.len() < limits::UNACKED_PER_CLIENT_MAX && queue.bytes + cost <= self.bounds.client_bytes_max
        });
        let is_full = self.pending.len() >= limits::UNACKED_PER_SHARD_MAX || self.bytes + cost > self.bounds.bytes_max;
        if is_full || !has_place {
            return Err(DemandRefusal::Full);
        }
        let queue = self.by_addressee.entry(addressee.clone()).or_default();
        queue.ids.push(id);
        queue.bytes += cost;
        self.bytes += cost;
        let until = now + demand.time;
        self.due.insert((until, id));
        let pending = UnackedMessage {
            addressee,
            requester: message.requester().cloned(),
            text: text.clone(),
            sendings: 0,
            sendings_max: demand.sendings_max,
            has_reached: false,
            until,
            at: until,
            fate: AckFailure::Expired,
        };
        self.pending.insert(id, pending);
        Ok((id, text))
    }

    /// The id contains the home, for the way back; the rest is pseudo-random, so that clients can tell these messages
    /// from those of another process.
    fn draw(&mut self) -> u64 {
        loop {
            self.serial += 1;
            let id = u64::from(self.own.0) << 56 | mix(self.seed.wrapping_add(self.serial)) >> 8;
            if !self.pending.contains_key(&id) {
                return id;
            }
        }
    }

    /// A send has reached a connection that can acknowledge it. Only the first report counts.
    pub(crate) fn reached(&mut self, id: u64, now: Tick) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if !std::mem::replace(&mut pending.has_reached, true) {
            self.sent(id, now);
        }
    }

    /// A connection that can acknowledge has opened for `addressee`: returns the messages to send it.
    pub(crate) fn came(&mut self, addressee: &Subject, now: Tick) -> Backlog {
        let mut backlog = Backlog::default();
        let ids = self.by_addressee.get(addressee).map(|queue| queue.ids.clone()).unwrap_or_default();
        for id in ids {
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            if self.is_closed || pending.sendings >= pending.sendings_max {
                continue;
            }
            backlog.texts.push(pending.text.clone());
            backlog.again += u64::from(pending.sendings > 0);
            self.sent(id, now);
        }
        backlog
    }

    fn sent(&mut self, id: u64, now: Tick) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.sendings += 1;
        let at = (now + patience(pending.sendings)).min(pending.until);
        self.put_off(id, at);
    }

    fn put_off(&mut self, id: u64, at: Tick) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        self.due.remove(&(pending.at, id));
        pending.at = at;
        self.due.insert((at, id));
    }

    /// `conn`, a connection of this user if it has one, has acknowledged the message: returns the requester to tell, if
    /// there is one.
    pub(crate) fn acknowledged(
        &mut self,
        id: u64,
        conn: Address,
        user: Option<&str>,
    ) -> Result<Option<Subject>, Stray> {
        let addressee = self.pending.get(&id).ok_or(Stray)?.addressee.as_str();
        let is_its = match Family::of(addressee) {
            Some((Family::User, token)) => user == Some(token),
            Some((Family::Conn, id)) => id.parse().is_ok_and(|id: ConnId| id.address() == conn),
            _ => false,
        };
        if is_its { self.end(id).ok_or(Stray) } else { Err(Stray) }
    }

    /// The connection `addressee` has ended: none of its messages can be acknowledged any more.
    pub(crate) fn leave(&mut self, addressee: &Subject) {
        let ids = self.by_addressee.get(addressee).map(|queue| queue.ids.clone()).unwrap_or_default();
        for id in ids {
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.fate = AckFailure::Gone;
                pending.until = Tick::ZERO;
            }
            self.put_off(id, Tick::ZERO);
        }
    }

    /// From now on no message is taken or sent, and all messages are due.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// The next message whose time has come.
    pub(crate) fn due(&mut self, now: Tick) -> Option<AckTimeout> {
        let (at, id) = *self.due.first()?;
        let pending = self.pending.get_mut(&id)?;
        if at > now && !self.is_closed {
            return None;
        }
        if self.is_closed || pending.until <= now || pending.sendings >= pending.sendings_max {
            let is_cut_short = self.is_closed && pending.fate == AckFailure::Expired;
            let end = if is_cut_short { AckFailure::Closed } else { pending.fate };
            return Some(AckTimeout::Over { end, requester: self.end(id)? });
        }
        pending.has_reached = false;
        let (addressee, text, until) = (pending.addressee.clone(), pending.text.clone(), pending.until);
        self.put_off(id, until);
        Some(AckTimeout::Again { id, addressee, text })
    }

    /// When [`UnackedMessages::due`] has one.
    pub(crate) fn deadline(&self) -> Tick {
        match self.due.first() {
            Some(_) if self.is_closed => Tick::ZERO,
            first => first.map_or(Tick::NEVER, |(at, _)| *at),
        }
    }

    /// Forgets the message, and returns its requester.
    fn end(&mut self, id: u64) -> Option<Option<Subject>> {
        let UnackedMessage { addressee, requester, text, at, .. } = self.pending.remove(&id)?;
        self.due.remove(&(at, id));
        self.bytes -= cost(&text);
        if let Some(queue) = self.by_addressee.get_mut(&addressee) {
            queue.ids.retain(|other| *other != id);
            queue.bytes -= cost(&text);
            if queue.ids.is_empty() {
                self.by_addressee.remove(&addressee);
            }
        }
        shrink(&mut self.pending, limits::ENTRIES_KEPT);
        shrink(&mut self.by_addressee, limits::ENTRIES_KEPT);
        Some(requester)
    }
}

fn cost(text: &[u8]) -> usize {
    text.len() + limits::UNACKED_BYTES
}

/// How long an acknowledgement of the nth send is awaited: twice as long each time.
fn patience(sendings: u32) -> Duration {
    let factor = 1u32.checked_shl(sendings.saturating_sub(1)).unwrap_or(u32::MAX);
    limits::ACK_RESEND.saturating_mul(factor).min(limits::ACK_RESEND_MAX)
}

#[cfg(test)]
mod tests;
