//! The application is asked whether clients may do something, once for all that want to know the same; and which user a client is.
//!
//! ```text
//!  Step::Check, CentrifugeStep::Ask --ask--> open, one for each AskedRight --tg.authorize.<service>--> a worker
//!                                              |   '-- too many, or no worker: Unclear             '--> the outbound thread --> a URL
//!                                              |<-- tg.decision.<id>, DecisionMail::Decided: remembered (`conn::decisions`)
//!                                              |<-- its time is over: Unclear
//!                                              '--> each client that has all of its decisions goes on
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use log::warn;

use crate::base::{DecisionId, Key, Tick, mix};
use crate::conn::checked;
use crate::conn::decisions::{DecidedBy, DecidedRight, Decider, DecisionOutcome};
use crate::conn::forward_auth::{ForwardAuth, ForwardBy, ForwardVerdict};
use crate::conn::inquiry::InquiryAnswer;
use crate::conn::route::AuthId;
use crate::hub::Recipients;
use crate::limits::{CHECKS_WAITING_MAX, DECISIONS_OPEN_MAX};
use crate::mesh::decisions::DecisionMail;
use crate::mesh::{Mail, Publish};
use crate::proto::authorize::{AskedRight, Decision, RightAnswer};
use crate::proto::event::Message;
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::{Desk, sums};

#[derive(Default)]
pub(in crate::shard) struct Asking {
    open: HashMap<DecisionId, OpenDecision>,
    /// The same, by what they ask.
    ids: HashMap<AskedRight, DecisionId>,
    /// The same, by when they end.
    ends: BTreeSet<(Tick, DecisionId)>,
    waiting: HashMap<Key, WaitingClient>,
    /// The number of the last one.
    last: u64,
}

struct OpenDecision {
    about: OpenFor,
    until: Tick,
}

/// The subject of a decision.
enum OpenFor {
    /// A right, for all these clients. Some may have ended.
    Right(AskedRight, Vec<Key>),
    /// Which user the client is, for an auth.
    Client(AuthId, Key),
}

/// A client with a request, or a command, that waits.
struct WaitingClient {
    /// Decisions that are still to come.
    left: usize,
    decided: Vec<DecidedRight>,
}

impl Asking {
    pub(crate) fn new(_: &Parts) -> Asking {
        Asking::default()
    }

    /// The request, or the command, of the client waits for these decisions.
    pub(crate) fn ask(&mut self, desk: &mut Desk, key: Key, asked: Vec<AskedRight>) {
        sums::weigh(desk, key);
        let is_full = self.waiting.len() >= CHECKS_WAITING_MAX;
        let mut client = WaitingClient { left: 0, decided: Vec::new() };
        for asked in asked {
            let begun = if is_full { Err(DecisionOutcome::Busy) } else { self.join(desk, key, &asked) };
            match begun {
                Ok(()) => client.left += 1,
                Err(outcome) => {
                    fail(desk, &asked, outcome);
                    client.decided.push(DecidedRight { asked, decision: Decision::Unclear });
                }
            }
        }
        if client.left == 0 {
            return go_on(desk, key, InquiryAnswer::Decided(client.decided));
        }
        self.wait(desk, key, client);
    }

    /// The client waits for this decision, which is asked for if it is not open.
    fn join(&mut self, desk: &mut Desk, key: Key, asked: &AskedRight) -> Result<(), DecisionOutcome> {
        if let Some(open) = self.ids.get(asked).and_then(|id| self.open.get_mut(id)) {
            if let OpenFor::Right(_, clients) = &mut open.about {
                if clients.len() >= CHECKS_WAITING_MAX {
                    // Clients that come and go meanwhile are not kept.
                    clients.retain(|other| *other == key || self.waiting.contains_key(other));
                }
                clients.push(key);
            }
            return Ok(());
        }
        let id = self.next_id(desk)?;
        let until = desk.now + send(desk, id, asked)?;
        self.open.insert(id, OpenDecision { about: OpenFor::Right(asked.clone(), vec![key]), until });
        self.ids.insert(asked.clone(), id);
        self.ends.insert((until, id));
        Ok(())
    }

