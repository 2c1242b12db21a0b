//! This shard's subscriptions: the subjects of each of its connections.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use ahash::AHashMap;
use slab::Slab;

use super::directory::{Member, Membership};
use super::patterns::Trie;
use super::topic::{DeliveriesOwed, Pending, SILENT, Subscriber, Topic, TopicEntry};
use crate::base::{Key, NameTable, Place, Slots, shrink};
use crate::limits;
use crate::proto::channel::{RuleNumber, Rules};
use crate::proto::subject::{Pattern, Subject};

/// Names a subscription of this shard; a stale key finds nothing.
pub(crate) type SubKey = Key;

/// The position of a subscription: at `index` of the list of a topic (a literal subject), or of the patterns (`WILD`).
#[derive(Clone, Copy)]
struct ListPosition {
    topic: TopicNumber,
    index: u32,
}

const _: () = assert!(size_of::<Option<ListPosition>>() == 8, "every subscriber has one");

/// A topic's index plus one, or `WILD`. Never zero, so that a vacant slot needs no word to say so.
type TopicNumber = NonZeroU32;

const WILD: TopicNumber = NonZeroU32::MAX;

enum Stand<'a> {
    Topic(&'a Topic, usize),
    Wild(&'a Wild),
}

struct Wild {
    subscriber: Subscriber,
    pattern: Pattern,
    /// With a queue group, the subscription is in every directory only, and addressed by it. Without one, it is also in
    /// the shard's trie.
    queue: Option<Arc<str>>,
}

/// The step that is missing before a client's subscription is in force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// In force.
    Done,
    /// Tell the channel's owner; `key` waits for [`Subscribers::joined`].
    Join { subject: Subject, serial: u64 },
    /// The owner is being told already; `key` waits for the same confirmation.
    Joining,
}

/// The letter that is due after a subscription has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    Nothing,
    Leave(Subject),
    Resign(Membership),
}

/// All subscriptions of one shard.
pub(crate) struct Subscribers {
    own: Place,
    rules: Arc<Rules>,
    subs: Slots<ListPosition>,
    topics: Slab<Topic>,
    /// Workers' subscriptions.
    wild: Slab<Wild>,
    by_subject: NameTable<Subject, usize>,
    patterns: Trie<SubKey>,
    serial: u64,
    /// The connections that wait for the answer to each join. The answer comes even if the topic has gone, and a
    /// connection that has unsubscribed still counts on it.
    joins: AHashMap<u64, Vec<Key>>,
    /// The topics with events on their way to many clients, each in its turn …
    spreading: VecDeque<usize>,
    /// … and those whose round is over: the next one begins in the next turn, when this one has been sent.
    rested: VecDeque<usize>,
    /// What these topics are still to do, in all.
    owed: DeliveriesOwed,
}

impl Subscribers {
    pub(crate) fn new(own: Place, rules: Arc<Rules>) -> Subscribers {
        Subscribers {
            own,
            rules,
            subs: Slots::new(0),
            topics: Slab::new(),
            wild: Slab::new(),
            by_subject: NameTable::default(),
            patterns: Trie::default(),
            serial: 0,
            joins: AHashMap::new(),
            spreading: VecDeque::new(),
            rested: VecDeque::new(),
            owed: DeliveriesOwed::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.subs.len()
    }

    /// Entries for which its lists have room.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.topics.capacity() + self.by_subject.capacity() + self.joins.capacity()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.subs.is_empty() && self.topics.is_empty() && self.patterns.is_empty()
    }

    /// Subscribes the worker `key`; `tag` comes back with each message. The subscription is in force when every shard
    /// knows of it.
    pub(crate) fn subscribe_worker(
        &mut self,
        key: Key,
        tag: u32,
        pattern: &Pattern,
        queue: Option<&str>,
    ) -> (SubKey, Membership) {
        let queue: Option<Arc<str>> = queue.map(Arc::from);
        let wild = Wild { subscriber: Subscriber { key, tag }, pattern: pattern.clone(), queue: queue.clone() };
        let sub = self.subs.insert(ListPosition { topic: WILD, index: self.wild.insert(wild) as u32 });
        if queue.is_none() {
            self.patterns.insert(pattern, sub);
        }
        (sub, self.membership(sub, key, pattern, queue))
    }

