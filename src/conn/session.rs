//! What the hub and workers name: what a connection speaks, what it listens to, and what it waits for before it says more.
//!
//! ```text
//!   Http --> WebSocket | Centrifuge | EventStream --.
//!   Worker -----------------------------------------+--> Over
//! ```
//!
//! Legal calls by phase: `next` in all; `push_event` is ignored in `Http` and `Over`. What a session says goes into the outbox of its
//! link, which is an argument.
//!
//! `Over` says no more than that the session is: how far its link has come is told by `life`, and [`super::Conn::end`] ends both.
//!
//! The session is parked, and not the link: it waits for room in the mesh or for a worker, which another session need not do. That it is
//! behind belongs here too: the rules of its channels decide whether events are held for it.

use super::centrifuge::Centrifuge;
use super::events::EventStream;
use super::http::Http;
use super::outbox::Outbox;
use super::route::Target;
use super::settings::Settings;
use super::subs::Subs;
use super::websocket::WebSocket;
use super::worker::{self, Worker};
use super::{Identity, TAG_ADDED};
use crate::base::{Key, RouteId};
use crate::limits;
use crate::proto::event::{Event, Position};
use crate::proto::replay::{Excerpt, Gap};
use crate::proto::subject::Subject;
use crate::proto::user::User;
use crate::proto::ws::{Opcode, frame};

/// What idles by the hundred thousand lies in the slot; what is rare or short is boxed.
pub(super) enum Phase {
    Http(Box<Http>),
    WebSocket(Identity, WebSocket),
    Centrifuge(Box<Centrifuge>),
    /// Only sends; what the client sends is ignored.
    EventStream(EventStream),
    Worker(Box<Worker>),
    /// Nothing any more: it has said its last words.
    Over,
}

