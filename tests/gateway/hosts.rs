//! Hosts by which the admin listener is asked for: none that may be a page's own name (DNS rebinding).

use crate::doors::{expect_health, expect_status};
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
