//! WebSockets through a proxy: the memory of an idle one, all in, and the CPU of a message there and back.
//!
//! ```text
//!  load --> tidegate, nginx, HAProxy, or a bare relay --> a gateway in a process of its own, whose room sends back
//!           '-- measured: memory, CPU
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rustls::ClientConfig;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, Crew, Front, PAYLOAD_BYTES_MIN};
use tidegate_bench::memory::PerConnection;
use tidegate_bench::options::{Common, Kind, Target, Transport};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Ratio, Report, Row};
use tidegate_bench::session::{Session, figures};

/// Clients that stay: what the first ones cost belongs to the process.
const EARLY_CLIENTS: usize = 64;
/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(300);

/// Proxied WebSockets: bytes of an idle one and CPU per million round trips, beside nginx, HAProxy and a bare relay.
#[derive(Clone, Debug, Parser)]
#[command(name = "tunnel", max_term_width = 100)]
#[command(
    after_help = "All proxies have one thread. The server behind them is a gateway in a process of its own, whose memory and CPU are not
told. All in is user memory and kernel memory of both sockets together, as in the benchmark of connections.

Examples:
  cargo bench --bench tunnel
  cargo bench --bench tunnel -- --connections 2000 --transport plain --driver epoll"
)]
struct Args {
    /// How many are idle
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    connections: u32,
    /// How many echo
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    talkers: u32,
    /// Payload of a message; may be repeated
    #[arg(long, value_name = "N", default_values_t = [64], value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000))]
    bytes: Vec<u32>,
    /// Only plain, or only TLS 1.3, in front; may be repeated. The relay is plain
    #[arg(long, value_enum, default_values = ["plain", "tls"])]
    transport: Vec<Transport>,
    /// Length of each phase of echoes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("user_bytes", "user B", 0),
    Column("kernel_bytes", "kernel B", 0),
    Column("all_in_bytes", "all in B", 0),
    Column("round_trips_per_s", "round trips/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("load_cpu_s_per_million", "load's CPU s", 2),
];

const RATIOS: &[Ratio] = &[
    Ratio {
        figure: "all_in_bytes",
        name: "all_in_to_floor",
        head: "all in to relay",
        to: |row, other| other.target == Target::Floor.name() && row.phase == other.phase,
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_floor",
        head: "CPU to relay",
        to: |row, other| other.target == Target::Floor.name() && is_as_long(row, other),
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_nginx",
        head: "CPU to nginx",
        to: |row, other| other.target == Target::Nginx.name() && row.marks == other.marks,
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_haproxy",
        head: "CPU to HAProxy",
        to: |row, other| other.target == Target::HaProxy.name() && row.marks == other.marks,
    },
];

fn is_as_long(row: &Row, other: &Row) -> bool {
    row.phase == other.phase && row.marks[1] == other.marks[1]
}

fn main() -> ExitCode {
    tidegate_bench::main("tunnel", measure)
}

/// A proxy with a server behind it, and the load.
struct Stage {
    /// Dropped first: clients, then the proxy, then the server.
    session: Session,
    _server: Process,
}

fn stage(
    target: Target,
    certificate: &Certificate,
    tls: Option<&Arc<ClientConfig>>,
    is_grouped: bool,
) -> Result<Stage, String> {
    let limits = "[limits]\nconnections_max = 100000\n";
    let behind = Setup {
        target: Target::Epoll,
        shards: 1,
        certificate: Some(certificate),
        floor: floor::Kind::Relay,
        has_worker: false,
        is_grouped: false,
        rules: limits,
    };
    let server = Process::start(&behind)?;
    let address = server.front(Transport::Plain)?;
    let rules = match target.is_gateway() {
        true => format!(
            "{limits}[[route]]\npath = \"/tunnel/*\"\nproxy = {{ upstream = \"http://{address}\", strip = \"/tunnel\" }}\n"
        ),
        false => address.to_string(),
    };
    let setup = Setup { target, is_grouped, rules: &rules, ..behind };
    let (crew, process) = (Crew::start(1)?, Process::start(&setup)?);
    let path = if target.is_gateway() { "/tunnel/room" } else { "/room" };
    let front = Front::through(&process, tls)?.below(path);
    Ok(Stage { session: Session { crew, process, front }, _server: server })
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let tls = certificate.client(Shake::default())?;
    let options = vec![
        ("connections", args.connections.into()),
        ("talkers", args.talkers.into()),
        ("seconds", args.seconds.into()),
    ];
    let mut report = Report::new("tunnel", &args.common, COLUMNS, RATIOS, options);
    let proxies = args.common.gateways().chain(args.common.proxies());
    let each = proxies.flat_map(|target| args.transport.iter().map(move |transport| (target, *transport)));
    let all: Vec<_> = std::iter::once((Target::Floor, Transport::Plain)).chain(each).collect();
    let mut why_no_group = None;
    for run in 1..=args.common.runs {
        for (target, transport) in &all {
            let tls = (*transport == Transport::Tls).then_some(&tls);
            why_no_group = idle(args, run, *target, &certificate, tls, &mut report)?.or(why_no_group);
            echo(args, run, *target, &certificate, tls, &mut report)?;
        }
    }
    if let Some(why) = why_no_group {
        eprintln!("No memory cgroup ({why}): only user memory is told, by proportional share.");
    }
    report.finish("relay: a loop that passes bytes between two sockets for each client, over epoll, plain.");
    Ok(())
}

fn transport(tls: Option<&Arc<ClientConfig>>) -> Transport {
    if tls.is_some() { Transport::Tls } else { Transport::Plain }
}

fn progress(args: &Args, run: u32, target: Target, tls: Option<&Arc<ClientConfig>>) -> Progress {
    Progress::new(format!("run {run} of {}, {}, {}", args.common.runs, target.name(), transport(tls).name()))
}

/// Why its kernel memory cannot be told, if so.
fn idle(
    args: &Args,
    run: u32,
    target: Target,
    certificate: &Certificate,
    tls: Option<&Arc<ClientConfig>>,
    report: &mut Report<'_>,
) -> Result<Option<String>, String> {
    let mut progress = progress(args, run, target, tls);
    let Stage { session, .. } = &stage(target, certificate, tls, true)?;
    let Session { crew, process, front } = session;
    let clients = |count: usize| Clients { count, kind: Kind::Ws, per_channel: 1 };
    crew.open(front, clients(EARLY_CLIENTS), &mut progress)?;
    crew.echo(PAYLOAD_BYTES_MIN, WARM_UP, &mut progress)?.require_whole()?;
    let before = process.memory_at_rest(&mut progress)?;
    let count = args.connections as usize;
    crew.open(front, clients(count), &mut progress)?;
    let each = PerConnection::new(&before, &process.memory_at_rest(&mut progress)?, count);
    let figures = vec![
        ("user_bytes", each.user_bytes),
        ("kernel_bytes", each.kernel_bytes),
        ("all_in_bytes", each.all_in_bytes),
        ("group_bytes", each.group_bytes),
    ];
    let marks = vec![("transport", transport(tls).name().to_owned()), ("bytes", "-".to_owned())];
    report.add(run, Row { target: target.name(), phase: "idle", marks, figures });
    Ok(process.group_error().map(str::to_owned))
}

fn echo(
    args: &Args,
    run: u32,
    target: Target,
    certificate: &Certificate,
    tls: Option<&Arc<ClientConfig>>,
    report: &mut Report<'_>,
) -> Result<(), String> {
    for bytes in &args.bytes {
        let mut progress = progress(args, run, target, tls);
        let Stage { session, .. } = &stage(target, certificate, tls, false)?;
        let clients = Clients { count: args.talkers as usize, kind: Kind::Ws, per_channel: 1 };
        session.crew.open(&session.front, clients, &mut progress)?;
        session.crew.echo(*bytes as usize, WARM_UP, &mut progress)?.require_whole()?;
        let duration = Duration::from_secs(args.seconds.into());
        let (outcome, spent) = session.spend(|crew| crew.echo(*bytes as usize, duration, &mut progress))?;
        outcome.require_whole()?;
        let mut figures = figures(&outcome, spent);
        // A round trip is what elsewhere is a delivery.
        figures[0].0 = "round_trips_per_s";
        let marks = vec![("transport", transport(tls).name().to_owned()), ("bytes", bytes.to_string())];
        report.add(run, Row { target: target.name(), phase: "echo", marks, figures });
    }
    Ok(())
}
