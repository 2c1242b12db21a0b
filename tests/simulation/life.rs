//! The sweep over whole lives of gateways, and the proof that a seed is enough to see one of them again.

use std::ops::Range;
use std::process::Command;

use crate::deed::DEEDS;
use crate::scenario::Scenario;
use crate::seeds::seeds;
use crate::sweep::{Failure, attempt, sweep};
use crate::tally::Counts;
use crate::traveller::Travels;

/// Some hundreds in under a minute on two cores, in a debug build.
const SEEDS: Range<u64> = 0..300;
/// Events of the world that a failure's report shows.
const EVENTS_SHOWN: usize = 40;

/// A seed that found nothing.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    /// A hash of all that happened.
    history: u64,
    tls: Counts,
    travels: Travels,
}

/// Lives the life of one seed; a verbose one says what happened even if that is nothing wrong.
fn live(seed: u64, is_verbose: bool) -> Result<Life, Failure> {
    let mut scenario = Scenario::new(seed);
    let outcome = attempt(seed, || scenario.run());
    let report = || {
        let recent = scenario.stage.world.recent();
        let events = &recent[recent.len().saturating_sub(EVENTS_SHOWN)..];
        let events = events.iter().map(|(at, event)| format!("{:>12} us  {event:?}", at.micros()));
        events.chain(scenario.journal.iter().cloned()).collect::<Vec<_>>().join("\n")
    };
    let history = scenario.stage.world.history();
    if is_verbose && outcome.is_ok() {
        println!("{}\nhistory {history:016x}", report());
    }
    let life = |()| Life { history, tls: scenario.tls_counts(), travels: scenario.travels() };
    outcome.map(life).map_err(|failure| Failure { report: report(), ..failure })
}

#[test]
fn gateways_keep_their_promises() {
    let seeds = seeds(SEEDS);
    let is_verbose = seeds.clone().count() == 1;
    let lives = sweep(&seeds, |seed| live(seed, is_verbose));
    let mut tls = Counts::default();
    let mut travels = Travels::default();
    for life in lives {
        tls.add(life.tls);
        travels.add(life.travels);
    }
    println!("{tls:?}\n{travels:?}");
    // A few seeds may well do without some of it.
    if seeds.count() >= SEEDS.count() {
        assert_everything_happened(&tls);
        assert!(travels.returns > 0 && travels.heard > 0 && travels.gone > 0 && travels.lies > 0, "{travels:?}");
    }
}

/// What never happens proves nothing.
fn assert_everything_happened(tls: &Counts) {
    assert!(tls.tls12 > 0 && tls.resumed > 0 && tls.handshakes > tls.tls12 + tls.resumed, "{tls:?}");
    assert!(tls.key_updates_asked > 0 && tls.key_updates_heard > 0, "{tls:?}");
    for deed in DEEDS {
        let is_done = tls.deeds.contains_key(&deed);
        assert!(is_done && (deed.alert(true).is_none() || tls.alerts.contains_key(&deed)), "{deed:?} in {tls:?}");
    }
}

#[test]
fn a_seed_decides_everything() {
    // Whoever looks at one seed wants no others; the process below is one of those.
    if seeds(SEEDS).count() == 1 {
        return;
    }
    let mut speaks_tls = false;
    for seed in [3, 14, 50] {
        let once = live(seed, false);
        assert_eq!(once, live(seed, false), "twice in one process");
        // Another process has other random keys in its hash maps.
        let child = Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "life::gateways_keep_their_promises", "--nocapture"])
            .env("TIDEGATE_SEED", seed.to_string())
            .output()
            .expect("the test runs again");
        let output = String::from_utf8_lossy(&child.stdout);
        let life = once.unwrap_or_else(|failure| panic!("{failure}"));
        let history = format!("history {:016x}", life.history);
        assert!(output.contains(&history), "another history in another process:\n{output}");
        speaks_tls |= life.tls.handshakes > 0;
    }
    assert!(speaks_tls, "at least one of these seeds has clients with TLS");
}
