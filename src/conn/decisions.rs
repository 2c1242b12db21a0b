//! Decisions of the application about its clients, as one shard remembers them, and those for which a client has waited.
//!
//! ```text
//!  Rights --a rule asks--> RightRules::decided: among the answers for which the client has waited? --> Allowed, Denied, Unclear
//!                             |                '-- remembered, and not over? ------------------------> Allowed, Denied
//!                             '-- no: AskedRight --> the client waits (`checking`, `centrifuge/asked`) until the shard has the answer
//! ```

use std::cell::RefCell;
use std::time::Duration;

use lru::LruCache;

use crate::base::Tick;
use crate::limits;
use crate::proto::authorize::{AskedRight, Decision, RightAnswer};
use crate::proto::subject::Subject;

/// A part of the application that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    pub by: DecidedBy,
    /// From the question to the answer.
    pub timeout: Duration,
    /// How long an answer is remembered that does not say so; zero: only clients that wait get it.
    pub kept: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// Workers: their subject.
    Workers(Subject),
    /// A URL, which the thread beside the shards asks.
    Url(Box<str>),
}

impl Decider {
    /// As the log and metrics name it.
    pub fn name(&self) -> &str {
        match &self.by {
            DecidedBy::Workers(subject) => subject.as_str(),
            DecidedBy::Url(url) => url,
        }
    }
}

/// An answer for which a client has waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedRight {
    pub asked: AskedRight,
    pub decision: Decision,
}

/// The outcome of a question, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionOutcome {
    Allowed,
    Denied,
    /// The decision was made before.
    Remembered,
    /// No worker is there, or the address cannot be reached.
    Unreachable,
    /// The answer has not come in time.
    TooSlow,
    /// The answer cannot be read.
    Unreadable,
    /// Too many questions are open.
    Busy,
}

impl DecisionOutcome {
    pub const ALL: [DecisionOutcome; 7] = [
        DecisionOutcome::Allowed,
        DecisionOutcome::Denied,
        DecisionOutcome::Remembered,
        DecisionOutcome::Unreachable,
        DecisionOutcome::TooSlow,
        DecisionOutcome::Unreadable,
        DecisionOutcome::Busy,
    ];

    /// As in metrics.
    pub fn word(self) -> &'static str {
        match self {
            DecisionOutcome::Allowed => "allowed",
            DecisionOutcome::Denied => "denied",
            DecisionOutcome::Remembered => "remembered",
            DecisionOutcome::Unreachable => "unreachable",
            DecisionOutcome::TooSlow => "too_slow",
            DecisionOutcome::Unreadable => "unreadable",
            DecisionOutcome::Busy => "busy",
        }
    }
}

/// The decisions that one shard remembers. Requests are read with shared settings, so it changes inside, for the length of one call.
pub struct Decisions(RefCell<RememberedDecisions>);

struct RememberedDecisions {
    /// Whether it is allowed, and until when that holds.
    of: LruCache<AskedRight, (bool, Tick)>,
    /// By decider, then by outcome.
    counts: Vec<[u64; DecisionOutcome::ALL.len()]>,
}

impl Default for Decisions {
    fn default() -> Decisions {
        Decisions(RefCell::new(RememberedDecisions { of: LruCache::unbounded(), counts: Vec::new() }))
    }
}

impl Decisions {
    /// The decision, if it was made before and still holds.
    pub(super) fn find(&self, asked: &AskedRight, now: Tick) -> Option<bool> {
        self.with(|own| {
            let (is_allowed, until) = own.of.get(asked).copied()?;
            if until <= now {
                own.of.pop(asked);
                return None;
            }
            own.note(asked, DecisionOutcome::Remembered);
            Some(is_allowed)
        })
    }

    /// Remembers an answer, for as long as it says, or the decider does.
    pub fn keep(&self, asked: &AskedRight, answer: RightAnswer, decider: &Decider, now: Tick) {
        let kept = answer.kept.unwrap_or(decider.kept);
        if kept.is_zero() {
            return;
        }
        self.with(|own| {
            own.of.put(asked.clone(), (answer.is_allowed, now + kept));
            if own.of.len() > limits::DECISIONS_MAX {
                own.of.pop_lru();
            }
        });
    }

