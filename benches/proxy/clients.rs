//! The load: clients on one thread, each with one request on its way.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::link::Link;

const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// Of a body that is sent, what is handed over at once.
const PIECE_BYTES: usize = 64 * 1024;
/// A longer latency counts as this.
const LATENCY_MICROS_MAX: u64 = 60_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// The request of all clients.
#[derive(Clone)]
pub struct Request {
    pub head: Vec<u8>,
    pub body_bytes: usize,
}

impl Request {
    /// `lines`: header fields besides the usual ones, each with its line end. A browser sends five times as many header bytes.
    pub fn get(path: &str, lines: &str) -> Request {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: load\r\nAccept: */*\r\n{lines}\r\n");
        Request { head: head.into_bytes(), body_bytes: 0 }
    }

    pub fn post(path: &str, body_bytes: usize) -> Request {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: load\r\nContent-Length: {body_bytes}\r\n\r\n"
        );
        Request { head: head.into_bytes(), body_bytes }
    }
}

/// When a client asks again.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When it has its answer.
    AtOnce,
    /// In turn, so many requests of all clients a second. Latency counts from the moment at which a request was due.
    PerSecond(f64),
}

struct Client {
    link: Link,
    /// When its request was due; `None` while it has none in hand.
    due: Option<Instant>,
    /// Its next request is due since then, and waits for the answer in hand.
    next: Option<Instant>,
    /// Bytes of the request's body that are not handed over.
    unsent: usize,
    /// The head of the answer, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the body that are to come; `None` until the head is whole.
    left: Option<usize>,
}

pub struct Clients {
    poll: Poll,
    clients: Vec<Client>,
    request: Request,
}

/// The figures of one phase.
pub struct Answers {
    pub count: u64,
    pub elapsed: Duration,
    latency: Histogram<u64>,
}

impl Answers {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Clients {
    pub fn connect(
        count: u32,
        front: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        request: Request,
    ) -> Result<Clients, String> {
        let connect = || -> io::Result<Clients> {
            let poll = Poll::new()?;
            let mut clients = Vec::new();
            for key in 0..count as usize {
                let link = Link::connect(front, tls)?;
                let interest = match request.body_bytes {
                    0 => Interest::READABLE,
                    _ => Interest::READABLE | Interest::WRITABLE,
                };
                poll.registry().register(&mut SourceFd(&link.socket().as_raw_fd()), Token(key), interest)?;
                clients.push(Client { link, due: None, next: None, unsent: 0, head: Vec::new(), left: None });
            }
            Ok(Clients { poll, clients, request })
        };
        connect().map_err(|error| format!("the clients did not connect: {error}"))
    }

    /// All ask for this time; then all wait for their last answers.
    pub fn ask(&mut self, pace: Pace, duration: Duration) -> Result<Answers, String> {
        let failed = |error: io::Error| format!("a request failed: {error}");
        let latency =
            Histogram::new_with_max(LATENCY_MICROS_MAX, 3).map_err(|error| format!("a histogram: {error}"))?;
        let mut answers = Answers { count: 0, elapsed: Duration::ZERO, latency };
        let (start, mut asked) = (Instant::now(), 0);
        if let Pace::AtOnce = pace {
            for client in &mut self.clients {
                client.ask(&self.request, start).map_err(failed)?;
            }
        }
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; BUFFER_BYTES]);
        loop {
            let is_over = start.elapsed() >= duration;
            if is_over && self.clients.iter().all(|client| client.due.is_none()) {
                break;
            }
            if let Pace::PerSecond(rate) = pace
                && !is_over
            {
                asked = self.ask_due(start, rate, asked).map_err(failed)?;
            }
            // The pace has a grain of a millisecond.
            let patience = if matches!(pace, Pace::AtOnce) || is_over { PATIENCE } else { Duration::from_millis(1) };
            self.poll.poll(&mut events, Some(patience)).map_err(failed)?;
            if events.is_empty() && patience == PATIENCE {
                return Err("answers did not come".to_owned());
            }
            for event in &events {
                let client = &mut self.clients[event.token().0];
                client.send(&self.request).map_err(failed)?;
                let Some(due) = client.due else { continue };
                if !client.read(&mut buffer).map_err(failed)? {
                    continue;
                }
                let now = Instant::now();
                client.due = None;
                answers.count += 1;
                answers.latency.saturating_record((now - due).as_micros() as u64);
                let next = if matches!(pace, Pace::AtOnce) { Some(now) } else { client.next.take() };
                if let Some(due) = next
                    && now - start < duration
                {
                    client.ask(&self.request, due).map_err(failed)?;
                }
            }
        }
        answers.elapsed = start.elapsed();
        Ok(answers)
    }

    /// The requests that are due by now; so many were before. A client whose answer is late asks when it has that.
    fn ask_due(&mut self, start: Instant, rate: f64, mut asked: usize) -> io::Result<usize> {
        let count = self.clients.len();
        loop {
            let due = start + Duration::from_secs_f64(asked as f64 / rate);
            if due > Instant::now() {
                return Ok(asked);
            }
            let client = &mut self.clients[asked % count];
            match client.due {
                None => client.ask(&self.request, due)?,
                Some(_) => _ = client.next.get_or_insert(due),
            }
            asked += 1;
        }
    }
}

impl Client {
    fn ask(&mut self, request: &Request, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        self.unsent = request.body_bytes;
        self.link.write_all(&request.head)?;
        self.send(request)
    }

    /// Hands over what the connection takes of the body.
    fn send(&mut self, request: &Request) -> io::Result<()> {
        static PIECE: [u8; PIECE_BYTES] = [b'x'; PIECE_BYTES];
        if request.body_bytes == 0 {
            return Ok(());
        }
        let mut send = || {
            while self.unsent > 0 {
                self.unsent -= self.link.write(&PIECE[..self.unsent.min(PIECE_BYTES)])?;
            }
            self.link.flush()
        };
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    /// Whether the answer is whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match self.link.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            if self.take(&buffer[..count])? {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let left = match self.left {
            Some(left) => left.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
                let length = body_length(&self.head[..end])?;
                let left = (end + 4 + length).checked_sub(self.head.len());
                self.head.clear();
                left
            }
        };
        let left = left.ok_or_else(|| io::Error::other("the answer is too long"))?;
        self.left = (left > 0).then_some(left);
        Ok(left == 0)
    }
}

/// Of an answer with the status 200 and a length.
fn body_length(head: &[u8]) -> io::Result<usize> {
    let head = String::from_utf8_lossy(head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) if head.starts_with("HTTP/1.1 200 ") => Ok(length),
        _ => Err(io::Error::other(head.into_owned())),
    }
}
