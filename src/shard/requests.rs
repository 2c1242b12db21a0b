//! Accepted requests on their way: client -> keeper -> worker -> keeper -> those who wait for the result.
//!
//! ```text
//!  accept --+--> keep_request: the receipt goes back, the request waits
//!           |         '--> forward_requests --hand--> handed --> a worker
//!           |                    ^    '--news--> publish on the request's channel
//!           |       answer_request, missed, worker_gone
//!  read ----'--> tell_request --> told
//!  recall --> recall_request --> recalled: the result, for who came to its channel too late
//! ```
//!
//! What is told only changes the state of `hub::requests`; the mail that follows from it is made once a turn, and only while
//! there is room for it (TELLS ARE TERMINAL, nothing is unbounded).

use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Address, Key, Place, RequestId};
use crate::conn::TAG_ADDED;
use crate::conn::accept::{self, Asked};
use crate::conn::route::{AcceptTarget, Route, Target};
use crate::hub::requests::{Answer, Dropped, Hand, IdempotencyKey, News, Request};
use crate::hub::{self, Member, Membership};
use crate::limits;
use crate::mesh::{Mail, Publish};
use crate::proto::CloseReason;
use crate::proto::event::{Event, Message};
use crate::proto::replay::Since;
use crate::proto::request::{Reading, Receipt, Status};
use crate::proto::subject::Subject;

use super::Core;
use super::deliver::duplicate;

impl Core {
    // --- from clients ------------------------------------------------------------------------------------------------

    /// A client's whole request: to the shard that will keep it.
    pub(super) fn accept(&mut self, key: Key, asked: Asked) {
        self.desk.counters().received.add(1);
        let from = self.desk.address(key);
        match self.request(asked) {
            Ok(request) => {
                self.desk.send(request.id.place, Mail::Accept { from, request: Box::new(request) });
                self.desk.park_if_crowded(key);
            }
            Err(reason) => self.accepted_request(key, Err(reason)),
        }
    }

    fn request(&mut self, asked: Asked) -> Result<Request, CloseReason> {
        let idempotency = asked.idempotency();
        // Whoever may come again has to find the same keeper, from whatever shard.
        let keeper = idempotency
            .as_ref()
            .map_or(self.desk.place, |(name, _)| hub::owner_of(name, self.desk.post.mesh().shards()));
        let id = self.ids.draw(keeper);
        let route = asked.route;
        let (own, target) = accept_route(&self.desk.settings.routes[route as usize])?;
        let channel = asked.channel(own, target, id)?;
        let message = asked.message(own, target, id, &channel).into();
        let key = idempotency.map(|(name, fingerprint)| IdempotencyKey { name: name.into(), fingerprint });
        Ok(Request { id, route, channel, message, timeout: target.timeout, keep: target.keep, key })
    }

    pub(super) fn keep_request(&mut self, from: Address, request: Request) {
        let id = request.id;
        let outcome = self.requests.accept(request, self.desk.now);
        if outcome.as_ref().is_ok_and(|receipt| receipt.id == id) {
            self.desk.counters().requests_accepted.add(1);
        }
        self.desk.send(from.place, Mail::Accepted { key: from.key, outcome });
    }

    pub(super) fn accepted_request(&mut self, key: Key, outcome: Result<Receipt, CloseReason>) {
        if let Err(reason) = &outcome {
            self.desk.counters().closed[*reason as usize].add(1);
        }
        self.desk.answer(key, |conn, settings, now| conn.accepted(outcome, settings, now));
    }

    /// A client asks what became of a request.
    pub(super) fn read_request(&mut self, key: Key, id: RequestId, route: u16) {
        let from = self.desk.address(key);
        if self.desk.post.mesh().is_shard(id.place) {
            self.desk.send(id.place, Mail::Read { from, id, route });
            self.desk.park_if_crowded(key);
        } else {
            self.told(key, None);
        }
    }

    pub(super) fn tell_request(&mut self, from: Address, id: RequestId, route: u16) {
        let reading = self.requests.read(id, route);
        self.desk.send(from.place, Mail::Told { key: from.key, reading: reading.map(Box::new) });
    }

    pub(super) fn told(&mut self, key: Key, reading: Option<&Reading>) {
        if reading.is_none() {
            self.desk.counters().closed[CloseReason::UnknownRequest as usize].add(1);
        }
        self.desk.answer(key, |conn, settings, now| conn.read(reading, settings, now));
    }

    // --- to workers and channels ---------------------------------------------------------------------------------------

    /// Hands on what waits, and tells what is over: as much as fits.
    pub(super) fn forward_requests(&mut self) {
        for _ in 0..limits::REQUESTS_PER_TURN {
            if self.desk.post.is_crowded() {
                return;
            }
            if let Some(news) = self.requests.next_news() {
                self.publish_news(news);
            } else if let Some(hand) = self.requests.next_hand(&self.desk.directory) {
                self.hand(hand);
            } else {
                return;
            }
        }
    }

    fn publish_news(&mut self, news: News) {
        let message = self.news_message(news);
        self.publish(Publish::new(message, None));
    }

    fn news_message(&self, news: News) -> Message {
        let News { id, route, channel, status, document } = news;
        let event = accept_route(&self.desk.settings.routes[route as usize]).map_or("", |(_, target)| &target.event);
        let headers = Some(accept::event_headers(event, id, status));
        Message { subject: channel, reply: None, headers, payload: document }
    }

