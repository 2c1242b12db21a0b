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

use super::standing::Standing;
use crate::base::ByUse;
use crate::limits::IDLE_CHANNELS_MAX;
use crate::proto::subject::Subject;

/// See the module's picture.
#[derive(Default)]
pub(super) struct IdleChannels {
    begun: ByUse<Subject, Standing>,
    counted: ByUse<Subject, Standing>,
    keeping: ByUse<Subject, Standing>,
}

impl IdleChannels {
    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.counted.len() + self.keeping.len()
    }

    /// The standing of a channel; counts as a use.
    pub(super) fn get_mut(&mut self, subject: &Subject) -> Option<&mut Standing> {
        let of_messages = self.keeping.get_mut(subject.as_str()).or_else(|| self.counted.get_mut(subject.as_str()));
        of_messages.or_else(|| self.begun.get_mut(subject.as_str()))
    }

    /// The same without a use.
    pub(super) fn peek(&self, subject: &Subject) -> Option<Standing> {
        let of_messages = self.keeping.peek(subject.as_str()).or_else(|| self.counted.peek(subject.as_str()));
        of_messages.or_else(|| self.begun.peek(subject.as_str())).copied()
    }

    /// Removes the channel.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<Standing> {
        let of_messages = self.keeping.remove(subject.as_str()).or_else(|| self.counted.remove(subject.as_str()));
        of_messages.or_else(|| self.begun.remove(subject.as_str()))
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
        if list.len() > IDLE_CHANNELS_MAX { list.pop_least().map(|(forgotten, _)| forgotten) } else { None }
    }

    /// The kept messages of a channel are gone. Returns the channel that is forgotten because of it, if any.
    #[must_use]
    pub(super) fn lost_history(&mut self, subject: Subject) -> Option<Subject> {
        let standing = self.keeping.remove(subject.as_str())?;
        self.park(subject, standing, false)
    }

    /// A channel with an offset keeps its first messages, or keeps messages again.
    #[must_use]
    pub(super) fn keeps_history(&mut self, subject: &Subject) -> Option<Subject> {
        if self.keeping.contains(subject.as_str()) {
            return None;
        }
        let standing = self.take(subject)?;
        self.park(subject.clone(), standing, true)
    }
}
