//! Somebody who reads when it pleases, and what each channel owes to it then.
//!
//! ```text
//!  queue    1 2 3 4 5 6         everything, or the end
//!  latest   a1 b2 a6 b9         of each key in order, and at last the newest; what an id passes has come or is superseded
//!  drop     1 2 gap 7 8         in order, and a gap where something is missing, and nowhere else
//! ```

use tidegate::base::Tick;
use tidegate::proto::channel::Delivery;

use crate::line::{End, Line};
use crate::sse::EventStream;
use crate::websocket::{Message, Phase, WebSocket};

/// Keys of a channel that delivers the latest.
pub const KEYS: u64 = 8;

/// What was said of each room: the messages' numbers, which are their offsets, from 1.
pub struct Said {
    pub delivery: Delivery,
    pub count: u64,
    /// By key.
    pub newest: [u64; KEYS as usize],
}

pub struct Reader {
    pub id: u32,
    socket: Socket,
    tracks: Vec<Track>,
    /// Until then it reads nothing.
    pub deaf_until: Tick,
    /// It is never deaf, so that nothing of a queue may be missing.
    pub is_eager: bool,
    is_open: bool,
    pub counts: Counts,
}

enum Socket {
    Stream(EventStream),
    WebSocket(WebSocket),
}

/// What it has heard of one room.
struct Track {
    room: usize,
    /// Messages said before it was open: later ones are owed to it.
    since: u64,
    last: u64,
    newest: [u64; KEYS as usize],
    /// By its last id.
    stands_at: u64,
    /// Of the first message after a gap that was said and has not come.
    gap_before: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub heard: u64,
    /// Numbers that `latest` and `drop` have left out.
    pub skipped: u64,
    pub gaps: u64,
    /// It was sent away as too slow.
    pub closed: u64,
    /// It was there at the end, with everything owed to it.
    pub settled: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.heard += other.heard;
        self.skipped += other.skipped;
        self.gaps += other.gaps;
        self.closed += other.closed;
        self.settled += other.settled;
    }
}

/// As said by whoever publishes.
pub fn payload(room: usize, key: u64, number: u64, padding: usize) -> String {
    format!("{room} {key} {number} {}", "x".repeat(padding))
}

impl Reader {
    /// One of a stream of these rooms.
    pub fn stream(id: u32, line: Line, rooms: &[usize], is_eager: bool) -> Reader {
        let names: Vec<String> = rooms.iter().map(usize::to_string).collect();
        let stream = EventStream::new(line, &format!("/sse/{}", names.join("/")), "");
        Reader::new(id, Socket::Stream(stream), rooms, is_eager)
    }

    pub fn websocket(id: u32, line: Line, room: usize, seed: u64, is_eager: bool) -> Reader {
        let socket = WebSocket::new(line, &format!("/ws/rooms/{room}"), seed);
        Reader::new(id, Socket::WebSocket(socket), &[room], is_eager)
    }

    fn new(id: u32, socket: Socket, rooms: &[usize], is_eager: bool) -> Reader {
        let track = |room: &usize| Track {
            room: *room,
            since: 0,
            last: 0,
            newest: [0; KEYS as usize],
            stands_at: 0,
            gap_before: None,
        };
        let tracks = rooms.iter().map(track).collect();
        Reader { id, socket, tracks, deaf_until: Tick::ZERO, is_eager, is_open: false, counts: Counts::default() }
    }

