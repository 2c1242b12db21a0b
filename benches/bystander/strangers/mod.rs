//! Strangers: each does one thing that any client may do, as much of it as it can.

pub mod socket;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tidegate_bench::load::{TEXT, write_client_frame};
use tidegate_bench::options::Transport;
use tidegate_bench::process::Process;

use socket::open_websocket;

/// Empty messages that fill one receive of the gateway.
const FLOOD_MESSAGES: usize = 32 * 1024 / 6;
/// A body as long as `limits.payload_bytes_max` allows by default.
const BODY_BYTES: usize = 1024 * 1024;
/// A fragment a little below `limits.message_bytes_max`.
const FRAGMENT_BYTES: usize = 65_000;
/// Records of a handshake message whose end never comes, below the bound of an unfinished handshake.
const HANDSHAKE_RECORDS: usize = 3;
/// Requests that are sent at once on one connection.
const PIPELINED: usize = 64;
/// With which an answer begins.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stranger {
    Flood,
    Bodies,
    Fragments,
    Handshakes,
    Requests,
}

impl Stranger {
    pub const ALL: [Stranger; 5] =
        [Stranger::Flood, Stranger::Bodies, Stranger::Fragments, Stranger::Handshakes, Stranger::Requests];

    pub fn name(self) -> &'static str {
        match self {
            Stranger::Flood => "flood",
            Stranger::Bodies => "bodies",
            Stranger::Fragments => "fragments",
            Stranger::Handshakes => "handshakes",
            Stranger::Requests => "requests",
        }
    }

    /// Connections that it needs to be noticed.
    pub fn connections(self) -> usize {
        match self {
            Stranger::Flood | Stranger::Fragments => 2_000,
            Stranger::Bodies => 500,
            Stranger::Handshakes => 1_000,
            Stranger::Requests => 8,
        }
    }

    /// The routes that the gateway's configuration needs for it.
    pub fn rules(self) -> &'static str {
        match self {
            Stranger::Bodies | Stranger::Requests => {
                "[[route]]\npath = \"/jobs\"\nmethod = \"POST\"\naccept = { service = \"jobs\" }\n"
            }
            Stranger::Flood | Stranger::Fragments | Stranger::Handshakes => "",
        }
    }

    /// Attacks with so many connections, holds them until the phase is over, and leaves. A gateway that refuses or ends them has
    /// defended itself: that is no error.
    pub fn attack(self, process: &Process, connections: usize, is_over: &AtomicBool) -> Result<(), String> {
        let transport = if self == Stranger::Handshakes { Transport::Tls } else { Transport::Plain };
        let address = process.front(transport)?;
        let held = match self {
            Stranger::Flood => flood(address, connections, is_over),
            Stranger::Bodies => hold(address, connections, is_over, &unfinished_request()),
            Stranger::Fragments => fragments(address, connections, is_over),
            Stranger::Handshakes => hold(address, connections, is_over, &unfinished_handshake()),
            Stranger::Requests => return requests(address, connections, is_over),
        };
        let held = held.map_err(|error| format!("{} did not begin: {error}", self.name()))?;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(LOOK_INTERVAL);
        }
        drop(held);
        Ok(())
    }
}

/// Subscribers that read nothing, and one write whose messages all of them get.
fn flood(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        held.push(open_websocket(address, "/room/flood")?);
    }
    let mut frames = Vec::new();
    for _ in 0..FLOOD_MESSAGES {
        write_client_frame(&mut frames, TEXT, b"");
    }
    if let Some(publisher) = held.first_mut() {
        publisher.write_all(&frames)?;
    }
    Ok(held)
}

/// Connections that say `words`, and then nothing.
fn hold(address: SocketAddr, connections: usize, is_over: &AtomicBool, words: &[u8]) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        let mut socket = TcpStream::connect(address)?;
        if socket.write_all(words).is_ok() {
            held.push(socket);
        }
    }
    Ok(held)
}

fn unfinished_request() -> Vec<u8> {
    let head = format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; BODY_BYTES - 1]].concat()
}

/// RFC 8446 sections 4 and 5.1: a ClientHello that is longer than its records.
fn unfinished_handshake() -> Vec<u8> {
    const CONTENT_BYTES: u16 = 16_384;
    let record = |content: &[u8]| [&[22, 3, 1][..], &CONTENT_BYTES.to_be_bytes(), content].concat();
    let mut content = vec![0; CONTENT_BYTES.into()];
    let mut words = Vec::new();
    for number in 0..HANDSHAKE_RECORDS {
        content[..4].copy_from_slice(if number == 0 { &[1, 0, 0xf0, 0] } else { &[0; 4] });
        words.extend(record(&content));
    }
    words
}

/// WebSockets whose message has no end.
fn fragments(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    const TEXT_WITHOUT_FIN: u8 = 0x01;
    let mut frame = Vec::new();
    write_client_frame(&mut frame, TEXT_WITHOUT_FIN, &[b'x'; FRAGMENT_BYTES]);
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        let mut socket = open_websocket(address, "/room/fragments")?;
        if socket.write_all(&frame).is_ok() {
            held.push(socket);
        }
    }
    Ok(held)
}

/// Requests without a body, each connection's as fast as they are answered.
fn requests(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> Result<(), String> {
    let words = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".repeat(PIPELINED);
    let ask = || -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        let mut answers = [0; 1 << 12];
        let mut tail = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            socket.write_all(words.as_bytes())?;
            let mut answered = 0;
            while answered < PIPELINED {
                let read = socket.read(&mut answers)?;
                if read == 0 {
                    return Ok(());
                }
                tail.extend_from_slice(&answers[..read]);
                answered += memchr::memmem::find_iter(&tail, STATUS_LINE).count();
                // The beginning of a status line that is not whole.
                tail.drain(..tail.len().saturating_sub(STATUS_LINE.len() - 1));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(ask)).collect();
        let outcomes = threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        let first = outcomes.filter_map(Result::err).next();
        first.map_or(Ok(()), |error| Err(format!("requests did not begin: {error}")))
    })
}
