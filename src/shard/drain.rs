//! How a shard goes away: readiness first, then the clients, spread over time, then the workers.
//!
//! ```text
//!  Mail::Drain --> Notice --(notice over)--> Clients --(farewells are said, or time is up)------> Workers --> over
//!  /ready: 503     everything is served      fronts closed, a client ended every so often        all told, fronts of
//!  tg.event.drain                            new requests: 503 and Retry-After                   workers closed
//! ```
//!
//! Each part has an end, whatever the peers do: whoever is there [`limits::DRAIN_GRACE`] later is closed without a word.

use std::time::Duration;

use crate::base::{Key, Tick};
use crate::conn::settings::{Readiness, Settings};
use crate::conn::{Conn, Departure, Door};
use crate::driver::{Driver, ListenerId};
use crate::hub::mix;
use crate::limits;
use crate::mesh::{Mail, Publish};
use crate::proto::CloseReason;
use crate::proto::event::Message;
use crate::proto::subject::Subject;

use super::{Core, Shard, Turn};

/// What the workers hear when it begins.
const EVENT: &str = "tg.event.drain";

/// How far it has come.
pub(super) enum Drain {
    No,
    /// Readiness fails; everything is served until then.
    Notice {
        until: Tick,
    },
    /// Clients are told to go; workers stay until they have.
    Clients(Departures),
    Workers {
        until: Tick,
    },
}

/// What the shards say to each other when no client is left, so that a worker that is sent away has heard what became of its
/// questions and messages. What a client said last is an ask to the home of the question: `Mail::Farewell` is behind that. The outcome
/// is a tell from there to the worker's shard: `Mail::Forwarded` is behind that.
///
/// ```text
///  owes nothing --Farewell--> every shard --(has it from all)--Forwarded--> every shard --(has it from all)--> workers go
/// ```
#[derive(Default)]
pub(super) struct Farewells {
    /// This shard has said so.
    owes_nothing: bool,
    heard: u16,
    forwarded: u16,
}

/// Whom of the clients it has to tell yet, and how fast.
pub(super) struct Departures {
    /// In the order of chance, the next one last.
    left: Vec<Key>,
    count: usize,
    began: Tick,
    spread: Duration,
}

impl Departures {
    fn new(mut left: Vec<Key>, began: Tick, spread: Duration) -> Departures {
        // Neighbouring slots are clients of the same moment, and often of the same place.
        left.sort_unstable_by_key(|key| mix(key.to_bits()));
        let count = left.len();
        let quick =
            Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / limits::DRAIN_CLIENTS_PER_SECOND_MIN;
        Departures { left, count, began, spread: spread.min(quick) }
    }

    /// The next one whose time has come.
    fn next(&mut self, now: Tick) -> Option<Key> {
        let told = self.count - self.left.len();
        let due = self.began + self.spread * (told as u32) / (self.count.max(1) as u32);
        if due <= now { self.left.pop() } else { None }
    }

    /// When nobody is waited for any more.
    fn until(&self) -> Tick {
        self.began + self.spread + limits::DRAIN_GRACE
    }
}

impl Drain {
    /// No client is let in any more.
    pub fn has_closed_fronts(&self) -> bool {
        matches!(self, Drain::Clients(_) | Drain::Workers { .. })
    }

    /// And nobody else either.
    pub fn has_closed_all(&self) -> bool {
        matches!(self, Drain::Workers { .. })
    }

    /// When it goes on, if nothing completes before.
    pub fn deadline(&self, now: Tick) -> Tick {
        match self {
            Drain::No => Tick::NEVER,
            Drain::Notice { until } => *until,
            Drain::Clients(_) => now + limits::DRAIN_LOOK,
            Drain::Workers { until } if *until > now => *until,
            // Whoever was closed then is on the way out.
            Drain::Workers { .. } => now + limits::DRAIN_LOOK,
        }
    }
}

/// How long a drain takes at most: for those who wait for its end.
pub fn longest(settings: &Settings) -> Duration {
    settings.drain.notice + settings.drain.spread + 2 * limits::DRAIN_GRACE
}

impl<D: Driver> Shard<D> {
    /// Takes the drain a step further.
    pub(super) fn drain(&mut self) {
        let now = self.core.desk.now;
        match self.core.drain {
            Drain::Notice { until } if until <= now => {
                self.core.begin_departures();
                self.close_entrances(|door| door == Door::Front);
            }
            Drain::Clients(_) => {
                if self.core.send_away() {
                    self.core.drain = Drain::Workers { until: now + limits::DRAIN_GRACE };
                    self.close_entrances(|door| door != Door::Front);
                    self.core.send_all_away();
                }
            }
            Drain::Workers { until } if until <= now => self.core.break_all(|_| true),
            Drain::No | Drain::Notice { .. } | Drain::Workers { .. } => {}
        }
    }

