//! The clients at the front door, each with what it may hear: somebody in a room, a user, a reader of a stream.

use std::collections::BTreeMap;

use crate::deed::Deed;
use crate::ear::{Ear, Pattern};
use crate::ledger::{Ledger, Position, Voice};
use crate::line::{End, Line};
use crate::sse::EventStream;
use crate::websocket::{Message, Phase, WebSocket};

/// What the gateway may do to a client that has done nothing wrong.
#[derive(Clone, Copy, Debug)]
pub struct Mercy {
    /// Outboxes are so small that anybody may count as too slow.
    pub may_be_slow: bool,
    /// The service may have nobody who works for it.
    pub may_lack_workers: bool,
    /// So few connections are allowed that some are refused.
    pub may_be_refused: bool,
    pub is_draining: bool,
}

impl Mercy {
    /// A TLS handshake may come to nothing without a word: it is refused like that, and it may be too slow.
    fn may_end_handshake(self, line: &Line) -> bool {
        line.is_tls() && (self.may_be_refused || self.may_be_slow)
    }
}

/// A WebSocket in a room, which everybody there may publish to.
pub struct Room {
    pub id: u32,
    pub socket: WebSocket,
    pub channel: String,
    ear: Ear,
    is_greeted: bool,
    has_left: bool,
}

/// A WebSocket of a user, whose messages go to the service and come back.
pub struct Me {
    pub id: u32,
    pub socket: WebSocket,
    /// What is published to the user, and what a worker whispers to this connection.
    ears: [Ear; 2],
    /// The last message of each voice on channels that a worker had it subscribed to.
    granted: BTreeMap<Voice, usize>,
    /// The last number that came back.
    echoed: usize,
    has_left: bool,
    /// Workers come and go: answers may be lost, or overtake each other.
    workers_drift: bool,
}

/// An event stream of a room.
pub struct Stream {
    pub room: u64,
    pub stream: EventStream,
    ear: Ear,
    is_greeted: bool,
}

/// The channel of what a client says to the service.
pub const ECHO: &str = "echo";

pub fn whisper_channel(client: u32) -> String {
    format!("whisper.{client}")
}

impl Room {
    pub fn new(id: u32, line: Line, room: u64, seed: u64) -> Room {
        let channel = format!("room.{room}");
        let socket = WebSocket::new(line, &format!("/ws/rooms/{room}"), seed);
        let ear = Ear::new(format!("socket {id}"), Pattern::Channel(channel.clone()), None);
        Room { id, socket, channel, ear, is_greeted: false, has_left: false }
    }

    pub fn poll(&mut self, ledger: &mut Ledger) {
        let received = receive(&mut self.socket, std::slice::from_mut(&mut self.ear), ledger);
        assert_cut_is_no_end(&self.socket, self.id, self.has_left, ledger);
        for text in received {
            self.ear.hear(ledger, text.as_bytes(), None);
        }
    }

    pub fn say(&mut self, ledger: &mut Ledger, padding: usize) {
        if self.socket.phase == Phase::Open {
            let text = ledger.say(&self.channel, self.id, padding);
            self.socket.send_text(&text);
        }
    }

    /// True once, when it has opened.
    pub fn has_just_come(&mut self) -> bool {
        self.ear.is_open() && !std::mem::replace(&mut self.is_greeted, true)
    }

    pub fn leave(&mut self) {
        self.has_left = true;
        self.socket.close(1000);
    }

    pub fn assert_settled(&self, ledger: &Ledger, mercy: Mercy) {
        self.ear.assert_order(ledger);
        if assert_end(&self.socket, self.id, self.ear.is_open(), self.has_left, mercy, ledger) {
            self.ear.assert_complete(ledger);
        }
    }
}

impl Me {
    pub fn new(id: u32, line: Line, user: u64, seed: u64, workers_drift: bool) -> Me {
        let user = format!("u{user}");
        let socket = WebSocket::new(line, &format!("/ws/me?user={user}"), seed);
        let ears = [format!("tg.user.{user}"), whisper_channel(id)]
            .map(|channel| Ear::new(format!("user socket {id}"), Pattern::Channel(channel), None));
        Me { id, socket, ears, granted: BTreeMap::new(), echoed: 0, has_left: false, workers_drift }
    }

    pub fn poll(&mut self, ledger: &mut Ledger) {
        let received = receive(&mut self.socket, &mut self.ears, ledger);
        assert_cut_is_no_end(&self.socket, self.id, self.has_left, ledger);
        for text in received {
            let message = ledger.recognize(text.as_bytes());
            match message.voice.channel.as_str() {
                ECHO => {
                    assert_eq!(message.voice.publisher, self.id, "an echo of somebody else's message");
                    let is_next = message.number == self.echoed + 1;
                    assert!(is_next || self.workers_drift, "{message:?} comes back after {}", self.echoed);
                    self.echoed = message.number;
                }
                channel if channel.starts_with("tg.user.") => drop(self.ears[0].hear(ledger, text.as_bytes(), None)),
                channel if channel.starts_with("room.") => {
                    // When it was subscribed and when not, nobody told it: only who may speak to it can be checked.
                    let is_granted = ledger.granted.contains(&(self.id, channel.to_owned()));
                    assert!(is_granted, "socket {} was not subscribed to {message:?}", self.id);
                    let last = self.granted.insert(message.voice.clone(), message.number).unwrap_or(0);
                    assert!(message.number > last, "{message:?} comes after {last}: twice, or out of order");
                }
                _ => drop(self.ears[1].hear(ledger, text.as_bytes(), None)),
            }
        }
    }

