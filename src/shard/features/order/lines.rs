//! The line of a publisher: what it has published for workers, and only the owner of the channel knows whether it is no repetition.
//!
//! ```text
//!  publish --+--> the owner: clients, history, and the Verdict ---------.
//!            '--> wait: behind it everything else that the same         v
//!                 publisher says to workers (follow) ----------> decide, next_decided --> the workers, in order
//! ```
//!
//! Without it a named message would come to a worker by another way than the rest, and be overtaken. A publisher whose line is long
//! is not read on. What is told only decides; the mail that follows from it is made once a turn, while there is room for it (TELLS ARE
//! TERMINAL).

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::base::Key;
use crate::hub::Recipients;
use crate::limits;
use crate::mesh::Publish;

/// Of all publishers of a shard that wait.
#[derive(Default)]
pub(super) struct Lines {
    by_publisher: AHashMap<Key, Line>,
    /// Of which something is decided, the longest ago first.
    decided: VecDeque<Key>,
}

/// Never empty, and its first is not decided, but for the rest of the turn in which that comes.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// The number of the first.
    first: u32,
    bytes: usize,
}

/// The next of what is decided.
pub(super) enum Decided {
    /// It is taken, and goes to these.
    Message { publish: Publish, workers: Recipients },
    /// It goes nowhere.
    Repetition,
    /// Of this publisher there is nothing more that is decided, or nothing at all.
    NoMore { publisher: Key, is_empty: bool },
}

struct Waiting {
    publish: Publish,
    workers: Recipients,
    is_taken: Option<bool>,
}

impl Line {
    fn push(&mut self, publish: Publish, workers: Recipients, is_taken: Option<bool>) -> u32 {
        self.bytes += publish.message.bytes();
        self.waiting.push_back(Waiting { publish, workers, is_taken });
        self.first.wrapping_add(self.waiting.len() as u32 - 1)
    }

    fn pop_decided(&mut self) -> Option<Waiting> {
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

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.by_publisher.len()
    }

    /// Whether a publisher, of this shard, has something that waits.
    pub(super) fn has(&self, publisher: Key) -> bool {
        !self.by_publisher.is_empty() && self.by_publisher.contains_key(&publisher)
    }

    /// A message that may be a repetition: its number, by which the verdict names it.
    pub(super) fn wait(&mut self, publisher: Key, publish: Publish, workers: Recipients) -> u32 {
        self.by_publisher.entry(publisher).or_default().push(publish, workers, None)
    }

    /// A message behind such.
    pub(super) fn follow(&mut self, publisher: Key, publish: Publish, workers: Recipients) {
        self.by_publisher.entry(publisher).or_default().push(publish, workers, Some(true));
    }

    /// The owner has said whether it takes a message.
    pub(super) fn decide(&mut self, publisher: Key, number: u32, is_taken: bool) {
        let Some(line) = self.by_publisher.get_mut(&publisher) else { return };
        if let Some(waiting) = line.waiting.get_mut(number.wrapping_sub(line.first) as usize) {
            waiting.is_taken = Some(is_taken);
            self.decided.push_back(publisher);
        }
    }

    pub(super) fn is_long(&self, publisher: Key) -> bool {
        self.by_publisher.get(&publisher).is_some_and(Line::is_long)
    }

    /// Whether [`Lines::next_decided`] has something.
    pub(super) fn has_work(&self) -> bool {
        !self.decided.is_empty()
    }

    /// What comes next of all that is decided.
    pub(super) fn next_decided(&mut self) -> Option<Decided> {
        let publisher = *self.decided.front()?;
        let line = self.by_publisher.get_mut(&publisher);
        match line.and_then(Line::pop_decided) {
            Some(Waiting { is_taken: Some(false), .. }) => Some(Decided::Repetition),
            Some(Waiting { publish, workers, .. }) => Some(Decided::Message { publish, workers }),
            None => {
                self.decided.pop_front();
                let is_empty = self.by_publisher.get(&publisher).is_some_and(|line| line.waiting.is_empty());
                if is_empty {
                    self.by_publisher.remove(&publisher);
                }
                Some(Decided::NoMore { publisher, is_empty })
            }
        }
    }
}
