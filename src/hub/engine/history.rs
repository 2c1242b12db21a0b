//! The kept messages of the channels that this shard owns, for clients that resume.
//!
//! ```text
//!  push --> floor 2 [3 4 6 7 9] --> an excerpt shares the messages
//!             '- forgotten: more messages or bytes than the channel's rule keeps, or older
//!
//!  5 and 8 were never given: a log may leave offsets out, so each message carries its own.
//!
//!  all histories, by use:  least ......... most recently
//!                           '- given up whole, while all together hold more than the shard may
//! ```
//!
//! Age is checked when a channel is used, and by a sweep that checks some channels every second, however many there
//! are: no channel has a timer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use slab::Slab;

use crate::base::{ByUse, CoarseTick, Tick, shrink};
use crate::limits;
use crate::proto::channel::Keep;
use crate::proto::event::{Message, Position};
use crate::proto::replay::{Excerpt, ExcerptBounds, Gap, GapReason, Since};
use crate::proto::subject::Subject;

/// The cost of keeping a message, besides its headers and payload: two allocations and its entry in the list.
const MESSAGE_BYTES: usize = size_of::<Message>() + size_of::<Kept>() + 32;
/// The cost of a channel, besides its messages: itself, and its entries in two lists and a map.
const CHANNEL_BYTES: usize = size_of::<ChannelHistory>() + 96;

/// The histories of a shard.
pub(super) struct Histories {
    all: Slab<ChannelHistory>,
    by_use: ByUse<Subject, usize>,
    bytes: usize,
    bytes_max: usize,
    /// Channels whose last kept message has gone, until [`Histories::next_emptied`] has told their log.
    emptied: Vec<Subject>,
    /// Where the sweep continues.
    swept: usize,
    sweep_at: Tick,
}

/// The newest messages of one channel: all messages above the floor; never empty.
pub(super) struct ChannelHistory {
    subject: Subject,
    keep: Keep,
    /// Offset of the last message that is not kept: the kept ones follow it.
    floor: u64,
    kept: VecDeque<Kept>,
    /// Bytes of headers and payloads.
    bytes: usize,
}

/// Consecutive messages of a history, each with its offset.
struct HistoryPiece {
    /// Offset of the message before the first.
    begins_after: u64,
    messages: Vec<(u64, Arc<Message>)>,
    /// The piece completes the request.
    is_last: bool,
}

struct Kept {
    message: Arc<Message>,
    at: CoarseTick,
    /// The lower half of the offset. The floor, which is less than 2^32 below, has the rest.
    offset_low: u32,
}

const _: () = assert!(size_of::<Kept>() == 16, "every message that is kept has one");

impl Histories {
    pub(super) fn new(bytes_max: usize) -> Histories {
        Histories {
            all: Slab::new(),
            by_use: ByUse::default(),
            bytes: 0,
            bytes_max,
            emptied: Vec::new(),
            swept: 0,
            sweep_at: Tick::ZERO,
        }
    }

    /// The number of channels with kept messages, and the cost of all of them.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.all.len(), self.bytes)
    }

    /// Whether messages of the channel are kept.
    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.by_use.contains(subject.as_str())
    }

    /// A channel that has lost its last kept message since the last call.
    pub(super) fn next_emptied(&mut self) -> Option<Subject> {
        let next = self.emptied.pop();
        shrink(&mut self.emptied, limits::ENTRIES_KEPT);
        next
    }

    /// Keeps the message at `offset` of its channel. If older messages are kept, the last of them is the one before it.
    pub(super) fn push(&mut self, keep: Keep, offset: u64, message: &Arc<Message>, now: Tick) {
        let index = match self.by_use.get_mut(message.subject.as_str()) {
            Some(index) => *index,
            None => self.begin(&message.subject, keep, offset - 1, now),
        };
        let history = &mut self.all[index];
        debug_assert!(history.last_offset() < offset, "a channel's offsets grow");
        self.bytes -= history.make_reachable(offset);
        self.bytes += history.push(offset, message, now);
        self.bytes -= history.trim(now);
        if history.kept.is_empty() {
            self.give_up(index);
        }
        self.make_room();
    }

    fn begin(&mut self, subject: &Subject, keep: Keep, floor: u64, now: Tick) -> usize {
        if self.all.is_empty() {
            self.sweep_at = now + limits::HISTORY_SWEEP_INTERVAL;
        }
        self.bytes += CHANNEL_BYTES;
        let history = ChannelHistory { subject: subject.clone(), keep, floor, kept: VecDeque::new(), bytes: 0 };
        let index = self.all.insert(history);
        self.by_use.put(subject.clone(), index);
        index
    }

    /// The kept messages of a channel, if any; counts as a use.
    pub(super) fn read(&mut self, subject: &Subject, now: Tick) -> Option<&ChannelHistory> {
        let index = *self.by_use.get_mut(subject.as_str())?;
        self.age(index, now);
        self.all.get(index)
    }

    /// The channel's offsets restart, or it will not be read again.
    pub(super) fn forget(&mut self, subject: &Subject) {
        if let Some(index) = self.by_use.peek(subject.as_str()).copied() {
            self.give_up(index);
        }
    }

    /// When to sweep next.
    pub(super) fn sweep_at(&self) -> Tick {
        if self.all.is_empty() { Tick::NEVER } else { self.sweep_at }
    }

    /// Drops old messages in some of the channels; the next sweep continues from there.
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
            && let Some(index) = self.by_use.least().map(|(_, index)| *index)
        {
            let history = &mut self.all[index];
            if self.by_use.len() > 1 || history.kept.len() == 1 {
                self.give_up(index);
            } else {
                // The only history left is the one in use, and it alone is larger than the bound of all histories: its
                // oldest message goes.
                self.bytes -= history.pop();
            }
        }
    }

    fn give_up(&mut self, index: usize) {
        let history = self.all.remove(index);
        self.by_use.remove(history.subject.as_str());
        shrink(&mut self.all, limits::ENTRIES_KEPT);
        self.bytes -= CHANNEL_BYTES + history.cost();
        self.emptied.push(history.subject);
    }
}

