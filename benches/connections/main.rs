//! What a connection costs in memory: idle, after traffic, and when it has gone.
//!
//! ```text
//!  load: a few clients, so that the process has what it has once --> read memory
//!        N clients, subscribed                                  --> read memory: "idle"
//!        a burst of messages to each of them, then quiet        --> read memory: "after traffic"
//!        all of them leave, N others come and go                --> read memory: "after churn"
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::{Clients, Crew, PAYLOAD_BYTES_MIN, Pace};
use tidegate_bench::memory::{Memory, PerConnection, own_user_bytes};
use tidegate_bench::options::{Common, Kind, Target, Transport, tables_for};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Ratio, Report, Row};
use tidegate_bench::session::Session;

mod hold;

/// Clients of each shard that stay: what the first ones cost belongs to the process.
const EARLY_CLIENTS: usize = 64;
/// Messages to each of them: every receive buffer has been used then.
const EARLY_MESSAGES: usize = 8;
/// Deliveries a second of the burst: far below what a core can do, so that nobody becomes slow.
const BURST_DELIVERIES_PER_S: f64 = 20_000.0;
const MIB: f64 = (1 << 20) as f64;

/// Memory of connections: bytes each, of the process and of the kernel, beside a bare accept and epoll loop (the floor).
#[derive(Clone, Debug, Parser)]
#[command(name = "connections", max_term_width = 100)]
#[command(
    after_help = "All in is user memory and kernel memory together: the growth of the process's memory cgroup per connection, and
2,520 bytes for the accepted socket's own structure, which the kernel charges to nobody. Without a memory cgroup
only user memory is told.

Examples:
  cargo bench --bench connections
  cargo bench --bench connections -- --connections 100000 --transport tls --driver uring
  cargo bench --bench connections -- --hold 300 --connections 100000"
)]
struct Args {
    /// How many connect
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    connections: u32,
    /// What they are; `both` is half and half
    #[arg(long, value_enum, default_value = "both")]
    kind: Kind,
    /// Only plain, or only TLS 1.3; may be repeated
    #[arg(long, value_enum, default_values = ["plain", "tls"])]
    transport: Vec<Transport>,
    /// How many share a channel
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    per_channel: u32,
    /// Shards of the gateway; without it, as few as hold the connections under this descriptor limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    /// Payload of a message
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=60_000))]
    bytes: u32,
    /// Messages to each connection before the reading after traffic
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    burst: u32,
    /// Quiet after the burst
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=3600))]
    quiet: u32,
    /// Instead of the phases: hold the connections so long, with traffic at --every, and count what is lost
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    hold: Option<u32>,
    /// While holding, each connection gets a message in so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    every: f64,
    /// Silence after which the gateway sends a ping or a heartbeat; without it, as users get it, which is a load of its own
    /// where connections are very many
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    heartbeat: Option<u32>,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("user_bytes", "user B", 0),
    Column("kernel_bytes", "kernel B", 0),
    Column("all_in_bytes", "all in B", 0),
    Column("per_gib", "per GiB", 0),
    Column("connects_per_s", "connects/s", 0),
    Column("load_user_bytes", "load's user B", 0),
    Column("process_mib_before", "process MiB before", 2),
    Column("process_mib_after", "after", 2),
    Column("process_growth", "after to before", 3),
    Column("process_user_mib_before", "of it not files, before", 2),
    Column("process_user_mib_after", "after", 2),
];

/// All in, to the floor's: that one is plain, and has no traffic.
const RATIOS: &[Ratio] = &[Ratio {
    figure: "all_in_bytes",
    name: "all_in_to_floor",
    head: "to floor",
    to: |_, other| other.target == "floor" && other.phase == "idle",
}];

fn main() -> ExitCode {
    tidegate_bench::main("connections", |args: &Args| match args.hold {
        Some(seconds) => hold::measure(args, Duration::from_secs(seconds.into())),
        None => measure(args),
    })
}

impl Args {
    fn clients(&self) -> Clients {
        let (count, per_channel) = (self.connections as usize, self.per_channel as usize);
        Clients { count, kind: self.kind, per_channel }
    }

    fn shards(&self, connections: usize) -> Result<usize, String> {
        self.shards.map_or_else(|| tables_for(connections), |shards| Ok(shards as usize))
    }

    fn limits(&self) -> String {
        // The early ones, the publisher and those that are just leaving come on top; the default is a million.
        let connections_max = 2 * u64::from(self.connections) + 1_000;
        let heartbeat = self
            .heartbeat
            .map_or_else(String::new, |seconds| format!("ping_interval_s = {seconds}\nsse_heartbeat_s = {seconds}\n"));
        format!("[limits]\nconnections_max = {connections_max}\n{heartbeat}")
    }
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "connections",
        &args.common,
        COLUMNS,
        RATIOS,
        vec![
            ("connections", args.connections.into()),
            ("kind", args.kind.name().into()),
            ("per_channel", args.per_channel.into()),
            ("bytes", args.bytes.into()),
            ("burst", args.burst.into()),
            ("quiet_s", args.quiet.into()),
        ],
    );
    let mut why_no_group = None;
    for run in 1..=args.common.runs {
        let servers = args.common.gateways().chain(args.common.peers());
        let each = servers.flat_map(|target| args.transport.iter().map(move |transport| (target, *transport)));
        for (target, transport) in std::iter::once((Target::Floor, Transport::Plain)).chain(each) {
            why_no_group = measure_target(args, run, target, transport, &certificate, &mut report)?.or(why_no_group);
        }
    }
    if let Some(why) = why_no_group {
        eprintln!("No memory cgroup ({why}): only user memory is told, by proportional share.");
    }
    report.finish(
        "floor: a bare accept and epoll loop, plain. User: memory of the process that no file backs. Kernel: what its \
         memory cgroup is charged for, and 2,520 B for the socket's own structure.",
    );
    Ok(())
}

