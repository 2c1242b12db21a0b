//! The last values of channels, so that a message that repeats one is not delivered (`Tg-Distinct`).
//!
//! ```text
//!  channel, Tg-Key --> hash --> hash of the Tg-Distinct that came last, and where it stands
//! ```
//!
//! The hash of a value includes its channel and key. So if two keys share one hash, their values still differ: at worst a
//! value is delivered once more. Forgetting the least recently used values has the same effect.

use ahash::RandomState;
use lru::LruCache;

use crate::limits;
use crate::proto::event::{Message, Position};
use crate::proto::reserved::headers::{DISTINCT_HEADER, KEY_HEADER};

pub(super) struct Distinct {
    last: LruCache<u64, Last>,
    hasher: RandomState,
}

struct Last {
    value: u64,
    position: Position,
}

impl Distinct {
    pub(super) fn new() -> Distinct {
        // `remember` bounds it: `LruCache::new` would allocate for the bound at once.
        Distinct { last: LruCache::unbounded(), hasher: RandomState::new() }
    }

    /// The position of the last message of the same channel and key, if it has the same value.
    pub(super) fn same_as(&mut self, message: &Message) -> Option<Position> {
        let value = self.value(message)?;
        self.last.get(&self.thing(message)).filter(|last| last.value == value).map(|last| last.position)
    }

    /// Remembers the value of a message. A message without `Tg-Distinct` is distinct from any other.
    pub(super) fn remember(&mut self, message: &Message, position: Position) {
        let thing = self.thing(message);
        match self.value(message) {
            None => _ = self.last.pop(&thing),
            Some(value) => {
                self.last.put(thing, Last { value, position });
                if self.last.len() > limits::DISTINCT_VALUES_MAX {
                    self.last.pop_lru();
                }
            }
        }
    }

    fn thing(&self, message: &Message) -> u64 {
        self.hasher.hash_one((message.subject.as_str(), message.header(KEY_HEADER)))
    }

    fn value(&self, message: &Message) -> Option<u64> {
        let value = message.header(DISTINCT_HEADER)?;
        Some(self.hasher.hash_one((message.subject.as_str(), message.header(KEY_HEADER), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::subject::Subject;

    fn message(channel: &str, key: Option<&str>, value: Option<&str>) -> Message {
        let field =
            |name: &str, value: Option<&str>| value.map_or(String::new(), |value| format!("{name}: {value}\r\n"));
        let headers = format!("NATS/1.0\r\n{}{}\r\n", field(KEY_HEADER, key), field(DISTINCT_HEADER, value));
        let headers = Some(headers.into_bytes().into());
        Message::new(Subject::new(channel).unwrap(), None, headers, Box::default())
    }

    fn at(offset: u64) -> Position {
        Position { epoch: 1, offset }
    }

    #[test]
    fn each_channel_and_key_has_a_last_value() {
        let mut distinct = Distinct::new();
        distinct.remember(&message("a", None, Some("1")), at(1));
        distinct.remember(&message("a", Some("k"), Some("2")), at(2));
        let mut same_as = |channel, key, value| distinct.same_as(&message(channel, key, Some(value)));
        assert_eq!((same_as("a", None, "1"), same_as("a", Some("k"), "2")), (Some(at(1)), Some(at(2))));
        for (channel, key, value) in [("a", None, "2"), ("a", Some("k"), "1"), ("b", None, "1"), ("a", Some("l"), "2")]
        {
            assert_eq!(same_as(channel, key, value), None, "{channel} {key:?} {value}");
        }
        distinct.remember(&message("a", None, Some("3")), at(3));
        assert_eq!(distinct.same_as(&message("a", None, Some("1"))), None, "there and back is two changes");
        distinct.remember(&message("a", None, None), at(4));
        assert_eq!(distinct.same_as(&message("a", None, Some("3"))), None, "something else came between");
    }

    #[test]
    fn the_least_recently_used_are_forgotten_first() {
        let mut distinct = Distinct::new();
        let name = |number: usize| number.to_string();
        for number in 0..=limits::DISTINCT_VALUES_MAX {
            distinct.remember(&message(&name(number), None, Some("1")), at(1));
        }
        assert_eq!(distinct.last.len(), limits::DISTINCT_VALUES_MAX);
        assert_eq!(distinct.same_as(&message("0", None, Some("1"))), None);
        assert_eq!(distinct.same_as(&message("1", None, Some("1"))), Some(at(1)));
    }
}
