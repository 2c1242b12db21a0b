//! The recent names of messages (`Nats-Msg-Id`), so that a message that is published twice is taken once.
//!
//! ```text
//!  (channel, id) --> known: the position of the first --> suppressed
//!        '---------> new: remembered for a time, until too many of the channel follow
//!
//!  all channels, by use:  least ......... most recently
//!                          '- forgotten whole: nothing for a time, or more bytes than the shard may
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;

use crate::base::{ByUse, Tick};
use crate::limits;
use crate::proto::event::Position;
use crate::proto::subject::Subject;

/// The cost of an id besides its text: its entries in a map and a list.
const ID_BYTES: usize = size_of::<(Arc<str>, Position)>() + size_of::<(Arc<str>, Tick)>() + 32;
/// The cost of a channel besides its ids.
const CHANNEL_BYTES: usize = size_of::<Window>() + 96;

/// The names of a shard.
pub(super) struct Duplicates {
    by_use: ByUse<Subject, Window>,
    bytes: usize,
    bytes_max: usize,
}

/// The names of one channel; never empty.
#[derive(Default)]
struct Window {
    known: AHashMap<Arc<str>, Position>,
    order: VecDeque<(Arc<str>, Tick)>,
}

impl Duplicates {
    pub(super) fn new(bytes_max: usize) -> Duplicates {
        Duplicates { by_use: ByUse::default(), bytes: 0, bytes_max }
    }

    /// The position of the first message with this id, if it is remembered.
    pub(super) fn find(&mut self, channel: &Subject, id: &str, now: Tick) -> Option<Position> {
        self.sweep(now);
        let window = self.by_use.peek_mut(channel.as_str())?;
        self.bytes -= window.trim(now);
        window.known.get(id).copied()
    }

    /// Remembers a new id and the position of its message.
    pub(super) fn remember(&mut self, channel: &Subject, id: &str, position: Position, now: Tick) {
        if !self.by_use.contains(channel.as_str()) {
            self.by_use.put(channel.clone(), Window::default());
            self.bytes += CHANNEL_BYTES;
        }
        let Some(window) = self.by_use.get_mut(channel.as_str()) else { return };
        let id: Arc<str> = id.into();
        self.bytes += cost(&id);
        window.order.push_back((id.clone(), now));
        window.known.insert(id, position);
        if window.order.len() > limits::MESSAGE_IDS_PER_CHANNEL_MAX {
            self.bytes -= window.pop();
        }
        while self.bytes > self.bytes_max {
            self.forget_least_used();
        }
    }

    /// The channel's positions restart.
    pub(super) fn forget(&mut self, channel: &Subject) {
        if let Some(window) = self.by_use.remove(channel.as_str()) {
            self.bytes -= window.cost();
        }
    }

    /// Channels and bytes.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_use.len(), self.bytes)
    }

    /// When the least recently used channel has no names left.
    pub(super) fn sweep_at(&self) -> Tick {
        self.by_use.least().map_or(Tick::NEVER, |(_, window)| window.ends_at())
    }

    /// Forgets the channels that have no names left.
    pub(super) fn sweep(&mut self, now: Tick) {
        while self.sweep_at() <= now {
            self.forget_least_used();
        }
    }

    fn forget_least_used(&mut self) {
        if let Some((_, window)) = self.by_use.pop_least() {
            self.bytes -= window.cost();
        }
    }
}

impl Window {
    fn ends_at(&self) -> Tick {
        self.order.back().map_or(Tick::ZERO, |(_, at)| *at + limits::MESSAGE_ID_WINDOW)
    }

    /// Forgets old names; returns the bytes that this frees.
    fn trim(&mut self, now: Tick) -> usize {
        let mut freed = 0;
        while self.order.front().is_some_and(|(_, at)| *at + limits::MESSAGE_ID_WINDOW <= now) {
            freed += self.pop();
        }
        freed
    }

    fn pop(&mut self) -> usize {
        let Some((id, _)) = self.order.pop_front() else { return 0 };
        self.known.remove(&id);
        cost(&id)
    }

    fn cost(&self) -> usize {
        CHANNEL_BYTES + self.order.iter().map(|(id, _)| cost(id)).sum::<usize>()
    }
}

fn cost(id: &str) -> usize {
    ID_BYTES + id.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn channel(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn at(offset: u64) -> Position {
        Position { epoch: 1, offset }
    }

    #[test]
    fn an_id_is_known_for_a_time_and_in_its_channel() {
        let mut duplicates = Duplicates::new(10_000);
        duplicates.remember(&channel("a"), "1", at(7), Tick::ZERO);
        let end = Tick::ZERO + limits::MESSAGE_ID_WINDOW;
        let shortly_before = Tick::from_micros(end.micros() - 1);
        assert_eq!(duplicates.find(&channel("a"), "1", shortly_before), Some(at(7)));
        assert_eq!(duplicates.find(&channel("b"), "1", shortly_before), None);
        assert_eq!(duplicates.sweep_at(), end);
        assert_eq!(duplicates.find(&channel("a"), "1", end), None);
        assert_eq!((duplicates.len(), duplicates.sweep_at()), ((0, 0), Tick::NEVER));
    }

    #[test]
    fn a_channel_keeps_so_many_and_all_together_so_many_bytes() {
        let mut duplicates = Duplicates::new(usize::MAX);
        for number in 0..=limits::MESSAGE_IDS_PER_CHANNEL_MAX {
            duplicates.remember(&channel("a"), &number.to_string(), at(number as u64), Tick::ZERO);
        }
        assert_eq!(duplicates.find(&channel("a"), "0", Tick::ZERO), None);
        assert_eq!(duplicates.find(&channel("a"), "1", Tick::ZERO), Some(at(1)));
        duplicates.bytes_max = duplicates.bytes + CHANNEL_BYTES;
        duplicates.remember(&channel("b"), "1", at(1), Tick::ZERO);
        assert_eq!(duplicates.len(), (1, CHANNEL_BYTES + cost("1")), "the least recently used was given up");
        duplicates.forget(&channel("b"));
        assert_eq!(duplicates.len(), (0, 0));
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_all_ids(
            deeds in prop::collection::vec((0..3usize, 0..6u32, 0..60u64), 1..200),
            bytes_max in prop_oneof![Just(usize::MAX), 0..2_000usize],
        ) {
            let mut duplicates = Duplicates::new(bytes_max);
            let mut all: Vec<(usize, u32, Tick, Position)> = Vec::new();
            let mut now = Tick::ZERO;
            for (offset, (number, id, wait_s)) in (1..).zip(deeds) {
                now = now + Duration::from_secs(wait_s);
                let (subject, text) = (channel(&number.to_string()), id.to_string());
                let known = all.iter().rev().find(|(other, known, at, _)| {
                    (*other, *known) == (number, id) && *at + limits::MESSAGE_ID_WINDOW > now
                });
                let found = duplicates.find(&subject, &text, now);
                match known {
                    // Under pressure a name may have been forgotten, but never another message's position returned.
                    Some((.., position)) => prop_assert!(
                        found == Some(*position) || (found.is_none() && bytes_max < usize::MAX)
                    ),
                    None => prop_assert_eq!(found, None),
                }
                if found.is_none() {
                    duplicates.remember(&subject, &text, at(offset), now);
                    all.push((number, id, now, at(offset)));
                }
                prop_assert!(duplicates.len().1 <= bytes_max);
            }
            duplicates.sweep(now + limits::MESSAGE_ID_WINDOW);
            prop_assert_eq!(duplicates.len(), (0, 0));
        }
    }
}
