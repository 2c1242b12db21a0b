//! A client of the bus: publishes messages, or reads one subscription.
//!
//! ```text
//!  connect    <- INFO      TLS, where the URL or INFO asks for it      CONNECT, PING ->      <- PONG, or -ERR
//!  subscribe  SUB, PING -> <- PONG      publish  PUB, HPUB ->      flush  PING -> <- PONG      next  <- MSG, HMSG
//! ```
//!
//! Supports the NATS client protocol as far as these verbs need it: one subscription, no reply subjects, no
//! reconnection. If the bus ends the connection, the verb ends, as with a WebSocket and an event stream.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::proto::bus::{HeaderBlock, headers};
use tidegate::proto::reserved::headers::{EVENT_HEADER, ID_HEADER};
use tidegate::proto::subject::{Pattern, Subject};

use super::stream::{Stream, is_timeout};
use super::{ArrivedMessage, CONNECT_TIMEOUT, Field, MESSAGE_BYTES_MAX, SourceEvent, TICK, Trust, Url};

/// How long the bus may take for the answer to a PING.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a publisher checks for input from the bus.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long such a check waits.
const LOOK_WAIT: Duration = Duration::from_millis(1);
/// Longest line; INFO names all servers of a cluster.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// Most messages that may come before the answer to a PING.
const EARLY_MAX: usize = 1_024;
/// How much of an invalid line is shown.
const STRANGE_BYTES_MAX: usize = 64;
/// How much is read in one call.
const READ_BYTES: usize = 64 * 1024;

const ENDED: &str = "the bus ended the connection";

/// A connection to the bus, open for PUB and SUB.
pub(in crate::cli) struct BusClient {
    stream: Stream,
    inbox: Inbox,
    /// Messages that came before the answer to a PING.
    early: VecDeque<ArrivedMessage>,
    /// `max_payload` of INFO: the bound on headers and payload together.
    payload_bytes_max: u64,
    looked: Instant,
}

impl BusClient {
    /// `nats://[user:password@|token@]host[:port]`. With `tls://`, or if INFO requires it, TLS begins after INFO.
    pub fn connect(url: &Url, trust: &Trust) -> Result<BusClient, String> {
        if !matches!(url.scheme, "nats" | "tls") {
            return Err(format!("{url}: expected nats:// or tls://"));
        }
        let place = url.authority();
        let words = |error: String| format!("{place}: {error}");
        let stream = Stream::plain(url)?;
        let (inbox, early) = Default::default();
        let mut bus = BusClient { stream, inbox, early, payload_bytes_max: u64::MAX, looked: Instant::now() };
        let info = bus.info().map_err(words)?;
        if url.is_tls() || info["tls_required"] == true {
            // Plaintext bytes after INFO may come from an attacker.
            bus.inbox = Inbox::default();
            bus.stream = bus.stream.encrypted(url, trust)?;
        }
        bus.payload_bytes_max = info["max_payload"].as_u64().unwrap_or(u64::MAX);
        bus.write(format!("CONNECT {}\r\n", options(url)).as_bytes()).map_err(words)?;
        bus.round_trip(CONNECT_TIMEOUT).map_err(words)?;
        Ok(bus)
    }

    /// The INFO that the bus sends first.
    fn info(&mut self) -> Result<Value, String> {
        match self.read(Instant::now() + CONNECT_TIMEOUT)? {
            Some(BusOperation::Info(info)) => Ok(info),
            Some(BusOperation::Error(words)) => Err(words),
            Some(BusOperation::Ended) => Err(ENDED.to_owned()),
            Some(_) => Err("the first line is not INFO: this is no bus".to_owned()),
            None => Err("no INFO came in time: is this a bus?".to_owned()),
        }
    }

    /// Subscribes. The subscription is in force when this returns: later publications arrive.
    pub fn subscribe(mut self, pattern: &str) -> Result<BusSubscription, String> {
        let words = |error: &dyn std::fmt::Display| format!("{pattern}: {error}");
        Pattern::check(pattern).map_err(|error| words(&error))?;
        self.write(format!("SUB {pattern} 1\r\n").as_bytes()).map_err(|error| words(&error))?;
        self.round_trip(FLUSH_TIMEOUT).map_err(|error| words(&error))?;
        Ok(BusSubscription(self))
    }

