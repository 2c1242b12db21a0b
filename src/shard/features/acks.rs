//! Messages that clients have to acknowledge, from the worker to the outcome.
//!
//! ```text
//!  worker --> home --Offer--> offer, at each place with subscribers --> clients that can acknowledge: again and again
//!              | ^ ^             |                     '-----------> the others, once, as a plain message
//!              | | '--Reached----'
//!              | |'----Came------------ client_came: a connection has opened --CatchUp--> what waits for its user
//!              | '-----Ack------------- client_acks
//!              '--> acknowledged, expired: the outcome, a status on the reply subject
//! ```

use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Address, Key, Tick};
use crate::hub::unacked::{AckFailure, AckTimeout, Demand, DemandRefusal, UnackedBounds};
use crate::hub::{PlaceSet, UnackedMessages};
use crate::limits;
use crate::mesh::acks::{Ack, AckMail, Offer};
use crate::mesh::{Audience, Delivery, Mail, Publish, Publisher};
use crate::proto::bus::{self, HeaderBlock};
use crate::proto::event::{Event, Message};
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::headers::CONN_HEADER;
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;
use crate::proto::user::User;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::Desk;

pub(in crate::shard) struct Acks {
    /// Messages of which this shard is the home.
    unacked: UnackedMessages,
}

impl Acks {
    pub(crate) fn new(parts: &Parts) -> Acks {
        let settings = &parts.settings;
        // Together with other queued messages, these must not make a client slow.
        let client_bytes_max = settings.generation.outbox_bytes_max / 4;
        let bounds = UnackedBounds { client_bytes_max, bytes_max: settings.process.unacked_bytes_max };
        Acks { unacked: UnackedMessages::new(parts.place, bounds, parts.seed) }
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: AckMail) {
        match mail {
            AckMail::Came { user, from } => self.came(desk, &user, from),
            AckMail::Reached { id } => self.unacked.reached(id, desk.now),
            AckMail::Ack(ack) => self.acknowledged(desk, *ack),
            AckMail::Offer(offer) => self.offer(desk, *offer),
            AckMail::CatchUp { key, texts } => self.catch_up(desk, key, &texts),
        }
    }

    // --- from workers --------------------------------------------------------------------------------------------------

    /// Keeps a message to a user whose subject this shard owns.
    pub(crate) fn keep_for_user(&mut self, desk: &mut Desk, publish: Publish) {
        let user = &publish.message.subject;
        let Some((id, text)) = self.keep(desk, user.clone(), &publish) else { return };
        let places = desk.engine.routing().listening(user);
        let (home, delivery) = (desk.place, || Some(publish.to_clients(None)));
        let offer = || Offer { id, home, user: user.clone(), text: text.clone(), delivery: delivery() };
        offer_to(desk, &places, publish.from, offer);
    }

    /// Keeps a message to one connection of this shard. A connection that cannot acknowledge gets it as a plain
    /// message.
    pub(crate) fn keep_for_conn(&mut self, desk: &mut Desk, key: Key, publish: Publish) {
        if !desk.can_answer(key) {
            desk.tell_nobody_there(&publish);
            return desk.push_to(key, 0, &Rc::new(Event::new(publish.message, None)));
        }
        if let Some((id, text)) =
            self.keep(desk, subjects::conn(desk.settings.process.conn_id(desk.address(key))), &publish)
        {
            self.unacked.reached(id, desk.now);
            desk.put_control(key, &text);
        }
    }

    /// Returns the id that acknowledgements name, and the control message for clients; or tells the worker why the
    /// message is refused.
    fn keep(&mut self, desk: &mut Desk, addressee: Subject, publish: &Publish) -> Option<(u64, Arc<[u8]>)> {
        let message = &publish.message;
        let outcome = Demand::of(message).map(|demand| self.unacked.begin(addressee, message, demand, desk.now));
        let why = match outcome {
            Some(Ok(kept)) => return Some(kept),
            Some(Err(DemandRefusal::Closed)) => {
                desk.tell_nobody_there(publish);
                None
            }
            Some(Err(DemandRefusal::Full)) => Some(bus::TOO_MANY),
            None => Some(bus::BAD_REQUEST),
        };
        desk.counters().unacked_refused.add(1);
        if let (Some(reply), Some(why)) = (message.requester(), why) {
            desk.publish(Message::of_status(reply.clone(), why));
        }
        None
    }

    // --- to clients ----------------------------------------------------------------------------------------------------

    /// Offers a message to all subscribers on this shard.
    fn offer(&mut self, desk: &mut Desk, offer: Offer) {
        let Offer { id, home, user, text, delivery } = offer;
        let except = delivery.as_ref().and_then(|delivery| delivery.except);
        let mut keys: Vec<Key> = Vec::new();
        desk.subscribers.for_each(user.as_str(), |subscriber, _| keys.push(subscriber.key));
        keys.retain(|key| desk.can_answer(*key) && except != Some(desk.address(*key)));
        if !keys.is_empty() {
            desk.send(home, Mail::Acks(AckMail::Reached { id }));
        }
        for key in keys {
            match delivery {
                Some(_) => desk.put_control(key, &text),
                None => put_again(desk, key, &text),
            }
        }
        if let Some(Delivery { message, position, except, .. }) = delivery {
            desk.fan_out(&Rc::new(Event::new(message, position)), Audience::Clients, except);
        }
    }

    /// A client has opened. The home of its user is told of it, after it was told that this shard has subscribers.
    pub(crate) fn client_came(&mut self, desk: &mut Desk, key: Key, user: Subject) {
        if desk.can_answer(key) {
            let from = desk.address(key);
            desk.send(desk.owner_of(&user), Mail::Acks(AckMail::Came { user, from }));
        }
    }

