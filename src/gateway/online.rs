//! The questions of `tidegate check --online` to the network, before a gateway has to ask: the keys that issuers publish, and the
//! URLs that decide about clients.

use super::config::Config;
use super::plan;
use crate::outbound::{DeciderSource, KeySource, fetch_once, reach_once};

/// One line for each key set of the configuration: `Ok` if it can be used.
pub fn key_sets(config: &Config) -> Vec<Result<String, String>> {
    let sources = match plan::key_sources(config) {
        Ok(sources) => sources,
        Err(error) => return vec![Err(error)],
    };
    let fetched = match fetch_once(&sources) {
        Ok(fetched) => fetched,
        Err(error) => return vec![Err(format!("the keys cannot be fetched: {error}"))],
    };
    let line = |(source, outcome): (&KeySource, Result<usize, String>)| {
        let (name, url) = (&source.name, &source.url);
        match outcome {
            Ok(1) => Ok(format!("auth {name}: 1 key at {url}")),
            Ok(count) => Ok(format!("auth {name}: {count} keys at {url}")),
            Err(error) => Err(format!("auth {name}: the keys at {url} cannot be fetched: {error}")),
        }
    };
    sources.iter().zip(fetched).map(line).collect()
}

/// The same for each URL that permissions ask: whether its server can be reached.
pub fn deciders(config: &Config) -> Vec<Result<String, String>> {
    let sources = match plan::decider_sources(config) {
        Ok(sources) => sources,
        Err(error) => return vec![Err(error)],
    };
    let line = |source: &DeciderSource| match reach_once(source) {
        Ok(()) => Ok(format!("permission.ask: {} is reached", source.url)),
        Err(error) => Err(format!("permission.ask: {} cannot be reached: {error}", source.url)),
    };
    sources.iter().map(line).collect()
}
