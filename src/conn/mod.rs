//! One connection, whoever is at the other end: bytes in, steps out; events in, bytes out. No I/O, no other connection.
//!
//! ```text
//!   wire bytes --> transport (plain, TLS) --> phase.next() --> Step --> the shard's dispatch
//!   batch      <-- seal <-- outbox <------- phase.push_*() <-------- events, answers
//!
//!   Http --> WebSocket | Centrifuge | EventStream --.
//!   Worker ----------------------------+--> Over
//! ```
//!
//! - `answers`   to what it has asked the shard for
//! - `slow`      events for a peer that does not keep up
//! - `output`    the batch of a turn, sealed where there is TLS
//! - `patience`  how long it waits, pings and heartbeats
//! - `ending`    its last words
//! - `life`      from open to closed, whatever it speaks
//!
//! Legal calls by phase: `next` in all; `push_event` is ignored in `Http` and `Over`; `end` once, later ones are ignored.
//! The hub's names of what a connection subscribed to are kept here, and handed back by [`Conn::end`].

// Bytes, time and randomness are arguments; clippy.toml names what may not be called.
#![deny(clippy::disallowed_methods)]

pub mod accept;
pub mod admin;
mod answers;
pub mod centrifuge;
mod collect;
mod ending;
mod events;
pub mod front;
pub mod held;
pub mod hosts;
mod http;
mod identity;
mod life;
pub mod origins;
pub mod outbox;
mod output;
mod patience;
mod peer;
mod preflight;
mod refused;
pub mod route;
pub mod routes;
mod sealing;
pub mod settings;
mod slow;
pub mod spelling;
mod subs;
mod transport;
mod turned_away;
pub mod websocket;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Address, Carry, CoarseTick, Key, RequestId, RouteId, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::centrifuge::Command;
use crate::proto::event::{Event, Message};
use crate::proto::replay::{Bounds, Excerpt, Since};
use crate::proto::subject::Subject;
use crate::proto::user::User;
use crate::proto::ws::{Opcode, Payload, frame};

use accept::Asked;
use centrifuge::{Centrifuge, Surroundings};
pub use ending::{Departure, return_after};
use events::EventStream;
use http::Http;
pub use identity::Identity;
use life::Life;
use outbox::Outbox;
pub use peer::Peer;
pub use refused::Refused;
use route::Target;
pub use sealing::Sealing;
use settings::Settings;
pub use slow::{Pushed, Released};
use subs::Subs;
pub use transport::Transport;
use websocket::WebSocket;
use worker::Worker;

/// Which listener it came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Clients: HTTP, WebSocket, SSE.
    Front,
    /// Workers: the NATS client protocol.
    Bus,
    /// Operators and publishers: HTTP.
    Admin,
}