    fn came(&mut self, desk: &mut Desk, user: &Subject, from: Address) {
        if self.unacked.is_empty() {
            return;
        }
        let backlog = self.unacked.came(user, desk.now);
        desk.counters().unacked_resent.add(backlog.again);
        if !backlog.texts.is_empty() {
            desk.send(from.place, Mail::Acks(AckMail::CatchUp { key: from.key, texts: backlog.texts }));
        }
    }

    fn catch_up(&mut self, desk: &mut Desk, key: Key, texts: &[Arc<[u8]>]) {
        let Some(conn) = desk.slots.get(key).filter(|conn| conn.session.can_answer(&desk.settings)) else { return };
        let before = conn.link.mark();
        texts.iter().for_each(|text| desk.put_control(key, text));
        if let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) {
            conn.link.answered(before);
        }
    }

    // --- from clients --------------------------------------------------------------------------------------------------

    /// A client acknowledges a message to its user, delivered on this connection or another. False if no such message
    /// can exist.
    pub(crate) fn client_acks(&mut self, desk: &mut Desk, key: Key, id: Option<u64>) -> bool {
        let from = desk.address(key);
        let user = desk.slots.get(key).and_then(|conn| conn.session.websocket()?.1.user()).cloned();
        let home = id.map(UnackedMessages::home_of).filter(|home| {
            let subject = user.as_ref().and_then(User::subject);
            let is_users = subject.is_some_and(|subject| desk.owner_of(&subject) == *home);
            is_users || *home == desk.place
        });
        let (Some(id), Some(home)) = (id, home) else {
            desk.counters().acks_stray.add(1);
            return false;
        };
        let ack = Ack { id, from, user };
        desk.send(home, Mail::Acks(AckMail::Ack(ack.into())));
        true
    }

    // --- at home -------------------------------------------------------------------------------------------------------

    fn acknowledged(&mut self, desk: &mut Desk, ack: Ack) {
        let Ack { id, from, user } = ack;
        let Ok(requester) = self.unacked.acknowledged(id, from, user.as_ref().map(User::token)) else {
            return desk.counters().acks_stray.add(1);
        };
        desk.counters().unacked_acknowledged.add(1);
        let Some(subject) = requester else { return };
        let mut headers = HeaderBlock::with_status(bus::ACKNOWLEDGED);
        headers.push(CONN_HEADER, desk.settings.process.conn_id(from).text().as_str());
        if let Some(user) = &user {
            user.push_headers(&mut headers);
        }
        let headers = Some(headers.finish());
        desk.publish(Message::new(subject, None, headers, Box::default()));
    }

    fn repeat(&mut self, desk: &mut Desk, id: u64, addressee: &Subject, text: &Arc<[u8]>) {
        if let Destination::Conn { id: conn, .. } = Destination::of(addressee) {
            self.unacked.reached(id, desk.now);
            return put_again(desk, conn.key(), text);
        }
        let places = desk.engine.routing().listening(addressee);
        let home = desk.place;
        let offer = || Offer { id, home, user: addressee.clone(), text: text.clone(), delivery: None };
        offer_to(desk, &places, None, offer);
    }

    fn expired(&mut self, desk: &mut Desk, end: AckFailure, requester: Option<Subject>) {
        desk.counters().unacked_expired.add(1);
        let words = match end {
            AckFailure::Expired => bus::TIMEOUT,
            AckFailure::Gone => bus::GONE,
            AckFailure::Closed => bus::NO_RESPONDERS,
        };
        if let Some(requester) = requester {
            desk.publish(Message::of_status(requester, words));
        }
    }
}

impl Feature for Acks {
    /// Messages to this connection alone end with the next pieces of work.
    fn connection_ended(&mut self, desk: &mut Desk, key: Key) {
        if self.unacked.is_empty() {
            return;
        }
        self.unacked.leave(&subjects::conn(desk.settings.process.conn_id(desk.address(key))));
    }

    const PIECES_PER_TURN: usize = limits::UNACKED_PER_TURN;

    /// Resends a message that has not been acknowledged, or ends one that will not be: it has expired, its connection has
    /// ended, or the gateway is draining.
    fn work(&mut self, desk: &mut Desk) -> bool {
        if self.unacked.is_empty() || desk.post.is_crowded() {
            return false;
        }
        match self.unacked.due(desk.now) {
            Some(AckTimeout::Again { id, addressee, text }) => self.repeat(desk, id, &addressee, &text),
            Some(AckTimeout::Over { end, requester }) => self.expired(desk, end, requester),
            None => return false,
        }
        true
    }

    fn deadline(&self, _now: Tick, is_crowded: bool) -> Tick {
        if is_crowded { Tick::NEVER } else { self.unacked.deadline() }
    }

    fn measure(&self, counters: &Counters) {
        counters.unacked.set(self.unacked.len() as u64);
    }

    fn count(&self, census: &mut Census) {
        census.unacked = self.unacked.len();
    }

    /// Tells workers that no acknowledgement will come, while clients are connected that can still send some.
    fn drain(&mut self) {
        self.unacked.close();
    }

    fn owes_workers(&self) -> bool {
        !self.unacked.is_empty()
    }
}

fn offer_to(desk: &mut Desk, places: &PlaceSet, from: Option<Publisher>, offer: impl Fn() -> Offer) {
    for place in places.iter() {
        if desk.post.mesh().is_shard(place) {
            desk.send_on(from, place, Mail::Acks(AckMail::Offer(offer().into())));
        }
    }
}

/// Skips a connection that has not read what it was sent before: the message may be among that.
fn put_again(desk: &mut Desk, key: Key, text: &[u8]) {
    if desk.slots.get(key).is_some_and(|conn| !conn.link.is_full()) {
        desk.counters().unacked_resent.add(1);
        desk.put_control(key, text);
    }
}