pub struct Session {
    pub(super) phase: Phase,
    /// The hub's names of a client's subscriptions; a worker keeps its own by tag.
    subs: Subs,
    /// Valid once a stream has begun.
    pub(super) route: RouteId,
    /// Subscriptions that are not in force yet (OPEN MEANS SUBSCRIBED).
    pub(super) registrations: u16,
    /// The shard waits for room or a worker before it reads on.
    is_parked: bool,
    /// More is to be said than its outbox holds: events that are held (`slow`), or the rest of an answer (`outgoing`).
    pub(super) is_behind: bool,
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
        }
    }

    // --- what it is --------------------------------------------------------------------------------------------------

    pub fn is_worker(&self) -> bool {
        matches!(self.phase, Phase::Worker(_))
    }

    /// Whether messages to this connection or its user can reach it.
    pub fn is_client(&self) -> bool {
        match &self.phase {
            Phase::WebSocket(..) | Phase::EventStream(_) => true,
            Phase::Centrifuge(centrifuge) => centrifuge.is_connected(),
            Phase::Http(_) | Phase::Worker(_) | Phase::Over => false,
        }
    }

    /// Whether it can be asked something ([`super::Conn::push_control`]).
    pub fn can_answer(&self, settings: &Settings) -> bool {
        match &self.phase {
            Phase::WebSocket(..) => matches!(
                &settings.generation.routes[self.route].target,
                Target::WebSocket(target) if target.control
            ),
            Phase::Centrifuge(centrifuge) => centrifuge.is_connected(),
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Over => false,
        }
    }

    /// Whether there are words for it that something is missing.
    pub fn can_hear_gaps(&self) -> bool {
        !matches!(self.phase, Phase::WebSocket(..))
    }

    /// A client's name, and what its token says about it.
    pub fn who(&self) -> (Option<&User>, Option<&str>) {
        match &self.phase {
            Phase::WebSocket(identity, _) => (identity.user(), None),
            Phase::Centrifuge(centrifuge) => (centrifuge.identity().user(), centrifuge.info()),
            _ => (None, None),
        }
    }

    /// Its route; valid once a stream has begun.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// The route that a WebSocket came in by, and its identity.
    pub fn websocket(&self) -> Option<(RouteId, &Identity)> {
        match &self.phase {
            Phase::WebSocket(identity, _) => Some((self.route, identity)),
            Phase::Centrifuge(centrifuge) if centrifuge.is_connected() => Some((self.route, centrifuge.identity())),
            _ => None,
        }
    }

    /// Bytes that may wait for this peer.
    pub fn outbox_bytes_max(&self, settings: &Settings) -> usize {
        match self.phase {
            Phase::Worker(_) => settings.generation.bus.outbox_bytes_max,
            _ => settings.generation.outbox_bytes_max,
        }
    }

    // --- what it has said --------------------------------------------------------------------------------------------

    /// Whether some of it has not been taken and does not lie in the input.
    pub fn has_unread(&self) -> bool {
        match &self.phase {
            Phase::Centrifuge(centrifuge) => centrifuge.unread().is_apart(),
            Phase::Http(http) => http.has_unread(),
            _ => false,
        }
    }

    // --- what it waits for -------------------------------------------------------------------------------------------

    /// The shard waits for room or a worker before it reads on.
    pub fn park(&mut self) {
        self.is_parked = true;
    }

    pub fn unpark(&mut self) {
        self.is_parked = false;
    }

    pub fn is_parked(&self) -> bool {
        self.is_parked
    }

    /// Whether it waits for something before more is taken off its input, besides room for what it is sent.
    pub(super) fn is_waiting(&self) -> bool {
        let is_busy = match &self.phase {
            Phase::Http(http) => http.is_waiting(),
            Phase::Centrifuge(centrifuge) => centrifuge.is_busy(),
            Phase::Worker(worker) => worker.owes_pong(),
            _ => false,
        };
        self.is_parked || self.registrations > 0 || is_busy
    }

    /// Whether `input` begins with a subscription of a worker, which may come in a row with others while those are being confirmed.
    pub(super) fn may_subscribe(&self, input: &[u8]) -> bool {
        let has_room = !self.is_parked && !self.owes_pong() && self.registrations <= limits::REGISTRATIONS_HIGH;
        self.is_worker() && has_room && worker::is_subscription(input)
    }

    /// Whether a command of the client protocol is left that came in one frame with the last. It may come in a row with that while
    /// subscriptions are being confirmed, but waits for answers that are awaited.
    pub(super) fn may_go_on(&self) -> bool {
        let Phase::Centrifuge(centrifuge) = &self.phase else { return false };
        !centrifuge.unread().is_empty() && !centrifuge.is_busy() && !self.is_parked
    }

    /// A worker's PING waits for what it has published before.
    pub fn owe_pong(&mut self) {
        if let Phase::Worker(worker) = &mut self.phase {
            worker.owe_pong();
        }
    }

    pub fn owes_pong(&self) -> bool {
        matches!(&self.phase, Phase::Worker(worker) if worker.owes_pong())
    }

    // --- what it listens to ------------------------------------------------------------------------------------------

    /// A subscription was made: the hub's name of it, and how many places must confirm it.
    pub fn subscribed(&mut self, tag: u32, sub: Key, confirmations: u16) {
        match &mut self.phase {
            Phase::Worker(worker) => worker.subscribed(tag, sub),
            Phase::Centrifuge(centrifuge) if tag != TAG_ADDED => centrifuge.subscribed(tag, sub),
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

    /// It ends: the hub's names of what it listened to, but for those that its phase keeps.
    pub(super) fn stop_listening(&mut self) -> Vec<Key> {
        self.registrations = 0;
        self.subs.take()
    }

    /// A subscription waits for what it has missed, besides what else it waits for.
    pub fn awaits_replay(&mut self) {
        self.registrations += 1;
    }

    /// One place has confirmed; true when that was the last.
    pub fn registered(&mut self) -> bool {
        self.registrations = self.registrations.saturating_sub(1);
        self.registrations == 0
    }

    /// Nothing goes out to a client before it is subscribed (OPEN MEANS SUBSCRIBED), nor to a worker: nats-py writes the PING of a
    /// `flush` before the SUB that waits to be flushed. So both come in one packet, and the PONG counts for both.
    pub fn awaits_registrations(&self) -> bool {
        self.registrations > 0 && (self.is_client() || self.is_worker())
    }

    // --- what it hears -----------------------------------------------------------------------------------------------

    /// Frames one event. The hub's name of the subscription if that was its last message.
    ///
    /// Part of the fan-out's loop: those that are many share what is encoded, the others have a function of their own.
    #[inline]
    pub(super) fn push_event(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) -> Option<Key> {
        match &mut self.phase {
            Phase::WebSocket(..) => outbox.push_shared(event.websocket_frame()),
            Phase::EventStream(stream) if stream.shares_record(tag) => {
                outbox.push_shared(event.sse_record(stream.streaming));
            }
            _ => return self.push_own(tag, event, outbox),
        }
        None
    }

    #[inline(never)]
    fn push_own(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) -> Option<Key> {
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_event(tag, event, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_event(tag, event, outbox),
            Phase::Worker(worker) => return worker.push_event(tag, event, outbox),
            Phase::WebSocket(..) | Phase::Http(_) | Phase::Over => {}
        }
        None
    }

    /// The same as [`Session::push_event`], if a client that has got it stands elsewhere than at its position.
    pub(super) fn push_event_at(&mut self, tag: u32, event: &Event, stands_at: Option<Position>, outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_event_at(tag, event, stands_at, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_event_at(event, stands_at, outbox),
            _ => _ = self.push_event(tag, event, outbox),
        }
    }

    /// Says that something is missing; false where the protocol has no words for that.
    pub(super) fn push_gap(
        &mut self,
        (tag, channel): (u32, &Subject),
        gap: &Gap,
        stands_at: Position,
        outbox: &mut Outbox,
    ) -> bool {
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_gap(tag, channel, gap, stands_at, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.push_gap(channel, gap, outbox),
            Phase::WebSocket(..) | Phase::Worker(_) | Phase::Http(_) | Phase::Over => return false,
        }
        true
    }

    /// The next of what the subscription `tag` has missed, in order; live events follow the last.
    pub(super) fn push_replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt, outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::EventStream(stream) => stream.push_replayed(tag, channel, excerpt, outbox),
            Phase::Centrifuge(centrifuge) => centrifuge.replayed(tag, channel, excerpt, outbox),
            // There are no words for a position.
            Phase::WebSocket(..) => excerpt.messages().for_each(|(_, message)| {
                outbox.push_shared(Event::new(message.clone(), None).websocket_frame());
            }),
            Phase::Worker(_) | Phase::Http(_) | Phase::Over => {}
        }
    }

    /// Bytes of a replay that it keeps until they can be framed.
    pub(super) fn replayed_bytes(&self) -> usize {
        match &self.phase {
            Phase::Centrifuge(centrifuge) => centrifuge.replayed_bytes(),
            _ => 0,
        }
    }

    /// Says something of the gateway's own (`proto::control`) to a client that can answer.
    pub(super) fn push_control(&mut self, json: &[u8], outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::WebSocket(..) => outbox.write(|out| {
                frame::write_header(out, Opcode::Text, json.len());
                out.extend_from_slice(json);
            }),
            Phase::Centrifuge(centrifuge) => centrifuge.push_own(json, outbox),
            Phase::Http(_) | Phase::EventStream(_) | Phase::Worker(_) | Phase::Over => {}
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
