//! `tidegate config`: the annotated defaults, or the reference page.

use std::process::ExitCode;

use super::output;
use tidegate::gateway::config;

/// Prints a configuration file with every key, its default and its help.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate config > tidegate.toml\n  tidegate config --markdown > configuration.md")]
pub struct ConfigArgs {
    /// Print the reference page instead.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &ConfigArgs) -> ExitCode {
    let text = if args.markdown { config::markdown() } else { config::annotated() };
    output::print(&text)
}
