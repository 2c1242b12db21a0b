//! A session is named by the hub and workers: the protocol of a connection, its subscriptions, and what it waits for
//! before it reads on.
//!
//! ```text
//!   Http --> WebSocket | Centrifuge | EventStream --.
//!     '--> Tunnel <-- Upstream ---------------------+--> Over
//!   Worker, Upstream -------------------------------'
//! ```
//!
//! Legal calls by phase: `next` in all; `push_event` is ignored in `Http` and `Over`. A session writes to the outbox of
//! its link, which is an argument.
//!
//! `Over` only says that the session is over. The state of its link is in `life`, and [`super::Conn::end`] ends both.
//!
//! The session is parked, not the link: it waits for room in the mesh or for a worker, and another session on the link
//! need not wait. `is_behind` belongs to the session too: the rules of its channels decide whether events are stopped.

use super::centrifuge::Centrifuge;
use super::events::EventStream;
use super::http::Http;
use super::outbox::Outbox;
use super::quota::Counted;
use super::route::RouteTarget;
use super::settings::Settings;
use super::subs::Subs;
use super::tunnel::Tunnel;
use super::upstream::Upstream;
use super::websocket::WebSocket;
use super::worker::{self, BusWorker};
use super::{Identity, TAG_ADDED};
use crate::base::{Key, RouteId};
use crate::limits;
use crate::proto::event::{Event, Position};
use crate::proto::replay::{Excerpt, Gap};
use crate::proto::subject::Subject;
use crate::proto::user::User;
use crate::proto::ws::{Opcode, frame};

/// Phases that idle by the hundred thousand are stored in the slot; rare or short ones are boxed.
pub(super) enum Phase {
    Http(Box<Http>),
    WebSocket(Identity, WebSocket),
    Centrifuge(Box<Centrifuge>),
    /// Only sends; input from the client is ignored.
    EventStream(Identity, EventStream),
    Worker(Box<BusWorker>),
    /// A connection to a server: half of a proxied request, or idle.
    Upstream(Box<Upstream>),
    /// Half of a WebSocket that a server serves.
    Tunnel(Box<Tunnel>),
    /// The last words are written.
    Over,
}

pub struct Session {
    pub(super) phase: Phase,
    /// The hub's keys of a client's subscriptions; a worker keeps its own, by tag.
    subs: Subs,
    /// Valid once a stream has begun.
    pub(super) route: RouteId,
    /// Subscriptions that are not in force yet (OPEN MEANS SUBSCRIBED).
    pub(super) registrations: u16,
    /// The session is not read until the shard has room or a worker.
    is_parked: bool,
    /// More is to be said than its outbox holds: events that are stopped (`slow`), or the rest of an answer (`outgoing`).
    pub(super) is_behind: bool,
    /// It has sent messages too fast, and is not read until the next one fits (`quota`).
    pub is_resting: bool,
    /// Its part in the counts of limits.
    pub counted: Counted,
}

impl Session {
    pub(super) fn new(phase: Phase) -> Session {
        Session {
            phase,
            subs: Subs::default(),
            route: RouteId::default(),
            registrations: 0,
            is_parked: false,
            is_behind: false,
            is_resting: false,
            counted: Counted::default(),
        }
    }

    // --- what it is --------------------------------------------------------------------------------------------------

    pub fn is_worker(&self) -> bool {
        matches!(self.phase, Phase::Worker(_))
    }

    /// Whether it can receive messages to its connection or its user.
    pub fn is_client(&self) -> bool {
        match &self.phase {
            Phase::WebSocket(..) | Phase::EventStream(..) => true,
            Phase::Centrifuge(centrifuge) => centrifuge.is_connected(),
            Phase::Http(_) | Phase::Worker(_) | Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => false,
        }
    }

