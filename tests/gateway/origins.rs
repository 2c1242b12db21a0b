//! Pages and their origins: whose pages may use a route, however host and origin are spelled.

use std::io::{Read, Write};

use tidegate::gateway::Gateway;

use crate::events::events;
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

/// What a browser asks before a page of `origin` may send a request.
fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> String {
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nConnection: close\r\n\
         Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: cache-control\r\n\r\n"
    );
    ask(front(gateway), &request)
}

/// The fields and methods that an answer to a preflight allows, in lower case.
fn allowed(answer: &str, what: &str) -> Vec<String> {
    assert_eq!(status(answer), "204", "{answer}");
    let start = format!("Access-Control-Allow-{what}: ");
    let list = answer.split("\r\n").find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
    list.split(", ").map(str::to_ascii_lowercase).collect()
}

#[test]
fn a_page_may_set_what_polyfills_set_and_what_the_route_says() {
    const TENANTS: &str = "[[route]]\npath = \"/tenants\"\norigins = \"https://app.example\"\n\
                           request_headers = [\"X-Tenant\", \"traceparent\"]\nsse = { channel = \"a\" }\n";
    on_both_drivers(TENANTS, |gateway| {
        let usual = [
            "accept",
            "authorization",
            "cache-control",
            "content-type",
            "idempotency-key",
            "last-event-id",
            "pragma",
            "x-requested-with",
        ];
        let fields = |path: &str| allowed(&preflight(gateway, path, "https://app.example", "GET"), "Headers");
        assert_eq!(fields("/sse/1"), usual);
        assert_eq!(fields("/tenants"), [&usual[..], &["x-tenant", "traceparent"]].concat());
    });
}

#[test]
fn a_preflight_is_answered_by_the_route_that_would_take_the_request() {
    const TWO: &str = "[[route]]\npath = \"/both\"\nsse = { channel = \"a\" }\n\
                       [[route]]\npath = \"/both\"\norigins = \"https://app.example\"\nmethod = [\"POST\", \"PUT\"]\n\
                       accept = { service = \"jobs\" }\n";
    on_both_drivers(TWO, |gateway| {
        let answer = |origin: &str, method: &str| preflight(gateway, "/both", origin, method);
        assert_eq!(allowed(&answer("https://app.example", "POST"), "Methods"), ["post", "put"]);
        assert_eq!(status(&answer("https://app.example", "GET")), "403", "the stream is for the gateway's own pages");
        assert_eq!(allowed(&answer("http://a", "GET"), "Methods"), ["get"]);
        assert_eq!(allowed(&answer("http://a", "HEAD"), "Methods"), ["get"]);
        assert_eq!(allowed(&answer("http://a", "DELETE"), "Methods"), ["get"], "none would: what is taken instead");
        assert_eq!(status(&answer("https://evil.example", "POST")), "403");
    });
}

