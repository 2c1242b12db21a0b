//! The drain of a shard: readiness fails first, then clients are disconnected, spread over time, then workers.
//!
//! ```text
//!  DrainMail::Begin --> Notice --(notice over)--> Clients --(farewells are said, or time is up)------> Workers --> over
//!  /ready: 503     everything is served      fronts closed, a client ended every so often        all told, fronts of
//!  tg.event.drain                            new requests: 503 and Retry-After                   workers closed
//! ```
//!
//! Each stage has an end, whatever the peers do: connections that are still open after [`limits::DRAIN_GRACE`] are
//! closed without last words.

use std::time::Duration;

use crate::base::{Key, Tick, mix};
use crate::conn::settings::{Readiness, Settings};
use crate::conn::{Conn, Departure, Door};
use crate::driver::Driver;
use crate::limits;
use crate::mesh::Mail;
use crate::mesh::drain::DrainMail;
use crate::proto::CloseReason;
use crate::proto::event::Message;
use crate::proto::reserved::subjects;

use super::desk::Desk;
use super::{Core, Shard, Turn};

#[derive(Default)]
pub(super) struct DrainProgress {
    stage: DrainStage,
    farewells: Farewells,
}

/// The stage of the drain.
#[derive(Default)]
enum DrainStage {
    #[default]
    No,
    /// Readiness fails; everything is still served.
    Notice {
        until: Tick,
    },
    /// Clients are disconnected; workers stay connected until no client is left.
    Clients(Departures),
    Workers {
        until: Tick,
    },
}

/// The exchange between shards when no client is left. It makes sure that a worker has received the outcome of its
/// questions and messages before it is disconnected. The last word of a client is an ask to the home of the question,
/// and `DrainMail::Farewell` follows it. The outcome is a tell from the home to the worker's shard, and
/// `DrainMail::Forwarded` follows that.
///
/// ```text
///  owes nothing --Farewell--> every shard --(has it from all)--Forwarded--> every shard --(has it from all)--> workers go
/// ```
#[derive(Default)]
struct Farewells {
    /// This shard has sent `Farewell`.
    owes_nothing: bool,
    heard: u16,
    forwarded: u16,
}

/// The clients that are still to be disconnected, and the pace.
struct Departures {
    /// In random order; the next one is the last entry.
    left: Vec<Key>,
    count: usize,
    began: Tick,
    spread: Duration,
}

impl Departures {
    fn new(mut left: Vec<Key>, began: Tick, spread: Duration) -> Departures {
        // Neighbouring slots are clients of one moment, and often of one place: mix them.
        left.sort_unstable_by_key(|key| mix(key.to_bits()));
        let count = left.len();
        let quick =
            Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / limits::DRAIN_CLIENTS_PER_SECOND_MIN;
        Departures { left, count, began, spread: spread.min(quick) }
    }

    /// The next client, if its time has come.
    fn next(&mut self, now: Tick) -> Option<Key> {
        let told = self.count - self.left.len();
        let due = self.began + self.spread * (told as u32) / (self.count.max(1) as u32);
        if due <= now { self.left.pop() } else { None }
    }

    /// The end of the grace.
    fn until(&self) -> Tick {
        self.began + self.spread + limits::DRAIN_GRACE
    }
}

/// The longest time that a drain takes, for callers that wait for its end.
pub fn longest(settings: &Settings) -> Duration {
    settings.generation.drain.notice + settings.generation.drain.spread + 2 * limits::DRAIN_GRACE
}

impl DrainProgress {
    /// New clients are refused.
    pub(super) fn has_closed_fronts(&self) -> bool {
        matches!(self.stage, DrainStage::Clients(_) | DrainStage::Workers { .. })
    }

    /// New workers and operators are refused, too.
    pub(super) fn has_closed_all(&self) -> bool {
        matches!(self.stage, DrainStage::Workers { .. })
    }

    /// When the next step of the drain is due, if nothing completes before.
    pub(super) fn deadline(&self, now: Tick) -> Tick {
        match &self.stage {
            DrainStage::No => Tick::NEVER,
            DrainStage::Notice { until } => *until,
            DrainStage::Clients(_) => now + limits::DRAIN_LOOK,
            DrainStage::Workers { until } if *until > now => *until,
            // The connections that were ended are still closing.
            DrainStage::Workers { .. } => now + limits::DRAIN_LOOK,
        }
    }

    pub(super) fn read(&mut self, desk: &mut Desk, mail: DrainMail) {
        match mail {
            DrainMail::Begin => self.begin(desk),
            DrainMail::Farewell => self.farewell(desk),
            DrainMail::Forwarded => self.farewells.forwarded += 1,
        }
    }

    fn begin(&mut self, desk: &mut Desk) {
        if !matches!(self.stage, DrainStage::No) {
            return;
        }
        self.stage = DrainStage::Notice { until: desk.now + desk.settings.generation.drain.notice };
        desk.settings.readiness = Readiness::Leaving;
        if desk.place.0 == 0 {
            tell_workers(desk);
        }
    }

