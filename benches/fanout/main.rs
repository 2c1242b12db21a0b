//! The fan-out benchmark: how fast one message reaches many subscribers, and what that costs the gateway.
//!
//! ```text
//!  publisher ---- PUB over the bus ------------------->  gateway on epoll, on io_uring, nchan; or a floor:
//!  subscribers <-- a frame or record to each of N -----  a loop of write(2), or of io_uring sends, of the same bytes
//! ```
//!
//! Every subscriber must get every message, whole and in order, or the benchmark fails.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, PAYLOAD_BYTES_MIN, Pace};
use tidegate_bench::options::{Common, Kind, Target, tables_for};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Ratio, Report, Row};
use tidegate_bench::session::{Session, figures};

/// Publishes until caches, allocators and sockets have seen everything once; not reported.
const WARM_UP: Duration = Duration::from_millis(300);

/// Few channels, many subscribers: deliveries per second, latency, and CPU of the gateway, for each driver and for two floors:
/// a bare loop of write(2), and one of io_uring sends.
#[derive(Clone, Debug, Parser)]
#[command(name = "fanout", max_term_width = 100)]
#[command(
    after_help = "Two phases: paced, where latency counts from when a message was due, and flat out, where the next message
follows as soon as the deliveries of fewer than WINDOW are on their way, and latency counts from when it was published.

Examples:
  cargo bench --bench fanout
  cargo bench --bench fanout -- --subscribers 10000 --kind sse --driver uring --runs 5
  cargo bench --bench fanout -- --tls --json
  cargo bench --bench fanout -- --subscribers 25000 --channels 50 --rate 1"
)]
struct Args {
    /// How many listen
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// Over how many channels they are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    channels: u32,
    /// What they are; `both` is half and half
    #[arg(long, value_enum, default_value = "both")]
    kind: Kind,
    /// Payload of a message
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=60_000))]
    bytes: u32,
    /// Messages per second to each channel in the paced phase, to all channels at the same moment
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Most messages on their way to a subscriber in the phase that goes flat out; above 1, several may go out in one send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    window: u32,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Shards of the gateway; without it, as few as hold the subscribers under this descriptor limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    /// Subscribers connect over TLS; the floors stay plain
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("deliveries_per_s", "deliveries/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("max_ms", "max ms", 2),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("load_cpu_s_per_million", "load's CPU s", 2),
];

const RATIOS: &[Ratio] = &[
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_floor",
        head: "CPU to write loop",
        to: |row, other| other.target == "floor" && other.phase == row.phase,
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_floor_uring",
        head: "CPU to io_uring loop",
        to: |row, other| other.target == "floor uring" && other.phase == row.phase,
    },
    Ratio {
        figure: "deliveries_per_s",
        name: "deliveries_to_floor_uring",
        head: "deliveries to io_uring loop",
        to: |row, other| other.target == "floor uring" && other.phase == row.phase,
    },
];

fn main() -> ExitCode {
    tidegate_bench::main("fanout", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "fanout",
        &args.common,
        COLUMNS,
        RATIOS,
        vec![
            ("subscribers", args.subscribers.into()),
            ("channels", args.channels.into()),
            ("kind", args.kind.name().into()),
            ("bytes", args.bytes.into()),
            ("rate_per_s", args.rate.into()),
            ("window", args.window.into()),
            ("seconds", args.seconds.into()),
            ("tls", args.tls.into()),
        ],
    );
    // A floor is one thread, and holds what one descriptor table does.
    let is_floor_enough = tables_for(args.subscribers as usize)? == 1;
    let floors = [Target::Floor, Target::FloorUring].into_iter().filter(|_| is_floor_enough);
    let targets: Vec<Target> = floors.chain(args.common.gateways()).chain(args.common.peers()).collect();
    for run in 1..=args.common.runs {
        for target in &targets {
            measure_target(args, run, *target, &certificate, &mut report)?;
        }
    }
    report.finish(
        "floor: a loop of write(2) of the same bytes to as many sockets; floor uring: io_uring sends of them, 1,024 in a \
         submission. Both are plain. load's CPU s: of the load, per million.",
    );
    Ok(())
}

/// One process and its subscribers, through both phases.
fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    certificate: &Certificate,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let (count, channels) = (args.subscribers as usize, args.channels as usize);
    let clients = Clients { count, kind: args.kind, per_channel: count.div_ceil(channels) };
    let tables = tables_for(count)?;
    let setup = Setup {
        target,
        shards: args.shards.filter(|_| !target.is_floor()).map_or(tables, |shards| shards as usize),
        certificate: Some(certificate),
        floor: if target == Target::Floor { floor::Kind::Write } else { floor::Kind::WriteUring },
        has_worker: false,
        is_grouped: false,
        rules: "",
    };
    let tls = args.tls.then(|| certificate.client(Shake::default())).transpose()?;
    let session = Session::start(tables, &setup, tls.as_ref())?;
    let progress = |phase| Progress::new(format!("run {run} of {}, {}, {phase}", args.common.runs, target.name()));
    session.crew.open(&session.front, clients, &mut progress("opening"))?;
    session.crew.connect_publisher(&session.process, clients, args.bytes as usize)?;
    let flat_out = Pace::FlatOut { window: args.window as usize * clients.channels() };
    session.run(clients, flat_out, WARM_UP, &mut progress("warming up"))?;
    let paced = Pace::Waves { per_second: args.rate.into() };
    for pace in [paced, flat_out] {
        let duration = Duration::from_secs(args.seconds.into());
        let (outcome, spent) = session.run(clients, pace, duration, &mut progress(pace.name()))?;
        outcome.require_whole()?;
        let figures = figures(&outcome, spent);
        report.add(run, Row { target: target.name(), phase: pace.name(), marks: Vec::new(), figures });
    }
    Ok(())
}
