//! Those who stay, while all others come back at once.

use super::{CPU_CORES, MAX, P50, P99, P999, PHASE, SERVER, Section, TRANSPORT};
use crate::marks::{Bound, Mark};
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::Number;

pub const SECTION: Section = Section {
    title: "Storm: everybody reconnects",
    prose: "\
Some connections live on and get messages at fixed times, while many others connect over TLS as fast as they are let in,
as they do when a network comes back. What counts is whether those who stayed notice.",
    findings: |_: &Record| Vec::new(),
    runs: &[("storm", "Over TLS 1.3")],
    columns: &[
        PHASE,
        SERVER,
        TRANSPORT,
        Column("connects_per_s", "connects/s", Number(0)),
        Column("storm_s", "storm s", Number(1)),
        P50,
        P99,
        P999,
        MAX,
        CPU_CORES,
    ],
    marks: &[Mark {
        what: "p99 of live connections during the storm",
        short: "p99",
        run: "storm",
        of: &[("phase", "storm")],
        figure: |row, _| row.figure("p99_ms"),
        bound: Bound::Below(50.0),
        unit: " ms",
        digits: 1,
    }],
    plots: &[],
};
