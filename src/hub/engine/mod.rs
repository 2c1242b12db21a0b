//! The engine: what is known of the channels that this shard owns. Offsets, which shards have listeners, what is kept.
//!
//! ```text
//!            join                    last leave                        more than IDLE_CHANNELS_MAX
//!  (none) ---------> live  <----------------------------------> idle -----------------------------> forgotten
//!     '--------------------- publish, nobody listens -----------^       (a new epoch, should it come back)
//! ```
//!
//! This one lives in memory. It is spoken to by mail (an ask, and the tell that answers it), so that one that lives elsewhere
//! can take its place; nobody but an engine reads positions.

mod distinct;
mod duplicates;
mod history;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ahash::AHashMap;
use lru::LruCache;

use super::{PlaceSet, fnv1a, mix};
use crate::base::{Place, Tick};
use crate::limits;
use crate::proto::channel::{Loss, RuleNumber, Rules};
use crate::proto::event::{Message, Position};
use crate::proto::replay::{Bounds, Excerpt, Gap, GapReason, Since};
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::headers::{DISTINCT_HEADER, ID_HEADER};
use crate::proto::subject::Subject;

use distinct::Distinct;
use duplicates::Duplicates;
use history::{Histories, History, Piece};

/// See the module's picture.
pub(crate) struct Engine {
    rules: Arc<Rules>,
    live: AHashMap<Subject, Channel>,
    /// Nobody listens; only where it stands is worth remembering.
    idle: LruCache<Subject, Standing>,
    histories: Histories,
    distinct: Distinct,
    duplicates: Duplicates,
    epoch_seed: u32,
    epochs: u32,
}

struct Channel {
    standing: Standing,
    listening: PlaceSet,
}

/// A message that is not taken, because its channel has said the same already, or has taken this very one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repetition {
    pub rule: RuleNumber,
    pub loss: Loss,
    /// Of the message that said it.
    pub position: Position,
}

/// The last position given, offset 0 before the first; and the rule, which has room beside it.
#[derive(Clone, Copy)]
struct Standing {
    offset: u64,
    epoch: u32,
    rule: RuleNumber,
}

const _: () = assert!(size_of::<Standing>() == 16, "every channel has one");

impl Standing {
    fn position(self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }
}

impl Engine {
    /// `epoch_seed` is random: positions of an earlier process must not look like this one's.
    pub(crate) fn new(rules: Arc<Rules>, history_bytes_max: usize, epoch_seed: u32) -> Engine {
        Engine {
            rules,
            live: AHashMap::new(),
            // Bounded by `park`: `LruCache::new` would allocate for the bound at once.
            idle: LruCache::unbounded(),
            histories: Histories::new(history_bytes_max),
            distinct: Distinct::new(),
            duplicates: Duplicates::new(limits::MESSAGE_IDS_BYTES_MAX),
            epoch_seed,
            epochs: 0,
        }
    }

    /// Channels with listeners, and channels remembered without.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.live.len(), self.idle.len())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Channels with something kept, and the bytes that this takes.
    pub(crate) fn kept(&self) -> (usize, usize) {
        self.histories.len()
    }

    /// `place` has a listener now.
    pub(crate) fn join(&mut self, subject: &Subject, place: Place) {
        if !self.live.contains_key(subject) {
            let standing = self.idle.pop(subject).unwrap_or_else(|| self.begin(subject));
            self.live.insert(subject.clone(), Channel { standing, listening: PlaceSet::default() });
        }
        if let Some(channel) = self.live.get_mut(subject) {
            channel.listening.insert(place);
        }
    }

    /// `place` has no listener any more.
    pub(crate) fn leave(&mut self, subject: &Subject, place: Place) {
        let Some(channel) = self.live.get_mut(subject) else { return };
        channel.listening.remove(place);
        if channel.listening.is_empty() {
            let standing = channel.standing;
            self.live.remove(subject);
            // Listeners of a channel with history have been told where it stands, even before its first message.
            if standing.offset > 0 || self.rules.rule(standing.rule).history.is_some() {
                self.park(subject.clone(), standing);
            }
        }
    }

    /// Who listens.
    pub(crate) fn listening(&self, subject: &Subject) -> PlaceSet {
        self.live.get(subject).map(|channel| channel.listening).unwrap_or_default()
    }

    /// Counts one message, keeps it if the channel's rule says so, and adds the places that listen. A repetition has no place
    /// among the channel's positions: whoever missed it has missed nothing, so it must not look like a gap. Answers' inboxes and
    /// the gateway's own subjects have no positions: they are one listener's each, and there are too many of them.
    pub(crate) fn publish(
        &mut self,
        message: &Arc<Message>,
        now: Tick,
        places: &mut PlaceSet,
    ) -> Result<Option<Position>, Repetition> {
        if message.destination() != Destination::Channel {
            if let Some(channel) = self.live.get(message.listened()) {
                places.union(&channel.listening);
            }
            return Ok(None);
        }
        let subject = &message.subject;
        let id = message_id(message);
        if let Some(position) = id.and_then(|id| self.duplicates.find(subject, id, now)) {
            return Err(Repetition { rule: self.rules.number_of(subject), loss: Loss::Duplicate, position });
        }
        if self.rules.has_distinct()
            && let Some(repetition) = self.repetition(subject, message, now)
        {
            if let Some(id) = id {
                self.duplicates.remember(subject, id, repetition.position, now);
            }
            return Err(repetition);
        }
        let standing = self.count(subject, places);
        let rule = self.rules.rule(standing.rule);
        if let Some(keep) = rule.history {
            self.histories.push(keep, standing.offset, message, now);
        }
        if rule.is_distinct {
            self.distinct.remember(message, standing.position());
        }
        if let Some(id) = id {
            self.duplicates.remember(subject, id, standing.position(), now);
        }
        Ok(Some(standing.position()))
    }

