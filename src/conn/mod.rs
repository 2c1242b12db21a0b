//! One connection, whoever is at the other end: bytes in, steps out; events in, bytes out. No I/O, no other connection.
//!
//! ```text
//!   wire bytes --> transport (plain, TLS) --> phase.next() --> Step --> the shard's dispatch
//!   batch      <-- seal <-- outbox <------- phase.push_*() <-------- events, answers
//!
//!   Http --> WebSocket | Centrifuge | EventStream --.
//!   Worker ----------------------------+--> Ending --> (removed)
//! ```
//!
//! Legal calls by phase: `next` in all; `push_event` is ignored in `Http` and `Ending`; `end` once, later ones are ignored.
//! The hub's names of what a connection subscribed to are kept here, and taken back with [`Conn::take_subs`].

pub mod accept;
pub mod admin;
pub mod centrifuge;
mod collect;
mod events;
pub mod front;
pub mod held;
mod http;
mod identity;
pub mod outbox;
mod peer;
pub mod route;
mod sealing;
pub mod settings;
mod slow;
mod subs;
mod transport;
pub mod websocket;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::{Address, Batch, Carry, CoarseTick, Key, RequestId, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::centrifuge::Command;
use crate::proto::event::{Event, Message, Position};
use crate::proto::presence::{Found, Roster};
use crate::proto::replay::{Bounds, Excerpt, Since};
use crate::proto::request::{Reading, Receipt};
use crate::proto::subject::Subject;
use crate::proto::ws::{Opcode, Payload, frame};

use accept::Asked;
use centrifuge::{Centrifuge, Surroundings};
use events::EventStream;
use http::Http;
pub use identity::Identity;
use outbox::Outbox;
pub use peer::Peer;
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
    /// Keep it, have a worker do it, and answer where it is to be found ([`Conn::accepted`]).
    Accept(Box<Asked>),
    /// Answer with what became of a request of this route ([`Conn::read`]).
    Read { route: u16, id: RequestId },
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

/// How a connection leaves in a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// With the last words of its protocol.
    Now,
    /// It cannot be told anything yet.
    Mute,
    /// It is owed an answer, which ends it ([`settings::Readiness`]).
    ByItself,
}

/// What idles by the hundred thousand lies in the slot; what is rare or short is boxed.
enum Phase {
    Http(Box<Http>),
    WebSocket(Identity, WebSocket),
    Centrifuge(Box<Centrifuge>),
    /// Only sends; what the client sends is ignored.
    EventStream(EventStream),
    Worker(Box<Worker>),
    /// The last words are in the outbox; input is ignored.
    Ending,
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
    /// Index into [`Settings::routes`]; valid once a stream has begun.
    route: u16,
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
    /// The driver has been asked to close the socket.
    pub is_closing: bool,
    /// Our half has ended; the peer's last bytes are awaited.
    is_lingering: bool,
    /// The shard holds events back for it ([`held::Held`]).
    pub is_holding: bool,
    /// Why the last request was refused; for the counters, taken by the shard.
    refused: Option<CloseReason>,
    /// Why it ends, once it does.
    ended: Option<CloseReason>,
    deadline: CoarseTick,
}

const _: () = assert!(size_of::<Conn>() <= 120, "with its slot's own words two cache lines: every connection has one");

