//! Messages that clients have to acknowledge, from the worker to the outcome.
//!
//! ```text
//!  worker --> home --Unacked--> offer, at each place with listeners --> clients that can acknowledge: again and again
//!              | ^ ^               |                     '-----------> the others, once, as a plain message
//!              | | '---Reached-----'
//!              | |'----Came------------ a connection has opened --CatchUp--> catch_up: what waits for its user
//!              | '-----Ack------------- client_acks
//!              '--> acknowledged, expired: the outcome, a status on the reply subject
//! ```

use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Address, Key};
use crate::hub::unacked::{Demand, Due, End, Refused, Unacked, requester};
use crate::hub::{Destination, PlaceSet};
use crate::limits;
use crate::mesh::{self, Ack, Audience, Delivery, Mail, Publish, Publisher};
use crate::proto::bus::{self, HeaderBlock};
use crate::proto::event::{CONN_HEADER, Event, Message};
use crate::proto::subject::Subject;
use crate::proto::user::User;

use super::Core;

impl Core {
    // --- from workers --------------------------------------------------------------------------------------------------

    /// For a user whose subject this shard owns.
    pub(super) fn keep_for_user(&mut self, user: &Subject, publish: Publish) {
        let Some((id, text)) = self.keep(user.clone(), &publish) else { return };
        let places = self.desk.engine.listening(user);
        self.offer_to(&places, id, user, &text, publish.from, || Some(publish.to_clients(None)));
    }

    /// For one connection of this shard; one that cannot acknowledge gets it as a plain message.
    pub(super) fn keep_for_conn(&mut self, key: Key, publish: Publish) {
        let can_answer = self.desk.can_answer(key);
        if !can_answer {
            self.desk.tell_nobody_there(&publish);
            return self.desk.push_to(key, 0, &Rc::new(Event::new(publish.message, None)));
        }
        let Some(addressee) = self.own_subject(key) else { return };
        if let Some((id, text)) = self.keep(addressee, &publish) {
            self.unacked.reached(id, self.desk.now);
            self.desk.put_control(key, &text);
        }
    }

    fn own_subject(&self, key: Key) -> Option<Subject> {
        Subject::new(&format!("tg.conn.{}", self.desk.address(key))).ok()
    }

    /// The id under which an acknowledgement is waited for, and what clients are told; or the worker hears why not.
    fn keep(&mut self, addressee: Subject, publish: &Publish) -> Option<(u64, Arc<[u8]>)> {
        let message = &publish.message;
        let outcome = Demand::of(message).map(|demand| self.unacked.begin(addressee, message, demand, self.desk.now));
        let why = match outcome {
            Some(Ok(kept)) => return Some(kept),
            Some(Err(Refused::Closed)) => {
                self.desk.tell_nobody_there(publish);
                None
            }
            Some(Err(Refused::Full)) => Some(bus::TOO_MANY),
            None => Some(bus::BAD_REQUEST),
        };
        self.desk.counters().unacked_refused.add(1);
        if let (Some(reply), Some(why)) = (requester(message), why) {
            self.desk.publish(Message::of_status(reply.clone(), why));
        }
        None
    }

    // --- to clients ----------------------------------------------------------------------------------------------------

    fn offer_to(
        &mut self,
        places: &PlaceSet,
        id: u64,
        user: &Subject,
        text: &Arc<[u8]>,
        from: Option<Publisher>,
        delivery: impl Fn() -> Option<Delivery>,
    ) {
        for place in places.iter().filter(|place| self.desk.post.mesh().is_shard(*place)).collect::<Vec<_>>() {
            let (user, text) = (user.clone(), text.clone());
            let unacked = mesh::Unacked { id, home: self.desk.place, user, text, delivery: delivery() };
            self.desk.send_on(from, place, Mail::Unacked(Box::new(unacked)));
        }
    }

    /// To all who listen on this shard.
    pub(super) fn offer(&mut self, unacked: mesh::Unacked) {
        let mesh::Unacked { id, home, user, text, delivery } = unacked;
        let except = delivery.as_ref().and_then(|delivery| delivery.except);
        let mut keys: Vec<Key> = Vec::new();
        self.desk.subscribers.for_each(&user, |listener, _| keys.push(listener.key));
        keys.retain(|key| {
            let can_answer = self.desk.can_answer(*key);
            can_answer && except != Some(self.desk.address(*key))
        });
        if !keys.is_empty() {
            self.desk.send(home, Mail::Reached { id });
        }
        for key in keys {
            match delivery {
                Some(_) => self.desk.put_control(key, &text),
                None => self.put_again(key, &text),
            }
        }
        if let Some(Delivery { message, position, except, .. }) = delivery {
            self.desk.fan_out(&Rc::new(Event::new(message, position)), Audience::Clients, except);
        }
    }

