//! Requests through a proxy: what it costs to pass a request on to a server, and the answer back.
//!
//! ```text
//!  clients (this process) --> tidegate, nginx, HAProxy, or a bare relay --> server (a thread of this process)
//! ```

mod clients;
mod events;
mod link;
mod origin;
mod token;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rustls::ClientConfig;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::cpu;
use tidegate_bench::floor;
use tidegate_bench::options::{Common, Target, Transport};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::proxies::IDLE_MAX;
use tidegate_bench::report::{Column, Ratio, Report, Row};

use clients::{Clients, Pace, Request};

/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(500);
const SMALL_BYTES: usize = 1024;
/// Bodies that are passed on as they come, and how many clients send or get them at once.
const BODIES: [(usize, u32); 2] = [(64 * 1024, 50), (16 * 1024 * 1024, 8)];
const STREAMS: u32 = 200;

/// Proxied requests: CPU per million and per GB, and latency, beside nginx, HAProxy and a bare relay.
#[derive(Clone, Debug, Parser)]
#[command(name = "proxy", max_term_width = 100)]
#[command(
    after_help = "All proxies have one thread and keep connections to the server, which answers at once. The relay passes bytes between
two sockets and understands none of them. The phases:

  requests  GET, 1 KiB, each client with one request on its way: CPU s per million
  half      the same requests at half of the rate that the slowest had in `requests`: latency
  down, up  bodies of 64 KiB (50 clients) and 16 MiB (8) from the server and to it: CPU s per GB
  events    200 event streams, 20 events/s each: how late an event is
  token     the gateway alone: a token that was verified before beside one that no route asks for
  log       the gateway alone: with an access log, its writer included, beside none

