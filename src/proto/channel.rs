//! The operator's rules for channels: a list of patterns with settings. The first pattern that matches wins.
//!
//! ```text
//!  room.42 --Rules::number_of, once--> number of its rule --Rules::rule, per message--> Rule
//! ```
//!
//! A channel remembers the number of its rule (two bytes), and counters are kept by number. Each pattern that the
//! process has ever had a rule for has one number: a later configuration may change the rule and its position, but not
//! the number.

use std::fmt;
use std::time::Duration;

use ahash::AHashMap;

use crate::limits;
use crate::proto::replay::Since;
use crate::proto::subject::{Pattern, Subject};

/// Names a rule of [`Rules`] for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleNumber(u16);

impl RuleNumber {
    /// The rule of channels that no pattern matches, and of subjects that are not channels.
    pub const FALLBACK: RuleNumber = RuleNumber(0);

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The settings of the channels whose names match. The default is for channels without a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The messages that are kept for clients that reconnect; `None` keeps none.
    pub history: Option<Keep>,
    /// New clients get the kept messages too.
    pub is_for_newcomers: bool,
    /// What happens to messages for a client that does not keep up.
    pub delivery: Delivery,
    /// How much may wait for one client of the channel.
    pub queue: Queue,
    /// A message whose `Tg-Distinct` is that of the one before it, with the same `Tg-Key`, is not delivered.
    pub is_distinct: bool,
    /// The owner keeps the list of clients, and announces joins and leaves.
    pub has_presence: bool,
    /// How long a user may be away before it has left; with presence.
    pub presence_grace: Duration,
    /// The channel is one for all gateways on the engine; otherwise each gateway has its own.
    pub is_shared: bool,
}

impl Rule {
    /// What a client asks for when it subscribes for the first time: all kept messages, or only the position, with
    /// which it can resume. `None` if the channel keeps nothing.
    pub fn since_for_newcomers(&self) -> Option<Since> {
        let since = if self.is_for_newcomers { Since::Beginning } else { Since::Now };
        self.history.map(|_| since)
    }

    /// The same for a client that cannot use positions.
    pub fn greeting(&self) -> Option<Since> {
        self.since_for_newcomers().filter(|since| *since != Since::Now)
    }
}

/// What happens to messages for a client that is slower than its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// The client gets every message. If too many wait, it is disconnected, and may resume.
    #[default]
    Queue,
    /// The newest message of each `Tg-Key`, or of the channel where messages have none.
    Latest,
    /// The newest messages, after the notice that others were dropped.
    Drop,
}

/// How much may wait for one client: with delivery `queue`, of everything that waits for it, otherwise of this channel.
/// Beyond these bounds messages are lost, except a message that arrives when nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most messages; at least 1.
    pub messages: usize,
    /// Never more than `limits.outbox_bytes_max`, the bound on everything that waits for a client.
    pub bytes: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { messages: limits::QUEUE_MESSAGES, bytes: usize::MAX }
    }
}

/// The reason why a subscriber does not get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A newer message replaced it before the client had room (`latest`).
    Superseded,
    /// It was the oldest of too many (`drop`).
    Oldest,
    /// It exceeded the bound, and its client was disconnected.
    Closed,
    /// It equals the last message (`distinct`); counted once, by the channel's owner.
    Same,
    /// Its channel has taken it before, with the same `Nats-Msg-Id`.
    Duplicate,
}

impl Loss {
    /// In the order in which the metrics list them.
    pub const ALL: [Loss; 5] = [Loss::Superseded, Loss::Oldest, Loss::Closed, Loss::Same, Loss::Duplicate];

    /// The counter's label; stable.
    pub fn word(self) -> &'static str {
        match self {
            Loss::Superseded => "superseded",
            Loss::Oldest => "oldest",
            Loss::Closed => "closed",
            Loss::Same => "same",
            Loss::Duplicate => "duplicate",
        }
    }

    /// Whether messages under this rule can be lost for this reason.
    pub fn can_befall(self, rule: &Rule) -> bool {
        match self {
            Loss::Superseded => rule.delivery == Delivery::Latest,
            Loss::Oldest => rule.delivery == Delivery::Drop,
            Loss::Closed => rule.delivery != Delivery::Drop,
            Loss::Same => rule.is_distinct,
            Loss::Duplicate => true,
        }
    }
}

/// How much of a channel is kept. Above any of these bounds, the oldest messages are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Most messages; at least 1.
    pub messages: usize,
    /// Payloads, headers and the overhead of keeping them.
    pub bytes: usize,
    /// Longest time since a message was published.
    pub age: Duration,
}

