//! The log of the channels that this shard owns: their offsets, their kept messages, the recent names of messages, and the
//! last values.
//!
//! ```text
//!  append --> duplicate? --> same as the last? --> offset --> kept, if the rule says so --> position
//!                 '---------------'---> a repetition, which has no position of its own
//! ```
//!
//! This log lives in memory and answers at once; one that lives elsewhere can take its place. The standing of a channel
//! with subscribers is stored with the routing, and is an argument of the log's methods.

use std::sync::Arc;

use super::distinct::Distinct;
use super::duplicates::Duplicates;
use super::history::{ChannelHistory, Histories};
use super::idle::IdleChannels;
use super::standing::Standing;
use crate::base::{Tick, fnv1a, mix};
use crate::limits;
use crate::proto::channel::{Loss, RuleNumber, Rules};
use crate::proto::event::{Message, Position};
use crate::proto::reserved::headers::{DISTINCT_HEADER, ID_HEADER};
use crate::proto::subject::Subject;

/// See the module's picture.
pub(super) struct Log {
    rules: Arc<Rules>,
    /// Channels without subscribers; only their standing is remembered.
    idle: IdleChannels,
    histories: Histories,
    distinct: Distinct,
    duplicates: Duplicates,
    epoch_seed: u32,
    epochs: u32,
}

/// The answer of a log to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The message is the channel's next one, at this position; `None` if messages to this subject have no positions.
    Taken(Option<Position>),
    Repetition(Repetition),
}

/// A message that is not taken, because it repeats the value of the last one, or the name of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repetition {
    pub rule: RuleNumber,
    pub loss: Loss,
    /// The position of the earlier message.
    pub position: Position,
}

impl Log {
    pub(super) fn new(rules: Arc<Rules>, history_bytes_max: usize, epoch_seed: u32) -> Log {
        Log {
            rules,
            idle: IdleChannels::default(),
            histories: Histories::new(history_bytes_max),
            distinct: Distinct::new(),
            duplicates: Duplicates::new(limits::MESSAGE_IDS_BYTES_MAX),
            epoch_seed,
            epochs: 0,
        }
    }

    /// The number of remembered channels without subscribers.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// The number of channels with kept messages, and the bytes that they cost.
    pub(super) fn kept(&self) -> (usize, usize) {
        self.histories.len()
    }

    /// The standing of a channel that gets its first subscriber.
    pub(super) fn wake(&mut self, subject: &Subject) -> Standing {
        self.idle.take(subject).unwrap_or_else(|| self.begin(subject))
    }

    /// A channel with this standing has lost its last subscriber.
    pub(super) fn rest(&mut self, subject: &Subject, standing: Standing) {
        // Subscribers of a channel with history have been told its position, even before its first message.
        if standing.offset > 0 || self.rules.rule(standing.rule).history.is_some() {
            let has_history = self.histories.contains(subject);
            let forgotten = self.idle.park(subject.clone(), standing, has_history);
            self.forget(forgotten);
        }
    }

    /// Assigns a position to one message, and keeps the message if the channel's rule says so; `live` is the standing
    /// of a channel with subscribers. A repetition gets no position: a client that missed it has missed nothing, so it
    /// must not look like a gap.
    pub(super) fn append(&mut self, message: &Arc<Message>, live: Option<&mut Standing>, now: Tick) -> Appended {
        let subject = &message.subject;
        let id = message_id(message);
        if let Some(position) = id.and_then(|id| self.duplicates.find(subject, id, now)) {
            let rule = self.rules.number_of(subject);
            return Appended::Repetition(Repetition { rule, loss: Loss::Duplicate, position });
        }
        if self.rules.has_distinct()
            && let Some(repetition) = self.repetition(message, live.as_deref().copied(), now)
        {
            if let Some(id) = id {
                self.duplicates.remember(subject, id, repetition.position, now);
            }
            return Appended::Repetition(repetition);
        }
        let is_idle = live.is_none();
        let standing = match live {
            Some(live) => {
                live.offset += 1;
                *live
            }
            None => self.count_idle(subject),
        };
        let rule = self.rules.rule(standing.rule);
        let (history, is_distinct) = (rule.history, rule.is_distinct);
        if let Some(keep) = history {
            if is_idle {
                let forgotten = self.idle.keeps_history(subject);
                self.forget(forgotten);
            }
            self.histories.push(keep, standing.offset, message, now);
            self.sort();
        }
        if is_distinct {
            self.distinct.remember(message, standing.position());
        }
        if let Some(id) = id {
            self.duplicates.remember(subject, id, standing.position(), now);
        }
        Appended::Taken(Some(standing.position()))
    }