    /// Forgets the decisions about the user with this token.
    pub fn forget(&self, user: &str) {
        self.with(|own| {
            let of_user: Vec<AskedRight> = own
                .of
                .iter()
                .map(|(asked, _)| asked)
                .filter(|asked| asked.user.as_ref().is_some_and(|own| own.token() == user))
                .cloned()
                .collect();
            of_user.iter().for_each(|asked| _ = own.of.pop(asked));
        });
    }

    pub fn note(&self, asked: &AskedRight, outcome: DecisionOutcome) {
        self.with(|own| own.note(asked, outcome));
    }

    /// How often that was the outcome.
    pub fn count(&self, decider: usize, outcome: DecisionOutcome) -> u64 {
        self.with(|own| own.counts.get(decider).map_or(0, |counts| counts[outcome as usize]))
    }

    fn with<T: Default>(&self, work: impl FnOnce(&mut RememberedDecisions) -> T) -> T {
        let own = self.0.try_borrow_mut();
        debug_assert!(own.is_ok(), "one call at a time");
        own.map_or_else(|_| T::default(), |mut own| work(&mut own))
    }
}

impl RememberedDecisions {
    fn note(&mut self, asked: &AskedRight, outcome: DecisionOutcome) {
        let index = usize::from(asked.decider.0);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, Default::default());
        }
        self.counts[index][outcome as usize] += 1;
    }
}

/// Another shard has asked nothing yet.
impl Clone for Decisions {
    fn clone(&self) -> Decisions {
        Decisions::default()
    }
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decisions(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::permission::{DeciderId, Right};
    use crate::proto::user::User;

    fn asked(user: &str, channel: &str) -> AskedRight {
        AskedRight {
            decider: DeciderId(1),
            user: User::new(user).ok(),
            right: Right::Hear,
            channel: Subject::new(channel).unwrap(),
        }
    }

    fn decider(kept_s: u64) -> Decider {
        let by = DecidedBy::Workers(Subject::new("tg.authorize.rooms").unwrap());
        Decider { by, timeout: limits::DECISION_TIMEOUT, kept: Duration::from_secs(kept_s) }
    }

    fn answer(is_allowed: bool, kept_s: Option<u64>) -> RightAnswer {
        RightAnswer { is_allowed, kept: kept_s.map(Duration::from_secs) }
    }

    #[test]
    fn a_decision_holds_as_long_as_its_answer_or_its_decider_says() {
        let (decisions, start) = (Decisions::default(), Tick::from_millis(500));
        for (user, kept_s, said, holds_s) in [("a", 10, None, 10), ("b", 10, Some(60), 60), ("c", 0, Some(1), 1)] {
            let asked = asked(user, "room");
            decisions.keep(&asked, answer(user != "b", said), &decider(kept_s), start);
            let found = |millis| decisions.find(&asked, start + Duration::from_millis(millis));
            let over = 1_000 * holds_s;
            assert_eq!((found(over - 1), found(over)), (Some(user != "b"), None), "{user}");
            assert_eq!(found(over - 1), None, "it is forgotten");
        }
        for (kept_s, said) in [(0, None), (10, Some(0))] {
            decisions.keep(&asked("d", "room"), answer(true, said), &decider(kept_s), start);
            assert_eq!(decisions.find(&asked("d", "room"), start), None);
        }
        assert_eq!(decisions.count(1, DecisionOutcome::Remembered), 3);
    }

    #[test]
    fn the_decisions_about_a_user_go_with_its_tokens_and_the_oldest_for_lack_of_room() {
        let (decisions, now) = (Decisions::default(), Tick::ZERO);
        let known = |user, channel: &str| decisions.find(&asked(user, channel), now).is_some();
        for number in 0..limits::DECISIONS_MAX {
            decisions.keep(&asked("ann", &number.to_string()), answer(true, None), &decider(10), now);
        }
        assert!(known("ann", "0"), "used again");
        decisions.keep(&asked("bob", "0"), answer(true, None), &decider(10), now);
        assert_eq!((known("ann", "0"), known("ann", "1"), known("bob", "0")), (true, false, true));
        decisions.forget("ann");
        assert_eq!((known("ann", "0"), known("ann", "2"), known("bob", "0")), (false, false, true));
    }
}
