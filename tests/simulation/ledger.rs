//! What was said, by whom and when, and which position it got: the truth that every ear is held to.

use std::collections::{BTreeMap, BTreeSet};

/// Counts what clients said and saw, across all of them: a finer order than that of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// One publisher's messages on one channel. A publisher is one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voice {
    pub channel: String,
    pub publisher: u32,
}

/// The `number`th of its voice, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub voice: Voice,
    pub number: usize,
}

/// Where a channel's owner put a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: u32,
    pub offset: u64,
}

struct Said {
    at: Moment,
    payload_len: usize,
}

#[derive(Default)]
struct Log {
    epoch: Option<u32>,
    by_offset: BTreeMap<u64, Message>,
    offsets: BTreeMap<Message, u64>,
}

pub struct Ledger {
    moment: Moment,
    said: BTreeMap<Voice, Vec<Said>>,
    logs: BTreeMap<String, Log>,
    /// Publishers that may not have got out all that they said.
    unreliable: BTreeSet<u32>,
    /// Workers of the service that may have left it: their clients may go to others.
    pub retired: BTreeSet<u32>,
    /// By connection: its workers, one after another.
    served_by: BTreeMap<String, Vec<u32>>,
    /// Clients whom a worker asked the gateway to close.
    pub kicked: BTreeSet<u32>,
    /// Clients whom a worker had subscribed to a channel.
    pub granted: BTreeSet<(u32, String)>,
    /// Each connection's id, as workers see it, and whose it is.
    conns: BTreeMap<String, u32>,
    /// Who of a queue group got a message.
    taken: BTreeMap<(&'static str, Message), u32>,
}

impl Position {
    pub fn parse(text: &str) -> Position {
        let parsed = text.split_once('-').and_then(|(epoch, offset)| {
            Some(Position { epoch: u32::from_str_radix(epoch, 16).ok()?, offset: offset.parse().ok()? })
        });
        parsed.unwrap_or_else(|| panic!("{text:?} is no position"))
    }
}

impl Message {
    /// Reads back what [`Ledger::say`] wrote; `None` if it is something else or was changed.
    fn parse(payload: &str) -> Option<(Message, usize)> {
        let mut words = payload.splitn(4, ' ');
        let voice = Voice { channel: words.next()?.to_owned(), publisher: words.next()?.parse().ok()? };
        let message = Message { voice, number: words.next()?.parse().ok()? };
        words.next()?.bytes().all(|byte| byte == b'x').then_some((message, payload.len()))
    }
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            moment: Moment(0),
            said: BTreeMap::new(),
            logs: BTreeMap::new(),
            unreliable: BTreeSet::new(),
            retired: BTreeSet::new(),
            served_by: BTreeMap::new(),
            kicked: BTreeSet::new(),
            granted: BTreeSet::new(),
            conns: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// A new moment, later than all before.
    pub fn moment(&mut self) -> Moment {
        self.moment.0 += 1;
        self.moment
    }

    /// The payload of the publisher's next message on `channel`.
    pub fn say(&mut self, channel: &str, publisher: u32, padding: usize) -> String {
        let at = self.moment();
        let said = self.said.entry(Voice { channel: channel.to_owned(), publisher }).or_default();
        let payload = format!("{channel} {publisher} {} {}", said.len() + 1, "x".repeat(padding));
        said.push(Said { at, payload_len: payload.len() });
        payload
    }

    /// What a payload is, as long as somebody said exactly this.
    pub fn recognize(&self, payload: &[u8]) -> Message {
        let text = std::str::from_utf8(payload).unwrap_or_else(|_| panic!("{payload:?} was never said"));
        let (message, len) = Message::parse(text).unwrap_or_else(|| panic!("{text:?} was never said"));
        let said = self.said.get(&message.voice).and_then(|said| said.get(message.number - 1));
        let said = said.unwrap_or_else(|| panic!("{message:?} was never said"));
        assert_eq!(said.payload_len, len, "{message:?} has another length");
        message
    }

    pub fn said_at(&self, voice: &Voice, number: usize) -> Moment {
        self.said[voice][number - 1].at
    }

