//! Limits for strangers (`[[limit]]`): how much one address, network, user or route may use, and the accounts of what they
//! have used.
//!
//! ```text
//!  accept           connections, handshakes    by address and network: known before a byte is read
//!  a request        requests                   by address, network and route: before it costs more than its head
//!  its user known   requests                   by user
//!  a stream begins  connections                by user and route, for some routes; for clients of trusted proxies by address
//!  a message        messages                   by any of them
//!
//!  Quota --(its number, the measure, the address | user | route)--> TallyKey --> Tallies: one table for all shards
//!                                                                     '-- no place: the account of all that have none,
//!                                                                         for LIMIT_HOMELESS_FACTOR clients
//! ```
//!
//! What has been counted is not kept with the connection: its address, user and route say again what to release. A connection
//! has two small marks ([`Counted`]) that say whether.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Peer, return_after};
use crate::base::{Acquired, Tallies, Tally, TallyKey, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::networks::{Networks, prefix};
use crate::proto::pace::{Gcra, Owing, ns};
use crate::proto::user::User;

/// One `[[limit]]`.
#[derive(Debug)]
pub struct Quota {
    pub name: Box<str>,
    pub by: QuotaBy,
    /// Open at once.
    pub connections: Option<u32>,
    pub handshake_rate: Option<Gcra>,
    pub request_rate: Option<Gcra>,
    pub message_rate: Option<Gcra>,
    /// The routes that it is for, by their templates. Empty: all.
    pub routes: Vec<Box<str>>,
    /// Addresses to which it does not apply.
    pub except: Networks,
    /// Whether a connection that sends messages too fast ends. Otherwise it is read more slowly.
    pub closes: bool,
}

/// The clients that share an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaBy {
    /// All addresses with the same first bits. Whole addresses are the longest prefixes.
    Network {
        ipv4_prefix: u8,
        ipv6_prefix: u8,
    },
    User,
    Route,
}

/// The events and states that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    Connection,
    Handshake,
    Request,
    Message,
}

impl Measure {
    pub const ALL: [Measure; 4] = [Measure::Connection, Measure::Handshake, Measure::Request, Measure::Message];

    /// As in the configuration and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Measure::Connection => "connections",
            Measure::Handshake => "handshakes",
            Measure::Request => "requests",
            Measure::Message => "messages",
        }
    }

    pub fn reason(self) -> CloseReason {
        match self {
            Measure::Connection => CloseReason::ConnectionLimit,
            Measure::Handshake => CloseReason::HandshakeLimit,
            Measure::Request => CloseReason::RequestLimit,
            Measure::Message => CloseReason::MessageLimit,
        }
    }
}

/// More than a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The index of the limit among those of the configuration.
    pub quota: usize,
    pub measure: Measure,
    /// How long it is until it fits; zero if that depends on others.
    pub wait: Duration,
}

/// The party that uses something.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    pub ip: IpAddr,
    /// The template of the route, once it is known.
    pub route: Option<&'a str>,
    pub user: Option<&'a User>,
}

/// The limits for one request.
#[derive(Clone, Copy)]
pub(super) struct Allowance<'q> {
    pub quotas: &'q Quotas,
    /// The client.
    pub peer: Peer,
    /// Of its connection.
    pub standing: PeerStanding,
    pub now: Tick,
}

impl Allowance<'_> {
    /// A request for the route with this template, or for none.
    pub(super) fn request(&self, route: Option<&str>) -> Result<(), Excess> {
        self.quotas.request(&Usage { ip: self.peer.ip(), route, user: None }, self.now)
    }

    /// The same request, when its user is known. If it begins a stream, that is counted.
    pub(super) fn admit(&self, route: &str, user: Option<&User>, is_stream: bool) -> Result<(), Excess> {
        let usage = Usage { ip: self.peer.ip(), route: Some(route), user };
        self.quotas.request_of_user(&usage, self.now)?;
        if is_stream { self.quotas.stream_came(&usage, self.standing, self.now) } else { Ok(()) }
    }

    /// When a client whose request was too much should come back.
    pub(super) fn return_after(&self, excess: Excess) -> Duration {
        if excess.wait.is_zero() { return_after(self.peer) } else { excess.wait }
    }
}

