//! Latency of a bystander, and memory of the gateway, while a stranger sends the worst that a client may send.
//!
//! ```text
//!  bystander: a WebSocket in a room of its own; a message each INTERVAL, there and back      before | during | after
//!  stranger:  connects, attacks, holds what it has, and leaves                                      |--------|
//!  memory:    of the gateway                                                                 last   | most   | last
//!  others:    admin listener, a new worker, kept channels, where a stranger is after those   once   | worst  | once
//!  bound:     the most memory that the gateway's configuration allows                               | known  |
//! ```
//!
//! Each row is held to the promise to every other client, worker and operator: see [`promise`].

mod echo;
mod filled;
mod others;
mod strangers;

use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use tidegate_bench::certificate::Certificate;
use tidegate_bench::cpu;
use tidegate_bench::floor;
use tidegate_bench::options::{Common, Target};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::promise::{
    ANSWER_MS_MAX, FILLED_PERCENT_MIN, KEPT_PERCENT_MIN, MEMORY_LEFT_MIB_MAX, MEMORY_TO_BEFORE, P99_MS_MAX, bound_mib,
    remembered_mib,
};
use tidegate_bench::report::{Column, Figure, Report, Row};

use echo::{Bystander, Echoes};
use strangers::Stranger;

/// How often memory is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// From the end of the attack to the last reading: jemalloc gives pages back after a second.
const SETTLE: Duration = Duration::from_secs(3);

/// Connections that are no stranger's.
const BYSTANDERS: usize = 1;

/// Latency of one connection, and memory of the gateway, before, while and after a stranger attacks.
#[derive(Clone, Debug, Parser)]
#[command(name = "bystander", max_term_width = 100)]
#[command(after_help = "Strangers:
  flood       fills one write with empty messages into a room to which its other connections listen
  tokens      subscribes with tokens whose signature is wrong, 240 in a frame
  crowd       connects more often than there are descriptors: 2,000
  presence    subscribes to a channel with presence and unsubscribes, all the time; on 2 shards or more
  bodies      sends request bodies but for their last byte
  names       subscribes to 240,000 names of its own for which history is kept
  requests    sends empty requests to an accept route, one after the other
  fragments   sends messages but for their last fragment
  keys        sends TLS KeyUpdates, each followed by an empty record
  handshakes  sends TLS handshake messages but for their end
  hellos      sends TLS ClientHellos in two segments, and leaves when they are answered
  hoard       holds as much of everything as a client may, until each sum is full; for 10 s at least

A message counts from when it was due, so a stall delays all that were due in it.

Examples:
  cargo bench --bench bystander
  cargo bench --bench bystander -- --stranger flood --connections 8000 --driver epoll
  cargo bench --bench bystander -- --stranger hoard
  cargo bench --bench bystander -- --runs 3 --json")]