impl Conn {
    /// A connection that was just accepted through `door`; `id` is how a worker is told its own name.
    pub fn new(id: Key, peer: SocketAddr, door: Door, transport: Transport, settings: &Settings, now: Tick) -> Conn {
        let mut outbox = Outbox::default();
        let is_tls = transport.is_handshaking();
        let (phase, patience) = match door {
            Door::Front | Door::Admin => (Phase::Http(Box::default()), settings.head_timeout),
            Door::Bus => {
                let worker = Worker::new(&settings.bus, id.to_bits(), &mut outbox);
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
            route: 0,
            registrations: 0,
            is_receiving: false,
            is_dirty: false,
            is_parked: false,
            is_peer_finished: false,
            is_closing: false,
            is_lingering: false,
            is_holding: false,
            refused: None,
            ended: None,
            deadline: CoarseTick::ceil(now + patience),
        }
    }

    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    /// Why the last request was refused although the connection goes on; `None` afterwards.
    pub fn take_refusal(&mut self) -> Option<CloseReason> {
        self.refused.take()
    }

    pub fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    pub fn ended(&self) -> Option<CloseReason> {
        self.ended
    }

    pub fn deadline(&self) -> Tick {
        self.deadline.tick()
    }

    fn wait_until(&mut self, deadline: Tick) {
        self.deadline = CoarseTick::ceil(deadline);
    }

    /// The same for whoever may move it at any time: two looks at a batch lie [`Settings::send_timeout`] apart. What is late
    /// then is made up for when the batch has gone ([`Conn::recovered`]).
    fn wait_until_unless_stuck(&mut self, deadline: Tick) {
        if !self.outbox.is_looked_at() {
            self.wait_until(deadline);
        }
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
            _ => false,
        };
        // Whoever does not take our answers gets no more questions in; workers are closed for that instead.
        let is_full = !matches!(self.phase, Phase::Worker(_)) && self.outbox.len() > limits::OUTBOX_BYTES_PAUSE;
        let is_waiting = self.is_parked || self.registrations > 0 || is_answering || is_full;
        is_waiting && self.ended.is_none()
    }

    /// Whether the meaning at the front of `input` may be taken now. A worker's subscriptions may come in a row while
    /// earlier ones are being confirmed; what it says after them waits for that.
    pub fn may_take(&self, input: &[u8]) -> bool {
        let is_in_a_row = self.is_worker() && !self.is_parked && worker::is_subscription(input);
        is_in_a_row || !self.is_paused()
    }

    /// Bytes have arrived: who is asked for a sign of life when it falls silent has given one.
    pub fn heard(&mut self, settings: &Settings, now: Tick) {
        let patience = match &mut self.phase {
            Phase::WebSocket(_, websocket) => {
                websocket.heard();
                settings.ping_interval
            }
            Phase::Worker(worker) if !worker.is_waiting_for_credentials() => {
                worker.heard();
                limits::BUS_PING_INTERVAL
            }
            Phase::Centrifuge(session) => {
                session.heard();
                session.deadline().since(now)
            }
            Phase::Worker(_) | Phase::Http(_) | Phase::EventStream(_) | Phase::Ending => return,
        };
        // Whoever speaks and does not listen is looked at all the same.
        if !self.outbox.is_sending() {
            self.wait_until(now + patience);
        }
    }