    /// Whoever has not taken what it was sent before gets no more of the same: that may be among it.
    fn put_again(&mut self, key: Key, text: &[u8]) {
        if self.desk.slots.get(key).is_some_and(|conn| conn.outbox.len() <= limits::OUTBOX_BYTES_PAUSE) {
            self.desk.counters().unacked_resent.add(1);
            self.desk.put_control(key, text);
        }
    }

    /// A client has opened: the home of its user hears of it, after it has heard that this shard listens.
    pub(super) fn announce_user(&mut self, key: Key, user: Subject) {
        if !self.desk.can_answer(key) {
            return;
        }
        let from = self.desk.address(key);
        let home = self.desk.owner_of(&user);
        self.desk.send(home, Mail::Came { user, from });
    }

    pub(super) fn came(&mut self, user: &Subject, from: Address) {
        if self.unacked.is_empty() {
            return;
        }
        let waiting = self.unacked.came(user, self.desk.now);
        self.desk.counters().unacked_resent.add(waiting.again);
        if !waiting.texts.is_empty() {
            self.desk.send(from.place, Mail::CatchUp { key: from.key, texts: waiting.texts });
        }
    }

    pub(super) fn catch_up(&mut self, key: Key, texts: &[Arc<[u8]>]) {
        let Some(conn) = self.desk.slots.get(key).filter(|conn| conn.can_answer(&self.desk.settings)) else { return };
        let before = conn.outbox.mark();
        texts.iter().for_each(|text| self.desk.put_control(key, text));
        if let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.ended().is_none()) {
            conn.outbox.answered(before);
        }
    }

    // --- from clients --------------------------------------------------------------------------------------------------

    /// A client acknowledges what its user was sent, on this connection or another; false if that cannot be.
    pub(super) fn client_acks(&mut self, key: Key, id: Option<u64>) -> bool {
        let from = self.desk.address(key);
        let user = self.desk.slots.get(key).and_then(|conn| conn.websocket()?.1.user()).cloned();
        let home = id.map(Unacked::home_of).filter(|home| {
            let subject = user.as_ref().and_then(User::subject);
            let is_users = subject.is_some_and(|subject| self.desk.owner_of(&subject) == *home);
            is_users || *home == self.desk.place
        });
        let (Some(id), Some(home)) = (id, home) else {
            self.desk.counters().acks_stray.add(1);
            return false;
        };
        let ack = Ack { id, from, user };
        self.desk.send(home, Mail::Ack(Box::new(ack)));
        self.desk.park_if_crowded(key);
        true
    }

    /// A connection ends: what was for it alone is over with the next of [`Core::send_again`].
    pub(super) fn leave_unacked(&mut self, key: Key) {
        if let Some(addressee) = self.own_subject(key) {
            self.unacked.leave(&addressee);
        }
    }

    // --- at home -------------------------------------------------------------------------------------------------------

    pub(super) fn acknowledged(&mut self, ack: Ack) {
        let Ack { id, from, user } = ack;
        let Ok(requester) = self.unacked.acknowledged(id, from, user.as_ref().map(User::token)) else {
            return self.desk.counters().acks_stray.add(1);
        };
        self.desk.counters().unacked_acknowledged.add(1);
        let Some(subject) = requester else { return };
        let mut headers = HeaderBlock::with_status(bus::ACKNOWLEDGED);
        headers.push(CONN_HEADER, &from.to_string());
        if let Some(user) = &user {
            user.push_headers(&mut headers);
        }
        let headers = Some(headers.finish());
        self.desk.publish(Message { subject, reply: None, headers, payload: Box::default() });
    }

    /// Sends what nobody has acknowledged yet, and ends what nobody will: as much as fits.
    pub(super) fn send_again(&mut self) {
        for _ in 0..limits::UNACKED_PER_TURN {
            if self.desk.post.is_crowded() {
                return;
            }
            match self.unacked.due(self.desk.now) {
                Some(Due::Again { id, addressee, text }) => self.repeat(id, &addressee, &text),
                Some(Due::Over { end, requester }) => self.expired(end, requester),
                None => return,
            }
        }
    }

    fn repeat(&mut self, id: u64, addressee: &Subject, text: &Arc<[u8]>) {
        if let Destination::Conn(Address { key, .. }) = Destination::of(addressee) {
            self.unacked.reached(id, self.desk.now);
            return self.put_again(key, text);
        }
        let places = self.desk.engine.listening(addressee);
        self.offer_to(&places, id, addressee, text, None, || None);
    }

    fn expired(&mut self, end: End, requester: Option<Subject>) {
        self.desk.counters().unacked_expired.add(1);
        let words = match end {
            End::Expired => bus::TIMEOUT,
            End::Gone => bus::GONE,
            End::Closed => bus::NO_RESPONDERS,
        };
        if let Some(requester) = requester {
            self.desk.publish(Message::of_status(requester, words));
        }
    }
}
