//! The load: clients on one thread, each with one request on its way.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// A longer latency counts as this.
const LATENCY_MICROS_MAX: u64 = 60_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct Client {
    socket: TcpStream,
    asked: Instant,
    /// The head of the answer, as far as it has come.
    head: Vec<u8>,
    /// Bytes of the body that are to come; `None` until the head is whole.
    left: Option<usize>,
}

pub struct Clients {
    poll: Poll,
    clients: Vec<Client>,
    request: Vec<u8>,
}

/// The figures of one phase.
pub struct Answers {
    pub count: u64,
    pub elapsed: Duration,
    latency: Histogram<u64>,
}

impl Answers {
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Clients {
    /// `lines`: header fields besides the usual ones, each with its line end.
    pub fn connect(count: u32, front: SocketAddr, path: &str, lines: &str) -> Result<Clients, String> {
        let connect = || -> io::Result<Clients> {
            let poll = Poll::new()?;
            let mut clients = Vec::new();
            for key in 0..count as usize {
                let socket = TcpStream::connect(front)?;
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(key), Interest::READABLE)?;
                clients.push(Client { socket, asked: Instant::now(), head: Vec::new(), left: None });
            }
            // A browser sends five times as many header bytes.
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: load\r\nAccept: */*\r\n{lines}\r\n");
            Ok(Clients { poll, clients, request: request.into_bytes() })
        };
        connect().map_err(|error| format!("the clients did not connect: {error}"))
    }

    /// Each asks again and again for this time; then all wait for their last answers.
    pub fn ask(&mut self, duration: Duration) -> Result<Answers, String> {
        let failed = |error: io::Error| format!("a request failed: {error}");
        let latency =
            Histogram::new_with_max(LATENCY_MICROS_MAX, 3).map_err(|error| format!("a histogram: {error}"))?;
        let mut answers = Answers { count: 0, elapsed: Duration::ZERO, latency };
        let start = Instant::now();
        for client in &mut self.clients {
            client.ask(&self.request).map_err(failed)?;
        }
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; BUFFER_BYTES]);
        let mut waiting = self.clients.len();
        while waiting > 0 {
            self.poll.poll(&mut events, Some(PATIENCE)).map_err(failed)?;
            if events.is_empty() {
                return Err(format!("{waiting} answers did not come"));
            }
            let now = Instant::now();
            for event in &events {
                let client = &mut self.clients[event.token().0];
                if !client.read(&mut buffer).map_err(failed)? {
                    continue;
                }
                answers.count += 1;
                answers.latency.saturating_record((now - client.asked).as_micros() as u64);
                if now - start < duration {
                    client.ask(&self.request).map_err(failed)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        answers.elapsed = start.elapsed();
        Ok(answers)
    }
}

impl Client {
    fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.asked = Instant::now();
        self.socket.write_all(request)
    }

    /// Whether the answer is whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match self.socket.read(buffer) {
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
