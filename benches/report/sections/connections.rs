//! What a connection costs in memory, and how many are held at a time.

use super::{
    CLOSED, CPU_CORES, LOAD_CORES, LOST, MAX, P50, P99, P999, PHASE, Plot, SERVER, Section, TRANSPORT, better, find,
};
use crate::marks::{Bound, Mark};
use crate::plot::{Bars, Group, grouped};
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::Number;
use crate::table::server_name;

pub const SECTION: Section = Section {
    title: "Memory of a connection",
    prose: "\
Clients connect, subscribe to a channel that a hundred of them share, and stay silent: *idle*. Then each gets a burst of
200-byte messages, and memory is read again some seconds later: *after traffic*. Then all leave, as many others come and
go, and what is left of the process is compared with what it was before: *after churn*. A few clients have come first, so
that what the process has once is not taken for the price of a connection.

The floor accepts, registers the socket with epoll and does nothing else; it is plain and has no traffic. *Hold* keeps the
connections open with a message to each at intervals and counts what is lost.",
    findings,
    runs: &[
        ("connections", "Half WebSocket, half event streams"),
        ("connections-ws", "WebSocket alone"),
        ("connections-sse", "Event streams alone"),
        ("connections-100000", "100,000 TLS connections"),
        ("hold", "Held with traffic"),
        ("largest", "As many as the machine holds"),
    ],
    columns: &[
        PHASE,
        SERVER,
        TRANSPORT,
        Column("connections", "connections", Number(0)),
        Column("user_bytes", "user B", Number(0)),
        Column("kernel_bytes", "kernel B", Number(0)),
        Column("all_in_bytes", "all in B", Number(0)),
        Column("per_gib", "per GiB", Number(0)),
        Column("all_in_to_floor", "to floor", Number(2)),
        Column("connects_per_s", "connects/s", Number(0)),
        Column("process_mib_before", "process MiB before", Number(1)),
        Column("process_mib_after", "after", Number(1)),
        Column("deliveries_per_s", "deliveries/s", Number(0)),
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
        idle("idle plain connection, all in", "all in", "connections", "plain", all_in, 4250.0),
        idle("idle plain connection, user memory", "user", "connections", "plain", user, 240.0),
        idle("idle TLS 1.3 connection, all in", "all in", "connections", "tls", all_in, 4700.0),
        idle("idle TLS 1.3 connection, user memory", "user", "connections", "tls", user, 700.0),
        idle("idle TLS 1.3 connection of 100,000, all in", "all in", "connections-100000", "tls", all_in, 4700.0),
        idle("idle TLS 1.3 connection of 100,000, user memory", "user", "connections-100000", "tls", user, 700.0),
        Mark {
            what: "memory of a connection after traffic, to idle",
            short: "to idle",
            run: "connections",
            of: &[("phase", "after traffic")],
            figure: after_traffic,
            bound: Bound::AtMost(1.05),
            unit: "",
            digits: 3,
        },
        Mark {
            what: "process after 100,000 connections have come and gone, to before",
            short: "to before",
            run: "connections-100000",
            of: &[("phase", "after churn")],
            figure: |row, _| row.figure("process_growth"),
            bound: Bound::AtMost(1.1),
            unit: "",
            digits: 3,
        },
        held("100,000 TLS connections with traffic: lost messages", "lost", |row, _| row.figure("lost"), Bound::AtMost(0.0), ""),
        held("the same: connections closed", "closed", |row, _| row.figure("closed"), Bound::AtMost(0.0), ""),
        held("the same: p99", "p99", |row, _| row.figure("p99_ms"), Bound::Below(20.0), " ms"),
    ],
    plots: &[Plot {
        file: "bytes-per-connection.svg",
        words: "Bytes of memory per idle connection by server, plain and TLS, beside the floor and the mark",
        draw: plot,
    }],
};

const fn idle(
    what: &'static str,
    short: &'static str,
    run: &'static str,
    transport: &'static str,
    figure: fn(&Row, &Record) -> Option<f64>,
    bytes: f64,
) -> Mark {
    let of: &[(&str, &str)] = match transport.as_bytes() {
        b"tls" => &[("phase", "idle"), ("transport", "tls")],
        _ => &[("phase", "idle"), ("transport", "plain")],
    };
    Mark { what, short, run, of, figure, bound: Bound::Below(bytes), unit: " B", digits: 0 }
}

const fn held(
    what: &'static str,
    short: &'static str,
    figure: fn(&Row, &Record) -> Option<f64>,
    bound: Bound,
    unit: &'static str,
) -> Mark {
    Mark { what, short, run: "hold", of: &[("phase", "hold")], figure, bound, unit, digits: 0 }
}

fn all_in(row: &Row, _: &Record) -> Option<f64> {
    row.figure("all_in_bytes")
}

fn user(row: &Row, _: &Record) -> Option<f64> {
    row.figure("user_bytes")
}

fn after_traffic(row: &Row, record: &Record) -> Option<f64> {
    let idle =
        find(record.rows("connections"), row.server(), &[("phase", "idle"), ("transport", row.text("transport")?)])?;
    Some(row.figure("all_in_bytes")? / idle.figure("all_in_bytes")?)
}

fn findings(record: &Record) -> Vec<String> {
    let rows = record.rows("connections");
    let floor = find(rows, "floor", &[("phase", "idle")]).and_then(|row| row.figure("all_in_bytes"));
    let sentence = |(transport, words): (&str, &str)| {
        let (row, bytes) = better(rows, "all_in_bytes", &[("phase", "idle"), ("transport", transport)])?;
        let user = row.figure("user_bytes")?;
        let above = floor.map(|floor| format!(", {} bytes above the floor", grouped(bytes - floor, 0)));
        Some(format!(
            "An idle {words} connection costs {} bytes on {}{}; {} of them are the process's own.",
            grouped(bytes, 0),
            server_name(row.server()),
            above.unwrap_or_default(),
            grouped(user, 0),
        ))
    };
    [("plain", "plain"), ("tls", "TLS 1.3")].into_iter().filter_map(sentence).collect()
}

fn plot(record: &Record) -> Option<Result<String, String>> {
    let kinds = [
        ("connections", "plain", "plain", 4250.0),
        ("connections", "tls", "TLS 1.3", 4700.0),
        ("connections-ws", "plain", "WebSocket, plain", 4250.0),
        ("connections-ws", "tls", "WebSocket, TLS 1.3", 4700.0),
        ("connections-sse", "plain", "event streams, plain", 4250.0),
        ("connections-sse", "tls", "event streams, TLS 1.3", 4700.0),
    ];
    let group = |(run, transport, label, mark): (&str, &str, &str, f64)| {
        let rows = record.rows(run).iter().filter(|row| row.is(&[("phase", "idle"), ("transport", transport)]));
        let bars = rows.filter_map(|row| Some((row.server().to_owned(), row.figure("all_in_bytes")?)));
        Group { label: label.to_owned(), bars: bars.collect(), mark: Some(mark) }
    };
    let groups: Vec<Group> = kinds.into_iter().map(group).filter(|group| !group.bars.is_empty()).collect();
    let bars = Bars {
        title: "Memory of an idle connection".to_owned(),
        axis: "bytes per connection, process + kernel (line: the mark)".to_owned(),
        digits: 0,
        groups,
    };
    (!bars.groups.is_empty()).then(|| bars.draw())
}