    pub fn say(&mut self, ledger: &mut Ledger, padding: usize) {
        if self.socket.phase == Phase::Open {
            let text = ledger.say(ECHO, self.id, padding);
            self.socket.send_text(&text);
        }
    }

    pub fn leave(&mut self) {
        self.has_left = true;
        self.socket.close(1000);
    }

    pub fn assert_settled(&self, ledger: &Ledger, mercy: Mercy) {
        if !assert_end(&self.socket, self.id, self.ears[0].is_open(), self.has_left, mercy, ledger) {
            return;
        }
        self.ears.iter().for_each(|ear| ear.assert_complete(ledger));
        let voice = Voice { channel: ECHO.to_owned(), publisher: self.id };
        if !self.workers_drift {
            let said = ledger.accepted(|channel| channel == ECHO).into_iter().find(|(own, _)| **own == voice);
            assert_eq!(self.echoed, said.map_or(0, |(_, count)| count), "answers to socket {} are missing", self.id);
        }
    }
}

impl Stream {
    pub fn new(id: u32, line: Line, room: u64) -> Stream {
        let stream = EventStream::new(line, &format!("/sse/{room}"), "");
        let ear = Ear::new(format!("stream {id}"), Pattern::Channel(format!("room.{room}")), None);
        Stream { room, stream, ear, is_greeted: false }
    }

    pub fn poll(&mut self, ledger: &mut Ledger) {
        self.stream.poll();
        if self.stream.is_open() && !self.ear.is_open() {
            self.ear.open(ledger);
        }
        for event in std::mem::take(&mut self.stream.received) {
            self.ear.hear(ledger, event.data.as_bytes(), Some(Position::parse(&event.id)));
        }
    }

    /// True once, when it has opened.
    pub fn has_just_come(&mut self) -> bool {
        self.ear.is_open() && !std::mem::replace(&mut self.is_greeted, true)
    }

    pub fn assert_settled(&self, ledger: &Ledger, mercy: Mercy) {
        self.ear.assert_order(ledger);
        if self.stream.end().is_none() {
            assert!(self.ear.is_open(), "a stream is neither opened nor refused");
            self.ear.assert_complete(ledger);
        } else if self.stream.is_open() {
            // Where there is no place for it, it is opened and ended.
            let is_turned_away = mercy.may_be_refused || mercy.is_draining;
            assert!(mercy.may_be_slow || is_turned_away, "a stream ended for nothing");
            assert!(mercy.may_be_slow || self.stream.has_ended_cleanly(), "a stream was cut");
        } else {
            // An EventSource would take any answer as final.
            assert!(self.stream.head.is_none(), "a stream was refused: {:?}", self.stream.head);
            let has_no_word = mercy.is_draining || mercy.may_be_refused || mercy.may_end_handshake(&self.stream.line);
            assert!(has_no_word, "a stream was not opened");
        }
    }
}

/// A socket that was cut off in the middle of its stream must not be taken for one that was closed.
fn assert_cut_is_no_end(socket: &WebSocket, id: u32, has_left: bool, ledger: &Ledger) {
    let is_taken_for_end = socket.line.deed() == Some(Deed::Cut) && socket.close_code == Some(1000);
    assert!(!is_taken_for_end || has_left || ledger.kicked.contains(&id), "the cut of {id} counts as a proper end");
}

/// What a WebSocket has received; its ears open with it.
fn receive(socket: &mut WebSocket, ears: &mut [Ear], ledger: &mut Ledger) -> Vec<String> {
    socket.poll();
    let is_open = matches!(socket.phase, Phase::Open | Phase::Closing) || !socket.received.is_empty();
    if is_open && !ears[0].is_open() {
        ears.iter_mut().for_each(|ear| ear.open(ledger));
    }
    let received = std::mem::take(&mut socket.received).into_iter();
    let texts = received.map(|message| match message {
        Message::Text(text) => text,
        Message::Binary(bytes) => panic!("text comes as text, not as {bytes:?}"),
    });
    texts.collect()
}

/// Ended only for a reason that there is; true if it has not ended.
fn assert_end(socket: &WebSocket, id: u32, was_open: bool, has_left: bool, mercy: Mercy, ledger: &Ledger) -> bool {
    match socket.phase {
        Phase::Open => return true,
        Phase::Opening => panic!("socket {id} is neither opened nor refused"),
        Phase::Refused => {
            let status = socket.refusal.as_ref().map(|head| head.status);
            assert!(status == Some(503) && (mercy.may_be_refused || mercy.is_draining), "{id} was refused: {status:?}");
        }
        Phase::Closing | Phase::Ended => {
            let is_meant = match socket.close_code {
                Some(1013) => mercy.may_be_slow || mercy.may_lack_workers,
                Some(1000) => has_left || ledger.kicked.contains(&id),
                Some(1001) => mercy.is_draining,
                // It was on its way when the gateway ended, and nobody accepted it.
                None => (mercy.is_draining || mercy.may_end_handshake(&socket.line)) && !was_open,
                _ => false,
            };
            assert!(is_meant, "socket {id} ended with {:?} and {:?}", socket.close_code, socket.end());
            let is_cut = was_open && socket.end() == Some(End::Truncated);
            assert!(mercy.may_be_slow || !is_cut, "socket {id} was cut");
            let has_asked = socket.close_code == Some(1001) && socket.line.awaits_key_update();
            assert!(!has_asked, "socket {id} never got the KeyUpdate that it asked for");
        }
    }
    false
}