/// What the shard is asked to do.
pub enum Step<'a> {
    /// A stream begins: subscribe it to its channel and its user. Nothing is sent until that is in force.
    Open(Opening),
    /// A client's message, for its service or its channel.
    Message(websocket::Received<'a>),
    /// A frame of commands of the client protocol ([`Conn::command`]).
    Commands(Payload<'a>),
    /// A worker's verb.
    Worker(worker::Step<'a>),
    /// Publish, and answer with the position ([`Conn::published`]).
    Publish(Message),
    /// Answer with what is kept of a channel, or the piece of it within the bounds ([`Conn::push_history`]).
    History { tag: u32, channel: Subject, since: Since, bounds: Bounds },
    /// Answer with who listens to a channel ([`Conn::push_presence`]).
    Presence { channel: Subject },
    /// Answer with where the user of this subject is connected ([`Conn::found`], for each shard).
    Find { user: Subject },
    /// Answer with the counters ([`Conn::answer`]).
    Metrics,
    /// Nothing: it has been answered that it gets nothing.
    Refused(Refused),
    /// Keep it, have a worker do it, and answer where it is to be found ([`Conn::accepted`]).
    Accept(Box<Asked>),
    /// Answer with what became of a request of this route ([`Conn::read`]).
    Read { route: RouteId, id: RequestId },
}

/// What a new stream listens to.
pub struct Opening {
    /// Subscribed with their index as the tag. One with a `Since` hears that first ([`Conn::push_replayed`]), and what is
    /// live after it.
    pub channels: SmallVec<[(Subject, Option<Since>); 1]>,
    pub user: Option<Subject>,
}

/// The tag of what a client is subscribed to although its route does not say so: its user, what a worker adds.
pub const TAG_ADDED: u32 = u32::MAX;

/// What idles by the hundred thousand lies in the slot; what is rare or short is boxed.
enum Phase {
    Http(Box<Http>),
    WebSocket(Identity, WebSocket),
    Centrifuge(Box<Centrifuge>),
    /// Only sends; what the client sends is ignored.
    EventStream(EventStream),
    Worker(Box<Worker>),
    /// Nothing any more: it has said its last words.
    Over,
}

pub struct Conn {
    pub peer: Peer,
    pub door: Door,
    transport: Transport,
    phase: Phase,
    /// Wire bytes that are no whole record, head, frame or verb yet.
    pub carry: Carry,
    pub outbox: Outbox,
    /// The hub's names of a client's subscriptions; a worker keeps its own by tag.
    subs: Subs,
    /// Valid once a stream has begun.
    route: RouteId,
    /// Subscriptions that are not in force yet (OPEN MEANS SUBSCRIBED).
    registrations: u16,
    /// A `recv` is outstanding at the driver.
    pub is_receiving: bool,
    /// It is on the shard's list for the flush of this turn.
    pub is_dirty: bool,
    /// The shard waits for room or a worker before it reads on.
    pub is_parked: bool,
    /// The peer has ended its half.
    pub is_peer_finished: bool,
    /// The shard holds events back for it ([`held::Held`]).
    pub is_holding: bool,
    life: Life,
    deadline: CoarseTick,
}

const _: () = assert!(size_of::<Conn>() <= 120, "with its slot's own words two cache lines: every connection has one");

impl Conn {
    /// A connection that was just accepted by this listener; `number` is how a worker is told which one it is.
    pub fn new(
        number: u64,
        peer: SocketAddr,
        (listener, door): (u16, Door),
        transport: Transport,
        settings: &Settings,
        now: Tick,
    ) -> Conn {
        let mut outbox = Outbox::default();
        let is_tls = transport.is_handshaking();
        let (phase, patience) = match door {
            Door::Front | Door::Admin => (Phase::Http(Box::new(Http::new(listener))), settings.head_timeout),
            Door::Bus => {
                let worker = Worker::new(&settings.bus, number, peer.into(), &mut outbox);
                let is_waiting = worker.is_waiting_for_credentials();
                let patience = if is_waiting { limits::BUS_CONNECT_TIMEOUT } else { limits::BUS_PING_INTERVAL };
                (Phase::Worker(Box::new(worker)), patience)
            }
        };
        let patience = if is_tls { settings.handshake_timeout } else { patience };
        Conn {
            peer: peer.into(),
            door,
            transport,
            phase,
            carry: Carry::new(),
            outbox,
            subs: Subs::default(),
            route: RouteId::default(),
            registrations: 0,
            is_receiving: false,
            is_dirty: false,
            is_parked: false,
            is_peer_finished: false,
            is_holding: false,
            life: Life::Open,
            deadline: CoarseTick::ceil(now + patience),
        }
    }

    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    pub fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Whether it takes and sends: it has not ended.
    pub fn is_open(&self) -> bool {
        self.life.is_open()
    }

    pub fn deadline(&self) -> Tick {
        self.deadline.tick()
    }

    /// Whether its next command has to wait, for answers to earlier ones or for the peer to take what there is.
    pub fn is_crowded(&self) -> bool {
        let is_busy = matches!(&self.phase, Phase::Centrifuge(session) if session.is_busy());
        is_busy || self.outbox.len() > limits::OUTBOX_BYTES_PAUSE
    }

    /// True while nothing more may be taken off its input.
    pub fn is_paused(&self) -> bool {
        let is_answering = match &self.phase {
            Phase::Http(http) => http.is_answering(),
            Phase::Centrifuge(session) => session.is_busy(),
            Phase::Worker(worker) => worker.owes_pong(),
            _ => false,
        };
        // Whoever does not take our answers gets no more questions in; workers are closed for that instead.
        let is_full = self.outbox.len() > limits::OUTBOX_BYTES_PAUSE && !self.is_worker();
        let is_waiting = self.is_parked || self.registrations > 0 || is_answering || is_full;
        is_waiting && self.is_open()
    }

    /// True if the driver is to receive for it now.
    pub fn begin_receive(&mut self) -> bool {
        let may_receive = !self.is_receiving && !self.is_peer_finished && !self.life.is_closing() && !self.is_paused();
        self.is_receiving |= may_receive;
        may_receive
    }

    /// Whether the meaning at the front of `input` may be taken now. A worker's subscriptions may come in a row while
    /// earlier ones are being confirmed; what it says after them waits for that.
    pub fn may_take(&self, input: &[u8]) -> bool {
        let has_room = !self.is_parked && !self.owes_pong() && self.registrations <= limits::REGISTRATIONS_HIGH;
        let is_in_a_row = self.is_worker() && has_room && worker::is_subscription(input);
        is_in_a_row || !self.is_paused()
    }

    /// Takes one meaning off the front of `input` (plaintext). `Ok(None)`: what is left is not whole.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        match &mut self.phase {
            Phase::Http(_) => self.next_request(input, settings, now),
            Phase::WebSocket(_, websocket) => {
                Ok(websocket.next(input, &settings.websocket, &mut self.outbox)?.map(Step::Message))
            }
            Phase::Centrifuge(session) => {
                Ok(session.next(input, &settings.websocket, &mut self.outbox)?.map(Step::Commands))
            }
            Phase::Worker(worker) => {
                let was_waiting = worker.is_waiting_for_credentials();
                let step = worker.next(input, self.registrations > 0, &settings.bus, &mut self.outbox)?;
                if was_waiting && !worker.is_waiting_for_credentials() {
                    self.deadline = CoarseTick::ceil(now + limits::BUS_PING_INTERVAL);
                }
                Ok(step.map(Step::Worker))
            }
            Phase::EventStream(_) | Phase::Over => {
                *input = &mut [];
                Ok(None)
            }
        }
    }

    /// One command of a [`Step::Commands`].
    pub fn command<'a>(
        &mut self,
        command: Command<'a>,
        address: Address,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<centrifuge::Step<'a>>, CloseReason> {
        let Phase::Centrifuge(session) = &mut self.phase else { return Ok(None) };
        let Target::Centrifuge(target) = &settings.routes[self.route].target else { return Ok(None) };
        let step = session.command(command, &Surroundings { address, target, settings, now }, &mut self.outbox)?;
        let deadline = session.deadline();
        self.wait_until_unless_stuck(deadline);
        Ok(step)
    }

    /// Keeps the commands of a [`Step::Commands`] that were not taken, because it has to wait.
    pub fn keep_commands(&mut self, rest: &[u8]) {
        if let Phase::Centrifuge(session) = &mut self.phase {
            session.keep(rest);
        }
    }

    /// Whether there are such.
    pub fn has_commands(&self) -> bool {
        matches!(&self.phase, Phase::Centrifuge(session) if session.has_rest())
    }

    // --- news from the shard ---------------------------------------------------------------------------------------

    /// A subscription was made: the hub's name of it, and how many places must confirm it.
    pub fn subscribed(&mut self, tag: u32, sub: Key, confirmations: u16) {
        match &mut self.phase {
            Phase::Worker(worker) => worker.subscribed(tag, sub),
            Phase::Centrifuge(session) if tag != TAG_ADDED => session.subscribed(tag, sub),
            _ => self.subs.push(sub),
        }
        self.registrations += confirmations;
    }

    /// The hub's names of a client's subscriptions.
    pub fn subs(&self) -> &[Key] {
        self.subs.as_slice()
    }

    /// A client's subscription has ended.
    pub fn unsubscribed(&mut self, sub: Key) {
        self.subs.remove(sub);
    }

    /// One place has confirmed; true when that was the last.
    pub fn registered(&mut self) -> bool {
        self.registrations = self.registrations.saturating_sub(1);
        self.registrations == 0
    }

    /// Frames one event. The hub's name of the subscription if that was its last message.
    ///
    /// Part of the fan-out's loop: those who are many share what is encoded, the others have a function of their own.
    #[inline]
    pub fn push_event(&mut self, tag: u32, event: &Event) -> Option<Key> {
        match &mut self.phase {
            Phase::WebSocket(..) => self.outbox.push_shared(event.websocket_frame()),
            Phase::EventStream(stream) if stream.shares_record(tag) => {
                self.outbox.push_shared(event.sse_record(stream.streaming));
            }
            _ => return self.push_own(tag, event),
        }
        None
    }

    #[inline(never)]
    fn push_own(&mut self, tag: u32, event: &Event) -> Option<Key> {
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_event(tag, event, &mut self.outbox),
            Phase::Centrifuge(session) => session.push_event(tag, event, &mut self.outbox),
            Phase::Worker(worker) => return worker.push_event(tag, event, &mut self.outbox),
            Phase::WebSocket(..) | Phase::Http(_) | Phase::Over => {}
        }
        None
    }

    /// Whether nothing waits for it: an event can be framed, whatever its channel's rule says of slow clients.
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.is_holding
    }

    /// Whether there are words for it that something is missing.
    pub fn can_hear_gaps(&self) -> bool {
        !matches!(self.phase, Phase::WebSocket(..))
    }

    /// A subscription waits for what it has missed, besides what else it waits for.
    pub fn awaits_replay(&mut self) {
        self.registrations += 1;
    }

    /// The next of what the subscription `tag` has missed, in order; live events follow the last.
    pub fn push_replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt) {
        let before = self.outbox.mark();
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_replayed(tag, channel, excerpt, &mut self.outbox),
            Phase::Centrifuge(session) => session.replayed(tag, channel, excerpt, &mut self.outbox),
            // There are no words for a position.
            Phase::WebSocket(..) => excerpt.messages.iter().for_each(|message| {
                self.outbox.push_shared(Event::new(message.clone(), None).websocket_frame());
            }),
            Phase::Worker(_) | Phase::Http(_) | Phase::Over => {}
        }
        self.outbox.answered(before);
    }

    /// A client's name, and what its token says about it.
    pub fn who(&self) -> (Option<&User>, Option<&str>) {
        match &self.phase {
            Phase::WebSocket(identity, _) => (identity.user(), None),
            Phase::Centrifuge(session) => (session.identity().user(), session.info()),
            _ => (None, None),
        }
    }

    /// Bytes that may wait for this peer.
    pub fn outbox_bytes_max(&self, settings: &Settings) -> usize {
        match self.phase {
            Phase::Worker(_) => settings.bus.outbox_bytes_max,
            _ => settings.outbox_bytes_max,
        }
    }

    /// Whether more waits for this peer than may. Asked before something is added: one message never makes a client slow,
    /// however long it is.
    pub fn is_overfull(&self, settings: &Settings) -> bool {
        self.outbox.backlog() > self.outbox_bytes_max(settings)
    }

    /// Whether the messages of a replay may be added now: beside little else, so that there is never more than one piece, of however
    /// many channels. Otherwise they are asked for again when there is room.
    pub fn has_room_for(&self, excerpt: &Excerpt, settings: &Settings) -> bool {
        let kept = match &self.phase {
            Phase::Centrifuge(session) => session.replayed_bytes(),
            _ => 0,
        };
        let most = limits::OUTBOX_BYTES_PAUSE.min(self.outbox_bytes_max(settings) / 4);
        excerpt.messages.is_empty() || self.outbox.len() + kept <= most
    }

    /// Its route; valid once a stream has begun.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// The route that a WebSocket came in by, and who it is.
    pub fn websocket(&self) -> Option<(RouteId, &Identity)> {
        match &self.phase {
            Phase::WebSocket(identity, _) => Some((self.route, identity)),
            Phase::Centrifuge(session) if session.is_connected() => Some((self.route, session.identity())),
            _ => None,
        }
    }

    /// Whether messages to this connection or its user can reach it.
    pub fn is_client(&self) -> bool {
        match &self.phase {
            Phase::WebSocket(..) | Phase::EventStream(_) => true,
            Phase::Centrifuge(session) => session.is_connected(),
            Phase::Http(_) | Phase::Worker(_) | Phase::Over => false,
        }
    }

    /// Whether it can be asked something ([`Conn::push_control`]).
    pub fn can_answer(&self, settings: &Settings) -> bool {
        match &self.phase {
            Phase::WebSocket(..) => matches!(
                &settings.routes[self.route].target,
                Target::WebSocket(target) if target.control
            ),
            Phase::Centrifuge(session) => session.is_connected(),
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Over => false,
        }
    }

    /// Says something of the gateway's own (`proto::control`) to a client that can answer.
    pub fn push_control(&mut self, json: &[u8]) {
        match &mut self.phase {
            Phase::WebSocket(..) => self.outbox.write(|out| {
                frame::write_header(out, Opcode::Text, json.len());
                out.extend_from_slice(json);
            }),
            Phase::Centrifuge(session) => session.push_own(json, &mut self.outbox),
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Over => {}
        }
    }

    /// The session of a client that has connected over the client protocol, and where its words go.
    pub fn centrifuge(&mut self) -> Option<(&mut Centrifuge, &mut Outbox)> {
        match &mut self.phase {
            Phase::Centrifuge(session) if session.is_connected() => Some((session, &mut self.outbox)),
            _ => None,
        }
    }

    pub fn is_worker(&self) -> bool {
        matches!(self.phase, Phase::Worker(_))
    }
}

/// A transport for a connection that was accepted by a listener with or without TLS.
pub fn transport(tls: Option<&Arc<rustls::ServerConfig>>) -> Result<Transport, CloseReason> {
    tls.map_or(Ok(Transport::Plain), Transport::tls)
}

#[cfg(test)]
mod tests;
