//! Autobahn's cases of groups 1 to 10, all 301, run by kosoku (PyPI) against echo servers.

mod session_echo;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate::conn::Door;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};
use tidegate::proto::ws::SessionLimits;
use tidegate::worker::{Received, Worker};

const CASES: usize = 301;

/// The longest message of group 9, and the most fragments that it cuts one into.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;
const FRAGMENTS_MAX: u32 = 1 << 16;

/// Where an echo server listens; with a certificate it expects TLS, under the name `localhost`.
struct Target {
    address: SocketAddr,
    path: &'static str,
    certificate: Option<PathBuf>,
}

/// Runs every case, prints the counts, and fails with the words of each case that failed.
fn assert_all_cases_pass(name: &str, target: &Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install.sh first", python.display());
    let start = Instant::now();
    let output = Command::new(python)
        .arg(folder.join("gateway/autobahn/run_cases.py"))
        .arg(format!("{}{}", target.address, target.path))
        .args(&target.certificate)
        .output()
        .expect("python starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: run_cases.py ended with {}:\n{words}", output.status);
    let cases: serde_json::Value = serde_json::from_slice(&output.stdout).expect("run_cases.py prints JSON");
    let cases = cases.as_array().expect("a list of cases");

    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    for case in cases {
        *counts.entry(case["behavior"].as_str().expect("a word")).or_insert(0) += 1;
        if case["passed"] != true {
            failures.push(format!("{} {}", case["id"], case["words"]));
        }
    }
    println!("{name}: {} cases, {} failed, {counts:?}, {:.1?}", cases.len(), failures.len(), start.elapsed());
    assert!(failures.is_empty(), "{name}: {} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cases.len(), CASES, "{name}");
}

/// A gateway with this target of its only route and an echo worker in this process, with the limits that group 9 asks for.
fn spawn_gateway(driver: &str, is_tls: bool, route: &str) -> (Gateway, Target) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = |name: &str| folder.join(format!("autobahn-{driver}-{name}.pem"));
    let (certificate, key) = crate::certificate::self_signed();
    let tls = match is_tls {
        true => format!("tls = {{ certificate = {:?}, key = {:?} }}", file("certificate"), file("key")),
        false => String::new(),
    };
    if is_tls {
        std::fs::write(file("certificate"), certificate).expect("the target folder is writable");
        std::fs::write(file("key"), key).expect("the target folder is writable");
    }
    let text = format!(
        r#"
            driver = "{driver}"
            shards = 2
            [limits]
            message_bytes_max = {MESSAGE_BYTES_MAX}
            payload_bytes_max = {}
            outbox_bytes_max = {}
            fragments_max = {FRAGMENTS_MAX}
            [[listener]]
            address = "127.0.0.1:0"
            {tls}
            [[route]]
            path = "/echo"
            {route}
        "#,
        2 * MESSAGE_BYTES_MAX,
        4 * MESSAGE_BYTES_MAX,
    );
    let config = Config::parse(Path::new("autobahn.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    let gateway = Builder::new(config).worker("echo", echo).start().expect("the gateway starts");
    let address = gateway.address(Door::Front, is_tls).expect("a listener");
    let target = Target { address, path: "/echo", certificate: is_tls.then(|| file("certificate")) };
    (gateway, target)
}

fn echo(mut worker: Worker) {
    worker.serve("echo").expect("a service can have this name");
    loop {
        match worker.recv(Instant::now() + Duration::from_secs(1)) {
            Received::Message(message) if message.header("Tg-Kind") == Some("message") => {
                worker.reply(&message, &message.payload).expect("the gateway has room for one answer to each message");
            }
            Received::Message(_) | Received::Nothing => {}
            Received::Stopped => return,
        }
    }
}

fn assert_gateway_passes_every_case(driver: &str, is_tls: bool) {
    let (gateway, target) = spawn_gateway(driver, is_tls, "websocket = { service = \"echo\" }");
    let name = format!("gateway, {:?}, {}", gateway.driver(), if is_tls { "TLS" } else { "plain" });
    assert_all_cases_pass(&name, &target);
    gateway.stop();
}

#[test]
fn sessions_pass_every_case() {
    let limits = SessionLimits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: FRAGMENTS_MAX };
    let address = session_echo::spawn(limits);
    assert_all_cases_pass("session alone", &Target { address, path: "/", certificate: None });
}

/// A gateway with a route to a session alone, which it knows nothing of.
fn assert_tunnel_passes_every_case(driver: &str, is_tls: bool) {
    let limits = SessionLimits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: FRAGMENTS_MAX };
    let server = session_echo::spawn(limits);
    let (gateway, target) = spawn_gateway(driver, is_tls, &format!("proxy = \"http://{server}\""));
    let name = format!("tunnel, {:?}, {}", gateway.driver(), if is_tls { "TLS" } else { "plain" });
    assert_all_cases_pass(&name, &target);
    gateway.stop();
}

#[test]
fn a_tunnel_on_epoll_passes_every_case() {
    assert_tunnel_passes_every_case("epoll", false);
}

#[test]
fn a_tunnel_on_uring_passes_every_case_through_tls() {
    assert_tunnel_passes_every_case("uring", true);
}

#[test]
fn a_gateway_on_epoll_passes_every_case() {
    assert_gateway_passes_every_case("epoll", false);
}

#[test]
fn a_gateway_on_epoll_passes_every_case_through_tls() {
    assert_gateway_passes_every_case("epoll", true);
}

#[test]
fn a_gateway_on_uring_passes_every_case() {
    assert_gateway_passes_every_case("uring", false);
}

#[test]
fn a_gateway_on_uring_passes_every_case_through_tls() {
    assert_gateway_passes_every_case("uring", true);
}
