//! Riders who follow their drivers.

use super::{CLOSED, CPU_CORES, LOAD_CORES, LOST, MAX, P50, P99, P999, Plot, SERVER, Section, TO_FLOOR, percentiles};
use crate::marks::{Bound, Mark};
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::{Number, Words};

const PUBLISHED: &[(&str, &str)] = &[("rate", "3750")];
const POLLED: &[(&str, &str)] = &[("rate", "25000")];

pub const SECTION: Section = Section {
    title: "Location push",
    prose: "\
Riders follow drivers on event streams: twenty riders to a driver's channel, events of 210 bytes, so many deliveries a
second whatever becomes of them. The lower rate is the load of a published system that did this on 2.8 cores with a p99 of
45 ms, at 50,000 riders; the higher one is as many deliveries as the polls that the push replaced there. The floor is one
thread that writes the same bytes to the same sockets, where one descriptor table can hold them.",
    findings: |_: &Record| Vec::new(),
    runs: &[
        ("location", "Event streams, plain"),
        ("location-floor", "As many riders as one descriptor table holds, beside the floor"),
    ],
    columns: &[
        Column("rate", "deliveries/s asked for", Words),
        SERVER,
        Column("riders", "riders", Number(0)),
        Column("deliveries_per_s", "deliveries/s", Number(0)),
        LOST,
        CLOSED,
        P50,
        P99,
        P999,
        MAX,
        CPU_CORES,
        TO_FLOOR,
        LOAD_CORES,
    ],
    marks: &[
        mark("location push at the published load: p99", "p99", PUBLISHED, p99, 5.0, " ms"),
        mark("the same: CPU", "CPU", PUBLISHED, cores, 0.1, " cores"),
        mark("location push at the load of the polls: p99", "p99", POLLED, p99, 10.0, " ms"),
        mark("the same: CPU", "CPU", POLLED, cores, 0.5, " cores"),
    ],
    plots: &[Plot {
        file: "location-latency.svg",
        words: "Latency of a location event by percentile and server, at the published load",
        draw: |record| percentiles("Location push: latency of an event", record.rows("location"), PUBLISHED),
    }],
};

const fn mark(
    what: &'static str,
    short: &'static str,
    of: &'static [(&'static str, &'static str)],
    figure: fn(&Row, &Record) -> Option<f64>,
    bound: f64,
    unit: &'static str,
) -> Mark {
    Mark { what, short, run: "location", of, figure, bound: Bound::Below(bound), unit, digits: 2 }
}

fn p99(row: &Row, _: &Record) -> Option<f64> {
    row.figure("p99_ms")
}

fn cores(row: &Row, _: &Record) -> Option<f64> {
    row.figure("cpu_cores")
}