impl ChannelHistory {
    /// Offset of the last message that is not kept.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Offset of the first message that is kept.
    fn first(&self) -> Option<u64> {
        self.kept.front().map(|kept| self.offset_of(kept))
    }

    fn last_offset(&self) -> u64 {
        self.kept.back().map_or(self.floor, |kept| self.offset_of(kept))
    }

    /// Offset of the message before the one at `index`.
    fn before(&self, index: usize) -> u64 {
        index.checked_sub(1).and_then(|index| self.kept.get(index)).map_or(self.floor, |kept| self.offset_of(kept))
    }

    fn offset_of(&self, kept: &Kept) -> u64 {
        self.floor + u64::from(kept.offset_low.wrapping_sub(self.floor as u32))
    }

    /// How many messages are kept at offsets up to this one.
    fn count_to(&self, offset: u64) -> usize {
        self.kept.partition_point(|kept| self.offset_of(kept) <= offset)
    }

    /// As many of these messages as the bounds allow, from the oldest on, and whether that is all of them.
    fn oldest(&self, wanted: Range<usize>, bounds: ExcerptBounds) -> HistoryPiece {
        let messages = within(self.range(wanted.clone()), bounds);
        HistoryPiece { begins_after: self.before(wanted.start), is_last: messages.len() == wanted.len(), messages }
    }

    /// The same from the newest on, still in the channel's order. Always completes the request, whatever the bounds.
    fn newest(&self, wanted: Range<usize>, bounds: ExcerptBounds) -> HistoryPiece {
        let mut messages = within(self.range(wanted.clone()).rev(), bounds);
        messages.reverse();
        HistoryPiece { begins_after: self.before(wanted.end - messages.len()), is_last: true, messages }
    }

    fn range(&self, wanted: Range<usize>) -> impl DoubleEndedIterator<Item = (u64, &Arc<Message>)> {
        self.kept.range(wanted).map(|kept| (self.offset_of(kept), &kept.message))
    }

    fn cost(&self) -> usize {
        self.bytes + self.kept.len() * MESSAGE_BYTES
    }

    /// Drops messages that are so far below `offset` that the lower half of their offsets would not identify them; returns
    /// the saved cost. Only a log that has left out some four billion offsets needs this.
    fn make_reachable(&mut self, offset: u64) -> usize {
        let mut saved = 0;
        while offset - self.floor > u64::from(u32::MAX) {
            if self.kept.is_empty() {
                self.floor = offset - 1;
            }
            saved += self.pop();
        }
        saved
    }

    fn push(&mut self, offset: u64, message: &Arc<Message>, now: Tick) -> usize {
        let bytes = message.bytes();
        self.bytes += bytes;
        self.kept.push_back(Kept { message: message.clone(), at: CoarseTick::ceil(now), offset_low: offset as u32 });
        bytes + MESSAGE_BYTES
    }

    fn pop(&mut self) -> usize {
        let Some(kept) = self.kept.pop_front() else { return 0 };
        let bytes = kept.message.bytes();
        self.bytes -= bytes;
        self.floor = self.offset_of(&kept);
        bytes + MESSAGE_BYTES
    }

    /// Drops messages beyond the rule's bounds; returns the saved cost.
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

    /// Frees the memory of a list that has shrunk, but not after every single message.
    fn shrink(&mut self) {
        const KEPT: usize = 8;
        shrink(&mut self.kept, KEPT);
    }
}

