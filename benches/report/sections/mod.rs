//! The sections of the page: what each benchmark measures, how its tables are read, and what it found.

mod bystander;
mod connections;
mod echo;
mod fanout;
mod handshake;
mod instructions;
mod location;
mod proxy;
mod slow;
mod storm;

use crate::marks::Mark;
use crate::plot::{Line, Percentiles};
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::{Number, Words};

pub struct Section {
    pub title: &'static str,
    /// What is measured, and how.
    pub prose: &'static str,
    /// Sentences that the figures write; none where those are missing.
    pub findings: fn(&Record) -> Vec<String>,
    /// Names in the plan, and what the page calls them.
    pub runs: &'static [(&'static str, &'static str)],
    pub columns: &'static [Column],
    pub marks: &'static [Mark],
    pub plots: &'static [Plot],
}

pub struct Plot {
    pub file: &'static str,
    /// What it shows, for those who do not see it.
    pub words: &'static str,
    /// `None` where there is nothing to draw.
    pub draw: fn(&Record) -> Option<Result<String, String>>,
}

pub const SECTIONS: &[&Section] = &[
    &connections::SECTION,
    &fanout::SECTION,
    &location::SECTION,
    &echo::SECTION,
    &proxy::SECTION,
    &handshake::SECTION,
    &storm::SECTION,
    &slow::SECTION,
    &bystander::SECTION,
    &instructions::SECTION,
];

/// What most tables begin with.
const PHASE: Column = Column("phase", "phase", Words);
const SERVER: Column = Column("target", "server", Words);
const TRANSPORT: Column = Column("transport", "transport", Words);
const P50: Column = Column("p50_ms", "p50 ms", Number(2));
const P99: Column = Column("p99_ms", "p99 ms", Number(2));
const P999: Column = Column("p999_ms", "p99.9 ms", Number(2));
const MAX: Column = Column("max_ms", "max ms", Number(2));
const CPU_CORES: Column = Column("cpu_cores", "CPU cores", Number(3));
const CPU_PER_MILLION: Column = Column("cpu_s_per_million", "CPU s per million", Number(2));
const TO_FLOOR: Column = Column("cpu_to_floor", "to floor", Number(2));
const LOAD_CPU_PER_MILLION: Column = Column("load_cpu_s_per_million", "load's CPU s", Number(2));

const LOST: Column = Column("lost", "lost", Number(0));
const CLOSED: Column = Column("closed", "closed", Number(0));
const LOAD_CORES: Column = Column("load_cpu_cores", "load's cores", Number(3));
const TO_FLOOR_URING: Column = Column("cpu_to_floor_uring", "to floor, io_uring", Number(2));

/// The row of a server of which these fields hold.
fn find<'a>(rows: &'a [Row], server: &str, of: &[(&str, &str)]) -> Option<&'a Row> {
    rows.iter().find(|row| row.server() == server && row.is(of))
}

/// The gateway's driver that has less of a figure.
fn better<'a>(rows: &'a [Row], field: &str, of: &[(&str, &str)]) -> Option<(&'a Row, f64)> {
    let candidates = rows.iter().filter(|row| row.is_gateway() && row.is(of));
    candidates.filter_map(|row| Some((row, row.figure(field)?))).min_by(|one, other| one.1.total_cmp(&other.1))
}

/// Latencies of every server in the rows of which these fields hold.
fn percentiles(title: &str, rows: &[Row], of: &[(&str, &str)]) -> Option<Result<String, String>> {
    const POINTS: [(&str, &str); 5] =
        [("p50_ms", "50 %"), ("p90_ms", "90 %"), ("p99_ms", "99 %"), ("p999_ms", "99.9 %"), ("max_ms", "all")];
    let lines: Vec<Line> = rows
        .iter()
        .filter(|row| row.is(of))
        .map(|row| Line {
            server: row.server().to_owned(),
            points: POINTS.iter().filter_map(|(field, name)| Some((*name, row.figure(field)?))).collect(),
        })
        .filter(|line| line.points.len() > 1)
        .collect();
    (!lines.is_empty()).then(|| Percentiles { title: title.to_owned(), lines }.draw())
}
