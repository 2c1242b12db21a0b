//! Requests through a proxy: what it costs to pass a request on to a server, and the answer back.
//!
//! ```text
//!  clients (this process) --> tidegate, nginx, HAProxy, or a bare relay --> server (a thread of this process)
//! ```

mod clients;
mod origin;
mod token;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidegate_bench::cpu;
use tidegate_bench::floor;
use tidegate_bench::options::{Common, Target, Transport};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::proxies::IDLE_MAX;
use tidegate_bench::report::{Column, Ratio, Report, Row};

use clients::Clients;

/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(500);
const PATH: &str = "/proxied/a";

/// Proxied requests: CPU per million, beside nginx, HAProxy and a bare relay.
#[derive(Clone, Debug, Parser)]
#[command(name = "proxy", max_term_width = 100)]
#[command(
    after_help = "Each client has one request on its way: GET, over a connection that stays open, to a server that answers at once.
All proxies have one thread and keep connections to the server. The relay passes bytes between two sockets and
understands none of them.

Examples:
  cargo bench --bench proxy
  cargo bench --bench proxy -- --bytes 65536 --runs 5
  cargo bench --bench proxy -- --token --runs 5
  cargo bench --bench proxy -- --driver uring --without-peers"
)]
struct Args {
    /// How many connect
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    connections: u32,
    /// Body of an answer; may be repeated
    #[arg(long, value_name = "N", default_values_t = [1024], value_parser = clap::value_parser!(u32).range(0..=100_000))]
    bytes: Vec<u32>,
    /// The gateway alone: requests with a token, on a route that asks for it, beside one that does not
    #[arg(long)]
    token: bool,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("requests_per_s", "requests/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("load_cpu_s_per_million", "load's CPU s", 2),
];

const RATIOS: &[Ratio] = &[
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_floor",
        head: "CPU to relay",
        to: |row, other| other.target == Target::Floor.name() && row.marks == other.marks && row.phase == other.phase,
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_unread",
        head: "CPU to token unread",
        to: |row, other| {
            row.phase == Phase::Checked.name()
                && other.phase == Phase::Unread.name()
                && row.target == other.target
                && row.marks == other.marks
        },
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_nginx",
        head: "CPU to nginx",
        to: |row, other| other.target == "nginx" && row.marks == other.marks,
    },
    Ratio {
        figure: "cpu_s_per_million",
        name: "cpu_to_haproxy",
        head: "CPU to HAProxy",
        to: |row, other| other.target == "haproxy" && row.marks == other.marks,
    },
];

/// The credentials of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not at all.
    Plain,
    /// With a token that no route asks for.
    Unread,
    /// With a token that was verified before.
    Checked,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Plain => "proxied",
            Phase::Unread => "token unread",
            Phase::Checked => "token checked",
        }
    }
}

fn main() -> ExitCode {
    tidegate_bench::main("proxy", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let options = vec![("connections", args.connections.into()), ("seconds", args.seconds.into())];
    let mut report = Report::new("proxy", &args.common, COLUMNS, RATIOS, options);
    let all: Vec<(Target, Phase)> = match args.token {
        true => args.common.gateways().flat_map(|target| [(target, Phase::Unread), (target, Phase::Checked)]).collect(),
        false => {
            let all = std::iter::once(Target::Floor).chain(args.common.gateways()).chain(args.common.proxies());
            all.map(|target| (target, Phase::Plain)).collect()
        }
    };
    let servers = args.bytes.iter().map(|bytes| Ok((*bytes, origin::start(*bytes as usize)?)));
    let servers = servers.collect::<Result<Vec<_>, String>>()?;
    for run in 1..=args.common.runs {
        for target in &all {
            for (bytes, server) in &servers {
                measure_one(args, run, *target, (*bytes, *server), &mut report)?;
            }
        }
    }
    report.finish("relay: a loop that passes bytes between two sockets for each client, over epoll.");
    Ok(())
}

fn measure_one(
    args: &Args,
    run: u32,
    (target, phase): (Target, Phase),
    (bytes, server): (u32, SocketAddr),
    report: &mut Report<'_>,
) -> Result<(), String> {
    let _progress = Progress::new(format!("run {run} of {}, {}, {bytes} bytes", args.common.runs, target.name()));
    let auth = if phase == Phase::Checked { token::AUTH } else { "" };
    let rules = match target.is_gateway() {
        true => format!(
            "{auth}[[upstream]]\nname = \"app\"\nservers = \"{server}\"\nidle_max = {IDLE_MAX}\n\
             [[route]]\npath = \"/proxied/*\"\nproxy = \"app\"\n"
        ),
        false => server.to_string(),
    };
    let setup = Setup {
        target,
        shards: 1,
        certificate: None,
        floor: floor::Kind::Relay,
        has_worker: false,
        is_grouped: false,
        rules: &rules,
    };
    let running = Process::start(&setup)?;
    let lines = if phase == Phase::Plain { String::new() } else { token::line()? };
    let mut clients = Clients::connect(args.connections, running.front(Transport::Plain)?, PATH, &lines)?;
    clients.ask(WARM_UP)?;
    let (own, load) = (running.cpu()?, cpu::own()?);
    let answers = clients.ask(Duration::from_secs(args.seconds.into()))?;
    let (own, load) = (running.cpu()?.saturating_sub(own), cpu::own()?.saturating_sub(load));
    let millions = answers.count as f64 / 1e6;
    report.add(
        run,
        Row {
            target: target.name(),
            phase: phase.name(),
            marks: vec![("bytes", bytes.to_string())],
            figures: vec![
                ("requests_per_s", answers.count as f64 / answers.elapsed.as_secs_f64()),
                ("p50_ms", answers.latency_ms(0.5)),
                ("p99_ms", answers.latency_ms(0.99)),
                ("cpu_s_per_million", own.as_secs_f64() / millions),
                ("load_cpu_s_per_million", load.as_secs_f64() / millions),
            ],
        },
    );
    Ok(())
}
