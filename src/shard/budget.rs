//! The budget of a turn, so that no client's input makes another client wait.
//!
//! ```text
//!  each has a share:   completions | tells | asks | deadlines | ends | paused input | features | fan-outs in pieces | sends
//!                                                                          |
//!                                                                          one connection after another has a quantum
//! ```
//!
//! Work is counted in units; one unit is about a delivery to one subscriber. A share is spent when its units or its time
//! are; what is left over goes on in the next turn, in its order. The count makes a share the same in every run, so that
//! the simulator can test it; the time holds whatever a unit costs on this machine.
//!
//! A connection's quantum is counted alone. It also pays for what its input has caused: the deliveries of a
//! fan-out that is done in pieces. So a publisher into a large room is read more slowly than others.

use std::time::Duration;

use crate::base::{Place, Tick};
use crate::hub::Subscribers;
use crate::limits;

use super::counters::Counters;

/// The bounds on the work of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Units of each kind of work.
    pub share: u64,
    pub share_time: Duration,
    /// Units of one client's input, before other connections are read.
    pub quantum: u64,
    /// The same for a worker.
    pub worker_quantum: u64,
    /// A fan-out to more clients is done in pieces of this size.
    pub fan_out_at_once: usize,
    /// A connection that ends with more subscriptions is done with in pieces.
    pub withdrawn_at_once: usize,
    /// While more deliveries of such fan-outs are still to come, their publishers are not read.
    pub owed_max: usize,
}

/// The kinds of work in a turn: completions, tells, asks, deadlines, ends, paused input, features, fan-outs, and two lists of sends.
const SHARES: u64 = 10;

impl Budget {
    /// Whether a shard owes so much that publishers into large rooms are not read.
    fn is_exceeded(&self, deliveries: u64, bytes: u64) -> bool {
        deliveries > self.owed_max as u64 || bytes > limits::OWED_BYTES_MAX
    }

    /// Units that one turn does at most. A share ends after the piece of work that has spent it: the largest are what one
    /// receive brings, with a quantum, a step with a token and a fan-out that is done at once; and the handshakes of a turn.
    pub fn turn_max(&self) -> u64 {
        let receive = limits::COMPLETION_UNITS + of_received(limits::RECEIVE_BYTES);
        let step = self.fan_out_at_once as u64 + limits::TOKEN_UNITS;
        let piece = receive + self.quantum.max(self.worker_quantum) + step;
        SHARES * (self.share + piece) + limits::HANDSHAKES_PER_TURN as u64 * HANDSHAKE_UNITS
    }
}

/// Units of the records of one handshake that are read in a turn, at most, and of the first step after it.
const HANDSHAKE_UNITS: u64 = 8 * limits::RECORD_UNITS;

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            share: limits::SHARE_UNITS,
            share_time: limits::SHARE_TIME,
            quantum: limits::QUANTUM_UNITS,
            worker_quantum: limits::WORKER_QUANTUM_UNITS,
            fan_out_at_once: limits::FAN_OUT_AT_ONCE,
            withdrawn_at_once: limits::WITHDRAWN_AT_ONCE,
            owed_max: limits::DELIVERIES_OWED_MAX,
        }
    }
}

/// Units of bytes that were received, besides those of the completion and of the steps that they cause: bytes that are kept
/// are copied, often to memory that the kernel has to make first.
pub(super) fn of_received(bytes: usize) -> u64 {
    bytes as u64 / limits::BYTES_PER_UNIT
}

/// The work that a shard has done, and the share and the quantum that are being spent.
pub(super) struct Meter {
    pub budget: Budget,
    /// Units done since the shard began.
    done: u64,
    /// Units that were caused, to be done later.
    caused: u64,
    share_end: u64,
    /// Whether the share is spent is looked at when so many units are done: at its end, or to read the clock.
    look_at: u64,
    /// When the time of the share is over; `None` before its first look at the clock.
    until: Option<Tick>,
    quantum_end: u64,
    /// What was caused before the quantum began.
    caused_before: u64,
    is_another_behind: bool,
}

impl Meter {
    pub(super) fn new(budget: Budget) -> Meter {
        Meter {
            budget,
            done: 0,
            caused: 0,
            share_end: 0,
            look_at: 0,
            until: None,
            quantum_end: 0,
            caused_before: 0,
            is_another_behind: false,
        }
    }

    /// Counts work.
    #[inline]
    pub(super) fn spend(&mut self, units: u64) {
        self.done += units;
    }

    /// Counts work that is done later, or by another shard: the connection that is being read pays for it, not the share.
    pub(super) fn cause(&mut self, units: u64) {
        self.caused += units;
    }

