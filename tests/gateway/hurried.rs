//! Limits for strangers, with clients of Python in front of real sockets.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// Rates of hours, where a test must not depend on its own speed.
const LIMITS: &str = r#"
[[limit]]
name = "asks"
requests = "4/h"
except = ["127.0.0.4", "127.0.0.5", "127.0.0.9"]

[[limit]]
name = "sockets"
connections = 3
messages = "20/s"
burst = 5
routes = "/ws/{room}"

[[limit]]
name = "strict"
by = "route"
messages = "3/h"
routes = ["/strict/{room}"]
excess = "close"

[[route]]
path = "/strict/{room}"
websocket = { channel = "strict.{room}", publish = true }
"#;

const EXPECTED: &[&str] = &[
    "requests: 404 404 404 404 429 429 [True, True]",
    "events: 200 text/event-stream True",
    "events: []",
    "handshake of a websocket: 429 101",
    "websockets: 3 429",
    "one closed, one more: 101",
    "messages: True",
    "shouts: 1008 messages came faster than they may",
    "bystander: still here",
];

/// What tests/gateway/hurried.py got from the gateway at this port: a line for each client.
fn hurried(port: u16) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install.sh first", python.display());
    let output = Command::new(python)
        .arg(folder.join("gateway/hurried.py"))
        .arg(port.to_string())
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Of all shards: how much was more than this limit allows.
fn limited(gateway: &tidegate::gateway::Gateway, limit: &str, what: &str) -> u64 {
    let labels = format!("limit=\"{limit}\",what=\"{what}\"}} ");
    let metrics = gateway.metrics();
    let values = metrics.lines().filter_map(|line| line.strip_prefix("tidegate_limited_total{")?.split_once(&labels));
    values.map(|(_, value)| value.parse::<u64>().expect("a number")).sum()
}

#[test]
fn clients_in_a_hurry_see_what_the_manual_says_and_a_bystander_is_served() {
    on_both_drivers(LIMITS, |gateway| {
        assert_eq!(hurried(front(gateway).port()), EXPECTED);
        // Two requests, a stream, a WebSocket.
        assert_eq!(limited(gateway, "asks", "requests"), 4);
        assert!(limited(gateway, "sockets", "connections") >= 1 && limited(gateway, "sockets", "messages") >= 1);
        assert_eq!(limited(gateway, "strict", "messages"), 1);
        let refused = metric(gateway, "closed_total:request_limit");
        assert_eq!((refused, metric(gateway, "closed_total:message_limit")), (4, 1));
        expect_nobody(gateway);
    });
}
