//! `tidegate doctor`: how many connections this box can hold, the scarcest resource first, and the command that raises it.
//!
//! ```text
//!  /proc, /sys --system--> what there is --verdict--> how many each of it holds --show--> a table, or JSON
//!  --config -------------> shards ----------'                                                          |
//!                 '------> limits --most--> the memory that clients can make it keep at most ----------'
//! ```

mod memory;
mod show;
mod system;
mod tickets;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{check, output};
use system::System;
use tidegate::gateway;
use tidegate::gateway::config::{DriverChoice, Pin};
use tidegate::gateway::most;
use tidegate::limits::SHARDS_MAX;
use verdict::{Requirements, Verdict};

/// Unknown whether the connections fit: a file could not be read.
const CANNOT_TELL: u8 = 2;

/// Computes how many connections this box can hold, the scarcest resource first, and how to raise it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Counts idle connections, at their measured cost. The limit on descriptors is the hard one, because the gateway raises its \
soft limit to it, and holds for each shard. Reads only, and changes nothing. A service has other limits than a shell: use --pid.

Exit codes: 0 the connections fit, 1 they do not, 2 unknown (the output names the file that could not be read).

Examples:
  tidegate doctor --connections 100000 --tls
  tidegate doctor --connections 100000 --tls --config /etc/tidegate/tidegate.toml --pid $(pidof tidegate)
  tidegate doctor --connections 50000 --json | jq .holds"
)]
pub struct DoctorArgs {
    /// Number of connections that the box should hold
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    connections: u64,
    /// The connections use TLS
    #[arg(long)]
    tls: bool,
    /// Use the shards and the driver of this configuration [default: one shard for each core]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use this number of shards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX as i64))]
    shards: Option<u16>,
    /// Use the limits and the memory cgroup of this process [default: those of the shell]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Read proc and sys below this folder, such as a copy from another box
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub fn run(args: &DoctorArgs) -> ExitCode {
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
    let required = Requirements { connections: args.connections, is_tls: args.tls, shards, pin, wants_epoll };
    let mut verdict = Verdict::new(&required, &system);
    verdict.notes.extend(config.as_ref().and_then(tickets::note));
    let config = config.unwrap_or_default();
    let most = most::items(args.connections, shards, &config, verdict.bytes_per_connection);
    let text = if args.json {
        show::json(&required, &system, &verdict, &most)
    } else {
        show::words(&required, &system, &verdict, &most)
    };
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
