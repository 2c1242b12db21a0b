//! Many seeds on all cores, and what all of them together must have seen.

use std::fmt::{self, Display};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::seeds::seeds;

/// A seed that found something.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    pub words: String,
    /// What happened before, if somebody took it down.
    pub report: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, words, report } = self;
        write!(f, "{report}\nseed {seed}, which this test runs alone with TIDEGATE_SEED={seed}: {words}")
    }
}

/// What happened in one life: what, and how often.
pub type Happenings<const N: usize> = [(&'static str, u64); N];

/// The life of one seed; a panic in it is its failure.
pub fn attempt<L>(seed: u64, live: impl FnOnce() -> L) -> Result<L, Failure> {
    catch_unwind(AssertUnwindSafe(live)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        Failure { seed, words: words.to_owned(), report: String::new() }
    })
}

/// The lives of all seeds, on all cores; panics with all failures if there are any.
pub fn sweep<L: Send>(seeds: &Range<u64>, live: impl Fn(u64) -> Result<L, Failure> + Sync) -> Vec<L> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let share = |first: usize| seeds.clone().skip(first).step_by(threads).map(&live).collect::<Vec<_>>();
    let outcomes: Vec<Result<L, Failure>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(move || share(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("failures are caught")).collect()
    });
    let (mut lives, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(life) => lives.push(life),
            Err(failure) => failures.push(failure),
        }
    }
    if let Some(first) = failures.first() {
        let all: Vec<String> = failures.iter().map(|failure| format!("{}: {}", failure.seed, failure.words)).collect();
        panic!("{first}\n{} of the seeds {seeds:?} failed:\n{}", all.len(), all.join("\n"));
    }
    lives
}

/// Sweeps over the `usual` seeds, or others that somebody names; each thing has to happen in some of them.
pub fn expect_all_to_happen<const N: usize>(usual: Range<u64>, live: impl Fn(u64) -> Happenings<N> + Sync) {
    let usual_count = usual.end - usual.start;
    let seeds = seeds(usual);
    let lives = sweep(&seeds, |seed| attempt(seed, || live(seed)));
    for index in 0..N {
        let what = lives.first().map_or("nothing", |life| life[index].0);
        let count: u64 = lives.iter().map(|life| life[index].1).sum();
        println!("{what}: {count}");
        // What never happens proves nothing; a few seeds may well do without some of it.
        assert!(count > 0 || seeds.end - seeds.start < usual_count, "{what}: never in the seeds {seeds:?}");
    }
}
