//! The echo worker inside the gateway's own process: the embedding API in one page.
//!
//!     cargo run --example echo [127.0.0.1:8080]
//!
//! echo.py and echo.mjs are the same worker as programs of their own.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::conn::Door;
use tidegate::gateway::Builder;
use tidegate::gateway::config::Config;
use tidegate::worker::{Received, Worker};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let text = format!(
        r#"
        [[listener]]
        address = "{address}"

        [[route]]
        path = "/ws/echo"
        websocket = {{ service = "echo" }}
        "#
    );
    let config = Config::parse(Path::new("echo.toml"), &text, [])?;
    let gateway = Builder::new(config).worker("echo", echo).start()?;
    if let Some(address) = gateway.address(Door::Front, false) {
        println!("echo: working for ws://{address}/ws/echo");
    }
    // Until Ctrl-C, unless a shard fails.
    let failure = gateway.failures().recv()?;
    Err(failure.into())
}

/// Runs on a thread of its own until the gateway ends.
fn echo(mut worker: Worker) {
    if let Err(error) = worker.serve("echo") {
        return eprintln!("echo: {error}");
    }
    loop {
        match worker.recv(Instant::now() + Duration::from_secs(60)) {
            // "open" and "close" come too; they have nothing to be echoed.
            Received::Message(message) if message.header("Tg-Kind") == Some("message") => {
                if let Err(error) = worker.reply(&message, &message.payload) {
                    eprintln!("echo: {error}");
                }
            }
            Received::Message(_) | Received::Nothing => {}
            Received::Stopped => return,
        }
    }
}
