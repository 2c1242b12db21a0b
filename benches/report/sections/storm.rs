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
as they do when a network comes back. The question is whether the remaining clients notice. The clients' half of the handshakes
runs on the same cores, so the machine is full: how soon the storm is over is a matter of how much CPU a handshake takes.

*Cut off*: the others were connected too, are all cut off at one moment, and each comes back at a random time within the
jitter. A refused client tries again after a random time below 0.5 s, 1 s, 2 s and so on, as the `centrifuge` package does.",
    findings: |_: &Record| Vec::new(),
    runs: &[
        ("storm", "As fast as they are let in"),
        ("storm-cut", "Cut off, and back with full handshakes"),
        ("storm-cut-resume", "Cut off, and back with tickets"),
    ],
    columns: &[
        PHASE,
        SERVER,
        Column("live", "live", Number(0)),
        Column("others", "others", Number(0)),
        Column("storm_s", "storm s", Number(1)),
        Column("handshakes_per_s", "handshakes/s", Number(0)),
        Column("jitter_s", "jitter s", Number(1)),
        Column("back_50_s", "50 % back s", Number(2)),
        Column("back_99_s", "99 % back s", Number(2)),
        Column("refused", "refused", Number(0)),
        LOST,
        CLOSED,
        P50,
        P99,
        P999,
        MAX,
        CPU_CORES,
        LOAD_CORES,
    ],
    marks: &[
        untouched("p99 of live connections during the storm", "storm"),
        untouched("p99 of live connections while the disconnected clients reconnect", "storm-cut"),
    ],
    plots: &[Plot {
        file: "storm-latency.svg",
        words: "Latency of the live connections by percentile and server while the others reconnect",
        draw: |record| percentiles("Storm: latency of those who stayed", record.rows("storm"), &[("phase", "during")]),
    }],
};

const fn untouched(what: &'static str, run: &'static str) -> Mark {
    Mark {
        what,
        short: "p99",
        run,
        of: &[("phase", "during")],
        figure: |row, _| row.figure("p99_ms"),
        bound: Bound::Below(50.0),
        unit: " ms",
        digits: 1,
    }
}
