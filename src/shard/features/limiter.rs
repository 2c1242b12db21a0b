//! What limits for strangers ask of open connections (`[[limit]]`): streams are released when they end, and a client that
//! sends messages too fast is not read for a while.
//!
//! ```text
//!  a message --> conn::quota --Fits--> taken
//!                    |---RestUntil--> taken; the client rests: not read, and entered here --time--> read on
//!                    '---End--------> 1008
//! ```
//!
//! A client that keeps its rate has no entry: only resting ones cost memory, and a timer.

use std::collections::{BTreeSet, HashMap};

use crate::base::{Key, Tick};
use crate::conn::quota::{CountedStream, MessageRuling};
use crate::proto::CloseReason;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::Desk;
use crate::shard::desk::excess::{count_excess, usage_of};

#[derive(Default)]
pub(in crate::shard) struct Limiter {
    /// Clients that rest, by the time at which they are read on; one entry each.
    resting: BTreeSet<(Tick, Key)>,
    until: HashMap<Key, Tick>,
}

impl Limiter {
    pub(crate) fn new(_: &Parts) -> Limiter {
        Limiter::default()
    }

    /// Whether a message of the client is taken. Without limits that is one comparison.
    #[inline]
    pub(crate) fn takes_message(&mut self, desk: &mut Desk, key: Key) -> bool {
        match &desk.settings.generation.quotas {
            None => true,
            Some(quotas) => !quotas.has_messages() || self.charge(desk, key),
        }
    }

    fn charge(&mut self, desk: &mut Desk, key: Key) -> bool {
        let (Some(quotas), Some(conn)) = (&desk.settings.generation.quotas, desk.slots.get_mut(key)) else {
            return true;
        };
        let ip = conn.link.peer().ip();
        match quotas.message(&usage_of(conn, &desk.settings, true), desk.now) {
            MessageRuling::Fits => true,
            MessageRuling::RestUntil(until, excess) => {
                conn.session.is_resting = true;
                // A frame may have several commands: the last one has waited for the longest.
                if let Some(earlier) = self.until.insert(key, until) {
                    self.resting.remove(&(earlier, key));
                }
                self.resting.insert((until, key));
                count_excess(desk, excess, ip);
                true
            }
            MessageRuling::End(excess) => {
                count_excess(desk, excess, ip);
                desk.end(key, CloseReason::MessageLimit);
                false
            }
        }
    }

    /// A client of the client protocol has connected: its user may be known only now. The reason if that is one connection too
    /// many.
    pub(crate) fn client_named(&mut self, desk: &mut Desk, key: Key) -> Result<(), CloseReason> {
        let Some(quotas) = &desk.settings.generation.quotas else { return Ok(()) };
        let Some(conn) = desk.slots.get_mut(key) else { return Ok(()) };
        if conn.session.who().0.is_none() || conn.session.counted.stream() != CountedStream::ByRoute {
            return Ok(());
        }
        let ip = conn.link.peer().ip();
        match quotas.user_came(&usage_of(conn, &desk.settings, true), desk.now) {
            Ok(()) => {
                conn.session.counted.set_stream(CountedStream::ByRouteAndUser);
                Ok(())
            }
            Err(excess) => {
                count_excess(desk, excess, ip);
                Err(excess.measure.reason())
            }
        }
    }
}

impl Feature for Limiter {
    fn connection_ends(&mut self, desk: &mut Desk, key: Key) {
        let Some(quotas) = &desk.settings.generation.quotas else { return };
        let Some(conn) = desk.slots.get_mut(key) else { return };
        let stream = conn.session.counted.stream();
        if stream != CountedStream::No {
            let usage = usage_of(conn, &desk.settings, stream == CountedStream::ByRouteAndUser);
            quotas.stream_gone(&usage, conn.session.counted.standing());
            conn.session.counted.set_stream(CountedStream::No);
        }
    }

    fn connection_ended(&mut self, _: &mut Desk, key: Key) {
        if let Some(until) = self.until.remove(&key) {
            self.resting.remove(&(until, key));
        }
    }

    fn work(&mut self, desk: &mut Desk) -> bool {
        let Some((until, key)) = self.resting.first().copied().filter(|(until, _)| *until <= desk.now) else {
            return false;
        };
        self.resting.remove(&(until, key));
        self.until.remove(&key);
        if let Some(conn) = desk.slots.get_mut(key) {
            conn.session.is_resting = false;
            desk.work.resume.push_back(key);
        }
        true
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.resting.first().map_or(Tick::NEVER, |(until, _)| *until)
    }

    fn count(&self, census: &mut Census) {
        census.resting = self.resting.len();
    }
}
