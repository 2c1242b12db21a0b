//! What is kept of the channels that this shard owns, for those who come back.
//!
//! ```text
//!  push --> [3 4 5 6 7] --> an excerpt shares the messages
//!            '- forgotten: more messages or bytes than the channel's rule keeps, or older
//!
//!  all histories, by use:  least ......... most recently
//!                           '- given up whole, while all together hold more than the shard may
//! ```
//!
//! Age is looked at when a channel is used, and by a sweep that looks at some of them every second, however many there are:
//! no channel has a timer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use slab::Slab;

use crate::base::{CoarseTick, Tick};
use crate::limits;
use crate::proto::channel::Keep;
use crate::proto::event::Message;
use crate::proto::replay::Bounds;
use crate::proto::subject::Subject;

/// What it costs to keep a message, besides its headers and payload: two allocations and its place in the list.
const MESSAGE_BYTES: usize = size_of::<Message>() + size_of::<Kept>() + 32;
/// And a channel, besides its messages: itself and its places in two lists and a map.
const CHANNEL_BYTES: usize = size_of::<History>() + 96;

/// The histories of a shard.
pub(super) struct Histories {
    all: Slab<History>,
    by_use: LruCache<Subject, usize>,
    bytes: usize,
    bytes_max: usize,
    /// Where the sweep goes on.
    swept: usize,
    sweep_at: Tick,
}

/// The newest messages of one channel, without gaps; never empty.
pub(super) struct History {
    subject: Subject,
    keep: Keep,
    /// Offset of the first message that is kept.
    first: u64,
    kept: VecDeque<Kept>,
    /// Of headers and payloads.
    bytes: usize,
}

struct Kept {
    message: Arc<Message>,
    at: CoarseTick,
}

impl Histories {
    pub(super) fn new(bytes_max: usize) -> Histories {
        Histories {
            all: Slab::new(),
            by_use: LruCache::unbounded(),
            bytes: 0,
            bytes_max,
            swept: 0,
            sweep_at: Tick::ZERO,
        }
    }

    /// Channels with something kept, and what all of that costs.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.all.len(), self.bytes)
    }

    /// Keeps the message at `offset` of its channel, which follows what is kept of it already.
    pub(super) fn push(&mut self, keep: Keep, offset: u64, message: &Arc<Message>, now: Tick) {
        let index = match self.by_use.get(&message.subject) {
            Some(index) => *index,
            None => self.begin(&message.subject, keep, offset, now),
        };
        let history = &mut self.all[index];
        debug_assert_eq!(history.end(), offset, "a history has no gaps");
        self.bytes += history.push(message, now);
        self.bytes -= history.trim(now);
        if history.kept.is_empty() {
            self.give_up(index);
        }
        self.make_room();
    }

    fn begin(&mut self, subject: &Subject, keep: Keep, first: u64, now: Tick) -> usize {
        if self.all.is_empty() {
            self.sweep_at = now + limits::HISTORY_SWEEP_INTERVAL;
        }
        self.bytes += CHANNEL_BYTES;
        let history = History { subject: subject.clone(), keep, first, kept: VecDeque::new(), bytes: 0 };
        let index = self.all.insert(history);
        self.by_use.put(subject.clone(), index);
        index
    }

    /// What is kept of a channel now, if anything; this uses it.
    pub(super) fn read(&mut self, subject: &Subject, now: Tick) -> Option<&History> {
        let index = *self.by_use.get(subject)?;
        self.age(index, now);
        self.all.get(index)
    }

    /// The channel's offsets begin anew, or nobody will ask any more.
    pub(super) fn forget(&mut self, subject: &Subject) {
        if let Some(index) = self.by_use.peek(subject).copied() {
            self.give_up(index);
        }
    }

    /// When to sweep next.
    pub(super) fn sweep_at(&self) -> Tick {
        if self.all.is_empty() { Tick::NEVER } else { self.sweep_at }
    }

    /// Forgets what is too old, in some of the channels; the next sweep goes on from there.
    pub(super) fn sweep(&mut self, now: Tick) {
        if now < self.sweep_at() {
            return;
        }
        self.sweep_at = now + limits::HISTORY_SWEEP_INTERVAL;
        let slots = self.all.capacity();
        let count = slots.min(limits::HISTORIES_PER_SWEEP);
        for index in (self.swept..slots).chain(0..slots).take(count) {
            self.age(index, now);
            self.swept = index + 1;
        }
    }

    fn age(&mut self, index: usize, now: Tick) {
        let Some(history) = self.all.get_mut(index) else { return };
        self.bytes -= history.trim(now);
        history.shrink();
        if history.kept.is_empty() {
            self.give_up(index);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(index) = self.by_use.peek_lru().map(|(_, index)| *index)
        {
            let history = &mut self.all[index];
            if self.by_use.len() > 1 || history.kept.len() == 1 {
                self.give_up(index);
            } else {
                // The only one is the one in use: it is larger than all may be.
                self.bytes -= history.pop();
            }
        }
    }

    fn give_up(&mut self, index: usize) {
        let history = self.all.remove(index);
        self.by_use.pop(&history.subject);
        self.bytes -= CHANNEL_BYTES + history.cost();
    }
}