    /// The request of the client waits until a worker has said which user it is.
    pub(crate) fn identify(&mut self, desk: &mut Desk, key: Key, auth: AuthId, document: &str) {
        sums::weigh(desk, key);
        let is_full = self.waiting.len() >= CHECKS_WAITING_MAX;
        let id = if is_full { Err(DecisionOutcome::Busy) } else { self.next_id(desk) };
        let begun = id.and_then(|id| Ok((id, identify(desk, id, auth, document)?)));
        let (id, timeout) = match begun {
            Ok(begun) => begun,
            Err(DecisionOutcome::Busy) => return go_on(desk, key, InquiryAnswer::Busy),
            Err(_) => return go_on(desk, key, InquiryAnswer::Judged(ForwardVerdict::Unclear)),
        };
        let until = desk.now + timeout;
        self.open.insert(id, OpenDecision { about: OpenFor::Client(auth, key), until });
        self.ends.insert((until, id));
        self.wait(desk, key, WaitingClient { left: 1, decided: Vec::new() });
    }

    fn wait(&mut self, desk: &mut Desk, key: Key, client: WaitingClient) {
        self.waiting.insert(key, client);
        // Its end is to be noticed.
        desk.work.receive.push(key);
        desk.schedule(key);
    }

    fn next_id(&mut self, desk: &Desk) -> Result<DecisionId, DecisionOutcome> {
        if self.open.len() >= DECISIONS_OPEN_MAX {
            return Err(DecisionOutcome::Busy);
        }
        self.last = self.last.wrapping_add(1);
        // Another start of the process has other ids: a late answer to it decides nothing here.
        let number = mix(desk.settings.process.name.seed() ^ self.last);
        Ok(DecisionId::new(desk.settings.process.node, desk.place, number))
    }

    /// A worker has published to `tg.decision.<id>`.
    pub(crate) fn answer(&mut self, desk: &mut Desk, publish: &Publish) {
        let message = &publish.message;
        let open = subjects::decision_id(&message.subject).and_then(|id| Some((id, self.open.get(&id)?)));
        match open {
            None => desk.tell_nobody_there(publish),
            Some((id, OpenDecision { about: OpenFor::Client(auth, _), .. })) => {
                let (forward, unix_now) = (desk.settings.check(), (desk.settings.process.unix_time)());
                let forward = forward.and_then(|check| check.forward(*auth));
                let verdict = forward.map(|forward| forward.judge_worker(&message.payload, unix_now));
                self.identified(desk, id, verdict.unwrap_or(ForwardVerdict::Unclear));
            }
            Some((id, OpenDecision { about: OpenFor::Right(..), .. })) => {
                self.end(desk, id, RightAnswer::read(&message.payload).ok_or(DecisionOutcome::Unreadable));
            }
        }
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: DecisionMail) {
        match mail {
            DecisionMail::Decided { id, answer } => self.end(desk, id, answer),
            DecisionMail::Ask { .. } => debug_assert!(false, "a shard asks no URL"),
        }
    }

    /// A worker has said which user a client is, or has not.
    fn identified(&mut self, desk: &mut Desk, id: DecisionId, verdict: ForwardVerdict) {
        let Some(OpenDecision { about: OpenFor::Client(_, key), until }) = self.open.remove(&id) else { return };
        self.ends.remove(&(until, id));
        if self.waiting.remove(&key).is_some() {
            go_on(desk, key, InquiryAnswer::Judged(verdict));
        }
    }

    /// The answer about a right is there, or there is none.
    fn end(&mut self, desk: &mut Desk, id: DecisionId, answer: Result<RightAnswer, DecisionOutcome>) {
        let Some(OpenDecision { about: OpenFor::Right(asked, clients), until }) = self.open.remove(&id) else { return };
        self.ids.remove(&asked);
        self.ends.remove(&(until, id));
        let decision = match answer {
            Ok(answer) => {
                let decided = if answer.is_allowed { DecisionOutcome::Allowed } else { DecisionOutcome::Denied };
                desk.settings.decisions.note(&asked, decided);
                if let Some(decider) = decider(desk, &asked) {
                    desk.settings.decisions.keep(&asked, answer, decider, desk.now);
                }
                answer.decision()
            }
            Err(outcome) => {
                fail(desk, &asked, outcome);
                Decision::Unclear
            }
        };
        for key in clients {
            let Some(client) = self.waiting.get_mut(&key) else { continue };
            client.left -= 1;
            client.decided.push(DecidedRight { asked: asked.clone(), decision });
            if client.left == 0
                && let Some(client) = self.waiting.remove(&key)
            {
                go_on(desk, key, InquiryAnswer::Decided(client.decided));
            }
        }
    }
}

