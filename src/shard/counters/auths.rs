//! Counters of the credentials that clients show, by `[[auth]]`.

use std::fmt::Write;

use super::{Counters, Label};
use crate::base::counters::Counter;
use crate::conn::auth::{AuthOutcome, Auths, Proofs};

/// Of one auth, by outcome.
pub(super) struct AuthCounters {
    name: Box<str>,
    outcomes: [Counter; AuthOutcome::ALL.len()],
}

pub(super) fn of(auths: &Auths) -> Box<[AuthCounters]> {
    auths.names().map(|name| AuthCounters { name: name.into(), outcomes: Default::default() }).collect()
}

impl Counters {
    /// Shows what the shard has counted.
    pub(crate) fn measure_auths(&self, proofs: &Proofs) {
        for (index, auth) in self.auths.iter().enumerate() {
            for (outcome, counter) in AuthOutcome::ALL.into_iter().zip(&auth.outcomes) {
                counter.set(proofs.count(index, outcome));
            }
        }
    }
}

pub(super) fn render<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters>) {
    let lines = shards.enumerate().flat_map(|(shard, counters)| counters.auths.iter().map(move |auth| (shard, auth)));
    let mut has_head = false;
    for (shard, AuthCounters { name, outcomes }) in lines {
        if !std::mem::replace(&mut has_head, true) {
            text.push_str(
                "# HELP tidegate_auth_total Requests and refreshes of clients that an auth has looked at, by what came of it.\n\
                 # TYPE tidegate_auth_total counter\n",
            );
        }
        for (outcome, counter) in AuthOutcome::ALL.into_iter().zip(outcomes) {
            let (name, word, count) = (Label(name), outcome.word(), counter.value());
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "tidegate_auth_total{{shard=\"{shard}\",auth=\"{name}\",outcome=\"{word}\"}} {count}");
        }
    }
}