/// All phases of one process; why its kernel memory cannot be told, if so.
fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    transport: Transport,
    certificate: &Certificate,
    report: &mut Report<'_>,
) -> Result<Option<String>, String> {
    let clients = args.clients();
    let shards = args.shards(clients.count)?;
    let early = Clients { count: EARLY_CLIENTS * shards, ..clients };
    let setup = Setup {
        target,
        shards,
        certificate: Some(certificate),
        floor: floor::Kind::Accept,
        has_worker: false,
        is_grouped: true,
        rules: &args.limits(),
    };
    let tls = (transport == Transport::Tls).then(|| certificate.client(Shake::default())).transpose()?;
    let session = Session::start(tables_for(clients.count + early.count)?, &setup, tls.as_ref())?;
    let Session { crew, process, front } = &session;
    let head = format!("run {run} of {}, {}, {}", args.common.runs, target.name(), transport.name());
    let mut progress = Progress::new(head);
    let row = |phase, figures| Row {
        target: target.name(),
        phase,
        marks: vec![("transport", transport.name().to_owned())],
        figures,
    };

    // The first ones share the channels of the others, and so get the same burst.
    crew.open(front, early, &mut progress)?;
    if !target.is_floor() {
        crew.connect_publisher(process, clients, args.bytes as usize)?;
        burst(crew, &[early], EARLY_MESSAGES, &mut progress)?;
    }
    let before = process.memory_at_rest(&mut progress)?;

    let load_before = own_user_bytes()?;
    let elapsed = crew.open(front, clients, &mut progress)?;
    let load_user_bytes = own_user_bytes()?.saturating_sub(load_before) as f64 / clients.count as f64;
    let idle = process.memory_at_rest(&mut progress)?;
    let mut figures = per_connection(&before, &idle, clients.count);
    figures.push(("connects_per_s", clients.count as f64 / elapsed.as_secs_f64()));
    figures.push(("load_user_bytes", load_user_bytes));
    report.add(run, row("idle", figures));
    let group_error = process.group_error().map(str::to_owned);
    if target.is_floor() {
        return Ok(group_error);
    }

    burst(crew, &[clients, early], args.burst as usize, &mut progress)?;
    wait(Duration::from_secs(args.quiet.into()), "quiet", &mut progress);
    let after = process.memory_at_rest(&mut progress)?;
    report.add(run, row("after traffic", per_connection(&before, &after, clients.count)));

    crew.close()?;
    process.memory_at_rest(&mut progress)?;
    crew.visit(front, clients, &mut progress)?;
    let gone = process.memory_at_rest(&mut progress)?;
    report.add(run, row("after churn", growth(&before, &gone)));
    Ok(group_error)
}

fn per_connection(before: &Memory, after: &Memory, connections: usize) -> Vec<(&'static str, f64)> {
    let each = PerConnection::new(before, after, connections);
    vec![
        ("user_bytes", each.user_bytes),
        ("kernel_bytes", each.kernel_bytes),
        ("all_in_bytes", each.all_in_bytes),
        ("group_bytes", each.group_bytes),
        ("per_gib", each.per_gib),
    ]
}

fn growth(before: &Memory, after: &Memory) -> Vec<(&'static str, f64)> {
    vec![
        ("process_mib_before", before.resident_bytes as f64 / MIB),
        ("process_mib_after", after.resident_bytes as f64 / MIB),
        ("process_growth", after.resident_bytes as f64 / before.resident_bytes as f64),
        ("process_user_mib_before", before.user_bytes as f64 / MIB),
        ("process_user_mib_after", after.user_bytes as f64 / MIB),
    ]
}

/// So many messages to each channel of the first crowd, and everybody gets them.
fn burst(crew: &Crew, crowds: &[Clients], messages: usize, progress: &mut Progress) -> Result<(), String> {
    let Clients { count, per_channel, .. } = crowds[0];
    let per_second = BURST_DELIVERIES_PER_S / per_channel as f64;
    let duration = Duration::from_secs_f64((messages * count.div_ceil(per_channel)) as f64 / per_second);
    crew.run(crowds, Pace::Paced { per_second }, duration, progress)?.require_whole()
}

fn wait(duration: Duration, what: &str, progress: &mut Progress) {
    progress.show(|| what.to_owned());
    std::thread::sleep(duration);
}
