//! Pings at the interval that the client was told. It relies on them, even if other frames are sent.
//!
//! ```text
//!  |-- interval --|-- interval --|-- interval --|
//!  P              P              P                 heard() between: alive
//!  |--- PONG_TIMEOUT without a byte ---> NoPong
//! ```

use std::time::Duration;

use crate::base::Tick;
use crate::limits::PONG_TIMEOUT;
use crate::proto::CloseReason;

pub(super) struct Rhythm {
    next: Tick,
    /// The deadline for an answer to the oldest unanswered ping.
    awaited: Option<Tick>,
}

impl Rhythm {
    /// The first ping is early by `part` of 256 of half an interval, so that clients that connected together are not
    /// pinged together.
    pub(super) fn new(interval: Duration, part: u8, now: Tick) -> Rhythm {
        Rhythm { next: now + (interval - interval / 512 * u32::from(part)), awaited: None }
    }

    /// Any bytes count as an answer.
    pub(super) fn heard(&mut self) {
        self.awaited = None;
    }

    pub(super) fn deadline(&self) -> Tick {
        self.awaited.map_or(self.next, |awaited| awaited.min(self.next))
    }

    /// Whether a ping is due.
    pub(super) fn on_deadline(&mut self, interval: Duration, now: Tick) -> Result<bool, CloseReason> {
        if self.awaited.is_some_and(|awaited| awaited <= now) {
            return Err(CloseReason::NoPong);
        }
        if self.next > now {
            return Ok(false);
        }
        self.next = now + interval;
        self.awaited.get_or_insert(now + PONG_TIMEOUT);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[test]
    fn pings_at_its_interval_whatever_is_heard() {
        let mut rhythm = Rhythm::new(INTERVAL, 0, Tick::ZERO);
        for _ in 0..9 {
            let due = rhythm.deadline();
            assert_eq!(rhythm.on_deadline(INTERVAL, due), Ok(true));
            assert_eq!(rhythm.on_deadline(INTERVAL, due), Ok(false));
            rhythm.heard();
            assert_eq!(rhythm.deadline(), due + INTERVAL);
        }
    }

    #[test]
    fn gives_up_after_the_oldest_ping_without_an_answer() {
        let mut rhythm = Rhythm::new(INTERVAL, 255, Tick::ZERO);
        let first = rhythm.deadline();
        assert!(first < Tick::ZERO + INTERVAL && first > Tick::ZERO + INTERVAL / 2);
        while rhythm.deadline() < first + PONG_TIMEOUT {
            assert_eq!(rhythm.on_deadline(INTERVAL, rhythm.deadline()), Ok(true));
        }
        assert_eq!(rhythm.on_deadline(INTERVAL, first + PONG_TIMEOUT), Err(CloseReason::NoPong));
    }
}