    /// A batch that was looked at has gone: the peer is well, and what it is waited for begins anew.
    fn recovered(&mut self, settings: &Settings, now: Tick) {
        match &self.phase {
            Phase::WebSocket(..) | Phase::Centrifuge(_) | Phase::Worker(_) => self.heard(settings, now),
            Phase::EventStream(_) => self.wait_until(now + settings.sse_heartbeat),
            Phase::Http(http) if !http.is_asked() => self.wait_until(now + settings.keep_alive_timeout),
            Phase::Http(_) | Phase::Ending => {}
        }
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
            Phase::EventStream(_) | Phase::Ending => {
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
        let Target::Centrifuge(target) = &settings.routes[self.route as usize].target else { return Ok(None) };
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

    /// The TLS handshake is done: the time for the first request begins.
    pub fn handshaken(&mut self, settings: &Settings, now: Tick) {
        self.wait_until(now + settings.head_timeout);
    }

    /// Frames one event. The hub's name of the subscription if that was its last message.
    ///
    /// Part of the fan-out's loop: those who are many share what is encoded, the others have a function of their own.
    #[inline]
    pub fn push_event(&mut self, tag: u32, event: &Event) -> Option<Key> {
        match &mut self.phase {
            Phase::WebSocket(..) => self.outbox.push_shared(event.websocket_frame()),
            Phase::EventStream(stream) if stream.shares_record(tag) => self.outbox.push_shared(event.sse_record()),
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
            Phase::WebSocket(..) | Phase::Http(_) | Phase::Ending => {}
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
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_replayed(tag, channel, excerpt, &mut self.outbox),
            Phase::Centrifuge(session) => session.replayed(tag, channel, excerpt, &mut self.outbox),
            // There are no words for a position.
            Phase::WebSocket(..) => excerpt.messages.iter().for_each(|message| {
                self.outbox.push_shared(Event::new(message.clone(), None).websocket_frame());
            }),
            Phase::Worker(_) | Phase::Http(_) | Phase::Ending => {}
        }
    }

    /// The answer to [`Step::History`]; `None` if there is no such channel.
    pub fn push_history(
        &mut self,
        _tag: u32,
        channel: &Subject,
        excerpt: Option<&Excerpt>,
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        match &mut self.phase {
            Phase::Centrifuge(session) => {
                session.history(excerpt, &mut self.outbox);
                Ok(())
            }
            Phase::Http(_) => {
                let body = admin::history(channel, excerpt);
                self.answer("application/json", body.as_bytes(), settings, now)
            }
            _ => Ok(()),
        }
    }

    /// The answer to [`Step::Presence`]; `None` if the channel's rule does not ask for it.
    pub fn push_presence(
        &mut self,
        channel: &Subject,
        roster: Option<&Roster>,
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        match &mut self.phase {
            Phase::Centrifuge(session) => {
                session.presence(roster, &mut self.outbox);
                Ok(())
            }
            Phase::Http(_) => {
                let body = Roster::to_json(roster, channel);
                self.answer("application/json", body.as_bytes(), settings, now)
            }
            _ => Ok(()),
        }
    }

    /// One shard's part of the answer to [`Step::Find`].
    pub fn found(&mut self, found: Found, settings: &Settings, now: Tick) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        let outcome = http.found(found, &mut self.outbox);
        if !http.is_answering() {
            self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        }
        outcome
    }

    /// A client's name, and what its token says about it.
    pub fn who(&self) -> (Option<&str>, Option<&str>) {
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
        self.outbox.len() > self.outbox_bytes_max(settings)
    }

    pub fn push_no_responders(&mut self, reply: &Subject) -> Option<Key> {
        match &mut self.phase {
            Phase::Worker(worker) => worker.push_no_responders(reply, &mut self.outbox),
            _ => None,
        }
    }

    /// A message that it published has its position; `number` says which, where there may be several.
    pub fn published(
        &mut self,
        number: u32,
        position: Option<Position>,
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        if let Some((session, outbox)) = self.centrifuge() {
            session.published(number, outbox);
        }
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        http.published(position, &mut self.outbox)
    }

    /// Answers the request in hand with text.
    pub fn answer(
        &mut self,
        content_type: &str,
        body: &[u8],
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        http.answer(content_type, body, &mut self.outbox)
    }

    /// The outcome of a [`Step::Accept`].
    pub fn accepted(
        &mut self,
        outcome: Result<Receipt, CloseReason>,
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        match outcome {
            Ok(receipt) => http.accepted(&receipt, &mut self.outbox),
            Err(reason) => http.refused(reason, retry_after_s(self.peer), &mut self.outbox),
        }
    }

    /// The outcome of a [`Step::Read`]; there may be no such request.
    pub fn read(&mut self, reading: Option<&Reading>, settings: &Settings, now: Tick) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        match reading {
            Some(reading) => http.read(reading, &mut self.outbox),
            None => http.refused(CloseReason::UnknownRequest, retry_after_s(self.peer), &mut self.outbox),
        }
    }

