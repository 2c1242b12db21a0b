//! A WebSocket client (RFC 6455) that keeps the rules itself and panics when the server does not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sha1::{Digest, Sha1};
use tidegate::driver::sim::Random;

use crate::http::{self, Head};
use crate::line::{End, Line};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The upgrade was asked for.
    Opening,
    /// The server answered, but not with 101: see `refusal`.
    Refused,
    Open,
    /// A close frame went at least one way.
    Closing,
    /// The connection is over.
    Ended,
}

pub struct WebSocket {
    pub line: Line,
    random: Random,
    key: String,
    pub phase: Phase,
    pub refusal: Option<Head>,
    /// Taken out by whoever checks them.
    pub received: Vec<Message>,
    pub pongs: Vec<Vec<u8>>,
    /// The code of the server's close frame; 1005 if it had none (section 7.1.5).
    pub close_code: Option<u16>,
    has_sent_close: bool,
    /// Opcode and bytes of a message whose last fragment has not come.
    fragments: Option<(u8, Vec<u8>)>,
}

/// The proof that a server has read this key.
pub fn accept_for(key: &str) -> String {
    BASE64.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

struct Frame {
    is_final: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl WebSocket {
    /// Asks for an upgrade on a fresh connection; `seed` decides about masks and fragments.
    pub fn new(mut line: Line, path: &str, seed: u64) -> WebSocket {
        let mut random = Random::new(seed);
        let nonce: [u8; 16] = std::array::from_fn(|_| random.below(256) as u8);
        let key = BASE64.encode(nonce);
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key.as_str()),
        ];
        http::say_request(&mut line, path, &fields);
        WebSocket {
            line,
            random,
            key,
            phase: Phase::Opening,
            refusal: None,
            received: Vec::new(),
            pongs: Vec::new(),
            close_code: None,
            has_sent_close: false,
            fragments: None,
        }
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.line.end
    }

    pub fn poll(&mut self) {
        self.line.poll();
        if self.phase == Phase::Opening
            && let Some(head) = Head::take(&mut self.line)
        {
            self.on_head(head);
        }
        while matches!(self.phase, Phase::Open | Phase::Closing)
            && let Some(frame) = self.take_frame()
        {
            self.on_frame(frame);
        }
        if self.line.end.is_some() && self.phase != Phase::Refused {
            self.phase = Phase::Ended;
        }
    }

    /// Sends a text message, now and then in fragments, which may cut through a character (section 5.4).
    pub fn send_text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// Sends JSON values, one a line, and says whether it could.
    pub fn send_json(&mut self, values: &[Value]) -> bool {
        let is_open = self.phase == Phase::Open;
        if is_open {
            let lines: Vec<String> = values.iter().map(Value::to_string).collect();
            self.send_text(&lines.join("\n"));
        }
        is_open
    }

    /// Takes out what has come, which has to be JSON, one value a line.
    pub fn take_json(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        for message in std::mem::take(&mut self.received) {
            let Message::Text(text) = message else { panic!("not a text: {message:?}") };
            values.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
        }
        values
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send(BINARY, bytes);
    }

    pub fn ping(&mut self, payload: &[u8]) {
        self.say_frame(true, PING, payload);
    }

    /// Begins the closing handshake.
    pub fn close(&mut self, code: u16) {
        if self.phase == Phase::Open {
            self.say_close(&code.to_be_bytes());
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        assert_eq!(self.phase, Phase::Open, "messages are sent while the connection is open");
        let mut opcode = opcode;
        let mut rest = payload;
        while !rest.is_empty() && self.random.chance(300) {
            let (fragment, after) = rest.split_at(self.random.below(rest.len() as u64) as usize);
            self.say_frame(false, opcode, fragment);
            opcode = CONTINUATION;
            rest = after;
        }
        self.say_frame(true, opcode, rest);
    }

    fn say_close(&mut self, body: &[u8]) {
        self.has_sent_close = true;
        self.phase = Phase::Closing;
        self.say_frame(true, CLOSE, body);
    }

    /// Clients mask (section 5.3).
    fn say_frame(&mut self, is_final: bool, opcode: u8, payload: &[u8]) {
        let mut frame = vec![if is_final { 0x80 } else { 0 } | opcode];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        let mask: [u8; 4] = std::array::from_fn(|_| self.random.below(256) as u8);
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.line.say(&frame);
    }

    fn on_head(&mut self, head: Head) {
        if head.status != 101 {
            self.phase = Phase::Refused;
            self.refusal = Some(head);
            return;
        }
        // Section 4.1: the server proves that it read the key.
        assert_eq!(head.field("sec-websocket-accept"), Some(accept_for(&self.key).as_str()));
        assert!(head.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
        assert!(head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
        assert_eq!(head.field("sec-websocket-extensions"), None, "none were offered");
        self.phase = Phase::Open;
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let &[first, second, ref rest @ ..] = self.line.incoming.as_slice() else { return None };
        assert_eq!(first & 0x70, 0, "reserved bits need an extension");
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let (payload_len, header_len) = match second {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            len => (u64::from(len), 2),
        };
        let is_shortest = match second {
            126 => payload_len >= 126,
            127 => payload_len >= 0x1_0000,
            _ => true,
        };
        assert!(is_shortest, "section 5.2: the minimal number of bytes encodes the length");
        let frame = self.line.take(header_len + payload_len as usize)?;
        Some(Frame { is_final: first & 0x80 != 0, opcode: first & 0x0F, payload: frame[header_len..].to_vec() })
    }

    fn on_frame(&mut self, frame: Frame) {
        assert_eq!(self.close_code, None, "nothing follows a close frame");
        if frame.opcode >= CLOSE {
            assert!(frame.is_final && frame.payload.len() <= 125, "section 5.5: control frames are short and whole");
        }
        match frame.opcode {
            PING => self.say_frame(true, PONG, &frame.payload),
            PONG => self.pongs.push(frame.payload),
            CLOSE => self.on_close(&frame.payload),
            CONTINUATION => {
                let (opcode, mut bytes) = self.fragments.take().expect("a continuation continues something");
                bytes.extend(frame.payload);
                self.on_fragment(frame.is_final, opcode, bytes);
            }
            TEXT | BINARY => {
                assert!(self.fragments.is_none(), "section 5.4: fragments of messages are not interleaved");
                self.on_fragment(frame.is_final, frame.opcode, frame.payload);
            }
            opcode => panic!("opcode {opcode} has no meaning"),
        }
    }

    fn on_fragment(&mut self, is_final: bool, opcode: u8, bytes: Vec<u8>) {
        if !is_final {
            self.fragments = Some((opcode, bytes));
        } else if opcode == TEXT {
            self.received.push(Message::Text(String::from_utf8(bytes).expect("text is UTF-8")));
        } else {
            self.received.push(Message::Binary(bytes));
        }
    }

    fn on_close(&mut self, body: &[u8]) {
        self.close_code = Some(match body {
            [] => 1005,
            [high, low, reason @ ..] => {
                std::str::from_utf8(reason).expect("a reason is UTF-8");
                u16::from_be_bytes([*high, *low])
            }
            [_] => panic!("half of a close code"),
        });
        if !self.has_sent_close {
            self.say_close(&body[..body.len().min(2)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, in_worlds};

    /// Accepts the upgrade, with the answer that the gateway's core computes.
    fn accept_upgrade(script: &mut Script, client: &mut WebSocket) {
        let request = script.hear_until(b"\r\n\r\n", || client.poll());
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /ws/rooms/7 HTTP/1.1\r\nHost: "), "{request}");
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let accept = tidegate::proto::ws::handshake::accept(key);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept.as_str()
        );
        script.say(answer.as_bytes());
    }

    fn open(script: &mut Script) -> WebSocket {
        let mut client = WebSocket::new(Line::new(script.connect()), "/ws/rooms/7", 1);
        accept_upgrade(script, &mut client);
        script.until(|| {
            client.poll();
            client.phase == Phase::Open
        });
        client
    }

    /// Unmasks the next frame that the client sent.
    fn hear_frame(script: &mut Script, client: &mut WebSocket) -> (u8, Vec<u8>) {
        let header = script.hear(2, || client.poll());
        assert_eq!(header[1] & 0x80, 0x80, "clients mask");
        let len = match header[1] & 0x7F {
            126 => u16::from_be_bytes(script.hear(2, || client.poll()).try_into().unwrap()) as usize,
            127 => u64::from_be_bytes(script.hear(8, || client.poll()).try_into().unwrap()) as usize,
            len => len as usize,
        };
        let mask = script.hear(4, || client.poll());
        let payload = script.hear(len, || client.poll());
        (header[0], payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
    }

    #[test]
    fn opens_and_hears_messages_whole_and_in_fragments() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            script.say(b"\x81\x05hello\x02\x01a\x89\x01!\x80\x02bc");
            script.say(&[&[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70][..], &[7; 70_000]].concat());
            script.until(|| {
                client.poll();
                client.received.len() == 3
            });
            assert_eq!(client.received[0], Message::Text("hello".into()));
            assert_eq!(client.received[1], Message::Binary(b"abc".into()));
            assert_eq!(client.received[2], Message::Binary(vec![7; 70_000]));
            assert_eq!(hear_frame(&mut script, &mut client), (0x8A, b"!".into()));
        });
    }

    /// The next message that the client sent: its opcode, how many frames it took, and its bytes.
    fn hear_message(script: &mut Script, client: &mut WebSocket) -> (u8, usize, Vec<u8>) {
        let (mut first, mut heard) = hear_frame(script, client);
        let opcode = first & 0x0F;
        let mut frames = 1;
        while first & 0x80 == 0 {
            let (next, payload) = hear_frame(script, client);
            assert_eq!(next & 0x0F, CONTINUATION);
            heard.extend(payload);
            frames += 1;
            first = next;
        }
        (opcode, frames, heard)
    }

    #[test]
    fn sends_messages_whole_and_in_fragments() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            let text = "grüße ".repeat(2_000);
            let mut is_fragmented = [false; 2];
            for _ in 0..8 {
                client.send_text(&text);
                let (opcode, frames, heard) = hear_message(&mut script, &mut client);
                assert_eq!((opcode, heard.as_slice()), (TEXT, text.as_bytes()));
                is_fragmented[usize::from(frames > 1)] = true;
            }
            assert_eq!(is_fragmented, [true; 2]);
            client.send_binary(&[0xFF; 300]);
            assert_eq!(hear_message(&mut script, &mut client).2, [0xFF; 300]);
            client.ping(b"?");
            assert_eq!(hear_frame(&mut script, &mut client), (0x89, b"?".into()));
            script.say(b"\x8A\x01?");
            script.until(|| {
                client.poll();
                client.pongs == [b"?"]
            });
        });
    }

    #[test]
    fn finishes_the_closing_handshake_from_either_side() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            script.say(b"\x88\x06\x03\xe9away");
            assert_eq!(hear_frame(&mut script, &mut client), (0x88, vec![0x03, 0xE9]));
            assert_eq!((client.close_code, client.phase), (Some(1001), Phase::Closing));
            script.finish();
            script.until(|| {
                client.poll();
                client.phase == Phase::Ended
            });
            assert_eq!(client.end(), Some(End::Finished));
        });
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            client.close(1000);
            assert_eq!(hear_frame(&mut script, &mut client), (0x88, vec![0x03, 0xE8]));
            script.say(b"\x88\x02\x03\xe8");
            script.until(|| {
                client.poll();
                client.close_code == Some(1000)
            });
        });
    }

    #[test]
    fn keeps_the_answer_that_refused_it() {
        in_worlds(|mut script| {
            let mut client = WebSocket::new(Line::new(script.connect()), "/nowhere", 1);
            script.hear_until(b"\r\n\r\n", || client.poll());
            script.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            script.until(|| {
                client.poll();
                client.phase == Phase::Refused
            });
            assert_eq!(client.refusal.unwrap().status, 404);
        });
    }
}
