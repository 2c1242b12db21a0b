//! Clients and the workers of their services: a client's messages go to one worker, the same as long as that worker is
//! connected.
//!
//! ```text
//!  a client opens, ends --notice--.                                  .--> hand_to_workers
//!  a message --ask----------------+--> try_service --a worker is there'
//!  a call -----call---------------'         '--there is none--> a message waits (`stranded`), a call is refused, a notice is dropped
//!                                                                  '-- worker_subscribed: tried again
//! ```
//!
//! The first shard counts, for the process, which services have workers, and logs when the first worker subscribes to a
//! service and when the last one has left it.

mod stranded;

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;
use log::{info, warn};
use smallvec::SmallVec;

use crate::base::{Key, Place, Tick, mix, shrink};
use crate::conn::passed::PassedFields;
use crate::conn::subprotocol;
use crate::hub::{Member, Membership, Recipients};
use crate::limits;
use crate::mesh::{Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::bus::HeaderBlock;
use crate::proto::event::Message;
use crate::proto::reserved::headers::{
    CONN_HEADER, KIND_HEADER, METHOD_HEADER, OPCODE_HEADER, ROUTE_HEADER, SUBPROTOCOL_HEADER,
};
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;
use crate::proto::ws::Opcode;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::Desk;
use crate::shard::services::{ServiceFailure, name};
use stranded::Stranded;

/// The shard that reports, for the process, which services have workers. Every shard knows.
const SPEAKER: Place = Place(0);

pub(in crate::shard) struct Services {
    stranded: Stranded,
    /// The workers that got a client's messages. They get the next ones too, as long as they are connected.
    sticky: AHashMap<Key, SmallVec<[Member; 1]>>,
    /// Clients that their service has not been told of, because their subscriptions are not in force everywhere yet.
    opening: BTreeMap<Key, PassedFields>,
}

/// The kind of a message to a service: the header `Tg-Kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageKind<'a> {
    Open(&'a PassedFields),
    Message(Opcode),
    /// A call with a method, and the serial number by which the worker answers.
    Call(&'a str, u32),
    Close,
}

impl Services {
    pub(crate) fn new(_: &Parts) -> Services {
        Services { stranded: Stranded::default(), sticky: AHashMap::new(), opening: BTreeMap::new() }
    }

    // --- notices -------------------------------------------------------------------------------------------------------

    /// A client has opened. Its service is told once the client's subscriptions are in force on all shards (OPEN MEANS
    /// SUBSCRIBED): a worker may publish to the client's user or channel at once, and this client must get that
    /// message.
    pub(crate) fn client_opened(&mut self, desk: &mut Desk, key: Key, fields: PassedFields) {
        if awaits_registrations(desk, key) {
            self.opening.insert(key, fields);
        } else {
            self.notify(desk, key, MessageKind::Open(&fields));
        }
    }

    /// A connection resumes, maybe because its last registration is confirmed.
    pub(crate) fn client_resumes(&mut self, desk: &mut Desk, key: Key) {
        if self.opening.contains_key(&key)
            && !awaits_registrations(desk, key)
            && let Some(fields) = self.opening.remove(&key)
        {
            self.notify(desk, key, MessageKind::Open(&fields));
        }
    }

    /// Tells a worker of the connection's service, if it has one, that the connection opens or closes.
    fn notify(&mut self, desk: &mut Desk, key: Key, kind: MessageKind<'_>) {
        if let Some(message) = service_message(desk, key, kind, Box::default()) {
            // Without a worker the notice is dropped; only messages of clients wait.
            let _ = self.try_service(desk, key, message, None);
        }
    }

    // --- messages and calls --------------------------------------------------------------------------------------------

    /// Gives a message to a worker. Without a worker, the message waits for one, and the client is not read until then.
    pub(crate) fn ask(&mut self, desk: &mut Desk, key: Key, opcode: Opcode, payload: Box<[u8]>) {
        let Some(message) = service_message(desk, key, MessageKind::Message(opcode), payload) else { return };
        let Err(message) = self.try_service(desk, key, message, None) else { return };
        let until = desk.now + limits::SERVICE_WAIT;
        let Some(conn) = desk.slots.get_mut(key) else { return };
        conn.session.park();
        self.stranded.insert(key, message, until);
    }

    /// Whether a message of the client waits for a worker.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.stranded.contains(key)
    }

    /// A call does not wait for a worker: without one the client is told at once, and decides for itself. It is told
    /// the same if the worker has just disconnected.
    pub(crate) fn call(&mut self, desk: &mut Desk, key: Key, serial: u32, method: &str, payload: Box<[u8]>) {
        let from = Publisher {
            address: desk.address(key),
            wants_position: None,
            wants_reach: false,
            wants_no_responders: true,
            is_silent: false,
        };
        let message = service_message(desk, key, MessageKind::Call(method, serial), payload);
        if message.is_none_or(|message| self.try_service(desk, key, message, Some(from)).is_err()) {
            self.refuse_call(desk, key, serial);
        }
    }

    /// Tells the client that its call reached no worker; false if `key` is not a connection that calls.
    pub(crate) fn refuse_call(&mut self, desk: &mut Desk, key: Key, serial: u32) -> bool {
        let Some((session, outbox)) = desk.slots.get_mut(key).and_then(|conn| conn.centrifuge()) else { return false };
        session.unanswerable(serial, outbox);
        desk.mark_dirty(key);
        count_failures(desk, key, ServiceFailure::NoWorker, 1);
        true
    }

    /// Counts the calls that no worker answered in time.
    pub(crate) fn count_late_calls(&mut self, desk: &mut Desk, key: Key) {
        let session = desk.slots.get_mut(key).and_then(|conn| conn.centrifuge());
        let late = session.map_or(0, |(session, _)| session.take_late());
        if late > 0 {
            count_failures(desk, key, ServiceFailure::NoAnswer, late);
        }
    }

    /// Gives a message to one worker of each group of the client's service, the same as before while it is connected.
    /// Returns the message if there is no worker. `from` is a caller that is told if the chosen worker has
    /// disconnected.
    fn try_service(
        &mut self,
        desk: &mut Desk,
        key: Key,
        message: Arc<Message>,
        from: Option<Publisher>,
    ) -> Result<(), Arc<Message>> {
        let mut recipients = Recipients::default();
        let preferred = self.sticky.get(&key).map_or(&[][..], |members| members);
        let draw = mix(desk.address(key).to_bits());
        desk.directory.collect(message.subject.as_str(), draw, preferred, None, &mut recipients);
        if !recipients.has_addressee {
            return Err(message);
        }
        let is_as_before = recipients.seats.iter().map(|seat| &seat.member).eq(preferred);
        if !is_as_before {
            self.sticky.insert(key, recipients.seats.iter().map(|seat| seat.member).collect());
        }
        desk.hand_to_workers(&Publish::new(message, from), &recipients);
        Ok(())
    }
}

impl Feature for Services {
    /// A service that was not told of the client's opening is not told of its end either.
    fn connection_ends(&mut self, desk: &mut Desk, key: Key) {
        if self.opening.remove(&key).is_none() {
            self.notify(desk, key, MessageKind::Close);
        }
    }

    fn connection_ended(&mut self, _: &mut Desk, key: Key) {
        self.stranded.remove(key);
        self.sticky.remove(&key);
        shrink(&mut self.sticky, limits::ENTRIES_KEPT);
    }

    /// Every message that waits for a worker is tried again.
    fn worker_subscribed(&mut self, desk: &mut Desk, membership: &Membership) {
        for (service, workers) in count_workers(desk, membership, 1) {
            if workers == 1
                && let Some(left_out) = desk.fold.say(&("worker came", &service), desk.now)
            {
                info!("service {}: a worker is there{left_out}", name(&service));
            }
        }
        if self.stranded.is_empty() {
            return;
        }
        for (key, (message, until)) in self.stranded.take() {
            match self.try_service(desk, key, message, None) {
                Ok(()) => desk.unpark(key),
                Err(message) => self.stranded.insert(key, message, until),
            }
        }
    }

    fn worker_unsubscribed(&mut self, desk: &mut Desk, membership: &Membership) {
        for (service, workers) in count_workers(desk, membership, -1) {
            if workers == 0
                && let Some(left_out) = desk.fold.say(&("worker left", &service), desk.now)
            {
                warn!("service {}: the last worker has left; clients' calls fail{left_out}", name(&service));
            }
        }
    }

    /// Disconnects a client whose message has waited too long.
    fn work(&mut self, desk: &mut Desk) -> bool {
        let Some(key) = self.stranded.expired(desk.now) else { return false };
        count_failures(desk, key, ServiceFailure::Unserved, 1);
        desk.end(key, CloseReason::NoWorker);
        true
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.stranded.deadline()
    }

    fn measure(&self, counters: &Counters) {
        counters.waiting.set(self.stranded.len() as u64);
    }

    fn count(&self, census: &mut Census) {
        census.stranded = self.stranded.len();
        census.sticky = self.sticky.len();
        census.opening = self.opening.len();
    }
}

fn awaits_registrations(desk: &Desk, key: Key) -> bool {
    desk.slots.get(key).is_some_and(|conn| conn.session.awaits_registrations())
}

/// The message to a worker about a client; `None` if the client's route has no service.
fn service_message(desk: &Desk, key: Key, kind: MessageKind<'_>, payload: Box<[u8]>) -> Option<Arc<Message>> {
    let (route, identity) = desk.slots.get(key)?.session.websocket()?;
    let route = &desk.settings.generation.routes[route];
    let service = route.target.service()?.to.clone();
    let id = desk.settings.process.conn_id(desk.address(key));
    let mut headers = HeaderBlock::new();
    headers.push(CONN_HEADER, id.text().as_str());
    if let Some(user) = identity.user() {
        user.push_headers(&mut headers);
    }
    headers.push(ROUTE_HEADER, &route.template);
    if let Some(name) = subprotocol(&desk.slots.get(key)?.session, &desk.settings) {
        headers.push(SUBPROTOCOL_HEADER, name);
    }
    match kind {
        MessageKind::Open(fields) => {
            headers.push(KIND_HEADER, "open");
            fields.push(&mut headers);
        }
        MessageKind::Close => headers.push(KIND_HEADER, "close"),
        MessageKind::Call(method, _) => {
            headers.push(KIND_HEADER, "rpc");
            headers.push(METHOD_HEADER, method);
        }
        MessageKind::Message(opcode) => {
            headers.push(KIND_HEADER, "message");
            headers.push(OPCODE_HEADER, if opcode == Opcode::Binary { "binary" } else { "text" });
        }
    }
    let reply = match kind {
        MessageKind::Call(_, serial) => subjects::call(id, serial),
        MessageKind::Open(_) | MessageKind::Close | MessageKind::Message(_) => subjects::conn(id),
    };
    Some(Message::new(service, Some(reply), Some(headers.finish()), payload).into())
}

/// The services that a subscription serves, and how many subscriptions now serve each. A subscription that only watches
/// serves none.
fn count_workers(desk: &Desk, membership: &Membership, change: i64) -> Vec<(Subject, u64)> {
    let Membership { pattern, queue, .. } = membership;
    if desk.place != SPEAKER || (queue.is_none() && !pattern.is_literal()) {
        return Vec::new();
    }
    let served = desk.counters().services.iter().filter(|service| pattern.matches(service.subject.as_str()));
    served
        .map(|service| {
            let workers = service.workers.value().saturating_add_signed(change);
            service.workers.set(workers);
            (service.subject.clone(), workers)
        })
        .collect()
}

/// Counts a failure of the client `key`, and logs it while its service has no worker.
fn count_failures(desk: &Desk, key: Key, failure: ServiceFailure, count: u64) {
    let Some(route) = desk.slots.get(key).map(|conn| conn.session.route()) else { return };
    let Some(service) = desk.settings.generation.routes[route].target.service() else { return };
    let counters = desk.counters().services.iter().find(|own| own.subject == *service.to.subject());
    if let Some(counters) = counters {
        counters.failed(failure).add(count);
    }
    let words = match failure {
        ServiceFailure::NoWorker => "a client's call found no worker",
        ServiceFailure::NoAnswer => "no worker has answered a client's call in time",
        ServiceFailure::Unserved => "a client's message found no worker in time, and the client was sent away",
    };
    if let Some(left_out) = desk.fold.say(&(failure, service.to.subject()), desk.now) {
        warn!("service {}: {words}{left_out}", name(service.to.subject()));
    }
}
