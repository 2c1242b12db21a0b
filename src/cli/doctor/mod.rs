//! `tidegate doctor`: how many connections this box holds, what stops it first, and which line fixes it.
//!
//! ```text
//!  /proc, /sys --system--> what there is --verdict--> how many each of it holds --show--> a table, or JSON
//!  --config -------------> shards ----------'
//! ```

mod memory;
mod show;
mod system;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{check, output};
use system::System;
use tidegate::gateway;
use tidegate::gateway::config::{DriverChoice, Pin};
use tidegate::limits::SHARDS_MAX;
use verdict::{Question, Verdict};

/// It is unknown whether the connections fit: a file could not be read.
const CANNOT_TELL: u8 = 2;

/// Tells how many connections this box will hold, what stops it first, and which line fixes it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It counts idle connections by their measured cost; descriptors by the hard limit, which the gateway raises its own \
to, and for each shard anew. It reads, and changes nothing. A service has other limits than a shell: ask with --pid.

Exit codes: 0 they fit, 1 they do not, 2 it cannot tell (what could not be read is named).

Examples:
  tidegate doctor --connections 100000 --tls
  tidegate doctor --connections 100000 --tls --config /etc/tidegate/tidegate.toml --pid $(pidof tidegate)
  tidegate doctor --connections 50000 --json | jq .holds"
)]
pub struct Args {
    /// How many connections the box is to hold
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    connections: u64,
    /// They speak TLS
    #[arg(long)]
    tls: bool,
    /// The configuration whose shards and driver count [default: one shard for each core]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Counts with so many shards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64))]
    shards: Option<u16>,
    /// The process whose limits and memory cgroup count [default: this one, as the shell started it]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Reads proc and sys below this folder: another box's, or a made-up one's
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub fn run(args: &Args) -> ExitCode {
    let config = match args.config.as_deref().map(|file| check::load(Some(file))).transpose() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let wants_epoll = config.as_ref().is_some_and(|config| config.driver == DriverChoice::Epoll);
    let system = System::read(&args.root, args.pid, args.root == Path::new("/") && !wants_epoll);
    let cores = system.core_count().unwrap_or(1);
    let shards = match (args.shards, &config) {
        (Some(shards), _) => usize::from(shards),
        (None, Some(config)) => gateway::shards(config, system.descriptors.unwrap_or(u64::MAX), cores),
        (None, None) => cores.min(SHARDS_MAX),
    };
    let pin = config.as_ref().map_or(Pin::Auto, |config| config.pin);
    let question = Question { connections: args.connections, is_tls: args.tls, shards, pin, wants_epoll };
    let verdict = Verdict::new(&question, &system);
    let text =
        if args.json { show::json(&question, &system, &verdict) } else { show::words(&question, &system, &verdict) };
    if let Err(message) = output::write(&text) {
        output::complain(&message);
        return ExitCode::from(CANNOT_TELL);
    }
    match verdict.fits {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => ExitCode::from(CANNOT_TELL),
    }
}
