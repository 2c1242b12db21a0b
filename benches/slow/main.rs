//! One slow reader among many: do the others notice, and what does it cost the gateway, for each delivery of the channel?
//!
//! ```text
//!  publisher ---- PUB over the bus ----->  gateway, whose channels' delivery is queue, latest or drop
//!  SUBSCRIBERS <-- a frame or record to each of them          without | with: p50, p99 of the same subscribers, memory
//!  one more    <-- the same, of which it reads nothing                  |----
//! ```

mod idler;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, PAYLOAD_BYTES_MIN, Pace};
use tidegate_bench::memory::Memory;
use tidegate_bench::options::{Common, Kind, Target, tables_for};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Figure, Report, Row};
use tidegate_bench::session::{Session, figures};

use idler::Idler;

/// Publishes until caches, allocators and sockets have seen everything once; not reported.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often memory is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const DELIVERIES: [&str; 3] = ["queue", "latest", "drop"];

/// Latency of subscribers, and memory of the gateway, with and without one among them that reads nothing, for each delivery
/// of their channel.
#[derive(Clone, Debug, Parser)]
#[command(name = "slow", max_term_width = 100)]
#[command(
    after_help = "The slow reader has a small receive buffer, so that what waits for it waits in the gateway before long. Where the
delivery is `queue` it is closed once too much waits; with any, once it has taken nothing for long (limits.send_timeout_s).

Examples:
  cargo bench --bench slow
  cargo bench --bench slow -- --subscribers 10000 --seconds 20 --runs 3
  cargo bench --bench slow -- --kind sse --driver uring --json"
)]
struct Args {
    /// How many listen besides the slow reader, all to one channel
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// What they are, the slow reader as well; `both` is half and half, and a slow reader that is a WebSocket
    #[arg(long, value_enum, default_value = "both")]
    kind: Kind,
    /// Payload of a message
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=60_000))]
    bytes: u32,
    /// Messages per second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// With the deliveries `queue` and `drop`: messages that wait for the slow reader
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    waiting: u32,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Shards of the gateway; without it, as few as hold the subscribers under this descriptor limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("deliveries_per_s", "deliveries/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("max_ms", "max ms", 2),
    Column("lost", "lost", 0),
    Column("user_growth_kib", "memory, KiB more", 0),
    Column("kernel_growth_kib", "kernel, KiB more", 0),
    Column("slow_closed", "slow one closed", 0),
    Column("cpu_cores", "CPU cores", 2),
    Column("load_cpu_cores", "load's CPU cores", 2),
];

fn main() -> ExitCode {
    tidegate_bench::main("slow", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let mut report = Report::new(
        "slow",
        &args.common,
        COLUMNS,
        &[],
        vec![
            ("subscribers", args.subscribers.into()),
            ("kind", args.kind.name().into()),
            ("bytes", args.bytes.into()),
            ("rate_per_s", args.rate.into()),
            ("waiting", args.waiting.into()),
            ("seconds", args.seconds.into()),
        ],
    );
    for run in 1..=args.common.runs {
        for target in args.common.gateways() {
            for delivery in DELIVERIES {
                measure_delivery(args, run, target, delivery, &mut report)?;
            }
        }
    }
    report.finish(
        "Of the subscribers besides the slow reader: with `latest` and `drop` some may be lost to a machine that is too busy. Memory: \
         the most that it grew in the phase.",
    );
    Ok(())
}

/// One gateway, without and then with the slow reader.
fn measure_delivery(
    args: &Args,
    run: u32,
    target: Target,
    delivery: &'static str,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let count = args.subscribers as usize;
    let clients = Clients { count, kind: args.kind, per_channel: count };
    let tables = tables_for(count)?;
    // With `latest` it is a message for each key.
    let queue = match delivery {
        "latest" => String::new(),
        _ => format!("queue = {{ messages = {} }}\n", args.waiting),
    };
    let setup = Setup {
        target,
        shards: args.shards.map_or(tables, |shards| shards as usize),
        certificate: None,
        floor: floor::Kind::Write,
        has_worker: false,
        is_grouped: true,
        rules: &format!("[[channel]]\nname = \"bench.*\"\ndelivery = \"{delivery}\"\n{queue}"),
    };
    let session = Session::start(tables, &setup, None)?;
    let head = |phase| format!("run {run} of {}, {}, {delivery}, {phase}", args.common.runs, target.name());
    session.crew.open(&session.front, clients, &mut Progress::new(head("opening")))?;
    session.crew.connect_publisher(&session.process, clients, args.bytes as usize)?;
    let pace = Pace::Waves { per_second: args.rate.into() };
    session.run(clients, pace, WARM_UP, &mut Progress::new(head("warming up")))?;
    let phase = |name: &'static str| {
        let duration = Duration::from_secs(args.seconds.into());
        observe(&session, clients, pace, duration, &mut Progress::new(head(name)))
    };
    let marks = || vec![("delivery", delivery.to_owned())];
    let without = phase("without")?;
    report.add(run, Row { target: target.name(), phase: "without", marks: marks(), figures: without });
    let idler = Idler::connect(&session.process, args.kind)?;
    let mut with = phase("with")?;
    with.push(("slow_closed", f64::from(idler.was_closed()?)));
    report.add(run, Row { target: target.name(), phase: "with", marks: marks(), figures: with });
    Ok(())
}

/// One phase, and by how much the gateway's memory grew in it.
fn observe(
    session: &Session,
    clients: Clients,
    pace: Pace,
    duration: Duration,
    progress: &mut Progress,
) -> Result<Vec<Figure>, String> {
    let before = session.process.memory()?;
    let ((outcome, growth), spent) = session.spend(|crew| {
        crew.run_during(clients, pace, || Growth::watch(&session.process, &before, duration), progress)
    })?;
    let mut figures = figures(&outcome, spent);
    figures.extend([
        ("user_growth_kib", growth.user_bytes / 1024.0),
        ("kernel_growth_kib", growth.kernel_bytes.map_or(f64::NAN, |bytes| bytes / 1024.0)),
    ]);
    Ok(figures)
}

/// The most by which memory has grown.
#[derive(Clone, Copy, Debug)]
struct Growth {
    user_bytes: f64,
    kernel_bytes: Option<f64>,
}

impl Growth {
    fn watch(process: &Process, before: &Memory, duration: Duration) -> Result<Growth, String> {
        let end = Instant::now() + duration;
        let mut growth = Growth { user_bytes: 0.0, kernel_bytes: None };
        while Instant::now() < end {
            std::thread::sleep(LOOK_INTERVAL.min(end.saturating_duration_since(Instant::now())));
            let now = process.memory()?;
            let more = |before: u64, now: u64| now as f64 - before as f64;
            growth.user_bytes = growth.user_bytes.max(more(before.user_bytes, now.user_bytes));
            if let (Some(before), Some(now)) = (before.charged, now.charged) {
                let kernel = more(before.kernel_bytes, now.kernel_bytes);
                growth.kernel_bytes = Some(growth.kernel_bytes.unwrap_or(0.0).max(kernel));
            }
        }
        Ok(growth)
    }
}
