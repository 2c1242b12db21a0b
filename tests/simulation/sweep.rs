//! Many seeds, one seed, and the proof that a seed is enough to see it all again.
//!
//! `TIDEGATE_SEED=n` runs that one alone and says what happened; `TIDEGATE_SEEDS=from..to` runs others than usual.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::deed::DEEDS;
use crate::scenario::Scenario;
use crate::tally::Counts;
use crate::traveller::Travels;

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

/// A seed that found nothing.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    /// A hash of all that happened.
    history: u64,
    tls: Counts,
    travels: Travels,
}

/// Runs one seed.
fn run(seed: u64, is_verbose: bool) -> Result<Life, Failure> {
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
        Ok(()) => {
            Ok(Life { history: scenario.world.history(), tls: scenario.tls_counts(), travels: scenario.travels() })
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            Err(Failure { seed, words: words.to_owned(), report: report() })
        }
    }
}

pub fn variable<T>(name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(parse(&text).unwrap_or_else(|| panic!("{name}={text} is not understood")))
}

pub fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

#[test]
fn gateways_keep_their_promises() {
    if let Some(seed) = variable("TIDEGATE_SEED", |text| text.parse().ok()) {
        let life = run(seed, true).unwrap_or_else(|failure| panic!("{}\n{}", failure.report, failure.words));
        println!("{:?}\n{:?}\nhistory {:016x}", life.tls, life.travels, life.history);
        return;
    }
    let seeds = variable("TIDEGATE_SEEDS", range).unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let outcomes: Vec<Result<Life, Failure>> = std::thread::scope(|scope| {
        let sweep = |first: u64| {
            let seeds = seeds.clone().skip(first as usize).step_by(threads as usize);
            seeds.map(|seed| run(seed, false)).collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(move || sweep(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("failures are caught")).collect()
    });
    let mut tls = Counts::default();
    let mut travels = Travels::default();
    let mut failures = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(life) => {
                tls.add(life.tls);
                travels.add(life.travels);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let Some(first) = failures.first() else {
        println!("{tls:?}\n{travels:?}");
        // A few seeds may well do without some of it.
        if seeds.end - seeds.start >= SEEDS.end {
            assert_everything_happened(&tls);
            assert!(travels.returns > 0 && travels.heard > 0 && travels.gone > 0 && travels.lies > 0, "{travels:?}");
        }
        return;
    };
    let all: Vec<String> = failures.iter().map(|failure| format!("seed {}: {}", failure.seed, failure.words)).collect();
    panic!("{}\n{} of the seeds {seeds:?} failed:\n{}", first.report, all.len(), all.join("\n"));
}

/// What never happens proves nothing.
fn assert_everything_happened(tls: &Counts) {
    assert!(tls.tls12 > 0 && tls.resumed > 0 && tls.handshakes > tls.tls12 + tls.resumed, "{tls:?}");
    assert!(tls.key_updates_asked > 0 && tls.key_updates_heard > 0, "{tls:?}");
    for deed in DEEDS {
        let is_done = tls.deeds.contains_key(&deed);
        assert!(is_done && (deed.alert().is_none() || tls.alerts.contains_key(&deed)), "{deed:?} in {tls:?}");
    }
}

#[test]
fn a_seed_decides_everything() {
    if variable("TIDEGATE_SEED", |text| text.parse::<u64>().ok()).is_some() {
        return;
    }
    let mut speaks_tls = false;
    for seed in [3, 14, 50] {
        let once = run(seed, false);
        assert_eq!(once, run(seed, false), "twice in one process");
        // Another process has other random keys in its hash maps.
        let child = Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "sweep::gateways_keep_their_promises", "--nocapture"])
            .env("TIDEGATE_SEED", seed.to_string())
            .output()
            .expect("the test runs again");
        let output = String::from_utf8_lossy(&child.stdout);
        let life = once.unwrap_or_else(|failure| panic!("{}\n{}", failure.report, failure.words));
        let history = format!("history {:016x}", life.history);
        assert!(output.contains(&history), "another history in another process:\n{output}");
        speaks_tls |= life.tls.handshakes > 0;
    }
    assert!(speaks_tls, "at least one of these seeds has clients with TLS");
}
