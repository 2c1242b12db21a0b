//! A small HTTP/1.1 client: one request after the other on one connection, with bodies that may never end.

use std::io::{self, Read, Write};
use std::path::Path;

use super::stream::{Stream, is_timeout};
use super::{Field, Trust, Url};

/// Longest head of a response.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields of a response.
const HEADERS_MAX: usize = 64;
/// Longest line of a chunk's size.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// Longest answer of the admin API.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct HttpConnection {
    stream: Stream,
    /// For the Host header.
    host: String,
    /// The credentials of the URL, if there are any.
    authorization: Option<Field>,
    /// Received bytes that are not used yet.
    input: Vec<u8>,
}

/// The head of a response.
#[derive(Debug, PartialEq)]
pub(super) struct ResponseHead {
    pub status: u16,
    pub content_type: String,
    pub framing: BodyProgress,
}

/// The position in the body (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyProgress {
    /// This many bytes remain.
    Length(u64),
    /// A line with a chunk's size comes next.
    ChunkSize,
    /// This many bytes of the chunk remain.
    Chunk(u64),
    /// The line end after a chunk comes next.
    ChunkEnd,
    /// After the last chunk: lines up to an empty one.
    Trailer,
    UntilClose,
    Done,
}

impl HttpConnection {
    /// `fields` are sent with every request.
    pub fn open(url: &Url, fields: &[Field], trust: &Trust) -> Result<HttpConnection, String> {
        let (host, authorization) = (url.authority(), url.authorization(fields));
        Ok(HttpConnection { stream: Stream::connect(url, trust)?, host, authorization, input: Vec::new() })
    }

    /// To a path of this machine.
    pub fn local(path: &Path) -> Result<HttpConnection, String> {
        let (stream, host) = (Stream::local(path)?, "localhost".to_owned());
        Ok(HttpConnection { stream, host, authorization: None, input: Vec::new() })
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Sends a request and reads the head of its response.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[Field],
        body: &[u8],
    ) -> Result<ResponseHead, String> {
        let mut message = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate\r\n", self.host);
        for Field { name, value } in fields.iter().chain(&self.authorization) {
            message.push_str(&format!("{name}: {value}\r\n"));
        }
        if method != "GET" {
            message.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        message.push_str("\r\n");
        let mut message = message.into_bytes();
        message.extend_from_slice(body);
        self.stream.write_all(&message).and_then(|()| self.stream.flush()).map_err(|error| error.to_string())?;
        loop {
            if let Some((head, used)) = parse_head(&self.input)? {
                self.input.drain(..used);
                // An interim response announces the real one (RFC 9110 section 15.2).
                if head.status >= 200 {
                    return Ok(head);
                }
            } else if self.fill().map_err(|error| no_answer(&error))? == 0 {
                return Err("the server closed the connection without an answer".to_owned());
            }
        }
    }

    /// The whole body of an answer.
    pub fn answer(&mut self, head: &mut ResponseHead) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while self.body(&mut head.framing, &mut body)? {
            if body.len() > ANSWER_BYTES_MAX {
                return Err("the answer is too long".to_owned());
            }
        }
        Ok(body)
    }

