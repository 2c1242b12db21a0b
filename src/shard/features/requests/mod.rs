//! Accepted requests on their way: client -> keeper -> worker -> keeper -> the clients that wait for the result.
//!
//! ```text
//!  accept --Accept--> keep: the receipt goes back (Accepted), the request waits
//!                      '--> work --Hand--> handed --> a worker
//!                            ^  '-- the news --> published on the request's channel
//!                    answer, missed, gone
//!  look_up ---Read--> tell --Told--> told: what became of it
//!  recalls.begin --Recall--> recall --Recalled--> the result, for a client that came to its channel too late
//! ```
//!
//! Tells only change the state of `KeptRequests`. The mail that follows is work of the turn, made only while there is
//! room for it (TELLS ARE TERMINAL, nothing is unbounded).

mod recalls;

use std::rc::Rc;
use std::sync::Arc;

use ahash::AHashMap;

use crate::base::{Address, Key, Place, RequestId, RouteId, Tick, shrink};
use crate::conn::accept::{self, ServiceRequest};
use crate::conn::route::{AcceptRoute, Route, RouteTarget};
use crate::hub::requests::{AcceptedRequest, Dropped, Hand, IdempotencyKey, Ids, News, RequestSources, WorkerAnswer};
use crate::hub::{self, KeptRequests, Member, Membership, PlaceSet};
use crate::limits;
use crate::mesh::requests::RequestMail;
use crate::mesh::{Mail, Publish};
use crate::proto::CloseReason;
use crate::proto::event::{Event, Message};
use crate::proto::replay::Since;
use crate::proto::request::{Reading, Receipt, Status};
use crate::proto::reserved::headers::STATUS_HEADER;
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::deliver::duplicate;
use crate::shard::desk::Desk;
use recalls::Recalls;

pub(in crate::shard) struct Requests {
    /// The requests that this shard keeps.
    kept: KeptRequests,
    ids: Ids,
    /// Shards that have handed requests to a worker of this shard: they are told when it ends.
    keepers: AHashMap<Key, PlaceSet>,
    /// This shard's clients that may have missed a result.
    pub recalls: Recalls,
}

impl Requests {
    pub(crate) fn new(parts: &Parts) -> Requests {
        Requests {
            kept: KeptRequests::new(parts.mesh.shards(), parts.settings.process.accepted_bytes_max),
            ids: Ids::new(&parts.secret, parts.settings.process.node, parts.place),
            keepers: AHashMap::new(),
            recalls: Recalls::default(),
        }
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: RequestMail) {
        match mail {
            RequestMail::Accept { from, request } => self.keep(desk, from, *request),
            RequestMail::Read { from, id, route } => self.tell(desk, from, id, route),
            RequestMail::Recall { from, id, channel } => self.recall(desk, from, id, channel),
            RequestMail::Hand { from, id, worker, message } => self.handed(desk, from, id, worker, message),
            RequestMail::Missed { id, worker } => self.kept.missed(id, worker),
            RequestMail::Gone { worker } => self.gone(desk, worker),
            RequestMail::Accepted { key, outcome } => self.accepted(desk, key, outcome),
            RequestMail::Told { key, reading } => self.told(desk, key, reading.as_deref()),
            RequestMail::Recalled { key, channel, message } => {
                self.recalls.end(desk, key, channel, message.map(|message| *message));
            }
        }
    }

    // --- from clients --------------------------------------------------------------------------------------------------

    /// Sends a client's complete request to its keeper.
    pub(crate) fn accept(&mut self, desk: &mut Desk, key: Key, asked: ServiceRequest) {
        desk.counters().received.add(1);
        let from = desk.address(key);
        match self.request(desk, key, asked) {
            Ok(request) => {
                let request = Box::new(request);
                desk.send(request.id.place, Mail::Requests(RequestMail::Accept { from, request }));
            }
            Err(reason) => self.accepted(desk, key, Err(reason)),
        }
    }