    /// How many sends are done before the share is looked at.
    pub(super) fn sends_per_round(&self) -> usize {
        limits::SENDS_PER_ROUND.min(1 + (self.budget.share / limits::SEND_UNITS) as usize)
    }

    /// Another kind of work begins.
    #[inline]
    pub(super) fn begin_share(&mut self) {
        self.share_end = self.done + self.budget.share;
        self.look_again();
        self.until = None;
    }

    /// Whether the share is spent. Called after each piece of work, so that every share does at least one.
    #[inline]
    pub(super) fn is_share_spent(&mut self, clock: impl FnOnce() -> Tick) -> bool {
        self.done >= self.look_at && (self.done >= self.share_end || self.look(clock()))
    }

    fn look(&mut self, now: Tick) -> bool {
        let until = *self.until.get_or_insert(now + self.budget.share_time);
        if now >= until {
            self.share_end = self.done;
        } else {
            self.look_again();
        }
        now >= until
    }

    fn look_again(&mut self) {
        self.look_at = self.share_end.min(self.done + limits::CLOCK_UNITS);
    }

    /// The input of a connection is about to be read.
    #[inline]
    pub(super) fn begin_quantum(&mut self, is_worker: bool) {
        let quantum = if is_worker { self.budget.worker_quantum } else { self.budget.quantum };
        self.quantum_end = self.done + self.caused + quantum;
        self.caused_before = self.caused;
    }

    /// Whether other connections are to be read before this one goes on.
    #[inline]
    pub(super) fn is_quantum_spent(&self) -> bool {
        self.done + self.caused >= self.quantum_end
    }

    /// Whether the connection that is being read has caused work that is still to be done.
    pub(super) fn has_caused(&self) -> bool {
        self.caused > self.caused_before
    }

    /// Looks whether another shard owes too many deliveries. Once a turn: the answer is in another core's memory.
    pub(super) fn look_at_others(&mut self, own: Place, counters: &[Counters]) {
        let mut others = counters.iter().enumerate().filter(|(index, _)| *index != own.index());
        self.is_another_behind = others.any(|(_, counters)| {
            self.budget.is_exceeded(counters.deliveries_owed.value(), counters.owed_bytes.value())
        });
    }

    /// Whether another shard owed too many deliveries when this turn began.
    pub(super) fn is_another_behind(&self) -> bool {
        self.is_another_behind
    }

    /// Whether so many deliveries of large fan-outs are still to come, here or on another shard, that their publishers are not
    /// read.
    pub(super) fn is_behind(&self, subscribers: &Subscribers) -> bool {
        let owed = subscribers.owed();
        self.is_another_behind || self.budget.is_exceeded(owed.deliveries as u64, owed.bytes as u64)
    }

    /// Units done since the shard began.
    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(share: u64, quantum: u64) -> Meter {
        Meter::new(Budget { share, share_time: Duration::from_millis(4), quantum, ..Budget::default() })
    }

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn a_share_is_spent_with_its_units_or_with_its_time() {
        let mut meter = meter(10 * limits::CLOCK_UNITS, 1);
        meter.begin_share();
        meter.spend(10 * limits::CLOCK_UNITS - 1);
        assert!(!meter.is_share_spent(|| at(0)));
        meter.spend(1);
        assert!(meter.is_share_spent(|| at(0)));
        meter.begin_share();
        assert!(!meter.is_share_spent(|| panic!("the clock is read seldom")));
        for (now, is_spent) in [(100, false), (103, false), (104, true)] {
            meter.spend(limits::CLOCK_UNITS);
            assert_eq!(meter.is_share_spent(|| at(now)), is_spent);
        }
        assert!(meter.is_share_spent(|| panic!("it is known")), "a spent share stays spent");
    }

    #[test]
    fn a_shard_is_behind_with_deliveries_or_with_bytes() {
        let budget = Budget { owed_max: 10, ..Budget::default() };
        assert!(!budget.is_exceeded(10, limits::OWED_BYTES_MAX));
        assert!(budget.is_exceeded(11, 0));
        assert!(budget.is_exceeded(0, limits::OWED_BYTES_MAX + 1));
    }

    #[test]
    fn a_connection_pays_for_what_it_has_caused_and_others_do_not() {
        let mut meter = meter(1_000, 10);
        meter.begin_quantum(false);
        meter.spend(9);
        assert!(!meter.is_quantum_spent() && !meter.has_caused());
        meter.cause(8_000);
        assert!(meter.is_quantum_spent() && meter.has_caused());
        meter.begin_quantum(false);
        assert!(!meter.is_quantum_spent() && !meter.has_caused());
        meter.begin_quantum(true);
        meter.spend(10);
        assert!(!meter.is_quantum_spent(), "workers have more");
    }
}
