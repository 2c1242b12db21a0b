//! A message there and back.

use super::{
    CPU_PER_MILLION, LOAD_CPU_PER_MILLION, MAX, P50, P99, Plot, SERVER, Section, TO_FLOOR, TO_FLOOR_URING, TRANSPORT,
    better,
};
use crate::marks::{Bound, Mark};
use crate::plot::{Bars, Group, grouped};
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::{Number, Words};
use crate::table::server_name;

pub const SECTION: Section = Section {
    title: "Echo: a message there and back",
    prose: "\
Each connection sends a message and waits for its echo before it sends the next. Through a *room*, the message goes to a
channel of which the connection is the only listener; through a *service*, a worker inside the gateway's process gets the
message and answers. The floors send back bytes without looking at them, plain, over epoll and over io_uring. The marks
are about rooms, and judged by the cheaper of the two floors.",
    findings,
    runs: &[("echo", "WebSocket")],
    columns: &[
        SERVER,
        Column("bytes", "bytes", Words),
        TRANSPORT,
        Column("through", "through", Words),
        Column("round_trips_per_s", "round trips/s", Number(0)),
        P50,
        P99,
        MAX,
        CPU_PER_MILLION,
        TO_FLOOR,
        TO_FLOOR_URING,
        LOAD_CPU_PER_MILLION,
    ],
    marks: &[
        mark("echo, CPU to the bare loop", &[("through", "room"), ("transport", "plain")], 1.1),
        mark("echo over TLS 1.3, CPU to the bare plain loop", &[("through", "room"), ("transport", "tls")], 1.5),
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

/// To the floor that is cheaper.
fn ratio(row: &Row, _: &Record) -> Option<f64> {
    Some(row.figure("cpu_to_floor")?.max(row.figure("cpu_to_floor_uring")?))
}

fn findings(record: &Record) -> Vec<String> {
    let sentence = |(transport, words): (&str, &str)| {
        let of = [("transport", transport), ("through", "room")];
        let (row, cpu) = better(record.rows("echo"), "cpu_s_per_million", &of)?;
        Some(format!(
            "{words}, a round trip of {} bytes through a room costs {} {} µs of CPU, {} times the floor's.",
            row.text("bytes")?,
            server_name(row.server()),
            grouped(cpu, 2),
            grouped(ratio(row, record)?, 2)
        ))
    };
    [("plain", "Plain"), ("tls", "Over TLS")].into_iter().filter_map(sentence).collect()
}

fn plot(record: &Record) -> Option<Result<String, String>> {
    let mut groups: Vec<Group> = Vec::new();
    for row in record.rows("echo") {
        let words = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let way = if row.is_gateway() { words("through") } else { "floors".to_owned() };
        let label = format!("{way}, {}, {} B", words("transport"), words("bytes"));
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
