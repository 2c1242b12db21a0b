//! `tidegate check`: reports every mistake in a configuration.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use super::output;
use super::source::ConfigSource;
use tidegate::gateway::config::{Config, Target, TokenKey};
use tidegate::gateway::online;

/// Validates a configuration without starting anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints each mistake as one line on stderr, with the file, the line and the accepted values. A legal setting that is \
probably a mistake is a warning, and the exit code stays 0.\n\n\
                        Examples:\n  tidegate check\n  tidegate check --online /etc/tidegate/tidegate.toml"
)]
pub struct CheckArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// Fetch the keys of issuers (auth.jwt.keys), too, and connect to the URLs that decide (permission.ask); those that cannot be used
    /// are mistakes.
    #[arg(long)]
    online: bool,
}

pub fn run(args: &CheckArgs) -> ExitCode {
    match load(args.source.file().as_deref()) {
        Ok(config) => {
            let is_online_well = !args.online || is_online_well(&config, &args.source);
            let code = verify(&config, &args.source);
            if is_online_well { code } else { ExitCode::FAILURE }
        }
        Err(code) => code,
    }
}

/// Says of each key set that an issuer publishes, and of each URL that decides, what is there.
fn is_online_well(config: &Config, source: &ConfigSource) -> bool {
    let outcomes = [online::key_sets(config), online::deciders(config)].concat();
    let file = source.name();
    for outcome in &outcomes {
        let (Ok(line) | Err(line)) = outcome;
        output::line(&format!("{}: {line}", file.display()));
    }
    outcomes.iter().all(Result::is_ok)
}

/// Checks a parsed configuration: its certificates and keys exist and match.
pub(super) fn verify(config: &Config, source: &ConfigSource) -> ExitCode {
    let file = source.name();
    let file = file.display();
    let of_listeners = config.listeners.iter();
    let of_listeners = of_listeners.filter_map(|listener| {
        Some(format!("{file}: listener {}: {}", listener.address, listener.tls_config(&config.tls).err()?))
    });
    let of_keys = token_keys(config);
    let of_keys = of_keys.filter_map(|(path, key)| Some(format!("{file}: route {path}: {}", key.verifier().err()?)));
    let of_auths = config.auths.iter();
    let of_auths = of_auths.filter_map(|auth| Some(format!("{file}: auth {}: {}", auth.name, auth.keys().err()?)));
    let of_upstreams = config.upstreams_tls().err().map(|error| format!("{file}: {error}"));
    let of_admin =
        config.admin.iter().flat_map(|admin| [admin.tls_config(&config.tls).err(), admin.read_tokens().err()]);
    let of_admin = of_admin.flatten().map(|error| format!("{file}: admin: {error}"));
    let of_deciders =
        config.deciders.iter().filter_map(|decider| Some(format!("{file}: permission.ask: {}", decider.fault()?)));
    let of_clients = of_keys.chain(of_auths).chain(of_deciders);
    let mistakes: Vec<String> = of_listeners.chain(of_admin).chain(of_clients).chain(of_upstreams).collect();
    for mistake in &mistakes {
        output::line(mistake);
    }
    doubts(config, source).iter().for_each(|doubt| output::line(doubt));
    if !mistakes.is_empty() {
        return ExitCode::FAILURE;
    }
    let (listeners, routes) = (config.listeners.len(), config.routes.len());
    output::print(&format!("{file}: ok, listeners: {listeners}, routes: {routes}\n"))
}

/// Legal settings that are probably mistakes, in the configuration and in the files that it names: one line each.
pub(super) fn doubts(config: &Config, source: &ConfigSource) -> Vec<String> {
    let file = source.name();
    let file = file.display();
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs());
    let of_listeners = config.listeners.iter().flat_map(|listener| {
        listener.doubts(now).into_iter().map(move |doubt| (format!("listener {}", listener.address), doubt))
    });
    let of_keys = token_keys(config).filter_map(|(path, key)| Some((format!("route {path}"), key.doubt()?)));
    let of_auths = config
        .auths
        .iter()
        .flat_map(|auth| auth.doubts().into_iter().map(move |doubt| (format!("auth {}", auth.name), doubt)));
    let of_files =
        of_listeners.chain(of_keys).chain(of_auths).map(|(place, doubt)| format!("{file}: warning: {place}: {doubt}"));
    config.doubts.iter().cloned().chain(of_files).collect()
}

/// The keys of tokens, by the paths of their routes.
fn token_keys(config: &Config) -> impl Iterator<Item = (&str, &TokenKey)> {
    config.routes.iter().filter_map(|route| match &route.target {
        Target::Centrifuge(target) => Some((&*route.path, target.token.as_ref()?)),
        _ => None,
    })
}

/// Reads the file and the environment; reports mistakes on stderr.
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
