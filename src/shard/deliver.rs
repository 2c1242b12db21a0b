//! Messages on their way: publisher -> owner -> places -> connections.
//!
//! ```text
//!  publish --+-- tg.conn.<id>      --> the connection's shard -----------------------> deliver_to_conn
//!            +-- tg.request.<id>   --> the request's keeper ------------------------> answer_request
//!            +-- tg.service.<s>    --> one worker of each queue group ----------------------> direct
//!            +-- tg.presence.<c>   --> the channel's owner, who answers (`presence`)
//!            +-- tg.event.<e>      --> the same, if the gateway itself says it
//!            '-- everything else   --> owner: position, recipients --> places, members ------> deliver, direct
//! ```

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Address, Key};
use crate::conn::{Pushed, TAG_ADDED};
use crate::hub::questions::is_question;
use crate::hub::unacked::wants_ack;
use crate::hub::{Command, Destination, Listener, Member, Membership, Recipients, Repetition, Seat, SubKey, mix};
use crate::limits;
use crate::mesh::{Delivery, Mail, Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::event::{Event, Message, Position};
use crate::proto::subject::{Pattern, Subject};

use super::{Core, mark_dirty};

impl Core {
    /// Sends a message where its subject leads.
    pub(super) fn publish(&mut self, publish: Publish) {
        match Destination::of(&publish.message.subject) {
            Destination::Conn(address) if address.place == self.place => self.deliver_to_conn(address.key, publish),
            Destination::Conn(address) if self.post.mesh().is_shard(address.place) => {
                self.post.push(address.place, Mail::ToConn { key: address.key, publish: Box::new(publish) });
            }
            Destination::Request(id) if id.place == self.place => self.answer_request(id, &publish),
            Destination::Request(id) if self.post.mesh().is_shard(id.place) => {
                self.post.push(id.place, Mail::Publish(Box::new(publish)));
            }
            Destination::Conn(_) | Destination::Request(_) | Destination::Nowhere => self.tell_nobody_there(&publish),
            Destination::Service => {
                let mut recipients = Recipients::default();
                let draw = publish.from.map_or_else(|| self.hub.directory.draw(), |from| mix(from.address.to_bits()));
                self.hub.directory.collect(publish.message.subject.as_str(), draw, &[], &mut recipients);
                self.distribute(publish, None, &recipients);
            }
            Destination::Event if publish.from.is_some() => self.tell_nobody_there(&publish),
            Destination::Event => {
                let subject = publish.message.subject.clone();
                self.publish_at_owner(&subject, publish);
            }
            Destination::Presence(channel) => self.publish_presence(&channel, publish),
            Destination::Owner(subject) => self.publish_at_owner(&subject, publish),
        }
    }

    pub(super) fn publish_at_owner(&mut self, subject: &Subject, publish: Publish) {
        let owner = self.hub.owner_of(subject.as_str());
        if owner == self.place && is_question(&publish.message) {
            self.ask_user(subject, publish);
        } else if owner == self.place && wants_ack(&publish.message) {
            self.keep_for_user(subject, publish);
        } else if owner == self.place {
            match self.hub.publish(subject, &publish.message, self.now) {
                Ok((position, recipients)) => self.distribute(publish, position, &recipients),
                Err(Repetition { rule, loss, position }) => {
                    self.counters().lost(rule, loss).add(1);
                    // Everybody has what it says: it is where the one before it is.
                    if let Some((from, number)) = publish.from.and_then(|from| Some((from, from.wants_position?))) {
                        self.tell_published(from, number, Some(position));
                    }
                }
            }
        } else {
            self.post.push(owner, Mail::Publish(Box::new(publish)));
        }
    }

    /// To one worker of each group of the client's service, the same as before while it is there. Gives the message back
    /// if there is none.
    pub(super) fn try_service(&mut self, key: Key, message: Arc<Message>) -> Result<(), Arc<Message>> {
        let mut recipients = Recipients::default();
        let preferred = self.sticky.get(&key).map_or(&[][..], |members| members);
        let draw = mix(self.address(key).to_bits());
        self.hub.directory.collect(message.subject.as_str(), draw, preferred, &mut recipients);
        if !recipients.has_addressee {
            return Err(message);
        }
        let is_as_before = recipients.seats.iter().map(|seat| &seat.member).eq(preferred);
        if !is_as_before {
            self.sticky.insert(key, recipients.seats.iter().map(|seat| seat.member).collect());
        }
        self.distribute(Publish { message, from: None }, None, &recipients);
        Ok(())
    }

    /// Hands one message to all who get it, and tells its publisher what it wanted to know.
    pub(super) fn distribute(&mut self, publish: Publish, position: Option<Position>, recipients: &Recipients) {
        if recipients.is_empty() {
            self.tell_nobody_there(&publish);
        }
        if let Some((from, number)) = publish.from.and_then(|from| Some((from, from.wants_position?))) {
            self.tell_published(from, number, position);
        }
        let except = publish.from.filter(|from| from.is_silent).map(|from| from.address);
        let message = publish.message;
        for place in recipients.places.iter().filter(|place| *place != self.place) {
            let delivery = Delivery { message: message.clone(), position, except };
            self.post.push(place, Mail::Deliver(Box::new(delivery)));
        }
        for seat in recipients.seats.iter().filter(|seat| seat.member.place != self.place) {
            let delivery = Box::new(Delivery { message: message.clone(), position, except });
            let mail = Mail::Direct { seat: seat.clone(), delivery, is_second_choice: false };
            self.post.push(seat.member.place, mail);
        }
        let event = Rc::new(Event::new(message, position));
        let own = self.place;
        for seat in recipients.seats.iter().filter(|seat| seat.member.place == own) {
            self.direct(&seat.member, &event);
        }
        if recipients.places.contains(self.place) {
            self.deliver(&event, except);
        }
    }

    /// To everybody of this shard who listens.
    pub(super) fn deliver(&mut self, event: &Rc<Event>, except: Option<Address>) {
        let Ok(command) = Command::of(&event.message.subject) else { return };
        // A command is for the connections of the user, whatever they call themselves; observers see it as a message.
        if let (Some(command), Destination::Owner(user)) = (command, Destination::of(&event.message.subject)) {
            let mut keys: SmallVec<[Key; 4]> = SmallVec::new();
            self.hub.listeners.for_each(&user, |listener, _| keys.push(listener.key));
            for key in keys {
                if self.slots.get(key).is_some_and(|conn| conn.is_client()) {
                    self.obey(key, command, &event.message);
                }
            }
        }
        self.forget_recalls(&event.message.subject);
        // Whoever can answer a question has been asked it, and the same for what is to be acknowledged.
        let is_said = is_question(&event.message) || wants_ack(&event.message);
        let mut ended: SmallVec<[(Key, CloseReason); 4]> = SmallVec::new();
        let mut finished: SmallVec<[SubKey; 4]> = SmallVec::new();
        let mut delivered = 0;
        let Core { hub, slots, settings, work, place, held, counters, .. } = self;
        hub.listeners.for_each(&event.message.subject, |listener, number| {
            let Listener { key, tag } = listener;
            let Some(conn) = slots.get_mut(key) else { return };
            if except == Some(Address { place: *place, key }) || is_said && conn.can_answer(settings) {
                return;
            }
            let pushed = if conn.is_idle() {
                Pushed::Framed(conn.push_event(tag, event))
            } else {
                conn.push_behind(key, tag, event, settings.channels.rule(number), held, settings)
            };
            match pushed {
                Pushed::Framed(last) => {
                    delivered += 1;
                    if let Some(sub) = last {
                        finished.push(sub);
                    }
                }
                _ => counters[place.index()].count_lost(number, pushed),
            }
            if pushed == Pushed::TooSlow {
                return ended.push((key, CloseReason::SlowConsumer));
            }
            mark_dirty(key, conn, &mut work.dirty);
        });
        self.counters().delivered.add(delivered);
        finished.into_iter().for_each(|sub| self.withdraw(sub));
        ended.into_iter().for_each(|(key, reason)| self.end(key, reason));
    }

    /// A message for one member of a queue group. It may have left while the message was on its way.
    pub(super) fn seated(&mut self, seat: Seat, delivery: Delivery, is_second_choice: bool) {
        let is_there = self.hub.listeners.listener(seat.member.sub).is_some();
        let seat = if is_there || is_second_choice {
            Some(seat)
        } else {
            self.hub.directory.replace(delivery.message.subject.as_str(), &seat.queue)
        };
        let Some(seat) = seat else { return };
        if seat.member.place == self.place {
            self.direct(&seat.member, &Rc::new(Event::new(delivery.message, delivery.position)));
        } else {
            let mail = Mail::Direct { seat: seat.clone(), delivery: Box::new(delivery), is_second_choice: true };
            self.post.push(seat.member.place, mail);
        }
    }

    /// To one member of a queue group, if it is still there.
    fn direct(&mut self, member: &Member, event: &Rc<Event>) {
        let Some(listener) = self.hub.listeners.listener(member.sub) else { return };
        self.push_to(listener.key, listener.tag, event);
    }

    /// To one connection, or its publisher hears that it is gone.
    pub(super) fn deliver_to_conn(&mut self, key: Key, publish: Publish) {
        let is_there = self.slots.get(key).is_some_and(|conn| conn.is_client());
        let Ok(command) = Command::of(&publish.message.subject) else { return self.tell_nobody_there(&publish) };
        if !is_there {
            return self.tell_nobody_there(&publish);
        }
        match command {
            Some(command) => self.obey(key, command, &publish.message),
            None if is_question(&publish.message) => self.ask_conn(key, publish),
            None if wants_ack(&publish.message) => self.keep_for_conn(key, publish),
            None => self.push_to(key, 0, &Rc::new(Event::new(publish.message, None))),
        }
    }

    /// What is for one connection alone has no channel, hence no channel's rule.
    pub(super) fn push_to(&mut self, key: Key, tag: u32, event: &Rc<Event>) {
        let Core { slots, held, settings, .. } = self;
        let Some(conn) = slots.get_mut(key) else { return };
        let number = settings.channels.fallback();
        let pushed = conn.push_behind(key, tag, event, settings.channels.rule(number), held, settings);
        match pushed {
            Pushed::Framed(last) => {
                self.counters().delivered.add(1);
                self.mark_dirty(key);
                last.into_iter().for_each(|sub| self.withdraw(sub));
            }
            _ => {
                self.counters().count_lost(number, pushed);
                self.end(key, CloseReason::SlowConsumer);
            }
        }
    }

    /// Does to a client what a worker commands; the payload names the channel.
    fn obey(&mut self, key: Key, command: Command, message: &Message) {
        let channel = std::str::from_utf8(&message.payload)
            .ok()
            .and_then(|name| Subject::new(name).ok())
            .filter(|subject| !subject.is_reserved());
        match (command, channel) {
            (Command::Close, _) => self.end(key, CloseReason::ClosedByWorker),
            (Command::Answer(serial), _) => self.answered(key, serial, message),
            (Command::Subscribe | Command::Unsubscribe, Some(channel)) if self.is_centrifuge(key) => {
                self.change_channels(key, command == Command::Subscribe, &channel);
            }
            (Command::Subscribe, Some(channel)) => {
                let Some(conn) = self.slots.get(key) else { return };
                let has_room = conn.subs().len() < limits::CHANNELS_PER_CONNECTION_MAX;
                if has_room && self.sub_of(key, &channel).is_none() {
                    let greeting = self.settings.channels.of(&channel).greeting();
                    match greeting {
                        Some(since) => self.subscribe_since(key, TAG_ADDED, channel.clone(), since),
                        None => _ = self.subscribe(key, TAG_ADDED, &Pattern::from(channel.clone()), None),
                    }
                    self.recall(key, channel, greeting);
                }
            }
            (Command::Unsubscribe, Some(channel)) => {
                if let Some(sub) = self.sub_of(key, &channel) {
                    if let Some(conn) = self.slots.get_mut(key) {
                        conn.unsubscribed(sub);
                    }
                    self.withdraw(sub);
                }
            }
            (Command::Subscribe | Command::Unsubscribe, None) => {}
        }
    }

    /// A subscription ends: what is held back of its channel is not wanted any more.
    pub(super) fn forget_held(&mut self, sub: SubKey) {
        let Some(Listener { key, .. }) = self.hub.listeners.listener(sub) else { return };
        let Some(channel) = self.hub.listeners.subject(sub) else { return };
        if let Some(conn) = self.slots.get_mut(key) {
            conn.forget_held(key, channel, &mut self.held);
        }
    }

    fn sub_of(&self, key: Key, subject: &Subject) -> Option<SubKey> {
        let subs = self.slots.get(key)?.subs();
        subs.iter().copied().find(|sub| self.hub.listeners.subject(*sub) == Some(subject))
    }

    // --- back to the publisher -----------------------------------------------------------------------------------------

    pub(super) fn tell_nobody_there(&mut self, publish: &Publish) {
        let Some(from) = publish.from.filter(|from| from.wants_no_responders) else { return };
        let Some(reply) = &publish.message.reply else { return };
        self.tell_no_responders(from.address, reply);
    }

    pub(super) fn tell_no_responders(&mut self, to: Address, reply: &Subject) {
        let Address { place, key } = to;
        if place == self.place {
            self.no_responders(key, reply);
        } else {
            self.post.push(place, Mail::NoResponders { key, reply: reply.clone() });
        }
    }

    pub(super) fn no_responders(&mut self, key: Key, reply: &Subject) {
        let Some(conn) = self.slots.get_mut(key) else { return };
        if conn.is_overfull(&self.settings) {
            return self.end(key, CloseReason::SlowConsumer);
        }
        if let Some(sub) = conn.push_no_responders(reply) {
            self.withdraw(sub);
        }
        self.mark_dirty(key);
    }

    fn tell_published(&mut self, from: Publisher, number: u32, position: Option<Position>) {
        let Address { place, key } = from.address;
        if place == self.place {
            self.published(key, number, position);
        } else {
            self.post.push(place, Mail::Published { key, number, position });
        }
    }

    pub(super) fn published(&mut self, key: Key, number: u32, position: Option<Position>) {
        let (settings, now) = (&self.settings, self.now);
        if let Some(Err(reason)) = self.slots.get_mut(key).map(|conn| conn.published(number, position, settings, now)) {
            self.end(key, reason);
        }
        self.work.resume.push(key);
        self.mark_dirty(key);
    }

    /// Everybody who runs on this place hears of a member; messages that waited for one are tried again.
    pub(super) fn enlist(&mut self, membership: Membership) {
        if !self.hub.directory.contains(&membership.member) {
            self.worker_came(&membership);
        }
        self.hub.directory.enlist(membership);
        self.hub.requests.stir();
        if !self.stranded.is_empty() {
            self.retry_stranded();
        }
    }
}
