//! The application of docs/permissions.md that decides about rooms: with Express, with FastAPI, and as a worker with nats-py, as they
//! stand there but for the address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tidegate::conn::Door;
use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::Gateway;

use super::{said, script};
use crate::documented::{ANY, Folder, block, port, start_text};
use crate::proxied::programs::{Program, TOKEN_SECRET};
use crate::support::*;

const PAGE: &str = "docs/permissions.md";
const ASK: &str = "Ask the application";
/// An event stream whose client is not let in now.
const LATER: &str = "retry: 5000\n";

fn python() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python")
}

fn token(user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({"sub": user, "exp": now + 600});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(TOKEN_SECRET.as_bytes()))
        .expect("a token")
}

/// The gateway of the page, which asks as `change` says.
fn start(folder: &Folder, change: impl FnOnce(String) -> String, more: &[(&str, &str)]) -> Gateway {
    folder.write("token.secret", TOKEN_SECRET);
    let text = change(block(PAGE, ASK, "toml"));
    start_text(folder, &text, &[&[("LISTENER_0_ADDRESS", ANY)], more].concat())
}

fn walk(gateway: &Gateway) {
    said(
        Command::new(python()).arg(script("asked.py")).arg(port(gateway, false)).args(["ann", "bob", "eve"].map(token)),
    );
}

fn decided(gateway: &Gateway, outcome: &str) -> u64 {
    let name = format!("outcome=\"{outcome}\"}} ");
    let metrics = ask(admin(gateway), "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let counts = metrics.lines().filter(|line| line.starts_with("tidegate_decisions_total{"));
    counts.filter_map(|line| line.split_once(&name)?.1.parse::<u64>().ok()).sum()
}

fn by_url(application: &Program) {
    let folder = Folder::new(&format!("asked-{}", application.name));
    let address = application.address.to_string();
    let change = |text: String| {
        assert!(text.contains("127.0.0.1:3000"), "the address of {ASK:?}");
        text.replace("127.0.0.1:3000", &address)
    };
    let gateway = start(&folder, change, &[]);
    walk(&gateway);
    // Each user, right and room once on each shard, and the rest is remembered.
    assert!((8..=20).contains(&(decided(&gateway, "allowed") + decided(&gateway, "denied"))));
    assert!(decided(&gateway, "remembered") >= 3);
    assert_eq!(["unreachable", "too_slow", "unreadable", "busy"].map(|outcome| decided(&gateway, outcome)), [0; 4]);
    gateway.stop();
}

#[test]
fn an_application_with_express_decides_about_rooms() {
    by_url(&Program::express(&block(PAGE, ASK, "js")));
}

#[test]
fn an_application_with_fastapi_decides_about_rooms() {
    by_url(&Program::fastapi(&block(PAGE, ASK, "python")));
}

/// A worker that ends with its test.
struct Decider(Child);

impl Decider {
    /// A program of a page, when it is ready.
    fn start(folder: &Folder, text: &str, gateway: &Gateway) -> Decider {
        folder.write("worker.py", text);
        let bus = gateway.address(Door::Bus, false).expect("a bus");
        let mut command = Command::new(python());
        command.arg(folder.path("worker.py")).arg(format!("nats://{bus}")).stdout(Stdio::piped());
        let mut worker = Decider(command.spawn().expect("it starts: run tests/install.sh first"));
        let mut line = String::new();
        BufReader::new(worker.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        worker
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_decides_about_rooms() {
    let folder = Folder::new("asked-worker");
    let ask = "ask = { url = \"http://127.0.0.1:3000/authorize\" }";
    let change = |text: String| {
        assert!(text.contains(ask));
        text.replace(ask, "ask = { service = \"rooms\" }")
    };
    let gateway = start(&folder, change, &[("BUS_ADDRESS", ANY)]);
    let worker = Decider::start(&folder, &block(PAGE, ASK, "py"), &gateway);
    walk(&gateway);
    drop(worker);
    let head = format!("GET /events/9 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"));
    await_that("no worker is left", || {
        let mut client = Raw::connect(front(&gateway));
        client.send(&head).read_until("\r\n\r\n");
        client.read_until("\n\n").contains(LATER)
    });
    gateway.stop();
}

#[test]
fn a_worker_says_which_user_a_client_is() {
    const PAGE: &str = "docs/login.md";
    const HEADING: &str = "A server that decides";
    let folder = Folder::new("asked-login");
    let server = Program::node();
    let forward = "forward = { upstream = \"auth\", path = \"/verify\", send = [\"Cookie\"], copy = [\"X-Groups\"], user = \"X-User\" }";
    let text = block(PAGE, HEADING, "toml").replace("127.0.0.1:3000", &server.address.to_string());
    assert!(text.contains(forward));
    let text =
        text.replace(forward, &forward.replace("upstream = \"auth\", path = \"/verify\"", "service = \"login\""));
    let gateway = start_text(&folder, &text, &[("LISTENER_0_ADDRESS", ANY), ("BUS_ADDRESS", ANY)]);
    let worker = Decider::start(&folder, &block(PAGE, HEADING, "py"), &gateway);
    let answer = |path: &str, lines: &str| {
        ask(front(&gateway), &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n"))
    };
    let known = "Cookie: a=b; sid=8f3c\r\nX-User: root\r\nX-Groups: admins\r\n";
    let told = answer("/headers", known);
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    assert!(["ann", "staff"].iter().all(|word| told.contains(word)), "{told}");
    assert!(["root", "admins"].iter().all(|word| !told.contains(word)), "{told}");
    for lines in ["", "Cookie: sid=8f3d\r\n"] {
        assert!(answer("/headers", lines).starts_with("HTTP/1.1 401 "));
    }
    drop(worker);
    await_that("no worker is left", || answer("/headers", known).starts_with("HTTP/1.1 503 "));
    gateway.stop();
}

/// The next head; `None`: the connection has ended.
fn head(peer: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if peer.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Answers each question as the room says, over connections that stay open where the answer lets them.
fn moody(listener: TcpListener) {
    private_descriptor_table().expect("a table");
    for stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || {
            let mut peer = BufReader::new(stream);
            while let Some(head) = head(&mut peer) {
                let bytes = head.split_once("Content-Length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
                let mut body = vec![0; bytes.expect("a length")];
                peer.read_exact(&mut body).expect("a body");
                let asked: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let yes = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"allow\":true}";
                let (answer, goes_on) = match asked["channel"].as_str().and_then(|name| name.strip_prefix("room.")) {
                    Some("yes") => (yes.to_owned(), true),
                    Some("chunked") => (
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"allow\":true}\r\n0\r\n\r\n"
                            .into(),
                        true,
                    ),
                    // The next question finds the connection closed.
                    Some("leaves") => (yes.to_owned(), false),
                    Some("forbidden") => ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), true),
                    Some("failing") => ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(), true),
                    Some("moved") => {
                        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(), true)
                    }
                    Some("long") => {
                        (format!("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{}", " ".repeat(99_999)), false)
                    }
                    Some("endless") => (format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000)), false),
                    Some("garbage") => ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), false),
                    Some("cut") => ("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"allow\"".to_owned(), false),
                    _ => (String::new(), true),
                };
                if peer.get_mut().write_all(answer.as_bytes()).is_err() || !goes_on {
                    return;
                }
            }
        });
    }
}

