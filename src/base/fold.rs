//! Log lines that repeat, folded: the first at once, then one a minute with the count of those left out.
//!
//! ```text
//!  0 s  line        0.1 s … 59.9 s  left out        61 s  line (599 more were left out in the last 61 s)
//! ```
//!
//! For every line that a client or a lasting condition can cause again and again. Lines with equal keys count as the
//! same line.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Tick;
use crate::limits::{LOG_KEYS_MAX, LOG_REPEAT};

/// The lines that were logged lately. One for the process, shared by its threads; locked only for a line that may be
/// logged.
///
/// ```
/// # use tidegate::base::{Fold, Tick};
/// # let (fold, now, error) = (Fold::new(), Tick::ZERO, "no descriptors");
/// if let Some(left_out) = fold.say(&("accept failed", 0), now) {
///     log::warn!("accept failed: {error}{left_out}");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Fold(Mutex<FoldedLines>);

/// The number of lines that were left out since the last one. Displayed after the line: empty if there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub count: u64,
    pub since: Duration,
}

#[derive(Debug, Default)]
struct FoldedLines {
    lines: Vec<FoldedLine>,
    /// All keys that found no room in `lines` share this entry.
    others: Option<FoldedLine>,
}

#[derive(Debug)]
struct FoldedLine {
    /// The hash of the key: clients choose the content of keys, and their length.
    key: u64,
    said: Tick,
    left_out: u64,
}

impl Fold {
    pub fn new() -> Fold {
        Fold::default()
    }

    /// Whether the line of `key` should be logged now, and the text to put after it.
    pub fn say(&self, key: &impl Hash, now: Tick) -> Option<LeftOut> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).say(hasher.finish(), now)
    }
}

impl FoldedLines {
    fn say(&mut self, key: u64, now: Tick) -> Option<LeftOut> {
        if let Some(line) = self.lines.iter_mut().find(|line| line.key == key) {
            return line.say_again(now);
        }
        if self.make_room(now) {
            self.lines.push(FoldedLine::new(key, now));
            return Some(LeftOut::NONE);
        }
        match &mut self.others {
            Some(others) => others.say_again(now),
            None => {
                self.others = Some(FoldedLine::new(key, now));
                Some(LeftOut::NONE)
            }
        }
    }

    /// Forgets the line that was logged longest ago, if there is no room otherwise. Its left-out lines are counted with
    /// the others.
    fn make_room(&mut self, now: Tick) -> bool {
        if self.lines.len() < LOG_KEYS_MAX {
            return true;
        }
        let oldest = (0..self.lines.len()).min_by_key(|at| self.lines[*at].said);
        let Some(oldest) = oldest.filter(|at| self.lines[*at].may_be_said(now)) else { return false };
        let forgotten = self.lines.swap_remove(oldest);
        match &mut self.others {
            Some(others) => others.left_out += forgotten.left_out,
            None if forgotten.left_out > 0 => self.others = Some(forgotten),
            None => {}
        }
        true
    }
}

impl FoldedLine {
    fn new(key: u64, now: Tick) -> FoldedLine {
        FoldedLine { key, said: now, left_out: 0 }
    }

    fn may_be_said(&self, now: Tick) -> bool {
        now.since(self.said) >= LOG_REPEAT
    }

    fn say_again(&mut self, now: Tick) -> Option<LeftOut> {
        if !self.may_be_said(now) {
            self.left_out += 1;
            return None;
        }
        let left_out = LeftOut { count: self.left_out, since: now.since(self.said) };
        *self = FoldedLine::new(self.key, now);
        Some(left_out)
    }
}

impl LeftOut {
    /// The line is the first, or is never folded.
    pub const NONE: LeftOut = LeftOut { count: 0, since: Duration::ZERO };
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.since.as_secs()) {
            (0, _) => Ok(()),
            (1, seconds) => write!(f, " (1 more was left out in the last {seconds} s)"),
            (count, seconds) => write!(f, " ({count} more were left out in the last {seconds} s)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(1_000 * seconds)
    }

    /// The text after the line, if the line is logged.
    fn said(fold: &Fold, key: &impl Hash, now: Tick) -> Option<String> {
        fold.say(key, now).map(|left_out| left_out.to_string())
    }

    #[test]
    fn the_first_line_is_said_at_once_and_then_one_a_minute_with_the_count() {
        let fold = Fold::new();
        assert_eq!(said(&fold, &"accept", at(5)).as_deref(), Some(""));
        for tenth in 1..600 {
            assert_eq!(said(&fold, &"accept", at(5) + Duration::from_millis(100 * tenth)), None);
        }
        let second = " (599 more were left out in the last 60 s)";
        assert_eq!(said(&fold, &"accept", at(65)).as_deref(), Some(second));
        assert_eq!(said(&fold, &"accept", at(66)), None);
        assert_eq!(said(&fold, &"accept", at(200)).as_deref(), Some(" (1 more was left out in the last 135 s)"));
        assert_eq!(said(&fold, &"accept", at(300)).as_deref(), Some(""), "nothing was left out");
    }

    #[test]
    fn another_key_is_another_line() {
        let fold = Fold::new();
        assert!(said(&fold, &("origin", "https://a.example"), at(0)).is_some());
        assert!(said(&fold, &("origin", "https://b.example"), at(0)).is_some());
        assert!(said(&fold, &("origin", "https://a.example"), at(1)).is_none());
    }

    #[test]
    fn a_stranger_who_chooses_ever_new_keys_gets_a_bounded_number_of_lines() {
        let fold = Fold::new();
        let count = |from: u64, now: Tick| (from..from + 10_000).filter_map(|key| said(&fold, &key, now)).count();
        assert_eq!(count(0, at(0)), LOG_KEYS_MAX + 1, "the others are one line");
        assert_eq!(count(10_000, at(59)), 0);
        let later: Vec<String> = (20_000..30_000).filter_map(|key| said(&fold, &key, at(60))).collect();
        assert_eq!(later.len(), LOG_KEYS_MAX + 1);
        let left_out = 2 * 10_000 - LOG_KEYS_MAX - 1;
        assert_eq!(later[LOG_KEYS_MAX], format!(" ({left_out} more were left out in the last 60 s)"));
    }

    #[test]
    fn what_was_left_out_of_a_forgotten_line_is_told_with_the_others() {
        let fold = Fold::new();
        (0..3).for_each(|_| _ = said(&fold, &"forgotten", at(0)));
        (0..LOG_KEYS_MAX as u64).for_each(|key| assert_eq!(said(&fold, &key, at(60)).as_deref(), Some("")));
        assert_eq!(said(&fold, &"another", at(61)).as_deref(), Some(" (2 more were left out in the last 61 s)"));
    }

    #[test]
    fn threads_whose_clocks_differ_by_a_turn_do_not_matter() {
        let fold = Fold::new();
        assert!(said(&fold, &1, at(10)).is_some());
        assert!(said(&fold, &1, at(9)).is_none());
    }
}
