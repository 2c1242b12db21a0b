//! Peers that nobody wishes for, each with its own way of being a burden.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tidegate::proto::ws::{Opcode, frame};

use crate::support::{PATIENCE, Raw};

/// How long a full socket is believed to stay so.
const FULL: Duration = Duration::from_millis(300);

/// Asks for a WebSocket.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A client's frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, true, opcode, payload, [9, 8, 7, 6]);
    bytes
}

/// Subscribes, and takes nothing of what it gets. Its own buffers are small, so that the gateway notices soon.
pub struct SlowReader {
    _unread: Raw,
}

impl SlowReader {
    pub fn connect(address: SocketAddr, request: &str) -> SlowReader {
        let mut raw = with_small_buffers(address);
        raw.send(request).read_until("\r\n\r\n");
        SlowReader { _unread: raw }
    }
}

/// Says what it has to say, ends its half, and listens on.
pub struct HalfCloser;

impl HalfCloser {
    pub fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut raw = Raw::connect(address);
        raw.send(bytes).0.shutdown(Shutdown::Write).expect("it is connected");
        let mut answer = Vec::new();
        raw.read_to_end(&mut answer).expect("an answer and a proper end");
        answer
    }
}

/// Sends each byte in a packet of its own.
pub struct ByteDripper(pub Raw);

impl ByteDripper {
    pub fn connect(address: SocketAddr) -> ByteDripper {
        let raw = Raw::connect(address);
        raw.0.set_nodelay(true).unwrap();
        ByteDripper(raw)
    }

    pub fn drip(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        for byte in bytes.as_ref().chunks(1) {
            self.0.send(byte);
        }
        &mut self.0
    }
}

/// Asks and asks, and does not read the answers until the gateway takes no more questions.
pub struct Flooder {
    raw: Raw,
    question: Vec<u8>,
    asked_bytes: usize,
}

impl Flooder {
    /// No gateway that stops reading lets so much through; one that answers into its memory would.
    const ASKED_BYTES_MAX: usize = 64 << 20;

    pub fn connect(address: SocketAddr, greeting: &str, greeting_end: &str, question: Vec<u8>) -> Flooder {
        let mut raw = with_small_buffers(address);
        raw.send(greeting).read_until(greeting_end);
        Flooder { raw, question, asked_bytes: 0 }
    }

    /// Returns how many whole questions were taken when no more went in.
    pub fn flood(&mut self) -> usize {
        self.raw.0.set_write_timeout(Some(FULL)).unwrap();
        let chunk = self.question.repeat(64 * 1024 / self.question.len());
        loop {
            assert!(self.asked_bytes < Flooder::ASKED_BYTES_MAX, "it never stops reading");
            let rest = &chunk[self.asked_bytes % self.question.len()..];
            match self.raw.0.write(rest) {
                Ok(count) => self.asked_bytes += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.asked_bytes / self.question.len()
    }

    /// Reads at last.
    pub fn hear(&mut self, bytes: usize) -> Vec<u8> {
        let mut heard = vec![0; bytes];
        self.raw.read_exact(&mut heard).expect("an answer to each question");
        heard
    }
}

/// Resets its connection.
pub struct Vanisher;

impl Vanisher {
    pub fn vanish(socket: &TcpStream) {
        SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

fn with_small_buffers(address: SocketAddr) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).expect("the gateway accepts");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw(socket.into())
}
