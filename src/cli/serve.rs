//! `tidegate serve`: runs the gateway until it is told to stop.

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::{info, warn};

use super::check;
use super::source::ConfigSource;
use super::stop::Stop;
use super::{log_lines, output};
use tidegate::driver::memory;
use tidegate::gateway::config::{Config, DriverChoice};
use tidegate::gateway::{ActivatedSocket, Builder, Gateway};
use tidegate::limits::SHARDS_MAX;

/// Runs the gateway until SIGINT, SIGTERM or SIGQUIT, then drains: closes WebSockets with 1001, and ends event streams cleanly.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A ready gateway prints one line for each address: \"listening http 127.0.0.1:8080\", or https, bus, admin. A second
signal ends a drain at once, with exit code 130. SIGUSR1 opens the file of the access log again, and so does SIGHUP, which changes
nothing else; SIGUSR2 changes nothing.

Examples:
  tidegate serve
  tidegate serve tidegate.toml
  tidegate serve --config /etc/tidegate/tidegate.toml --driver epoll
  TIDEGATE_LISTENER_0_ADDRESS=0.0.0.0:8080 tidegate serve"
)]
pub struct ServeArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// The kernel's interface for network I/O, instead of the configuration's
    #[arg(long, value_parser = PossibleValuesParser::new(["auto", "epoll", "uring"]).map(driver))]
    driver: Option<DriverChoice>,
    /// Number of shards, instead of the configuration's; 0 means one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=SHARDS_MAX as i64))]
    shards: Option<u16>,
    /// Only validate the configuration, as `tidegate check` does
    #[arg(long)]
    check: bool,
    /// Let core dumps, debuggers and profilers of this user see the memory, which holds keys
    #[arg(long)]
    dumpable: bool,
}

fn driver(word: String) -> DriverChoice {
    match word.as_str() {
        "epoll" => DriverChoice::Epoll,
        "uring" => DriverChoice::Uring,
        _ => DriverChoice::Auto,
    }
}

pub fn run(args: &ServeArgs) -> ExitCode {
    // Before anything else: no other thread may read the environment while this removes variables from it.
    let sockets = match ActivatedSocket::from_environment() {
        Ok(sockets) => sockets,
        Err(error) => return output::fail(&error.to_string()),
    };
    // Before any key is read.
    let hidden = if args.dumpable { Ok(()) } else { memory::hide() };
    let mut config = match check::load(args.source.file().as_deref()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    config.driver = args.driver.unwrap_or(config.driver);
    config.shards = args.shards.map_or(config.shards, usize::from);
    if args.check {
        return check::verify(&config, &args.source);
    }
    log_lines::log_to_stderr(config.log);
    if let Err(error) = hidden {
        warn!("core dumps of this process would hold its keys: {error}");
    }
    for doubt in check::doubts(&config, &args.source) {
        warn!("{doubt}");
    }
    if !config.links.is_empty() {
        info!("variables that Kubernetes or Docker set for a service are ignored: {}", config.links.join(", "));
    }
    match start(config, sockets) {
        Ok((gateway, stop)) => stop.wait(gateway),
        Err(message) => output::fail(&message),
    }
}

fn start(config: Config, sockets: Vec<ActivatedSocket>) -> Result<(Gateway, Stop), String> {
    let stop = Stop::new()?;
    let mut gateway = Builder::new(config).sockets(sockets).start().map_err(|error| error.to_string())?;
    tell(&gateway);
    gateway.announce();
    Ok((gateway, stop))
}

/// Prints the addresses, or logs them if stdout cannot be written: the gateway serves in both cases.
fn tell(gateway: &Gateway) {
    let listening = gateway.listening().iter();
    let lines: Vec<String> =
        listening.map(|listening| format!("listening {} {}", listening.name(), listening.address)).collect();
    if let Err(message) = output::write(&(lines.join("\n") + "\n")) {
        warn!("{message}; {}", lines.join(", "));
    }
}