Examples:
  cargo bench --bench proxy
  cargo bench --bench proxy -- --phase requests --runs 5
  cargo bench --bench proxy -- --phase down --phase up --transport tls
  cargo bench --bench proxy -- --phase token --phase log --runs 5"
)]
struct Args {
    /// How many connect for requests of 1 KiB
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    connections: u32,
    /// Only these; may be repeated
    #[arg(long, value_enum, default_values = ["requests", "half", "down", "up", "events"])]
    phase: Vec<Phase>,
    /// In front of the proxy; may be repeated
    #[arg(long, value_enum, default_values = ["plain", "tls"])]
    transport: Vec<Transport>,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Phase {
    Requests,
    Half,
    Down,
    Up,
    Events,
    Token,
    Log,
}

const COLUMNS: &[Column] = &[
    Column("requests_per_s", "requests/s", 0),
    Column("mb_per_s", "MB/s", 0),
    Column("events_per_s", "events/s", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("cpu_s_per_gb", "CPU s per GB", 3),
    Column("load_cpu_s_per_million", "load's CPU s", 2),
];

/// With these names.
const UNREAD: &str = "token unread";
const CHECKED: &str = "token checked";
const UNLOGGED: &str = "not logged";
const LOGGED: &str = "logged";

fn is_like(row: &Row, other: &Row) -> bool {
    row.phase == other.phase && row.marks == other.marks
}

const fn to_phase(name: &'static str, head: &'static str, to: fn(&Row, &Row) -> bool) -> Ratio {
    Ratio { figure: "cpu_s_per_million", name, head, to }
}

const fn to_nginx(figure: &'static str, name: &'static str, head: &'static str) -> Ratio {
    Ratio { figure, name, head, to: |row, other| other.target == "nginx" && is_like(row, other) }
}

const fn to_haproxy(figure: &'static str, name: &'static str, head: &'static str) -> Ratio {
    Ratio { figure, name, head, to: |row, other| other.target == "haproxy" && is_like(row, other) }
}

const RATIOS: &[Ratio] = &[
    to_phase("cpu_to_floor", "CPU to relay", |row, other| other.target == Target::Floor.name() && is_like(row, other)),
    to_phase("cpu_to_unread", "CPU to token unread", |row, other| {
        row.phase == CHECKED && other.phase == UNREAD && row.target == other.target && row.marks == other.marks
    }),
    to_phase("cpu_to_unlogged", "CPU to not logged", |row, other| {
        row.phase == LOGGED && other.phase == UNLOGGED && row.target == other.target && row.marks == other.marks
    }),
    to_nginx("cpu_s_per_million", "cpu_to_nginx", "CPU to nginx"),
    to_haproxy("cpu_s_per_million", "cpu_to_haproxy", "CPU to HAProxy"),
    to_nginx("cpu_s_per_gb", "gb_to_nginx", "GB to nginx"),
    to_haproxy("cpu_s_per_gb", "gb_to_haproxy", "GB to HAProxy"),
    to_nginx("p99_ms", "p99_to_nginx", "p99 to nginx"),
    to_haproxy("p99_ms", "p99_to_haproxy", "p99 to HAProxy"),
];

/// One run of the benchmark.
struct Bench<'a> {
    args: &'a Args,
    run: u32,
    server: SocketAddr,
    origin_of_time: Instant,
    certificate: &'a Certificate,
    tls: &'a Arc<ClientConfig>,
}

fn main() -> ExitCode {
    tidegate_bench::main("proxy", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let options = vec![("connections", args.connections.into()), ("seconds", args.seconds.into())];
    let mut report = Report::new("proxy", &args.common, COLUMNS, RATIOS, options);
    let origin_of_time = Instant::now();
    let server = origin::start(BODIES.map(|(bytes, _)| bytes).into_iter().chain([SMALL_BYTES]), origin_of_time)?;
    let certificate = Certificate::new()?;
    let tls = certificate.client(Shake::default())?;
    for run in 1..=args.common.runs {
        let bench = Bench { args, run, server, origin_of_time, certificate: &certificate, tls: &tls };
        for transport in &args.transport {
            bench.measure(*transport, &mut report)?;
        }
    }
    report.finish("relay: a loop that passes bytes between two sockets for each client, over epoll, plain.");
    Ok(())
}

impl Bench<'_> {
    fn has(&self, phase: Phase) -> bool {
        self.args.phase.contains(&phase)
    }

    fn measure(&self, transport: Transport, report: &mut Report<'_>) -> Result<(), String> {
        let common = &self.args.common;
        let proxies = || common.gateways().chain(common.proxies());
        let floor = (transport == Transport::Plain).then_some(Target::Floor);
        let all: Vec<Target> = floor.into_iter().chain(proxies()).collect();
        let mut slowest = f64::MAX;
        if self.has(Phase::Requests) || self.has(Phase::Half) {
            for target in &all {
                let row = self.requests(*target, transport, Pace::AtOnce, "requests")?;
                slowest = slowest.min(row.figure("requests_per_s"));
                report.add(self.run, row);
            }
        }
        for target in all.iter().filter(|_| self.has(Phase::Half)) {
            report.add(self.run, self.requests(*target, transport, Pace::PerSecond(slowest / 2.0), "half load")?);
        }
        for (phase, name) in [(Phase::Down, "down"), (Phase::Up, "up")] {
            for (target, body) in proxies().flat_map(|target| BODIES.map(|body| (target, body))) {
                if self.has(phase) {
                    report.add(self.run, self.bodies(target, transport, name, body)?);
                }
            }
        }
        for target in all.iter().filter(|_| self.has(Phase::Events)) {
            report.add(self.run, self.events(*target, transport)?);
        }
        for (phase, names) in [(Phase::Token, [UNREAD, CHECKED]), (Phase::Log, [UNLOGGED, LOGGED])] {
            for target in common.gateways().filter(|_| self.has(phase)) {
                for name in names {
                    report.add(self.run, self.requests(target, transport, Pace::AtOnce, name)?);
                }
            }
        }
        Ok(())
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.args.seconds.into())
    }

    fn progress(&self, target: Target, transport: Transport, words: &str) -> Progress {
        let runs = self.args.common.runs;
        Progress::new(format!("run {} of {runs}, {}, {}, {words}", self.run, target.name(), transport.name()))
    }

    /// `rules`: before the routes of the gateway.
    fn start(&self, target: Target, rules: &str) -> Result<Process, String> {
        let server = self.server;
        let rules = match target.is_gateway() {
            true => format!(
                "{rules}[[upstream]]\nname = \"app\"\nservers = \"{server}\"\nidle_max = {IDLE_MAX}\n\
                 [[route]]\npath = \"/proxied/*\"\nproxy = \"app\"\n[[route]]\npath = \"/streamed/*\"\nproxy = \"app\"\n"
            ),
            false => server.to_string(),
        };
        Process::start(&Setup {
            target,
            shards: 1,
            certificate: Some(self.certificate),
            floor: floor::Kind::Relay,
            has_worker: false,
            is_grouped: false,
            rules: &rules,
        })
    }

