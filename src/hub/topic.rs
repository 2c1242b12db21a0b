//! A topic: the clients of this shard that subscribe to one literal subject, and the events that are on their way to
//! them.
//!
//! An event for few clients is given to all of them at once. A fan-out to many is done in pieces, over several turns.
//! Meanwhile clients come and go, and further events arrive. A round gives the oldest events, together, to one client
//! after another, from the last one down to the first:
//!
//! ```text
//!  entries   | the round is still to come | the round is done | joined since  | joined since   |
//!            0                         cursor         cohorts[0].count  cohorts[1].count      the end
//! ```
//!
//! An event is for the clients that subscribed before it arrived: those below the `count` of its cohort (THE SEAM).
//! A new client is added at the end, and so gets only what arrives later. When a client leaves, the last entry of its
//! region takes its place, the last entry of the next region takes that one's, and so on, so that no entry changes its
//! region.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::base::{Key, shrink};
use crate::limits;
use crate::proto::channel::RuleNumber;
use crate::proto::event::Event;
use crate::proto::subject::Subject;

/// A receiver of a message, and the connection's own number for the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub key: Key,
    pub tag: u32,
}

/// What a fan-out needs to know of a subscriber, in one place.
#[derive(Clone, Copy)]
pub(super) struct TopicEntry {
    pub subscriber: Subscriber,
    /// The slot of its list position, which must know the place of this entry; with the bit [`SILENT`].
    sub: u32,
}

const _: () = assert!(size_of::<TopicEntry>() == 16);

/// A fan-out skips the subscription: its missed messages come first (THE SEAM). No shard has so many subscriptions that
/// slots need the bit.
pub(super) const SILENT: u32 = 1 << 31;

impl TopicEntry {
    pub(super) fn new(subscriber: Subscriber, sub: u32) -> TopicEntry {
        TopicEntry { subscriber, sub }
    }

    pub(super) fn slot(self) -> u32 {
        self.sub & !SILENT
    }

    pub(super) fn is_silent(self) -> bool {
        self.sub & SILENT != 0
    }

    pub(super) fn silence(&mut self, is_silent: bool) {
        self.sub = self.slot() | if is_silent { SILENT } else { 0 };
    }
}

/// An event for the clients of a topic, and the clients among them that do not get it.
#[derive(Clone)]
pub(crate) struct Pending {
    pub event: Rc<Event>,
    /// The publisher, if it does not want its own message.
    pub except: Option<Key>,
    /// The event is a question or a message to acknowledge: connections that can answer have got it already.
    pub is_said: bool,
}

/// What fan-outs to many clients are still to do, and the payloads that are kept for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveriesOwed {
    pub deliveries: usize,
    pub bytes: usize,
}

impl DeliveriesOwed {
    /// Replaces one part of a sum by another.
    pub(super) fn change(&mut self, before: DeliveriesOwed, after: DeliveriesOwed) {
        self.deliveries = self.deliveries - before.deliveries + after.deliveries;
        self.bytes = self.bytes - before.bytes + after.bytes;
    }
}

/// Events that arrived while the topic had the same clients.
struct Cohort {
    /// The events are for the entries below it.
    count: usize,
    events: Vec<Pending>,
}

/// Events that are on their way. There is at least one.
struct Rounds {
    cohorts: VecDeque<Cohort>,
    /// How many events of the first cohort the current round gives.
    size: usize,
    /// The entries below it have not got the round yet.
    cursor: usize,
    /// Payloads of all events.
    bytes: usize,
}

pub(super) struct Topic {
    pub subject: Subject,
    /// Looked up once, for all messages and subscribers.
    pub rule: RuleNumber,
    entries: Vec<TopicEntry>,
    rounds: Option<Box<Rounds>>,
    /// The serial of its join, until the owner confirms that it knows of this shard.
    pub joining: Option<u64>,
}

impl Topic {
    pub(super) fn new(subject: Subject, rule: RuleNumber) -> Topic {
        Topic { subject, rule, entries: Vec::new(), rounds: None, joining: None }
    }

    pub(super) fn entries(&self) -> &[TopicEntry] {
        &self.entries
    }

    pub(super) fn entry_mut(&mut self, index: usize) -> &mut TopicEntry {
        &mut self.entries[index]
    }

