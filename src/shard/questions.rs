//! Workers ask clients: a message with a reply subject to a connection or a user, and what becomes of it.
//!
//! ```text
//!  worker --> home --Question--> question, at each place with listeners --> clients that can answer
//!              | ^ ^                |               '-------------------> the others, as a plain message
//!              | | '----Asked-------'
//!              | '------Answer, Left---- client_answers, leave_questions
//!              '--> conclude: the answer, or a status, on the reply subject; Over to those who were asked besides
//! ```

use std::rc::Rc;
use std::time::Duration;

use crate::base::{Address, Key, Place};
use crate::hub::PlaceSet;
use crate::hub::questions::{End, Open, Over, Reported, Requester};
use crate::limits;
use crate::mesh::{Answer, Audience, Delivery, Mail, Publish, Question};
use crate::proto::CloseReason;
use crate::proto::bus::{self, HeaderBlock};
use crate::proto::control;
use crate::proto::event::{CONN_HEADER, Event, Message, TIMEOUT_HEADER};
use crate::proto::subject::Subject;

use super::Core;

impl Core {
    // --- to clients ----------------------------------------------------------------------------------------------------

    /// A question to a user whose subject this shard owns. Workers that watch what flows see it anyway, and are nobody to answer.
    pub(super) fn ask_user(&mut self, subject: &Subject, publish: Publish) {
        // A user's subject is no channel, where a message could be a repetition.
        let Ok((position, places)) = self.hub.publish(subject, &publish.message, self.desk.now) else { return };
        let id = self.begin_question(&publish, places);
        for (id, place) in id.into_iter().flat_map(|id| places.iter().map(move |place| (id, place))) {
            let question = Question { id, home: self.desk.place, delivery: publish.to_clients(position) };
            self.desk.send_on(publish.from, place, Mail::Question(Box::new(question)));
        }
    }

    /// A question to one connection of this shard; one that cannot answer gets it as a plain message.
    pub(super) fn ask_conn(&mut self, key: Key, publish: Publish) {
        let mut places = PlaceSet::default();
        places.insert(self.desk.place);
        let Some(id) = self.begin_question(&publish, places) else { return };
        if self.owes_answer(key, Open { id, home: self.desk.place }) {
            self.asked(id, self.desk.place, &[key]);
            self.put_question(key, id, &publish.message.payload);
        } else {
            self.asked(id, self.desk.place, &[]);
            let can_answer = self.desk.can_answer(key);
            if !can_answer {
                self.desk.push_to(key, 0, &Rc::new(Event::new(publish.message, None)));
            }
        }
    }

    /// The id under which answers are waited for; `None` if too many are, nobody is there or its time is none: the requester
    /// hears that.
    fn begin_question(&mut self, publish: &Publish, places: PlaceSet) -> Option<u64> {
        let Publish { message, from, .. } = publish;
        let reply = message.reply.clone()?;
        let wants_no_responders = from.filter(|from| from.wants_no_responders).map(|from| from.address);
        let Some(timeout) = timeout(message) else {
            self.desk.counters().questions_unanswerable.add(1);
            self.desk.publish(status(reply, bus::BAD_REQUEST));
            return None;
        };
        let requester = Requester { reply, wants_no_responders };
        let until = self.desk.now + timeout;
        let id = if places.is_empty() { None } else { self.hub.questions.begin(requester, places, until) };
        if id.is_none() {
            self.desk.counters().questions_unanswerable.add(1);
            self.desk.tell_nobody_there(publish);
        }
        id
    }

    /// A question to all who listen on this shard.
    pub(super) fn question(&mut self, question: Question) {
        let Question { id, home, delivery: Delivery { message, position, except, .. } } = question;
        let mut keys: Vec<Key> = Vec::new();
        self.desk.subscribers.for_each(&message.subject, |listener, _| keys.push(listener.key));
        let place = self.desk.place;
        keys.retain(|key| except != Some(Address { place, key: *key }) && self.owes_answer(*key, Open { id, home }));
        // Whoever turns out to be too slow leaves after this.
        self.desk.send(home, Mail::Asked { id, from: place, keys: keys.clone() });
        keys.into_iter().for_each(|key| self.put_question(key, id, &message.payload));
        self.desk.fan_out(&Rc::new(Event::new(message, position)), Audience::Clients, except);
    }

    fn owes_answer(&mut self, key: Key, question: Open) -> bool {
        let can_answer = self.desk.can_answer(key);
        can_answer && self.hub.asked.begin(key, question)
    }

    fn put_question(&mut self, key: Key, id: u64, payload: &[u8]) {
        let mut json = Vec::with_capacity(payload.len() + 64);
        control::write_question(&mut json, id, payload);
        self.desk.put_control(key, &json);
    }

