//! What the log says, at info, of requests that are refused where their senders cannot see why; once, however often they try.

use std::io::{BufRead, Read, Write};

use crate::served::{Served, connect};

const CONFIGURATION: &str = r#"
shards = 2

[[listener]]
address = "127.0.0.1:0"
hosts = "gate.example"

[admin]
address = "127.0.0.1:0"
hosts = ["tidegate.internal"]

[[route]]
path = "/events/{name}"
origins = ["http://127.0.0.1:3000", "https://app.example"]
sse = { channel = "news.{name}" }

[[route]]
path = "/ws"
websocket = { channel = "news" }

[[route]]
path = "/ws/rides"
websocket = { service = "rides", user = { query = "driver", unverified = true } }

[[route]]
path = "/orders"
accept = { service = "orders", user = { header = "X-Customer", unverified = true } }
"#;

/// A gateway that runs.
struct Asked {
    gateway: Served,
    /// Front and admin.
    addresses: [String; 2],
}

impl Asked {
    fn start(name: &str) -> Asked {
        let (gateway, addresses) = Served::start(&format!("log-{name}"), CONFIGURATION, ["http", "admin"]);
        Asked { gateway, addresses }
    }

    /// The status of the answer. What the log says of the request is written before it.
    fn ask(&self, address: &str, request: &str) -> String {
        let mut socket = connect(address);
        socket.write_all(request.as_bytes()).expect("the gateway reads");
        let mut start = [0; 12];
        socket.read_exact(&mut start).expect("an answer");
        String::from_utf8_lossy(&start[9..]).into_owned()
    }

    /// All that was logged, without the time before it.
    fn stop(mut self) -> Vec<String> {
        self.gateway.kill();
        self.gateway.log().lines().collect::<Result<_, _>>().expect("the log is text")
    }
}

#[test]
fn a_refused_page_is_a_line_with_its_origin_the_route_and_what_is_allowed() {
    let served = Asked::start("pages");
    let [front, _] = &served.addresses;
    let get = |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\nHost: {front}\r\n{lines}\r\n");
    for _ in 0..20 {
        assert_eq!(served.ask(front, &get("/events/1", "Origin: http://localhost:3000\r\n")), "403");
        assert_eq!(served.ask(front, &get("/ws", "Origin: http://evil.example\r\n")), "403");
    }
    let preflight = format!(
        "OPTIONS /events/1 HTTP/1.1\r\nHost: {front}\r\nOrigin: https://localhost\r\nAccess-Control-Request-Method: GET\r\n\r\n"
    );
    assert_eq!(served.ask(front, &preflight), "403");
    assert_eq!(served.ask(front, &get("/events/1", "Origin: http://127.0.0.1:3000\r\n")), "200");
    let long = format!("Origin: http://{}\u{1b}[0m\r\n", "x".repeat(500)).replace('\u{1b}', "\u{9b}");
    assert_eq!(served.ask(front, &get("/events/1", &long)), "403");
    let front = front.clone();
    let log = served.stop();
    let refused = |route: &str, origin: &str, listed: &str| {
        let line = format!(
            "route {route:?} refused a page of {origin}; it takes pages of {listed}the gateway itself, which this \
             request calls {front:?}"
        );
        log.iter().filter(|logged| logged.ends_with(&line)).count()
    };
    let listed = "\"http://127.0.0.1:3000\", of \"https://app.example\", of ";
    assert_eq!(refused("/events/{name}", "\"http://localhost:3000\"", listed), 1, "{log:#?}");
    assert_eq!(refused("/events/{name}", "\"https://localhost\"", listed), 1, "{log:#?}");
    assert_eq!(refused("/ws", "\"http://evil.example\"", ""), 1, "{log:#?}");
    let shown = format!("\"http://{}\"…", "x".repeat(93));
    assert_eq!(refused("/events/{name}", &shown, listed), 1, "{log:#?}");
    assert_eq!(log.iter().filter(|line| line.contains("refused")).count(), 4, "{log:#?}");
}

#[test]
fn a_host_that_a_listener_refuses_is_a_line_with_what_it_takes() {
    let served = Asked::start("hosts");
    let [front, admin] = &served.addresses;
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(served.ask(admin, &get("/metrics", "prometheus.example:9180")), "403");
        assert_eq!(served.ask(front, &get("/events/1", "rebound.example")), "421");
    }
    assert_eq!(served.ask(admin, &get("/metrics", "tidegate.internal:9180")), "200");
    let log = served.stop();
    for line in [
        "the admin listener refused a request for the host \"prometheus.example:9180\"; it is asked for by an IP address, \
         localhost, or one of admin.hosts (tidegate.internal)",
        "a listener refused a request for the host \"rebound.example\"; it is asked for by an IP address, localhost, or one of \
         listener.hosts (gate.example)",
    ] {
        assert_eq!(log.iter().filter(|logged| logged.ends_with(line)).count(), 1, "{line}: {log:#?}");
    }
}

/// What a browser's user sees of both is that the connection failed.
#[test]
fn a_handshake_without_its_user_or_without_its_upgrade_is_a_line_that_says_what_is_expected() {
    let served = Asked::start("handshakes");
    let [front, _] = &served.addresses;
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let whole = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}");
    for _ in 0..20 {
        let get = |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\nHost: {front}\r\n{lines}\r\n");
        assert_eq!(served.ask(front, &get("/ws/rides", &whole)), "401");
        assert_eq!(served.ask(front, &get("/ws/rides?driver=42", &whole)), "101");
        // As a proxy passes it on that does not know of upgrades.
        assert_eq!(served.ask(front, &get("/ws", &format!("Connection: close\r\n{key}"))), "426");
        assert_eq!(served.ask(front, &get("/ws", "")), "426");
    }
    let order = format!("POST /orders HTTP/1.1\r\nHost: {front}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(served.ask(front, &order), "401");
    let log = served.stop();
    for line in [
        "route \"/ws/rides\" refused a request without a user; it expects one in the parameter \"driver\" of the query",
        "route \"/orders\" refused a request without a user; it expects one in the header \"X-Customer\"",
        "route \"/ws\" got a WebSocket handshake without its \"Upgrade: websocket\" and \"Connection: Upgrade\", or of another \
         version than 13: a proxy before the gateway has to pass these headers on",
    ] {
        assert_eq!(log.iter().filter(|logged| logged.ends_with(line)).count(), 1, "{line}: {log:#?}");
    }
}
