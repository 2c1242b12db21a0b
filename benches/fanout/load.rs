//! The load: all subscribers and the publisher, in one thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::process::{Process, Target};
use crate::publisher::Publisher;
use crate::subscriber::Subscriber;
use crate::tls::Certificate;
use crate::wire::Framing;
use crate::{Args, Kind};

/// How long the last messages may take; longer than any of them should.
const PATIENCE: Duration = Duration::from_secs(10);
const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// mio sleeps whole milliseconds; the last one before a message is due is spent polling.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// Latencies from 1 ns to a minute, to three digits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// When the next message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many messages a second, whatever becomes of them.
    Paced { rate: u32 },
    /// As soon as fewer than so many are on their way.
    FlatOut { window: usize },
}

impl Pace {
    pub fn name(self) -> &'static str {
        match self {
            Pace::Paced { .. } => "paced",
            Pace::FlatOut { .. } => "flat out",
        }
    }
}

/// What came of one phase.
pub struct Outcome {
    pub deliveries: u64,
    /// From the start to the last delivery.
    pub elapsed: Duration,
    /// Of each delivery, in nanoseconds, from when the message was due.
    pub latencies: Histogram<u64>,
}

pub struct Load {
    poll: Poll,
    events: Events,
    subscribers: Vec<Subscriber>,
    publisher: Publisher,
    buffer: Box<[u8]>,
    payload_bytes: usize,
    /// What the times in payloads count from.
    opened: Instant,
    tally: Tally,
}

/// What has been published, and who has got it.
struct Tally {
    subscribers: usize,
    /// Messages that somebody has not got yet, oldest first.
    pending: VecDeque<Published>,
    /// The number of the first of them.
    first: u64,
    deliveries: u64,
    last_delivery: Instant,
    latencies: Histogram<u64>,
}

struct Published {
    payload: Vec<u8>,
    due: Instant,
    reached: usize,
}

impl Load {
    pub fn open(process: &Process, args: &Args, certificate: Option<&Certificate>) -> Result<Load, String> {
        let failed = |error: std::io::Error| format!("epoll: {error}");
        let poll = Poll::new().map_err(failed)?;
        let mut subscribers = Vec::new();
        for index in 0..args.subscribers as usize {
            let framing = match args.kind {
                Kind::Ws => Framing::WebSocket,
                Kind::Sse => Framing::EventStream,
                Kind::Both if index % 2 == 0 => Framing::WebSocket,
                Kind::Both => Framing::EventStream,
            };
            let mut subscriber = match process.target {
                Target::Floor => Subscriber::open_on_floor(process.front, framing)?,
                _ => Subscriber::open(process.front, framing, certificate.map(Certificate::client))?,
            };
            poll.registry().register(subscriber.socket(), Token(index), Interest::READABLE).map_err(failed)?;
            subscribers.push(subscriber);
        }
        Ok(Load {
            poll,
            events: Events::with_capacity(EVENTS),
            tally: Tally::new(subscribers.len())?,
            subscribers,
            publisher: Publisher::connect(process)?,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            payload_bytes: args.bytes as usize,
            opened: Instant::now(),
        })
    }

    /// Publishes for `duration`, and returns when everybody has got everything.
    pub fn run(&mut self, pace: Pace, duration: Duration, progress: &mut dyn FnMut(&str)) -> Result<Outcome, String> {
        let start = Instant::now();
        let end = start + duration;
        let mut published = 0;
        let mut shown = start;
        self.tally.begin(start);
        loop {
            let now = Instant::now();
            let next_due = loop {
                let due = self.next_due(pace, start, published, now).filter(|due| *due < end);
                match due {
                    Some(due) if due <= now => self.publish(due)?,
                    due => break due,
                }
                published += 1;
            };
            let is_over = next_due.is_none() && (now >= end || matches!(pace, Pace::Paced { .. }));
            if is_over && self.tally.pending.is_empty() {
                return Ok(self.tally.outcome(start, duration));
            }
            if now >= end + PATIENCE {
                let (late, patience) = (self.tally.pending.len(), PATIENCE.as_secs());
                return Err(format!(
                    "messages that not everybody had after {patience} s: {late}; is the rate too high?"
                ));
            }
            if now >= shown + PROGRESS_INTERVAL {
                shown = now;
                progress(&format!("{} s, {} deliveries", (now - start).as_secs(), self.tally.deliveries));
            }
            self.receive(next_due.map_or(PROGRESS_INTERVAL, |due| due.saturating_duration_since(now)))?;
        }
    }

    /// When the next message is to be published, if that is known.
    fn next_due(&self, pace: Pace, start: Instant, published: u32, now: Instant) -> Option<Instant> {
        match pace {
            Pace::Paced { rate } => Some(start + Duration::from_secs(1) * published / rate),
            Pace::FlatOut { window } => (self.tally.pending.len() < window).then_some(now),
        }
    }

    fn publish(&mut self, due: Instant) -> Result<(), String> {
        let number = self.tally.first + self.tally.pending.len() as u64;
        let due_us = due.saturating_duration_since(self.opened).as_micros();
        let mut payload = format!("{number:016x} {due_us:016x}").into_bytes();
        payload.resize(self.payload_bytes, b'.');
        self.publisher.publish(number, &payload)?;
        self.tally.pending.push_back(Published { payload, due, reached: 0 });
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> Result<(), String> {
        let timeout = if timeout < SLEEP_MIN { Duration::ZERO } else { timeout - SLEEP_MIN };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(format!("epoll: {error}")),
            _ => {}
        }
        for event in &self.events {
            let subscriber = &mut self.subscribers[event.token().0];
            subscriber.receive(&mut self.buffer, |number, payload| self.tally.arrived(number, payload))?;
        }
        Ok(())
    }
}

impl Tally {
    fn new(subscribers: usize) -> Result<Tally, String> {
        Ok(Tally {
            subscribers,
            pending: VecDeque::new(),
            first: 0,
            deliveries: 0,
            last_delivery: Instant::now(),
            latencies: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(|error| error.to_string())?,
        })
    }

    fn begin(&mut self, start: Instant) {
        self.deliveries = 0;
        self.last_delivery = start;
        self.latencies.reset();
    }

    fn arrived(&mut self, number: u64, payload: &[u8]) -> Result<(), String> {
        let published = number.checked_sub(self.first).and_then(|index| self.pending.get_mut(index as usize));
        let published = published.filter(|published| published.payload == payload);
        let Some(published) = published else {
            let found = String::from_utf8_lossy(payload.get(..16).unwrap_or(payload)).into_owned();
            return Err(format!("a subscriber expected message {number:016x} and got {found}"));
        };
        let now = Instant::now();
        published.reached += 1;
        let latency = now.saturating_duration_since(published.due);
        self.latencies.saturating_record(latency.as_nanos().max(1) as u64);
        self.deliveries += 1;
        self.last_delivery = now;
        while self.pending.front().is_some_and(|oldest| oldest.reached == self.subscribers) {
            self.pending.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    fn outcome(&self, start: Instant, duration: Duration) -> Outcome {
        Outcome {
            deliveries: self.deliveries,
            elapsed: self.last_delivery.saturating_duration_since(start).max(duration),
            latencies: self.latencies.clone(),
        }
    }
}
