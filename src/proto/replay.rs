//! Resuming a channel: what a client asks for, what it gets, and how it is told of a gap.
//!
//! ```text
//!  Since --(the channel's owner)--> Excerpt { gap?, messages, latest }
//!
//!  offsets   1   2   3   4   5   6   7
//!  kept              [3   4   5   6   7]     latest: 7
//!  After(5)                      6   7
//!  After(1)       gap [3   4   5   6   7]    "gone", first kept: 3
//! ```
//!
//! A gap is reported exactly if a missing message cannot be ruled out.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::event::{Message, Position};
use super::subject::Subject;

/// The kept messages of a channel that a subscriber asks for, besides future ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// No messages, only the position.
    Now,
    /// Those after the position: the client has seen everything up to it.
    After(Position),
    /// The newest of those before it.
    Before(Position),
    /// The same two for a position without an epoch, which means the channel's current epoch.
    AfterOffset(u64),
    BeforeOffset(u64),
    /// All that are kept, the oldest first.
    Beginning,
    /// The newest.
    Latest,
    /// The client sent a position that cannot be parsed: a gap, then all kept messages.
    Unreadable,
    /// The client never had a position in this channel: the same.
    Unknown,
}

impl Since {
    /// Parses a position that a client sends back.
    pub fn after(text: &str) -> Since {
        text.parse().map_or(Since::Unreadable, Since::After)
    }

    /// What it asks for in a channel of this epoch.
    pub fn in_epoch(self, epoch: u32) -> Since {
        match self {
            Since::AfterOffset(offset) => Since::After(Position { epoch, offset }),
            Since::BeforeOffset(offset) => Since::Before(Position { epoch, offset }),
            other => other,
        }
    }
}

/// The bounds of one answer; a single message may be longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcerptBounds {
    pub messages_max: usize,
    pub bytes_max: usize,
}

/// A piece of a channel's history. It is contiguous: the channel has no other message between two of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The lost messages before the excerpt.
    pub gap: Option<Gap>,
    /// The offset before the first message: the reader's position there. The epoch is that of `latest`, as for the
    /// messages.
    pub begins_after: u64,
    /// Each with its offset. A log may leave offsets out, so they are not counted.
    pub messages: Vec<(u64, Arc<Message>)>,
    /// The position of the channel's last message, whether or not it is in this excerpt; offset 0 if there never was
    /// one.
    pub latest: Position,
    /// The excerpt completes the answer: messages after `latest` are live. Otherwise [`Excerpt::end`] is where to
    /// continue.
    pub is_last: bool,
}

impl Excerpt {
    pub fn messages(&self) -> impl Iterator<Item = (Position, &Arc<Message>)> {
        let epoch = self.latest.epoch;
        self.messages.iter().map(move |(offset, message)| (Position { epoch, offset: *offset }, message))
    }

    pub fn payload_bytes(&self) -> usize {
        self.messages.iter().map(|(_, message)| message.payload.len()).sum()
    }

    /// The same for a client that has no room for the messages now: they must be requested again, from its end.
    pub fn put_off(self) -> Excerpt {
        Excerpt { messages: Vec::new(), is_last: false, ..self }
    }

    /// The position of a client that has received the excerpt.
    pub fn end(&self) -> Position {
        match self.messages.last() {
            _ if self.is_last => self.latest,
            Some((offset, _)) => Position { offset: *offset, ..self.latest },
            None => self.begin(),
        }
    }

    /// The position of a client that has received the gap and no message yet.
    pub fn begin(&self) -> Position {
        Position { offset: self.begins_after, ..self.latest }
    }
}

/// Messages that a client asked for, or should have received, and will not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub reason: GapReason,
    /// The position of the first message after the gap that is still kept, if there is one.
    pub first: Option<Position>,
    /// The position of the channel's last message.
    pub last: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Messages after the position are no longer kept.
    Gone,
    /// The position belongs to another channel or to an earlier epoch of this one: the loss is unknown.
    Epoch,
    /// The position does not exist yet.
    Future,
    /// The text is not a position.
    Malformed,
    /// The client had no position in this channel of its stream.
    Unknown,
    /// The client was too slow for the channel, whose delivery is `drop`.
    Slow,
}