    /// Whether it can be sent control messages ([`super::Conn::push_control`]).
    pub fn can_answer(&self, settings: &Settings) -> bool {
        match &self.phase {
            Phase::WebSocket(..) => matches!(
                &settings.generation.routes[self.route].target,
                RouteTarget::WebSocket(target) if target.control
            ),
            Phase::Centrifuge(centrifuge) => centrifuge.is_connected(),
            Phase::Http(_)
            | Phase::EventStream(..)
            | Phase::Worker(_)
            | Phase::Upstream(_)
            | Phase::Tunnel(_)
            | Phase::Over => false,
        }
    }

    /// Whether its protocol can express a gap.
    pub fn can_hear_gaps(&self) -> bool {
        !matches!(self.phase, Phase::WebSocket(..))
    }

    /// The client's user, and the `info` of its token.
    pub fn who(&self) -> (Option<&User>, Option<&str>) {
        match &self.phase {
            Phase::Centrifuge(centrifuge) => (centrifuge.identity().user(), centrifuge.info()),
            _ => (identity(self).and_then(Identity::user), None),
        }
    }

    /// The route; valid once a stream has begun.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// The route and the identity of a WebSocket.
    pub fn websocket(&self) -> Option<(RouteId, &Identity)> {
        match &self.phase {
            Phase::WebSocket(identity, _) => Some((self.route, identity)),
            Phase::Centrifuge(centrifuge) if centrifuge.is_connected() => Some((self.route, centrifuge.identity())),
            _ => None,
        }
    }

    /// The bound on bytes that wait for this peer.
    pub fn outbox_bytes_max(&self, settings: &Settings) -> usize {
        match self.phase {
            Phase::Worker(_) => settings.generation.bus.outbox_bytes_max,
            _ => settings.generation.outbox_bytes_max,
        }
    }

    // --- what it has said --------------------------------------------------------------------------------------------

    /// Whether unread commands lie outside the input, or one goes on that has waited for an answer.
    pub fn has_unread(&self) -> bool {
        match &self.phase {
            Phase::Centrifuge(centrifuge) => centrifuge.unread().is_apart() || centrifuge.asked.is_answered(),
            Phase::Http(http) => http.has_unread(),
            Phase::Upstream(upstream) => upstream.has_unread(),
            _ => false,
        }
    }

    // --- what it waits for -------------------------------------------------------------------------------------------

    /// The session is not read until the shard has room or a worker.
    pub fn park(&mut self) {
        self.is_parked = true;
    }

    pub fn unpark(&mut self) {
        self.is_parked = false;
    }

    pub fn is_parked(&self) -> bool {
        self.is_parked
    }

