//! One subscriber: opened by blocking calls, then read whenever something is there.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection};

use crate::floor;
use crate::tls;
use crate::wire::{self, Framing, Unit};

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

pub struct Subscriber {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    framing: Framing,
    /// Plaintext of a unit that is not whole yet.
    carry: Vec<u8>,
    /// The number of the message that must come next.
    next: u64,
}

impl Subscriber {
    /// One that the gateway has answered: it is subscribed.
    pub fn open(gateway: SocketAddr, framing: Framing, tls: Option<&Arc<ClientConfig>>) -> Result<Subscriber, String> {
        let mut socket = connect(gateway)?;
        let mut tls = tls.map(tls::client).transpose()?;
        let request = match framing {
            Framing::WebSocket => {
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            }
            Framing::EventStream => "GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
        };
        let answer = match &mut tls {
            None => ask(&mut socket, request),
            Some(tls) => ask(&mut rustls::Stream::new(&mut **tls, &mut socket), request),
        };
        let (head, rest) = answer.map_err(|error| format!("a subscriber was not answered: {error}"))?;
        let status = if framing == Framing::WebSocket { "HTTP/1.1 101 " } else { "HTTP/1.1 200 " };
        if !head.starts_with(status) {
            return Err(format!("a subscriber was answered {:?}", head.lines().next().unwrap_or_default()));
        }
        let mut subscriber = Subscriber::new(socket, framing)?;
        subscriber.tls = tls;
        subscriber.carry = rest;
        Ok(subscriber)
    }

    /// One that the floor counts among its own.
    pub fn open_on_floor(floor: SocketAddr, framing: Framing) -> Result<Subscriber, String> {
        let mut socket = connect(floor)?;
        let who = if framing == Framing::WebSocket { floor::WEBSOCKET } else { floor::EVENT_STREAM };
        socket.write_all(&[who]).map_err(|error| error.to_string())?;
        Subscriber::new(socket, framing)
    }

    fn new(socket: std::net::TcpStream, framing: Framing) -> Result<Subscriber, String> {
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok(Subscriber { socket: TcpStream::from_std(socket), tls: None, framing, carry: Vec::new(), next: 0 })
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Reads all that is there, and hands each message to `arrived` with its number.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        mut arrived: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let outcome = match &mut self.tls {
                None => self.socket.read(buffer),
                Some(tls) => tls::read(tls, &mut self.socket, buffer),
            };
            match outcome {
                Ok(0) => return Err("a subscriber was disconnected".to_owned()),
                Ok(count) => {
                    self.take(&buffer[..count], &mut arrived)?;
                    // A short read has emptied the socket; what comes later makes a new edge. rustls may hold more.
                    if count < buffer.len() && self.tls.is_none() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("a subscriber was disconnected: {error}")),
            }
        }
    }

    fn take(&mut self, fresh: &[u8], arrived: &mut impl FnMut(u64, &[u8]) -> Result<(), String>) -> Result<(), String> {
        let joined = (!self.carry.is_empty()).then(|| {
            self.carry.extend_from_slice(fresh);
            std::mem::take(&mut self.carry)
        });
        let mut rest = joined.as_deref().unwrap_or(fresh);
        while let Some((unit, used)) = wire::split(self.framing, rest)? {
            match unit {
                Unit::Message(payload) => {
                    arrived(self.next, payload)?;
                    self.next += 1;
                }
                Unit::Ping(payload) => self.pong(payload)?,
                Unit::Nothing => {}
            }
            rest = &rest[used..];
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// A client's frames are masked; a mask of zeros changes nothing.
    fn pong(&mut self, payload: &[u8]) -> Result<(), String> {
        let frame = [&[0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
        let written = match &mut self.tls {
            None => self.socket.write_all(&frame),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).write_all(&frame),
        };
        written.map_err(|error| format!("a pong was not taken: {error}"))
    }
}

fn connect(address: SocketAddr) -> Result<std::net::TcpStream, String> {
    let socket = std::net::TcpStream::connect(address).map_err(|error| {
        let is_limit = error.raw_os_error() == Some(libc::EMFILE);
        format!("a subscriber did not connect: {error}{}", if is_limit { " (ulimit -n)" } else { "" })
    })?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(socket)
}

/// The answer's head, and what came after it.
fn ask(stream: &mut (impl Read + Write), request: &str) -> io::Result<(String, Vec<u8>)> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while answer.len() < HEAD_BYTES_MAX {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..count]);
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            let rest = answer.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&answer).into_owned(), rest));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