    /// The route that a WebSocket came in by (an index into [`Settings::routes`]), and who it is.
    pub fn websocket(&self) -> Option<(u16, &Identity)> {
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
            Phase::Http(_) | Phase::Worker(_) | Phase::Ending => false,
        }
    }

    /// Whether it can be asked something ([`Conn::push_control`]).
    pub fn can_answer(&self, settings: &Settings) -> bool {
        match &self.phase {
            Phase::WebSocket(..) => matches!(
                &settings.routes[self.route as usize].target,
                Target::WebSocket(target) if target.control
            ),
            Phase::Centrifuge(session) => session.is_connected(),
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Ending => false,
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
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Ending => {}
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

    // --- time ------------------------------------------------------------------------------------------------------

    /// Its deadline has come. Afterwards [`Conn::deadline`] lies ahead. `taken` is what the peer has taken of all so far; it is
    /// looked at while a batch is on its way.
    pub fn on_deadline(&mut self, settings: &Settings, now: Tick, taken: u32) -> Result<(), CloseReason> {
        let is_looked_at = self.outbox.is_sending() && !self.is_closing;
        let progress = if is_looked_at { Some(self.outbox.look(taken)) } else { None };
        if self.ended.is_some() {
            let is_taking =
                progress.is_some_and(|bytes| bytes.is_none_or(|bytes| bytes >= limits::CLOSE_PROGRESS_BYTES));
            if is_taking {
                self.wait_until(now + limits::CLOSE_TIMEOUT);
                return Ok(());
            }
            self.wait_until(Tick::NEVER);
            return Err(CloseReason::CloseTimeout);
        }
        if self.transport.is_handshaking() {
            return Err(CloseReason::TlsTooSlow);
        }
        let is_owed_a_request = matches!(&self.phase, Phase::Http(http) if http.is_asked());
        if let Some(progress) = progress.filter(|_| !is_owed_a_request) {
            // What is on its way says as much as a ping or a heartbeat would.
            self.wait_until(now + settings.send_timeout);
            return if progress == Some(0) { Err(CloseReason::SlowConsumer) } else { Ok(()) };
        }
        let patience = match &mut self.phase {
            Phase::Http(http) => return Err(http.on_deadline()),
            Phase::EventStream(_) => {
                self.outbox.write(|out| crate::proto::sse::write_comment(out, ""));
                settings.sse_heartbeat
            }
            Phase::WebSocket(_, websocket) => {
                websocket.on_silence(&mut self.outbox)?;
                limits::PONG_TIMEOUT
            }
            Phase::Centrifuge(session) => {
                session.on_deadline(settings, now, &mut self.outbox)?;
                let deadline = session.deadline();
                self.wait_until(deadline);
                return Ok(());
            }
            Phase::Worker(worker) => {
                worker.on_silence(&mut self.outbox)?;
                limits::BUS_PING_INTERVAL
            }
            Phase::Ending => return Ok(()),
        };
        self.wait_until(now + patience);
        Ok(())
    }

    /// What has ended with its token, for the hub to forget.
    pub fn take_expired(&mut self, now: Tick) -> Option<Vec<Key>> {
        let (session, outbox) = self.centrifuge()?;
        let expired = session.take_expired(now, outbox);
        let deadline = session.deadline();
        self.wait_until_unless_stuck(deadline);
        expired
    }

    // --- the end ---------------------------------------------------------------------------------------------------

    /// How it is to be sent away. A request in hand becomes the last one.
    pub fn departure(&mut self) -> Departure {
        let is_handshaking = self.is_handshaking();
        match &mut self.phase {
            _ if is_handshaking => Departure::Mute,
            Phase::Http(http) if http.is_asked() => {
                http.make_last();
                Departure::ByItself
            }
            _ => Departure::Now,
        }
    }

    /// Says the last words that `reason` and the phase ask for, and ignores the peer from now on.
    pub fn end(&mut self, reason: CloseReason, now: Tick) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason);
        self.registrations = 0;
        if reason == CloseReason::SlowConsumer {
            self.outbox.drop_pending();
        }
        match &mut self.phase {
            Phase::Http(http) => http.end(reason.row(), retry_after_s(self.peer), &mut self.outbox),
            Phase::WebSocket(_, websocket) => websocket.end(reason.row(), self.peer, &mut self.outbox),
            Phase::Centrifuge(session) => session.end(reason, &mut self.outbox),
            Phase::Worker(worker) => worker.end(reason, &mut self.outbox),
            Phase::EventStream(_) if reason == CloseReason::Drain => {
                self.outbox.write(|out| crate::proto::sse::write_retry(out, return_after(self.peer)));
            }
            Phase::EventStream(_) | Phase::Ending => {}
        }
        self.carry = Carry::new();
        self.wait_until(now + limits::CLOSE_TIMEOUT);
    }

    /// The hub's names of everything it listens to; with this the phase is over.
    pub fn take_subs(&mut self) -> Vec<Key> {
        let mut subs = self.subs.take();
        match &mut self.phase {
            Phase::Worker(worker) => subs.extend(worker.take_subs()),
            Phase::Centrifuge(session) => subs.extend(session.take_subs()),
            _ => {}
        }
        self.phase = Phase::Ending;
        subs
    }

    // --- bytes out -------------------------------------------------------------------------------------------------

    /// True if there is something for the driver now.
    pub fn has_output(&self) -> bool {
        // A driver takes nothing after `close`, although a batch that was in flight may still come back as sent.
        !self.awaits_registrations()
            && !self.is_closing
            && !self.outbox.is_sending()
            && (self.outbox.pending_len() > 0
                || self.is_holding
                || self.transport.has_output()
                || self.owes_close_notify())
    }

    /// Nothing goes out to a client before it is subscribed (OPEN MEANS SUBSCRIBED).
    fn awaits_registrations(&self) -> bool {
        self.registrations > 0 && self.is_client()
    }

    fn owes_close_notify(&self) -> bool {
        self.ended.is_some() && self.transport.owes_close_notify()
    }

    /// The batch of this turn, framed and sealed, if there is one.
    pub fn fill(&mut self, sealing: &mut Sealing) -> Result<Option<Box<Batch>>, CloseReason> {
        if !self.has_output() {
            return Ok(None);
        }
        let plain = self.outbox.take();
        let batch = match &mut self.transport {
            Transport::Plain => plain,
            Transport::Tls(tls) => {
                let mut sealed = sealing.take();
                let outcome = tls.seal(plain.as_deref(), self.ended.is_some(), &mut sealing.scratch, &mut sealed);
                // Once it has ended, the alert is all that can still be said.
                let failure = outcome.err().filter(|_| self.ended.is_none());
                if failure.is_some() || sealed.is_empty() {
                    sealing.give_back(sealed);
                    return failure.map_or(Ok(None), Err);
                }
                Some(sealed)
            }
        };
        if let Some(batch) = &batch {
            self.outbox.sending(batch.len());
        }
        Ok(batch)
    }

    /// The batch is back: whole or in part, its bytes are not ours any more. True if it had seemed stuck, which moves the
    /// deadline.
    pub fn sent(&mut self, batch: Box<Batch>, sealing: &mut Sealing, settings: &Settings, now: Tick) -> bool {
        let was_looked_at = self.outbox.sent();
        if was_looked_at {
            self.recovered(settings, now);
        }
        if matches!(self.transport, Transport::Tls(_)) {
            sealing.give_back(batch);
        }
        was_looked_at
    }

    /// True the first time: our half may end now, and the peer's is waited for.
    pub fn begin_linger(&mut self, now: Tick) -> bool {
        if self.is_closing || std::mem::replace(&mut self.is_lingering, true) {
            return false;
        }
        self.wait_until(now + limits::CLOSE_TIMEOUT);
        true
    }

    /// True when the last words have been sent.
    pub fn is_flushed(&self) -> bool {
        self.ended.is_some() && self.outbox.is_empty() && !self.has_output()
    }
}

