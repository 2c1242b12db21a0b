//! Who publishes: a worker on the gateway's bus, a client of nchan's publish API, or what a floor takes.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use mio::net::TcpStream;

use super::tally::write_payload;
use crate::floor;
use crate::options::Target;

/// How long the bus may take to say PONG.
const GREETING_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Publisher {
    pub(super) socket: TcpStream,
    dialect: Target,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    payload: Vec<u8>,
    payload_bytes: usize,
    /// The number of the next message of each channel.
    numbers: Vec<u32>,
}

impl Publisher {
    /// To be connected after all clients: floors take nobody after it.
    pub(super) fn connect(
        address: SocketAddr,
        dialect: Target,
        channels: usize,
        payload_bytes: usize,
    ) -> Result<Publisher, String> {
        let socket = greet(address, dialect).map_err(|error| format!("the publisher did not connect: {error}"))?;
        Ok(Publisher {
            socket: TcpStream::from_std(socket),
            dialect,
            out: Vec::new(),
            payload: Vec::new(),
            payload_bytes,
            numbers: vec![0; channels],
        })
    }

    /// Goes out with the next flush.
    pub(super) fn publish(&mut self, channel: usize, due_ns: u64) {
        let number = self.numbers[channel];
        self.numbers[channel] += 1;
        let Publisher { dialect, out, payload, .. } = self;
        payload.clear();
        write_payload(payload, number, due_ns, self.payload_bytes);
        match dialect {
            Target::Epoll | Target::Uring => {
                out.extend_from_slice(format!("PUB bench.{channel} {}\r\n", payload.len()).as_bytes());
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Target::Nchan => {
                let length = payload.len();
                let head = format!("POST /publish/{channel} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(payload);
            }
            Target::Floor | Target::FloorUring => floor::write_message(out, channel as u32, number, payload),
            // A proxy has no channels.
            Target::Nginx | Target::HaProxy => {}
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.socket.write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the publisher was disconnected: {error}")),
            }
        }
        self.out.drain(..sent);
        Ok(())
    }

    /// Answers are of no interest, but must be read; the bus asks for signs of life.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err("the publisher was disconnected".to_owned()),
                Ok(count) if memmem::find(&buffer[..count], b"PING\r\n").is_some() => {
                    self.out.extend_from_slice(b"PONG\r\n");
                    self.flush()?;
                }
                Ok(count) if memmem::find(&buffer[..count], b"-ERR").is_some() => {
                    return Err(format!("the bus says {:?}", String::from_utf8_lossy(&buffer[..count])));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the publisher was disconnected: {error}")),
            }
        }
    }
}

fn greet(address: SocketAddr, dialect: Target) -> io::Result<std::net::TcpStream> {
    let mut socket = std::net::TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    if dialect.is_floor() {
        socket.write_all(&floor::PUBLISHER)?;
    } else if dialect.is_gateway() {
        socket.set_read_timeout(Some(GREETING_WAIT))?;
        socket.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
        let mut said = Vec::new();
        while !said.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            said.push(byte[0]);
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