    fn hand(&mut self, hand: Hand) {
        let Hand { id, worker, message } = hand;
        if self.desk.post.mesh().is_shard(worker.place) {
            let mail = Mail::Hand { from: self.desk.place, id, worker, message };
            self.desk.send(worker.place, mail);
        } else {
            // An in-process worker has its end said by `Resign`.
            let delivery = Publish::new(message, None).to_workers(false);
            self.desk.send(worker.place, Mail::Deliver(Box::new(delivery)));
        }
    }

    /// A request for a worker of this shard; `from` keeps it.
    pub(super) fn handed(&mut self, from: Place, id: RequestId, worker: Member, message: Arc<Message>) {
        let Some(listener) = self.desk.subscribers.listener(worker.sub) else {
            let worker = Address { place: worker.place, key: worker.key };
            return self.desk.send(from, Mail::Missed { id, worker });
        };
        // First of all: being handed too much may end the worker, and then its keepers are told.
        self.keepers.entry(listener.key).or_default().insert(from);
        self.desk.push_to(listener.key, listener.tag, &Rc::new(Event::new(message, None)));
    }

    /// A connection ends: whoever has handed it requests gives them to others.
    pub(super) fn tell_keepers(&mut self, key: Key) {
        let Some(keepers) = self.keepers.remove(&key) else { return };
        let worker = self.desk.address(key);
        for keeper in keepers.iter() {
            self.desk.send(keeper, Mail::Gone { worker });
        }
    }

    pub(super) fn worker_gone(&mut self, worker: Address) {
        let orphans = self.requests.gone(worker);
        self.desk.counters().requests_orphaned.add(orphans as u64);
    }

    /// Somebody elsewhere does not listen any more. In-process workers resign at their end alone.
    pub(super) fn resigned(&mut self, membership: &Membership) {
        self.forget_member(membership);
        let Member { place, key, .. } = membership.member;
        if !self.desk.post.mesh().is_shard(place) {
            self.worker_gone(Address { place, key });
        }
    }

    // --- to those who come later -----------------------------------------------------------------------------------------

    /// A client has come to a channel: if that is named after a request, the result may have been there before it.
    ///
    /// The keeper owns such a channel (`hub::owner_of`), so what it says about it stays in order: a result that it publishes
    /// after it has been asked comes by itself, one that it had published before is recalled, and none comes twice.
    pub(super) fn recall(&mut self, key: Key, channel: Subject, since: Option<Since>) {
        let Some(id) = RequestId::in_subject(channel.as_str()) else { return };
        // Whoever gets what is kept of the channel gets it from there.
        if matches!(since, Some(Since::After(_) | Since::AfterOffset(_) | Since::Beginning))
            && self.desk.settings.channels.of(&channel).history.is_some()
        {
            return;
        }
        if self.desk.post.mesh().is_shard(id.place) {
            let from = self.desk.address(key);
            self.recalls.insert((key, channel.clone()));
            self.desk.send(id.place, Mail::Recall { from, id, channel });
        }
    }

    pub(super) fn recall_request(&mut self, from: Address, id: RequestId, channel: Subject) {
        let message = self.requests.old_news(id, &channel).map(|news| Box::new(self.news_message(news)));
        self.desk.send(from.place, Mail::Recalled { key: from.key, channel, message });
    }

    pub(super) fn recalled(&mut self, key: Key, channel: Subject, message: Option<Message>) {
        if self.recalls.remove(&(key, channel)) {
            self.push_recalled(key, message);
        }
    }

    fn push_recalled(&mut self, key: Key, message: Option<Message>) {
        let (Some(message), Some(conn)) = (message, self.desk.slots.get(key)) else { return };
        let before = conn.outbox.mark();
        self.desk.push_to(key, TAG_ADDED, &Rc::new(Event::new(message, None)));
        if let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.ended().is_none()) {
            conn.outbox.answered(before);
        }
    }

    /// What all who listen get now, they have not missed.
    pub(super) fn forget_recalls(&mut self, channel: &Subject) {
        let Core { desk, recalls, .. } = self;
        if !recalls.is_empty() {
            desk.subscribers.for_each(channel, |listener, _| _ = recalls.remove(&(listener.key, channel.clone())));
        }
    }

    // --- from workers ------------------------------------------------------------------------------------------------

    /// A worker's answer; its headers say whether it has failed.
    pub(super) fn answer_request(&mut self, id: RequestId, publish: &Publish) {
        let message = &publish.message;
        let answer = Answer {
            // Whatever a worker says that is not "done" is no success.
            has_failed: message.header("Tg-Status").is_some_and(|status| status != Status::Done.name()),
            content_type: message.header("Content-Type"),
            body: &message.payload,
        };
        let outcome = self.requests.answer(id, answer, self.desk.now);
        let counter = match outcome {
            Ok(Status::Failed) => &self.desk.counters().requests_failed,
            Ok(_) => &self.desk.counters().requests_done,
            Err(Dropped::Twice) => &self.desk.counters().answers_twice,
            Err(Dropped::Late) => &self.desk.counters().answers_late,
            Err(Dropped::Unknown) => &self.desk.counters().answers_unknown,
        };
        counter.add(1);
        match outcome {
            Ok(_) => {}
            Err(Dropped::Twice) => duplicate(message).into_iter().for_each(|outcome| self.desk.publish(outcome)),
            Err(Dropped::Late | Dropped::Unknown) => self.desk.tell_nobody_there(publish),
        }
    }

    pub(super) fn expire_requests(&mut self) {
        let expired = self.requests.expire(self.desk.now);
        self.desk.counters().requests_expired.add(expired as u64);
    }
}

fn accept_route(route: &Route) -> Result<(&Route, &AcceptTarget), CloseReason> {
    match &route.target {
        Target::Accept(target) => Ok((route, target)),
        _ => Err(CloseReason::NotFound),
    }
}