    /// A file that is gone with the benchmark.
    fn access_log(&self) -> String {
        let file = toml_edit::Value::from(self.certificate.folder().join("access.log").to_string_lossy().into_owned());
        format!("[access_log]\nfile = {file}\n")
    }

    fn clients(
        &self,
        process: &Process,
        transport: Transport,
        count: u32,
        request: Request,
    ) -> Result<Clients, String> {
        Clients::connect(count, process.front(transport)?, self.tls_of(transport), request)
    }

    fn tls_of(&self, transport: Transport) -> Option<&Arc<ClientConfig>> {
        (transport == Transport::Tls).then_some(self.tls)
    }

    fn requests(&self, target: Target, transport: Transport, pace: Pace, phase: &'static str) -> Result<Row, String> {
        let _progress = self.progress(target, transport, phase);
        let rules = match phase {
            CHECKED => token::AUTH.to_owned(),
            LOGGED => self.access_log(),
            _ => String::new(),
        };
        let process = self.start(target, &rules)?;
        let lines = if [CHECKED, UNREAD].contains(&phase) { token::line()? } else { String::new() };
        let request = Request::get(&format!("/proxied/{SMALL_BYTES}"), &lines);
        let mut clients = self.clients(&process, transport, self.args.connections, request)?;
        clients.ask(pace, WARM_UP)?;
        let (own, load) = (process.cpu()?, cpu::own()?);
        let answers = clients.ask(pace, self.duration())?;
        let (own, load) = (process.cpu()?.saturating_sub(own), cpu::own()?.saturating_sub(load));
        let millions = answers.count as f64 / 1e6;
        let figures = vec![
            ("requests_per_s", answers.per_second()),
            ("p50_ms", answers.latency_ms(0.5)),
            ("p99_ms", answers.latency_ms(0.99)),
            ("cpu_s_per_million", own.as_secs_f64() / millions),
            ("load_cpu_s_per_million", load.as_secs_f64() / millions),
        ];
        Ok(Row { target: target.name(), phase, marks: marks(transport, SMALL_BYTES.to_string()), figures })
    }

    fn bodies(
        &self,
        target: Target,
        transport: Transport,
        phase: &'static str,
        (bytes, count): (usize, u32),
    ) -> Result<Row, String> {
        let _progress = self.progress(target, transport, phase);
        let process = self.start(target, "")?;
        let request = match phase {
            "down" => Request::get(&format!("/streamed/{bytes}"), ""),
            _ => Request::post("/streamed/up", bytes),
        };
        let mut clients = self.clients(&process, transport, count, request)?;
        clients.ask(Pace::AtOnce, WARM_UP)?;
        let own = process.cpu()?;
        let answers = clients.ask(Pace::AtOnce, self.duration())?;
        let own = process.cpu()?.saturating_sub(own);
        let gigabytes = answers.count as f64 * bytes as f64 / 1e9;
        let figures = vec![
            ("requests_per_s", answers.per_second()),
            ("mb_per_s", gigabytes * 1e3 / answers.elapsed.as_secs_f64()),
            ("cpu_s_per_gb", own.as_secs_f64() / gigabytes),
        ];
        Ok(Row { target: target.name(), phase, marks: marks(transport, bytes.to_string()), figures })
    }

    fn events(&self, target: Target, transport: Transport) -> Result<Row, String> {
        let _progress = self.progress(target, transport, "events");
        let process = self.start(target, "")?;
        let (front, tls) = (process.front(transport)?, self.tls_of(transport));
        let delays = events::read(STREAMS, front, tls, (WARM_UP, self.duration()), self.origin_of_time)?;
        let figures = vec![
            ("events_per_s", delays.count as f64 / self.duration().as_secs_f64()),
            ("p50_ms", delays.ms(0.5)),
            ("p99_ms", delays.ms(0.99)),
        ];
        Ok(Row { target: target.name(), phase: "events", marks: marks(transport, "-".to_owned()), figures })
    }
}

fn marks(transport: Transport, bytes: String) -> Vec<(&'static str, String)> {
    vec![("transport", transport.name().to_owned()), ("bytes", bytes)]
}
