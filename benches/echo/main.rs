//! Echo: every connection has one message on its way, there and back.
//!
//! ```text
//!  room:    client --> channel of its own, on a publishing route --> the same client
//!  service: client --> worker in the gateway's process --> reply --> the client
//!  floor:   a bare loop that sends back what it reads, by epoll or by io_uring
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rustls::ClientConfig;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, PAYLOAD_BYTES_MIN};
use tidegate_bench::options::{Common, Kind, Target, Transport};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Ratio, Report, Row};
use tidegate_bench::session::{Session, figures};

/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(300);

/// WebSocket echo: CPU per million round trips, beside bare echo loops over epoll and io_uring.
#[derive(Clone, Debug, Parser)]
#[command(name = "echo", max_term_width = 100)]
#[command(
    after_help = "A room is a channel to which its clients may publish: each has one of its own here, and gets what it
says. A service is answered by a worker, here a thread of the gateway's own process.

Examples:
  cargo bench --bench echo
  cargo bench --bench echo -- --bytes 64 --transport plain --runs 5
  cargo bench --bench echo -- --through room --driver uring --seconds 10"
)]
struct Args {
    /// How many connect
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: u32,
    /// Payload of a message; may be repeated
    #[arg(long, value_name = "N", default_values_t = [64, 1024], value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000))]
    bytes: Vec<u32>,
    /// Only plain, or only TLS 1.3; may be repeated. Floors are plain
    #[arg(long, value_enum, default_values = ["plain", "tls"])]
    transport: Vec<Transport>,
    /// Only through a room, or only through a service; may be repeated
    #[arg(long, value_enum, default_values = ["room", "service"])]
    through: Vec<Through>,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Shards of the gateway; the load takes a core as well
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Through {
    Room,
    Service,
}

impl Through {
    fn name(self) -> &'static str {
        match self {
            Through::Room => "room",
            Through::Service => "service",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column("round_trips_per_s", "round trips/s", 0),
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
        head: "CPU to epoll loop",
        to: |row, other| other.target == "floor" && is_as_long(row, other),
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_floor_uring",
        head: "CPU to io_uring loop",
        to: |row, other| other.target == "floor uring" && is_as_long(row, other),
    },
];

fn is_as_long(row: &Row, other: &Row) -> bool {
    row.marks[0] == other.marks[0]
}

fn main() -> ExitCode {
    tidegate_bench::main("echo", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let tls = certificate.client(Shake::default())?;
    let mut report = Report::new(
        "echo",
        &args.common,
        COLUMNS,
        RATIOS,
        vec![
            ("connections", args.connections.into()),
            ("shards", args.shards.into()),
            ("seconds", args.seconds.into()),
        ],
    );
    let servers = args.common.gateways().flat_map(|target| {
        let ways = args.transport.iter().flat_map(|transport| args.through.iter().map(|way| (*transport, *way)));
        ways.map(move |(transport, way)| (target, transport, Some(way)))
    });
    let servers: Vec<_> = [Target::Floor, Target::FloorUring]
        .map(|target| (target, Transport::Plain, None))
        .into_iter()
        .chain(servers)
        .collect();
    for run in 1..=args.common.runs {
        for (target, transport, way) in &servers {
            let tls = (*transport == Transport::Tls).then_some(&tls);
            measure_target(args, run, *target, *way, &certificate, tls, &mut report)?;
        }
    }
    report.finish("floors: loops that send back what they read, plain, over epoll and over io_uring.");
    Ok(())
}

fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    way: Option<Through>,
    certificate: &Certificate,
    tls: Option<&Arc<ClientConfig>>,
    report: &mut Report<'_>,
) -> Result<(), String> {
    let setup = Setup {
        target,
        shards: if target.is_floor() { 1 } else { args.shards as usize },
        certificate: Some(certificate),
        floor: if target == Target::Floor { floor::Kind::Echo } else { floor::Kind::EchoUring },
        has_worker: way == Some(Through::Service),
        is_grouped: false,
        rules: "",
    };
    let through = way.map_or("-", Through::name);
    let transport = if tls.is_some() { Transport::Tls } else { Transport::Plain };
    for bytes in &args.bytes {
        let mut progress = Progress::new(format!(
            "run {run} of {}, {}, {}, {through}, {bytes} bytes",
            args.common.runs,
            target.name(),
            transport.name()
        ));
        let session = Session::start(1, &setup, tls)?;
        let clients = Clients { count: args.connections as usize, kind: Kind::Ws, per_channel: 1 };
        let front = session.front.clone().below(if way == Some(Through::Service) { "/service" } else { "/room" });
        session.crew.open(&front, clients, &mut progress)?;
        session.crew.echo(*bytes as usize, WARM_UP, &mut progress)?.require_whole()?;
        let duration = Duration::from_secs(args.seconds.into());
        let (outcome, spent) = session.spend(|crew| crew.echo(*bytes as usize, duration, &mut progress))?;
        outcome.require_whole()?;
        let mut figures = figures(&outcome, spent);
        // A round trip is what elsewhere is a delivery.
        figures[0].0 = "round_trips_per_s";
        report.add(
            run,
            Row {
                target: target.name(),
                phase: "echo",
                marks: vec![
                    ("bytes", bytes.to_string()),
                    ("transport", transport.name().to_owned()),
                    ("through", through.to_owned()),
                ],
                figures,
            },
        );
    }
    Ok(())
}