    /// Adds a client, which gets what arrives from now on. Returns its index.
    pub(super) fn push(&mut self, entry: TopicEntry) -> usize {
        // Grows by a quarter, because doubling would leave half of a large list empty.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(1 + self.entries.len() / 4);
        }
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// Removes a client. `moved` is told each other client that has got another index.
    pub(super) fn remove(&mut self, index: usize, mut moved: impl FnMut(TopicEntry, usize)) -> TopicEntry {
        let entries = &mut self.entries;
        let removed = entries[index];
        let last = entries.len() - 1;
        let mut hole = index;
        let mut fill = |hole: &mut usize, last: usize| {
            if last != *hole {
                entries[*hole] = entries[last];
                moved(entries[last], *hole);
                *hole = last;
            }
        };
        if let Some(rounds) = &mut self.rounds {
            let Rounds { cohorts, cursor, .. } = &mut **rounds;
            for end in std::iter::once(cursor).chain(cohorts.iter_mut().map(|cohort| &mut cohort.count)) {
                if *end > hole {
                    *end -= 1;
                    fill(&mut hole, *end);
                }
            }
        }
        fill(&mut hole, last);
        entries.pop();
        shrink(entries, ENTRIES_KEPT);
        removed
    }

    /// Adds an event to those that are on their way.
    pub(super) fn begin(&mut self, pending: Pending) {
        let count = self.entries.len();
        let rounds = self
            .rounds
            .get_or_insert_with(|| Box::new(Rounds { cohorts: VecDeque::new(), size: 0, cursor: 0, bytes: 0 }));
        rounds.bytes += pending.event.message.payload.len();
        match rounds.cohorts.back_mut() {
            Some(cohort) if cohort.count == count => cohort.events.push(pending),
            _ => rounds.cohorts.push_back(Cohort { count, events: vec![pending] }),
        }
        if rounds.size == 0 {
            rounds.begin();
        }
    }

    pub(super) fn has_rounds(&self) -> bool {
        self.rounds.is_some()
    }

    /// Goes on with the current round for about so many deliveries: `visit` gets each client with the round's events. Returns
    /// the number of deliveries, and whether the round is over. The next round is that of the events that are left, if any.
    pub(super) fn go_on(
        &mut self,
        deliveries: usize,
        mut visit: impl FnMut(Subscriber, RuleNumber, &[Pending]),
    ) -> (usize, bool) {
        let Some(rounds) = &mut self.rounds else { return (0, true) };
        let Some(cohort) = rounds.cohorts.front() else { return (0, true) };
        let events = &cohort.events[..rounds.size];
        let visits = deliveries.div_ceil(events.len()).min(rounds.cursor);
        let rest = rounds.cursor - visits;
        let entries = self.entries[rest..rounds.cursor].iter().rev();
        entries.filter(|entry| !entry.is_silent()).for_each(|entry| visit(entry.subscriber, self.rule, events));
        let done = visits * events.len();
        rounds.cursor = rest;
        if rest == 0 && !rounds.end() {
            self.rounds = None;
        }
        (done, rest == 0)
    }

