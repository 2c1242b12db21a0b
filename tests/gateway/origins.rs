//! Pages and their origins: whose pages may use a route, however host and origin are spelled.

use std::io::{Read, Write};

use crate::support::*;
use crate::tls::{connect, on_both_drivers_over_tls, read_head};

/// What opens a WebSocket from a page.
fn upgrade_from(host: &str, origin: &str) -> String {
    format!(
        "GET /ws/1 HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The status of an answer whose head this is.
fn status(head: &str) -> &str {
    head.get(9..12).unwrap_or(head)
}

#[test]
fn a_page_of_the_own_origin_may_name_the_standard_port_or_not() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        for (host, origin, expected) in [
            ("gate.example:443", "https://gate.example", "101"),
            ("gate.example", "https://gate.example:443", "101"),
            ("GATE.example", "https://gate.example", "101"),
            ("gate.example:8443", "https://gate.example:8443", "101"),
            ("[::1]:443", "https://[0:0::1]", "101"),
            ("gate.example:8443", "https://gate.example", "403"),
            ("gate.example:443", "http://gate.example:443", "403"),
            ("gate.example", "http://gate.example", "403"),
            ("gate.example.", "https://gate.example", "403"),
        ] {
            let mut page = connect(gateway, certificates, "localhost");
            page.write_all(upgrade_from(host, origin).as_bytes()).unwrap();
            assert_eq!(status(&read_head(&mut page)), expected, "over TLS, {host} and {origin}");
        }
        for (host, origin, expected) in [
            ("gate.example:80", "http://gate.example", "101"),
            ("gate.example", "http://gate.example:80", "101"),
            ("gate.example:", "HTTP://GATE.EXAMPLE", "101"),
            ("gate.example", "https://gate.example", "101"),
            ("gate.example:8080", "http://gate.example", "403"),
            ("gate.example:80", "https://gate.example", "403"),
            ("gate.example", "null", "403"),
        ] {
            let mut page = Raw::connect(front(gateway));
            page.send(upgrade_from(host, origin));
            assert_eq!(status(&page.read_until("\r\n\r\n")), expected, "{host} and {origin}");
        }
    });
}

#[test]
fn an_absolute_target_names_the_host_instead_of_host() {
    on_both_drivers("", |gateway| {
        let from = |target: &str, host: &str| {
            let request = upgrade_from(host, "http://gate.example").replacen("/ws/1", target, 1);
            status(&Raw::connect(front(gateway)).send(request).read_until("\r\n\r\n")).to_owned()
        };
        assert_eq!(from("http://gate.example:80/ws/1", "other.example"), "101");
        assert_eq!(from("http://other.example/ws/1", "gate.example"), "403");
    });
}

#[test]
fn a_listed_origin_may_be_spelled_otherwise() {
    const LISTED: &str = "[[route]]\npath = \"/listed\"\norigins = [\"https://app.example:443\", \"http://LOCALHOST:3000\"]\n\
                          sse = { channel = \"a\" }\n";
    on_both_drivers(LISTED, |gateway| {
        for (origin, expected) in [
            ("https://app.example", "200"),
            ("https://App.Example:443", "200"),
            ("http://localhost:3000", "200"),
            ("http://localhost", "403"),
            ("http://app.example", "403"),
        ] {
            let mut page = Raw::connect(front(gateway));
            page.send(format!("GET /listed HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"));
            let head = page.read_until("\r\n\r\n");
            assert_eq!(status(&head), expected, "{origin}");
            let echo = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n");
            assert_eq!(
                head.contains(&echo),
                expected == "200",
                "the browser compares it with its own spelling: {head}"
            );
        }
    });
}

#[test]
fn an_origin_that_is_named_twice_gets_400() {
    on_both_drivers("", |gateway| {
        let request =
            upgrade_from("a", "http://a").replacen("Connection:", "Origin: http://evil.example\r\nConnection:", 1);
        let mut answer = [0; 12];
        Raw::connect(front(gateway)).send(request).read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 400");
    });
}