    /// Whether only the owner of its channel can say that the message is to be delivered.
    pub(crate) fn may_be_repetition(&self, message: &Message) -> bool {
        let is_distinct = || self.rules.has_distinct() && message.header(DISTINCT_HEADER).is_some();
        message.headers.is_some() && (message_id(message).is_some() || is_distinct())
    }

    /// Whether the message says again what its channel said last. What is not kept any more by a channel that keeps something
    /// may be said again: whoever has come meanwhile has not heard it.
    fn repetition(&mut self, subject: &Subject, message: &Message, now: Tick) -> Option<Repetition> {
        let standing = match self.live.get(subject) {
            Some(channel) => channel.standing,
            None => *self.idle.peek(subject)?,
        };
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

    fn count(&mut self, subject: &Subject, places: &mut PlaceSet) -> Standing {
        if let Some(channel) = self.live.get_mut(subject) {
            places.union(&channel.listening);
            channel.standing.offset += 1;
            return channel.standing;
        }
        if let Some(standing) = self.idle.get_mut(subject) {
            standing.offset += 1;
            return *standing;
        }
        let standing = Standing { offset: 1, ..self.begin(subject) };
        self.park(subject.clone(), standing);
        standing
    }

    /// What somebody asks for; `None` if there is no such channel. Whoever listens to it (`join`) gets an answer.
    pub(crate) fn replay(&mut self, subject: &Subject, since: Since, bounds: Bounds, now: Tick) -> Option<Excerpt> {
        let latest = match self.live.get(subject) {
            Some(channel) => channel.standing.position(),
            None => self.idle.get(subject)?.position(),
        };
        let history = self.histories.read(subject, now);
        // All that was said above the floor is kept.
        let floor = history.map_or(latest.offset, History::floor);
        let since = since.in_epoch(latest.epoch);
        let reason = gap_reason(since, latest, floor);
        let first = history.and_then(History::first).map(|offset| Position { offset, ..latest });
        let gap = reason.map(|reason| Gap { reason, first, last: latest });
        let Some(history) = history else {
            return Some(Excerpt { gap, begins_after: floor, messages: Vec::new(), latest, is_last: true });
        };
        let wanted = match since {
            Since::Now => history.len()..history.len(),
            Since::After(position) if gap.is_none() => history.count_to(position.offset)..history.len(),
            Since::Before(position) if gap.is_none() => 0..history.count_to(position.offset.saturating_sub(1)),
            _ => 0..history.len(),
        };
        let Piece { begins_after, messages, is_last } = match since {
            Since::Before(_) | Since::Latest => history.newest(wanted, bounds),
            _ => history.oldest(wanted, bounds),
        };
        Some(Excerpt { gap, begins_after, messages, latest, is_last })
    }

    /// When [`Engine::sweep`] has something to look for.
    pub(crate) fn sweep_at(&self) -> Tick {
        self.histories.sweep_at().min(self.duplicates.sweep_at())
    }

    /// Forgets some of what is too old.
    pub(crate) fn sweep(&mut self, now: Tick) {
        self.histories.sweep(now);
        self.duplicates.sweep(now);
    }

    /// An epoch is as good as random, and another for each channel: a position of one is none of any other.
    fn begin(&mut self, subject: &Subject) -> Standing {
        self.epochs = self.epochs.wrapping_add(1);
        let seed = u64::from(self.epoch_seed) << 32 | u64::from(self.epochs);
        let epoch = mix(mix(seed) ^ fnv1a(subject.as_str().as_bytes())) as u32;
        Standing { offset: 0, epoch, rule: self.rules.number_of(subject) }
    }

    fn park(&mut self, subject: Subject, standing: Standing) {
        self.idle.put(subject, standing);
        if self.idle.len() > limits::IDLE_CHANNELS_MAX
            && let Some((forgotten, _)) = self.idle.pop_lru()
        {
            self.histories.forget(&forgotten);
            self.duplicates.forget(&forgotten);
        }
    }
}

/// Why a channel that stands at `latest` and keeps what is above `floor` cannot give all that is asked for.
fn gap_reason(since: Since, latest: Position, floor: u64) -> Option<GapReason> {
    match since {
        Since::Now | Since::Beginning | Since::Latest => None,
        // Every offset is of an epoch by now.
        Since::AfterOffset(_) | Since::BeforeOffset(_) => None,
        Since::Unreadable => Some(GapReason::Malformed),
        Since::Unknown => Some(GapReason::Unknown),
        Since::After(position) | Since::Before(position) if position.epoch != latest.epoch => Some(GapReason::Epoch),
        Since::After(position) | Since::Before(position) if position.offset > latest.offset => Some(GapReason::Future),
        Since::After(position) => (position.offset < floor).then_some(GapReason::Gone),
        Since::Before(_) => None,
    }
}

/// What the publisher calls the message.
fn message_id(message: &Message) -> Option<&str> {
    message.header(ID_HEADER).filter(|id| !id.is_empty() && id.len() <= limits::MESSAGE_ID_BYTES_MAX)
}
