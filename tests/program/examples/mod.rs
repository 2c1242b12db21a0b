//! The examples do what they say: the same echo worker in Rust, in Python and in JavaScript; a system each in its folder.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tungstenite::Message;

mod booking;
mod cable;
mod notifications;
mod plays;
mod printed;
mod ready;
mod ride_acceptance;
mod ride_location;
mod running;
mod stage;

use running::{Running, repository};

/// The demo on free ports, and its addresses.
fn demo() -> (Running, Value) {
    let ports = ["--port", "--tls-port", "--bus-port", "--admin-port"].map(|port| [port, "0"]);
    let mut demo =
        Running::start(Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["demo", "--json"]).args(ports.concat()));
    let addresses = serde_json::from_str(&demo.line()).expect("one line of JSON");
    (demo, addresses)
}

fn expect_echo(url: &str) {
    let (mut socket, _) = tungstenite::connect(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    for message in [Message::text("a tide of one"), Message::binary(vec![0, 159, 146, 150]), Message::text("")] {
        socket.send(message.clone()).expect("sent");
        assert_eq!(socket.read().expect("an echo"), message);
    }
    socket.close(None).expect("closed");
}

/// Starts a worker with the bus' address added, and talks to it through the demo's route.
fn expect_worker_echoes(worker: &mut Command) {
    let (_demo, addresses) = demo();
    let address = |name: &str| addresses[name].as_str().expect("an address").to_owned();
    let mut worker = Running::start(worker.arg(address("bus")));
    assert!(worker.line().starts_with("echo: working for"));
    expect_echo(&format!("{}ws/echo", address("page").replace("http:", "ws:")));
}

#[test]
fn echo_in_python_answers_a_client() {
    expect_worker_echoes(Command::new(repository("tests/.venv/bin/python")).arg(repository("examples/echo.py")));
}

#[test]
fn echo_in_javascript_answers_a_client() {
    expect_worker_echoes(Command::new("node").arg(repository("examples/echo.mjs")));
}

#[test]
fn echo_in_rust_answers_a_client() {
    let example = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("examples").join("echo");
    // cargo test builds the examples, unless it is told to run one test only.
    assert!(example.exists(), "cargo build --example echo comes first");
    let mut example = Running::start(Command::new(example).arg("127.0.0.1:0"));
    let line = example.line();
    let url = line.trim().strip_prefix("echo: working for ").expect("the address");
    expect_echo(url);
}
