//! Many seeds, one seed, and the proof that a seed is enough to see it all again.
//!
//! `TIDEGATE_SEED=n` runs that one alone and says what happened; `TIDEGATE_SEEDS=from..to` runs others than usual.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::scenario::Scenario;

/// Some hundreds in under a minute on two cores, in a debug build.
const SEEDS: Range<u64> = 0..300;
/// Events of the world that a failure's report shows.
const EVENTS_SHOWN: usize = 40;

/// A seed that found something.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    seed: u64,
    words: String,
    report: String,
}

/// Runs one seed; the hash of all that happened, or its failure.
fn run(seed: u64, is_verbose: bool) -> Result<u64, Failure> {
    let mut scenario = Scenario::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.run()));
    let report = || {
        let mut lines = vec![format!("seed {seed}: `TIDEGATE_SEED={seed} cargo test --test simulation` replays it")];
        let recent = scenario.world.recent();
        let events = &recent[recent.len().saturating_sub(EVENTS_SHOWN)..];
        lines.extend(events.iter().map(|(at, event)| format!("{:>12} us  {event:?}", at.micros())));
        lines.extend(scenario.journal.iter().cloned());
        lines.join("\n")
    };
    if is_verbose && outcome.is_ok() {
        println!("{}", report());
    }
    match outcome {
        Ok(()) => Ok(scenario.world.history()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            Err(Failure { seed, words: words.to_owned(), report: report() })
        }
    }
}

fn variable<T>(name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(parse(&text).unwrap_or_else(|| panic!("{name}={text} is not understood")))
}

fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

#[test]
fn gateways_keep_their_promises() {
    if let Some(seed) = variable("TIDEGATE_SEED", |text| text.parse().ok()) {
        let hash = run(seed, true).unwrap_or_else(|failure| panic!("{}\n{}", failure.report, failure.words));
        println!("history {hash:016x}");
        return;
    }
    let seeds = variable("TIDEGATE_SEEDS", range).unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let failures: Vec<Failure> = std::thread::scope(|scope| {
        let sweep = |first: u64| {
            let seeds = seeds.clone().skip(first as usize).step_by(threads as usize);
            seeds.filter_map(|seed| run(seed, false).err()).collect::<Vec<Failure>>()
        };
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(move || sweep(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("failures are caught")).collect()
    });
    let Some(first) = failures.first() else { return };
    let all: Vec<String> = failures.iter().map(|failure| format!("seed {}: {}", failure.seed, failure.words)).collect();
    panic!("{}\n{} of the seeds {seeds:?} failed:\n{}", first.report, all.len(), all.join("\n"));
}

#[test]
fn a_seed_decides_everything() {
    if variable("TIDEGATE_SEED", |text| text.parse::<u64>().ok()).is_some() {
        return;
    }
    for seed in [3, 14] {
        let once = run(seed, false);
        assert_eq!(once, run(seed, false), "twice in one process");
        // Another process has other random keys in its hash maps.
        let child = Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "sweep::gateways_keep_their_promises", "--nocapture"])
            .env("TIDEGATE_SEED", seed.to_string())
            .output()
            .expect("the test runs again");
        let output = String::from_utf8_lossy(&child.stdout);
        let hash = once.unwrap_or_else(|failure| panic!("{}\n{}", failure.report, failure.words));
        assert!(output.contains(&format!("history {hash:016x}")), "another history in another process:\n{output}");
    }
}