/// A transport for a connection that was accepted by a listener with or without TLS.
pub fn transport(tls: Option<&Arc<rustls::ServerConfig>>) -> Result<Transport, CloseReason> {
    tls.map_or(Ok(Transport::Plain), Transport::tls)
}

/// When a client that is sent away should come back: spread, so that they do not all come back at once.
pub fn return_after(peer: Peer) -> Duration {
    // Consecutive ports would come back in step without the multiplication (Knuth's multiplicative hash).
    let draw = u32::from(peer.port()).wrapping_mul(0x9e37_79b9) >> 16;
    limits::RETURN_AFTER + limits::RETURN_SPREAD * draw / (1 << 16)
}

/// The same for `Retry-After`, which counts whole seconds.
fn retry_after_s(peer: Peer) -> u32 {
    return_after(peer).as_secs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_out_after_close_although_the_batch_in_flight_was_sent() {
        let key = Key { slot: 0, generation: 0 };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let settings = Settings::default();
        let mut conn = Conn::new(key, peer, Door::Bus, Transport::Plain, &settings, Tick::ZERO);
        let mut sealing = Sealing::default();
        let greeting = conn.fill(&mut sealing).unwrap().expect("INFO");
        conn.end(CloseReason::SlowConsumer, Tick::ZERO);
        conn.is_closing = true;
        conn.sent(greeting, &mut sealing, &settings, Tick::ZERO);
        assert!(!conn.has_output(), "its last words would go to a socket that is closed");
        assert!(conn.fill(&mut sealing).unwrap().is_none());
    }
}