    fn request(&mut self, desk: &Desk, key: Key, asked: ServiceRequest) -> Result<AcceptedRequest, CloseReason> {
        let route = asked.route;
        let sources = RequestSources {
            network: desk.slots.get(key).map_or(0, |conn| conn.link.peer().network()),
            user: asked.user().map(|user| user.token().into()),
        };
        let (own, target) = accept_route(&desk.settings.generation.routes[route])?;
        let idempotency = asked.idempotency(own);
        // A client that retries must reach the same keeper, from any shard.
        let keeper =
            idempotency.as_ref().map_or(desk.place, |(name, _)| hub::owner_of(name, desk.post.mesh().shards()));
        let id = self.ids.draw(keeper);
        let channel = asked.channel(own, target, id)?;
        let message = asked.message(own, target, id, &channel).into();
        let key = idempotency.map(|(name, fingerprint)| IdempotencyKey { name: name.into(), fingerprint });
        Ok(AcceptedRequest { id, route, channel, message, timeout: target.timeout, keep: target.keep, key, sources })
    }

    fn accepted(&mut self, desk: &mut Desk, key: Key, outcome: Result<Receipt, CloseReason>) {
        if let Err(reason) = &outcome {
            desk.counters().closed[*reason as usize].add(1);
        }
        desk.answer(key, |conn, settings, now| conn.accepted(outcome, settings, now));
    }

    /// A client asks for the state of a request.
    pub(crate) fn look_up(&mut self, desk: &mut Desk, key: Key, id: RequestId, route: RouteId) {
        let from = desk.address(key);
        if desk.post.mesh().is_shard(id.place) {
            desk.send(id.place, Mail::Requests(RequestMail::Read { from, id, route }));
        } else {
            self.told(desk, key, None);
        }
    }

    fn told(&mut self, desk: &mut Desk, key: Key, reading: Option<&Reading>) {
        if reading.is_none() {
            desk.counters().closed[CloseReason::UnknownRequest as usize].add(1);
        }
        desk.answer(key, |conn, settings, now| conn.read(reading, settings, now));
    }

    // --- at the keeper -------------------------------------------------------------------------------------------------

    fn keep(&mut self, desk: &mut Desk, from: Address, request: AcceptedRequest) {
        let id = request.id;
        let outcome = self.kept.accept(request, desk.now);
        if outcome.as_ref().is_ok_and(|receipt| receipt.id == id) {
            desk.counters().requests_accepted.add(1);
        }
        desk.send(from.place, Mail::Requests(RequestMail::Accepted { key: from.key, outcome }));
    }

    fn tell(&mut self, desk: &mut Desk, from: Address, id: RequestId, route: RouteId) {
        let reading = self.kept.read(id, route).map(Box::new);
        desk.send(from.place, Mail::Requests(RequestMail::Told { key: from.key, reading }));
    }

    fn recall(&mut self, desk: &mut Desk, from: Address, id: RequestId, channel: Subject) {
        let message = self.kept.old_news(id, &channel).map(|news| Box::new(news_message(desk, news)));
        desk.send(from.place, Mail::Requests(RequestMail::Recalled { key: from.key, channel, message }));
    }

    /// A worker's answer; its headers say whether the request failed.
    pub(crate) fn answer(&mut self, desk: &mut Desk, publish: &Publish) {
        let message = &publish.message;
        let Some(id) = subjects::request_id(&message.subject) else { return desk.tell_nobody_there(publish) };
        let answer = WorkerAnswer {
            // Any status other than "done" is a failure.
            has_failed: message.header(STATUS_HEADER).is_some_and(|status| status != Status::Done.name()),
            content_type: message.header("Content-Type"),
            body: &message.payload,
        };
        let outcome = self.kept.answer(id, answer, desk.now);
        let counter = match outcome {
            Ok(Status::Failed) => &desk.counters().requests_failed,
            Ok(_) => &desk.counters().requests_done,
            Err(Dropped::Twice) => &desk.counters().answers_twice,
            Err(Dropped::Late) => &desk.counters().answers_late,
            Err(Dropped::Unknown) => &desk.counters().answers_unknown,
        };
        counter.add(1);
        match outcome {
            Ok(_) => {}
            Err(Dropped::Twice) => duplicate(message).into_iter().for_each(|outcome| desk.publish(outcome)),
            Err(Dropped::Late | Dropped::Unknown) => desk.tell_nobody_there(publish),
        }
    }

    fn hand(&mut self, desk: &mut Desk, hand: Hand) {
        let Hand { id, worker, message } = hand;
        let mail = if desk.post.mesh().is_shard(worker.place) {
            Mail::Requests(RequestMail::Hand { from: desk.place, id, worker, message })
        } else {
            // An in-process worker reports its end with `Resign`.
            Mail::Deliver(Box::new(Publish::new(message, None).to_workers(false)))
        };
        desk.send(worker.place, mail);
    }

