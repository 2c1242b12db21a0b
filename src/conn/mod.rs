//! One connection with any kind of peer: bytes in, steps out; events in, bytes out. No I/O, and no other connection.
//!
//! ```text
//!   wire bytes --> link: transport (plain, TLS) --> session.next() --> Step --> the shard's dispatch
//!   batch      <-- link: seal <-- outbox <--------- session.push_*() <-------- events, answers
//! ```
//!
//! - `link`      named by the driver's key: the socket, its buffers, and its `life`
//! - `session`   named by the hub and workers: the protocol, the subscriptions
//! - `input`     what is taken off the input; requests of HTTP in `exchange`, their bodies in `incoming`
//! - `arriving`  what has arrived and cannot be used yet, in bytes
//! - `admission` the stages that a client's request passes; `front` has the targets of routes behind them
//! - `rights`    what a client may do with a channel
//! - `auth`      the token of a request, and what it proves
//! - `forward_auth` a server that decides about clients
//! - `published` key sets of issuers, as the shard knows them; `checking` a request that waits for an answer
//! - `client`    the client of a request, if a trusted proxy sends it
//! - `affinity`  the server that a request wants
//! - `introduction` the PROXY header of a load balancer, before all of that
//! - `quota`     limits for strangers, and their accounts
//! - `proxying`  the client's half of a proxied request, `upstream` the other one, and `halves` what the shard
//!   does with both: it moves the bytes between them; `tunnel` either half of a WebSocket that a server serves, and `ends` the
//!   same for both
//! - `answers`   to what it has asked the shard for; long ones over HTTP in `outgoing`
//! - `slow`      events for a peer that does not keep up
//! - `output`    the batch of a turn, sealed where there is TLS
//! - `access`    the access log: what is known of requests in hand, and lines about those that are over
//! - `patience`  deadlines, pings and heartbeats
//! - `ending`    the last words
//!
//! [`Conn`] joins both in one slot under one key. They are separate types because they will part: a stream of HTTP/2 is
//! a session whose link is within another connection's, a proxied pair is two links, and a handover writes both down.
//!
//! A connection keeps the hub's keys of its subscriptions. [`Conn::end`] ends link and session, and hands the keys
//! back; further calls do nothing.

// Bytes, time and randomness are arguments; clippy.toml lists the forbidden calls.
#![deny(clippy::disallowed_methods)]

mod about;
pub mod accept;
pub mod access;
pub mod admin;
mod admission;
mod affinity;
mod answers;
mod arriving;
mod asked_client;
pub mod auth;
pub mod centrifuge;
pub mod certified;
mod checking;
mod client;
mod collect;
pub mod decisions;
mod ending;
pub mod ends;
mod events;
mod exchange;
pub mod fixed;
pub mod forward_auth;
mod forwarding;
mod front;
pub mod halves;
pub mod held;
mod history;
pub mod hosts;
mod http;
mod identity;
mod incoming;
mod input;
pub mod inquiry;
mod introduction;
mod life;
mod link;
pub mod origins;
pub mod outbox;
mod outgoing;
mod output;
pub mod passed;
mod patience;
mod peer;
pub mod proxying;
pub mod published;
pub mod quota;
mod refused;
mod rights;
pub mod route;
pub mod routes;
mod sealing;
mod session;
pub mod settings;
pub mod site;
mod slow;
pub mod spelling;
mod subs;
mod told;
mod transport;
pub mod tunnel;
mod turned_away;
pub mod upstream;
pub mod websocket;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Key, RequestId, RouteId, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::event::{Event, Message};
use crate::proto::replay::{Excerpt, ExcerptBounds, Since};
use crate::proto::subject::Subject;
use crate::proto::tls::clients::ClientCertificate;
use crate::proto::upstream::ServerId;

