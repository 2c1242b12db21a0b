//! Questions of workers to clients: which connections were asked, which have answered, how each question ends. Time and
//! ids are arguments, so that every run of a simulation is the same.
//!
//! ```text
//!  home (the shard of tg.conn.<id>, the owner of tg.user.<user>)            a place with listeners
//!
//!  PendingQuestions::begin ------- the question ------------------------------->   OwedAnswers::begin, for each connection that can answer
//!  PendingQuestions::reported <--- these connections have been asked -----------
//!  PendingQuestions::answered <--- its answer ----------------------------------   OwedAnswers::answer
//!  PendingQuestions::left <------- it has left without one ---------------------   OwedAnswers::leave
//!  PendingQuestions::late
//!       '--> Over: once for each question; the other connections that were asked are told.
//! ```
//!
//! The reports of a place reach a home in order: a connection is reported as asked before it answers or leaves. So a
//! home that has every report, and no connection left that may answer, knows the outcome.

use std::collections::BTreeSet;

use ahash::AHashMap;
use smallvec::SmallVec;

use super::PlaceSet;
use crate::base::{Address, Key, Place, Tick, mix, shrink};
use crate::limits;
use crate::proto::subject::Subject;

/// The worker that waits for an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requester {
    pub reply: Subject,
    /// The connection to tell if no client can answer, if it wants to be told.
    pub wants_no_responders: Option<Address>,
}

/// How a question ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuestionOutcome {
    Answered,
    /// No connected client can answer.
    NobodyThere,
    /// All connections that were asked have ended.
    Gone,
    /// The deadline has passed.
    Late,
}

/// A question that has ended, and the connections that may still want to answer it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over {
    pub end: QuestionOutcome,
    pub requester: Requester,
    pub others: SmallVec<[Address; 2]>,
}

/// The effect of a report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    Waiting,
    Over(Over),
    /// The question had already ended: the connections asked since then must be told.
    TooLate,
}

struct PendingQuestion {
    requester: Requester,
    /// Places that have not yet reported which connections they asked.
    unreported: PlaceSet,
    /// Connections that may answer.
    asked: SmallVec<[Address; 2]>,
    was_asked: bool,
    until: Tick,
}

/// The questions of a home.
pub(crate) struct PendingQuestions {
    pending: AHashMap<u64, PendingQuestion>,
    deadlines: BTreeSet<(Tick, u64)>,
    own: Place,
    seed: u64,
    serial: u64,
}

