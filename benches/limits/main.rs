//! Limits for strangers: what they cost an accept, and the memory of a million distinct addresses.
//!
//! ```text
//!  load: connections from addresses of 127.0.0.0/8, one after the other -----> gateway without and with limits
//!  load: one trusted proxy that names another client in each request --------> the same
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use memchr::memmem;
use socket2::{Domain, Socket, Type};
use tidegate::limits::TALLIES_MAX;
use tidegate_bench::floor;
use tidegate_bench::options::{Common, Target, Transport};
use tidegate_bench::process::{Process, Setup};
use tidegate_bench::progress::Progress;
use tidegate_bench::report::{Column, Report, Row};

/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long one gateway has the load before the other one.
const TURN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that the proxy has on their way.
const PIPELINED: u32 = 64;
/// A tally is two words (`base::Tallies`).
const TALLY_BYTES: usize = 16;
const MIB: f64 = 1024.0 * 1024.0;

/// Every connection and every request is looked up, and none of `accepts` is refused. In `addresses` each client has one request a
/// minute, so that an address stays in the table until this is full.
const ROUTE: &str = "[[route]]\npath = \"/ok\"\nrespond = { body = \"ok\" }\n";
const GENEROUS: &str =
    "[[limit]]\nname = \"address\"\nconnections = 100000\nhandshakes = \"1000000/s\"\nrequests = \"1000000/s\"\n";
const SCARCE: &str = "[[limit]]\nname = \"address\"\nrequests = \"1/m\"\n";
const TRUST: &str = "[trust]\nnetworks = [\"127.0.0.1\"]\n";

const OFF: &str = "off";
const ON: &str = "on";

/// The cost of limits: CPU of an accept, memory of a million distinct addresses.
#[derive(Clone, Debug, Parser)]
#[command(name = "limits", max_term_width = 100)]
#[command(after_help = "One shard, without limits and with them. The phases:

  accepts    a connection after the other, each from another address of 127.0.0.0/8, with one request: CPU s per million. Both
             gateways run at once and take turns of 50 ms
  addresses  requests of one trusted proxy, each for another client (X-Forwarded-For): CPU s per million, and resident memory
             before and after. `table MiB` is what the configuration allows for the addresses (limits.tallies_max). When
             it is full, others share one entry, and most of them are refused: that costs more than an answer

Examples:
  cargo bench --bench limits -- --runs 5
  cargo bench --bench limits -- --driver epoll --seconds 10")]
struct Args {
    /// Distinct addresses in `addresses`
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    addresses: u32,
    /// Length of the phase of accepts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    Column("per_s", "1/s", 0),
    Column("cpu_s_per_million", "CPU s per million", 2),
    Column("cpu_to_off", "CPU to off", 3),
    Column("refused", "refused", 0),
    Column("before_mib", "before MiB", 2),
    Column("after_mib", "after MiB", 2),
    Column("table_mib", "table MiB", 2),
];

fn main() -> ExitCode {
    tidegate_bench::main("limits", measure)
}

fn measure(args: &Args) -> Result<(), String> {
    let options = vec![("addresses", args.addresses.into()), ("seconds", args.seconds.into())];
    let mut report = Report::new("limits", &args.common, COLUMNS, &[], options);
    for run in 1..=args.common.runs {
        for target in args.common.gateways() {
            let _progress = Progress::new(format!("run {run}, {}", target.name()));
            for row in accepts(args, target)? {
                report.add(run, row);
            }
            for limits in [OFF, ON] {
                report.add(run, addresses(args, target, limits)?);
            }
        }
    }
    report.finish("The memory is resident, with the program's own pages; the table is allocated at the start, and touched with use.");
    Ok(())
}

fn start(target: Target, rules: &str) -> Result<Process, String> {
    Process::start(&Setup {
        target,
        shards: 1,
        certificate: None,
        floor: floor::Kind::Relay,
        has_worker: false,
        is_grouped: false,
        rules,
    })
}

fn failed(error: io::Error) -> String {
    format!("the load failed: {error}")
}

fn row(target: Target, phase: &'static str, limits: &str, figures: Vec<(&'static str, f64)>) -> Row {
    Row { target: target.name(), phase, marks: vec![("limits", limits.to_owned())], figures }
}

