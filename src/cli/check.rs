//! `tidegate check`: tells every mistake in a configuration.

use std::path::Path;
use std::process::ExitCode;

use super::output;
use super::source::Source;
use crate::gateway::config::Config;

/// Validates a configuration without starting anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Every mistake is one line on stderr, with the file, the line and what would be accepted.\n\n\
                        Examples:\n  tidegate check\n  tidegate check /etc/tidegate/tidegate.toml")]
pub struct Args {
    #[command(flatten)]
    source: Source,
}

pub fn run(args: &Args) -> ExitCode {
    match load(args.source.file().as_deref()) {
        Ok(config) => verify(&config, &args.source),
        Err(code) => code,
    }
}

/// What a configuration that was read leads to: certificates that are there and fit.
pub(super) fn verify(config: &Config, source: &Source) -> ExitCode {
    let file = source.name();
    let file = file.display();
    let mistakes: Vec<String> = config
        .listeners
        .iter()
        .filter_map(|listener| Some(format!("{file}: listener {}: {}", listener.address, listener.tls_config().err()?)))
        .collect();
    for mistake in &mistakes {
        output::line(mistake);
    }
    if !mistakes.is_empty() {
        return ExitCode::FAILURE;
    }
    let (listeners, routes) = (config.listeners.len(), config.routes.len());
    output::print(&format!("{file}: ok, listeners: {listeners}, routes: {routes}\n"))
}

/// Reads the file and the environment; mistakes are told on stderr.
pub(super) fn load(file: Option<&Path>) -> Result<Config, ExitCode> {
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    Config::load(file, variables).map_err(|errors| {
        for line in errors.lines() {
            output::line(&line);
        }
        ExitCode::FAILURE
    })
}