    /// Advances the drain if its time has come, and returns the doors to close. `owes_workers`: a feature still owes
    /// workers an outcome.
    fn advance(&mut self, desk: &mut Desk, owes_workers: bool) -> Option<Closing> {
        let now = desk.now;
        match self.stage {
            DrainStage::Notice { until } if until <= now => {
                self.begin_departures(desk);
                Some(Closing::Fronts)
            }
            DrainStage::Clients(_) => self.send_away(desk, owes_workers).then(|| {
                self.stage = DrainStage::Workers { until: now + limits::DRAIN_GRACE };
                desk.slots.keys().collect::<Vec<Key>>().into_iter().for_each(|key| depart(desk, key));
                Closing::Others
            }),
            DrainStage::Workers { until } if until <= now => {
                break_all(desk, |_| true);
                None
            }
            _ => None,
        }
    }

    fn begin_departures(&mut self, desk: &mut Desk) {
        desk.settings.readiness = Readiness::Closing;
        let clients = desk.slots.keys().filter(|key| desk.slots.get(*key).is_some_and(is_client)).collect();
        self.stage = DrainStage::Clients(Departures::new(clients, desk.now, desk.settings.generation.drain.spread));
    }

    /// Disconnects the clients whose time has come. True when no client is left on any shard, or the time is over.
    fn send_away(&mut self, desk: &mut Desk, owes_workers: bool) -> bool {
        let now = desk.now;
        let DrainStage::Clients(departures) = &mut self.stage else { return false };
        let until = departures.until();
        while let Some(key) = departures.next(now) {
            depart(desk, key);
        }
        if until <= now {
            break_all(desk, is_client);
        }
        // Until then other shards' clients may need the channels and the workers of this shard.
        let clients: u64 = desk.counters.iter().map(|counters| counters.clients.value()).sum();
        let owes_nothing = clients == 0 && !owes_workers && desk.work.withdraw.is_empty();
        if owes_nothing && !std::mem::replace(&mut self.farewells.owes_nothing, true) {
            desk.send_all(|| Mail::Drain(DrainMail::Farewell));
        }
        until <= now || self.farewells.forwarded == desk.post.mesh().shards()
    }

    /// One shard, maybe this one, will send workers nothing more about clients.
    fn farewell(&mut self, desk: &mut Desk) {
        self.farewells.heard += 1;
        if self.farewells.heard == desk.post.mesh().shards() {
            desk.send_all(|| Mail::Drain(DrainMail::Forwarded));
        }
    }

    /// Whether everything is closed and sent.
    fn is_over(&self, desk: &Desk) -> bool {
        let DrainStage::Workers { until } = &self.stage else { return false };
        // Letters that stay in the post are for a thread that does not end.
        let is_posted = desk.post.backlog() == 0 || *until <= desk.now;
        desk.slots.is_empty() && is_posted
    }
}

/// The doors that a stage of the drain closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Fronts,
    Others,
}

fn tell_workers(desk: &mut Desk) {
    let drain = desk.settings.generation.drain;
    let payload = serde_json::json!({ "notice_s": drain.notice.as_secs(), "spread_s": drain.spread.as_secs() });
    desk.publish(Message::new(subjects::drain(), None, None, payload.to_string().into_bytes().into()));
}

fn depart(desk: &mut Desk, key: Key) {
    match desk.slots.get_mut(key).map(Conn::departure) {
        Some(Departure::Now) => desk.end(key, CloseReason::Drain),
        Some(Departure::Mute) => desk.broken(key, CloseReason::Drain),
        Some(Departure::ByItself) | None => {}
    }
}

fn break_all(desk: &mut Desk, concerns: impl Fn(&Conn) -> bool) {
    for key in desk.slots.keys().collect::<Vec<Key>>() {
        if desk.slots.get(key).is_some_and(&concerns) {
            desk.broken(key, CloseReason::Drain);
        }
    }
}

impl<D: Driver> Shard<D> {
    /// Advances the drain, and closes doors.
    pub(super) fn drain(&mut self) {
        let Core { desk, drain, features, .. } = &mut self.core;
        let owes_workers = features.owes_workers();
        let closing = drain.advance(desk, owes_workers);
        match closing {
            Some(Closing::Fronts) => {
                features.drain();
                self.core.entrances.close(&mut self.driver, |door| door == Door::Front);
            }
            Some(Closing::Others) => self.core.entrances.close(&mut self.driver, |door| door != Door::Front),
            None => {}
        }
    }

    /// Whether the loop goes on.
    pub(super) fn is_over(&self) -> Turn {
        if self.core.drain.is_over(&self.core.desk) { Turn::Over } else { Turn::GoOn }
    }
}

fn is_client(conn: &Conn) -> bool {
    conn.link.door() == Door::Front
}
