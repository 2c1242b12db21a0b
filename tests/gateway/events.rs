//! A client of an event stream: what is in the chunks, and how the stream ended.

use std::io::{self, Read};

use tidegate::gateway::Gateway;

use crate::support::{Raw, front, read_until};

/// A stream in chunks (RFC 9112 section 7.1), behind its head.
pub struct Events<R = Raw> {
    pub raw: R,
    /// Bytes of the chunk that has begun.
    left: usize,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last chunk.
    Regular,
    /// Between two chunks or in one.
    Cut,
}

/// An event stream, up to the end of its first record.
pub fn events(gateway: &Gateway, path: &str) -> Events {
    Events::ask(gateway, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

impl Events {
    pub fn ask(gateway: &Gateway, request: &str) -> Events {
        let mut raw = Raw::connect(front(gateway));
        raw.send(request);
        let mut stream = Events::new(raw);
        stream.read_until("retry: 2000\n\n");
        stream
    }
}

impl<R: Read> Events<R> {
    /// The request has been sent.
    pub fn new(mut raw: R) -> Events<R> {
        let head = read_until(&mut raw, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        Events { raw, left: 0, end: None }
    }

    pub fn read_until(&mut self, end: &str) -> String {
        read_until(self, end)
    }

    /// Everything until the stream ends, and how it does.
    pub fn read_all(&mut self) -> (String, End) {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).expect("text and an end");
        (String::from_utf8(bytes).expect("the stream is UTF-8"), self.end.expect("it has ended"))
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            match self.raw.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        line.truncate(line.len() - 2);
        Ok(Some(String::from_utf8(line).expect("text")))
    }
}

impl<R: Read> Read for Events<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.end.is_some() {
            return Ok(0);
        }
        if self.left == 0 {
            let Some(size) = self.line()? else {
                self.end = Some(End::Cut);
                return Ok(0);
            };
            self.left = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("{size:?} is no size"));
            if self.left == 0 {
                assert_eq!(self.line()?.as_deref(), Some(""), "no trailer");
                self.end = Some(End::Regular);
                return Ok(0);
            }
        }
        let most = self.left.min(buffer.len());
        let count = self.raw.read(&mut buffer[..most])?;
        self.left -= count;
        if count == 0 {
            self.end = Some(End::Cut);
        } else if self.left == 0 {
            assert_eq!(self.line()?.as_deref(), Some(""), "a chunk ends with its line end");
        }
        Ok(count)
    }
}
