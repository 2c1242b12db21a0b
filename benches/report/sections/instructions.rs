//! What does not depend on the machine's mood.

use super::Section;
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::{Number, Words};

pub const SECTION: Section = Section {
    title: "Instructions of the hot operations",
    prose: "\
Counted by callgrind in whole turns of a shard and in the pure functions below them, without a kernel. Two runs differ by
less than one in a thousand however busy the machine is, so continuous integration holds them to the baseline, within
3 % either way.",
    findings: |_: &Record| Vec::new(),
    runs: &[("instructions", "Instructions")],
    columns: &[
        Column("operation", "operation", Words),
        Column("what", "of", Words),
        Column("instructions", "instructions", Number(0)),
        Column("baseline", "baseline", Number(0)),
    ],
    marks: &[],
    plots: &[],
};
