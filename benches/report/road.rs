//! The road to a million: what 1,000,000 TLS connections on this machine would take, by what one was measured to take.

use tidegate::limits;

use crate::machine;
use crate::plot::grouped;
use crate::runs::{Record, Row, Run};
use crate::table::line;

const MILLION: f64 = 1e6;
const GIB: f64 = (1u64 << 30) as f64;
const PAGE_BYTES: f64 = 4096.0;
/// Of a descriptor limit, what connections may use: shards share them by chance.
const LIMIT_SHARE: f64 = 0.9;
/// Of the memory that is free, what connections may take: the kernel has other needs.
const MEMORY_SHARE: f64 = 0.85;
/// Below so many connections, what the two processes have once hides what a connection adds to the whole machine.
const BOTH_ENDS_MIN: f64 = 20_000.0;
/// What is tried where nothing has been measured.
const LARGEST_UNKNOWN: u64 = 100_000;
const LARGEST_STEP: u64 = 10_000;
/// What the largest number is held with.
const RARE_HEARTBEAT_S: f64 = 600.0;
/// Runs that hold connections, those with the most first.
const HOLDING: [&str; 4] = ["largest", "connections-100000", "hold", "connections"];

/// Bytes of one connection.
struct Cost<'a> {
    /// Process + kernel, and the row that says so.
    server: f64,
    row: &'a Row,
    /// The same of the end that connects, and whether it was measured here.
    client: f64,
    is_client_measured: bool,
}

