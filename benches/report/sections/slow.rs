//! One slow reader among many.

use super::{CPU_CORES, LOAD_CORES, LOST, MAX, P50, P99, P999, PHASE, SERVER, Section};
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::{Number, Words};

pub const SECTION: Section = Section {
    title: "Slow: one reader reads nothing",
    prose: "\
All subscribers listen to one channel and get messages at fixed times; then one more comes, which opens its stream and reads
nothing of it. What counts is whether the others notice, and how much memory the one takes: with `queue` until more waits
than the channel's `queue` allows and it is closed, with `latest` one message, with `drop` what `queue` allows. Memory is the most
by which the gateway's grew in the phase; a fan-out grows it without a slow reader too.",
    findings: |_: &Record| Vec::new(),
    runs: &[("slow", "Over plain TCP")],
    columns: &[
        PHASE,
        SERVER,
        Column("delivery", "delivery", Words),
        Column("subscribers", "subscribers", Number(0)),
        P50,
        P99,
        P999,
        MAX,
        LOST,
        Column("user_growth_kib", "memory, KiB more", Number(0)),
        Column("kernel_growth_kib", "kernel, KiB more", Number(0)),
        Column("slow_closed", "slow one closed", Number(0)),
        CPU_CORES,
        LOAD_CORES,
    ],
    marks: &[],
    plots: &[],
};
