//! What a new TLS connection costs the server, beside what cannot be avoided.
//!
//! ```text
//!  plain:   connect, upgrade, close           CPU of the server, each
//!  full:    the same over TLS 1.3, no ticket       beside  plain + the server's half of the same handshake in memory
//!  resumed: the same with a ticket                 beside  plain + that half, resumed
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rustls::ClientConfig;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::half::server_half;
use tidegate_bench::load::Clients;
use tidegate_bench::options::{Common, Kind, Target};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Report, Row};
use tidegate_bench::session::Session;

/// A handshake is more work for the client: one thread would leave the server asleep between any two, and each would pay for a
/// sleep and a wake-up that plain ones share.
const HANDS: usize = 2;
/// Connections before the first measurement: caches, allocators, and the ticket that the others come back with.
const WARM_UP: usize = 200;
/// A server may notice the last ends a little later; its time counts.
const LAST_ENDS: Duration = Duration::from_millis(300);

/// TLS 1.3 connect, upgrade and close: CPU of the server for each, full (P-256) and resumed, beside a plain one and the
/// server's half of the handshake in memory.
#[derive(Clone, Debug, Parser)]
#[command(name = "handshake", max_term_width = 100)]
#[command(
    after_help = "The bound of a TLS connection is the plain connection of the same server and the server's half of the
same handshake, both measured in this run.

Examples:
  cargo bench --bench handshake
  cargo bench --bench handshake -- --connects 20000 --driver uring --runs 5
  cargo bench --bench handshake -- --hybrid"
)]
struct Args {
    /// How many connect in each phase
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    connects: u32,
    /// The hybrid post-quantum key exchange of browsers (X25519MLKEM768) instead of X25519
    #[arg(long)]
    hybrid: bool,
    /// Shards of the gateway; the load takes a core as well
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("connects_per_s", "connects/s", 0),
    Column("cpu_us", "CPU µs each", 1),
    Column("half_us", "handshake in memory µs", 1),
    Column("bound_us", "bound µs", 1),
    Column("cpu_to_bound", "to bound", 3),
    Column("resumed_share", "resumed", 2),
    Column("load_cpu_us", "load's CPU µs", 1),
];

fn main() -> ExitCode {
    tidegate_bench::main("handshake", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "handshake",
        &args.common,
        COLUMNS,
        &[],
        vec![
            ("connects", args.connects.into()),
            ("key_exchange", if args.hybrid { "X25519MLKEM768" } else { "X25519" }.into()),
            ("shards", args.shards.into()),
        ],
    );
    for run in 1..=args.common.runs {
        for target in args.common.gateways().chain(args.common.peers()) {
            measure_target(args, run, target, &certificate, &mut report)?;
        }
    }
    report.finish(
        "bound: the server's plain connection, and the server's half of the same handshake by rustls in memory with the \
         gateway's configuration.",
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
    let shake = |is_resuming| certificate.client(Shake { is_hybrid: args.hybrid, is_resuming });
    let phases = [("plain", None), ("full", Some(shake(false)?)), ("resumed", Some(shake(true)?))];
    let mut plain_us = f64::NAN;
    for (phase, tls) in phases {
        let mut progress = Progress::new(format!("run {run} of {}, {}, {phase}", args.common.runs, target.name()));
        let half_us = match &tls {
            Some(tls) => half_us(certificate, tls, args.connects as usize, phase)?,
            None => f64::NAN,
        };
        let mut figures = visit(args, target, certificate, tls.as_ref(), &mut progress)?;
        if tls.is_none() {
            plain_us = figures[1].1;
        } else {
            let bound_us = plain_us + half_us;
            figures.extend([("half_us", half_us), ("bound_us", bound_us), ("cpu_to_bound", figures[1].1 / bound_us)]);
        }
        report.add(run, Row { target: target.name(), phase, marks: Vec::new(), figures });
    }
    Ok(())
}

/// One process for each phase: none has memory that another left.
fn visit(
    args: &Args,
    target: Target,
    certificate: &Certificate,
    tls: Option<&Arc<ClientConfig>>,
    progress: &mut Progress,
) -> Result<Vec<(&'static str, f64)>, String> {
    let setup = Setup {
        target,
        shards: args.shards as usize,
        certificate: Some(certificate),
        floor: floor::Kind::Accept,
        has_worker: false,
        is_grouped: false,
        rules: "",
    };
    let session = Session::start(HANDS, &setup, tls)?;
    let clients = |count| Clients { count, kind: Kind::Ws, per_channel: 1 };
    session.crew.visit(&session.front, clients(WARM_UP), progress)?;
    std::thread::sleep(LAST_ENDS);
    let count = args.connects as usize;
    let (elapsed, spent) = session.spend(|crew| {
        let elapsed = crew.visit(&session.front, clients(count), progress)?;
        std::thread::sleep(LAST_ENDS);
        Ok(elapsed)
    })?;
    let us = |spent: Duration| spent.as_secs_f64() * 1e6 / count as f64;
    Ok(vec![
        ("connects_per_s", count as f64 / elapsed.as_secs_f64()),
        ("cpu_us", us(spent.process)),
        ("load_cpu_us", us(spent.load)),
        ("resumed_share", session.crew.resumed() as f64 / count as f64),
    ])
}

fn half_us(certificate: &Certificate, tls: &Arc<ClientConfig>, count: usize, phase: &str) -> Result<f64, String> {
    let server = certificate.server()?;
    server_half(&server, tls, WARM_UP)?;
    let (half, resumed) = server_half(&server, tls, count)?;
    let wanted = if phase == "resumed" { count } else { 0 };
    if resumed != wanted {
        return Err(format!("{resumed} of {count} handshakes in memory resumed a session, not {wanted}"));
    }
    Ok(half.as_secs_f64() * 1e6)
}