    /// Subscribes the client `key` in the same way. The result says whether the subscription is in force.
    pub(crate) fn subscribe(&mut self, key: Key, tag: u32, subject: &Subject) -> (SubKey, Registration) {
        let (subscriber, subject) = (Subscriber { key, tag }, subject.clone());
        let (topic, is_first) = self.topic(&subject);
        let entries = self.topics[topic].entries();
        let sub = self.subs.insert(ListPosition { topic: number(topic), index: entries.len() as u32 });
        assert!(sub.slot < SILENT, "a shard's memory bounds its subscriptions");
        self.topics[topic].push(TopicEntry::new(subscriber, sub.slot));
        if is_first {
            self.serial += 1;
            self.topics[topic].joining = Some(self.serial);
            self.joins.insert(self.serial, vec![key]);
            return (sub, Registration::Join { subject, serial: self.serial });
        }
        match self.topics[topic].joining.and_then(|serial| self.joins.get_mut(&serial)) {
            None => (sub, Registration::Done),
            Some(waiting) => {
                waiting.push(key);
                (sub, Registration::Joining)
            }
        }
    }

    /// The owner knows of this shard: returns the connections that waited for the join `serial`. The answer to an earlier
    /// join releases only the connections that waited for that one; a newer join of the subject stays open.
    pub(crate) fn joined(&mut self, subject: &Subject, serial: u64) -> Vec<Key> {
        if let Some(topic) = self.by_subject.get(subject.as_str()) {
            self.topics[*topic].joining.take_if(|current| *current == serial);
        }
        let waiting = self.joins.remove(&serial).unwrap_or_default();
        shrink(&mut self.joins, limits::ENTRIES_KEPT);
        waiting
    }

    pub(crate) fn unsubscribe(&mut self, sub: SubKey) -> Withdrawal {
        match self.subs.remove(sub) {
            None => Withdrawal::Nothing,
            Some(ListPosition { topic, index }) if topic != WILD => self.leave_topic(index_of(topic), index as usize),
            Some(ListPosition { index, .. }) => {
                let Wild { subscriber, pattern, queue } = self.wild.remove(index as usize);
                shrink(&mut self.wild, limits::ENTRIES_KEPT);
                if queue.is_none() {
                    self.patterns.remove(&pattern, |other| *other == sub);
                }
                Withdrawal::Resign(self.membership(sub, subscriber.key, &pattern, queue))
            }
        }
    }

    fn leave_topic(&mut self, topic: usize, index: usize) -> Withdrawal {
        self.remove_entry(topic, index);
        if !self.topics[topic].entries().is_empty() {
            return Withdrawal::Nothing;
        }
        let removed = self.topics.remove(topic);
        self.owed.change(removed.owed(), DeliveriesOwed::default());
        shrink(&mut self.topics, limits::ENTRIES_KEPT);
        if removed.has_rounds() {
            self.spreading.retain(|other| *other != topic);
            self.rested.retain(|other| *other != topic);
        }
        self.by_subject.remove(removed.subject.as_str());
        Withdrawal::Leave(removed.subject)
    }

    fn remove_entry(&mut self, topic: usize, index: usize) -> TopicEntry {
        let Subscribers { topics, subs, .. } = self;
        let before = topics[topic].owed();
        let removed = topics[topic].remove(index, |moved, index| {
            let Some(moved) = subs.at_mut(moved.slot()) else {
                unreachable!("a topic lists subscriptions that are there")
            };
            moved.index = index as u32;
        });
        self.owed.change(before, topics[topic].owed());
        removed
    }