    /// The events that are still on their way to a client.
    pub(super) fn pending(&self, index: usize) -> Vec<Pending> {
        match &self.rounds {
            Some(rounds) if !self.entries[index].is_silent() => rounds.pending(index).cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// What is still to come.
    pub(super) fn owed(&self) -> DeliveriesOwed {
        self.rounds.as_ref().map_or(DeliveriesOwed::default(), |rounds| rounds.owed())
    }
}

/// Capacity that a topic keeps even if it is not used.
const ENTRIES_KEPT: usize = 8;

impl Rounds {
    fn begin(&mut self) {
        let Some(cohort) = self.cohorts.front() else { return };
        let mut bytes = 0;
        let fits = cohort.events.iter().take_while(|pending| {
            bytes += pending.event.message.payload.len();
            bytes <= limits::ROUND_BYTES_MAX
        });
        self.size = fits.take(limits::ROUND_EVENTS_MAX).count().max(1);
        self.cursor = cohort.count;
    }

    /// Drops the events of the round that is over. False if no event is left.
    fn end(&mut self) -> bool {
        if let Some(cohort) = self.cohorts.front_mut() {
            let given = cohort.events.drain(..self.size);
            self.bytes -= given.map(|pending| pending.event.message.payload.len()).sum::<usize>();
            if cohort.events.is_empty() {
                self.cohorts.pop_front();
            }
        }
        self.begin();
        !self.cohorts.is_empty()
    }

    fn pending(&self, index: usize) -> impl Iterator<Item = &Pending> {
        let cohorts = self.cohorts.iter().enumerate().filter(move |(_, cohort)| index < cohort.count);
        cohorts.flat_map(move |(number, cohort)| {
            let is_given = number == 0 && index >= self.cursor;
            cohort.events.iter().skip(if is_given { self.size } else { 0 })
        })
    }

    fn owed(&self) -> DeliveriesOwed {
        let all: usize = self.cohorts.iter().map(|cohort| cohort.count * cohort.events.len()).sum();
        let done = self.cohorts.front().map_or(0, |cohort| (cohort.count - self.cursor) * self.size);
        DeliveriesOwed { deliveries: all - done, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Random;
    use crate::proto::event::Message;

    /// What each client should have got, and has got.
    struct Play {
        topic: Topic,
        /// By slot of the subscription: its index, if it is there.
        indices: Vec<Option<usize>>,
        wanted: Vec<Vec<String>>,
        given: Vec<Vec<String>>,
        said: usize,
    }

    fn text(pending: &Pending) -> String {
        String::from_utf8(pending.event.message.payload.to_vec()).unwrap()
    }

    impl Play {
        fn new() -> Play {
            let topic = Topic::new(Subject::new("room").unwrap(), RuleNumber::FALLBACK);
            Play { topic, indices: Vec::new(), wanted: Vec::new(), given: Vec::new(), said: 0 }
        }

        fn comes(&mut self) {
            let slot = self.indices.len() as u32;
            let subscriber = Subscriber { key: Key { slot, generation: 0 }, tag: 0 };
            self.indices.push(Some(self.topic.push(TopicEntry::new(subscriber, slot))));
            self.wanted.push(Vec::new());
            self.given.push(Vec::new());
        }

        fn is_said(&mut self) {
            self.said += 1;
            let payload = self.said.to_string();
            for slot in (0..self.indices.len()).filter(|slot| self.indices[*slot].is_some()) {
                self.wanted[slot].push(payload.clone());
            }
            let message = Message::new(Subject::new("room").unwrap(), None, None, payload.into_bytes().into());
            self.topic.begin(Pending { event: Rc::new(Event::new(message, None)), except: None, is_said: false });
        }

        /// It gets what is pending first, as when a shard ends a connection.
        fn leaves(&mut self, slot: usize) {
            let Some(index) = self.indices[slot].take() else { return };
            let pending = self.topic.pending(index);
            self.given[slot].extend(pending.iter().map(text));
            assert_eq!(self.given[slot], self.wanted[slot], "client {slot}");
            let indices = &mut self.indices;
            self.topic.remove(index, |moved, index| indices[moved.slot() as usize] = Some(index));
        }

        fn goes_on(&mut self, deliveries: usize) {
            let owed = self.topic.owed().deliveries;
            let given = &mut self.given;
            let (done, _) = self.topic.go_on(deliveries, |subscriber, _, events| {
                given[subscriber.key.slot as usize].extend(events.iter().map(text));
            });
            assert_eq!(self.topic.owed().deliveries, owed - done);
        }

        fn check(&self) {
            for (slot, index) in self.indices.iter().enumerate() {
                if let Some(index) = *index {
                    assert_eq!(self.topic.entries()[index].slot(), slot as u32, "an entry is where it is said to be");
                }
            }
            let events = self.topic.rounds.iter().flat_map(|rounds| &rounds.cohorts).flat_map(|cohort| &cohort.events);
            assert_eq!(
                self.topic.owed().bytes,
                events.map(|pending| pending.event.message.payload.len()).sum::<usize>()
            );
        }
    }

    #[test]
    fn every_client_gets_what_was_said_while_it_was_there_and_once() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut play = Play::new();
            for _ in 0..200 {
                match random.below(6) {
                    0 | 1 => play.comes(),
                    2 if !play.indices.is_empty() => play.leaves(random.below(play.indices.len() as u64) as usize),
                    3 if !play.topic.entries().is_empty() => play.is_said(),
                    _ => play.goes_on(1 + random.below(8) as usize),
                }
                play.check();
            }
            while play.topic.has_rounds() {
                play.goes_on(3);
            }
            assert_eq!(play.given, play.wanted, "seed {seed}");
            assert_eq!(play.topic.owed(), DeliveriesOwed::default());
        }
    }

    #[test]
    fn a_round_has_few_bytes_and_few_events() {
        let mut play = Play::new();
        play.comes();
        let event = |size: usize| {
            let message = Message::new(Subject::new("room").unwrap(), None, None, vec![0; size].into());
            Pending { event: Rc::new(Event::new(message, None)), except: None, is_said: false }
        };
        let round = |play: &mut Play| {
            let mut size = 0;
            play.topic.go_on(1, |_, _, events| size = events.len());
            size
        };
        for size in [limits::ROUND_BYTES_MAX + 1, limits::ROUND_BYTES_MAX, 1] {
            play.topic.begin(event(size));
        }
        (0..limits::ROUND_EVENTS_MAX).for_each(|_| play.topic.begin(event(0)));
        assert_eq!(round(&mut play), 1, "even if one event alone is too large");
        assert_eq!(round(&mut play), 1);
        assert_eq!(round(&mut play), limits::ROUND_EVENTS_MAX);
        assert_eq!(round(&mut play), 1);
        assert!(!play.topic.has_rounds());
    }

    #[test]
    fn a_topic_that_has_shrunk_gives_its_memory_back() {
        let mut play = Play::new();
        (0..1_000).for_each(|_| play.comes());
        (0..1_000).for_each(|slot| play.leaves(slot));
        assert!(play.topic.entries.capacity() <= 4 * ENTRIES_KEPT);
    }
}
