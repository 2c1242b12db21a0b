//! One bystander, and the strangers that attack.

use tidegate_bench::promise::{
    ANSWER_MS_MAX, FILLED_PERCENT_MIN, KEPT_PERCENT_MIN, MEMORY_LEFT_MIB_MAX, P99_MS_MAX, remembered_mib,
};

use super::{LOST, MAX, P50, P99, PHASE, SERVER, Section};
use crate::marks::{Bound, Mark};
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::{Number, Words};

const RUN: &str = "bystander";

pub const SECTION: Section = Section {
    title: "What one stranger costs",
    prose: "\
A stranger does the worst that any client may do, as much of it as it can, and a bystander's messages go to its room and back: a
message every 5 ms, before the attack, while it lasts, and three seconds after the stranger has left. Each stranger has a gateway of
its own with one shard and the defaults of the configuration; `presence` has two shards, `crowd` a limit of 2,000 open files.
`hoard` holds as much of everything as a client may, and the sums that it fills are configured lower: 64 MiB of what arrives, of
what clients do not read and of accepted requests, 32 MiB of histories, 16 MiB of handshakes.
`cargo bench --bench bystander -- --help` says what each stranger does. Both ends share the cores, so the stranger's threads run at
niceness 10: a real stranger uses another machine. An echo or an answer that does not come counts as lost, or as 10 s.

*Memory* is the process's own: at the end of a phase, and the most while the stranger attacks. *Left of it* is the memory
afterwards, less 1.2 times the memory before; its mark leaves out what is kept on purpose: accepted requests, which wait for a
worker (`limits.accepted_bytes_max`), histories (`limits.history_bytes_max`), and names of channels (100,000 of some 200 bytes,
1 KiB if they are as long as may be and lie between others that have gone). *Bound* is the most memory that the gateway's
configuration allows with so many connections, as `tidegate doctor` adds it up. *Filled*: of each sum that clients can fill, at
least this part was held at once. *Ready* and *worker* are the longest that `GET /ready` on the admin listener and a new worker's
first PING took. *Kept* is the share of 1,000 other channels whose one message is still in their history.",
    findings: |record: &Record| {
        let load = record.rows(RUN).first().and_then(|row| row.figure("load_average"));
        let shared = load.filter(|load| *load >= 1.0);
        shared.map_or_else(Vec::new, |load| {
            vec![format!(
                "The machine was shared when this was measured: a load average of {load:.1} before. Other work is in the tails."
            )]
        })
    },
    runs: &[(RUN, "Each stranger alone")],
    columns: &[
        PHASE,
        SERVER,
        Column("stranger", "stranger", Words),
        Column("connections", "stranger's connections", Number(0)),
        P50,
        P99,
        MAX,
        LOST,
        Column("user_mib", "memory, MiB", Number(1)),
        Column("bound_mib", "bound, MiB", Number(0)),
        Column("filled_percent", "filled %", Number(0)),
        Column("kernel_mib", "kernel, MiB", Number(1)),
        Column("memory_left_mib", "left of it, MiB", Number(1)),
        Column("ready_ms", "ready ms", Number(1)),
        Column("worker_ms", "worker ms", Number(1)),
        Column("kept_percent", "kept %", Number(0)),
    ],
    marks: &[
        mark(
            "p99 of a bystander while a stranger attacks",
            "p99",
            &[("phase", "during")],
            |row, _| row.figure("p99_ms"),
            Bound::Below(P99_MS_MAX),
            " ms",
        ),
        mark(
            "`/ready` and a new worker while connections use up the descriptors",
            "answers",
            &[("phase", "during")],
            |row, _| Some(row.figure("ready_ms")?.max(row.figure("worker_ms")?)),
            Bound::Below(ANSWER_MS_MAX),
            " ms",
        ),
        mark(
            "memory while a stranger attacks, as a part of what the configuration allows",
            "of the bound",
            &[("phase", "during")],
            |row, _| Some(row.figure("user_mib")? * 100.0 / row.figure("bound_mib")?),
            Bound::Below(100.0),
            " %",
        ),
        mark(
            "the part of each sum that is full while a stranger holds as much as it may",
            "filled",
            &[("phase", "during")],
            |row, _| row.figure("filled_percent"),
            Bound::AtLeast(FILLED_PERCENT_MIN),
            " %",
        ),
        mark(
            "memory after a stranger, above 1.2 times the memory before and what is kept on purpose",
            "memory left",
            &[("phase", "after")],
            |row, _| Some(row.figure("memory_left_mib")? - remembered_mib(row.text("stranger")?)),
            Bound::Below(MEMORY_LEFT_MIB_MAX),
            " MiB",
        ),
        mark(
            "histories of others that are kept after a stranger's names",
            "kept",
            &[("phase", "after")],
            |row, _| row.figure("kept_percent"),
            Bound::AtLeast(KEPT_PERCENT_MIN),
            " %",
        ),
    ],
    plots: &[],
};

const fn mark(
    what: &'static str,
    short: &'static str,
    of: &'static [(&'static str, &'static str)],
    figure: fn(&Row, &Record) -> Option<f64>,
    bound: Bound,
    unit: &'static str,
) -> Mark {
    Mark { what, short, run: RUN, of, figure, bound, unit, digits: 0 }
}