    /// The subscriber behind a directory's member, if it is still there.
    pub(crate) fn subscriber(&self, sub: SubKey) -> Option<Subscriber> {
        Some(match self.stand(sub)? {
            Stand::Topic(topic, index) => topic.entries()[index].subscriber,
            Stand::Wild(wild) => wild.subscriber,
        })
    }

    /// Makes fan-outs skip a subscription to a literal subject, or serve it again. It gets what arrives from then on, not
    /// what is on its way: that is among the missed messages (THE SEAM).
    pub(crate) fn silence(&mut self, sub: SubKey, is_silent: bool) {
        let Some((topic, mut index)) = self.place_of(sub) else { return };
        if !is_silent {
            index = self.move_to_the_end(topic, index);
        }
        self.topics[topic].entry_mut(index).silence(is_silent);
    }

    /// Takes the events that are on their way to a subscription, oldest first: it will not get them again.
    pub(crate) fn take_pending(&mut self, sub: SubKey) -> Vec<Pending> {
        let Some((topic, index)) = self.place_of(sub) else { return Vec::new() };
        let pending = self.topics[topic].pending(index);
        self.move_to_the_end(topic, index);
        pending
    }

    /// The topic of a subscription to a literal subject, and its index there.
    fn place_of(&self, sub: SubKey) -> Option<(usize, usize)> {
        let ListPosition { topic, index } = *self.subs.get(sub).filter(|sub| sub.topic != WILD)?;
        Some((index_of(topic), index as usize))
    }

    /// Makes a client the latest of a topic with events on their way, so that it gets none of them.
    fn move_to_the_end(&mut self, topic: usize, index: usize) -> usize {
        if !self.topics[topic].has_rounds() {
            return index;
        }
        let entry = self.remove_entry(topic, index);
        let index = self.topics[topic].push(entry);
        if let Some(moved) = self.subs.at_mut(entry.slot()) {
            moved.index = index as u32;
        }
        index
    }

    /// The subject of a subscription, if it is literal.
    pub(crate) fn subject(&self, sub: SubKey) -> Option<&Subject> {
        match self.stand(sub)? {
            Stand::Topic(topic, _) => Some(&topic.subject),
            Stand::Wild(_) => None,
        }
    }

    /// The rule of that subject.
    pub(crate) fn rule(&self, sub: SubKey) -> Option<RuleNumber> {
        match self.stand(sub)? {
            Stand::Topic(topic, _) => Some(topic.rule),
            Stand::Wild(_) => None,
        }
    }