    /// Writes the message. [`BusClient::flush`] confirms that the bus has it.
    pub fn publish(&mut self, subject: &str, fields: &[Field], payload: &[u8]) -> Result<(), String> {
        Subject::check(subject).map_err(|error| format!("{subject}: {error}"))?;
        let mut block = HeaderBlock::new();
        for Field { name, value } in fields {
            block.push(name, value);
        }
        let block = if block.is_empty() { Box::default() } else { block.finish() };
        let bytes = block.len() + payload.len();
        if bytes as u64 > self.payload_bytes_max {
            return Err(format!("a message of {bytes} bytes is too long; the bus takes {}", self.payload_bytes_max));
        }
        let mut frame = match block.len() {
            0 => format!("PUB {subject} {bytes}\r\n"),
            header => format!("HPUB {subject} {header} {bytes}\r\n"),
        }
        .into_bytes();
        for part in [&block, payload, b"\r\n"] {
            frame.extend_from_slice(part);
        }
        self.write(&frame)?;
        self.look()
    }

    /// Waits until the bus has all published messages. An error if it refused one.
    pub fn flush(&mut self) -> Result<(), String> {
        self.round_trip(FLUSH_TIMEOUT)
    }

    /// During a long series of publications: answers PINGs, and notices refusals.
    fn look(&mut self) -> Result<(), String> {
        if self.looked.elapsed() < LOOK_INTERVAL {
            return Ok(());
        }
        self.looked = Instant::now();
        while let Some(said) = self.read(Instant::now() + LOOK_WAIT)? {
            match said {
                BusOperation::Error(words) => return Err(words),
                BusOperation::Ended => return Err(ENDED.to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The answer to a PING comes after everything before it has been processed.
    fn round_trip(&mut self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        self.write(b"PING\r\n")?;
        loop {
            match self.read(deadline)? {
                Some(BusOperation::Pong) => return Ok(()),
                Some(BusOperation::Error(words)) => return Err(words),
                Some(BusOperation::Message(arrival)) => {
                    self.early.push_back(arrival);
                    // This many messages also prove that the subscription is in force.
                    if self.early.len() == EARLY_MAX {
                        return Ok(());
                    }
                }
                Some(BusOperation::Ended) => return Err(ENDED.to_owned()),
                Some(_) => {}
                None => return Err("the bus did not answer in time".to_owned()),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(|error| error.to_string())
    }

    /// The next verb of the bus, after answering PINGs; `None` if none has arrived by `deadline`.
    fn read(&mut self, deadline: Instant) -> Result<Option<BusOperation>, String> {
        loop {
            match self.inbox.take()? {
                Some(BusOperation::Ping) => self.write(b"PONG\r\n")?,
                Some(said) => return Ok(Some(said)),
                None => {
                    let wait = deadline.saturating_duration_since(Instant::now());
                    if wait.is_zero() {
                        return Ok(None);
                    }
                    self.stream.wait_at_most(wait).map_err(|error| error.to_string())?;
                    let mut bytes = [0; READ_BYTES];
                    match self.stream.read(&mut bytes) {
                        Ok(0) => return Ok(Some(BusOperation::Ended)),
                        Ok(count) => self.inbox.push(&bytes[..count]),
                        Err(error) if is_timeout(&error) => return Ok(None),
                        Err(error) => return Err(error.to_string()),
                    }
                }
            }
        }
    }
}

/// The options of CONNECT.
fn options(url: &Url) -> Value {
    let mut options = json!({
        "verbose": false, "pedantic": false, "echo": true, "headers": true, "protocol": 1, "tls_required": url.is_tls(),
        "name": "tidegate", "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
    });
    match (&url.user, &url.password) {
        (Some(user), Some(password)) => {
            options["user"] = user.as_str().into();
            options["pass"] = password.as_str().into();
        }
        (Some(token), None) => options["auth_token"] = token.as_str().into(),
        _ => {}
    }
    options
}

/// The messages of one pattern.
pub(in crate::cli) struct BusSubscription(BusClient);

impl BusSubscription {
    pub fn next(&mut self) -> Result<SourceEvent, String> {
        if let Some(arrival) = self.0.early.pop_front() {
            return Ok(SourceEvent::Arrived(arrival));
        }
        match self.0.read(Instant::now() + TICK)? {
            Some(BusOperation::Message(arrival)) => Ok(SourceEvent::Arrived(arrival)),
            Some(BusOperation::Error(words)) => Err(words),
            Some(BusOperation::Ended) => Ok(SourceEvent::Ended(String::new())),
            _ => Ok(SourceEvent::Nothing),
        }
    }

    pub fn close(&mut self) {
        if self.0.write(b"UNSUB 1\r\n").is_ok() {
            self.0.early.clear();
            _ = self.0.flush();
        }
    }
}

/// One verb of the bus.
#[derive(Debug, PartialEq)]
enum BusOperation {
    Info(Value),
    Message(ArrivedMessage),
    Ping,
    Pong,
    /// `+OK`, which only verbose clients get.
    Fine,
    /// `-ERR`, without its quotes.
    Error(String),
    /// The connection.
    Ended,
}

/// Received bytes that are not parsed yet.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// How many of them are parsed.
    start: usize,
}

impl Inbox {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next verb, if it is complete. An error if the line is not one.
    fn take(&mut self) -> Result<Option<BusOperation>, String> {
        let bytes = &self.bytes[self.start..];
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return if bytes.len() > LINE_BYTES_MAX { Err(strange(bytes)) } else { Ok(None) };
        };
        let line = bytes[..end].trim_ascii_end();
        let text = std::str::from_utf8(line).map_err(|_| strange(line))?;
        let (verb, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        let mut length = end + 1;
        let said = if is("MSG") || is("HMSG") {
            let body = &bytes[length..];
            let Some((arrival, body_length)) = message(rest, is("HMSG"), body).ok_or_else(|| strange(line))? else {
                return Ok(None);
            };
            length += body_length;
            BusOperation::Message(arrival)
        } else if is("INFO") {
            BusOperation::Info(serde_json::from_str(rest).map_err(|_| strange(line))?)
        } else if is("PING") {
            BusOperation::Ping
        } else if is("PONG") {
            BusOperation::Pong
        } else if is("+OK") {
            BusOperation::Fine
        } else if is("-ERR") {
            BusOperation::Error(rest.trim().trim_matches('\'').to_owned())
        } else {
            return Err(strange(line));
        };
        self.start += length;
        Ok(Some(said))
    }
}

/// A message, parsed from its line, `subject sid [reply] [header bytes] bytes`, and the length of its body. `None` if
/// the line is malformed, `Some(None)` if the message is incomplete.
fn message(line: &str, has_headers: bool, body: &[u8]) -> Option<Option<(ArrivedMessage, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (subject, _sid) = (words.next()?, words.next()?);
    let mut sizes = words.rev().map(|word| word.parse::<usize>().ok());
    let total = sizes.next()??;
    let header = if has_headers { sizes.next()?? } else { 0 };
    if header > total || total > MESSAGE_BYTES_MAX {
        return None;
    }
    let length = total + b"\r\n".len();
    let Some(body) = body.get(..length) else { return Some(None) };
    if !body.ends_with(b"\r\n") {
        return None;
    }
    let (block, payload) = body[..total].split_at(header);
    let value = |name| headers::lookup(block, name).map(str::to_owned);
    let arrival = ArrivedMessage {
        id: value(ID_HEADER),
        event: value(EVENT_HEADER),
        subject: Some(subject.to_owned()),
        payload: payload.to_vec(),
    };
    Some(Some((arrival, length)))
}

/// The beginning of an invalid line, as much as fits into an error.
fn strange(line: &[u8]) -> String {
    let begin = &line[..line.len().min(STRANGE_BYTES_MAX)];
    format!("not a line of the NATS protocol: {:?}", String::from_utf8_lossy(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(inbox: &mut Inbox) -> Vec<BusOperation> {
        std::iter::from_fn(|| inbox.take().expect("lines of the protocol")).collect()
    }

    #[test]
    fn reads_the_same_however_it_is_cut() {
        let bytes = b"INFO {\"max_payload\":5}\r\nPING\r\nMSG a.b 1 3\r\n\r\nc\r\nMSG a 1 _INBOX.1 0\r\n\r\n\
            HMSG a 1 31 33\r\nNATS/1.0\r\nTg-Event: x\r\nA: b\r\n\r\nhi\r\n+OK\r\npong\r\n-ERR 'Stale Connection'\r\n";
        let message = |subject: &str, event: Option<&str>, payload: &[u8]| {
            BusOperation::Message(ArrivedMessage {
                subject: Some(subject.to_owned()),
                event: event.map(str::to_owned),
                payload: payload.to_vec(),
                id: None,
            })
        };
        let expected = [
            BusOperation::Info(json!({ "max_payload": 5 })),
            BusOperation::Ping,
            message("a.b", None, b"\r\nc"),
            message("a", None, b""),
            message("a", Some("x"), b"hi"),
            BusOperation::Fine,
            BusOperation::Pong,
            BusOperation::Error("Stale Connection".to_owned()),
        ];
        for size in 1..=bytes.len() {
            let mut inbox = Inbox::default();
            let said: Vec<BusOperation> = bytes
                .chunks(size)
                .flat_map(|part| {
                    inbox.push(part);
                    all(&mut inbox)
                })
                .collect();
            assert_eq!(said, expected, "cut into pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_bus_is_told_in_one_line() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 1\r\nabc",
            b"MSG a 1 99999999999\r\n",
            b"HMSG a 1 9 2\r\n",
            b"INFO {\r\n",
            b"\xff\r\n",
            &vec![b'a'; LINE_BYTES_MAX + 1],
        ] {
            let mut inbox = Inbox::default();
            inbox.push(bytes);
            let error = inbox.take().expect_err("no line of the protocol");
            assert!(error.lines().count() == 1 && error.len() < 200, "{error}");
        }
    }
}
