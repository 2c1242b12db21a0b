//! The gateway as the measured process: one configuration for all benchmarks.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::conn::Door;
use tidegate::gateway::Builder;
use tidegate::gateway::config::Config;
use tidegate::worker::{Received, Worker};

use crate::certificate::Certificate;
use crate::process::tell;

/// The routes. A channel is the last segment of its path.
const ROUTES: &str = r#"
[bus]
address = "127.0.0.1:0"

[[route]]
path = "/ws/{channel}"
websocket = { channel = "bench.{channel}" }

[[route]]
path = "/sse/{channel}"
sse = { channel = "bench.{channel}" }

[[route]]
path = "/room/{channel}"
websocket = { channel = "room.{channel}", publish = true }

[[route]]
path = "/service/{any}"
websocket = { service = "echo" }
"#;

/// How long the worker of the service sleeps when nobody asks.
const WORKER_WAIT: Duration = Duration::from_secs(60);

/// Both listeners, if there is a certificate. Everything else is as users get it, `pin = "auto"` too: the load shares the cores.
pub(crate) fn configuration(driver: &str, shards: usize, certificate: Option<&Certificate>, rules: &str) -> String {
    let tls = certificate.map_or_else(String::new, |certificate| {
        let path = |name: &str| {
            toml_edit::Value::from(certificate.folder().join(name).to_string_lossy().into_owned()).to_string()
        };
        let (chain, key) = (path("cert.pem"), path("key.pem"));
        format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {chain}, key = {key} }}\n")
    });
    format!(
        "driver = \"{driver}\"\nshards = {shards}\nlog = \"warn\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n{tls}{ROUTES}{rules}"
    )
}

/// As the gateway reads it.
pub(crate) fn parse(configuration: &str) -> Result<Config, String> {
    Config::parse(Path::new("bench.toml"), configuration, []).map_err(|errors| errors.to_string())
}

/// Runs until stdin ends; with a worker that sends back what clients of its service say, if it is wanted.
pub(crate) fn serve(configuration: &str, has_worker: bool) -> Result<(), String> {
    let config = parse(configuration)?;
    let wanted = config.driver;
    let mut builder = Builder::new(config);
    if has_worker {
        builder = builder.worker("echo", send_back);
    }
    let gateway = builder.start().map_err(|error| error.to_string())?;
    let driver = gateway.driver().to_string();
    if driver != format!("{wanted:?}").to_lowercase() {
        return Err(format!("{wanted:?} cannot be had here; leave it out with --driver"));
    }
    let places = [
        ("front", Door::Front, false),
        ("tls", Door::Front, true),
        ("publish", Door::Bus, false),
        ("admin", Door::Admin, false),
    ];
    let known = places.iter().filter_map(|(name, door, is_tls)| Some((*name, gateway.address(*door, *is_tls)?)));
    tell(known)?;
    wait_for_the_end();
    gateway.stop();
    Ok(())
}

fn send_back(mut worker: Worker) {
    if let Err(error) = worker.serve("echo") {
        eprintln!("the worker does not serve: {error}");
        return;
    }
    loop {
        match worker.recv(Instant::now() + WORKER_WAIT) {
            Received::Message(message) if message.header("Tg-Kind") == Some("message") => {
                if let Err(error) = worker.reply(&message, &message.payload) {
                    eprintln!("an echo is lost: {error}");
                }
            }
            Received::Message(_) | Received::Nothing => {}
            Received::Stopped => return,
        }
    }
}

/// Until the benchmark closes the pipe, or is no more.
pub(crate) fn wait_for_the_end() {
    _ = io::stdin().read_to_end(&mut Vec::new());
}
