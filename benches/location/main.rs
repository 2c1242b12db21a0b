//! Location push: many riders on event streams, about twenty on each driver's channel.

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

/// Published before the first measurement.
const WARM_UP: Duration = Duration::from_secs(1);

/// Riders on event streams of drivers' channels: p99 and CPU cores of the gateway at given deliveries per second.
#[derive(Clone, Debug, Parser)]
#[command(name = "location", max_term_width = 100)]
#[command(
    after_help = "The published load is 50,000 riders on 2,500 channels and 3,750 deliveries/s, p99 45 ms on 2.8 cores;
25,000 deliveries/s are as many as the polls that it replaces. The floor has one thread, and stands where that can hold
the riders.

Examples:
  cargo bench --bench location
  cargo bench --bench location -- --riders 50000 --seconds 60
  cargo bench --bench location -- --tls --rate 3750"
)]
struct Args {
    /// How many ride
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    riders: u32,
    /// How many look at the same driver
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    per_driver: u32,
    /// Deliveries a second; may be repeated
    #[arg(long, value_name = "N", default_values_t = [3_750, 25_000], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Vec<u32>,
    /// Payload of an event
    #[arg(long, value_name = "N", default_value_t = 210, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=60_000))]
    bytes: u32,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Riders connect over TLS; the floor stays plain
    #[arg(long)]
    tls: bool,
    /// Shards of the gateway; without it, as few as hold the riders under this descriptor limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("deliveries_per_s", "deliveries/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("p999_ms", "p99.9 ms", 2),
    Column("max_ms", "max ms", 2),
    Column("lost", "lost", 0),
    Column("cpu_cores", "CPU cores", 3),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("load_cpu_cores", "load's CPU cores", 3),
];

const RATIOS: &[Ratio] = &[Ratio {
    figure: "cpu_cores",
    name: "cpu_to_floor",
    head: "CPU to floor",
    to: |row, other| other.target == "floor" && other.marks == row.marks,
}];

fn main() -> ExitCode {
    tidegate_bench::main("location", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "location",
        &args.common,
        COLUMNS,
        RATIOS,
        vec![
            ("riders", args.riders.into()),
            ("per_driver", args.per_driver.into()),
            ("bytes", args.bytes.into()),
            ("tls", args.tls.into()),
            ("seconds", args.seconds.into()),
        ],
    );
    let floor = (tables_for(args.riders as usize)? == 1).then_some(Target::Floor);
    for run in 1..=args.common.runs {
        for target in floor.into_iter().chain(args.common.gateways()).chain(args.common.peers()) {
            measure_target(args, run, target, &certificate, &mut report)?;
        }
    }
    report.finish(
        "floor: a loop of write(2) of the same bytes to the same sockets. CPU cores: of the server, on average.",
    );
    Ok(())
}

fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    certificate: &Certificate,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let clients = Clients { count: args.riders as usize, kind: Kind::Sse, per_channel: args.per_driver as usize };
    let tables = tables_for(clients.count)?;
    let setup = Setup {
        target,
        shards: args.shards.filter(|_| !target.is_floor()).map_or(tables, |shards| shards as usize),
        certificate: Some(certificate),
        floor: floor::Kind::Write,
        has_worker: false,
        is_grouped: false,
        rules: "",
    };
    let tls = args.tls.then(|| certificate.client(Shake::default())).transpose()?;
    let session = Session::start(tables, &setup, tls.as_ref())?;
    let mut progress = Progress::new(format!("run {run} of {}, {}", args.common.runs, target.name()));
    session.crew.open(&session.front, clients, &mut progress)?;
    session.crew.connect_publisher(&session.process, clients, args.bytes as usize)?;
    for (index, rate) in args.rate.iter().enumerate() {
        let pace = Pace::Paced { per_second: f64::from(*rate) / f64::from(args.per_driver.min(args.riders)) };
        if index == 0 {
            session.run(clients, pace, WARM_UP, &mut progress)?;
        }
        let (outcome, spent) = session.run(clients, pace, Duration::from_secs(args.seconds.into()), &mut progress)?;
        let marks = vec![("rate", rate.to_string())];
        report.add(run, Row { target: target.name(), phase: "paced", marks, figures: figures(&outcome, spent) });
    }
    Ok(())
}
