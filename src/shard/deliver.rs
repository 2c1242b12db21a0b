//! Messages on their way: publisher -> owner -> places -> connections.
//!
//! ```text
//!  publish --+-- tg.conn.<id>      --> the connection's shard -----------------------> deliver_to_conn
//!            +-- tg.request.<id>   --> the request's keeper ------------------------> requests.answer
//!            +-- tg.service.<s>    --> one worker of each queue group ------------> desk.hand_to_workers
//!            +-- tg.presence.<c>   --> the channel's owner, who answers (`presence`)
//!            +-- tg.revoke         --> every shard (`revocations`)
//!            +-- tg.reply.<id>     --> the shard of the request, which is answered (`operations`)
//!            +-- tg.event.<e>      --> the same, if the gateway itself says it
//!            '-- everything else --+--> workers, all known here, as in a line (`lines`) -> desk.hand_to_workers
//!                                  '--> owner: log --> appended --> clients' places --------> deliver
//! ```

use std::rc::Rc;

use crate::base::{Address, Key, mix};
use crate::conn::ends;
use crate::hub::{Appended, PlaceSet, Recipients, Repetition, owner_of_message};
use crate::limits;
use crate::mesh::order::OrderMail;
use crate::mesh::{Audience, Delivery, Mail, Publish, Reach, ReportTo};
use crate::proto::bus;
use crate::proto::event::{Event, Message, Position};
use crate::proto::reserved::destination::{Destination, Expects};
use crate::proto::reserved::subjects::{self, ConnectionCommand};
use crate::proto::subject::Subject;

use super::Core;
use super::desk::Desk;
use super::operations;

/// A publication whose message the log of its channel has been given: all that is needed once the log has answered.
///
/// [`Core::appended`] takes it, with the answer and the places that subscribe then, and relies on nothing of the moment of the
/// append: it borrows nothing from there, reads the time of its own moment, and sends all letters that follow from a publication.
/// The log in memory answers within the call. Two places rely on that, and must change for a log that answers later:
///
/// - [`Core::publish_owned`] hands a message to the workers if `publish_here` says that it is taken. To wait for the answer, the
///   message is queued in the publisher's line and named in `verdict`, as for a channel of another shard.
/// - A mark (`order::barrier`) finds every publication before it appended, and passed on. It would have to wait for those that
///   are not answered yet.
struct Ticket {
    publish: Publish,
    /// The publisher that is told, by this number, whether the message is taken. Its line holds the message for workers
    /// until then.
    verdict: Option<(Address, u32)>,
}

impl Core {
    /// Sends a message where its subject leads. The publisher's shard sends to workers, so each worker gets the
    /// messages of one publisher in order, over all subjects. The owner sends to clients, in the order of the channel.
    pub(super) fn publish(&mut self, publish: Publish) {
        match publish.message.destination() {
            Destination::Conn { id, .. } | Destination::Reply(id) if id.place() == self.desk.place => {
                self.deliver_to_conn(id.key(), publish)
            }
            Destination::Conn { id, .. } | Destination::Reply(id) if self.desk.post.mesh().is_shard(id.place()) => {
                self.desk.send_on(publish.from, id.place(), Mail::ToConn { key: id.key(), publish: Box::new(publish) });
            }
            Destination::Request(place) if place == self.desk.place => {
                self.features.requests.answer(&mut self.desk, &publish)
            }
            Destination::Decision(place) if place == self.desk.place => {
                self.features.asking.answer(&mut self.desk, &publish)
            }
            Destination::Request(place) | Destination::Decision(place) if self.desk.post.mesh().is_shard(place) => {
                self.desk.send_on(publish.from, place, Mail::Publish(Box::new(publish)));
            }
            Destination::Conn { .. }
            | Destination::Reply(_)
            | Destination::Request(_)
            | Destination::Decision(_)
            | Destination::Authorize
            | Destination::Nowhere
            | Destination::Unknown => self.desk.tell_nobody_there(&publish),
            Destination::Service => {
                let mut recipients = Recipients::default();
                let draw = publish.from.map_or_else(|| self.desk.directory.draw(), |from| mix(from.address.to_bits()));
                let subject = publish.message.subject.as_str();
                self.desk.directory.collect(subject, draw, &[], publish.except(), &mut recipients);
                self.features.order.give_to_workers(&mut self.desk, publish, recipients);
            }
            Destination::Event(_) if publish.from.is_some() => self.desk.tell_nobody_there(&publish),
            Destination::Presence => self.features.presence.answer_worker(&mut self.desk, publish),
            Destination::Revoke => self.features.revocations.revoke_for_worker(&mut self.desk, &publish.message),
            Destination::Event(_) | Destination::User { .. } | Destination::Channel | Destination::Inbox => {
                self.publish_owned(publish)
            }
        }
    }

