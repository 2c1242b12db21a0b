//! A message there and back.

use super::{
    CPU_PER_MILLION, LOAD_CPU_PER_MILLION, MAX, P50, P99, PHASE, Plot, SERVER, Section, TO_FLOOR, TRANSPORT, better,
};
use crate::marks::{Bound, Mark};
use crate::plot::{Bars, Group, grouped};
use crate::runs::{Record, Row, Run};
use crate::table::Column;
use crate::table::Show::{Number, Words};
use crate::table::server_name;

pub const SECTION: Section = Section {
    title: "Echo: a message there and back",
    prose: "\
Each of the connections sends a message and waits for its echo before it sends the next; a worker inside the gateway's
process sends back what it gets. The floor sends back bytes without looking at them, on epoll.",
    findings,
    runs: &[("echo", "WebSocket")],
    columns: &[
        PHASE,
        SERVER,
        TRANSPORT,
        Column("size", "message", Words),
        Column("round_trips_per_s", "round trips/s", Number(0)),
        P50,
        P99,
        MAX,
        CPU_PER_MILLION,
        TO_FLOOR,
        LOAD_CPU_PER_MILLION,
    ],
    marks: &[
        mark("echo, CPU to the bare loop", &[("transport", "plain")], 1.1),
        mark("echo over TLS 1.3, CPU to the bare plain loop", &[("transport", "tls")], 1.5),
    ],
    plots: &[Plot {
        file: "cpu-per-million-round-trips.svg",
        words: "CPU seconds of the server per million round trips, by server, size and transport",
        draw: plot,
    }],
};

const fn mark(what: &'static str, of: &'static [(&'static str, &'static str)], bound: f64) -> Mark {
    Mark {
        what,
        short: "CPU to floor",
        run: "echo",
        of,
        figure: ratio,
        bound: Bound::AtMost(bound),
        unit: "",
        digits: 2,
    }
}

fn ratio(row: &Row, _: &Run) -> Option<f64> {
    row.figure("cpu_to_floor")
}

fn findings(record: &Record) -> Vec<String> {
    let sentence = |(transport, words): (&str, &str)| {
        let of = [("transport", transport)];
        let (row, cpu) = better(record.rows("echo"), "cpu_s_per_million", &of)?;
        let ratio = row.figure("cpu_to_floor")?;
        Some(format!(
            "{words}, a round trip costs {} {} µs of CPU at its cheapest, {} times the floor's.",
            server_name(row.server()),
            grouped(cpu, 2),
            grouped(ratio, 2)
        ))
    };
    [("plain", "Plain"), ("tls", "Over TLS")].into_iter().filter_map(sentence).collect()
}

fn plot(record: &Record) -> Option<Result<String, String>> {
    let mut groups: Vec<Group> = Vec::new();
    for row in record.rows("echo") {
        let words = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let label = [words("phase"), words("size"), words("transport")].join(" ").trim().to_owned();
        let Some(figure) = row.figure("cpu_s_per_million") else { continue };
        let bar = (row.server().to_owned(), figure);
        match groups.iter_mut().find(|group| group.label == label) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { label, bars: vec![bar], mark: None }),
        }
    }
    let title = "What a round trip costs the server".to_owned();
    let axis = "CPU seconds per million round trips".to_owned();
    (!groups.is_empty()).then(|| Bars { title, axis, digits: 2, groups }.draw())
}