    // --- from clients --------------------------------------------------------------------------------------------------

    /// A client answers; false if it was not asked that, or has answered.
    pub(super) fn client_answers(&mut self, key: Key, answer: control::Answer<'_>) -> bool {
        let asked = answer.id.and_then(|id| Some((id, self.hub.asked.answer(key, id)?)));
        let Some((id, home)) = asked else {
            self.desk.counters().answers_stray.add(1);
            if !self.hub.asked.forgive(key) {
                self.end(key, CloseReason::PolicyViolation);
            }
            return false;
        };
        let from = self.desk.address(key);
        let mut headers = HeaderBlock::new();
        headers.push(CONN_HEADER, &from.to_string());
        if let Some(user) = self.desk.slots.get(key).and_then(|conn| conn.websocket()?.1.user()) {
            user.push_headers(&mut headers);
        }
        let answer = Answer { id, from, headers: headers.finish(), payload: answer.data.into() };
        self.desk.send(home, Mail::Answer(Box::new(answer)));
        self.desk.park_if_crowded(key);
        true
    }

    /// A connection ends: whoever waits for its answers need not.
    pub(super) fn leave_questions(&mut self, key: Key) {
        let from = self.desk.address(key);
        for Open { id, home } in self.hub.asked.leave(key) {
            self.desk.send(home, Mail::Left { id, from });
        }
    }

    /// No answer is wanted any more. Whoever has given one meanwhile learns that it came too late.
    pub(super) fn over(&mut self, key: Key, id: u64) {
        self.hub.asked.answer(key, id);
        let can_answer = self.desk.can_answer(key);
        if can_answer {
            let mut json = Vec::new();
            control::write_over(&mut json, id);
            self.desk.put_control(key, &json);
        }
    }

    // --- at home -------------------------------------------------------------------------------------------------------

    pub(super) fn asked(&mut self, id: u64, from: Place, keys: &[Key]) {
        match self.hub.questions.reported(id, from, keys) {
            Reported::Waiting => {}
            Reported::Over(over) => self.conclude(id, over),
            Reported::TooLate => {
                keys.iter().for_each(|key| self.tell_over(id, Address { place: from, key: *key }));
            }
        }
    }

    pub(super) fn answered_by_client(&mut self, answer: Answer) {
        let Answer { id, from, headers, payload } = answer;
        let Some(over) = self.hub.questions.answered(id, from) else {
            return self.desk.counters().answers_stray.add(1);
        };
        let subject = over.requester.reply.clone();
        self.conclude(id, over);
        self.desk.publish(Message { subject, reply: None, headers: Some(headers), payload });
    }

    pub(super) fn left(&mut self, id: u64, from: Address) {
        if let Some(over) = self.hub.questions.left(id, from) {
            self.conclude(id, over);
        }
    }

    pub(super) fn end_late_questions(&mut self) {
        while let Some((id, over)) = self.hub.questions.late(self.desk.now) {
            self.conclude(id, over);
        }
    }

    /// Tells everybody who waits, but for the answer itself.
    fn conclude(&mut self, id: u64, over: Over) {
        let Over { end, requester: Requester { reply, wants_no_responders }, others } = over;
        let counters = self.desk.counters();
        match end {
            End::Answered => counters.questions_answered.add(1),
            End::NobodyThere => {
                counters.questions_unanswerable.add(1);
                if let Some(address) = wants_no_responders {
                    self.desk.tell_no_responders(address, &reply);
                }
            }
            End::Gone => {
                counters.questions_gone.add(1);
                self.desk.publish(status(reply, bus::GONE));
            }
            End::Late => {
                counters.questions_late.add(1);
                self.desk.publish(status(reply, bus::TIMEOUT));
            }
        }
        others.into_iter().for_each(|other| self.tell_over(id, other));
    }

    fn tell_over(&mut self, id: u64, Address { place, key }: Address) {
        self.desk.send(place, Mail::Over { key, id });
    }
}

/// A message that says no more than its status.
pub(super) fn status(subject: Subject, status: &[u8]) -> Message {
    Message { subject, reply: None, headers: Some(status.into()), payload: Box::default() }
}

/// How long whoever asks waits for the answer; `None` if what it says of that is no number.
fn timeout(message: &Message) -> Option<Duration> {
    match message.header(TIMEOUT_HEADER) {
        None => Some(limits::QUESTION_TIMEOUT),
        Some(millis) => Some(Duration::from_millis(millis.parse().ok()?).min(limits::QUESTION_TIMEOUT_MAX)),
    }
}
