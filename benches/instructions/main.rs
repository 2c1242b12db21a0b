//! Instruction counts of the hot operations: how much a gateway executes for a frame, a record, a delivery.
//!
//! ```text
//!  this process:  for each operation  --->  valgrind --tool=callgrind  this program --run NAME
//!                                                prepare, warm up | 32 calls, counted | out
//!                 count / calls  <-------------- target/instructions/NAME.out
//!                 against benches/instructions/baseline.json
//! ```
//!
//! These figures do not depend on how busy the machine is, so they can guard the hot paths in CI, where times could not.
//! They are not times: a cache miss, a system call and a division count one each. The clock stands still, the kernel is a
//! script (`script`), and the processor is the one that valgrind shows; hash tables and TLS keys stay random, which is
//! worth less than one in a thousand. What is left depends on the compiler, the C library and valgrind, so the baseline
//! names those.
//!
//! Why not gungraun (iai-callgrind): its baselines are callgrind's own files, with the paths of the machine that wrote
//! them, meant for `target/` and not for a repository; it needs a runner of exactly its version installed beside cargo;
//! and a count that has become better passes silently.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use clap::Parser;
use serde_json::json;

mod baseline;
mod operations;
mod script;
mod valgrind;

use baseline::{Baseline, Circumstances, TOLERANCE, TOLERANCE_ELSEWHERE, Verdict};
use operations::{OPERATIONS, Operation};
use valgrind::Counted;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions/baseline.json");

/// Instructions of the hot operations, counted by callgrind and compared with the baseline; fails if one is off.
#[derive(Debug, Parser)]
#[command(name = "instructions", max_term_width = 100)]
#[command(after_help = "Examples:
  cargo bench --bench instructions
  cargo bench --bench instructions -- fanout dispatch
  cargo bench --bench instructions -- --bless
  callgrind_annotate target/instructions/fanout.out")]
