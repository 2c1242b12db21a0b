//! Hosts by which a listener is asked for: none that may be a page's own name (DNS rebinding).

use crate::doors::{expect_health, expect_status};
use tidegate::gateway::config::Remote;

use crate::support::*;

const KEPT: &str = "[[channel]]\nname = \"room.*\"\nhistory = { messages = 5 }\n";

#[test]
fn a_host_that_may_be_a_pages_name_gets_nothing_of_the_operators() {
    on_both_drivers(KEPT, |gateway| {
        publish(gateway, "room.1", "", "secret");
        let port = admin(gateway).port();
        let ask = |method: &str, target: &str, lines: &str| {
            let request =
                format!("{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: 0\r\n\r\n");
            Raw::connect(admin(gateway)).send(request).read_all()
        };
        let all = [
            ("GET", "/api/channels/room.1/history"),
            ("GET", "/api/channels/room.1/presence"),
            ("GET", "/api/users/ann"),
            ("POST", "/api/channels/room.1"),
            ("GET", "/metrics"),
            ("GET", "/health"),
            ("HEAD", "/health"),
            ("GET", "/ready"),
            ("GET", "/nowhere"),
            ("PUT", "/metrics"),
            ("OPTIONS", "*"),
        ];
        for host in [
            format!("rebound.example:{port}"),
            "rebound.example".to_owned(),
            "evil.localhost".to_owned(),
            "localhost.rebound.example".to_owned(),
            "127.0.0.1.rebound.example".to_owned(),
        ] {
            for (method, target) in all {
                let answer = ask(method, target, &format!("Host: {host}\r\n"));
                assert!(answer.starts_with("HTTP/1.1 403 "), "{method} {target} for {host} got {answer}");
                assert!(!answer.contains("secret"), "{answer}");
                let absolute = format!("http://{host}{}", target.trim_start_matches('*'));
                let answer = ask(method, &absolute, "Host: localhost\r\n");
                assert!(answer.starts_with("HTTP/1.1 403 "), "{method} {absolute} got {answer}");
            }
        }
        assert_eq!(metric(gateway, "closed_total:host_refused"), 2 * 5 * all.len() as u64);
        for host in ["a", "A.", "127.0.0.1", &format!("127.0.0.1:{port}"), "[::1]:80", "LOCALHOST", "localhost.:1", ""]
        {
            let answer = ask("GET", "/api/channels/room.1/history", &format!("Host: {host}\r\n"));
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("secret"), "{host} got {answer}");
        }
        expect_status("HTTP/1.0", admin(gateway), "GET /health HTTP/1.0\r\n\r\n", 200);
        let page = "Host: localhost\r\nOrigin: http://localhost\r\n";
        assert!(ask("POST", "/api/channels/room.1", page).starts_with("HTTP/1.1 403 "), "no page publishes");
        expect_health(gateway);
    });
}

/// A listener that answers for some hosts, before the one that answers for any.
const NAMED: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nhosts = [\"gate.example\", \"Gate.internal\"]\n";

#[test]
fn a_listener_for_some_hosts_tells_the_pages_of_others_that_it_is_not_theirs() {
    on_both_drivers(NAMED, |gateway| {
        let from = |line: &str, host: &str, page: &str| {
            format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: {page}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        };
        let status =
            |address, request: String| Raw::connect(address).send(request).read_until("\r\n\r\n")[9..12].to_owned();
        let Remote::Tcp(any) = gateway.listening()[1].address else { panic!("an address") };
        let port = front(gateway).port();
        let mut refused = 0;
        for host in ["rebound.example", "gate.example.rebound.example", "evil.localhost", "x.gate.example", "example"] {
            let (named, page) = (format!("{host}:{port}"), format!("http://{host}:{port}"));
            for line in
                ["GET /ws/1", "GET /sse/1", "GET /nowhere", "POST /sse/1", "HEAD /sse/1", "GET /echo", "OPTIONS *"]
            {
                assert_eq!(status(front(gateway), from(line, &named, &page)), "421", "{line} for {named}");
                refused += 1;
            }
            let absolute = format!("GET {page}/ws/1");
            assert_eq!(status(front(gateway), from(&absolute, "gate.example", &page)), "421", "{absolute}");
            refused += 1;
            // Without the key the page passes for one of the gateway's own.
            assert_eq!(status(any, from("GET /ws/1", &named, &page)), "101", "{named}");
        }
        assert_eq!(metric(gateway, "closed_total:misdirected"), refused);
        for host in [
            "gate.example",
            "GATE.example.",
            "g%61te.example:8080",
            "gate.INTERNAL:1",
            "127.0.0.1",
            "[::1]:80",
            "localhost",
        ] {
            let page = format!("http://{host}");
            assert_eq!(status(front(gateway), from("GET /ws/1", host, &page)), "101", "{host}");
        }
        let other = from("GET /ws/1", "gate.example", "http://rebound.example");
        assert_eq!(status(front(gateway), other), "403", "the host is ours and the page is not");
        expect_status("no host", front(gateway), "GET /nowhere HTTP/1.0\r\n\r\n", 404);
        // The connection lives on: a browser may have others of its names here.
        let two = "GET / HTTP/1.1\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n";
        let answers = ask(front(gateway), two);
        assert!(answers.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answers}");
        assert!(answers.contains("HTTP/1.1 404 "), "{answers}");
    });
}
