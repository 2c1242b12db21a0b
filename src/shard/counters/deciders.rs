//! Counters of the decisions of the application about its clients, by decider.

use std::fmt::Write;

use super::{Counters, Label};
use crate::base::counters::Counter;
use crate::conn::decisions::{Decider, DecisionOutcome, Decisions};

/// Of one decider, by outcome.
pub(super) struct DeciderCounters {
    name: Box<str>,
    outcomes: [Counter; DecisionOutcome::ALL.len()],
}

pub(super) fn of(deciders: &[Decider]) -> Box<[DeciderCounters]> {
    deciders
        .iter()
        .map(|decider| DeciderCounters { name: decider.name().into(), outcomes: Default::default() })
        .collect()
}

impl Counters {
    /// Shows what the shard has counted.
    pub(crate) fn measure_deciders(&self, decisions: &Decisions) {
        for (index, decider) in self.deciders.iter().enumerate() {
            for (outcome, counter) in DecisionOutcome::ALL.into_iter().zip(&decider.outcomes) {
                counter.set(decisions.count(index, outcome));
            }
        }
    }
}

pub(super) fn render<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters>) {
    let lines =
        shards.enumerate().flat_map(|(shard, counters)| counters.deciders.iter().map(move |decider| (shard, decider)));
    let mut has_head = false;
    for (shard, DeciderCounters { name, outcomes }) in lines {
        if !std::mem::replace(&mut has_head, true) {
            text.push_str(
                "# HELP tidegate_decisions_total Decisions of the application about clients, by what came of them.\n\
                 # TYPE tidegate_decisions_total counter\n",
            );
        }
        for (outcome, counter) in DecisionOutcome::ALL.into_iter().zip(outcomes) {
            let (name, word, count) = (Label(name), outcome.word(), counter.value());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "tidegate_decisions_total{{shard=\"{shard}\",decider=\"{name}\",outcome=\"{word}\"}} {count}"
            );
        }
    }
}
