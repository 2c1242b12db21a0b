//! The state of a shard's access log: entries by connection, and lines that have not been handed over.

use std::cell::RefCell;

use ahash::AHashMap;

use super::Outcome;
use super::entry::AccessEntry;
use crate::base::counters::Counter;
use crate::base::{Key, Tick};
use crate::limits;
use crate::proto::access::{AccessLine, LineFormat};

/// How the access log is written.
pub struct AccessRule {
    pub format: LineFormat,
    /// Whether streams have a line when they begin, too.
    pub tells_opens: bool,
    /// Whether the end of a stream tells what TCP knows of its connection.
    pub tells_tcp: bool,
    /// The addresses of listeners, by id.
    pub listeners: Vec<Box<str>>,
    /// Query parameters whose values are not shown.
    pub secrets: Vec<Box<str>>,
    /// Milliseconds of Unix time.
    pub unix_ms: fn() -> u64,
    /// Lines that could not be written; counted by the thread that writes.
    pub unwritten: Counter,
}

impl std::fmt::Debug for AccessRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessRule(..)")
    }
}

/// A stream whose last line lacks what TCP knows.
pub(super) struct EndedStream {
    pub key: Key,
    pub entry: AccessEntry,
    pub outcome: Outcome,
}

/// The log of one shard.
#[derive(Default)]
pub struct AccessLines(RefCell<Lines>);

#[derive(Default)]
pub(super) struct Lines {
    pub entries: AHashMap<Key, AccessEntry>,
    /// Streams that have ended in this turn, while TCP is asked about their connections ([`tell_ends`](super::tell_ends)).
    pub ended: Vec<EndedStream>,
    pending: Vec<u8>,
    count: u64,
    /// When the first of the pending lines was written.
    first: Option<Tick>,
    /// Lines for which there was no room.
    lost: u64,
}

/// Lines that are due.
#[derive(Debug, Default)]
pub struct LinesDue {
    pub text: Vec<u8>,
    pub count: u64,
    /// Further ones, which are lost.
    pub lost: u64,
}

impl AccessLines {
    /// When the next lines are due.
    pub fn due(&self) -> Tick {
        let first = self.0.try_borrow().ok().and_then(|lines| Some((lines.first?, lines.pending.len())));
        first.map_or(Tick::NEVER, |(first, bytes)| match bytes < limits::ACCESS_LOG_BATCH_BYTES {
            true => first + limits::ACCESS_LOG_DELAY,
            false => first,
        })
    }

    /// Takes the lines that are due, if there are any.
    pub fn take_due(&self, now: Tick) -> Option<LinesDue> {
        if self.due() > now {
            return None;
        }
        self.with(|lines| {
            lines.first.take()?;
            let (count, lost) = (std::mem::take(&mut lines.count), std::mem::take(&mut lines.lost));
            Some(LinesDue { text: std::mem::take(&mut lines.pending), count, lost })
        })
    }

    /// Requests and streams that have no last line yet.
    pub fn open(&self) -> usize {
        self.with(|lines| lines.entries.len())
    }

    pub(super) fn with<T: Default>(&self, work: impl FnOnce(&mut Lines) -> T) -> T {
        let lines = self.0.try_borrow_mut();
        debug_assert!(lines.is_ok(), "one call at a time");
        lines.map_or_else(|_| T::default(), |mut lines| work(&mut lines))
    }
}

/// Another shard has a log of its own.
impl Clone for AccessLines {
    fn clone(&self) -> AccessLines {
        AccessLines::default()
    }
}

impl std::fmt::Debug for AccessLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessLines(..)")
    }
}

impl Lines {
    /// Adds a line, if there is room.
    pub(super) fn push(&mut self, line: &AccessLine<'_>, format: LineFormat, now: Tick) {
        if self.pending.len() >= limits::ACCESS_LOG_PENDING_BYTES_MAX {
            self.lost += 1;
            return;
        }
        line.write(format, &mut self.pending);
        self.count += 1;
        self.first.get_or_insert(now);
    }
}
