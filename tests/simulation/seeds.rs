//! Which seeds a sweep runs: its usual ones, or those that the environment names.
//!
//! `TIDEGATE_SEEDS=from..to` names some, `TIDEGATE_SEED=n` one. A test's name chooses the sweep, as ever:
//! `TIDEGATE_SEED=7 cargo test --test simulation unacked`.

use std::ops::Range;

pub(super) fn seeds(usual: Range<u64>) -> Range<u64> {
    let one = variable("TIDEGATE_SEED", |text| text.parse().ok()).map(|seed| seed..seed + 1);
    one.or_else(|| variable("TIDEGATE_SEEDS", range)).unwrap_or(usual)
}

fn variable<T>(name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(parse(&text).unwrap_or_else(|| panic!("{name}={text} is not understood")))
}

fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}
