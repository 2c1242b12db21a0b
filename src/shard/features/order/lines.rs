//! The line of a publisher: its messages for workers that wait until the owner of a channel says whether a message is a
//! repetition.
//!
//! ```text
//!  publish --+--> the owner: clients, history, and the Verdict ---------.
//!            '--> wait: behind it everything else that the same         v
//!                 publisher says to workers (follow) ----------> decide, next_decided --> the workers, in order
//! ```
//!
//! Without lines a named message would reach a worker by another way than unnamed ones, which would overtake it. A
//! publisher with a long line is not read. A verdict arrives as a tell and only decides: the mail that follows from it
//! is made once a turn, while there is room for it (TELLS ARE TERMINAL).

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::base::{Key, shrink};
use crate::hub::Recipients;
use crate::limits;
use crate::mesh::Publish;

/// The lines of all publishers of a shard.
#[derive(Default)]
pub(super) struct PublisherLines {
    by_publisher: AHashMap<Key, PublisherLine>,
    /// Publishers with a decided message, the one decided longest ago first.
    decided: VecDeque<Key>,
}

/// A line is never empty, and its first message is undecided, except for the rest of the turn in which the verdict
/// arrives.
#[derive(Default)]
struct PublisherLine {
    waiting: VecDeque<QueuedPublication>,
    /// The number of the first message.
    first: u32,
    bytes: usize,
}

/// The next decided message.
pub(super) enum Decided {
    /// The message is taken, and goes to these workers.
    Message { publish: Publish, workers: Recipients },
    /// The message is dropped.
    Repetition,
    /// The publisher has no more decided messages.
    NoMore { publisher: Key, is_empty: bool },
}

struct QueuedPublication {
    publish: Publish,
    workers: Recipients,
    is_taken: Option<bool>,
}

impl PublisherLine {
    fn push(&mut self, publish: Publish, workers: Recipients, is_taken: Option<bool>) -> u32 {
        self.bytes += publish.message.bytes();
        self.waiting.push_back(QueuedPublication { publish, workers, is_taken });
        self.first.wrapping_add(self.waiting.len() as u32 - 1)
    }

    fn pop_decided(&mut self) -> Option<QueuedPublication> {
        self.waiting.front()?.is_taken?;
        let first = self.waiting.pop_front()?;
        self.bytes -= first.publish.message.bytes();
        self.first = self.first.wrapping_add(1);
        Some(first)
    }

    fn is_long(&self) -> bool {
        self.waiting.len() > limits::LINE_MESSAGES_MAX || self.bytes > limits::LINE_BYTES_MAX
    }
}

impl PublisherLines {
    pub(super) fn len(&self) -> usize {
        self.by_publisher.len()
    }

    /// Whether the publisher, of this shard, has a line.
    pub(super) fn has(&self, publisher: Key) -> bool {
        !self.by_publisher.is_empty() && self.by_publisher.contains_key(&publisher)
    }

    /// Adds a message that may be a repetition. Returns the number by which the verdict names it.
    pub(super) fn wait(&mut self, publisher: Key, publish: Publish, workers: Recipients) -> u32 {
        self.by_publisher.entry(publisher).or_default().push(publish, workers, None)
    }

    /// Adds a message that waits only for those before it.
    pub(super) fn follow(&mut self, publisher: Key, publish: Publish, workers: Recipients) {
        self.by_publisher.entry(publisher).or_default().push(publish, workers, Some(true));
    }

    /// The owner's verdict on a message.
    pub(super) fn decide(&mut self, publisher: Key, number: u32, is_taken: bool) {
        let Some(line) = self.by_publisher.get_mut(&publisher) else { return };
        if let Some(waiting) = line.waiting.get_mut(number.wrapping_sub(line.first) as usize) {
            waiting.is_taken = Some(is_taken);
            self.decided.push_back(publisher);
        }
    }

    pub(super) fn is_long(&self, publisher: Key) -> bool {
        self.by_publisher.get(&publisher).is_some_and(PublisherLine::is_long)
    }

    /// Whether [`PublisherLines::next_decided`] has something.
    pub(super) fn has_work(&self) -> bool {
        !self.decided.is_empty()
    }

    /// Takes the next decided message of any line.
    pub(super) fn next_decided(&mut self) -> Option<Decided> {
        let publisher = *self.decided.front()?;
        let line = self.by_publisher.get_mut(&publisher);
        match line.and_then(PublisherLine::pop_decided) {
            Some(QueuedPublication { is_taken: Some(false), .. }) => Some(Decided::Repetition),
            Some(QueuedPublication { publish, workers, .. }) => Some(Decided::Message { publish, workers }),
            None => {
                self.decided.pop_front();
                shrink(&mut self.decided, limits::ENTRIES_KEPT);
                let is_empty = self.by_publisher.get(&publisher).is_some_and(|line| line.waiting.is_empty());
                if is_empty {
                    self.by_publisher.remove(&publisher);
                    shrink(&mut self.by_publisher, limits::ENTRIES_KEPT);
                }
                Some(Decided::NoMore { publisher, is_empty })
            }
        }
    }
}
