//! What the log says of connections that have ended: the reason, what exactly went wrong, and which connection it was.

use std::io::{BufRead, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::served::{PATIENCE, Served, connect};

const CONFIGURATION: &str = r#"
shards = 1
log = "debug"

[[listener]]
address = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"
tls = { certificate = "cert.pem", key = "key.pem" }

[bus]
address = "127.0.0.1:0"
token = "secret"

[[route]]
path = "/rides/{city}"
websocket = { channel = "rides.{city}", user = { query = "driver", unverified = true } }
"#;

/// A gateway that runs, with its log line by line.
struct Logged {
    _gateway: Served,
    /// http, https and bus.
    addresses: [String; 3],
    log: Receiver<String>,
}

impl Logged {
    fn start(name: &str) -> Logged {
        let (mut gateway, addresses) = Served::start(&format!("ends-{name}"), CONFIGURATION, ["http", "https", "bus"]);
        let lines = gateway.log().lines();
        let (tell, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Logged { _gateway: gateway, addresses, log }
    }

    /// Says `words` and hears the gateway out.
    fn say(&self, address: &str, words: &[u8]) -> Vec<u8> {
        let mut socket = connect(address);
        socket.write_all(words).expect("the gateway reads");
        let mut answer = Vec::new();
        // A reset after the last words is an end as well.
        _ = socket.read_to_end(&mut answer);
        answer
    }

    /// The first line from here on that tells of this end, from the reason on.
    fn end(&self, name: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(wait).unwrap_or_else(|_| panic!("no line tells of {name}"));
            if let Some((_, told)) = line.split_once(" ended: ")
                && told.contains(&format!("({name})"))
            {
                return told.to_owned();
            }
        }
    }
}

/// What stands behind `; connection `, besides the id, which is one of 16 digits.
fn behind_id(told: &str) -> (&str, &str) {
    let (before, behind) = told.split_once("; connection ").unwrap_or_else(|| panic!("{told}"));
    let (id, behind) = behind.split_at(16);
    assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{told}");
    (before, behind)
}

#[test]
fn the_line_of_a_worker_that_broke_the_protocol_says_by_which_verb() {
    let served = Logged::start("bus");
    let bus = &served.addresses[2];
    served.say(bus, b"CONNECT {\"auth_token\":\"secret\",\"verbose\":false}\r\nPUB a 99999999\r\n");
    let told = served.end("bus_protocol");
    let words = "the bus connection broke its protocol (bus_protocol): PUB: Maximum Payload Violation";
    assert_eq!(behind_id(&told), (words, ""));
    served.say(bus, b"CONNECT {\"auth_token\":\"no\\u001b[2J\"}\r\n");
    let words = "the bus connection was not authorized (bus_authorization): CONNECT: Authorization Violation";
    assert_eq!(behind_id(&served.end("bus_authorization")), (words, ""));
}

#[test]
fn the_line_of_a_failed_handshake_says_what_was_wrong_with_it() {
    let served = Logged::start("tls");
    served.say(&served.addresses[1], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let told = served.end("tls_protocol");
    let words = "TLS failed (tls_protocol): the first bytes are no ClientHello, but another protocol or message";
    assert_eq!(behind_id(&told), (words, ""));
}

#[test]
fn the_line_of_a_client_names_its_user_and_its_route_and_nothing_that_it_has_chosen_can_forge_another() {
    let served = Logged::start("client");
    let upgrade = |driver: &str| {
        let mut socket = connect(&served.addresses[0]);
        let request = format!(
            "GET /rides/oslo?driver={driver} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).expect("the gateway reads");
        let mut status = [0; 12];
        socket.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 101");
        socket.shutdown(Shutdown::Write).expect("a socket can be shut down");
        served.end("peer_closed")
    };
    assert_eq!(
        behind_id(&upgrade("ann")),
        ("the peer closed the connection (peer_closed)", ", user \"ann\", route \"/rides/{city}\"")
    );
    let told = upgrade("%22%2C%20route%20%E2%80%AE");
    assert_eq!(behind_id(&told).1, ", user \"\\\", route \\u{202e}\", route \"/rides/{city}\"");
    let told = upgrade(&"x".repeat(150));
    assert_eq!(behind_id(&told).1, format!(", user \"{}\"…, route \"/rides/{{city}}\"", "x".repeat(100)));
}
