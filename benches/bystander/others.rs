//! What else is looked at while a stranger attacks: what has to be served (operators, workers, the history of channels), and
//! the sums that are filled.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidegate::gateway::config::Config;
use tidegate_bench::process::Process;
use tidegate_bench::report::Figure;

use crate::filled;
use crate::strangers::{KEPT_PREFIX, Stranger};

/// How long an answer is waited for. One that does not come counts as this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(100);
/// Channels of others, with a message each.
const KEPT: usize = 1_000;

/// Prepares what the stranger is to damage.
pub fn prepare(stranger: Stranger, process: &Process) -> Result<(), String> {
    match stranger {
        Stranger::Names => publish(process.publish()?).map_err(|error| format!("no channel is kept: {error}")),
        _ => Ok(()),
    }
}

/// One look.
pub fn look(stranger: Stranger, process: &Process) -> Result<Vec<Figure>, String> {
    match stranger {
        Stranger::Names => {
            let kept = kept(process.admin()?).map_err(|error| format!("histories cannot be read: {error}"))?;
            Ok(vec![("kept_percent", kept as f64 * 100.0 / KEPT as f64)])
        }
        Stranger::Crowd => {
            let (admin, bus) = (process.admin()?, process.publish()?);
            Ok(vec![
                ("ready_ms", time(|| admin_says(admin, "/ready"))),
                ("worker_ms", time(|| connect_worker(bus).map(drop))),
            ])
        }
        _ => Ok(Vec::new()),
    }
}

/// The worst of many looks, and of sums the most.
pub fn watch(
    stranger: Stranger,
    process: &Process,
    config: &Config,
    is_over: &AtomicBool,
) -> Result<Vec<Figure>, String> {
    match stranger {
        Stranger::Crowd => watch_answers(stranger, process, is_over),
        Stranger::Hoard => filled::watch(process.admin()?, config, is_over),
        _ => Ok(Vec::new()),
    }
}

fn watch_answers(stranger: Stranger, process: &Process, is_over: &AtomicBool) -> Result<Vec<Figure>, String> {
    let mut worst = look(stranger, process)?;
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(INTERVAL);
        for (known, (_, figure)) in worst.iter_mut().zip(look(stranger, process)?) {
            known.1 = known.1.max(figure);
        }
    }
    Ok(worst)
}

/// Milliseconds until the answer.
fn time(ask: impl FnOnce() -> io::Result<()>) -> f64 {
    let start = Instant::now();
    let spent = ask().map_or(PATIENCE, |()| start.elapsed());
    spent.as_secs_f64() * 1e3
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A worker that the bus has greeted.
fn connect_worker(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let mut worker = BufReader::new(connect(address)?);
    worker.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\n")?;
    ping(&mut worker)?;
    Ok(worker)
}

/// Until the bus has done all that it was told.
fn ping(worker: &mut BufReader<TcpStream>) -> io::Result<()> {
    worker.get_mut().write_all(b"PING\r\n")?;
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        if worker.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// A message in each of the channels that are to be kept.
fn publish(bus: SocketAddr) -> io::Result<()> {
    let mut worker = connect_worker(bus)?;
    let words: String = (0..KEPT).map(|number| format!("PUB {} 5\r\nwater\r\n", channel(number))).collect();
    worker.get_mut().write_all(words.as_bytes())?;
    ping(&mut worker)
}

fn channel(number: usize) -> String {
    format!("{KEPT_PREFIX}.others.{number}")
}

/// Number of channels whose message is still there.
fn kept(admin: SocketAddr) -> io::Result<usize> {
    let mut kept = 0;
    for number in 0..KEPT {
        let answer = get(admin, &format!("/api/channels/{}/history", channel(number)))?;
        kept += usize::from(answer.contains("water"));
    }
    Ok(kept)
}

fn admin_says(admin: SocketAddr, path: &str) -> io::Result<()> {
    let answer = get(admin, path)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other(answer)) }
}

pub fn get(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = connect(admin)?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
