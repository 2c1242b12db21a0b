//! The soak: connections that stay open for minutes with traffic on them. None may be lost, none closed.

use std::time::Duration;

use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::floor;
use tidegate_bench::load::Pace;
use tidegate_bench::memory::PerConnection;
use tidegate_bench::options::{Target, Transport, tables_for};
use tidegate_bench::process::Setup;
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Report, Row};
use tidegate_bench::session::{Session, figures};

use super::Args;

const COLUMNS: &[Column] = &[
    Column("deliveries_per_s", "deliveries/s", 0),
    Column("lost", "lost", 0),
    Column("closed", "closed", 0),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("p999_ms", "p99.9 ms", 2),
    Column("max_ms", "max ms", 2),
    Column("cpu_cores", "CPU cores", 3),
    Column("load_cpu_cores", "load's CPU cores", 3),
    Column("user_bytes", "user B", 0),
    Column("all_in_bytes", "all in B", 0),
    Column("connects_per_s", "connects/s", 0),
];

pub(super) fn measure(args: &Args, duration: Duration) -> Result<(), String> {
    let certificate = Certificate::new()?;
    let mut report = Report::new(
        "connections",
        &args.common,
        COLUMNS,
        &[],
        vec![
            ("connections", args.connections.into()),
            ("kind", args.kind.name().into()),
            ("per_channel", args.per_channel.into()),
            ("heartbeat_s", args.heartbeat.into()),
            ("bytes", args.bytes.into()),
            ("every_s", args.every.into()),
            ("hold_s", duration.as_secs().into()),
        ],
    );
    for run in 1..=args.common.runs {
        for target in args.common.gateways().chain(args.common.peers()) {
            for transport in &args.transport {
                report.add(run, measure_target(args, run, target, *transport, duration, &certificate)?);
            }
        }
    }
    report.finish("CPU cores: of the server's process, on average. Memory per connection is read at the end.");
    Ok(())
}

fn measure_target(
    args: &Args,
    run: u32,
    target: Target,
    transport: Transport,
    duration: Duration,
    certificate: &Certificate,
) -> Result<Row, String> {
    let clients = args.clients();
    let setup = Setup {
        target,
        shards: args.shards(clients.count)?,
        certificate: Some(certificate),
        floor: floor::Kind::Accept,
        has_worker: false,
        is_grouped: true,
        rules: &args.limits(),
    };
    let tls = (transport == Transport::Tls).then(|| certificate.client(Shake::default())).transpose()?;
    let session = Session::start(tables_for(clients.count)?, &setup, tls.as_ref())?;
    let Session { crew, process, front } = &session;
    let head = format!("run {run} of {}, {}, {}", args.common.runs, target.name(), transport.name());
    let mut progress = Progress::new(head);
    let before = process.memory()?;
    let opening = crew.open(front, clients, &mut progress)?;
    crew.connect_publisher(process, clients, args.bytes as usize)?;
    let pace = Pace::Paced { per_second: clients.channels() as f64 / args.every };
    let (outcome, spent) = session.run(clients, pace, duration, &mut progress)?;
    let each = PerConnection::new(&before, &process.memory_at_rest(&mut progress)?, clients.count);
    if let Some(fault) = &outcome.tally.fault {
        eprintln!("{}, {}: a connection was closed: {fault}", target.name(), transport.name());
    }
    let mut figures = figures(&outcome, spent);
    figures.extend([
        ("user_bytes", each.user_bytes),
        ("all_in_bytes", each.all_in_bytes),
        ("connects_per_s", clients.count as f64 / opening.as_secs_f64()),
    ]);
    let marks = vec![("transport", transport.name().to_owned())];
    Ok(Row { target: target.name(), phase: "hold", marks, figures })
}