fn decider<'d>(desk: &'d Desk, asked: &AskedRight) -> Option<&'d Decider> {
    desk.settings.generation.deciders.get(usize::from(asked.decider.0))
}

/// Asks, and returns how long the answer may take.
fn send(desk: &mut Desk, id: DecisionId, asked: &AskedRight) -> Result<Duration, DecisionOutcome> {
    let decider = decider(desk, asked).ok_or(DecisionOutcome::Unreachable)?;
    let timeout = decider.timeout;
    match &decider.by {
        DecidedBy::Workers(subject) => {
            let subject = subject.clone();
            hand_to_worker(desk, id, subject, &asked.document())?;
        }
        DecidedBy::Url(_) => {
            let place = desk.post.mesh().outbound().ok_or(DecisionOutcome::Unreachable)?;
            let document = asked.document().into();
            desk.send(place, Mail::Decisions(DecisionMail::Ask { id, decider: asked.decider, document }));
        }
    }
    Ok(timeout)
}

/// Asks the workers of an auth, and returns how long the answer may take.
fn identify(desk: &mut Desk, id: DecisionId, auth: AuthId, document: &str) -> Result<Duration, DecisionOutcome> {
    let forward = desk.settings.check().and_then(|check| check.forward(auth));
    let Some(ForwardAuth { by: ForwardBy::Workers(subject), timeout, .. }) = forward else {
        return Err(DecisionOutcome::Unreachable);
    };
    let (subject, timeout) = (subject.clone(), *timeout);
    hand_to_worker(desk, id, subject, document)?;
    Ok(timeout)
}

/// One worker of each group gets the document, if there is one.
fn hand_to_worker(desk: &mut Desk, id: DecisionId, subject: Subject, document: &str) -> Result<(), DecisionOutcome> {
    let (mut recipients, draw) = (Recipients::default(), desk.directory.draw());
    desk.directory.collect(subject.as_str(), draw, &[], None, &mut recipients);
    if !recipients.has_addressee {
        return Err(DecisionOutcome::Unreachable);
    }
    let message = Message::new(subject, Some(subjects::decision(id)), None, document.as_bytes().into());
    desk.hand_to_workers(&Publish::new(message, None), &recipients);
    Ok(())
}

/// Counts a decision that is not made, and logs why.
fn fail(desk: &Desk, asked: &AskedRight, outcome: DecisionOutcome) {
    desk.settings.decisions.note(asked, outcome);
    let Some(decider) = decider(desk, asked) else { return };
    if matches!(decider.by, DecidedBy::Url(_)) && outcome != DecisionOutcome::Busy {
        // The thread that has asked knows more of it, and has logged that.
        return;
    }
    let words = match outcome {
        DecisionOutcome::Unreachable => "nothing answers there",
        DecisionOutcome::TooSlow => "no answer has come in time",
        DecisionOutcome::Unreadable => "its answer is no {\"allow\":true} or {\"allow\":false}",
        DecisionOutcome::Busy => "too many decisions are waited for",
        DecisionOutcome::Allowed | DecisionOutcome::Denied | DecisionOutcome::Remembered => return,
    };
    if let Some(left_out) = desk.fold.say(&("decider", asked.decider.0, outcome as u8), desk.now) {
        warn!("permissions that ask {}: nothing is decided: {words}{left_out}", decider.name());
    }
}

/// The request, or the command, goes on, unless its client has gone.
fn go_on(desk: &mut Desk, key: Key, answer: InquiryAnswer) {
    let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return };
    if checked(conn, answer) {
        desk.work.resume.push_back(key);
    }
}

impl Feature for Asking {
    fn connection_ended(&mut self, _: &mut Desk, key: Key) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    fn work(&mut self, desk: &mut Desk) -> bool {
        let Some((_, id)) = self.ends.first().copied().filter(|(until, _)| *until <= desk.now) else { return false };
        match self.open.get(&id).map(|open| &open.about) {
            Some(OpenFor::Client(..)) => self.identified(desk, id, ForwardVerdict::Unclear),
            _ => self.end(desk, id, Err(DecisionOutcome::TooSlow)),
        }
        true
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.ends.first().map_or(Tick::NEVER, |(until, _)| *until)
    }

    fn measure(&self, counters: &Counters) {
        counters.decisions_open.set(self.open.len() as u64);
    }

    fn count(&self, census: &mut Census) {
        census.deciding = self.waiting.len();
        // Each is in up to three tables.
        census.open_decisions = self.open.len().max(self.ids.len()).max(self.ends.len());
    }
}