impl PendingQuestions {
    pub(crate) fn new(own: Place, seed: u32) -> PendingQuestions {
        let seed = mix(seed.into());
        PendingQuestions { pending: AHashMap::new(), deadlines: BTreeSet::new(), own, seed, serial: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the id of a question that `places` will report about; `None` if too many are open.
    pub(crate) fn begin(&mut self, requester: Requester, places: PlaceSet, until: Tick) -> Option<u64> {
        if self.pending.len() >= limits::QUESTIONS_PER_SHARD_MAX {
            return None;
        }
        self.serial += 1;
        // A bijection of the serial number: no two questions of this home have the same id, nor do questions of two
        // homes with the same seed.
        let id = mix((self.serial << 16 | u64::from(self.own.0)).wrapping_add(self.seed));
        let pending =
            PendingQuestion { requester, unreported: places, asked: SmallVec::new(), was_asked: false, until };
        self.pending.insert(id, pending);
        self.deadlines.insert((until, id));
        Some(id)
    }

    /// `from` has asked these connections.
    pub(crate) fn reported(&mut self, id: u64, from: Place, keys: &[Key]) -> Reported {
        let Some(pending) = self.pending.get_mut(&id) else { return Reported::TooLate };
        pending.unreported.remove(from);
        pending.was_asked |= !keys.is_empty();
        pending.asked.extend(keys.iter().map(|key| Address { place: from, key: *key }));
        self.end_if_alone(id).map_or(Reported::Waiting, Reported::Over)
    }

    /// The first answer ends the question; `None` for every later one.
    pub(crate) fn answered(&mut self, id: u64, from: Address) -> Option<Over> {
        let pending = self.pending.get_mut(&id)?;
        let index = pending.asked.iter().position(|address| *address == from)?;
        pending.asked.swap_remove(index);
        self.end(id, QuestionOutcome::Answered)
    }

    /// A connection that was asked has ended.
    pub(crate) fn left(&mut self, id: u64, from: Address) -> Option<Over> {
        self.pending.get_mut(&id)?.asked.retain(|address| *address != from);
        self.end_if_alone(id)
    }

    /// The next question whose deadline has passed.
    pub(crate) fn late(&mut self, now: Tick) -> Option<(u64, Over)> {
        let (until, id) = *self.deadlines.first()?;
        if until <= now { Some((id, self.end(id, QuestionOutcome::Late)?)) } else { None }
    }

    /// When [`PendingQuestions::late`] has one.
    pub(crate) fn deadline(&self) -> Tick {
        self.deadlines.first().map_or(Tick::NEVER, |(until, _)| *until)
    }

    fn end_if_alone(&mut self, id: u64) -> Option<Over> {
        let pending = self.pending.get(&id)?;
        if !pending.unreported.is_empty() || !pending.asked.is_empty() {
            return None;
        }
        let end = if pending.was_asked { QuestionOutcome::Gone } else { QuestionOutcome::NobodyThere };
        self.end(id, end)
    }

    fn end(&mut self, id: u64, end: QuestionOutcome) -> Option<Over> {
        let PendingQuestion { requester, asked, until, .. } = self.pending.remove(&id)?;
        self.deadlines.remove(&(until, id));
        shrink(&mut self.pending, limits::ENTRIES_KEPT);
        Some(Over { end, requester, others: asked })
    }
}

/// Questions to this shard's connections that are not answered.
#[derive(Default)]
pub(crate) struct OwedAnswers {
    open: AHashMap<Key, SmallVec<[Open; 1]>>,
    /// Answers to no open question, since the connection was last asked.
    strays: AHashMap<Key, u32>,
}

/// A question to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub id: u64,
    pub home: Place,
}

impl OwedAnswers {
    /// Connections that owe an answer.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.strays.is_empty()
    }

    /// `key` is asked, unless it owes too many answers already. An answer that comes too late is no fault of the
    /// connection.
    pub(crate) fn begin(&mut self, key: Key, question: Open) -> bool {
        let open = self.open.entry(key).or_default();
        if open.len() >= limits::QUESTIONS_PER_CONNECTION_MAX {
            return false;
        }
        if open.iter().any(|other| other.id == question.id) {
            return false;
        }
        open.push(question);
        self.strays.remove(&key);
        true
    }

    /// The home that gets the answer of `key`; `None` if the connection was not asked, or has answered.
    pub(crate) fn answer(&mut self, key: Key, id: u64) -> Option<Place> {
        let open = self.open.get_mut(&key)?;
        let index = open.iter().position(|question| question.id == id)?;
        let home = open.swap_remove(index).home;
        if open.is_empty() {
            self.open.remove(&key);
        }
        Some(home)
    }

    /// `key` has sent an answer that belongs to no open question. False if it has done so too often.
    pub(crate) fn forgive(&mut self, key: Key) -> bool {
        let strays = self.strays.entry(key).or_default();
        *strays += 1;
        *strays <= limits::STRAY_ANSWERS_MAX
    }

    /// The questions that `key` will not answer, because it has ended.
    pub(crate) fn leave(&mut self, key: Key) -> SmallVec<[Open; 1]> {
        self.strays.remove(&key);
        let open = self.open.remove(&key).unwrap_or_default();
        shrink(&mut self.strays, limits::ENTRIES_KEPT);
        shrink(&mut self.open, limits::ENTRIES_KEPT);
        open
    }
}

#[cfg(test)]
mod tests;