    /// Whether only the owner of its channel can decide that the message is delivered.
    pub(super) fn may_be_repetition(&self, message: &Message) -> bool {
        let is_distinct = || self.rules.has_distinct() && message.header(DISTINCT_HEADER).is_some();
        message.headers.is_some() && (message_id(message).is_some() || is_distinct())
    }

    /// Whether the message repeats the channel's last value. In a channel with history, a value whose message is no
    /// longer kept may be repeated, because new subscribers have not received it.
    fn repetition(&mut self, message: &Message, live: Option<Standing>, now: Tick) -> Option<Repetition> {
        let subject = &message.subject;
        let standing = live.or_else(|| self.idle.peek(subject))?;
        let rule = self.rules.rule(standing.rule);
        let position = if rule.is_distinct { self.distinct.same_as(message)? } else { return None };
        let is_kept = match rule.history {
            None => true,
            Some(_) => {
                let history = self.histories.read(subject, now);
                history.is_some_and(|history| history.floor() < position.offset)
            }
        };
        (is_kept && position.epoch == standing.epoch).then_some(Repetition {
            rule: standing.rule,
            loss: Loss::Same,
            position,
        })
    }

    fn count_idle(&mut self, subject: &Subject) -> Standing {
        if let Some(standing) = self.idle.get_mut(subject).filter(|standing| standing.offset > 0) {
            standing.offset += 1;
            return *standing;
        }
        let begun = self.idle.take(subject).unwrap_or_else(|| self.begin(subject));
        let standing = Standing { offset: 1, ..begun };
        let forgotten = self.idle.park(subject.clone(), standing, false);
        self.forget(forgotten);
        standing
    }

    /// The standing of a channel, and its kept messages, if any; `None` if the channel does not exist.
    pub(super) fn read(
        &mut self,
        subject: &Subject,
        live: Option<Standing>,
        now: Tick,
    ) -> Option<(Position, Option<&ChannelHistory>)> {
        let latest = live.or_else(|| self.idle.get_mut(subject).copied())?.position();
        Some((latest, self.histories.read(subject, now)))
    }

    /// When [`Log::sweep`] must be called.
    pub(super) fn sweep_at(&self) -> Tick {
        self.histories.sweep_at().min(self.duplicates.sweep_at())
    }

    /// Drops some old messages and names.
    pub(super) fn sweep(&mut self, now: Tick) {
        self.histories.sweep(now);
        self.sort();
        self.duplicates.sweep(now);
    }

    /// Epochs are pseudo-random and differ between channels, so a position of one channel is foreign to every other.
    fn begin(&mut self, subject: &Subject) -> Standing {
        self.epochs = self.epochs.wrapping_add(1);
        let seed = u64::from(self.epoch_seed) << 32 | u64::from(self.epochs);
        let epoch = mix(mix(seed) ^ fnv1a(subject.as_str().as_bytes())) as u32;
        Standing { offset: 0, epoch, rule: self.rules.number_of(subject) }
    }

    /// Moves channels that have lost their last kept message to the list of those that have none.
    fn sort(&mut self) {
        while let Some(subject) = self.histories.next_emptied() {
            if self.histories.contains(&subject) {
                // It has had a message since.
                continue;
            }
            let forgotten = self.idle.lost_history(subject);
            self.forget(forgotten);
        }
    }

    /// Nothing is known any more of a channel that has left the idle ones.
    fn forget(&mut self, forgotten: Option<Subject>) {
        if let Some(forgotten) = forgotten {
            self.histories.forget(&forgotten);
            self.duplicates.forget(&forgotten);
        }
    }
}

/// The publisher's name of the message.
fn message_id(message: &Message) -> Option<&str> {
    message.header(ID_HEADER).filter(|id| !id.is_empty() && id.len() <= limits::MESSAGE_ID_BYTES_MAX)
}
