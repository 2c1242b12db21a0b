//! Live connections while others reconnect over TLS as fast as they can: do the live ones notice?
//!
//! ```text
//!  hand 0:      LIVE connections, a paced message to each      before | during: p50, p99 of the same connections
//!  other hands: OTHERS connect over TLS, and stay                     |---- how long, how many a second
//!   or, with --cut: were there before, are cut off, and come back     |---- when half, 99 %, all of them are there
//! ```

use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, Crew, Front, PAYLOAD_BYTES_MIN, Pace};
use tidegate_bench::options::{Common, Kind, Target, tables_for};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Figure, Report, Row};
use tidegate_bench::session::{Session, figures};

/// p99 of live connections before and during a storm of TLS handshakes, and how fast the storm is over.
#[derive(Clone, Debug, Parser)]
#[command(name = "storm", max_term_width = 100)]
#[command(
    after_help = "Both ends share this machine: the load's own handshakes take as much CPU as the server's, and the live
connections' latency has the load's share of it.

Examples:
  cargo bench --bench storm
  cargo bench --bench storm -- --live 10000 --others 50000 --driver uring
  cargo bench --bench storm -- --resume
  cargo bench --bench storm -- --live 5000 --others 20000 --cut --jitter 5"
)]
struct Args {
    /// Connections that are open before, and get messages
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    live: u32,
    /// Connections that come in the storm
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    others: u32,
    /// Deliveries a second to the live ones
    #[arg(long, value_name = "N", default_value_t = 2_000.0)]
    rate: f64,
    /// How many of the live ones share a channel
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    per_channel: u32,
    /// Payload of a message
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=60_000))]
    bytes: u32,
    /// Length of the phase before the storm
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The others are connected before, are all cut off at once, and come back within the jitter; who is refused tries again
    /// with the back-off of the `centrifuge` package
    #[arg(long)]
    cut: bool,
    /// Within which time each of those who were cut off comes back
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, requires = "cut", value_parser = seconds)]
    jitter: f64,
    /// The others come back with a ticket
    #[arg(long)]
    resume: bool,
    /// The hybrid post-quantum key exchange of browsers (X25519MLKEM768) instead of X25519
    #[arg(long)]
    hybrid: bool,
    /// Shards of the gateway; without it, as few as hold the connections under this descriptor limit
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
    Column("closed", "closed", 0),
    Column("storm_s", "storm s", 2),
    Column("handshakes_per_s", "handshakes/s", 0),
    Column("back_50_s", "50 % back s", 2),
    Column("back_99_s", "99 % back s", 2),
    Column("refused", "refused", 0),
    Column("resumed_share", "resumed", 2),
    Column("cpu_cores", "CPU cores", 2),
    Column("load_cpu_cores", "load's CPU cores", 2),
];

/// Not below zero, and no longer than an hour.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=3600.0).contains(&number) { Ok(number) } else { Err("0 to 3600 are possible".to_owned()) }
}

fn main() -> ExitCode {
    tidegate_bench::main("storm", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "storm",
        &args.common,
        COLUMNS,
        &[],
        vec![
            ("live", args.live.into()),
            ("others", args.others.into()),
            ("rate_per_s", args.rate.into()),
            ("per_channel", args.per_channel.into()),
            ("bytes", args.bytes.into()),
            ("cut", args.cut.into()),
            ("jitter_s", args.cut.then_some(args.jitter).into()),
            ("resume", args.resume.into()),
            ("key_exchange", if args.hybrid { "X25519MLKEM768" } else { "X25519" }.into()),
        ],
    );
    for run in 1..=args.common.runs {
        for target in args.common.gateways().chain(args.common.peers()) {
            measure_target(args, run, target, &certificate, &mut report)?;
        }
    }
    report.finish("The bound is the machine: CPU cores of the server and of the load together are all there are.");
    Ok(())
}

fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    certificate: &Certificate,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let crowd =
        |count: u32| Clients { count: count as usize, kind: Kind::Both, per_channel: args.per_channel as usize };
    let (live, others) = (crowd(args.live), crowd(args.others));
    let hands = 1 + tables_for(others.count)?;
    let needed = tables_for(live.count + others.count)?;
    let setup = Setup {
        target,
        shards: args.shards.map_or(needed, |shards| shards as usize),
        certificate: Some(certificate),
        floor: floor::Kind::Accept,
        has_worker: false,
        is_grouped: false,
        rules: "",
    };
    let tls = certificate.client(Shake { is_hybrid: args.hybrid, is_resuming: args.resume })?;
    let session = Session::start(hands, &setup, Some(&tls))?;
    let Session { crew, process, front } = &session;
    let head = |phase| format!("run {run} of {}, {}, {phase}", args.common.runs, target.name());
    let row = |phase, figures| Row { target: target.name(), phase, marks: Vec::new(), figures };

    let mut progress = Progress::new(head("before"));
    crew.open_from(0..1, front, live, true, &mut progress)?;
    crew.connect_publisher(process, live, args.bytes as usize)?;
    // The others listen to channels that nobody publishes to: what they get would be counted.
    let away = front.clone().below("/room");
    let others = Clients { kind: Kind::Ws, ..others };
    if args.cut {
        crew.open_from(1..hands, &away, others, true, &mut Progress::new(head("opening")))?;
    }
    let pace = Pace::Paced { per_second: args.rate / f64::from(args.per_channel.min(args.live)) };
    let (outcome, spent) = session.run(live, pace, Duration::from_secs(args.seconds.into()), &mut progress)?;
    report.add(run, row("before", figures(&outcome, spent)));

    // The clients of a storm have CPUs of their own; without this their handshakes would delay the live ones' readings.
    crew.stand_back(1..hands)?;
    let mut progress = Progress::new(head("during"));
    let mut storm = Progress::new(head("during"));
    let ((outcome, told), spent) = session.spend(|crew| {
        let storm = || storm_in(args, crew, 1..hands, &away, others, &mut storm);
        crew.run_during(live, pace, storm, &mut progress)
    })?;
    let mut during = figures(&outcome, spent);
    during.extend(told);
    report.add(run, row("during", during));
    Ok(())
}

/// Everybody comes, or comes back.
fn storm_in(
    args: &Args,
    crew: &Crew,
    hands: Range<usize>,
    front: &Front,
    others: Clients,
    progress: &mut Progress,
) -> Result<Vec<Figure>, String> {
    let start = Instant::now();
    let mut figures = Vec::new();
    if args.cut {
        let back = crew.come_back(hands, front, others, Duration::from_secs_f64(args.jitter), progress)?;
        if let Some(fault) = &back.fault {
            eprintln!("storm: the first who was refused: {fault}");
        }
        figures.extend([
            ("back_50_s", back.seconds_until(0.5)),
            ("back_99_s", back.seconds_until(0.99)),
            ("refused", back.refused as f64),
        ]);
    } else {
        crew.open_from(hands, front, others, true, progress)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let count = others.count as f64;
    figures.extend([
        ("storm_s", seconds),
        ("handshakes_per_s", count / seconds),
        ("resumed_share", crew.resumed() as f64 / count),
    ]);
    Ok(figures)
}
