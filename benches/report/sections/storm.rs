//! Those who stay, while all others come back at once.

use super::{CLOSED, CPU_CORES, LOAD_CORES, LOST, MAX, P50, P99, P999, PHASE, Plot, SERVER, Section, percentiles};
use crate::marks::{Bound, Mark};
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::Number;

pub const SECTION: Section = Section {
    title: "Storm: everybody reconnects",
    prose: "\
Some connections live on and get messages at fixed times, while many others connect over TLS as fast as they are let in,
as they do when a network comes back. What counts is whether those who stayed notice. The clients' half of the handshakes
runs on the same cores, so the machine is full: how soon the storm is over is a matter of how much CPU a handshake takes.",
    findings: |_: &Record| Vec::new(),
    runs: &[("storm", "Over TLS 1.3")],
    columns: &[
        PHASE,
        SERVER,
        Column("live", "live", Number(0)),
        Column("others", "others", Number(0)),
        Column("storm_s", "storm s", Number(1)),
        Column("handshakes_per_s", "handshakes/s", Number(0)),
        LOST,
        CLOSED,
        P50,
        P99,
        P999,
        MAX,
        CPU_CORES,
        LOAD_CORES,
    ],
    marks: &[Mark {
        what: "p99 of live connections during the storm",
        short: "p99",
        run: "storm",
        of: &[("phase", "during")],
        figure: |row, _| row.figure("p99_ms"),
        bound: Bound::Below(50.0),
        unit: " ms",
        digits: 1,
    }],
    plots: &[Plot {
        file: "storm-latency.svg",
        words: "Latency of the live connections by percentile and server while the others reconnect",
        draw: |record| percentiles("Storm: latency of those who stayed", record.rows("storm"), &[("phase", "during")]),
    }],
};