/// All rules of a process: those of its configuration, and older ones that existing channels still have.
#[derive(Clone, Debug)]
pub struct Rules {
    /// By number; only the fallback has no pattern. Rules are never removed.
    all: Vec<(Option<Pattern>, Rule)>,
    /// The rules of the configuration, in its order. At most [`CHANNEL_RULES_MAX`](crate::limits::CHANNEL_RULES_MAX).
    order: Vec<RuleNumber>,
    has_distinct: bool,
    has_presence: bool,
    has_shared: bool,
}

/// There are more patterns than numbers: the process must be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRules;

impl fmt::Display for TooManyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a process can have rules for 65,535 different channel patterns in all, and this configuration has more that are \
             new: start it again",
        )
    }
}

impl Rules {
    /// The rules of the first configuration.
    pub fn new(rules: impl IntoIterator<Item = (Pattern, Rule)>) -> Rules {
        Rules::default().succeeded_by(rules).expect("there are more numbers than one configuration may have rules")
    }

    /// The rules of the next configuration. A pattern that existed before keeps its number, so channels with that
    /// number get the new rule at once. A channel for which another pattern now comes first must look up its rule
    /// again.
    pub fn succeeded_by(&self, rules: impl IntoIterator<Item = (Pattern, Rule)>) -> Result<Rules, TooManyRules> {
        let mut next = Rules { order: Vec::new(), ..self.clone() };
        let known = self.all.iter().enumerate().filter_map(|(index, (pattern, _))| Some((pattern.clone()?, index)));
        let mut known: AHashMap<Pattern, usize> = known.collect();
        for (pattern, rule) in rules {
            let index = *known.entry(pattern.clone()).or_insert(next.all.len());
            let number = RuleNumber(u16::try_from(index).map_err(|_| TooManyRules)?);
            if next.order.contains(&number) {
                // The pattern is listed above: this rule is never reached.
                continue;
            }
            match next.all.get_mut(index) {
                Some((_, own)) => *own = rule,
                None => next.all.push((Some(pattern), rule)),
            }
            next.order.push(number);
        }
        assert!(next.order.len() <= limits::CHANNEL_RULES_MAX, "the configuration bounds them");
        let has = |what: fn(&Rule) -> bool| next.all.iter().any(|(_, rule)| what(rule));
        (next.has_distinct, next.has_presence) = (has(|rule| rule.is_distinct), has(|rule| rule.has_presence));
        next.has_shared = has(|rule| rule.is_shared);
        Ok(next)
    }

    /// The same with another rule for the channels that no pattern matches.
    pub fn with_fallback(mut self, rule: Rule) -> Rules {
        self.has_shared |= rule.is_shared;
        self.all[RuleNumber::FALLBACK.index()].1 = rule;
        self
    }

    /// The rule of a channel. It walks through the patterns, so the caller should remember the number. Subjects that
    /// are not channels (the gateway's own, and inboxes) have the fallback.
    pub fn number_of(&self, subject: &Subject) -> RuleNumber {
        if subject.is_reserved() || subject.is_inbox() {
            return RuleNumber::FALLBACK;
        }
        let matches = |number: &&RuleNumber| {
            let pattern = self.all[number.index()].0.as_ref();
            pattern.is_some_and(|pattern| pattern.matches(subject.as_str()))
        };
        self.order.iter().find(matches).copied().unwrap_or(RuleNumber::FALLBACK)
    }

    /// Whether any channel may have presence.
    pub fn has_presence(&self) -> bool {
        self.has_presence
    }

    /// Whether the channel is one for all gateways on the engine. The gateway's own subjects and inboxes never
    /// are.
    pub fn is_shared(&self, subject: &Subject) -> bool {
        self.has_shared && !(subject.is_reserved() || subject.is_inbox()) && self.of(subject).is_shared
    }

    /// Whether any channel may be shared.
    pub fn has_shared(&self) -> bool {
        self.has_shared
    }

    /// Whether any channel may be distinct.
    pub fn has_distinct(&self) -> bool {
        self.has_distinct
    }

    /// How many rules have a number, including the fallback and rules of earlier configurations. Every number's index is
    /// below it.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Every number comes from these rules or from earlier ones of the process, and rules are never removed.
    pub fn rule(&self, number: RuleNumber) -> &Rule {
        &self.all[number.index()].1
    }

    /// Look-up and rule in one step, for rare cases.
    pub fn of(&self, subject: &Subject) -> &Rule {
        self.rule(self.number_of(subject))
    }

    /// The patterns of the configuration with their numbers, in its order, and last the fallback without a pattern.
    pub fn patterns(&self) -> impl Iterator<Item = (RuleNumber, Option<&Pattern>)> {
        let order = self.order.iter().copied().chain([RuleNumber::FALLBACK]);
        order.map(|number| (number, self.all[number.index()].0.as_ref()))
    }
}

