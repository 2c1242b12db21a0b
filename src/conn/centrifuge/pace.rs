//! The pace of a client: what its commands cost, and the tokens that it was refused.
//!
//! ```text
//!  a command ----- 1 --.       rises by what each costs,
//!  a subscription  5 --+--> |#######······|  falls with time:    above COMMAND_CREDIT the client rests:
//!  a token ------ 20 --'     the level       commands_per_second   it is not read until the level has fallen
//!
//!  a token refused ------> |##··········|  falls by one each      above TOKENS_REFUSED_MAX the connection ends
//!                            the level       TOKEN_REFUSED_FORGIVEN
//! ```
//!
//! A client that is merely fast is read more slowly, and notices nothing else. A client whose tokens are refused costs a
//! signature check each time, and gains nothing.

use std::time::Duration;

use crate::base::Tick;
use crate::limits;
use crate::proto::token::TokenRefusal;

#[derive(Clone, Copy, Default)]
pub(super) struct Pace {
    work: Level,
    refused: Level,
    /// When it may go on, while it rests; otherwise zero.
    rests_until: Tick,
}

/// A level that falls with time, by a second each second.
#[derive(Clone, Copy, Default)]
struct Level {
    empty_at: Tick,
}

impl Level {
    fn rise(&mut self, cost: Duration, now: Tick) {
        self.empty_at = self.empty_at.max(now) + cost;
    }

    /// When the level will have fallen to this height.
    fn falls_to(&self, height: Duration) -> Tick {
        Tick::ZERO + self.empty_at.since(Tick::ZERO + height)
    }
}

impl Pace {
    /// The client has given work that costs as much as this many commands.
    pub(super) fn spend(&mut self, commands: u32, per_second: u32, now: Tick) {
        self.work.rise(Duration::from_secs(1) * commands / per_second.max(1), now);
        let until = self.work.falls_to(limits::COMMAND_CREDIT);
        if until > now {
            self.rests_until = until;
        }
    }

    /// A token was refused: true if the connection has to end.
    pub(super) fn refuse(&mut self, refused: TokenRefusal, now: Tick) -> bool {
        let cost = match refused {
            TokenRefusal::Missing => return false,
            TokenRefusal::Expired | TokenRefusal::NotYetValid | TokenRefusal::Unsettled => {
                limits::TOKEN_REFUSED_FORGIVEN / limits::TOKENS_EXPIRED_PER_REFUSED
            }
            TokenRefusal::Invalid(_) => limits::TOKEN_REFUSED_FORGIVEN,
        };
        self.refused.rise(cost, now);
        self.refused.falls_to(limits::TOKEN_REFUSED_FORGIVEN * limits::TOKENS_REFUSED_MAX) > now
    }

    /// Whether the next command has to wait.
    pub(super) fn is_resting(&self) -> bool {
        self.rests_until > Tick::ZERO
    }

    /// When [`Pace::on_deadline`] must be called.
    pub(super) fn deadline(&self) -> Tick {
        if self.is_resting() { self.rests_until } else { Tick::NEVER }
    }

    pub(super) fn on_deadline(&mut self, now: Tick) {
        if self.rests_until <= now {
            self.rests_until = Tick::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::token::TokenFault;

    const PER_SECOND: u32 = 100;

    #[test]
    fn a_fast_client_rests_until_it_is_within_its_pace_again() {
        let (mut pace, mut now) = (Pace::default(), Tick::from_millis(7));
        let credit = limits::COMMAND_CREDIT.as_secs() as u32 * PER_SECOND;
        (0..credit).for_each(|_| pace.spend(1, PER_SECOND, now));
        assert!(!pace.is_resting(), "a burst is no offence");
        pace.spend(3, PER_SECOND, now);
        let until = now + Duration::from_millis(30);
        assert_eq!((pace.is_resting(), pace.deadline()), (true, until));
        pace.on_deadline(Tick::from_millis(36));
        assert!(pace.is_resting());
        pace.on_deadline(until);
        assert_eq!((pace.is_resting(), pace.deadline()), (false, Tick::NEVER));
        for _ in 0..1_000 {
            now = now + Duration::from_millis(10);
            pace.spend(1, PER_SECOND, now);
            pace.on_deadline(now + Duration::from_millis(30));
            assert!(!pace.is_resting(), "what it may do, it may do for ever");
        }
    }

    #[test]
    fn tokens_without_a_good_signature_end_a_connection_sooner_than_expired_ones() {
        let end = |refused: TokenRefusal, apart: Duration| {
            let (mut pace, mut now) = (Pace::default(), Tick::ZERO);
            let count = (0..10_000).position(|_| {
                now = now + apart;
                pace.refuse(refused, now)
            });
            count.map(|count| count as u32)
        };
        let invalid = TokenRefusal::Invalid(TokenFault::Form);
        assert_eq!(end(invalid, Duration::ZERO), Some(limits::TOKENS_REFUSED_MAX));
        let expired = limits::TOKENS_REFUSED_MAX * limits::TOKENS_EXPIRED_PER_REFUSED;
        assert_eq!(end(TokenRefusal::Expired, Duration::ZERO), Some(expired));
        assert_eq!(end(TokenRefusal::Missing, Duration::ZERO), None, "it costs nothing");
        assert_eq!(end(invalid, limits::TOKEN_REFUSED_FORGIVEN), None, "now and then one is refused in good faith");
    }
}
