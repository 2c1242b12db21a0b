//! Coming back to a channel: what a client asks for, what it gets, and how it is told that something is missing.
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
//! A gap is said whenever it cannot be ruled out that something is missing, and never otherwise.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::event::{Message, Position};
use super::subject::Subject;

/// The kept messages of a channel that a subscriber asks for, besides future ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// None: only the position.
    Now,
    /// Those after the position: the client has seen everything up to it.
    After(Position),
    /// The newest of those before it.
    Before(Position),
    /// The same two of a position that names no epoch: it is of the one that the channel is in.
    AfterOffset(u64),
    BeforeOffset(u64),
    /// All that are kept, the oldest first.
    Beginning,
    /// The newest.
    Latest,
    /// The client sends a position that cannot be parsed: a gap, then all that are kept.
    Unreadable,
    /// The client was never told where it was: the same.
    Unknown,
}

impl Since {
    /// The meaning of a position that a client sends back.
    pub fn after(text: &str) -> Since {
        text.parse().map_or(Since::Unreadable, Since::After)
    }

    /// Its meaning for a channel in this epoch.
    pub fn in_epoch(self, epoch: u32) -> Since {
        match self {
            Since::AfterOffset(offset) => Since::After(Position { epoch, offset }),
            Since::BeforeOffset(offset) => Since::Before(Position { epoch, offset }),
            other => other,
        }
    }
}

/// How much is answered at once; one message may be longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcerptBounds {
    pub messages_max: usize,
    pub bytes_max: usize,
}

/// A piece of what is kept of a channel, in the channel's order: between two messages of it the channel has no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The lost messages before the excerpt.
    pub gap: Option<Gap>,
    /// Offset that the messages follow: the reader stands there before the first of them. The epoch is that of `latest`, as it is for
    /// the messages.
    pub begins_after: u64,
    /// Each with its offset. A log may leave offsets out, so they are not counted.
    pub messages: Vec<(u64, Arc<Message>)>,
    /// Of the channel's last message, in this excerpt or not; offset 0 if it never had one.
    pub latest: Position,
    /// Nothing follows that was asked for: what comes after `latest` is live. Otherwise [`Excerpt::end`] is where to go on.
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

    /// The same for a client that has no room for the messages now: they are to be asked for again, from its end.
    pub fn put_off(self) -> Excerpt {
        Excerpt { messages: Vec::new(), is_last: false, ..self }
    }

    /// Where a client stands that has got this.
    pub fn end(&self) -> Position {
        match self.messages.last() {
            _ if self.is_last => self.latest,
            Some((offset, _)) => Position { offset: *offset, ..self.latest },
            None => self.begin(),
        }
    }

    /// Where a client stands that has got the gap and no message yet.
    pub fn begin(&self) -> Position {
        Position { offset: self.begins_after, ..self.latest }
    }
}

/// Messages that a client asked for, or was to get, and does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub reason: GapReason,
    /// Of the first message after it that is still kept, if there is one.
    pub first: Option<Position>,
    /// Of the channel's last message.
    pub last: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Messages behind the position are not kept any more.
    Gone,
    /// The position is of another channel, or of earlier offsets of this one: the loss is unknown.
    Epoch,
    /// The position was never given.
    Future,
    /// It is no position.
    Malformed,
    /// The client had none yet for this channel of its stream.
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

/// Where a client stands in each of the channels of one stream: positions with commas between them, empty where none is
/// known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Box<[Option<Position>]>);

impl Cursor {
    /// Nowhere in any of `channels`.
    pub fn new(channels: usize) -> Cursor {
        Cursor(vec![None; channels].into())
    }

    /// What a client hands back, for each of `channels`. Of another number of channels it says nothing at all.
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

    /// Whether a client that resumes with it misses nothing in any channel.
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