impl Default for Rules {
    /// Rules without any pattern.
    fn default() -> Rules {
        Rules {
            all: vec![(None, Rule::default())],
            order: Vec::new(),
            has_distinct: false,
            has_presence: false,
            has_shared: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeping(messages: usize) -> Rule {
        Rule { history: Some(Keep { messages, bytes: 1, age: Duration::ZERO }), ..Rule::default() }
    }

    fn rules() -> Rules {
        let rules = [("room.*", 1), ("room.>", 2), (">", 3)];
        Rules::new(rules.map(|(name, messages)| (Pattern::new(name).unwrap(), keeping(messages))))
    }

    fn numbers(rules: &Rules) -> Vec<(usize, &str)> {
        rules.patterns().map(|(number, pattern)| (number.index(), pattern.map_or("", Pattern::as_str))).collect()
    }

    #[test]
    fn the_first_pattern_that_matches_wins() {
        let kept = |name: &str| rules().of(&Subject::new(name).unwrap()).history.map(|keep| keep.messages);
        for (name, expected) in
            [("room.1", Some(1)), ("room.1.2", Some(2)), ("other", Some(3)), ("tg.user.a", None), ("_INBOX.a", None)]
        {
            assert_eq!(kept(name), expected, "{name}");
        }
        assert_eq!(Rules::default().of(&Subject::new("room.1").unwrap()), &Rule::default());
    }

    #[test]
    fn every_rule_has_a_number_and_the_last_no_pattern() {
        assert_eq!(numbers(&rules()), [(1, "room.*"), (2, "room.>"), (3, ">"), (0, "")]);
    }

    #[test]
    fn a_pattern_keeps_its_number_wherever_it_stands_and_whatever_its_rule_becomes() {
        let named = |rules: &[(&str, usize)]| {
            let rules = rules.iter().map(|(name, messages)| (Pattern::new(name).unwrap(), keeping(*messages)));
            rules.collect::<Vec<_>>()
        };
        let kept = |rules: &Rules, name: &str| rules.of(&Subject::new(name).unwrap()).history.map(|keep| keep.messages);
        let second = rules().succeeded_by(named(&[("new.*", 4), (">", 5)])).unwrap();
        assert_eq!(numbers(&second), [(4, "new.*"), (3, ">"), (0, "")]);
        assert_eq!((kept(&second, "new.1"), kept(&second, "room.1")), (Some(4), Some(5)));
        let remembered = rules().number_of(&Subject::new("room.1").unwrap());
        assert_eq!(second.rule(remembered), &keeping(1), "of a rule that was removed, until it is looked up again");
        let third = second.succeeded_by(named(&[("room.*", 6)])).unwrap();
        assert_eq!(numbers(&third), [(1, "room.*"), (0, "")]);
        assert_eq!((third.rule(remembered), third.count()), (&keeping(6), 5));
    }

    #[test]
    fn a_pattern_that_stands_twice_has_the_rule_of_the_first() {
        let twice = ["a", "a"].map(|name| Pattern::new(name).unwrap()).into_iter().zip([keeping(1), keeping(2)]);
        let rules = Rules::new(twice);
        assert_eq!((numbers(&rules).len(), rules.of(&Subject::new("a").unwrap())), (2, &keeping(1)));
    }

    #[test]
    fn more_patterns_than_numbers_are_refused() {
        let pattern = |number: usize| (Pattern::new(&format!("a{number}")).unwrap(), Rule::default());
        let many = limits::CHANNEL_RULES_MAX;
        let rounds = usize::from(u16::MAX) / many;
        let full = (0..rounds).try_fold(Rules::default(), |rules, round| {
            rules.succeeded_by((round * many..(round + 1) * many).map(pattern))
        });
        let rest = usize::from(u16::MAX) - rounds * many;
        let full = full.unwrap().succeeded_by((rounds * many..rounds * many + rest).map(pattern)).unwrap();
        assert_eq!(full.succeeded_by([pattern(usize::from(u16::MAX))]).unwrap_err(), TooManyRules);
    }

    #[test]
    fn the_gateways_own_subjects_are_never_shared() {
        let local = (Pattern::new("here.*").unwrap(), Rule::default());
        let rules = Rules::new([local]).with_fallback(Rule { is_shared: true, ..Rule::default() });
        let is_shared = |name: &str| rules.is_shared(&Subject::new(name).unwrap());
        assert!(rules.has_shared() && is_shared("room.1") && !is_shared("here.1"));
        for name in ["tg.user.ann", "_INBOX.1"] {
            assert!(!is_shared(name), "{name}");
        }
        assert!(!Rules::default().has_shared());
    }
}
