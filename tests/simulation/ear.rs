//! One subscription as its client sees it: what it hears must be what was said, in order, once, and nothing missing.
//!
//! ```text
//!  said      1    2    3    4    5    6
//!  opened              ^
//!  heard               3    4    5    6      a beginning may be missing, said before it opened; then nothing may
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Ledger, Message, Moment, Position, Voice};

/// Which channels a subscription is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Channel(String),
    /// Everything below it, one token or more: `room.` for `room.*` and `room.>`.
    Below(&'static str),
}

impl Pattern {
    pub fn matches(&self, channel: &str) -> bool {
        match self {
            Pattern::Channel(own) => own == channel,
            Pattern::Below(prefix) => channel.starts_with(prefix),
        }
    }
}

pub struct Ear {
    who: String,
    pattern: Pattern,
    /// Of a queue group, which gets each message once: others' are missing here.
    group: Option<Group>,
    /// Set when its client was told that the subscription is in force.
    opened_at: Option<Moment>,
    /// The last message of each voice.
    last: BTreeMap<Voice, usize>,
    /// Voices of which one was heard since it opened: not one more of them may be missing.
    followed: BTreeSet<Voice>,
    /// Since it opened, by channel.
    heard: BTreeMap<String, Vec<Message>>,
    position: Option<Position>,
    /// Of a worker: when the last message of each publisher was said, on whatever channel.
    publishers: Option<BTreeMap<u32, Moment>>,
}

/// A member of a queue group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: &'static str,
    pub member: u32,
    /// Nobody leaves it. Where members leave, messages on the way to them come to others later.
    is_steady: bool,
}

/// A group whose members stay.
pub const STEADY_GROUP: &str = "steady";

/// A group whose members come and go.
pub const LOOSE_GROUP: &str = "loose";

impl Group {
    pub fn new(name: &'static str, member: u32) -> Group {
        Group { name, member, is_steady: name == STEADY_GROUP }
    }
}

impl Ear {
    pub fn new(who: String, pattern: Pattern, group: Option<Group>) -> Ear {
        Ear {
            who,
            pattern,
            group,
            opened_at: None,
            last: BTreeMap::new(),
            followed: BTreeSet::new(),
            heard: BTreeMap::new(),
            position: None,
            publishers: None,
        }
    }

    /// A worker's, which hears each publisher in order over all channels, and different publishers of a channel as they come.
    pub fn of_worker(who: String, pattern: Pattern, group: Option<Group>) -> Ear {
        Ear { publishers: Some(BTreeMap::new()), ..Ear::new(who, pattern, group) }
    }

    pub fn open(&mut self, ledger: &mut Ledger) {
        self.opened_at = Some(ledger.moment());
    }

    pub fn is_of(&self, group: &str) -> bool {
        self.group.is_some_and(|own| own.name == group)
    }

    pub fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    pub fn hear(&mut self, ledger: &mut Ledger, payload: &[u8], position: Option<Position>) -> Message {
        let message = ledger.recognize(payload);
        let who = &self.who;
        assert!(self.pattern.matches(&message.voice.channel), "{who} did not subscribe to {message:?}");
        self.follow(ledger, &message);
        if let Some(Group { name, member, .. }) = self.group {
            ledger.take(name, &message, member);
        }
        if let Some(position) = position {
            if let Some(before) = self.position {
                let expected = Position { offset: before.offset + 1, ..before };
                assert_eq!(position, expected, "{} hears {message:?} after a gap", self.who);
            }
            self.position = Some(position);
            ledger.place(&message, position);
        }
        message
    }

    fn follow(&mut self, ledger: &Ledger, message: &Message) {
        let Message { voice, number } = message;
        let last = self.last.insert(voice.clone(), *number).unwrap_or(0);
        let who = &self.who;
        let may_overtake = self.group.is_some_and(|group| !group.is_steady);
        assert!(*number > last || may_overtake, "{who} hears {message:?} after number {last}: twice, or out of order");
        if let Some(publishers) = self.publishers.as_mut().filter(|_| !may_overtake) {
            let said_at = ledger.said_at(voice, *number);
            let before = publishers.insert(voice.publisher, said_at);
            assert!(before.is_none_or(|before| before < said_at), "{who} hears {message:?} after what was said later");
        }
        if self.group.is_some() {
            return;
        }
        let Some(opened_at) = self.opened_at else { return };
        if self.followed.insert(voice.clone()) {
            let skipped = number - 1;
            let may_skip = skipped == last || ledger.said_at(voice, skipped) < opened_at;
            assert!(may_skip, "{who} hears {message:?} after number {last}, and was open when {skipped} was said");
        } else {
            assert_eq!(*number, last + 1, "{who} misses some of {voice:?}");
        }
        self.heard.entry(voice.channel.clone()).or_default().push(message.clone());
    }

    /// All clients that listen to a channel agree about its order.
    pub fn assert_order(&self, ledger: &Ledger) {
        if self.publishers.is_some() {
            return;
        }
        for heard in self.heard.values() {
            for pair in heard.windows(2) {
                let [before, after] = [&pair[0], &pair[1]].map(|message| ledger.offset(message));
                if let (Some(before), Some(after)) = (before, after) {
                    assert_eq!(after, before + 1, "{} hears {:?} after {:?}", self.who, pair[1], pair[0]);
                }
            }
        }
    }

    /// Everything has come to rest: nothing that was accepted after it opened is missing.
    pub fn assert_complete(&self, ledger: &Ledger) {
        let Some(opened_at) = self.opened_at.filter(|_| self.group.is_none()) else { return };
        for (voice, count) in ledger.accepted(|channel| self.pattern.matches(channel)) {
            let last = self.last.get(voice).copied().unwrap_or(0);
            let is_complete = last >= count || ledger.said_at(voice, count) < opened_at;
            assert!(is_complete, "{} heard {last} of {count} of {voice:?}, and was there", self.who);
        }
    }

    /// The messages that this ear, or another of its group, must have heard.
    pub fn due(&self, ledger: &Ledger) -> Vec<Message> {
        let Some(opened_at) = self.opened_at else { return Vec::new() };
        let mut due = Vec::new();
        for (voice, count) in ledger.accepted(|channel| self.pattern.matches(channel)) {
            let numbers = (1..=count).filter(|number| ledger.said_at(voice, *number) > opened_at);
            due.extend(numbers.map(|number| Message { voice: voice.clone(), number }));
        }
        due
    }
}
