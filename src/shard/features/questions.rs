//! Questions of workers to clients: a message with a reply subject to a connection or a user, until its outcome.
//!
//! ```text
//!  worker --> home --Question--> question, at each place with subscribers --> clients that can answer
//!              | ^ ^                |               '-------------------> the others, as a plain message
//!              | | '----Asked-------'
//!              | '------Answer, Left---- client_answers, connection_ended
//!              '--> conclude: the answer, or a status, on the reply subject; Over to all others that were asked
//! ```

use std::rc::Rc;
use std::time::Duration;

use crate::base::{Address, Key, Place, Tick};
use crate::hub::questions::{Open, Over, QuestionOutcome, Reported, Requester};
use crate::hub::{OwedAnswers, PendingQuestions, PlaceSet};
use crate::limits;
use crate::mesh::questions::{ClientAnswer, Question, QuestionMail};
use crate::mesh::{Audience, Delivery, Mail, Publish};
use crate::proto::CloseReason;
use crate::proto::bus::{self, HeaderBlock};
use crate::proto::control;
use crate::proto::event::{Event, Message};
use crate::proto::reserved::headers::{CONN_HEADER, TIMEOUT_HEADER};

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::Desk;

pub(in crate::shard) struct Questions {
    /// Questions of which this shard is the home.
    pending: PendingQuestions,
    /// The answers that this shard's connections owe.
    owed: OwedAnswers,
}

impl Questions {
    pub(crate) fn new(parts: &Parts) -> Questions {
        Questions { pending: PendingQuestions::new(parts.place, parts.seed), owed: OwedAnswers::default() }
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: QuestionMail) {
        match mail {
            QuestionMail::Asked { id, from, keys } => self.asked(desk, id, from, &keys),
            QuestionMail::Answer(answer) => self.answered(desk, *answer),
            QuestionMail::Left { id, from } => self.left(desk, id, from),
            QuestionMail::Question(question) => self.question(desk, *question),
            QuestionMail::Over { key, id } => self.over(desk, key, id),
        }
    }

    // --- to clients ----------------------------------------------------------------------------------------------------

    /// Asks a user whose subject this shard owns. Workers that watch the subject get the message too, and are not
    /// asked.
    pub(crate) fn ask_user(&mut self, desk: &mut Desk, publish: Publish) {
        let places = desk.engine.routing().listening(&publish.message.subject);
        let Some(id) = self.begin(desk, &publish, places) else { return };
        for place in places.iter() {
            let question = Question { id, home: desk.place, delivery: publish.to_clients(None) };
            desk.send_on(publish.from, place, Mail::Questions(QuestionMail::Question(question.into())));
        }
    }

    /// Asks one connection of this shard. A connection that cannot answer gets a plain message.
    pub(crate) fn ask_conn(&mut self, desk: &mut Desk, key: Key, publish: Publish) {
        let mut places = PlaceSet::default();
        places.insert(desk.place);
        let Some(id) = self.begin(desk, &publish, places) else { return };
        if self.owes_answer(desk, key, Open { id, home: desk.place }) {
            self.asked(desk, id, desk.place, &[key]);
            self.put_question(desk, key, id, &publish.message.payload);
        } else {
            self.asked(desk, id, desk.place, &[]);
            if !desk.can_answer(key) {
                desk.push_to(key, 0, &Rc::new(Event::new(publish.message, None)));
            }
        }
    }

    /// Returns the id under which answers are expected. `None`, after telling the requester, if too many questions are
    /// open, no connection exists, or the time-out is malformed.
    fn begin(&mut self, desk: &mut Desk, publish: &Publish, places: PlaceSet) -> Option<u64> {
        let Publish { message, from, .. } = publish;
        let reply = message.reply.clone()?;
        let wants_no_responders = from.filter(|from| from.wants_no_responders).map(|from| from.address);
        let Some(timeout) = timeout(message) else {
            desk.counters().questions_unanswerable.add(1);
            desk.publish(Message::of_status(reply, bus::BAD_REQUEST));
            return None;
        };
        let requester = Requester { reply, wants_no_responders };
        let until = desk.now + timeout;
        let id = if places.is_empty() { None } else { self.pending.begin(requester, places, until) };
        if id.is_none() {
            desk.counters().questions_unanswerable.add(1);
            desk.tell_nobody_there(publish);
        }
        id
    }

    /// Asks all subscribers of this shard.
    fn question(&mut self, desk: &mut Desk, question: Question) {
        let Question { id, home, delivery: Delivery { message, position, except, .. } } = question;
        let mut keys: Vec<Key> = Vec::new();
        desk.subscribers.for_each(message.subject.as_str(), |subscriber, _| keys.push(subscriber.key));
        let place = desk.place;
        keys.retain(|key| {
            except != Some(Address { place, key: *key }) && self.owes_answer(desk, *key, Open { id, home })
        });
        // Connections that are too slow for the question are ended after this.
        let asked = QuestionMail::Asked { id, from: place, keys: keys.clone() };
        desk.send(home, Mail::Questions(asked));
        keys.into_iter().for_each(|key| self.put_question(desk, key, id, &message.payload));
        desk.fan_out(&Rc::new(Event::new(message, position)), Audience::Clients, except);
    }

    fn owes_answer(&mut self, desk: &mut Desk, key: Key, question: Open) -> bool {
        desk.can_answer(key) && self.owed.begin(key, question)
    }