/// Both gateways at once, each in its turn for a moment: so the machine is the same for both, whatever else it does.
fn accepts(args: &Args, target: Target) -> Result<[Row; 2], String> {
    let processes = [start(target, ROUTE)?, start(target, &format!("{GENEROUS}{ROUTE}"))?];
    let (mut number, mut counts, mut spent, mut elapsed) = (0, [0; 2], [Duration::ZERO; 2], [Duration::ZERO; 2]);
    for process in &processes {
        connect_for(WARM_UP, process.front(Transport::Plain)?, &mut number).map_err(failed)?;
    }
    let length = Duration::from_secs(args.seconds.into());
    while elapsed.iter().any(|elapsed| *elapsed < length) {
        for (index, process) in processes.iter().enumerate() {
            let (cpu, start) = (process.cpu()?, Instant::now());
            counts[index] += connect_for(TURN, process.front(Transport::Plain)?, &mut number).map_err(failed)?;
            spent[index] += process.cpu()?.saturating_sub(cpu);
            elapsed[index] += start.elapsed();
        }
    }
    let each = [0, 1].map(|index| spent[index].as_secs_f64() / counts[index] as f64 * 1e6);
    let rows = [(0, OFF, f64::NAN), (1, ON, each[1] / each[0])];
    Ok(rows.map(|(index, limits, ratio)| {
        let per_s = counts[index] as f64 / elapsed[index].as_secs_f64();
        row(
            target,
            "accepts",
            limits,
            vec![("per_s", per_s), ("cpu_s_per_million", each[index]), ("cpu_to_off", ratio)],
        )
    }))
}

/// Connects again and again, each time from the next address, asks once, and leaves with a reset: no port stays taken.
fn connect_for(duration: Duration, front: SocketAddr, number: &mut u32) -> io::Result<u64> {
    let (start, mut count) = (Instant::now(), 0);
    let mut answer = [0; 1024];
    while start.elapsed() < duration {
        *number += 1;
        let from = SocketAddr::from((Ipv4Addr::from(0x7F01_0000 + *number % 0x00FE_0000), 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&front.into())?;
        let mut socket = TcpStream::from(socket);
        socket.write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let read = socket.read(&mut answer)?;
        if !answer[..read].starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[..read]).into_owned()));
        }
        count += 1;
    }
    Ok(count)
}

fn addresses(args: &Args, target: Target, limits: &str) -> Result<Row, String> {
    let process = start(target, &format!("{TRUST}{}{ROUTE}", if limits == ON { SCARCE } else { "" }))?;
    let mut proxy = TcpStream::connect(process.front(Transport::Plain)?).map_err(failed)?;
    proxy.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    // The first client is the proxy itself.
    ask_for(&mut proxy, 0..1).map_err(failed)?;
    let (before, cpu, start) = (process.memory()?, process.cpu()?, Instant::now());
    let refused = ask_for(&mut proxy, 1..args.addresses + 1).map_err(failed)?;
    let (cpu, elapsed) = (process.cpu()?.saturating_sub(cpu), start.elapsed());
    let after = process.memory()?;
    let table = if limits == ON { TALLIES_MAX * TALLY_BYTES } else { 0 };
    let figures = vec![
        ("per_s", f64::from(args.addresses) / elapsed.as_secs_f64()),
        ("cpu_s_per_million", cpu.as_secs_f64() / f64::from(args.addresses) * 1e6),
        ("refused", refused as f64),
        ("before_mib", before.resident_bytes as f64 / MIB),
        ("after_mib", after.resident_bytes as f64 / MIB),
        ("table_mib", table as f64 / MIB),
    ];
    Ok(row(target, "addresses", limits, figures))
}

/// Asks for the clients with these numbers; how many were refused.
fn ask_for(proxy: &mut TcpStream, clients: std::ops::Range<u32>) -> io::Result<u64> {
    let mut refused = 0;
    let (mut requests, mut answers, mut piece) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    let mut next = clients.start;
    while next < clients.end {
        let last = clients.end.min(next + PIPELINED);
        requests.clear();
        for number in next..last {
            let client = Ipv4Addr::from(0x0A00_0000 + number);
            write!(requests, "GET /ok HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n")?;
        }
        proxy.write_all(&requests)?;
        while next < last {
            while let Some((count, is_refused)) = first_answer(&answers) {
                answers.drain(..count);
                refused += u64::from(is_refused);
                next += 1;
            }
            if next < last {
                let read = proxy.read(&mut piece)?;
                if read == 0 {
                    return Err(io::Error::other("the gateway has closed the proxy's connection"));
                }
                answers.extend_from_slice(&piece[..read]);
            }
        }
    }
    Ok(refused)
}

/// The bytes of the first answer, once it is whole, and whether it refuses.
fn first_answer(answers: &[u8]) -> Option<(usize, bool)> {
    const LENGTH: &[u8] = b"\r\nContent-Length: ";
    let head = memmem::find(answers, b"\r\n\r\n")? + 4;
    let at = memmem::find(&answers[..head], LENGTH)? + LENGTH.len();
    let digits = answers[at..].split(|byte| *byte == b'\r').next()?;
    let body: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (answers.len() >= head + body).then(|| (head + body, answers.starts_with(b"HTTP/1.1 429 ")))
}