impl History {
    /// The offsets that are kept.
    pub(super) fn offsets(&self) -> Range<u64> {
        self.first..self.end()
    }

    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// As many of the messages at these offsets as the bounds allow, from the beginning; they must be kept ones.
    pub(super) fn oldest(&self, offsets: Range<u64>, bounds: Bounds) -> Vec<Arc<Message>> {
        within(self.range(offsets), bounds)
    }

    /// The same from the end, and still in the channel's order.
    pub(super) fn newest(&self, offsets: Range<u64>, bounds: Bounds) -> Vec<Arc<Message>> {
        let mut messages = within(self.range(offsets).rev(), bounds);
        messages.reverse();
        messages
    }

    fn range(&self, offsets: Range<u64>) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        let index = |offset: u64| (offset - self.first) as usize;
        self.kept.range(index(offsets.start)..index(offsets.end)).map(|kept| &kept.message)
    }

    fn cost(&self) -> usize {
        self.bytes + self.kept.len() * MESSAGE_BYTES
    }

    fn push(&mut self, message: &Arc<Message>, now: Tick) -> usize {
        let bytes = message.bytes();
        self.bytes += bytes;
        self.kept.push_back(Kept { message: message.clone(), at: CoarseTick::ceil(now) });
        bytes + MESSAGE_BYTES
    }

    fn pop(&mut self) -> usize {
        let Some(kept) = self.kept.pop_front() else { return 0 };
        let bytes = kept.message.bytes();
        self.bytes -= bytes;
        self.first += 1;
        bytes + MESSAGE_BYTES
    }

    /// Forgets what the rule does not keep; what that saves.
    fn trim(&mut self, now: Tick) -> usize {
        let mut saved = 0;
        while let Some(oldest) = self.kept.front()
            && (self.kept.len() > self.keep.messages
                || self.bytes > self.keep.bytes
                || oldest.at.tick() + self.keep.age <= now)
        {
            saved += self.pop();
        }
        saved
    }

    /// A list that has emptied gives its room back, but not after every single message.
    fn shrink(&mut self) {
        const KEPT: usize = 8;
        if self.kept.capacity() > 4 * self.kept.len().max(KEPT) {
            self.kept.shrink_to(2 * self.kept.len());
        }
    }
}

/// At least one, if there is one.
fn within<'a>(messages: impl Iterator<Item = &'a Arc<Message>>, bounds: Bounds) -> Vec<Arc<Message>> {
    let mut bytes = 0;
    let fitting = messages.take(bounds.messages_max).take_while(|message| {
        let is_first = bytes == 0;
        bytes += message.bytes() + MESSAGE_BYTES;
        is_first || bytes <= bounds.bytes_max
    });
    fitting.cloned().collect()
}