    fn put_question(&mut self, desk: &mut Desk, key: Key, id: u64, payload: &[u8]) {
        let mut json = Vec::with_capacity(payload.len() + 64);
        control::write_question(&mut json, id, payload);
        desk.put_control(key, &json);
    }

    // --- from clients --------------------------------------------------------------------------------------------------

    /// A client answers. False if the client was not asked this question, or has answered it.
    pub(crate) fn client_answers(&mut self, desk: &mut Desk, key: Key, answer: control::Answer<'_>) -> bool {
        let asked = answer.id.and_then(|id| Some((id, self.owed.answer(key, id)?)));
        let Some((id, home)) = asked else {
            desk.counters().answers_stray.add(1);
            if !self.owed.forgive(key) {
                desk.end(key, CloseReason::PolicyViolation);
            }
            return false;
        };
        let from = desk.address(key);
        let mut headers = HeaderBlock::new();
        headers.push(CONN_HEADER, desk.settings.process.conn_id(from).text().as_str());
        if let Some(user) = desk.slots.get(key).and_then(|conn| conn.session.websocket()?.1.user()) {
            user.push_headers(&mut headers);
        }
        let answer = ClientAnswer { id, from, headers: headers.finish(), payload: answer.data.into() };
        desk.send(home, Mail::Questions(QuestionMail::Answer(answer.into())));
        true
    }

    /// The question is over. A client that has just answered learns that its answer came too late.
    fn over(&mut self, desk: &mut Desk, key: Key, id: u64) {
        self.owed.answer(key, id);
        let can_answer = desk.can_answer(key);
        if can_answer {
            let mut json = Vec::new();
            control::write_over(&mut json, id);
            desk.put_control(key, &json);
        }
    }

    // --- at home -------------------------------------------------------------------------------------------------------

    fn asked(&mut self, desk: &mut Desk, id: u64, from: Place, keys: &[Key]) {
        match self.pending.reported(id, from, keys) {
            Reported::Waiting => {}
            Reported::Over(over) => self.conclude(desk, id, over),
            Reported::TooLate => {
                keys.iter().for_each(|key| self.tell_over(desk, id, Address { place: from, key: *key }));
            }
        }
    }

    fn answered(&mut self, desk: &mut Desk, answer: ClientAnswer) {
        let ClientAnswer { id, from, headers, payload } = answer;
        let Some(over) = self.pending.answered(id, from) else {
            return desk.counters().answers_stray.add(1);
        };
        let subject = over.requester.reply.clone();
        self.conclude(desk, id, over);
        desk.publish(Message::new(subject, None, Some(headers), payload));
    }

    fn left(&mut self, desk: &mut Desk, id: u64, from: Address) {
        if let Some(over) = self.pending.left(id, from) {
            self.conclude(desk, id, over);
        }
    }

    /// Tells the requester how the question has ended, and each other connection that was asked that it is over. An
    /// answer itself is not sent here: `answered` publishes it.
    fn conclude(&mut self, desk: &mut Desk, id: u64, over: Over) {
        let Over { end, requester: Requester { reply, wants_no_responders }, others } = over;
        let counters = desk.counters();
        match end {
            QuestionOutcome::Answered => counters.questions_answered.add(1),
            QuestionOutcome::NobodyThere => {
                counters.questions_unanswerable.add(1);
                if let Some(address) = wants_no_responders {
                    desk.tell_no_responders(address, &reply);
                }
            }
            QuestionOutcome::Gone => {
                counters.questions_gone.add(1);
                desk.publish(Message::of_status(reply, bus::GONE));
            }
            QuestionOutcome::Late => {
                counters.questions_late.add(1);
                desk.publish(Message::of_status(reply, bus::TIMEOUT));
            }
        }
        others.into_iter().for_each(|other| self.tell_over(desk, id, other));
    }

    fn tell_over(&mut self, desk: &mut Desk, id: u64, Address { place, key }: Address) {
        desk.send(place, Mail::Questions(QuestionMail::Over { key, id }));
    }
}

impl Feature for Questions {
    /// The connection owes no more answers.
    fn connection_ended(&mut self, desk: &mut Desk, key: Key) {
        if self.owed.is_empty() {
            return;
        }
        let from = desk.address(key);
        for Open { id, home } in self.owed.leave(key) {
            desk.send(home, Mail::Questions(QuestionMail::Left { id, from }));
        }
    }

    /// Ends a question whose deadline has passed.
    fn work(&mut self, desk: &mut Desk) -> bool {
        let late = self.pending.late(desk.now);
        late.map(|(id, over)| self.conclude(desk, id, over)).is_some()
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.pending.deadline()
    }

    fn measure(&self, counters: &Counters) {
        counters.questions.set(self.pending.len() as u64);
    }

    fn count(&self, census: &mut Census) {
        census.questions = self.pending.len();
        census.asked = self.owed.len();
    }

    fn owes_workers(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// The requester's time-out for the answer; `None` if the header is not a number.
fn timeout(message: &Message) -> Option<Duration> {
    match message.header(TIMEOUT_HEADER) {
        None => Some(limits::QUESTION_TIMEOUT),
        Some(millis) => Some(Duration::from_millis(millis.parse().ok()?).min(limits::QUESTION_TIMEOUT_MAX)),
    }
}