use accept::ServiceRequest;
pub use answers::{checked, revocation_answer, revocation_done, server_drained};
use centrifuge::Centrifuge;
pub use ending::{Departure, is_turned_away};
pub use http::After;
use http::Http;
pub use identity::Identity;
use inquiry::Inquiry;
pub use introduction::introduce;
pub use link::{Closure, Link, is_cut, put_off_handshake, weigh_again};
use outbox::Outbox;
use passed::PassedFields;
pub use peer::{Peer, return_after};
pub use refused::Refused;
pub use sealing::Sealing;
use session::Phase;
pub use session::{Lasting, Session, identity, identity_mut, lasting, subprotocol};
use settings::Settings;
pub use slow::{Pushed, Released};
pub use transport::Transport;
use worker::BusWorker;

/// The way by which it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Clients: HTTP, WebSocket, SSE.
    Front,
    /// Workers: the NATS client protocol.
    Bus,
    /// Operators and publishers: HTTP.
    Admin,
    /// No listener: the gateway itself has dialled a server.
    Upstream,
}

/// A task for the shard.
pub enum Step<'a> {
    /// A stream begins: subscribe it to its channel and its user. Nothing is sent until the subscriptions are in force.
    Open(Opening),
    /// A client's message, for its service or its channel.
    Message(websocket::ClientMessage<'a>),
    /// A command of the client protocol.
    Centrifuge(centrifuge::CentrifugeStep<'a>),
    /// A worker's verb.
    Worker(worker::WorkerStep<'a>),
    /// Publish the message, and answer with its position ([`Conn::published`]).
    Publish(Message),
    /// Send the message, or obey the command; answer ([`admin::reached`], once for each shard, or [`admin::concluded`]).
    Operate(Box<admin::AdminOperation>),
    /// Answer with the kept messages of a channel, or the piece within the bounds ([`Conn::push_history`]).
    History { tag: u32, channel: Subject, since: Since, bounds: ExcerptBounds },
    /// Answer with the clients of a channel ([`Conn::push_presence`]).
    Presence { channel: Subject },
    /// Answer with the connections of this user ([`Conn::found`], once for each shard).
    Find { user: Subject },
    /// Answer with the servers of all upstreams ([`Conn::answer`]).
    Upstreams,
    /// Let the server have no further request, or have requests again, in all shards; answer ([`server_drained`], once for
    /// each shard).
    Drain { server: ServerId, is_drained: bool },
    /// Revoke the tokens that this text names, in all shards; answer ([`revocation_done`], once for each shard).
    Revoke(Box<[u8]>),
    /// Answer with the counters ([`Conn::answer`]).
    Metrics,
    /// A request waits in its admission for the answer to this ([`checked`]).
    Check(Inquiry),
    /// A part of a proxied request, or of its answer.
    Proxy(proxying::ProxyStep<'a>),
    /// Nothing: the request was refused, and that was answered.
    Refused(Refused),
    /// End the connection for this reason, without further answers.
    Close(CloseReason),
    /// Keep the request, give it to a worker, and answer with its address ([`Conn::accepted`]).
    Accept(Box<ServiceRequest>),
    /// Answer with the state of a request of this route ([`Conn::read`]).
    Read { route: RouteId, id: RequestId },
}

/// The subscriptions of a new stream.
pub struct Opening {
    /// The tag of each is its index. A channel with a `Since` first gets those messages ([`Conn::push_replayed`]), then
    /// the live ones.
    pub channels: SmallVec<[(Subject, Option<Since>); 1]>,
    pub user: Option<Subject>,
    /// Fields of the handshake for the service.
    pub fields: PassedFields,
}

/// The tag of subscriptions that the route does not name: the client's user, and channels that a worker adds.
pub const TAG_ADDED: u32 = u32::MAX;

pub struct Conn {
    pub link: Link,
    pub session: Session,
}

const _: () = assert!(size_of::<Conn>() <= 120, "with its slot's own words two cache lines: every connection has one");

impl Conn {
    /// A connection that this listener has just accepted. Workers are told `number` as their client id.
    pub fn new(
        number: u64,
        peer: SocketAddr,
        (listener, door): (u16, Door),
        mut transport: Transport,
        settings: &Settings,
        now: Tick,
    ) -> Conn {
        let mut outbox = Outbox::default();
        let (phase, patience) = match door {
            Door::Front | Door::Admin | Door::Upstream => {
                (Phase::Http(Box::new(Http::new(listener))), settings.generation.head_timeout)
            }
            Door::Bus => {
                let worker = BusWorker::new(settings, number, peer.into(), &mut outbox);
                let is_waiting = worker.is_waiting_for_credentials();
                let patience = if is_waiting { limits::BUS_CONNECT_TIMEOUT } else { limits::BUS_PING_INTERVAL };
                (Phase::Worker(Box::new(worker)), patience)
            }
        };
        let is_handshaking = transport.is_handshaking();
        let patience = match transport.introduction() {
            Some(_) => limits::PROXY_HEADER_TIMEOUT,
            None if is_handshaking => settings.generation.handshake_timeout,
            None => patience,
        };
        let link = Link::new(peer, door, transport, outbox, now + patience);
        Conn { link, session: Session::new(phase) }
    }

    /// Whether it receives and sends: it has not ended.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// The client and its outbox, if it is connected over the client protocol.
    pub fn centrifuge(&mut self) -> Option<(&mut Centrifuge, &mut Outbox)> {
        match &mut self.session.phase {
            Phase::Centrifuge(centrifuge) if centrifuge.is_connected() => Some((centrifuge, &mut self.link.outbox)),
            _ => None,
        }
    }

    // --- news from the shard ---------------------------------------------------------------------------------------

    /// Whether nothing waits for it: then an event can be framed, whatever its channel's rule says of slow clients.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.link.is_taken() && !self.session.is_behind()
    }

    /// Frames one event. Returns the subscription's key in the hub if this was its last message.
    #[inline]
    pub fn push_event(&mut self, tag: u32, event: &Event) -> Option<Key> {
        self.session.push_event(tag, event, &mut self.link.outbox)
    }

    /// Sends the next missed messages of the subscription `tag`, in order; live events follow the last ones.
    pub fn push_replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt) {
        let before = self.link.mark();
        self.session.push_replayed(tag, channel, excerpt, &mut self.link.outbox);
        self.link.answered(before);
    }

    /// Sends a control message (`proto::control`) to a client that can answer.
    pub fn push_control(&mut self, json: &[u8]) {
        self.session.push_control(json, &mut self.link.outbox);
    }

    /// Whether more bytes wait for this peer than allowed. Called before a message is added: a single message never
    /// makes a client slow.
    pub fn is_overfull(&self, settings: &Settings) -> bool {
        self.link.outbox.backlog() > self.session.outbox_bytes_max(settings)
    }

    /// Whether the messages of a replay may be added now. They may if little else waits, so that at most one piece is
    /// queued, for however many channels. Otherwise they are requested again when there is room.
    pub fn has_room_for(&self, excerpt: &Excerpt, settings: &Settings) -> bool {
        let most = limits::OUTBOX_BYTES_PAUSE.min(self.session.outbox_bytes_max(settings) / 4);
        excerpt.messages.is_empty() || self.link.waiting_bytes() + self.session.replayed_bytes() <= most
    }
}

/// The transport of a connection that was accepted by a listener with or without TLS; `is_introduced`: its peer is a load
/// balancer, which says first whose connection it is.
pub fn transport(tls: Option<&Arc<rustls::ServerConfig>>, is_introduced: bool) -> Result<Transport, CloseReason> {
    match tls {
        tls if is_introduced => Ok(Transport::introduced(tls)),
        Some(tls) => Transport::tls(tls),
        None => Ok(Transport::Plain),
    }
}

/// The handshake is over, and the client has shown this certificate.
pub fn certified(conn: &mut Conn, certificate: Arc<ClientCertificate>) {
    if let Phase::Http(http) = &mut conn.session.phase {
        http.certificate = Some(certificate);
    }
}

#[cfg(test)]
mod tests;
