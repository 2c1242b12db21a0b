//! The gateway as the measured process: one configuration for all benchmarks.

use std::io::{self, Read};
use std::path::Path;

use tidegate::conn::Door;
use tidegate::gateway::Builder;
use tidegate::gateway::config::Config;

use crate::certificate::Certificate;
use crate::process::tell;

/// The routes; see [`crate::load::request`]. A channel is the last segment of its path.
const ROUTES: &str = r#"
[bus]
address = "127.0.0.1:0"

[[route]]
path = "/ws/{channel}"
websocket = { channel = "bench.{channel}" }

[[route]]
path = "/sse/{channel}"
sse = { channel = "bench.{channel}" }
"#;

/// Both listeners, if there is a certificate. Everything else is as users get it.
pub(crate) fn configuration(driver: &str, shards: usize, certificate: Option<&Certificate>) -> String {
    let tls = certificate.map_or_else(String::new, |certificate| {
        let path = |name: &str| {
            toml_edit::Value::from(certificate.folder().join(name).to_string_lossy().into_owned()).to_string()
        };
        let (chain, key) = (path("cert.pem"), path("key.pem"));
        format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {chain}, key = {key} }}\n")
    });
    format!(
        "driver = \"{driver}\"\nshards = {shards}\nlog = \"warn\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n{tls}{ROUTES}"
    )
}

/// Runs until stdin ends.
pub(crate) fn serve(configuration: &str) -> Result<(), String> {
    let config = Config::parse(Path::new("bench.toml"), configuration, []).map_err(|errors| errors.to_string())?;
    let wanted = config.driver;
    let gateway = Builder::new(config).start().map_err(|error| error.to_string())?;
    let driver = gateway.driver().to_string();
    if driver != format!("{wanted:?}").to_lowercase() {
        return Err(format!("{wanted:?} cannot be had here; leave it out with --driver"));
    }
    let places = [("front", Door::Front, false), ("tls", Door::Front, true), ("publish", Door::Bus, false)];
    let known = places.iter().filter_map(|(name, door, is_tls)| Some((*name, gateway.address(*door, *is_tls)?)));
    tell(known)?;
    wait_for_the_end();
    gateway.stop();
    Ok(())
}

/// Until the benchmark closes the pipe, or is no more.
pub(crate) fn wait_for_the_end() {
    _ = io::stdin().read_to_end(&mut Vec::new());
}
