//! `tidegate check`: tells every mistake in a configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::gateway::config::{Config, FILE_DEFAULT};

/// Validates a configuration without starting anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Every mistake is one line on stderr, with the file, the line and what would be accepted.\n\n\
                        Examples:\n  tidegate check\n  tidegate check /etc/tidegate/tidegate.toml")]
pub struct Args {
    /// The configuration [default: tidegate.toml, if it is there].
    #[arg(env = "TIDEGATE_CONFIG")]
    file: Option<PathBuf>,
}

pub fn run(args: &Args) -> ExitCode {
    match load(args.file.as_deref()) {
        Ok(config) => {
            let file = args.file.clone().unwrap_or_else(|| PathBuf::from(FILE_DEFAULT));
            let (listeners, routes) = (config.listeners.len(), config.routes.len());
            super::print(&format!("{}: ok, {listeners} listeners, {routes} routes\n", file.display()))
        }
        Err(code) => code,
    }
}

/// Reads the file and the environment; mistakes are told on stderr.
pub(super) fn load(file: Option<&std::path::Path>) -> Result<Config, ExitCode> {
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    Config::load(file, variables).map_err(|errors| {
        for line in errors.lines() {
            eprintln!("{line}");
        }
        ExitCode::FAILURE
    })
}