struct Args {
    /// Only these
    #[arg(value_name = "OPERATION")]
    operations: Vec<String>,
    /// Make the counts of this run the baseline
    #[arg(long)]
    bless: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// cargo says that this is a benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// What this process does if it is the one under valgrind
    #[arg(long, hide = true, value_name = "OPERATION")]
    run: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.run {
        Some(name) => run(name).map(|()| true),
        None => compare(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("instructions: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The process under valgrind.
fn run(name: &str) -> Result<(), String> {
    let operation = Operation::find(name).ok_or_else(|| format!("there is no operation {name:?}"))?;
    println!("{}", valgrind::processor());
    operation.run();
    Ok(())
}

/// Counts, shows and judges; true if nothing is off.
fn compare(args: &Args) -> Result<bool, String> {
    let chosen: Vec<&Operation> = if args.operations.is_empty() {
        OPERATIONS.iter().collect()
    } else {
        let find = |name: &String| Operation::find(name).ok_or_else(|| format!("there is no operation {name:?}"));
        args.operations.iter().map(find).collect::<Result<_, _>>()?
    };
    fs::create_dir_all(valgrind::folder()).map_err(|error| format!("{}: {error}", valgrind::folder().display()))?;
    let counted = count_all(&chosen)?;
    let present = circumstances(&counted[0].processor)?;
    if args.bless {
        bless(&chosen, &counted, present.clone())?;
    }
    let text = fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}; --bless writes it"))?;
    let baseline = Baseline::parse(&text).map_err(|error| format!("{BASELINE}: {error}"))?;
    let rows: Vec<_> = chosen
        .iter()
        .zip(&counted)
        .map(|(operation, counted)| Row::new(operation, counted, &baseline, &present))
        .collect();
    match args.json {
        true => rows.iter().for_each(|row| println!("{}", row.json())),
        false => table(&rows, &baseline, &present),
    }
    let is_good = rows.iter().all(|row| row.verdict.is_accepted());
    if !is_good {
        eprintln!(
            "instructions: a count is off the baseline. If that is meant: cargo bench --bench instructions -- --bless\n\
             Where it went: callgrind_annotate target/instructions/OPERATION.out"
        );
    }
    Ok(is_good)
}

/// One valgrind for each core.
fn count_all(operations: &[&Operation]) -> Result<Vec<Counted>, String> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut counted: Vec<(usize, Result<Counted, String>)> = thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(operation) = operations.get(index) else { return own };
                own.push((index, valgrind::count(operation)));
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    counted.sort_by_key(|(index, _)| *index);
    counted.into_iter().map(|(_, counted)| counted).collect()
}

fn circumstances(processor: &str) -> Result<Circumstances, String> {
    let said = |program: &str, arguments: &[&str]| -> Result<String, String> {
        let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let circumstances = [
        ("rustc", said("rustc", &["--version"])?),
        ("libc", said("getconf", &["GNU_LIBC_VERSION"])?),
        ("valgrind", said("valgrind", &["--version"])?),
        ("processor", processor.to_owned()),
    ];
    Ok(circumstances.map(|(name, words)| (name.to_owned(), words)).into())
}

/// Those that were not counted this time keep their counts only where those were taken in the same circumstances.
fn bless(operations: &[&Operation], counted: &[Counted], present: Circumstances) -> Result<(), String> {
    let old = fs::read_to_string(BASELINE).ok().and_then(|text| Baseline::parse(&text).ok());
    let is_everything = operations.len() == OPERATIONS.len();
    let mut instructions = match old {
        _ if is_everything => BTreeMap::new(),
        Some(old) if old.taken_with == present => old.instructions,
        _ => return Err("the baseline was taken with something else: bless all of it".to_owned()),
    };
    for (operation, counted) in operations.iter().zip(counted) {
        instructions.insert(operation.name.to_owned(), counted.instructions);
    }
    let text = Baseline { taken_with: present, instructions }.text();
    fs::write(BASELINE, text).map_err(|error| format!("{BASELINE}: {error}"))
}

struct Row<'a> {
    operation: &'a Operation,
    count: f64,
    expected: Option<f64>,
    verdict: Verdict,
}

impl<'a> Row<'a> {
    fn new(operation: &'a Operation, counted: &Counted, baseline: &Baseline, present: &Circumstances) -> Row<'a> {
        let (name, count) = (operation.name, counted.instructions);
        let expected = baseline.instructions.get(name).copied();
        Row { operation, count, expected, verdict: baseline.judge(name, count, present) }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "operation": self.operation.name,
            "what": self.operation.what,
            "instructions": self.count,
            "baseline": self.expected,
            "is_accepted": self.verdict.is_accepted(),
        })
    }
}

fn table(rows: &[Row], baseline: &Baseline, present: &Circumstances) {
    println!("| operation | of | instructions | baseline | change | |\n|---|---|--:|--:|--:|---|");
    for Row { operation, count, expected, verdict } in rows {
        let (expected, change) = match expected {
            Some(expected) => (format!("{expected:.1}"), format!("{:+.1} %", percent(*count, *expected))),
            None => ("".to_owned(), "".to_owned()),
        };
        println!("| {} | {} | {count:.1} | {expected} | {change} | {verdict} |", operation.name, operation.what);
    }
    let differences = baseline.differences(present);
    if differences.is_empty() {
        return println!("\ntolerance: {TOLERANCE} % either way");
    }
    println!("\nNot what the baseline was taken with, so only what is more than {TOLERANCE_ELSEWHERE} % worse fails:");
    for name in differences {
        let words = |from: &Circumstances| from.get(&name).cloned().unwrap_or_default();
        println!("  {name}: {:?}, the baseline's is {:?}", words(present), words(&baseline.taken_with));
    }
}

/// To a tenth, and without the sign that a zero may have.
fn percent(count: f64, expected: f64) -> f64 {
    ((count / expected - 1.0) * 1000.0).round() / 10.0 + 0.0
}
