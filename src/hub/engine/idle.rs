//! Channels without subscribers: their standing is remembered, in three lists by what would be lost with it.
//!
//! ```text
//!            begun                      counted                     keeping
//!     no message so far  --message--> its offsets --history--> has kept messages
//!                                         ^------- given up -------'
//!     each list: least ... most recently used, and at most IDLE_CHANNELS_MAX
//!                  '- forgotten when the list is too long
//! ```
//!
//! Each list forgets its own channels. A client that may only subscribe begins names, and so costs other begun names at
//! most: never the offsets or the history of a channel that has had a message. In the same way, channels without history
//! never cost a history.

use lru::LruCache;

use super::standing::Standing;
use crate::limits::IDLE_CHANNELS_MAX;
use crate::proto::subject::Subject;

/// See the module's picture.
pub(super) struct IdleChannels {
    begun: LruCache<Subject, Standing>,
    counted: LruCache<Subject, Standing>,
    keeping: LruCache<Subject, Standing>,
}

impl IdleChannels {
    /// `LruCache::new` would allocate for the bound at once.
    pub(super) fn new() -> IdleChannels {
        IdleChannels { begun: LruCache::unbounded(), counted: LruCache::unbounded(), keeping: LruCache::unbounded() }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.counted.len() + self.keeping.len()
    }

    /// The standing of a channel; counts as a use.
    pub(super) fn get_mut(&mut self, subject: &Subject) -> Option<&mut Standing> {
        let of_messages = self.keeping.get_mut(subject).or_else(|| self.counted.get_mut(subject));
        of_messages.or_else(|| self.begun.get_mut(subject))
    }

    /// The same without a use.
    pub(super) fn peek(&self, subject: &Subject) -> Option<Standing> {
        let of_messages = self.keeping.peek(subject).or_else(|| self.counted.peek(subject));
        of_messages.or_else(|| self.begun.peek(subject)).copied()
    }

    /// Removes the channel.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<Standing> {
        let of_messages = self.keeping.pop(subject).or_else(|| self.counted.pop(subject));
        of_messages.or_else(|| self.begun.pop(subject))
    }

    /// Adds a channel that is in none of the lists. Returns the channel that is forgotten for it, if any.
    #[must_use]
    pub(super) fn park(&mut self, subject: Subject, standing: Standing, has_history: bool) -> Option<Subject> {
        let list = match standing.position().offset {
            0 => &mut self.begun,
            _ if has_history => &mut self.keeping,
            _ => &mut self.counted,
        };
        list.put(subject, standing);
        if list.len() > IDLE_CHANNELS_MAX { list.pop_lru().map(|(forgotten, _)| forgotten) } else { None }
    }

    /// The kept messages of a channel are gone. Returns the channel that is forgotten because of it, if any.
    #[must_use]
    pub(super) fn lost_history(&mut self, subject: Subject) -> Option<Subject> {
        let standing = self.keeping.pop(&subject)?;
        self.park(subject, standing, false)
    }

    /// A channel with an offset keeps its first messages, or keeps messages again.
    #[must_use]
    pub(super) fn keeps_history(&mut self, subject: &Subject) -> Option<Subject> {
        if self.keeping.contains(subject) {
            return None;
        }
        let standing = self.take(subject)?;
        self.park(subject.clone(), standing, true)
    }
}