    /// Whether it waits for something, other than room in its outbox, before it reads on.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        let is_stream = matches!(self.phase, Phase::WebSocket(..) | Phase::EventStream(..));
        self.is_parked || self.is_resting || self.registrations > 0 || !is_stream && is_busy(&self.phase)
    }

    /// Whether `input` begins with a subscription of a worker. Several subscriptions may be read in a row, before the
    /// first is confirmed.
    pub(super) fn may_subscribe(&self, input: &[u8]) -> bool {
        let has_room = !self.is_parked && !self.owes_pong() && self.registrations <= limits::REGISTRATIONS_HIGH;
        self.is_worker() && has_room && worker::is_subscription(input)
    }

    /// Whether the current frame has another command of the client protocol. It may be read while subscriptions are
    /// being confirmed, but not while an answer is awaited.
    pub fn may_go_on(&self) -> bool {
        let Phase::Centrifuge(centrifuge) = &self.phase else { return false };
        let has_command = centrifuge.asked.is_answered() || !centrifuge.unread().is_empty();
        has_command && !centrifuge.is_busy() && !self.is_parked && !self.is_resting
    }

    /// A worker's PING waits for its earlier publications.
    pub fn owe_pong(&mut self) {
        if let Phase::Worker(worker) = &mut self.phase {
            worker.owe_pong();
        }
    }

    pub fn owes_pong(&self) -> bool {
        matches!(&self.phase, Phase::Worker(worker) if worker.owes_pong())
    }

    // --- what it listens to ------------------------------------------------------------------------------------------

    /// A subscription was made: its key in the hub, and how many places must confirm it.
    pub fn subscribed(&mut self, tag: u32, sub: Key, confirmations: u16) {
        match &mut self.phase {
            Phase::Worker(worker) => worker.subscribed(tag, sub),
            Phase::Centrifuge(centrifuge) if tag != TAG_ADDED => centrifuge.subscribed(tag, sub),
            _ => self.subs.push(sub),
        }
        self.registrations += confirmations;
    }

    /// The hub's keys of a client's subscriptions.
    pub fn subs(&self) -> &[Key] {
        self.subs.as_slice()
    }

    /// A client's subscription has ended.
    pub fn unsubscribed(&mut self, sub: Key) {
        self.subs.remove(sub);
    }

    /// Takes the hub's keys of its subscriptions, except those that its phase keeps.
    pub(super) fn stop_listening(&mut self) -> Vec<Key> {
        self.registrations = 0;
        self.subs.take()
    }

    /// A subscription waits for its missed messages, like for a confirmation.
    pub fn awaits_replay(&mut self) {
        self.registrations += 1;
    }

    /// One place has confirmed; true for the last confirmation.
    pub fn registered(&mut self) -> bool {
        self.registrations = self.registrations.saturating_sub(1);
        self.registrations == 0
    }

    /// A client is sent nothing before it is subscribed (OPEN MEANS SUBSCRIBED). A worker neither: nats-py writes the
    /// PING of a `flush` before the SUB that is to be flushed, so both arrive in one packet, and the PONG must cover
    /// both.
    pub fn awaits_registrations(&self) -> bool {
        self.registrations > 0 && (self.is_client() || self.is_worker())
    }

    // --- what it hears -----------------------------------------------------------------------------------------------

    /// Frames one event. Returns the subscription's key in the hub if this was its last message.
    ///
    /// Part of the fan-out's loop: the common phases share the encoded bytes, the others have a function of their own.
    #[inline]
    pub(super) fn push_event(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) -> Option<Key> {
        match &mut self.phase {
            Phase::WebSocket(..) => outbox.push_shared(event.websocket_frame()),
            Phase::EventStream(_, stream) if stream.shares_record(tag) => {
                outbox.push_shared(event.sse_record(stream.streaming));
            }
            _ => return self.push_own(tag, event, outbox),
        }
        None
    }

    #[inline(never)]
    fn push_own(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) -> Option<Key> {
        match &mut self.phase {
            Phase::EventStream(_, stream) => stream.push_event(tag, event, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_event(tag, event, outbox),
            Phase::Worker(worker) => return worker.push_event(tag, event, outbox),
            Phase::WebSocket(..) | Phase::Http(_) | Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => {}
        }
        None
    }

    /// Like [`Session::push_event`], for an event after which the client's position is not the event's own.
    pub(super) fn push_event_at(&mut self, tag: u32, event: &Event, stands_at: Option<Position>, outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::EventStream(_, stream) => stream.push_event_at(tag, event, stands_at, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_event_at(event, stands_at, outbox),
            _ => _ = self.push_event(tag, event, outbox),
        }
    }

    /// Writes a gap; false if the protocol cannot express one.
    pub(super) fn push_gap(
        &mut self,
        (tag, channel): (u32, &Subject),
        gap: &Gap,
        stands_at: Position,
        outbox: &mut Outbox,
    ) -> bool {
        match &mut self.phase {
            Phase::EventStream(_, stream) => stream.push_gap(tag, channel, gap, stands_at, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_gap(channel, gap, outbox),
            Phase::WebSocket(..)
            | Phase::Worker(_)
            | Phase::Http(_)
            | Phase::Upstream(_)
            | Phase::Tunnel(_)
            | Phase::Over => {
                return false;
            }
        }
        true
    }

    /// Writes the next missed messages of the subscription `tag`, in order; live events follow the last ones.
    pub(super) fn push_replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt, outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::EventStream(_, stream) => stream.push_replayed(tag, channel, excerpt, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.replayed(tag, channel, excerpt, outbox),
            // The protocol cannot express a position.
            Phase::WebSocket(..) => excerpt.messages().for_each(|(_, message)| {
                outbox.push_shared(Event::new(message.clone(), None).websocket_frame());
            }),
            Phase::Worker(_) | Phase::Http(_) | Phase::Upstream(_) | Phase::Tunnel(_) | Phase::Over => {}
        }
    }

    /// Bytes of a replay that it keeps until they can be framed.
    pub(super) fn replayed_bytes(&self) -> usize {
        match &self.phase {
            Phase::Centrifuge(centrifuge) => centrifuge.replayed_bytes(),
            _ => 0,
        }
    }

    /// Writes a control message (`proto::control`) to a client that can answer.
    pub(super) fn push_control(&mut self, json: &[u8], outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::WebSocket(..) => outbox.write(|out| {
                frame::write_header(out, Opcode::Text, json.len());
                out.extend_from_slice(json);
            }),
            Phase::Centrifuge(centrifuge) => centrifuge.push_own(json, outbox),
            Phase::Http(_)
            | Phase::EventStream(..)
            | Phase::Worker(_)
            | Phase::Upstream(_)
            | Phase::Tunnel(_)
            | Phase::Over => {}
        }
    }

    /// Whether more is to be said than its outbox holds.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether that is the rest of an answer.
    pub fn is_replying(&self) -> bool {
        matches!(&self.phase, Phase::Http(http) if http.is_replying())
    }
}

