//! One connection of the load, open: a socket, keys if it is TLS, and the number of the message that comes next.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::record::{self, Keys};
use super::tally::{ANY_NUMBER, Tally, write_payload};
use super::wire::{self, Framing, Unit};

const BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// Most of the time there is none.
    carry: Option<Box<Carry>>,
    pub(super) keys: Option<Box<Keys>>,
    next: u32,
    pub(super) framing: Framing,
    /// The server sends back what it gets, byte by byte.
    is_mirrored: bool,
}

/// Bytes that are not whole yet.
#[derive(Default)]
struct Carry {
    /// Of a record.
    cipher: Vec<u8>,
    /// Of a frame or an event.
    plain: Vec<u8>,
}

/// What the connections of a thread share while one of them reads.
pub(super) struct Scratch {
    pub(super) buffer: Box<[u8]>,
    plain: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch { buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), plain: Vec::new() }
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream, framing: Framing, keys: Option<Box<Keys>>, is_mirrored: bool) -> Connection {
        Connection { socket, carry: None, keys, next: ANY_NUMBER, framing, is_mirrored }
    }

    /// Reads all that is there; each message goes to the tally. The error says why the connection is over.
    pub(super) fn receive(&mut self, scratch: &mut Scratch, tally: &mut Tally) -> Result<(), String> {
        loop {
            match self.socket.read(&mut scratch.buffer) {
                Ok(0) => return Err("the server ended it".to_owned()),
                Ok(count) => {
                    let Scratch { buffer, plain } = scratch;
                    self.take(&mut buffer[..count], plain, tally)?;
                    // A short read has emptied the socket; what comes later makes a new edge.
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Bytes from the socket: ciphertext, if there are keys.
    pub(super) fn take(&mut self, fresh: &mut [u8], plain: &mut Vec<u8>, tally: &mut Tally) -> Result<(), String> {
        let Carry { cipher, plain: early } = self.carry.take().map_or_else(Carry::default, |carry| *carry);
        let mut carry = Carry::default();
        let Some(keys) = &mut self.keys else {
            return self.take_plain(early, fresh, carry, tally);
        };
        let mut joined = cipher;
        let mut rest: &mut [u8] = if joined.is_empty() {
            fresh
        } else {
            joined.extend_from_slice(fresh);
            &mut joined
        };
        plain.clear();
        while let Some(bytes) = record::record_bytes(rest) {
            let (record, after) = std::mem::take(&mut rest).split_at_mut(bytes);
            plain.extend_from_slice(keys.open(record)?);
            rest = after;
        }
        carry.cipher = rest.to_vec();
        self.take_plain(early, plain, carry, tally)
    }

    /// `early` is what came before and was not whole.
    pub(super) fn take_early(&mut self, early: &[u8], tally: &mut Tally) -> Result<(), String> {
        self.take_plain(Vec::new(), early, Carry::default(), tally)
    }

    fn take_plain(
        &mut self,
        mut early: Vec<u8>,
        fresh: &[u8],
        mut carry: Carry,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let mut rest = fresh;
        if !early.is_empty() {
            early.extend_from_slice(fresh);
            rest = &early;
        }
        while let Some((unit, used)) = wire::split(self.framing, rest)? {
            match unit {
                Unit::Message(payload) => tally.arrived(&mut self.next, payload)?,
                Unit::Ping(payload) => self.send_frame(wire::PONG, payload)?,
                Unit::Nothing => {}
            }
            rest = &rest[used..];
        }
        carry.plain = rest.to_vec();
        if !(carry.plain.is_empty() && carry.cipher.is_empty()) {
            self.carry = Some(Box::new(carry));
        }
        Ok(())
    }

    /// With the number that comes next, and the time. A floor of an echo gets a frame that it can send back as it is.
    pub(super) fn send_message(&mut self, bytes: usize, now_ns: u64) -> Result<(), String> {
        let number = if self.next == ANY_NUMBER { 0 } else { self.next };
        let mut payload = Vec::with_capacity(bytes);
        write_payload(&mut payload, number, now_ns, bytes);
        if self.is_mirrored {
            let mut frame = Vec::with_capacity(bytes + wire::CLIENT_HEADER_BYTES_MAX);
            wire::write_server_frame(&mut frame, &payload);
            return self.send(&frame);
        }
        self.send_frame(wire::TEXT, &payload)
    }

    /// A WebSocket frame of ours.
    fn send_frame(&mut self, head: u8, payload: &[u8]) -> Result<(), String> {
        let mut frame = Vec::with_capacity(payload.len() + wire::CLIENT_HEADER_BYTES_MAX);
        wire::write_client_frame(&mut frame, head, payload);
        self.send(&frame)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = match &mut self.keys {
            None => self.socket.write_all(bytes),
            Some(keys) => {
                let mut record = Vec::with_capacity(bytes.len() + record::OVERHEAD_BYTES);
                keys.seal(record::APPLICATION_DATA, bytes, &mut record)?;
                self.socket.write_all(&record)
            }
        };
        sent.map_err(|error| format!("the server takes nothing: {error}"))
    }

    /// The last words of TLS, if there are any; the socket's end follows.
    pub(super) fn say_goodbye(&mut self) -> Result<(), String> {
        let Some(keys) = &mut self.keys else { return Ok(()) };
        let mut record = Vec::new();
        keys.seal(record::ALERT, &record::CLOSE_NOTIFY, &mut record)?;
        // A server that has gone already needs to hear nothing.
        _ = self.socket.write_all(&record);
        Ok(())
    }
}