struct Args {
    /// Only these strangers; may be repeated
    #[arg(long, value_enum, default_values_t = Stranger::ALL)]
    stranger: Vec<Stranger>,
    /// Connections of the stranger; without it, as many as each needs to be noticed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: Option<u32>,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Shards of the gateway
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("connections", "stranger's connections", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("max_ms", "max ms", 1),
    Column("lost", "lost", 0),
    Column("user_mib", "memory, MiB", 1),
    Column("bound_mib", "bound, MiB", 0),
    Column("filled_percent", "filled %", 0),
    Column("kernel_mib", "kernel, MiB", 1),
    Column("memory_left_mib", "left of it, MiB", 1),
    Column("ready_ms", "ready ms", 1),
    Column("worker_ms", "worker ms", 1),
    Column("kept_percent", "kept %", 0),
];

fn main() -> ExitCode {
    tidegate_bench::main("bystander", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let options = vec![
        ("shards", args.shards.into()),
        ("seconds", args.seconds.into()),
        ("load_average", load_average()?.into()),
    ];
    let mut report = Report::new("bystander", &args.common, COLUMNS, &[], options).with_verdict("promise", promise);
    for run in 1..=args.common.runs {
        for target in args.common.gateways() {
            for stranger in &args.stranger {
                measure_stranger(args, run, target, *stranger, &certificate, &mut report)?;
            }
        }
    }
    report.finish("Memory: what the gateway holds at the end of the phase; while the stranger attacks, the most. Bound: the most that \
         its configuration allows (tidegate doctor). Filled: of each sum that clients can fill, at least this part was held. Left of \
         it: above 1.2 times the memory before.");
    Ok(())
}

fn measure_stranger(
    args: &Args,
    run: u32,
    target: Target,
    stranger: Stranger,
    certificate: &Certificate,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let setup = Setup {
        target,
        shards: args.shards.max(stranger.shards_min()) as usize,
        certificate: Some(certificate),
        floor: floor::Kind::Write,
        has_worker: false,
        is_grouped: true,
        rules: &stranger.rules(certificate),
    };
    let config = setup.config()?;
    let process = Process::start_within(&setup, stranger.descriptors())?;
    others::prepare(stranger, &process)?;
    let connections = args.connections.map_or(stranger.connections(), |connections| connections as usize);
    let duration = Duration::from_secs(args.seconds.into());
    let mut bystander = Bystander::connect(&process)?;
    let mut add = |phase, mut figures: Vec<Figure>| {
        if phase == "during" {
            figures.push(("connections", connections as f64));
            figures.push(("bound_mib", bound_mib(&config, connections + BYSTANDERS)));
        }
        report.add(
            run,
            Row { target: target.name(), phase, marks: vec![("stranger", stranger.name().to_owned())], figures },
        );
    };
    let progress = |phase: &str| {
        let head = format!("run {run} of {}, {}, {}", args.common.runs, target.name(), stranger.name());
        Progress::new(head).show(|| phase.to_owned());
    };

    progress("before");
    let echoes = bystander.echo(duration)?;
    let before = Held::read(&process)?;
    add("before", [figures(&echoes), before.figures(), others::look(stranger, &process)?].concat());

    progress("during");
    let (is_over, is_measured) = (AtomicBool::new(false), AtomicBool::new(false));
    let (echoes, held, others, attack) = thread::scope(|scope| {
        let attack = scope.spawn(|| {
            cpu::step_back()?;
            stranger.attack(&process, certificate, connections, &is_over)
        });
        let held = scope.spawn(|| Held::watch(&process, &is_measured));
        let others = scope.spawn(|| others::watch(stranger, &process, &config, &is_measured));
        let echoes = bystander.echo(duration.max(stranger.attack_min()));
        is_measured.store(true, Ordering::Relaxed);
        let (held, others) = (held.join(), others.join());
        is_over.store(true, Ordering::Relaxed);
        (echoes, held, others, attack.join())
    });
    let thread_died = |_| "a thread of the benchmark has ended".to_owned();
    attack.map_err(thread_died)??;
    let (held, others) = (held.map_err(thread_died)??, others.map_err(thread_died)??);
    add("during", [figures(&echoes?), held.figures(), others].concat());

    progress("after");
    thread::sleep(SETTLE);
    let echoes = bystander.echo(duration)?;
    let after = Held::read(&process)?;
    let left = vec![("memory_left_mib", mib(after.user_bytes) - mib(before.user_bytes) * MEMORY_TO_BEFORE)];
    add("after", [figures(&echoes), after.figures(), left, others::look(stranger, &process)?].concat());
    Ok(())
}

/// Whether the figures that a row has are as promised.
fn promise(row: &Row) -> Option<bool> {
    let holds = |name: &str, bound: f64| {
        let figure = row.figure(name);
        figure.is_nan() || figure < bound
    };
    let at_least = |name: &str, bound: f64| {
        let figure = row.figure(name);
        figure.is_nan() || figure >= bound
    };
    let bound_mib = row.figure("bound_mib");
    let remembered = row.marks.iter().map(|(_, stranger)| remembered_mib(stranger)).sum::<f64>();
    (row.phase != "before").then(|| {
        holds("p99_ms", P99_MS_MAX)
            && holds("lost", 1.0)
            && holds("ready_ms", ANSWER_MS_MAX)
            && holds("worker_ms", ANSWER_MS_MAX)
            && holds("memory_left_mib", MEMORY_LEFT_MIB_MAX + remembered)
            && (bound_mib.is_nan() || holds("user_mib", bound_mib))
            && at_least("filled_percent", FILLED_PERCENT_MIN)
            && at_least("kept_percent", KEPT_PERCENT_MIN)
    })
}

/// Of the last minute, when the benchmark begins.
fn load_average() -> Result<f64, String> {
    let text = fs::read_to_string("/proc/loadavg").map_err(|error| format!("/proc/loadavg: {error}"))?;
    text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or_else(|| "no load average".to_owned())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn figures(echoes: &Echoes) -> Vec<Figure> {
    vec![
        ("p50_ms", echoes.latency_ms(0.5)),
        ("p99_ms", echoes.latency_ms(0.99)),
        ("max_ms", echoes.latency_ms(1.0)),
        ("lost", echoes.lost as f64),
    ]
}

/// Memory of the gateway.
#[derive(Clone, Copy, Debug)]
struct Held {
    user_bytes: u64,
    kernel_bytes: Option<u64>,
}

impl Held {
    fn read(process: &Process) -> Result<Held, String> {
        let memory = process.memory()?;
        Ok(Held { user_bytes: memory.user_bytes, kernel_bytes: memory.charged.map(|charged| charged.kernel_bytes) })
    }

    /// The most until the phase is over.
    fn watch(process: &Process, is_over: &AtomicBool) -> Result<Held, String> {
        let mut most = Held::read(process)?;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(LOOK_INTERVAL);
            let now = Held::read(process)?;
            most.user_bytes = most.user_bytes.max(now.user_bytes);
            most.kernel_bytes = most.kernel_bytes.max(now.kernel_bytes);
        }
        Ok(most)
    }

    fn figures(self) -> Vec<Figure> {
        vec![("user_mib", mib(self.user_bytes)), ("kernel_mib", self.kernel_bytes.map_or(f64::NAN, mib))]
    }
}