    fn stand(&self, sub: SubKey) -> Option<Stand<'_>> {
        let ListPosition { topic, index } = *self.subs.get(sub)?;
        Some(match topic {
            WILD => Stand::Wild(&self.wild[index as usize]),
            _ => Stand::Topic(&self.topics[index_of(topic)], index as usize),
        })
    }

    /// Calls `visit` for every client of this shard that subscribes to `subject`, with the rule of the channel. It calls
    /// none before the owner has confirmed the join: a message that arrives earlier was meant for subscribers that have
    /// left since, and the next one may not arrive.
    pub(crate) fn for_each(&self, subject: &str, visit: impl FnMut(Subscriber, RuleNumber)) {
        if let Some(topic) = self.by_subject.get(subject) {
            visit_all(&self.topics[*topic], visit);
        }
    }

    /// Calls `visit` in the same way for the clients of an event, unless they are many or earlier events are on their way
    /// to them: then the event follows these, and [`Subscribers::go_on`] visits the clients. Returns the number of clients
    /// that it is on its way to.
    pub(crate) fn fan_out(
        &mut self,
        pending: &Pending,
        at_once_max: usize,
        visit: impl FnMut(Subscriber, RuleNumber),
    ) -> usize {
        let Some(number) = self.by_subject.get(&pending.event.message.listened()).copied() else { return 0 };
        let topic = &mut self.topics[number];
        let count = topic.entries().len();
        let is_spreading = topic.has_rounds();
        if count <= at_once_max && !is_spreading {
            visit_all(topic, visit);
            return 0;
        }
        if topic.joining.is_some() {
            return 0;
        }
        let before = topic.owed();
        topic.begin(pending.clone());
        self.owed.change(before, topic.owed());
        if !is_spreading {
            self.spreading.push_back(number);
        }
        count
    }

    /// Whether events are on their way to many clients.
    pub(crate) fn is_spreading(&self) -> bool {
        !self.spreading.is_empty() || !self.rested.is_empty()
    }

    /// What fan-outs to many clients are still to do.
    pub(crate) fn owed(&self) -> DeliveriesOwed {
        self.owed
    }

    /// Lets every topic with events on their way begin or go on with one round.
    pub(crate) fn begin_rounds(&mut self) {
        self.spreading.append(&mut self.rested);
    }

    /// Goes on with the round of the next topic for about so many deliveries; false if all rounds are over.
    pub(crate) fn go_on(&mut self, deliveries: usize, visit: impl FnMut(Subscriber, RuleNumber, &[Pending])) -> bool {
        let Some(number) = self.spreading.pop_front() else { return false };
        let topic = &mut self.topics[number];
        let before = topic.owed();
        let (_, is_over) = topic.go_on(deliveries, visit);
        self.owed.change(before, topic.owed());
        if topic.has_rounds() {
            if is_over { &mut self.rested } else { &mut self.spreading }.push_back(number);
        }
        true
    }

    /// Whether a client of this shard subscribes to `subject`, even if the owner has not confirmed it yet.
    pub(crate) fn has_clients(&self, subject: &Subject) -> bool {
        self.by_subject.contains(subject.as_str())
    }

    /// Calls `visit` for every worker of this shard with a plain subscription that matches `subject`. No channel's rule
    /// applies to workers.
    pub(crate) fn for_each_worker(&self, subject: &Subject, mut visit: impl FnMut(Subscriber)) {
        self.patterns.for_each_match(subject.as_str(), |sub| {
            if let Some(subscriber) = self.subscriber(*sub) {
                visit(subscriber);
            }
        });
    }

    fn topic(&mut self, subject: &Subject) -> (usize, bool) {
        if let Some(topic) = self.by_subject.get(subject.as_str()) {
            return (*topic, false);
        }
        let topic = self.topics.insert(Topic::new(subject.clone(), self.rules.number_of(subject)));
        self.by_subject.get_or_insert_with(subject, || topic);
        (topic, true)
    }

    fn membership(&self, sub: SubKey, key: Key, pattern: &Pattern, queue: Option<Arc<str>>) -> Membership {
        Membership { pattern: pattern.clone(), queue, member: Member { place: self.own, key, sub } }
    }
}

fn number(topic: usize) -> TopicNumber {
    NonZeroU32::MIN.saturating_add(topic as u32)
}

fn index_of(topic: TopicNumber) -> usize {
    topic.get() as usize - 1
}