#[test]
fn what_a_decider_does_costs_those_that_ask_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || moody(listener));
    let folder = Folder::new("asked-moody");
    let ask = "ask = { url = \"http://127.0.0.1:3000/authorize\" }";
    let change = |text: String| {
        text.replace(ask, &format!("ask = {{ url = \"http://{address}/\", timeout_ms = 300, cache_s = 0 }}"))
    };
    let gateway = start(&folder, change, &[]);
    let status = |room: &str| {
        let head = format!("GET /events/{room} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"));
        let mut client = Raw::connect(front(&gateway));
        let head = client.send(head).read_until("\r\n\r\n");
        // An EventSource gives up after any other status than 200, and is told to come back later.
        let is_refused = head[9..12] != *"200";
        if is_refused || !client.read_until("\n\n").contains(LATER) {
            head[9..12].to_owned()
        } else {
            "later".to_owned()
        }
    };
    for (room, expected) in [
        ("yes", "200"),
        ("chunked", "200"),
        ("forbidden", "403"),
        ("failing", "later"),
        ("moved", "later"),
        ("long", "later"),
        ("endless", "later"),
        ("garbage", "later"),
        ("cut", "later"),
        ("silent", "later"),
    ] {
        assert_eq!(
            [status(room), status("yes"), status("leaves"), status("yes")],
            [expected, "200", "200", "200"],
            "{room}"
        );
    }
    let outcomes = ["unreachable", "too_slow", "unreadable", "busy", "denied"];
    assert_eq!(outcomes.map(|outcome| decided(&gateway, outcome)), [1, 1, 5, 0, 1]);
    gateway.stop();
}
