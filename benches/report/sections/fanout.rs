//! One message to many.

use super::{
    CPU_PER_MILLION, LOAD_CPU_PER_MILLION, MAX, P50, P99, P999, PHASE, Plot, SERVER, Section, TO_FLOOR, TO_FLOOR_URING,
    better, find, percentiles,
};
use crate::marks::{Bound, Mark};
use crate::plot::{Bars, Group, grouped};
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::Number;
use crate::table::server_name;

const FLAT_OUT: &[(&str, &str)] = &[("phase", "flat out")];
const PACED: &[(&str, &str)] = &[("phase", "paced")];

pub const SECTION: Section = Section {
    title: "Fan-out: one message to many",
    prose: "\
A worker publishes messages of 200 bytes over the bus, and every subscriber has to get every one of them, whole and in
order. *Paced*, they are due at fixed times, and latency is what counts. *Flat out*, the next message follows as soon as
the ones before it have arrived, and what counts is the CPU of the server for a delivery: on one machine every server
delivers about as many messages as the loopback carries, so throughput alone tells them apart badly.

The floors write the same bytes to as many plain sockets: a loop of write(2), and sends through io_uring in batches.",
    findings,
    runs: &[
        ("fanout", "Plain"),
        ("fanout-tls", "TLS 1.3 (the floors stay plain)"),
        ("fanout-one", "All in one channel"),
        ("fanout-fifty", "The same over 50 channels"),
    ],
    columns: &[
        PHASE,
        SERVER,
        Column("subscribers", "subscribers", Number(0)),
        Column("channels", "channels", Number(0)),
        Column("deliveries_per_s", "deliveries/s", Number(0)),
        P50,
        P99,
        P999,
        MAX,
        CPU_PER_MILLION,
        TO_FLOOR,
        TO_FLOOR_URING,
        LOAD_CPU_PER_MILLION,
    ],
    marks: &[
        Mark {
            what: "fan-out, CPU to the raw io_uring loop",
            short: "CPU to the io_uring floor",
            run: "fanout",
            of: FLAT_OUT,
            figure: |row, _| row.figure("cpu_to_floor_uring"),
            bound: Bound::AtMost(1.1),
            unit: "",
            digits: 2,
        },
        Mark {
            what: "fan-out, throughput to the raw io_uring loop",
            short: "throughput to it",
            run: "fanout",
            of: FLAT_OUT,
            figure: |row, _| row.figure("deliveries_to_floor_uring"),
            bound: Bound::AtLeast(0.95),
            unit: "",
            digits: 2,
        },
        Mark {
            what: "fan-out over TLS 1.3, CPU to the raw plain io_uring loop",
            short: "CPU to the io_uring floor",
            run: "fanout-tls",
            of: FLAT_OUT,
            figure: |row, _| row.figure("cpu_to_floor_uring"),
            bound: Bound::AtMost(1.4),
            unit: "",
            digits: 2,
        },
        Mark {
            what: "p99 of one large channel, to that of the same deliveries over 50 channels",
            short: "p99 to that over 50 channels",
            run: "fanout-one",
            of: PACED,
            figure: |row, record| {
                let spread = find(record.rows("fanout-fifty"), row.server(), PACED)?;
                Some(row.figure("p99_ms")? / spread.figure("p99_ms")?)
            },
            bound: Bound::AtMost(1.2),
            unit: "",
            digits: 2,
        },
    ],
    plots: &[
        Plot {
            file: "cpu-per-million-deliveries.svg",
            words: "CPU seconds of the server per million deliveries, by server, plain and TLS",
            draw: cpu,
        },
        Plot {
            file: "fanout-latency.svg",
            words: "Latency of a delivery by percentile and server, paced, plain",
            draw: |record| percentiles("Fan-out, paced: latency of a delivery", record.rows("fanout"), PACED),
        },
    ],
};

fn findings(record: &Record) -> Vec<String> {
    let sentence = |(run, words): (&str, &str)| {
        let rows = record.rows(run);
        let (row, cpu) = better(rows, "cpu_s_per_million", FLAT_OUT)?;
        let ratio = row.figure("cpu_to_floor_uring")?;
        let peer = find(rows, "nchan", FLAT_OUT).and_then(|peer| peer.figure("cpu_s_per_million"));
        let peer = peer.map(|peer| format!("; nginx + nchan needs {} µs", grouped(peer, 2)));
        Some(format!(
            "{words}, {} spends {} µs of CPU on a delivery, {} times what the raw io_uring loop needs for plain ones{}.",
            server_name(row.server()),
            grouped(cpu, 2),
            grouped(ratio, 2),
            peer.unwrap_or_default(),
        ))
    };
    [("fanout", "Plain"), ("fanout-tls", "Over TLS")].into_iter().filter_map(sentence).collect()
}

fn cpu(record: &Record) -> Option<Result<String, String>> {
    let group = |(run, label): (&str, &str)| {
        let rows = record.rows(run).iter().filter(|row| row.is(FLAT_OUT));
        let bars = rows.filter_map(|row| Some((row.server().to_owned(), row.figure("cpu_s_per_million")?)));
        Group { label: label.to_owned(), bars: bars.collect(), mark: None }
    };
    let groups: Vec<Group> = [("fanout", "plain"), ("fanout-tls", "TLS 1.3")]
        .map(group)
        .into_iter()
        .filter(|group| !group.bars.is_empty())
        .collect();
    let bars = Bars {
        title: "What a delivery costs the server".to_owned(),
        axis: "CPU seconds per million deliveries".to_owned(),
        digits: 2,
        groups,
    };
    (!bars.groups.is_empty()).then(|| bars.draw())
}
