//! Somebody who loses the connection and comes back with the last id seen, again and again: an `EventSource` on a train.
//!
//! ```text
//!  stands at      7                 9              9              14
//!  hears       id 7 | 8 | 9 |  (cut)  comes back: 10 ...           | 15
//!                                     or: gap, first kept 13: 13 14
//! ```
//!
//! Across all of it: every message of the channel in order and once, or a gap where something is missing, and nowhere else.

use tidegate::driver::sim::Random;
use tidegate::proto::channel::Rule;
use tidegate::proto::subject::Subject;

use crate::gateway::{EVER_ROOM, Kept};
use crate::ledger::{Ledger, Position};
use crate::line::Line;
use crate::sse::{Event, EventStream, ONLY_ID};

pub struct Traveller {
    pub id: u32,
    channels: Vec<String>,
    path: String,
    kept: Kept,
    stream: Option<EventStream>,
    /// Of the last whole record, whichever stream it came by.
    last_id: String,
    /// Where it stands in each of the channels, once it has been told.
    stands: Vec<Option<Position>>,
    /// Gaps that must come in this stream before anything else of the channel, because of what it said when it came.
    due: Vec<Option<&'static str>>,
    /// What it said last of itself that is not so, by channel. Until the channel's owner has looked at it, it comes back in
    /// the stream's ids, and it may say it again without knowing better.
    lies: Vec<Option<(String, &'static str)>>,
    pub counts: Travels,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Travels {
    pub returns: u64,
    /// Messages that it had missed, or were said since.
    pub heard: u64,
    /// Gaps because something is not kept any more.
    pub gone: u64,
    /// Gaps because it came back with something that was no position of its own.
    pub lies: u64,
}

impl Traveller {
    pub fn new(id: u32, rooms: &[u64], kept: Kept) -> Traveller {
        let names: Vec<String> = rooms.iter().map(u64::to_string).collect();
        Traveller {
            id,
            channels: rooms.iter().map(|room| format!("room.{room}")).collect(),
            path: format!("/sse/{}", names.join("/")),
            kept,
            stream: None,
            last_id: String::new(),
            stands: vec![None; rooms.len()],
            due: vec![None; rooms.len()],
            lies: vec![None; rooms.len()],
            counts: Travels::default(),
        }
    }

    pub fn is_away(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.end().is_some())
    }

    pub fn line(&self) -> Option<&Line> {
        self.stream.as_ref().map(|stream| &stream.line)
    }

    /// The connection is gone, with whatever was on its way.
    pub fn cut(&mut self) {
        self.stream = None;
    }

    /// Comes (back) by `line`; now and then it says of itself what is not so.
    pub fn come(&mut self, line: Line, random: &mut Random) {
        let has_been_here = !self.last_id.is_empty();
        self.counts.returns += u64::from(has_been_here);
        let parts = self.last_id.split(',').zip(&self.lies);
        let due = parts.map(|(part, lie)| match lie {
            _ if part.is_empty() => Some("unknown"),
            Some((lie, reason)) if lie == part => Some(*reason),
            _ => None,
        });
        self.due = if has_been_here { due.collect() } else { vec![None; self.channels.len()] };
        let mut said = self.last_id.clone();
        if has_been_here && random.chance(80) {
            said = self.lie(random);
        }
        let mut stream = if random.chance(300) {
            EventStream::new(line, &format!("{}?last_event_id={said}", self.path), "")
        } else {
            EventStream::new(line, &self.path, &said)
        };
        stream.keeps_ids = true;
        self.stream = Some(stream);
    }

    /// An id that is not the one it has, and what that leads to.
    fn lie(&mut self, random: &mut Random) -> String {
        let chosen = random.below(self.channels.len() as u64) as usize;
        let mut parts: Vec<String> = self.last_id.split(',').map(str::to_owned).collect();
        let is_known = !parts[chosen].is_empty() && self.due[chosen].is_none();
        let Some(stand) = self.stands[chosen].filter(|_| is_known) else { return self.last_id.clone() };
        let reason = match random.below(4) {
            0 => {
                parts[chosen] = format!("{:08x}-{}", stand.epoch, u64::MAX - random.below(9));
                "future"
            }
            1 => {
                parts[chosen] = format!("{:08x}-{}", stand.epoch ^ 1, stand.offset);
                "epoch"
            }
            2 => {
                parts[chosen].insert(0, 'x');
                "malformed"
            }
            _ => {
                parts.push(parts[chosen].clone());
                self.due.fill(Some("malformed"));
                return parts.join(",");
            }
        };
        self.due[chosen] = Some(reason);
        self.lies[chosen] = Some((parts[chosen].clone(), reason));
        parts.join(",")
    }

    pub fn poll(&mut self, ledger: &mut Ledger) {
        let Some(stream) = &mut self.stream else { return };
        stream.poll();
        if let Some(head) = &stream.head {
            // Whatever is wrong, an EventSource is not refused.
            assert_eq!(head.status, 200, "traveller {} was refused", self.id);
        }
        for event in std::mem::take(&mut stream.received) {
            match event.name.as_str() {
                ONLY_ID => self.stand(&event.id),
                "tg.gap" => self.hear_gap(&event),
                _ => self.hear(ledger, &event),
            }
            self.last_id = event.id;
        }
    }

    /// The positions of an id, one for each channel; none where the gateway did not know it yet.
    fn parse(&self, id: &str) -> Vec<Option<Position>> {
        let parts: Vec<_> = id.split(',').map(|part| (!part.is_empty()).then(|| Position::parse(part))).collect();
        assert_eq!(parts.len(), self.channels.len(), "traveller {}: {id:?} is for other channels", self.id);
        parts
    }

    /// An id without an event: where it stands, in channels of which it has heard nothing yet.
    fn stand(&mut self, id: &str) {
        for (channel, position) in self.parse(id).into_iter().enumerate() {
            if let Some(due) = self.due[channel] {
                assert!(self.channels.len() > 1, "traveller {} was not told: {due:?}", self.id);
                continue;
            }
            let stand = self.stands[channel].or(position);
            assert_eq!(position, stand, "traveller {} is moved without a word", self.id);
            self.stands[channel] = stand;
        }
    }

    fn hear(&mut self, ledger: &mut Ledger, event: &Event) {
        let message = ledger.recognize(event.data.as_bytes());
        let channel = self.index_of(&message.voice.channel);
        let position = self.move_to(&event.id, channel);
        let who = self.id;
        assert!(self.due[channel].is_none(), "traveller {who} was not told: {:?}", self.due[channel]);
        match self.stands[channel] {
            Some(Position { epoch, offset }) => {
                let next = Position { epoch, offset: offset + 1 };
                assert_eq!(position, next, "traveller {who} hears {message:?} twice, too late, or misses one");
            }
            None => {
                let name = &self.channels[channel];
                let is_greeted = self.kept.rule(name).is_for_newcomers;
                let is_told_first = self.channels.len() == 1 && self.kept.keeps(name) && !is_greeted;
                assert!(!is_told_first, "traveller {who} could not have come back before {message:?}");
                let is_all = is_greeted && self.kept.keeps_all(name);
                assert!(
                    !is_all || position.offset == 1,
                    "traveller {who} does not get all of {name} from {position:?}"
                );
            }
        }
        ledger.place(&message, position);
        self.stands[channel] = Some(position);
        self.counts.heard += 1;
    }

    fn hear_gap(&mut self, event: &Event) {
        let gap: serde_json::Value = serde_json::from_str(&event.data).expect("a gap is JSON");
        let channel = self.index_of(gap["channel"].as_str().expect("a channel"));
        let position = self.move_to(&event.id, channel);
        let first = gap["first"].as_str().map(Position::parse);
        let last = Position::parse(gap["last"].as_str().expect("a position"));
        let stand = self.stands[channel];
        let who = self.id;
        match (gap["reason"].as_str().expect("a reason"), self.due[channel].take()) {
            ("gone", None) => {
                let stand = stand.expect("only who has been there can miss something");
                let missed = first.map_or(last.offset, |first| first.offset - 1);
                assert!(stand.epoch == last.epoch && missed > stand.offset, "{who} at {stand:?} misses nothing: {gap}");
                let name = &self.channels[channel];
                assert!(!self.kept.keeps_all(name), "{name} keeps everything, and {who} at {stand:?} hears {gap}");
                self.counts.gone += 1;
            }
            (reason, due) => {
                assert_eq!(Some(reason), due, "traveller {who} at {stand:?} hears {gap}");
                self.counts.lies += 1;
            }
        }
        let before = first.map_or(last, |first| Position { offset: first.offset - 1, ..first });
        assert_eq!(position, before, "the id of a gap leads to what follows it: {gap}");
        self.stands[channel] = Some(position);
    }

    fn index_of(&self, name: &str) -> usize {
        let found = self.channels.iter().position(|own| own == name);
        found.unwrap_or_else(|| panic!("traveller {} did not subscribe to {name}", self.id))
    }

    /// The position of `channel` in an id; those of the others are where they were, or said for the first time.
    fn move_to(&mut self, id: &str, channel: usize) -> Position {
        let parts = self.parse(id);
        for (index, position) in parts.iter().enumerate().filter(|(index, _)| *index != channel) {
            let stand = self.stands[index].or(*position);
            let is_same = *position == stand || position.is_none() || self.due[index].is_some();
            assert!(is_same, "traveller {} is moved without a word: {id}", self.id);
            self.stands[index] = stand;
        }
        parts[channel].expect("what comes has a position")
    }

    /// Everything has come to rest, and it is there: it stands where its channels do.
    pub fn assert_settled(&self, ledger: &Ledger) {
        if !self.stream.as_ref().is_some_and(|stream| stream.is_open() && stream.end().is_none()) {
            return;
        }
        for (name, stand) in self.channels.iter().zip(&self.stands) {
            let last = ledger.last_offset(name);
            let stands_at = stand.map_or(0, |stand| stand.offset);
            let has_all = stands_at >= last || (stand.is_none() && !self.kept.keeps(name));
            assert!(has_all, "traveller {} stands at {stands_at} of {name}, which is at {last}", self.id);
        }
        assert!(self.due.iter().all(Option::is_none), "traveller {} was never told: {:?}", self.id, self.due);
    }
}

impl Kept {
    fn rule(&self, channel: &str) -> &Rule {
        self.rules.of(&Subject::new(channel).expect("a channel"))
    }

    fn keeps(&self, channel: &str) -> bool {
        self.rule(channel).history.is_some()
    }

    /// No gap is ever right.
    fn keeps_all(&self, channel: &str) -> bool {
        self.keeps(channel) && channel == EVER_ROOM && !self.is_short_of_room()
    }
}

impl Travels {
    pub fn add(&mut self, other: Travels) {
        self.returns += other.returns;
        self.heard += other.heard;
        self.gone += other.gone;
        self.lies += other.lies;
    }
}