#[test]
fn a_page_reads_why_it_is_refused_if_it_may_use_the_route() {
    const ROUTES: &str = "[[route]]\npath = \"/jobs\"\norigins = \"https://app.example\"\n\
                          accept = { service = \"jobs\", user = { query = \"user\", unverified = true } }\n\
                          [[route]]\npath = \"/open\"\norigins = \"*\"\naccept = { service = \"jobs\" }\n\
                          [limits]\npayload_bytes_max = 1000\nbody_timeout_s = 1\n";
    on_both_drivers(ROUTES, |gateway| {
        let ask = |origin: &str, line: &str, rest: &str| {
            let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: {origin}\r\n{rest}");
            ask(front(gateway), &request)
        };
        for (line, rest, expected) in [
            ("POST /jobs", "Content-Length: 0\r\n\r\n", "401"),
            ("POST /jobs?user=a&user=b", "Content-Length: 0\r\n\r\n", "400"),
            ("POST /jobs?user=a", "Idempotency-Key:\r\nContent-Length: 0\r\n\r\n", "400"),
            ("POST /jobs?user=a", "Content-Length: 1001\r\n\r\n", "413"),
            ("POST /jobs?user=a", "Transfer-Encoding: chunked\r\n\r\nfff\r\n", "413"),
            ("POST /jobs?user=a", "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
            ("POST /jobs?user=a", "Content-Length: 9\r\n\r\n", "408"),
            ("GET /jobs", "\r\n", "405"),
            ("GET /jobs/0", "\r\n", "404"),
            ("GET /nowhere", "\r\n", "404"),
            ("GET /%zz", "\r\n", "400"),
            ("GET /sse/%00", "\r\n", "400"),
        ] {
            let readable = |answer: &str, origin: &str| {
                assert_eq!(status(answer), expected, "{line} {rest:?} of {origin} got {answer}");
                answer.contains(&format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n"))
            };
            let answer = ask("https://app.example", line, rest);
            assert!(readable(&answer, "https://app.example"), "{line} {rest:?} got {answer}");
            assert!(answer.contains("\r\nAccess-Control-Allow-Credentials: true\r\n"), "{line} got {answer}");
        }
        for (line, expected) in [("GET /jobs/0", "403"), ("GET /sse/1", "403"), ("POST /jobs", "403")] {
            let answer = ask("https://evil.example", line, "Content-Length: 0\r\n\r\n");
            assert_eq!(status(&answer), expected, "{line} got {answer}");
            assert!(!answer.contains("Access-Control"), "a page that may not use it reads nothing: {answer}");
        }
        // Any page may use one of the routes, so any may read that there is no other.
        let answer = ask("https://other.example", "GET /nowhere", "\r\n");
        assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{answer}");
        assert!(!ask("https://other.example", "GET /jobs", "\r\n").contains("Access-Control"));
    });
}

/// Requests that are refused before their head is understood, from a page of this origin.
fn unreadable_from(origin: &str) -> Vec<(String, &'static str)> {
    let head = |line: &str, fields: &str| format!("{line}\r\nHost: a\r\nOrigin: {origin}\r\n{fields}\r\n");
    let long = "x".repeat(9000);
    vec![
        (head(&format!("GET /sse/{long} HTTP/1.1"), ""), "414"),
        (head("GET /sse/1 HTTP/1.1", &format!("Cookie: {long}\r\nX: {long}\r\n")), "431"),
        (head("GET /sse/1 HTTP/1.1", &"X: y\r\n".repeat(100)), "431"),
        (head("GET /sse/1 HTTP/3.0", ""), "505"),
        (head("POST /sse/1 HTTP/1.1", "Expect: miracles\r\nContent-Length: 1\r\n"), "417"),
        (head("POST /sse/1 HTTP/1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), "400"),
        (head("GET /sse/1 HTTP/1.1", "Host: b\r\n"), "400"),
        (head("GET /sse\\1 HTTP/1.1", ""), "400"),
    ]
}

#[test]
fn a_page_reads_why_its_head_is_not_understood_if_it_may_use_a_route() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        for (origin, is_readable) in
            [("https://app.example", true), ("HTTPS://App.example:443", true), ("https://evil.example", false)]
        {
            for (request, expected) in unreadable_from(origin) {
                let plain = ask(front(gateway), &request);
                let mut page = connect(gateway, certificates, "localhost");
                page.write_all(request.as_bytes()).unwrap();
                for head in [plain, read_head(&mut page)] {
                    assert_eq!(status(&head), expected, "{head}");
                    let line = format!("\r\nAccess-Control-Allow-Origin: {origin}\r\n");
                    assert_eq!(head.contains(&line), is_readable, "{origin}: {head}");
                    assert_eq!(head.contains("Access-Control"), is_readable, "{origin}: {head}");
                }
            }
        }
        let twice = "GET / HTTP/3.0\r\nHost: a\r\nOrigin: https://app.example\r\nOrigin: https://app.example\r\n\r\n";
        assert!(!ask(front(gateway), twice).contains("Access-Control"));
    });
}

#[test]
fn every_refusal_of_a_pipeline_is_counted() {
    on_both_drivers("", |gateway| {
        let refused = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
        let last = "GET /sse/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n";
        let answers = ask(front(gateway), &format!("{refused}{last}"));
        assert_eq!((answers.matches("HTTP/1.1 404 ").count(), answers.matches("HTTP/1.1 403 ").count()), (20, 1));
        assert_eq!(metric(gateway, "closed_total:not_found"), 20);
        assert_eq!(metric(gateway, "closed_total:origin_refused"), 1);
    });
}

#[test]
fn a_page_for_which_there_is_no_place_reads_when_to_come_back() {
    const FULL: &str = "[limits]\nconnections_max = 1\n\
                        [[route]]\npath = \"/jobs\"\norigins = \"https://app.example\"\naccept = { service = \"jobs\" }\n";
    on_both_drivers(FULL, |gateway| {
        let _only = events(gateway, "/sse/1");
        let from = |line: &str| {
            let request =
                format!("{line} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: 0\r\n\r\n");
            ask(front(gateway), &request)
        };
        let stream = from("GET /sse/2");
        assert_eq!(status(&stream), "200", "{stream}");
        let refused = from("POST /jobs");
        assert_eq!(status(&refused), "503", "{refused}");
        assert!(refused.contains("\r\nAccess-Control-Expose-Headers: Retry-After\r\n"), "{refused}");
        for answer in [stream, refused] {
            assert!(answer.contains("\r\nAccess-Control-Allow-Origin: https://app.example\r\n"), "{answer}");
        }
    });
}