    pub fn end(&self) -> Option<End> {
        match &self.socket {
            Socket::Stream(stream) => stream.end(),
            Socket::WebSocket(socket) => socket.end(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.is_open && self.end().is_none()
    }

    pub fn poll(&mut self, now: Tick, said: &[Said]) {
        if self.deaf_until > now {
            return;
        }
        let was_open = self.is_open;
        let heard: Vec<(Option<String>, String, String)> = match &mut self.socket {
            Socket::Stream(stream) => {
                stream.poll();
                self.is_open |= stream.is_open();
                let received = std::mem::take(&mut stream.received).into_iter();
                received.map(|event| (Some(event.id), event.name, event.data)).collect()
            }
            Socket::WebSocket(socket) => {
                socket.poll();
                // It may have been sent away already, when a deaf one hears again.
                self.is_open |= socket.phase == Phase::Open || socket.close_code.is_some();
                let text = |message| match message {
                    Message::Text(text) => (None, String::new(), text),
                    Message::Binary(bytes) => panic!("{bytes:?} was never said"),
                };
                std::mem::take(&mut socket.received).into_iter().map(text).collect()
            }
        };
        if self.is_open && !was_open {
            self.tracks.iter_mut().for_each(|track| track.since = said[track.room].count);
        }
        for (id, name, data) in heard {
            match name.as_str() {
                "tg.gap" => self.hear_gap(&data, id.expect("a stream has ids"), said),
                _ => self.hear(&data, id, said),
            }
        }
    }

    fn hear(&mut self, data: &str, id: Option<String>, said: &[Said]) {
        let mut words = data.split(' ').map(|word| word.parse::<u64>());
        let mut next = || words.next().and_then(Result::ok).unwrap_or_else(|| panic!("{data:?} was never said"));
        let (room, key, number) = (next() as usize, next() as usize, next());
        let index = self.index_of(room);
        let stands_at = id.map(|id| offset(&id, index));
        let is_told = matches!(self.socket, Socket::Stream(_));
        let (who, said) = (self.id, &said[room]);
        let track = &mut self.tracks[index];
        let is_next = track.last == 0 && number <= track.since + 1 || number == track.last + 1;
        match said.delivery {
            Delivery::Queue => assert!(is_next, "{who} hears {number} of {room} after {}", track.last),
            Delivery::Latest => {
                assert!(number > track.newest[key], "{who} hears {number} of {room} after {}", track.newest[key]);
            }
            Delivery::Drop if is_told => {
                let expected = track.gap_before.take();
                assert!(expected.map_or(is_next, |first| first == number), "{who} hears {number} after {}", track.last);
            }
            Delivery::Drop => assert!(number > track.last, "{who} hears {number} of {room} after {}", track.last),
        }
        self.counts.heard += 1;
        self.counts.skipped += number.saturating_sub(track.last.max(1) + 1);
        track.newest[key] = number;
        track.last = number.max(track.last);
        if let Some(stands_at) = stands_at {
            track.stand(stands_at, said, who);
        }
    }

    fn hear_gap(&mut self, data: &str, id: String, said: &[Said]) {
        let gap: serde_json::Value = serde_json::from_str(data).expect("a gap is JSON");
        let room = gap["channel"].as_str().and_then(|name| name.strip_prefix("room.")).expect("a room");
        let room: usize = room.parse().expect("a number");
        let index = self.index_of(room);
        let track = &mut self.tracks[index];
        assert_eq!((said[room].delivery, gap["reason"].as_str()), (Delivery::Drop, Some("slow")), "{}: {gap}", self.id);
        let stands_at = offset(&id, index);
        assert!(
            stands_at > track.last && track.gap_before.is_none(),
            "{} at {} misses nothing: {gap}",
            self.id,
            track.last
        );
        match gap["first"].as_str() {
            Some(first) => {
                assert_eq!(offset(first, 0), stands_at + 1);
                track.gap_before = Some(stands_at + 1);
            }
            // Nothing follows yet: the next one is the one after what was lost.
            None => track.last = stands_at,
        }
        self.counts.gaps += 1;
    }

    fn index_of(&self, room: usize) -> usize {
        let found = self.tracks.iter().position(|track| track.room == room);
        found.unwrap_or_else(|| panic!("{} did not subscribe to {room}", self.id))
    }

    /// Everything has come to rest, and it has read all that there is: what is owed to it has come.
    pub fn settle(&mut self, said: &[Said]) {
        self.counts.closed = (self.is_open && self.end().is_some()).into();
        if !self.is_open() {
            return;
        }
        for track in &self.tracks {
            let said = &said[track.room];
            match said.delivery {
                Delivery::Queue | Delivery::Drop => {
                    let is_complete = track.last == said.count || track.last == 0 && said.count <= track.since;
                    assert!(is_complete, "{} stands at {} of {}: {}", self.id, track.last, track.room, said.count);
                }
                Delivery::Latest => {
                    for (heard, newest) in track.newest.iter().zip(&said.newest) {
                        let is_owed = *newest > track.since;
                        assert!(heard == newest || !is_owed, "{} ends with {heard}, not {newest}", self.id);
                    }
                }
            }
        }
        self.counts.settled = 1;
    }
}

impl Track {
    /// Whoever stands there and comes back gets what came after: everything else must have come, or be superseded.
    fn stand(&mut self, offset: u64, said: &Said, who: u32) {
        assert!(offset >= self.stands_at, "{who} is moved back from {} to {offset}", self.stands_at);
        self.stands_at = offset;
        if said.delivery != Delivery::Latest {
            assert_eq!(offset, self.last, "{who} has another id than its message");
            return;
        }
        for (heard, newest) in self.newest.iter().zip(&said.newest) {
            let would_come = *newest > offset;
            assert!(
                would_come || *newest <= self.since || heard == newest,
                "{who} is told {offset}, and lacks {newest}"
            );
        }
    }
}

/// Of the channel with that index in an id.
fn offset(id: &str, index: usize) -> u64 {
    let part = id.split(',').nth(index).unwrap_or_else(|| panic!("{id:?} has too few positions"));
    part.split_once('-')
        .and_then(|(_, offset)| offset.parse().ok())
        .unwrap_or_else(|| panic!("{part:?} is no position"))
}