    /// Whether the loop goes on.
    pub(super) fn is_over(&self) -> Turn {
        let Drain::Workers { until } = &self.core.drain else { return Turn::GoOn };
        // Mail that nobody takes is for a thread that does not end.
        let is_posted = self.core.desk.post.backlog() == 0 || *until <= self.core.desk.now;
        if self.core.desk.slots.is_empty() && is_posted { Turn::Over } else { Turn::GoOn }
    }

    /// Whoever comes later is refused by the kernel, or waits for the next process where that has the socket too.
    fn close_entrances(&mut self, is_meant: impl Fn(Door) -> bool) {
        for (index, listens) in self.listening.iter().enumerate() {
            let id = ListenerId(index as u16);
            if !is_meant(self.core.entrances[index].door) {
                continue;
            }
            match listens {
                Listens::No => {}
                Listens::Alone => self.driver.unlisten(id),
                Listens::ForNow => self.driver.pause_accept(id),
            }
            self.core.resting.retain(|(resting, _)| *resting != id);
        }
    }
}

/// How a shard listens at an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    No,
    Alone,
    /// The socket will be there after this process.
    ForNow,
}

impl Core {
    /// Told by the gateway.
    pub(super) fn begin_drain(&mut self) {
        if !matches!(self.drain, Drain::No) {
            return;
        }
        self.drain = Drain::Notice { until: self.desk.now + self.desk.settings.drain.notice };
        self.say_readiness(Readiness::Leaving);
        if self.desk.place.0 == 0 {
            self.tell_workers();
        }
    }

    /// What is shared does not change: from now on this shard has settings of its own.
    fn say_readiness(&mut self, readiness: Readiness) {
        self.desk.settings = Settings { readiness, ..(*self.desk.settings).clone() }.into();
    }

    fn tell_workers(&mut self) {
        let drain = self.desk.settings.drain;
        let payload = serde_json::json!({ "notice_s": drain.notice.as_secs(), "spread_s": drain.spread.as_secs() });
        let message = Message {
            subject: Subject::new(EVENT).expect("it is one"),
            reply: None,
            headers: None,
            payload: payload.to_string().into_bytes().into(),
        };
        self.publish(Publish::new(message, None));
    }

    fn begin_departures(&mut self) {
        self.say_readiness(Readiness::Closing);
        let clients = self.desk.slots.keys().filter(|key| self.desk.slots.get(*key).is_some_and(is_client)).collect();
        self.drain = Drain::Clients(Departures::new(clients, self.desk.now, self.desk.settings.drain.spread));
        self.features.drain();
    }

    /// Ends those whose time has come. True when there is no client any more, here or elsewhere, or no time.
    fn send_away(&mut self) -> bool {
        let now = self.desk.now;
        let Drain::Clients(departures) = &mut self.drain else { return false };
        let until = departures.until();
        let due: Vec<Key> = std::iter::from_fn(|| departures.next(now)).collect();
        due.into_iter().for_each(|key| self.depart(key));
        if until <= now {
            self.break_all(is_client);
        }
        // Until then the others' clients may need the channels and the workers of this shard.
        let clients: u64 = self.desk.counters.iter().map(|counters| counters.clients.value()).sum();
        let owes_nothing = clients == 0 && !self.features.owes_workers();
        if owes_nothing && !std::mem::replace(&mut self.farewells.owes_nothing, true) {
            self.desk.send_all(|| Mail::Farewell);
        }
        until <= now || self.farewells.forwarded == self.desk.post.mesh().shards()
    }

    /// A shard, maybe this one, will not say anything more to workers about clients.
    pub(super) fn farewell(&mut self) {
        self.farewells.heard += 1;
        if self.farewells.heard == self.desk.post.mesh().shards() {
            self.desk.send_all(|| Mail::Forwarded);
        }
    }

    /// What a shard, maybe this one, had to forward of that is with this shard's workers.
    pub(super) fn forwarded(&mut self) {
        self.farewells.forwarded += 1;
    }

    fn depart(&mut self, key: Key) {
        match self.desk.slots.get_mut(key).map(Conn::departure) {
            Some(Departure::Now) => self.end(key, CloseReason::Drain),
            Some(Departure::Mute) => self.desk.broken(key, CloseReason::Drain),
            Some(Departure::ByItself) | None => {}
        }
    }

    fn send_all_away(&mut self) {
        let keys: Vec<Key> = self.desk.slots.keys().collect();
        keys.into_iter().for_each(|key| self.depart(key));
    }

    fn break_all(&mut self, concerns: impl Fn(&Conn) -> bool) {
        let keys: Vec<Key> = self.desk.slots.keys().collect();
        for key in keys {
            if self.desk.slots.get(key).is_some_and(&concerns) {
                self.desk.broken(key, CloseReason::Drain);
            }
        }
    }
}

fn is_client(conn: &Conn) -> bool {
    conn.door == Door::Front
}