/// Whether the phase waits for something.
fn is_busy(phase: &Phase) -> bool {
    match phase {
        Phase::Http(http) => http.is_waiting(),
        Phase::Centrifuge(centrifuge) => centrifuge.is_busy(),
        Phase::Worker(worker) => worker.owes_pong(),
        Phase::Upstream(upstream) => upstream.is_stopped,
        Phase::Tunnel(tunnel) => tunnel.is_stopped,
        Phase::WebSocket(..) | Phase::EventStream(..) | Phase::Over => false,
    }
}

/// The client of a stream, or of a proxied request.
pub fn identity(session: &Session) -> Option<&Identity> {
    match &session.phase {
        Phase::WebSocket(identity, _) | Phase::EventStream(identity, _) => Some(identity),
        Phase::Centrifuge(centrifuge) => Some(centrifuge.identity()),
        Phase::Tunnel(tunnel) => Some(&tunnel.client),
        Phase::Http(http) => http.client(),
        Phase::Worker(_) | Phase::Upstream(_) | Phase::Over => None,
    }
}

/// The subprotocol that was chosen for a WebSocket, if one was.
pub fn subprotocol<'s>(session: &Session, settings: &'s Settings) -> Option<&'s str> {
    let Phase::WebSocket(_, websocket) = &session.phase else { return None };
    let RouteTarget::WebSocket(target) = &settings.generation.routes[session.route].target else { return None };
    target.subprotocols.get(usize::from(websocket.subprotocol()?)).map(|name| &**name)
}

/// How long what a connection carries may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Until one of both ends it.
    Stream,
    /// It is a request whose server has not answered: the answer may be a stream.
    Unknown,
    /// As long as an answer takes.
    Answer,
}

/// How long the connection may last in what it does now.
pub fn lasting(session: &Session) -> Lasting {
    match &session.phase {
        Phase::WebSocket(..) | Phase::EventStream(..) | Phase::Tunnel(_) => Lasting::Stream,
        // Until it has connected, it has little time.
        Phase::Centrifuge(centrifuge) if centrifuge.is_connected() => Lasting::Stream,
        Phase::Http(http) => http.lasting(),
        Phase::Centrifuge(_) => Lasting::Answer,
        Phase::Worker(_) | Phase::Upstream(_) | Phase::Over => Lasting::Answer,
    }
}

/// The client of a WebSocket, to which another token may be given.
pub fn identity_mut(session: &mut Session) -> Option<&mut Identity> {
    match &mut session.phase {
        Phase::WebSocket(identity, _) => Some(identity),
        _ => None,
    }
}
