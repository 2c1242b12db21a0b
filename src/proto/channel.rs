//! What the operator decided about channels: a list of rules, each for a pattern of names. The first that matches wins.
//!
//! ```text
//!  room.42 --Rules::number_of, once--> number of its rule --Rules::rule, per message--> Rule
//! ```
//!
//! A rule's number is what is remembered of a channel (two bytes), and what is counted by.

use std::time::Duration;

use crate::limits;
use crate::proto::replay::Since;
use crate::proto::subject::{Pattern, Subject};

/// Names a rule of [`Rules`]: where it stands, from 0; after the last is the one for channels that no pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleNumber(u16);

impl RuleNumber {
    /// Its place in the list of rules, from 0.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What holds for the channels whose names match. The default is what holds where nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Messages that are kept for those who come back; none without it.
    pub history: Option<Keep>,
    /// They are also for those who come for the first time.
    pub is_for_newcomers: bool,
    /// What becomes of messages for a client that does not keep up.
    pub delivery: Delivery,
    /// How much may wait for one client of the channel.
    pub queue: Queue,
    /// A message whose `Tg-Distinct` is that of the one before it, with the same `Tg-Key`, is delivered to nobody.
    pub is_distinct: bool,
    /// The owner knows which clients listen, and says who comes and goes.
    pub has_presence: bool,
    /// How long a user may be away before it has left; with presence.
    pub presence_grace: Duration,
}

impl Rule {
    /// What a client asks for that comes for the first time: all that is kept, or where the channel stands, which it can come
    /// back to. `None` if nothing is kept.
    pub fn since_for_newcomers(&self) -> Option<Since> {
        let since = if self.is_for_newcomers { Since::Beginning } else { Since::Now };
        self.history.map(|_| since)
    }

    /// The same for a client to whom a position means nothing.
    pub fn greeting(&self) -> Option<Since> {
        self.since_for_newcomers().filter(|since| *since != Since::Now)
    }
}

/// What a client gets that is slower than its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Everything; if that becomes too much the client is closed, and may come back for the rest.
    #[default]
    Queue,
    /// The newest message of each `Tg-Key`, or of the channel where messages have none.
    Latest,
    /// The newest messages, and word that others are missing before them.
    Drop,
}

/// How much may wait for one client: of all that waits for it if the channel's delivery is `queue`, else of the channel.
/// Beyond these bounds something is lost; a message that comes when nothing waits never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Most messages; at least 1.
    pub messages: usize,
    /// Never more than may wait for a client in all (`limits.outbox_bytes_max`).
    pub bytes: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { messages: limits::QUEUE_MESSAGES, bytes: usize::MAX }
    }
}

/// Why somebody who listens does not get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A newer one took its place before the client had room (`latest`).
    Superseded,
    /// It was the oldest of too many (`drop`).
    Oldest,
    /// It was one too many, and its client was closed.
    Closed,
    /// It says what the last one said (`distinct`); counted once, by the channel's owner.
    Same,
    /// Its channel had taken it before: it has the same `Nats-Msg-Id`.
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

    /// Whether it can befall messages under this rule.
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

/// How much of a channel is kept. What exceeds any of these is forgotten, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Most messages; at least 1.
    pub messages: usize,
    /// Of payloads and headers together, and what it costs to keep them.
    pub bytes: usize,
    /// Longest time since a message was published.
    pub age: Duration,
}

/// All rules, in the order of the configuration. At most [`CHANNEL_RULES_MAX`](crate::limits::CHANNEL_RULES_MAX).
#[derive(Clone, Debug)]
pub struct Rules {
    patterns: Vec<Pattern>,
    /// One more than patterns.
    rules: Vec<Rule>,
    has_distinct: bool,
    has_presence: bool,
}

impl Rules {
    /// Rules in the order in which they are tried. The rule of channels that no pattern matches is added as the last.
    pub fn new(rules: impl IntoIterator<Item = (Pattern, Rule)>) -> Rules {
        let (patterns, mut rules): (Vec<Pattern>, Vec<Rule>) = rules.into_iter().unzip();
        assert!(patterns.len() <= limits::CHANNEL_RULES_MAX, "the configuration bounds them");
        rules.push(Rule::default());
        let has_distinct = rules.iter().any(|rule| rule.is_distinct);
        let has_presence = rules.iter().any(|rule| rule.has_presence);
        Rules { patterns, rules, has_distinct, has_presence }
    }

    /// The rule of a channel, for it to be remembered: this walks through the patterns. Subjects that are no channels,
    /// the gateway's own and inboxes, have the rule of those that no pattern matches.
    pub fn number_of(&self, subject: &Subject) -> RuleNumber {
        let is_channel = !subject.is_reserved() && !subject.is_inbox();
        let found = self.patterns.iter().position(|pattern| is_channel && pattern.matches(subject.as_str()));
        found.map_or(self.fallback(), |index| RuleNumber(index as u16))
    }

    /// Of channels that no pattern matches, and of what is no channel.
    pub fn fallback(&self) -> RuleNumber {
        RuleNumber(self.patterns.len() as u16)
    }

    /// Whether there is a channel anywhere whose owner knows which clients listen.
    pub fn has_presence(&self) -> bool {
        self.has_presence
    }

    /// Whether there is a channel anywhere whose messages are to be distinct.
    pub fn has_distinct(&self) -> bool {
        self.has_distinct
    }

    /// How many there are, with the one that has no pattern.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// The rule with this number, which this list has given.
    pub fn rule(&self, number: RuleNumber) -> &Rule {
        &self.rules[number.index()]
    }

    /// Both at once, for what is asked rarely.
    pub fn of(&self, subject: &Subject) -> &Rule {
        self.rule(self.number_of(subject))
    }

    /// The rules' patterns, by number; none for the last.
    pub fn patterns(&self) -> impl Iterator<Item = (RuleNumber, Option<&Pattern>)> {
        (0..self.rules.len()).map(|index| (RuleNumber(index as u16), self.patterns.get(index)))
    }
}

impl Default for Rules {
    /// Nothing was said of any channel.
    fn default() -> Rules {
        Rules::new([])
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
        let rules = rules();
        let patterns: Vec<_> = rules.patterns().map(|(number, pattern)| (number.index(), pattern.is_some())).collect();
        assert_eq!(patterns, [(0, true), (1, true), (2, true), (3, false)]);
    }
}