/// The answer of a channel at the position `latest` with this history.
pub(super) fn excerpt(
    history: Option<&ChannelHistory>,
    latest: Position,
    since: Since,
    bounds: ExcerptBounds,
) -> Excerpt {
    // All messages above the floor are kept.
    let floor = history.map_or(latest.offset, |history| history.floor);
    let since = since.in_epoch(latest.epoch);
    let first = history.and_then(ChannelHistory::first).map(|offset| Position { offset, ..latest });
    let gap = gap_reason(since, latest, floor).map(|reason| Gap { reason, first, last: latest });
    let Some(history) = history else {
        return Excerpt { gap, begins_after: floor, messages: Vec::new(), latest, is_last: true };
    };
    let count = history.kept.len();
    let wanted = match since {
        Since::Now => count..count,
        Since::After(position) if gap.is_none() => history.count_to(position.offset)..count,
        Since::Before(position) if gap.is_none() => 0..history.count_to(position.offset.saturating_sub(1)),
        _ => 0..count,
    };
    let HistoryPiece { begins_after, messages, is_last } = match since {
        Since::Before(_) | Since::Latest => history.newest(wanted, bounds),
        _ => history.oldest(wanted, bounds),
    };
    Excerpt { gap, begins_after, messages, latest, is_last }
}

/// The reason why a channel at the position `latest`, with messages above `floor`, cannot give everything that was
/// asked for.
fn gap_reason(since: Since, latest: Position, floor: u64) -> Option<GapReason> {
    match since {
        Since::Now | Since::Beginning | Since::Latest => None,
        // Offsets without an epoch have been given one before.
        Since::AfterOffset(_) | Since::BeforeOffset(_) => None,
        Since::Unreadable => Some(GapReason::Malformed),
        Since::Unknown => Some(GapReason::Unknown),
        Since::After(position) | Since::Before(position) if position.epoch != latest.epoch => Some(GapReason::Epoch),
        Since::After(position) | Since::Before(position) if position.offset > latest.offset => Some(GapReason::Future),
        Since::After(position) => (position.offset < floor).then_some(GapReason::Gone),
        Since::Before(_) => None,
    }
}

/// As many messages as the bounds allow, and at least one.
fn within<'a>(
    messages: impl Iterator<Item = (u64, &'a Arc<Message>)>,
    bounds: ExcerptBounds,
) -> Vec<(u64, Arc<Message>)> {
    let mut bytes = 0;
    let fitting = messages.take(bounds.messages_max).take_while(|(_, message)| {
        let is_first = bytes == 0;
        bytes += message.bytes() + MESSAGE_BYTES;
        is_first || bytes <= bounds.bytes_max
    });
    fitting.map(|(offset, message)| (offset, message.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ALL: ExcerptBounds = ExcerptBounds { messages_max: usize::MAX, bytes_max: usize::MAX };

    /// The kept messages of a channel whose log assigned these offsets.
    fn kept(messages: usize, offsets: &[u64]) -> (Histories, Subject) {
        let keep = Keep { messages, bytes: 1_000, age: Duration::from_secs(60) };
        let subject = Subject::new("a").unwrap();
        let message = Arc::new(Message::new(subject.clone(), None, None, b"x".as_slice().into()));
        let mut histories = Histories::new(100_000);
        offsets.iter().for_each(|offset| histories.push(keep, *offset, &message, Tick::ZERO));
        (histories, subject)
    }

    fn told(piece: HistoryPiece) -> (u64, Vec<u64>, bool) {
        (piece.begins_after, piece.messages.iter().map(|(offset, _)| *offset).collect(), piece.is_last)
    }

    #[test]
    fn a_log_may_leave_offsets_out() {
        let (mut histories, subject) = kept(4, &[3, 4, 7, 9, 12]);
        let history = histories.read(&subject, Tick::ZERO).unwrap();
        assert_eq!((history.floor(), history.first(), history.kept.len()), (3, Some(4), 4));
        let counts: Vec<_> = [3, 4, 5, 6, 7, 11, 12, u64::MAX].map(|offset| history.count_to(offset)).into();
        assert_eq!(counts, [0, 1, 1, 1, 2, 3, 4, 4]);
        assert_eq!(told(history.oldest(0..4, ALL)), (3, vec![4, 7, 9, 12], true));
        let two = ExcerptBounds { messages_max: 2, ..ALL };
        assert_eq!(told(history.oldest(1..4, two)), (4, vec![7, 9], false));
        assert_eq!(told(history.newest(0..3, two)), (4, vec![7, 9], true));
    }

    #[test]
    fn an_offset_out_of_reach_takes_the_place_of_those_before_it() {
        let far = 3 + u64::from(u32::MAX);
        let (mut histories, subject) = kept(9, &[3, 6, far]);
        let history = histories.read(&subject, Tick::ZERO).unwrap();
        assert_eq!(told(history.oldest(0..2, ALL)), (3, vec![6, far], true));
        let (mut histories, subject) = kept(9, &[3, 6, 2 * far]);
        let history = histories.read(&subject, Tick::ZERO).unwrap();
        assert_eq!(told(history.oldest(0..1, ALL)), (2 * far - 1, vec![2 * far], true));
    }
}
