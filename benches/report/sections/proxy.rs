//! Requests, bodies, event streams and WebSockets that pass through to a server.

use super::{CPU_PER_MILLION, LOAD_CPU_PER_MILLION, P50, P99, PHASE, SERVER, Section, TO_FLOOR, TRANSPORT, better};
use crate::marks::{Bound, Mark};
use crate::plot::grouped;
use crate::runs::{Record, Row};
use crate::table::Column;
use crate::table::Show::{Number, Words};
use crate::table::server_name;

const REQUESTS: &str = "proxy";
const TUNNEL: &str = "tunnel";

pub const SECTION: Section = Section {
    title: "Proxy: what passes through to a server",
    prose: "\
All proxies have one thread and keep connections to the server, which answers at once. *Requests*: 500 clients, each with one GET on
its way, whose answer has 1 KiB. *Half load*: the same requests at half of the rate that the slowest reached; the latency counts
from the moment at which a request was due. *Down* and *up*: bodies of 64 KiB (50 clients) and of 16 MiB (8 clients) from the server
and to it, which nginx is told to pass on as they come, as the others do. *Events*: 200 event streams of 20 events a second; the
delay is from the server's write to the client's read. *Tunnel*: WebSockets, idle and with a message that comes back. The relay
passes bytes between two sockets and understands none of them, plain.",
    findings,
    runs: &[(REQUESTS, "Requests, bodies and event streams"), (TUNNEL, "WebSockets")],
    columns: &[
        PHASE,
        SERVER,
        TRANSPORT,
        Column("bytes", "bytes", Words),
        Column("requests_per_s", "requests/s", Number(0)),
        Column("round_trips_per_s", "round trips/s", Number(0)),
        Column("mb_per_s", "MB/s", Number(0)),
        Column("events_per_s", "events/s", Number(0)),
        Column("all_in_bytes", "bytes each, all in", Number(0)),
        P50,
        P99,
        CPU_PER_MILLION,
        Column("cpu_s_per_gb", "CPU s per GB", Number(3)),
        TO_FLOOR,
        LOAD_CPU_PER_MILLION,
    ],
    marks: &[
        mark("a proxied request, CPU to nginx and to HAProxy", REQUESTS, &[("phase", "requests")], per_request),
        Mark {
            short: "to relay",
            figure: |row, _| row.figure("cpu_to_floor"),
            bound: Bound::AtMost(1.25),
            ..mark("a proxied request, CPU to the bare relay", REQUESTS, PLAIN_REQUESTS, per_request)
        },
        mark("a body down, CPU per GB to nginx and to HAProxy", REQUESTS, &[("phase", "down")], per_gb),
        mark("a body up, CPU per GB to nginx and to HAProxy", REQUESTS, &[("phase", "up")], per_gb),
        mark("p99 at half load, to nginx and to HAProxy", REQUESTS, &[("phase", "half load")], p99),
        mark("p99 of an event's delay, to nginx and to HAProxy", REQUESTS, &[("phase", "events")], p99),
        mark("echo through a tunnel, CPU to nginx and to HAProxy", TUNNEL, &[("phase", "echo")], per_request),
        all_in("idle proxied WebSocket, all in, plain", &[("phase", "idle"), ("transport", "plain")], 8_600.0),
        all_in("idle proxied WebSocket, all in, TLS in front", &[("phase", "idle"), ("transport", "tls")], 9_100.0),
    ],
    plots: &[],
};

const PLAIN_REQUESTS: &[(&str, &str)] = &[("phase", "requests"), ("transport", "plain")];

/// Below both peers, in the same run.
const fn mark(
    what: &'static str,
    run: &'static str,
    of: &'static [(&'static str, &'static str)],
    figure: fn(&Row, &Record) -> Option<f64>,
) -> Mark {
    Mark { what, short: "to peers", run, of, figure, bound: Bound::Below(1.0), unit: "", digits: 2 }
}

const fn all_in(what: &'static str, of: &'static [(&'static str, &'static str)], bytes: f64) -> Mark {
    Mark {
        what,
        short: "all in",
        run: TUNNEL,
        of,
        figure: |row, _| row.figure("all_in_bytes"),
        bound: Bound::AtMost(bytes),
        unit: " B",
        digits: 0,
    }
}

fn per_request(row: &Row, _: &Record) -> Option<f64> {
    Some(row.figure("cpu_to_nginx")?.max(row.figure("cpu_to_haproxy")?))
}

fn per_gb(row: &Row, _: &Record) -> Option<f64> {
    Some(row.figure("gb_to_nginx")?.max(row.figure("gb_to_haproxy")?))
}

fn p99(row: &Row, _: &Record) -> Option<f64> {
    Some(row.figure("p99_to_nginx")?.max(row.figure("p99_to_haproxy")?))
}

fn findings(record: &Record) -> Vec<String> {
    let sentence = |(transport, words): (&str, &str)| {
        let of = [("phase", "requests"), ("transport", transport)];
        let (row, cpu) = better(record.rows(REQUESTS), "cpu_s_per_million", &of)?;
        Some(format!(
            "{words}, a proxied request costs {} {} µs of CPU, {} of nginx and {} of HAProxy.",
            server_name(row.server()),
            grouped(cpu, 2),
            grouped(row.figure("cpu_to_nginx")?, 2),
            grouped(row.figure("cpu_to_haproxy")?, 2)
        ))
    };
    [("plain", "Plain"), ("tls", "With TLS in front")].into_iter().filter_map(sentence).collect()
}