/// Whether a connection is counted from its accept on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PeerStanding {
    /// It is not: there are no limits, or its peer is a trusted proxy, a worker or an operator.
    #[default]
    Uncounted,
    Counted,
    /// It is one too many, and open only to be told so.
    Told,
}

/// Whether a stream is counted by its route and its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CountedStream {
    #[default]
    No,
    ByRoute,
    ByRouteAndUser,
}

/// What a connection is counted as: both marks in one byte, because every connection has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(u8);

const STREAM_BITS: u32 = 4;
const STANDING: u8 = (1 << STREAM_BITS) - 1;

impl Counted {
    pub fn standing(self) -> PeerStanding {
        [PeerStanding::Uncounted, PeerStanding::Counted, PeerStanding::Told][usize::from(self.0 & STANDING)]
    }

    pub fn stream(self) -> CountedStream {
        let all = [CountedStream::No, CountedStream::ByRoute, CountedStream::ByRouteAndUser];
        all[usize::from(self.0 >> STREAM_BITS)]
    }

    pub fn set_standing(&mut self, standing: PeerStanding) {
        self.0 = self.0 & !STANDING | standing as u8;
    }

    pub fn set_stream(&mut self, stream: CountedStream) {
        self.0 = self.0 & STANDING | (stream as u8) << STREAM_BITS;
    }
}

/// What a message of a client leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRuling {
    /// It is taken, and so is the next one.
    Fits,
    /// It is taken; the next one only from then on.
    RestUntil(Tick, Excess),
    /// The connection ends.
    End(Excess),
}

/// All limits of a configuration, with the accounts.
#[derive(Debug)]
pub struct Quotas {
    all: Vec<Quota>,
    has_messages: bool,
    table: Tallies,
    /// Of each limit and measure, the account of all that have no place in the table.
    homeless: Vec<[Tally; Measure::ALL.len()]>,
    /// How often there was no place.
    homeless_count: AtomicU64,
}

impl Quota {
    /// Whether connections are counted when they are accepted: nothing but the address has to be known.
    fn is_of_accept(&self) -> bool {
        matches!(self.by, QuotaBy::Network { .. }) && self.routes.is_empty()
    }

    fn is_by_user(&self) -> bool {
        self.by == QuotaBy::User
    }

    fn rate(&self, measure: Measure) -> Option<Gcra> {
        match measure {
            Measure::Connection => None,
            Measure::Handshake => self.handshake_rate,
            Measure::Request => self.request_rate,
            Measure::Message => self.message_rate,
        }
    }

    fn applies_to(&self, usage: &Usage<'_>) -> bool {
        let is_on_route =
            self.routes.is_empty() || usage.route.is_some_and(|route| self.routes.iter().any(|own| **own == *route));
        is_on_route && !self.except.contain(usage.ip)
    }
}

impl Quotas {
    /// `None` without limits. `secret` is random.
    pub fn new(all: Vec<Quota>, tallies_max: usize, secret: [u64; 4]) -> Option<Quotas> {
        let homeless = all.iter().map(|_| Default::default()).collect();
        let has_messages = all.iter().any(|quota| quota.message_rate.is_some());
        (!all.is_empty()).then(|| Quotas {
            has_messages,
            table: Tallies::new(tallies_max, secret),
            homeless,
            homeless_count: AtomicU64::new(0),
            all,
        })
    }

    pub fn name(&self, quota: usize) -> &str {
        &self.all[quota].name
    }

    /// Whether a limit ends connections that send messages too fast.
    pub fn closes(&self, quota: usize) -> bool {
        self.all[quota].closes
    }

