//! Whether a server is up: a judgement on the last probes.
//!
//! ```text
//!  up --`fall` failures in a row--> down        down --`rise` passes in a row--> up        one of the other kind: from the start
//! ```

use crate::proto::upstream::HealthRule;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    is_up: bool,
    /// Probes in a row that speak against it.
    against: u32,
}

impl Judgement {
    /// A server that has not been probed is up.
    pub(super) fn new() -> Judgement {
        Judgement { is_up: true, against: 0 }
    }

    pub(super) fn is_up(self) -> bool {
        self.is_up
    }

    /// The outcome of a probe. True if the verdict is another one now.
    pub(super) fn weigh(&mut self, has_passed: bool, rule: &HealthRule) -> bool {
        if has_passed == self.is_up {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let enough = if self.is_up { rule.fall } else { rule.rise };
        if self.against < enough {
            return false;
        }
        *self = Judgement { is_up: has_passed, against: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(outcomes: &str, rise: u32, fall: u32) -> String {
        let rule = HealthRule { rise, fall, ..HealthRule::new("/") };
        let mut verdict = Judgement::new();
        let weigh = |outcome| {
            let was_up = verdict.is_up();
            assert_eq!(verdict.weigh(outcome == '+', &rule), verdict.is_up() != was_up);
            if verdict.is_up() { 'U' } else { 'd' }
        };
        outcomes.chars().map(weigh).collect()
    }

    #[test]
    fn it_takes_some_in_a_row() {
        assert_eq!(verdicts("--+--- +--++".replace(' ', "").as_str(), 2, 3), "UUUUUdddddU");
        assert_eq!(verdicts("-+-+", 1, 1), "dUdU");
        assert_eq!(verdicts("+-+-+-+-", 2, 2), "UUUUUUUU", "one that flaps is as it was");
    }
}
