//! What is published in a phase, and when.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::hand::{SLEEP_MIN, since};
use super::publisher::Publisher;

/// When the next message is published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many messages a second, whatever becomes of them; latency counts from when a message was due.
    Paced { per_second: f64 },
    /// A message to every channel at once, so many times a second: the deliveries come in as large a wave over many channels as
    /// over one.
    Waves { per_second: f64 },
    /// As soon as the deliveries of fewer than so many messages are on their way.
    FlatOut { window: usize },
}

impl Pace {
    pub fn name(self) -> &'static str {
        match self {
            Pace::Paced { .. } | Pace::Waves { .. } => "paced",
            Pace::FlatOut { .. } => "flat out",
        }
    }
}

/// A phase's messages, to all channels in turn.
pub(super) struct Traffic {
    pace: Pace,
    duration: Duration,
    /// Who listens to a channel; the last one may have fewer.
    listeners: Vec<u32>,
    start: Option<Instant>,
    published: u64,
    expected: u64,
}

impl Traffic {
    pub(super) fn new(pace: Pace, duration: Duration, listeners: Vec<u32>) -> Traffic {
        Traffic { pace, duration, listeners, start: None, published: 0, expected: 0 }
    }

    /// Deliveries that must come of what was published.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Publishes what is due; how long to wait for more, or that there is no more.
    pub(super) fn publish(&mut self, publisher: &mut Publisher, shared: &Shared) -> Result<Option<Duration>, String> {
        let now = Instant::now();
        let start = *self.start.get_or_insert(now);
        let end = start + self.duration;
        if shared.is_over.load(Ordering::Relaxed) {
            return Ok(None);
        }
        loop {
            let due = match self.pace {
                Pace::Paced { per_second } => start + Duration::from_secs_f64(self.published as f64 / per_second),
                Pace::Waves { per_second } => {
                    let wave = self.published / self.listeners.len() as u64;
                    start + Duration::from_secs_f64(wave as f64 / per_second)
                }
                Pace::FlatOut { window } => {
                    if now >= end {
                        return Ok(None);
                    }
                    let on_their_way = self.expected - shared.delivered.load(Ordering::Relaxed).min(self.expected);
                    let each = u64::from(self.listeners[self.channel()]);
                    if on_their_way > (window as u64 - 1) * each {
                        shared.awaited.store(self.expected - (window as u64 - 1) * each, Ordering::Relaxed);
                        return Ok(Some((end - now).max(SLEEP_MIN)));
                    }
                    now
                }
            };
            if due >= end {
                return Ok(None);
            }
            if due > now {
                return Ok(Some((due - now).max(SLEEP_MIN)));
            }
            let channel = self.channel();
            publisher.publish(channel, since(shared.base, due));
            self.published += 1;
            self.expected += u64::from(self.listeners[channel]);
        }
    }

    fn channel(&self) -> usize {
        (self.published % self.listeners.len() as u64) as usize
    }
}