impl GapReason {
    pub const ALL: [GapReason; 6] = [
        GapReason::Gone,
        GapReason::Epoch,
        GapReason::Future,
        GapReason::Malformed,
        GapReason::Unknown,
        GapReason::Slow,
    ];

    /// The word that clients get; stable.
    pub fn word(self) -> &'static str {
        match self {
            GapReason::Gone => "gone",
            GapReason::Epoch => "epoch",
            GapReason::Future => "future",
            GapReason::Malformed => "malformed",
            GapReason::Unknown => "unknown",
            GapReason::Slow => "slow",
        }
    }
}

impl Gap {
    /// As JSON, on one line: `{"channel":"room.1","first":"…","last":"…","reason":"gone"}`.
    pub fn to_json(&self, channel: &Subject) -> serde_json::Value {
        json!({
            "channel": channel.as_str(),
            "reason": self.reason.word(),
            "first": self.first.map(|first| first.to_string()),
            "last": self.last.to_string(),
        })
    }
}

/// A client's positions in all channels of one stream: separated by commas, empty for a channel without a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Box<[Option<Position>]>);

impl Cursor {
    /// No position in any of `channels`.
    pub fn new(channels: usize) -> Cursor {
        Cursor(vec![None; channels].into())
    }

    /// Parses the positions that a client sends back, one for each of `channels`. A text with another number of
    /// positions has no meaning.
    pub fn read(text: &str, channels: usize) -> impl Iterator<Item = Since> {
        let is_of_these = text.split(',').count() == channels;
        let mut parts = text.split(',');
        (0..channels).map(move |_| match parts.next() {
            Some("") if is_of_these && channels > 1 => Since::Unknown,
            Some(part) if is_of_these => Since::after(part),
            _ => Since::Unreadable,
        })
    }

    pub fn set(&mut self, channel: usize, position: Position) {
        if let Some(own) = self.0.get_mut(channel) {
            *own = Some(position);
        }
    }

    /// Whether a client that resumes with it misses no message of any channel.
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if let Some(position) = position {
                position.fmt(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch, offset }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_written() {
        let mut cursor = Cursor::new(3);
        cursor.set(0, at(1, 2));
        cursor.set(2, at(3, u64::MAX));
        let text = cursor.to_string();
        assert_eq!(text, "00000001-2,,00000003-18446744073709551615");
        let read: Vec<Since> = Cursor::read(&text, 3).collect();
        assert_eq!(read, [Since::After(at(1, 2)), Since::Unknown, Since::After(at(3, u64::MAX))]);
    }

    #[test]
    fn what_is_no_cursor_of_so_many_channels_says_nothing() {
        for (text, channels) in [("00000001-2", 2), ("00000001-2,00000001-2", 1), ("x", 1), ("", 1), (",,", 2), ("", 2)]
        {
            let read: Vec<Since> = Cursor::read(text, channels).collect();
            assert_eq!(read, vec![Since::Unreadable; channels], "{text:?}");
        }
        let read: Vec<Since> = Cursor::read("00000001-2,7", 2).collect();
        assert_eq!(read, [Since::After(at(1, 2)), Since::Unreadable]);
    }

    #[test]
    fn an_excerpt_says_where_its_reader_stands() {
        let message = Arc::new(Message::new(Subject::new("a").unwrap(), None, None, Box::default()));
        let messages = [3, 6].map(|offset| (offset, message.clone())).into();
        let mut excerpt = Excerpt { gap: None, begins_after: 2, messages, latest: at(7, 9), is_last: false };
        let offsets: Vec<u64> = excerpt.messages().map(|(position, _)| position.offset).collect();
        assert_eq!((offsets, excerpt.begin(), excerpt.end()), (vec![3, 6], at(7, 2), at(7, 6)));
        excerpt.is_last = true;
        assert_eq!(excerpt.end(), at(7, 9));
        let later = excerpt.put_off();
        assert_eq!((later.messages.len(), later.end(), later.is_last), (0, at(7, 2), false));
    }
}
