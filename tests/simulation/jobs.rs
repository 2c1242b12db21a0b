//! What became of each accepted request, by all who have seen something of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tidegate::base::Tick;

use crate::gateway::JOB_TIMEOUT;

/// Longer than all faults and stalls of one answer take together.
pub const MARGIN: Duration = Duration::from_secs(2);

/// What is known about one request, by all who have seen something of it.
#[derive(Default)]
pub struct Job {
    /// What was asked; the payload.
    pub number: Option<u64>,
    /// By attempt: what was sent to one may be heard after what was sent to the next.
    pub holders: BTreeMap<u64, u32>,
    /// By a worker that never left: when its answer was said.
    pub answered: Option<(u32, Tick)>,
    /// Status and result, once they are known; they never change.
    pub end: Option<(String, Value)>,
}

#[derive(Default)]
pub struct Jobs {
    pub now: Tick,
    pub by_id: BTreeMap<String, Job>,
    /// When each was posted.
    pub posted: BTreeMap<u64, Tick>,
    /// Workers whose connection may have ended: what they had may go to others.
    pub gone: BTreeSet<u32>,
    pub by_key: BTreeMap<String, String>,
}

impl Jobs {
    pub fn handed(&mut self, id: &str, number: u64, attempt: u64, worker: u32) {
        let job = self.by_id.entry(id.to_owned()).or_default();
        assert_eq!(*job.number.get_or_insert(number), number, "{id} is about something else");
        let twice = job.holders.insert(attempt, worker);
        assert_eq!(twice, None, "attempt {attempt} of job {number} comes to {worker}, too");
        for before in job.holders.values().rev().skip(1) {
            assert!(self.gone.contains(before), "job {number}: {:?}, although {before} is there", job.holders);
        }
    }

    /// What anybody reads: a status that goes forward once, and a result that a worker gave first.
    pub fn told(&mut self, document: &Value) {
        let id = document["id"].as_str().expect("an id");
        let job = self.by_id.entry(id.to_owned()).or_default();
        let status = document["status"].as_str().expect("a status").to_owned();
        if status == "pending" {
            return;
        }
        let end = (status, document["result"].clone());
        assert_eq!(*job.end.get_or_insert(end.clone()), end, "{id} ends twice");
        let number = job.number.expect("an end comes after the 202, or after a worker had it");
        match end.0.as_str() {
            "done" | "failed" => {
                let result = end.1.as_str().expect("workers answer with text");
                let words: Vec<u64> = result.split(' ').map(|word| word.parse().expect("a number")).collect();
                let [by, about, nth] = words[..] else { panic!("{result:?} is no answer") };
                assert_eq!((about, nth), (number, 1), "the first answer to {id} counts");
                assert!(job.holders.values().any(|holder| u64::from(*holder) == by), "{by} never had {id}");
            }
            "expired" => {
                if let Some((worker, at)) = job.answered.filter(|(worker, _)| !self.gone.contains(worker)) {
                    let posted = self.posted[&number];
                    let is_late = at + MARGIN > posted + JOB_TIMEOUT;
                    assert!(
                        is_late,
                        "job {number} expired, but {worker} answered at {at:?} what was posted at {posted:?}"
                    );
                }
            }
            other => panic!("{id} is {other:?}"),
        }
    }
}
