//! A connection on its way: connect, TLS handshake, request, answer. It may be large, because few are on their way at once.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use memchr::memmem;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::connection::{Connection, Scratch};
use super::record::{self, Keys};
use super::tally::Tally;
use super::wire::Framing;
use crate::certificate;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

pub(super) struct Opening {
    pub(super) socket: TcpStream,
    framing: Framing,
    /// Before the handshake, rustls keeps the request itself.
    tls: Option<Box<ClientConnection>>,
    hello: Hello,
    is_connected: bool,
    /// Of a record that is not whole.
    cipher: Vec<u8>,
    answer: Vec<u8>,
}

/// What a client says first.
#[derive(Clone)]
pub(super) enum Hello {
    /// Something that the server answers with a head.
    Request(String),
    /// Something that it takes and does not answer.
    Word(Vec<u8>),
}

impl Opening {
    pub(super) fn new(
        socket: TcpStream,
        framing: Framing,
        hello: Hello,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Opening, String> {
        let tls = tls.map(|config| certificate::client(config).map(Box::new)).transpose()?;
        Ok(Opening { socket, framing, tls, hello, is_connected: false, cipher: Vec::new(), answer: Vec::new() })
    }

    /// Goes as far as the socket allows; true when the server has answered.
    pub(super) fn advance(&mut self, scratch: &mut Scratch) -> Result<bool, String> {
        let failed = |error: io::Error| format!("a connection was not opened: {error}");
        if !self.is_connected {
            if let Some(error) = self.socket.take_error().map_err(failed)? {
                return Err(failed(error));
            }
            self.is_connected = true;
            self.greet().map_err(failed)?;
            if matches!(self.hello, Hello::Word(_)) {
                return Ok(true);
            }
        }
        loop {
            match self.socket.read(&mut scratch.buffer) {
                Ok(0) => return Err("a connection was ended before it was answered".to_owned()),
                Ok(count) => self.take(&scratch.buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
            if self.is_answered()? {
                return Ok(true);
            }
        }
    }

    fn greet(&mut self) -> io::Result<()> {
        match (&mut self.tls, &self.hello) {
            (None, Hello::Request(request)) => self.socket.write_all(request.as_bytes()),
            (None, Hello::Word(word)) => self.socket.write_all(word),
            (Some(tls), Hello::Request(request)) => {
                tls.writer().write_all(request.as_bytes())?;
                flush(tls, &mut self.socket)
            }
            (Some(_), Hello::Word(_)) => Err(io::Error::other("floors are plain")),
        }
    }

    /// rustls gets one record at a time, and none after the answer: what follows is opened with the keys.
    fn take(&mut self, fresh: &[u8]) -> Result<(), String> {
        let Some(tls) = &mut self.tls else {
            self.answer.extend_from_slice(fresh);
            return Ok(());
        };
        self.cipher.extend_from_slice(fresh);
        while !has_head(&self.answer)
            && let Some(bytes) = record::record_bytes(&self.cipher)
        {
            let mut record = &self.cipher[..bytes];
            while !record.is_empty() {
                tls.read_tls(&mut record).map_err(|error| error.to_string())?;
            }
            tls.process_new_packets().map_err(|error| format!("a handshake failed: {error}"))?;
            match tls.reader().read_to_end(&mut self.answer) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.to_string()),
                _ => {}
            }
            self.cipher.drain(..bytes);
        }
        // Once for all that arrived: a record sent by itself would cost the server a receive of its own.
        flush(tls, &mut self.socket).map_err(|error| error.to_string())
    }

    fn is_answered(&self) -> Result<bool, String> {
        if !has_head(&self.answer) {
            let is_too_long = self.answer.len() > HEAD_BYTES_MAX;
            return if is_too_long { Err("an answer without an end".to_owned()) } else { Ok(false) };
        }
        let status: &[u8] = if self.framing == Framing::WebSocket { b"HTTP/1.1 101 " } else { b"HTTP/1.1 200 " };
        match self.answer.starts_with(status) {
            true => Ok(true),
            false => {
                let line = self.answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
                Err(format!("a connection was answered {:?}", String::from_utf8_lossy(line)))
            }
        }
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Leaves rustls, and takes what came after the answer.
    pub(super) fn finish(mut self, tally: &mut Tally) -> Result<Connection, String> {
        let keys = match self.tls.take() {
            Some(tls) => {
                let secrets = tls.dangerous_extract_secrets().map_err(|error| format!("no keys: {error}"))?;
                Some(Box::new(Keys::new(secrets)?))
            }
            None => None,
        };
        let mut connection = Connection::new(self.socket, self.framing, keys, matches!(self.hello, Hello::Word(_)));
        let head = memmem::find(&self.answer, b"\r\n\r\n").map_or(self.answer.len(), |at| at + 4);
        connection.take_early(&self.answer[head..], tally)?;
        if !self.cipher.is_empty() {
            connection.take(&mut self.cipher, &mut Vec::new(), tally)?;
        }
        Ok(connection)
    }
}

fn has_head(answer: &[u8]) -> bool {
    memmem::find(answer, b"\r\n\r\n").is_some()
}

/// A handshake's messages and a request fit the socket's buffer.
fn flush(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}
