//! What the figures were taken on.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};

pub const CORES: &str = "cores";
pub const LOAD: &str = "load average before";

/// A name, and who finds it out.
type Fact = (&'static str, fn() -> Option<String>);

/// In the order in which they are shown.
const FACTS: &[Fact] = &[
    ("processor", processor),
    (CORES, || Some(cores().to_string())),
    ("memory", || Some(format!("{:.1} GiB", meminfo("MemTotal")? as f64 / (1u64 << 30) as f64))),
    ("kernel", || Some(format!("Linux {}", word("/proc/sys/kernel/osrelease")?))),
    ("open files (ulimit -Hn)", || Some(descriptor_limit()?.to_string())),
    (LOAD, || Some(fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.to_owned())),
    ("compiler", || said("rustc", &["--version"])),
    ("nginx", || said("sh", &["-c", "nginx -v 2>&1"])),
    ("commit", commit),
    ("date", || said("date", &["-u", "+%Y-%m-%d"])),
];

/// All that can be found out.
pub fn facts() -> Map<String, Value> {
    FACTS.iter().filter_map(|(name, find)| Some(((*name).to_owned(), json!(find()?)))).collect()
}

/// The facts of such a map, in their order.
pub fn in_order(facts: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &str)> {
    FACTS.iter().filter_map(|(name, _)| Some((*name, facts.get(*name)?.as_str()?)))
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A line of /proc/meminfo, in bytes.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The hard one: a process may raise its own up to it.
pub fn descriptor_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Numbers of a file below /proc/sys.
pub fn setting(name: &str) -> Vec<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "))?.1;
    Some(name.trim().to_owned())
}

/// With a word if what was measured is not quite what was committed.
fn commit() -> Option<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = said("git", &["status", "--porcelain", "--", "src", "benches", "Cargo.lock"]).is_some();
    Some(if is_changed { format!("{commit}, with changes") } else { commit })
}

fn word(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The first line that a program prints; `None` if it is not there, fails or prints nothing.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}
