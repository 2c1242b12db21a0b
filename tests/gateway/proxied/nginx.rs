//! nginx in front, with the directives of docs/edge.md: over HTTP, and over TCP with a PROXY header.

use std::process::Command;

use serde_json::Value;
use tidegate::conn::Door;
use tidegate::gateway::Gateway;
use tungstenite::{Message, WebSocket};

use super::programs::Program;
use crate::documented::{Folder, block, start_text, with_certificate};
use crate::ports::free_address;
use crate::support::*;

const PAGE: &str = "docs/edge.md";
/// As the page has it.
const USUAL: &str = "30/s";
const HEADING: &str = "Behind nginx";

/// The three that the page has: a server, the gateway before it, and nginx before that.
struct Row {
    folder: Folder,
    gateway: Gateway,
    nginx: Program,
    /// Where nginx passes TCP on.
    tcp: std::net::SocketAddr,
    _server: Program,
}

impl Row {
    /// `requests`: how many each address may send.
    fn start(name: &str, requests: &str) -> Row {
        let (folder, server) = (Folder::new(name), Program::node());
        with_certificate(&folder, "edge");
        let text = block(PAGE, HEADING, "toml").replace("127.0.0.1:3000", &server.address.to_string());
        let log = folder.path("access.log");
        let variables = [
            ("LISTENER_0_ADDRESS", "127.0.0.1:0"),
            ("LISTENER_1_ADDRESS", "127.0.0.1:0"),
            ("ACCESS_LOG_FILE", log.to_str().expect("text")),
            ("LIMIT_0_REQUESTS", requests),
        ];
        let gateway = start_text(&folder, &text, &variables);
        let (http, tls) = (front(&gateway), gateway.address(Door::Front, true).expect("a listener"));
        let tcp = free_address();
        let nginx = Program::nginx_with(|address| {
            let addresses =
                [("127.0.0.1:8080", http), ("127.0.0.1:8443", tls), ("127.0.0.1:80;", address), ("127.0.0.1:443", tcp)];
            // An address that is put in may begin as one that is still to be replaced: 127.0.0.1:44312.
            let marked = addresses.iter().zip(0..).fold(block(PAGE, HEADING, "nginx"), |text, ((named, _), index)| {
                assert_eq!(text.matches(named).count(), 1, "{named}");
                let end = if named.ends_with(';') { ";" } else { "" };
                text.replace(named, &format!("<{index}>{end}"))
            });
            let put_in = |text: String, ((_, address), index): (&(&str, std::net::SocketAddr), u8)| {
                text.replace(&format!("<{index}>"), &address.to_string())
            };
            addresses.iter().zip(0..).fold(marked, put_in)
        });
        Row { folder, gateway, nginx, tcp, _server: server }
    }

    /// A connection to nginx from this address.
    fn client(&self, from: &str) -> Raw {
        Raw::connect_from(format!("{from}:0").parse().expect("an address"), self.nginx.address)
    }

    /// The lines of the access log about this path, when there are so many.
    fn lines(&self, path: &str, count: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        await_that(&format!("{count} lines about {path}"), || {
            let text = std::fs::read_to_string(self.folder.path("access.log")).unwrap_or_default();
            let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines = whole.filter(|line| line["path"] == path).collect();
            lines.len() >= count
        });
        lines
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
}

#[test]
fn events_come_through_nginx_at_once_the_gateways_and_a_services() {
    let row = Row::start("nginx-events", USUAL);
    let mut own = row.client("127.0.0.9");
    own.send("GET /events/1 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").read_until("retry: 2000\n\n");
    for number in 1..=20 {
        publish(&row.gateway, "room.1", "", &format!("event {number}"));
        own.read_until(&format!("data: event {number}\n\n"));
    }
    // The service keeps its stream open and says nothing more: what it has said does not wait for the rest of a buffer.
    let mut services = row.client("127.0.0.9");
    services.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").read_until("data: first\n\n");
    own.leave();
    services.leave();
    assert_eq!(row.lines("/events", 1)[0]["client"], "127.0.0.9");
}

#[test]
fn websockets_pass_through_nginx_and_have_their_clients_address() {
    let row = Row::start("nginx-sockets", USUAL);
    let (mut socket, _): (WebSocket<Raw>, _) =
        tungstenite::client("ws://shop.example/chat", row.client("127.0.0.9")).expect("an upgrade");
    for len in [0, 125, 126, 65_536, 1_000_000] {
        let message = Message::binary(vec![7; len]);
        socket.send(message.clone()).expect("it is open");
        assert_eq!(socket.read().expect("it is open"), message);
    }
    socket.close(None).expect("it was open");
    while socket.read().is_ok() {}
    let line = &row.lines("/chat", 1)[0];
    assert_eq!(
        (&line["client"], &line["status"], &line["host"]),
        (&"127.0.0.9".into(), &101.into(), &"shop.example".into())
    );
}

#[test]
fn limits_behind_nginx_are_those_of_each_client() {
    let row = Row::start("nginx-limits", "1/m");
    let status = |from: &str| row.client(from).send(get("/nothing")).read_all().get(9..12).map(str::to_owned);
    let statuses = ["127.0.0.9", "127.0.0.9", "127.0.0.10"].map(|from| status(from).expect("an answer"));
    assert_eq!(statuses, ["204", "429", "204"], "another client has its own limit");
}

#[test]
fn what_nginx_passes_on_as_tcp_has_its_clients_address_too() {
    let row = Row::start("nginx-tcp", USUAL);
    let words = ["-sS", "--fail", "--interface", "127.0.0.9", "-o", "/dev/null", "--insecure"];
    let url = format!("https://{}/nothing", row.tcp);
    let asked = Command::new("curl").args(words).arg(url).status().expect("curl is installed");
    assert!(asked.success());
    let line = &row.lines("/nothing", 1)[0];
    assert_eq!((&line["client"], &line["status"]), (&"127.0.0.9".into(), &204.into()));
    assert_eq!(metric(&row.gateway, "closed_total:proxy_header"), 0);
}