/// Visits the clients of a topic that is in force.
#[inline]
fn visit_all(topic: &Topic, mut visit: impl FnMut(Subscriber, RuleNumber)) {
    if topic.joining.is_none() {
        let entries = topic.entries().iter().filter(|entry| !entry.is_silent());
        entries.for_each(|entry| visit(entry.subscriber, topic.rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    fn subject(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    fn who(subscribers: &Subscribers, subject: &str) -> Vec<u32> {
        let mut keys = Vec::new();
        let subject = Subject::new(subject).unwrap();
        subscribers.for_each(subject.as_str(), |subscriber, _| keys.push(subscriber.key.slot));
        subscribers.for_each_worker(&subject, |subscriber| keys.push(subscriber.key.slot));
        keys.sort();
        keys
    }

    #[test]
    fn only_the_first_listener_joins_and_only_the_last_leaves() {
        let mut subscribers = Subscribers::new(Place(0), Arc::default());
        let channel = subject("a.b");
        let (first, registration) = subscribers.subscribe(key(1), 0, &subject("a.b"));
        let Registration::Join { serial, .. } = registration else { panic!("{registration:?}") };
        let (second, registration) = subscribers.subscribe(key(2), 0, &subject("a.b"));
        assert_eq!(registration, Registration::Joining);
        assert_eq!(subscribers.joined(&channel, serial), [key(1), key(2)]);
        assert_eq!(subscribers.subscribe(key(3), 0, &subject("a.b")).1, Registration::Done);
        assert_eq!(who(&subscribers, "a.b"), [1, 2, 3]);
        assert_eq!(subscribers.unsubscribe(first), Withdrawal::Nothing);
        assert_eq!(who(&subscribers, "a.b"), [2, 3]);
        assert_eq!(subscribers.unsubscribe(second), Withdrawal::Nothing);
        assert_eq!(subscribers.unsubscribe(second), Withdrawal::Nothing, "a stale key ends nothing");
        assert_eq!(who(&subscribers, "a.b"), [3]);
    }

    #[test]
    fn whoever_is_silent_is_passed_over_wherever_its_entry_moves() {
        let mut subscribers = Subscribers::new(Place(0), Arc::default());
        let subs: Vec<SubKey> = (0..4).map(|slot| subscribers.subscribe(key(slot), 0, &subject("a")).0).collect();
        subscribers.joined(&Subject::new("a").unwrap(), 1);
        subscribers.silence(subs[3], true);
        assert_eq!(who(&subscribers, "a"), [0, 1, 2]);
        subscribers.unsubscribe(subs[0]);
        assert_eq!(who(&subscribers, "a"), [1, 2]);
        assert_eq!(subscribers.subscriber(subs[3]).map(|subscriber| subscriber.key), Some(key(3)));
        subscribers.silence(subs[3], false);
        assert_eq!(who(&subscribers, "a"), [1, 2, 3]);
        subscribers.unsubscribe(subs[3]);
        subscribers.silence(subs[3], true);
        assert_eq!(who(&subscribers, "a"), [1, 2], "a stale key silences nobody");
    }

    #[test]
    fn the_answer_to_an_earlier_join_releases_those_of_then() {
        let mut subscribers = Subscribers::new(Place(0), Arc::default());
        let channel = subject("a");
        let (sub, registration) = subscribers.subscribe(key(1), 0, &subject("a"));
        let Registration::Join { serial: earlier, .. } = registration else { panic!("{registration:?}") };
        assert_eq!(subscribers.unsubscribe(sub), Withdrawal::Leave(channel.clone()));
        let (_, registration) = subscribers.subscribe(key(2), 0, &subject("a"));
        let Registration::Join { serial: later, .. } = registration else { panic!("{registration:?}") };
        assert_eq!(subscribers.joined(&channel, earlier), [key(1)]);
        assert_eq!(subscribers.subscribe(key(3), 0, &subject("a")).1, Registration::Joining, "not in force yet");
        assert_eq!(subscribers.joined(&channel, later), [key(2), key(3)]);
        assert_eq!(subscribers.joined(&channel, later), [], "each answer comes once");
    }

    #[test]
    fn what_workers_listen_to_is_everybodys_business() {
        let mut subscribers = Subscribers::new(Place(2), Arc::default());
        let mut subs = Vec::new();
        for (text, queue) in [("a.*", None), ("a.b", Some("q")), ("tg.service.x", None)] {
            let (sub, membership) = subscribers.subscribe_worker(key(9), 5, &pattern(text), queue);
            assert_eq!(membership.member, Member { place: Place(2), key: key(9), sub });
            subs.push((sub, membership));
        }
        assert_eq!(who(&subscribers, "a.b"), [9], "the queue's member is addressed, not matched");
        assert_eq!(who(&subscribers, "tg.service.x"), [9]);
        assert_eq!(subscribers.subscriber(subs[1].0), Some(Subscriber { key: key(9), tag: 5 }));
        for (sub, membership) in subs {
            assert_eq!(subscribers.unsubscribe(sub), Withdrawal::Resign(membership));
        }
        assert!(subscribers.is_empty());
    }
}
