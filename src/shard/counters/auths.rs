//! Counters of the credentials that clients show, by `[[auth]]`.

use std::fmt::Write;

use super::{Counters, Label};
use crate::base::counters::Counter;
use crate::conn::auth::{AuthOutcome, Auths, Proofs};
use crate::conn::published::PublishedKeys;
use crate::conn::route::AuthId;
use crate::mesh::keys::FetchFault;

/// Of one auth, by outcome.
pub(super) struct AuthCounters {
    name: Box<str>,
    outcomes: [Counter; AuthOutcome::ALL.len()],
    /// Where its keys are published; one shard counts for the process.
    fetches: Option<FetchCounters>,
}

#[derive(Default)]
struct FetchCounters {
    succeeded: Counter,
    failed: [Counter; FetchFault::ALL.len()],
    /// When the keys were fetched, in seconds of Unix time; 0 for never.
    fetched_s: Counter,
}

pub(super) fn of(auths: &Auths) -> Box<[AuthCounters]> {
    let counters = |(name, is_published): (&str, bool)| AuthCounters {
        name: name.into(),
        outcomes: Default::default(),
        fetches: is_published.then(FetchCounters::default),
    };
    auths.iter().map(counters).collect()
}

impl Counters {
    /// A fetch of an auth's keys has ended.
    pub(crate) fn fetched(&self, auth: AuthId, keys: &Result<PublishedKeys, FetchFault>) {
        let Some(fetches) = self.auths.get(usize::from(auth.0)).and_then(|auth| auth.fetches.as_ref()) else { return };
        match keys {
            Ok(keys) => {
                fetches.succeeded.add(1);
                fetches.fetched_s.set(keys.fetched_s);
            }
            Err(fault) => fetches.failed[*fault as usize].add(1),
        }
    }

    /// Shows what the shard has counted.
    pub(crate) fn measure_auths(&self, proofs: &Proofs) {
        for (index, auth) in self.auths.iter().enumerate() {
            for (outcome, counter) in AuthOutcome::ALL.into_iter().zip(&auth.outcomes) {
                counter.set(proofs.count(index, outcome));
            }
        }
    }
}

pub(super) fn render<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters> + Clone) {
    render_fetches(text, shards.clone().take(1));
    let lines = shards.enumerate().flat_map(|(shard, counters)| counters.auths.iter().map(move |auth| (shard, auth)));
    let mut has_head = false;
    for (shard, AuthCounters { name, outcomes, .. }) in lines {
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

/// Of the shard that counts for all.
fn render_fetches<'a>(text: &mut String, shard: impl Iterator<Item = &'a Counters> + Clone) {
    let all = || shard.clone().flat_map(|counters| &counters.auths);
    let published = || all().filter_map(|auth| Some((Label(&auth.name), auth.fetches.as_ref()?)));
    if published().next().is_none() {
        return;
    }
    text.push_str(
        "# HELP tidegate_key_fetches_total Fetches of the keys that an issuer publishes, by what came of them.\n\
         # TYPE tidegate_key_fetches_total counter\n",
    );
    for (name, fetches) in published() {
        let failed = FetchFault::ALL.into_iter().zip(&fetches.failed).map(|(fault, count)| (fault.word(), count));
        for (word, count) in std::iter::once(("fetched", &fetches.succeeded)).chain(failed) {
            let _ =
                writeln!(text, "tidegate_key_fetches_total{{auth=\"{name}\",outcome=\"{word}\"}} {}", count.value());
        }
    }
    text.push_str(
        "# HELP tidegate_keys_fetched_seconds When the keys that an issuer publishes were fetched, in seconds of Unix time; 0: never.\n\
         # TYPE tidegate_keys_fetched_seconds gauge\n",
    );
    for (name, fetches) in published() {
        let _ = writeln!(text, "tidegate_keys_fetched_seconds{{auth=\"{name}\"}} {}", fetches.fetched_s.value());
    }
}
