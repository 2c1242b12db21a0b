//! Event streams through a proxy: how late each event is.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::clients::Request;
use crate::link::Link;

const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// Events of a second are many times as frequent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the time at which an event was sent; 20 digits follow.
const MARK: &[u8] = b"data: ";
const DIGITS: usize = 20;

struct Stream {
    link: Link,
    /// Bytes that belong to no whole event yet.
    rest: Vec<u8>,
}

/// The figures of one phase.
pub struct Delays {
    pub count: u64,
    micros: Histogram<u64>,
}

impl Delays {
    pub fn ms(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// Opens so many streams, and reads them for `warm_up` and then for `duration`.
pub fn read(
    count: u32,
    front: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    (warm_up, duration): (Duration, Duration),
    origin_of_time: Instant,
) -> Result<Delays, String> {
    let read = || -> io::Result<Delays> {
        let mut poll = Poll::new()?;
        let mut streams = Vec::new();
        for key in 0..count as usize {
            let mut link = Link::connect(front, tls)?;
            poll.registry().register(&mut SourceFd(&link.socket().as_raw_fd()), Token(key), Interest::READABLE)?;
            link.write_all(&Request::get("/streamed/events", "Accept: text/event-stream\r\n").head)?;
            streams.push(Stream { link, rest: Vec::new() });
        }
        let micros = Histogram::new_with_max(60_000_000, 3).map_err(io::Error::other)?;
        let mut delays = Delays { count: 0, micros };
        let (mut events, mut buffer, start) = (Events::with_capacity(EVENTS), vec![0; BUFFER_BYTES], Instant::now());
        while start.elapsed() < warm_up + duration {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other("no event came"));
            }
            let is_counted = start.elapsed() >= warm_up;
            for event in &events {
                streams[event.token().0].read(&mut buffer, |sent| {
                    if is_counted {
                        delays.count += 1;
                        delays.micros.saturating_record((origin_of_time.elapsed() - sent).as_micros() as u64);
                    }
                })?;
            }
        }
        Ok(delays)
    };
    read().map_err(|error| format!("a stream failed: {error}"))
}

impl Stream {
    /// Tells of each event that has come when it was sent.
    fn read(&mut self, buffer: &mut [u8], mut tell: impl FnMut(Duration)) -> io::Result<()> {
        loop {
            match self.link.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !self.rest.starts_with(b"HTTP/1.1 200 ") && memmem::find(&self.rest, b"HTTP/1.1 ").is_some() {
            return Err(io::Error::other(String::from_utf8_lossy(&self.rest).into_owned()));
        }
        while let Some(at) = memmem::find(&self.rest, MARK).map(|at| at + MARK.len())
            && let Some(digits) = self.rest.get(at..at + DIGITS)
        {
            let nanos = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            tell(Duration::from_nanos(nanos.ok_or(io::ErrorKind::InvalidData)?));
            self.rest.drain(..at + DIGITS);
        }
        Ok(())
    }
}