    /// Appends more of the body; `Ok(false)` at its end. Appends nothing if the read timed out.
    pub fn body(&mut self, framing: &mut BodyProgress, out: &mut Vec<u8>) -> Result<bool, String> {
        let before = out.len();
        take(framing, &mut self.input, out)?;
        if *framing == BodyProgress::Done || out.len() > before {
            return Ok(*framing != BodyProgress::Done || out.len() > before);
        }
        match self.fill() {
            Ok(0) if *framing == BodyProgress::UntilClose => {
                *framing = BodyProgress::Done;
                Ok(false)
            }
            Ok(0) => Err("the server closed the connection in the middle of the answer".to_owned()),
            Ok(_) => take(framing, &mut self.input, out).map(|()| *framing != BodyProgress::Done || out.len() > before),
            Err(error) if is_timeout(&error) => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes)?;
        self.input.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

fn no_answer(error: &io::Error) -> String {
    if is_timeout(error) { "the server did not answer in time".to_owned() } else { error.to_string() }
}

/// The head of a response and its length, or `None` if it is incomplete.
fn parse_head(input: &[u8]) -> Result<Option<(ResponseHead, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(input) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if input.len() <= HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("the head of the answer is too long".to_owned()),
        Err(error) => return Err(format!("the answer is not HTTP: {error}")),
    };
    let status = response.code.unwrap_or_default();
    let field = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let is_chunked = field("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
    let framing = match field("content-length").map(str::parse) {
        _ if status < 200 || status == 204 || status == 304 => BodyProgress::Done,
        _ if is_chunked => BodyProgress::ChunkSize,
        Some(Ok(length)) => BodyProgress::Length(length),
        Some(Err(_)) => return Err("the answer has a Content-Length that is not a number".to_owned()),
        None => BodyProgress::UntilClose,
    };
    let content_type = field("content-type").unwrap_or_default().to_owned();
    Ok(Some((ResponseHead { status, content_type, framing }, used)))
}

/// Moves the available bytes of the body from `input` to `out`.
fn take(framing: &mut BodyProgress, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut used = 0;
    loop {
        let rest = &input[used..];
        let line = || line(rest);
        *framing = match *framing {
            BodyProgress::Length(0) => BodyProgress::Done,
            BodyProgress::Length(left) | BodyProgress::Chunk(left) if !rest.is_empty() && left > 0 => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                out.extend_from_slice(&rest[..count]);
                used += count;
                let left = left - count as u64;
                if matches!(framing, BodyProgress::Length(_)) {
                    BodyProgress::Length(left)
                } else {
                    BodyProgress::Chunk(left)
                }
            }
            BodyProgress::Chunk(0) => BodyProgress::ChunkEnd,
            BodyProgress::UntilClose => {
                out.extend_from_slice(rest);
                used += rest.len();
                break;
            }
            BodyProgress::ChunkSize | BodyProgress::ChunkEnd | BodyProgress::Trailer => {
                let Some(text) = line()? else { break };
                used += text.len() + 2;
                match *framing {
                    BodyProgress::ChunkSize => match chunk_size(text)? {
                        0 => BodyProgress::Trailer,
                        size => BodyProgress::Chunk(size),
                    },
                    BodyProgress::ChunkEnd if text.is_empty() => BodyProgress::ChunkSize,
                    BodyProgress::ChunkEnd => {
                        return Err("the answer has a chunk with a wrong size".to_owned());
                    }
                    _ if text.is_empty() => BodyProgress::Done,
                    _ => BodyProgress::Trailer,
                }
            }
            BodyProgress::Length(_) | BodyProgress::Chunk(_) | BodyProgress::Done => break,
        };
    }
    input.drain(..used);
    Ok(())
}

/// The line at the front, without its CRLF.
fn line(input: &[u8]) -> Result<Option<&[u8]>, String> {
    match memchr::memmem::find(input, b"\r\n") {
        Some(end) => Ok(Some(&input[..end])),
        None if input.len() > CHUNK_LINE_BYTES_MAX => Err("the answer has a chunk without a size".to_owned()),
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).unwrap_or_default().trim();
    let is_hexadecimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = if is_hexadecimal { u64::from_str_radix(text, 16).ok() } else { None };
    size.ok_or_else(|| "the answer has a chunk without a size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `body` in pieces of every size, which must all give the same result.
    fn read(start: BodyProgress, body: &[u8]) -> Result<(Vec<u8>, BodyProgress), String> {
        let mut results: Vec<_> = (1..=body.len().max(1))
            .map(|size| {
                let (mut framing, mut input, mut out) = (start, Vec::new(), Vec::new());
                for piece in body.chunks(size) {
                    input.extend_from_slice(piece);
                    take(&mut framing, &mut input, &mut out)?;
                }
                Ok((out, framing))
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
        results.remove(0)
    }

    #[test]
    fn reads_chunks_at_any_split() {
        let body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(read(BodyProgress::ChunkSize, body), Ok((b"hello world".to_vec(), BodyProgress::Done)));
    }

    #[test]
    fn refuses_chunks_that_lie() {
        assert!(read(BodyProgress::ChunkSize, b"3\r\nhello\r\n").is_err());
        assert!(read(BodyProgress::ChunkSize, b"-1\r\n").is_err());
        assert!(read(BodyProgress::ChunkSize, b"fffffffffffffffff\r\n").is_err());
        assert!(read(BodyProgress::ChunkSize, b"\r\n").is_err());
    }

    #[test]
    fn leaves_what_follows_the_body() {
        let (mut framing, mut input, mut out) = (BodyProgress::Length(3), b"abcHTTP".to_vec(), Vec::new());
        take(&mut framing, &mut input, &mut out).unwrap();
        assert_eq!((framing, &input[..], &out[..]), (BodyProgress::Done, &b"HTTP"[..], &b"abc"[..]));
    }

    #[test]
    fn tells_how_the_body_is_framed() {
        let framing = |head: &str| parse_head(head.as_bytes()).map(|parsed| parsed.map(|(head, _)| head.framing));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Ok(Some(BodyProgress::Length(5))));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Ok(Some(BodyProgress::ChunkSize)));
        assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n"), Ok(Some(BodyProgress::Done)));
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Ok(Some(BodyProgress::UntilClose)));
        assert_eq!(framing("HTTP/1.1 200 OK\r\n"), Ok(None));
        assert!(framing("SSH-2.0\r\n\r\n").is_err());
    }
}