    /// The connection of a worker has ended: its requests go to other workers.
    fn gone(&mut self, desk: &mut Desk, worker: Address) {
        let orphans = self.kept.gone(worker);
        desk.counters().requests_orphaned.add(orphans as u64);
    }

    // --- to workers ----------------------------------------------------------------------------------------------------

    /// Delivers a request to a worker of this shard; `from` is the keeper.
    fn handed(&mut self, desk: &mut Desk, from: Place, id: RequestId, worker: Member, message: Arc<Message>) {
        let Some(subscriber) = desk.subscribers.subscriber(worker.sub) else {
            let worker = Address { place: worker.place, key: worker.key };
            return desk.send(from, Mail::Requests(RequestMail::Missed { id, worker }));
        };
        self.keepers.entry(subscriber.key).or_default().insert(from);
        desk.push_to(subscriber.key, subscriber.tag, &Rc::new(Event::new(message, None)));
    }
}

impl Feature for Requests {
    /// If the channel is named after a request, its result may have been published before the client joined.
    fn channel_joined(&mut self, desk: &mut Desk, key: Key, channel: &Subject, since: Option<Since>) {
        let Some(id) = RequestId::in_subject(channel.as_str()) else { return };
        // A client that gets the kept messages of the channel gets the result among them.
        let gets_kept = matches!(since, Some(Since::After(_) | Since::AfterOffset(_) | Since::Beginning))
            && desk.settings.generation.channels.of(channel).history.is_some();
        if !gets_kept {
            self.recalls.begin(desk, key, id, channel.clone());
        }
    }

    /// The shards that handed requests to this connection give them to other workers.
    fn connection_ended(&mut self, desk: &mut Desk, key: Key) {
        let Some(keepers) = self.keepers.remove(&key) else { return };
        shrink(&mut self.keepers, limits::ENTRIES_KEPT);
        let worker = desk.address(key);
        for keeper in keepers.iter() {
            desk.send(keeper, Mail::Requests(RequestMail::Gone { worker }));
        }
    }

    /// Requests that wait for a worker are tried again.
    fn worker_subscribed(&mut self, _desk: &mut Desk, _membership: &Membership) {
        self.kept.stir();
    }

    /// An in-process worker unsubscribes only when it ends. The end of any other worker is reported by `Gone`.
    fn worker_unsubscribed(&mut self, desk: &mut Desk, membership: &Membership) {
        let Member { place, key, .. } = membership.member;
        if !desk.post.mesh().is_shard(place) {
            self.gone(desk, Address { place, key });
        }
    }

    const PIECES_PER_TURN: usize = limits::REQUESTS_PER_TURN;

    /// Ends what is due, then publishes a result, or hands on a waiting request.
    fn work(&mut self, desk: &mut Desk) -> bool {
        let expired = self.kept.expire(desk.now);
        if expired > 0 {
            desk.counters().requests_expired.add(expired as u64);
        }
        if desk.post.is_crowded() {
            return false;
        }
        if let Some(news) = self.kept.next_news() {
            let message = news_message(desk, news);
            desk.publish(message);
        } else if let Some(hand) = self.kept.next_hand(&desk.directory) {
            self.hand(desk, hand);
        } else {
            return false;
        }
        true
    }

    fn deadline(&self, now: Tick, is_crowded: bool) -> Tick {
        if self.kept.has_work() && !is_crowded { now } else { self.kept.deadline() }
    }

    fn measure(&self, counters: &Counters) {
        counters.requests_pending.set(self.kept.pending() as u64);
        counters.requests_kept.set(self.kept.len() as u64);
        counters.requests_bytes.set(self.kept.bytes() as u64);
        counters.requests_unkept.set(self.kept.unkept());
    }

    fn count(&self, census: &mut Census) {
        census.requests = self.kept.len();
        census.keepers = self.keepers.len();
        census.recalls = self.recalls.len();
    }
}

/// The message that the channel of a request gets when the request ends.
fn news_message(desk: &Desk, news: News) -> Message {
    let News { id, route, channel, status, document } = news;
    let event = accept_route(&desk.settings.generation.routes[route]).map_or("", |(_, target)| &target.event);
    let headers = Some(accept::event_headers(event, id, status));
    Message::new(channel, None, headers, document)
}

fn accept_route(route: &Route) -> Result<(&Route, &AcceptRoute), CloseReason> {
    match &route.target {
        RouteTarget::Accept(target) => Ok((route, target)),
        _ => Err(CloseReason::NotFound),
    }
}
