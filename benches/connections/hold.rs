//! The soak: connections that stay open for minutes with traffic on them. None may be lost, none closed.

use std::time::Duration;

use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::load::{Crew, Front, Pace};
use tidegate_bench::memory::PerConnection;
use tidegate_bench::options::{Target, Transport, tables_for};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Report, Row};
use tidegate_bench::{cpu, floor};

use super::{Args, at_rest};

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
        "hold",
        &args.common,
        COLUMNS,
        &[],
        vec![
            ("connections", args.connections.into()),
            ("kind", args.kind.name().into()),
            ("per_channel", args.per_channel.into()),
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
    let crew = Crew::start(tables_for(clients.count)?)?;
    let setup = Setup {
        target,
        shards: args.shards(clients.count)?,
        certificate: Some(certificate),
        floor: floor::Kind::Accept,
        is_grouped: true,
    };
    let process = Process::start(&setup)?;
    let tls = (transport == Transport::Tls).then(|| certificate.client(Shake::default())).transpose()?;
    let front = Front::new(&process, tls.as_ref())?;
    let head = format!("run {run} of {}, {}, {}", args.common.runs, target.name(), transport.name());
    let mut progress = Progress::new(head);
    let before = process.memory()?;
    let opening = crew.open(&front, clients, &mut progress)?;
    crew.connect_publisher(&process, clients, args.bytes as usize)?;

    let (process_before, load_before) = (process.cpu()?, cpu::own()?);
    let pace = Pace::Paced { per_second: clients.channels() as f64 / args.every };
    let outcome = crew.run(&[clients], pace, duration, &mut progress)?;
    let cores = |after: Duration, before: Duration| (after - before).as_secs_f64() / outcome.elapsed.as_secs_f64();
    let (cpu_cores, load_cpu_cores) = (cores(process.cpu()?, process_before), cores(cpu::own()?, load_before));

    let each = PerConnection::new(&before, &at_rest(&process, &mut progress)?, clients.count);
    let tally = &outcome.tally;
    if let Some(fault) = &tally.fault {
        eprintln!("{}, {}: a connection was closed: {fault}", target.name(), transport.name());
    }
    // What never came counts as lost too, although no later message shows it.
    let missing = outcome.expected.saturating_sub(tally.deliveries);
    Ok(Row {
        target: target.name(),
        phase: "hold",
        marks: vec![("transport", transport.name().to_owned())],
        figures: vec![
            ("deliveries_per_s", tally.deliveries as f64 / outcome.elapsed.as_secs_f64()),
            ("lost", missing.max(tally.lost) as f64),
            ("closed", tally.closed as f64),
            ("p50_ms", tally.latency_ms(0.5)),
            ("p99_ms", tally.latency_ms(0.99)),
            ("p999_ms", tally.latency_ms(0.999)),
            ("max_ms", tally.latency_ms(1.0)),
            ("cpu_cores", cpu_cores),
            ("load_cpu_cores", load_cpu_cores),
            ("user_bytes", each.user_bytes),
            ("all_in_bytes", each.all_in_bytes),
            ("connects_per_s", clients.count as f64 / opening.as_secs_f64()),
        ],
    })
}