    /// Whether any limit is for messages.
    pub fn has_messages(&self) -> bool {
        self.has_messages
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|quota| &*quota.name)
    }

    /// How often a stranger had no account of its own.
    pub fn homeless_count(&self) -> u64 {
        self.homeless_count.load(Relaxed)
    }

    /// How many connections and streams are counted, each once for each limit.
    pub fn open(&self) -> u64 {
        self.table.open() + self.homeless.iter().flatten().map(|tally| u64::from(tally.open())).sum::<u64>()
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    // --- connections -------------------------------------------------------------------------------------------------

    /// A connection was accepted, or introduced. It is counted until [`Quotas::connection_gone`], unless it is one too many.
    pub fn connection_came(&self, ip: IpAddr, now: Tick) -> Result<(), Excess> {
        let usage = Usage { ip, route: None, user: None };
        self.charge(Measure::Handshake, &usage, Quota::is_of_accept, now)?;
        self.acquire(&usage, Quota::is_of_accept, now)
    }

    pub fn connection_gone(&self, ip: IpAddr) {
        self.release(&Usage { ip, route: None, user: None }, Quota::is_of_accept);
    }

    /// A stream begins. It is counted until [`Quotas::stream_gone`], unless it is one too many. `standing` is that of its
    /// connection: a client of a trusted proxy is counted by its address now.
    pub fn stream_came(&self, usage: &Usage<'_>, standing: PeerStanding, now: Tick) -> Result<(), Excess> {
        self.acquire(usage, |quota| !(quota.is_of_accept() && standing == PeerStanding::Counted), now)
    }

    /// The reverse; a user is given only if it was counted.
    pub fn stream_gone(&self, usage: &Usage<'_>, standing: PeerStanding) {
        self.release(usage, |quota| !(quota.is_of_accept() && standing == PeerStanding::Counted));
    }

    /// The user of a stream is known after its beginning. From now on it is counted by the user as well, unless it is one too
    /// many.
    pub fn user_came(&self, usage: &Usage<'_>, now: Tick) -> Result<(), Excess> {
        self.charge(Measure::Request, usage, Quota::is_by_user, now)?;
        self.acquire(usage, Quota::is_by_user, now)
    }

    /// How often a connection is counted, for the check that each is released once.
    pub fn counts_of(&self, usage: &Usage<'_>, standing: PeerStanding, stream: CountedStream) -> usize {
        let of = |is_meant: &dyn Fn(&Quota) -> bool| {
            let meant = self.all.iter().enumerate().filter(|(_, own)| own.connections.is_some() && is_meant(own));
            meant
                .filter(|(quota, own)| own.applies_to(usage) && self.key(*quota, Measure::Connection, usage).is_some())
                .count()
        };
        let is_counted = standing == PeerStanding::Counted;
        let of_accept = if is_counted { of(&Quota::is_of_accept) } else { 0 };
        let of_stream = match stream {
            CountedStream::No => 0,
            _ => of(&|quota| !(quota.is_of_accept() && is_counted)),
        };
        of_accept + of_stream
    }

    // --- rates -------------------------------------------------------------------------------------------------------

    /// A request, whose user is not known yet.
    pub fn request(&self, usage: &Usage<'_>, now: Tick) -> Result<(), Excess> {
        self.charge(Measure::Request, usage, |quota| !quota.is_by_user(), now)
    }

    /// The same request, when its user is known.
    pub fn request_of_user(&self, usage: &Usage<'_>, now: Tick) -> Result<(), Excess> {
        self.charge(Measure::Request, usage, Quota::is_by_user, now)
    }

    /// A message on an open connection.
    pub fn message(&self, usage: &Usage<'_>, now: Tick) -> MessageRuling {
        let mut ruling = MessageRuling::Fits;
        for (index, quota) in self.all.iter().enumerate() {
            let Some(rate) = quota.message_rate.filter(|_| quota.applies_to(usage)) else { continue };
            let excess = |wait| Excess { quota: index, measure: Measure::Message, wait };
            let charged = self.charge_one(
                index,
                Measure::Message,
                usage,
                rate,
                |rate, owing| match quota.closes {
                    true => rate.take(owing, now),
                    false => Ok(rate.owe(owing, now, limits::LIMIT_REST_MAX)),
                },
                now,
            );
            match charged {
                Ok(next) if !quota.closes && next > now => {
                    let is_later = !matches!(ruling, MessageRuling::RestUntil(until, _) if until >= next);
                    if is_later {
                        ruling = MessageRuling::RestUntil(next, excess(next.since(now)));
                    }
                }
                Ok(_) => {}
                Err(wait) => return MessageRuling::End(excess(wait)),
            }
        }
        ruling
    }

    // --- accounts ----------------------------------------------------------------------------------------------------

    /// Charges one to each limit that is meant and applies.
    fn charge(
        &self,
        measure: Measure,
        usage: &Usage<'_>,
        is_meant: impl Fn(&Quota) -> bool,
        now: Tick,
    ) -> Result<(), Excess> {
        for (quota, own) in self.all.iter().enumerate() {
            let Some(rate) = own.rate(measure).filter(|_| is_meant(own) && own.applies_to(usage)) else { continue };
            let charged = self.charge_one(quota, measure, usage, rate, |rate, owing| rate.take(owing, now), now);
            charged.map_err(|wait| Excess { quota, measure, wait })?;
        }
        Ok(())
    }

    /// Charges one to the account of one limit. Returns when the next fits.
    fn charge_one(
        &self,
        quota: usize,
        measure: Measure,
        usage: &Usage<'_>,
        rate: Gcra,
        step: impl Fn(Gcra, Owing) -> Result<Owing, Duration>,
        now: Tick,
    ) -> Result<Tick, Duration> {
        let Some(key) = self.key(quota, measure, usage) else { return Ok(Tick::ZERO) };
        let charged = self.table.charge(key, ns(now), |owing| step(rate, Owing(owing)).map(|Owing(next)| next));
        if let Some(charged) = charged {
            return charged.map(|owing| rate.fits_at(Owing(owing)));
        }
        let rate = rate.times(limits::LIMIT_HOMELESS_FACTOR);
        let tally = self.homeless(quota, measure);
        let charged = tally.charge(|owing| step(rate, Owing(owing)).map(|Owing(next)| next));
        charged.map(|owing| rate.fits_at(Owing(owing)))
    }

    /// Counts one more for each limit that is meant and applies, or for none.
    fn acquire(&self, usage: &Usage<'_>, is_meant: impl Fn(&Quota) -> bool, now: Tick) -> Result<(), Excess> {
        for (quota, own) in self.all.iter().enumerate() {
            let Some(most) = own.connections.filter(|_| is_meant(own) && own.applies_to(usage)) else { continue };
            let Some(key) = self.key(quota, Measure::Connection, usage) else { continue };
            let is_within = match self.table.acquire(key, most, ns(now)) {
                Acquired::Yes => true,
                Acquired::AtMost => false,
                Acquired::NoPlace => {
                    let most = most.saturating_mul(limits::LIMIT_HOMELESS_FACTOR);
                    self.homeless(quota, Measure::Connection).acquire(most)
                }
            };
            if !is_within {
                self.release_first(quota, usage, is_meant);
                return Err(Excess { quota, measure: Measure::Connection, wait: Duration::ZERO });
            }
        }
        Ok(())
    }

    fn release(&self, usage: &Usage<'_>, is_meant: impl Fn(&Quota) -> bool) {
        self.release_first(self.all.len(), usage, is_meant);
    }

    /// Counts one less for each of the first limits that is meant and applies.
    fn release_first(&self, count: usize, usage: &Usage<'_>, is_meant: impl Fn(&Quota) -> bool) {
        for (quota, own) in self.all.iter().enumerate().take(count) {
            if own.connections.is_none() || !is_meant(own) || !own.applies_to(usage) {
                continue;
            }
            let Some(key) = self.key(quota, Measure::Connection, usage) else { continue };
            let is_released = self.table.release(key) || self.homeless[quota][Measure::Connection as usize].release();
            debug_assert!(is_released, "what is released was counted");
        }
    }

    fn homeless(&self, quota: usize, measure: Measure) -> &Tally {
        self.homeless_count.fetch_add(1, Relaxed);
        &self.homeless[quota][measure as usize]
    }

    /// The account of a limit. `None`: what has the account is not known, so the limit does not apply.
    fn key(&self, quota: usize, measure: Measure, usage: &Usage<'_>) -> Option<TallyKey> {
        Some(match self.all[quota].by {
            QuotaBy::Network { ipv4_prefix, ipv6_prefix } => {
                self.table.key(&(quota, measure, prefix(usage.ip, ipv4_prefix, ipv6_prefix)))
            }
            QuotaBy::User => self.table.key(&(quota, measure, usage.user?)),
            QuotaBy::Route => self.table.key(&(quota, measure, usage.route?)),
        })
    }
}
