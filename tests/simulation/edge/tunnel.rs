//! WebSockets through the gateway: the client's end, and the server's (RFC 6455 from the other side).

use tidegate::base::Tick;
use tidegate::driver::sim::Random;

use super::book::Book;
use crate::line::Line;
use crate::websocket::{Message, Phase, WebSocket};

/// A client whose messages go to a server.
pub struct Passenger {
    pub tag: u64,
    pub deaf_until: Tick,
    pub socket: WebSocket,
    heard: u64,
    has_left: bool,
    is_counted: bool,
}

impl Passenger {
    /// A hasty one says something before it is answered.
    pub fn new(line: Line, tag: u64, is_hasty: bool, random: &mut Random) -> Passenger {
        let mut socket = WebSocket::new(line, &format!("/api/ws/{tag}"), random.bits());
        if is_hasty {
            // A PING without content.
            socket.line.say(&[0x89, 0x80, 1, 2, 3, 4]);
        }
        Passenger { tag, deaf_until: Tick::ZERO, socket, heard: 0, has_left: false, is_counted: false }
    }

    pub fn say(&mut self, padding: usize, book: &mut Book) {
        if self.socket.phase == Phase::Open {
            let talk = book.talk(self.tag);
            talk.by_client += 1;
            let text = format!("c{}:{}:{}", self.tag, talk.by_client, "x".repeat(padding));
            self.socket.send_text(&text);
        }
    }

    pub fn leave(&mut self) {
        self.has_left |= self.socket.phase == Phase::Open;
        self.socket.close(1000);
    }

    pub fn poll(&mut self, now: Tick, book: &mut Book) {
        if now < self.deaf_until {
            return;
        }
        self.socket.poll();
        for message in std::mem::take(&mut self.socket.received) {
            let Message::Text(text) = message else { panic!("text comes as text, not as {message:?}") };
            self.heard += 1;
            let expected = format!("s{}:{}", self.tag, self.heard);
            assert_eq!(text, expected, "PAIRED: of another tunnel, twice, lost, or out of order");
            book.counts.words_down += 1;
        }
        if self.socket.phase == Phase::Open && !std::mem::replace(&mut self.is_counted, true) {
            book.counts.tunnels += 1;
        }
        if let Some(head) = &self.socket.refusal {
            let is_servers = head.field("x-tag").is_some();
            let is_meant = if is_servers { head.status == 403 } else { matches!(head.status, 502..=504) };
            assert!(is_meant, "tunnel {}: {head:?}", self.tag);
        }
    }

    /// Everything has come to rest.
    pub fn assert_settled(&self, book: &mut Book, is_draining: bool) {
        let talk = book.talk(self.tag);
        match self.socket.phase {
            Phase::Opening => panic!("tunnel {} is neither opened nor refused", self.tag),
            Phase::Open => {
                assert!(!talk.is_server_gone, "PAIRED: tunnel {} is open to nobody", self.tag);
                let heard = (self.heard, talk.heard_by_server);
                assert_eq!(heard, (talk.by_server, talk.by_client), "tunnel {}: not all is heard", self.tag);
            }
            Phase::Closing | Phase::Ended if self.socket.close_code == Some(1001) => {
                assert!(is_draining, "tunnel {} is sent away for nothing", self.tag);
                book.counts.sent_away += 1;
            }
            Phase::Refused | Phase::Closing | Phase::Ended => {}
        }
    }
}

/// The server's end.
pub struct Seat {
    pub tag: u64,
    message: Vec<u8>,
    has_closed: bool,
}

impl Seat {
    pub fn new(tag: u64) -> Seat {
        Seat { tag, message: Vec::new(), has_closed: false }
    }

    pub fn say(&self, line: &mut Line, book: &mut Book) {
        if !self.has_closed {
            let talk = book.talk(self.tag);
            talk.by_server += 1;
            say_frame(line, 0x1, format!("s{}:{}", self.tag, talk.by_server).as_bytes());
        }
    }

    /// True once it is closed by both.
    pub fn hear(&mut self, line: &mut Line, book: &mut Book) -> bool {
        while let Some((is_final, opcode, payload)) = take_frame(line) {
            assert!(!self.has_closed, "nothing follows a close frame");
            match opcode {
                0x0 | 0x1 => {
                    self.message.extend(payload);
                    if is_final {
                        self.on_message(book);
                    }
                }
                0x8 => {
                    say_frame(line, 0x8, &payload);
                    self.has_closed = true;
                }
                0x9 => say_frame(line, 0xA, &payload),
                0xA => {}
                _ => panic!("tunnel {}: opcode {opcode}", self.tag),
            }
        }
        self.has_closed
    }

    fn on_message(&mut self, book: &mut Book) {
        let text = String::from_utf8(std::mem::take(&mut self.message)).expect("text is UTF-8");
        let talk = book.talk(self.tag);
        talk.heard_by_server += 1;
        let expected = format!("c{}:{}:", self.tag, talk.heard_by_server);
        assert!(text.starts_with(&expected), "PAIRED: {text:?} instead of {expected:?}");
        book.counts.words_up += 1;
    }
}

/// Servers do not mask (section 5.1).
fn say_frame(line: &mut Line, opcode: u8, payload: &[u8]) {
    assert!(payload.len() < 126, "a server of few words");
    line.say(&[&[0x80 | opcode, payload.len() as u8], payload].concat());
}

/// The next frame of a client: whether it is the last of its message, its opcode, and its payload without the mask.
fn take_frame(line: &mut Line) -> Option<(bool, u8, Vec<u8>)> {
    let &[first, second, ref rest @ ..] = line.incoming.as_slice() else { return None };
    assert_eq!((first & 0x70, second & 0x80), (0, 0x80), "no reserved bits, and a mask");
    let (payload_len, header_len) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => panic!("a client of few words"),
        len => (usize::from(len), 2),
    };
    let frame = line.take(header_len + 4 + payload_len)?;
    let (mask, masked) = frame[header_len..].split_at(4);
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((first & 0x80 != 0, first & 0x0F, payload))
}