    /// Workers get the message from here, clients from the owner.
    pub(super) fn publish_owned(&mut self, mut publish: Publish) {
        let destination = publish.message.destination();
        let workers = self.desk.directory.workers(&publish.message.subject, publish.except());
        let mut for_clients = Publish::new(publish.message.clone(), publish.from);
        if let Some(from) = &mut publish.from {
            // Connections are counted, not workers.
            from.wants_reach = false;
        }
        match &mut for_clients.from {
            // An inbox has no client subscribers and no positions.
            from if destination == Destination::Inbox && from.is_none_or(|from| from.wants_position.is_none()) => {
                return self.features.order.give_to_workers(&mut self.desk, publish, workers);
            }
            // A worker responds, so the publisher is not told of missing responders. A message to a user is different:
            // it asks the user's clients.
            Some(from) if !workers.is_empty() && destination.is_of_applications() => from.wants_no_responders = false,
            _ => {}
        }
        let owner = owner_of_message(&publish.message, self.desk.post.mesh().shards());
        if owner == self.desk.place {
            if self.publish_here(Ticket { publish: for_clients, verdict: None }) && !workers.is_empty() {
                self.features.order.give_to_workers(&mut self.desk, publish, workers);
            }
            return;
        }
        let waits = !workers.is_empty() && self.desk.engine.may_be_repetition(&publish.message);
        let publisher = publish.from.filter(|from| waits && from.address.place == self.desk.place);
        if let Some(from) = publisher {
            let number = self.features.order.await_verdict(&mut self.desk, from, publish, workers);
            for_clients.reach = Reach::ClientsFirst(number);
        } else if !workers.is_empty() {
            self.features.order.give_to_workers(&mut self.desk, publish, workers);
        }
        self.desk.meter.cause(limits::LETTER_UNITS);
        self.desk.send_on(for_clients.from, owner, Mail::Publish(Box::new(for_clients)));
    }

    /// A publication of another shard, for a subject that this shard owns.
    pub(super) fn publish_for_another(&mut self, publish: Publish) {
        match publish.message.destination() {
            Destination::Channel | Destination::Inbox | Destination::User { .. } => match publish.reach {
                Reach::All => self.publish_owned(publish),
                Reach::Clients | Reach::ClientsFirst(_) => self.publish_for_clients(publish),
            },
            Destination::Event(_) => self.publish_for_clients(publish),
            Destination::Request(place) if place == self.desk.place => {
                self.features.requests.answer(&mut self.desk, &publish)
            }
            Destination::Decision(place) if place == self.desk.place => {
                self.features.asking.answer(&mut self.desk, &publish)
            }
            Destination::Presence => self.features.presence.answer_worker(&mut self.desk, publish),
            Destination::Reply(_) | Destination::Revoke => self.publish(publish),
            _ => self.desk.tell_nobody_there(&publish),
        }
    }

    fn publish_for_clients(&mut self, publish: Publish) {
        let verdict = match (publish.from, publish.reach) {
            (Some(from), Reach::ClientsFirst(number)) => Some((from.address, number)),
            _ => None,
        };
        self.publish_here(Ticket { publish, verdict });
    }

    /// The owner's part: gives the message to the log of the channel, which answers at once (see [`Ticket`]). False if the
    /// message is a repetition.
    fn publish_here(&mut self, ticket: Ticket) -> bool {
        let mut places = PlaceSet::default();
        let message = &ticket.publish.message;
        let appended = match message.destination().expects() {
            // Questions and messages to acknowledge have no positions; their features look up the places themselves.
            Expects::Answer | Expects::Acknowledgement => Appended::Taken(None),
            Expects::Nothing | Expects::Outcome => self.desk.engine.publish(message, self.desk.now, &mut places),
        };
        self.appended(ticket, appended, &places)
    }

    /// The log has answered (the one in memory answers at once) and the subscribed places are known. Every effect of a
    /// publication begins here. A repetition reaches no subscriber.
    #[inline]
    fn appended(&mut self, ticket: Ticket, appended: Appended, places: &PlaceSet) -> bool {
        let Ticket { publish, verdict } = ticket;
        match appended {
            Appended::Taken(position @ Some(_)) => self.give_to_clients(publish, position, places),
            Appended::Taken(None) => match publish.message.destination().expects() {
                Expects::Answer => self.features.questions.ask_user(&mut self.desk, publish),
                Expects::Acknowledgement => self.features.acks.keep_for_user(&mut self.desk, publish),
                Expects::Outcome if !places.is_empty() => self.command_user(publish, places),
                Expects::Outcome | Expects::Nothing => self.give_to_clients(publish, None, places),
            },
            Appended::Repetition(repetition) => repeated(&mut self.desk, &publish, repetition),
        }
        let is_taken = matches!(appended, Appended::Taken(_));
        if let Some((Address { place, key }, number)) = verdict {
            self.desk.send(place, Mail::Order(OrderMail::Verdict { key, number, is_taken }));
        }
        is_taken
    }