    /// This publisher's connection ended: what it said last may never have arrived.
    pub fn distrust(&mut self, publisher: u32) {
        self.unreliable.insert(publisher);
    }

    /// All voices on channels that `is_meant` picks, and the last of their messages that must have been accepted.
    pub fn accepted(&self, is_meant: impl Fn(&str) -> bool) -> Vec<(&Voice, usize)> {
        let voices = self.said.iter().filter(|(voice, _)| is_meant(&voice.channel));
        let accepted = voices.map(|(voice, said)| {
            let is_reliable = !self.unreliable.contains(&voice.publisher);
            (voice, if is_reliable { said.len() } else { self.last_in_log(voice) })
        });
        accepted.filter(|(_, count)| *count > 0).collect()
    }

    fn last_in_log(&self, voice: &Voice) -> usize {
        let Some(log) = self.logs.get(&voice.channel) else { return 0 };
        let message = |number| Message { voice: voice.clone(), number };
        log.offsets.range(message(0)..=message(usize::MAX)).next_back().map_or(0, |(message, _)| message.number)
    }

    /// Somebody saw `message` at `position`; everybody must see it there, and nothing else.
    pub fn place(&mut self, message: &Message, position: Position) {
        let log = self.logs.entry(message.voice.channel.clone()).or_default();
        let epoch = *log.epoch.get_or_insert(position.epoch);
        assert_eq!(epoch, position.epoch, "{message:?} begins another epoch");
        let there = log.by_offset.entry(position.offset).or_insert_with(|| message.clone());
        assert_eq!(there, message, "two messages at offset {}", position.offset);
        let offset = *log.offsets.entry(message.clone()).or_insert(position.offset);
        assert_eq!(offset, position.offset, "{message:?} has two positions");
    }

    /// Of the last message of a channel that anybody has seen the position of; 0 before the first.
    pub fn last_offset(&self, channel: &str) -> u64 {
        let last = self.logs.get(channel).and_then(|log| log.by_offset.keys().next_back());
        last.copied().unwrap_or(0)
    }

    pub fn offset(&self, message: &Message) -> Option<u64> {
        self.logs.get(&message.voice.channel)?.offsets.get(message).copied()
    }

    /// Offsets count without gaps, where somebody has seen them all.
    pub fn assert_no_gaps(&self, channel: &str) {
        let Some(log) = self.logs.get(channel) else { return };
        let mut offsets = log.by_offset.keys();
        let first = offsets.next().copied().unwrap_or(1);
        for (expected, offset) in (first + 1..).zip(offsets) {
            assert_eq!(*offset, expected, "a gap in the positions of {channel}");
        }
    }

    /// A member of a queue group got a message: it is the only one.
    pub fn take(&mut self, group: &'static str, message: &Message, member: u32) {
        let before = self.taken.insert((group, message.clone()), member);
        assert_eq!(before, None, "{message:?} came to {member} of group {group}, too");
    }

    pub fn is_taken(&self, group: &'static str, message: &Message) -> bool {
        self.taken.contains_key(&(group, message.clone()))
    }

    /// A worker saw a message of `client` come from the connection `id`: always the same one.
    pub fn knows_conn(&mut self, id: &str, client: u32) {
        let own = *self.conns.entry(id.to_owned()).or_insert(client);
        assert_eq!(own, client, "two clients have the connection id {id}");
    }

    /// A worker was told something about a connection: the same worker as before, unless that one left.
    pub fn serves(&mut self, conn: &str, worker: u32) {
        let all = self.served_by.entry(conn.to_owned()).or_default();
        match all.last() {
            Some(last) if *last == worker => {}
            // It was on its way when the worker left.
            Some(_) if all.contains(&worker) && self.retired.contains(&worker) => {}
            last => {
                let may_change = last.is_none_or(|last| self.retired.contains(last));
                assert!(may_change, "{conn} came to worker {worker} although {last:?}, who had it, is there");
                all.push(worker);
            }
        }
    }

    /// The connections that workers have heard from.
    pub fn conns(&self) -> impl Iterator<Item = (&String, u32)> {
        self.conns.iter().map(|(conn, client)| (conn, *client))
    }
}