impl<'a> Cost<'a> {
    fn of(record: &'a Record) -> Option<Cost<'a>> {
        let is_idle = |row: &&Row| row.is_gateway() && row.is(&[("phase", "idle"), ("transport", "tls")]);
        let rows = ["connections-100000", "connections"].iter().flat_map(|run| record.rows(run).iter().filter(is_idle));
        let costs = rows.filter_map(|row| Some((row, row.figure("all_in_bytes")?)));
        // The rows of the larger run come first; of one run, the cheaper driver.
        let (row, server) = costs.min_by(|one, other| one.1.total_cmp(&other.1))?;
        let measured = HOLDING.iter().find_map(|run| both_ends(record.run(run)?)).map(|both| both - server);
        let floor = record.rows("connections").iter().find(|row| row.server() == "floor")?.figure("all_in_bytes");
        let client = measured.or(floor)?;
        Some(Cost { server, row, client, is_client_measured: measured.is_some() })
    }

    fn both(&self) -> f64 {
        self.server + self.client
    }
}

/// Bytes that the whole machine gave for each connection.
fn both_ends(run: &Run) -> Option<f64> {
    let connections = run.rows.iter().filter_map(|row| row.figure("connections")).fold(0.0, f64::max);
    (connections >= BOTH_ENDS_MIN).then_some(run.memory_bytes / connections)
}

/// How many connections this machine can hold, both ends on it, by what was measured; in round numbers. Then half of that and
/// so on, should something else than memory be in the way. At least one.
pub fn largest(measured: Option<&Record>) -> Vec<u64> {
    let free = machine::meminfo("MemAvailable").unwrap_or_default() as f64;
    let cost = measured.and_then(Cost::of);
    let fitting = cost.map_or(LARGEST_UNKNOWN, |cost| (free * MEMORY_SHARE / cost.both()) as u64);
    let steps = (fitting.min(MILLION as u64) / LARGEST_STEP).max(1);
    std::iter::successors(Some(steps), |steps| Some(steps / 2).filter(|half| *half > 0))
        .map(|steps| steps * LARGEST_STEP)
        .collect()
}

pub fn section(record: &Record) -> String {
    let mut text =
        "\n## The road to a million\n\nWhat 1,000,000 TLS 1.3 connections would take with both ends on this \
                    machine, by what one was measured to take.\n\n"
            .to_owned();
    match Cost::of(record) {
        Some(cost) => text += &needs(record, &cost),
        None => text += "Not computed: the memory of a TLS connection was not measured.\n",
    }
    text + &held(record)
}

fn needs(record: &Record, cost: &Cost) -> String {
    let total = machine::meminfo("MemTotal").unwrap_or_default() as f64;
    let gib = |bytes: f64| format!("{} GiB", grouped(bytes / GIB, 1));
    let of_client = if cost.is_client_measured { "measured on the whole machine" } else { "taken for the floor's" };
    let mut rows: Vec<[String; 3]> = vec![
        [
            "memory of the server's end".to_owned(),
            format!("{}: {} B each, {}", gib(cost.server * MILLION), grouped(cost.server, 0), size_of(cost.row)),
            String::new(),
        ],
        [
            "memory of the clients' end".to_owned(),
            format!("{}: {} B each, {of_client}", gib(cost.client * MILLION), grouped(cost.client, 0)),
            String::new(),
        ],
        ["memory, both".to_owned(), gib(cost.both() * MILLION), format!("{} in all", gib(total))],
    ];
    rows.extend(descriptors());
    rows.extend(ports());
    rows.extend(handshakes(record, cost.row));
    rows.extend(tcp_memory());
    rows.push(heartbeats());
    let mut text =
        line(["what", "a million takes", "this machine has"].map(str::to_owned).into_iter()) + "|---|---|---|\n";
    text.extend(rows.into_iter().map(|row| line(row.into_iter())));
    let fitting = total * MEMORY_SHARE / cost.both();
    let verdict = if fitting >= MILLION {
        "So memory is enough for a million with both ends here".to_owned()
    } else {
        format!("So memory ends this road first, at about {} connections with both ends here", about(fitting))
    };
    let alone = total * MEMORY_SHARE / cost.server;
    text + &format!(
        "\n{verdict}; with the clients elsewhere it would hold {} ({} % of memory given to connections).\n",
        about(alone),
        grouped(MEMORY_SHARE * 100.0, 0)
    )
}

/// To three digits.
fn about(figure: f64) -> String {
    let step = 10f64.powf(figure.max(1.0).log10().floor() - 2.0);
    grouped((figure / step).round() * step, 0)
}

fn size_of(row: &Row) -> String {
    let connections = row.figure("connections").unwrap_or_default();
    format!("measured with {} connections", grouped(connections, 0))
}

fn descriptors() -> Vec<[String; 3]> {
    let limit = machine::descriptor_limit().unwrap_or_default() as f64;
    let tables = (MILLION / (limit * LIMIT_SHARE)).ceil();
    let first = |name: &str| machine::setting(name).first().copied().unwrap_or_default() as f64;
    vec![
        [
            "descriptors of a table".to_owned(),
            format!("{} shards, each with a table of its own, at each end", grouped(tables, 0)),
            format!(
                "{} in a table (ulimit -Hn); {} with fs.nr_open",
                grouped(limit, 0),
                grouped(first("fs.nr_open"), 0)
            ),
        ],
        [
            "open files of the machine".to_owned(),
            grouped(2.0 * MILLION, 0),
            format!("{} (fs.file-max)", grouped(first("fs.file-max"), 0)),
        ],
    ]
}

fn ports() -> Option<[String; 3]> {
    let range = machine::setting("net.ipv4.ip_local_port_range");
    let [low, high] = range[..] else { return None };
    let ports = (high - low + 1) as f64;
    Some([
        "ports".to_owned(),
        format!("{} source addresses for one address and port of the server", grouped((MILLION / ports).ceil(), 0)),
        format!("{} ports an address; 127.0.0.0/8 has 16 million addresses", grouped(ports, 0)),
    ])
}

fn handshakes(record: &Record, row: &Row) -> Option<[String; 3]> {
    let rate = row.figure("connects_per_s")?;
    let full = record.rows("handshake").iter().filter(|row| row.is_gateway() && row.is(&[("phase", "full")]));
    let cpu = full.filter_map(|row| row.figure("cpu_us")).min_by(f64::total_cmp);
    let share = cpu.map(|cpu| format!("; the server's half alone {} s of CPU", grouped(cpu * MILLION / 1e6, 0)));
    Some([
        "time of the handshakes".to_owned(),
        format!("{} s with both ends on these cores{}", grouped(MILLION / rate, 0), share.unwrap_or_default()),
        format!("{} cores; {} handshakes/s measured", machine::cores(), grouped(rate, 0)),
    ])
}

/// An idle socket has nothing in its buffers and is not counted there; one with a message in them has a page at least.
fn tcp_memory() -> Option<[String; 3]> {
    let pages = machine::setting("net.ipv4.tcp_mem");
    let [_, _, high] = pages[..] else { return None };
    Some([
        "TCP memory".to_owned(),
        format!(
            "{} GiB if every socket has a page in its buffers at once",
            grouped(2.0 * MILLION * PAGE_BYTES / GIB, 1)
        ),
        format!(
            "{} GiB (net.ipv4.tcp_mem): {} sockets with a page",
            grouped(high as f64 * PAGE_BYTES / GIB, 1),
            grouped(high as f64, 0)
        ),
    ])
}

/// Half of each kind.
fn heartbeats() -> [String; 3] {
    let usual = [limits::SSE_HEARTBEAT, limits::PING_INTERVAL].map(|interval| interval.as_secs_f64());
    let each_s = |[sse, websocket]: [f64; 2]| grouped(MILLION / 2.0 / sse + MILLION / 2.0 / websocket, 0);
    [
        "heartbeats to idle clients".to_owned(),
        format!(
            "{}/s as usual, every {} s to streams of events and every {} s to WebSockets; {}/s every {RARE_HEARTBEAT_S} s",
            each_s(usual),
            usual[0],
            usual[1],
            each_s([RARE_HEARTBEAT_S; 2])
        ),
        String::new(),
    ]
}

/// The largest number that was really there at a time.
fn held(record: &Record) -> String {
    let is_held = |row: &&Row| {
        row.is_gateway() && row.text("transport") == Some("tls") && row.figure("closed").unwrap_or(0.0) == 0.0
    };
    let rows =
        HOLDING.iter().flat_map(|run| record.run(run)).flat_map(|run| run.rows.iter().map(move |row| (run, row)));
    let rows = rows.filter(|(_, row)| is_held(row)).filter_map(|(run, row)| Some((run, row.figure("connections")?)));
    match rows.max_by(|one, other| one.1.total_cmp(&other.1)) {
        Some((run, connections)) => format!(
            "\nThe largest number really held: **{}** TLS connections, with both ends on this machine (`{}`).\n",
            grouped(connections, 0),
            run.command
        ),
        None => "\nHow many were really held: not measured.\n".to_owned(),
    }
}