    /// Delivers to clients on all shards, and tells the publisher what it wanted to know.
    pub(super) fn give_to_clients(&mut self, publish: Publish, position: Option<Position>, places: &PlaceSet) {
        if places.is_empty() {
            self.desk.tell_nobody_there(&publish);
        }
        if let Some((from, number)) = publish.from.and_then(|from| Some((from, from.wants_position?))) {
            self.desk.tell_published(from, number, position);
        }
        let own = self.desk.place;
        let asker = match publish.from {
            Some(from) if from.wants_reach => Some(ReportTo::Count { publisher: from.address, of: places.len() }),
            _ => publish.asker().filter(|_| places.is_one()).map(ReportTo::IfNone),
        };
        for place in places.iter().filter(|place| *place != own) {
            let delivery = Delivery { asker, ..publish.to_clients(position) };
            self.desk.meter.cause(limits::LETTER_UNITS);
            self.desk.send_on(publish.from, place, Mail::Deliver(Box::new(delivery)));
        }
        if places.contains(own) {
            let except = publish.except();
            operations::tell_reach(&mut self.desk, asker, &publish.message.listened());
            self.deliver(&Rc::new(Event::new(publish.message, position)), Audience::Clients, except);
        }
    }

    /// A letter of another shard.
    pub(super) fn delivered(&mut self, delivery: Delivery) {
        let Delivery { message, position, audience, except, asker, .. } = delivery;
        // A command may end them.
        operations::tell_reach(&mut self.desk, asker, &message.listened());
        let event = Rc::new(Event::new(message, position));
        let count = self.deliver(&event, audience, except);
        // A client that is slow, or receives a replay, gets the message later.
        let is_missed = |subject| audience == Audience::Workers || !self.desk.subscribers.has_clients(subject);
        if let (0, Some(ReportTo::IfNone(asker)), Some(reply)) = (count, asker, &event.message.reply)
            && is_missed(&event.message.subject)
        {
            self.desk.tell_no_responders(asker, reply);
        }
    }

    /// Delivers to the subscribers of this shard, and returns the number of those that were sent the message at once. A
    /// command is not sent to clients: their connections obey it, and the result is their number.
    fn deliver(&mut self, event: &Rc<Event>, audience: Audience, except: Option<Address>) -> u64 {
        if audience == Audience::Clients {
            if let Destination::User { command: Some(command), .. } = event.message.destination() {
                return self.obey_all(command, &event.message);
            }
            self.features.requests.recalls.forget(&self.desk, &event.message.subject);
        }
        self.desk.fan_out(event, audience, except)
    }

    /// Delivers to one connection, or tells the publisher that it is gone. An id of another node names none here.
    pub(super) fn deliver_to_conn(&mut self, key: Key, publish: Publish) {
        let own = self.desk.settings.process.node;
        let is_there = self.desk.slots.get(key).is_some_and(|conn| conn.session.is_client());
        match publish.message.destination() {
            // A server serves it: of the gateway it takes no more than its end.
            Destination::Conn { id, command: Some(command @ ConnectionCommand::Close), .. }
                if id.node() == own && self.desk.slots.get(key).is_some_and(|conn| ends::is_client(&conn.session)) =>
            {
                self.command_conn(key, command, &publish.message);
            }
            Destination::Conn { id, command, expects } if is_there && id.node() == own => match (command, expects) {
                (Some(command), _) => self.command_conn(key, command, &publish.message),
                (None, Expects::Answer) => self.features.questions.ask_conn(&mut self.desk, key, publish),
                (None, Expects::Acknowledgement) => self.features.acks.keep_for_conn(&mut self.desk, key, publish),
                (None, Expects::Nothing | Expects::Outcome) => {
                    operations::tell_reached(&mut self.desk, &publish, 1);
                    self.desk.push_to(key, 0, &Rc::new(Event::new(publish.message, None)));
                }
            },
            Destination::Reply(id) if id.node() == own => {
                operations::answer(&mut self.desk, key, Some(&publish.message))
            }
            _ => self.desk.tell_nobody_there(&publish),
        }
    }

    /// Tells the connection `key` that its message reached no worker or subscriber. `reply` is the subject at which it
    /// waits for the answer.
    pub(super) fn no_responders(&mut self, key: Key, reply: &Subject) {
        if let Some(serial) = subjects::call_serial(reply)
            && self.features.services.refuse_call(&mut self.desk, key, serial)
        {
            return;
        }
        if subjects::is_reply(reply.as_str()) {
            return operations::answer(&mut self.desk, key, None);
        }
        self.desk.no_responders(key, reply);
    }
}

/// Tells the publisher of a repetition the position of the original, and a requester that the request is not sent
/// twice.
fn repeated(desk: &mut Desk, publish: &Publish, repetition: Repetition) {
    let Repetition { rule, loss, position } = repetition;
    desk.counters().lost(rule, loss).add(1);
    if let Some((from, number)) = publish.from.and_then(|from| Some((from, from.wants_position?))) {
        desk.tell_published(from, number, Some(position));
    }
    duplicate(&publish.message).into_iter().for_each(|outcome| desk.publish(outcome));
}

/// The status for a requester whose message is a repetition: the original is being answered, or has been answered.
pub(super) fn duplicate(message: &Message) -> Option<Message> {
    Some(Message::of_status(message.requester()?.clone(), bus::DUPLICATE))
}
