//! Event streams on real sockets: clients of every age, clients that say no more, clients that come when there is no place.

use std::path::Path;
use std::process::Command;

use tidegate::gateway::Gateway;

use crate::events::{End, Events, events};
use crate::peers::*;
use crate::support::*;

const PAIR: &str = "[[route]]\npath = \"/pair/{a}/{b}\"\nsse = { channels = [\"room.{a}\", \"room.{b}\"] }";

/// What tests/gateway/listen.py says: a line for each reader that has heard everything.
fn listen(gateway: &Gateway, path: &str, channel: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install.sh first", python.display());
    let addresses = [front(gateway), admin(gateway)].map(|address| address.to_string());
    let script = folder.join("gateway/listen.py");
    let output =
        Command::new(python).arg(script).args(addresses).args([path, channel]).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn readers_in_common_use_hear_each_event_at_once() {
    on_both_drivers(PAIR, |gateway| {
        for path in ["/sse/1", "/pair/1/2"] {
            assert_eq!(listen(gateway, path, "room.1").len(), 7);
        }
        expect_nobody(gateway);
    });
}

#[test]
fn curl_hears_each_event_at_once_in_every_version() {
    on_both_drivers("", |gateway| {
        for version in ["--http1.1", "--http1.0"] {
            let mut curl = Command::new("curl")
                .args(["--silent", "--no-buffer", version, &format!("http://{}/sse/1", front(gateway))])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("curl starts");
            let mut heard = curl.stdout.take().expect("it is piped");
            assert_eq!(read_until(&mut heard, "\n\n"), "retry: 2000\n\n");
            for number in 0..3 {
                let position = publish(gateway, "room.1", "", &number.to_string());
                assert_eq!(read_until(&mut heard, "\n\n"), format!("id: {position}\ndata: {number}\n\n"));
            }
            curl.kill().expect("it runs");
            curl.wait().expect("it ends");
        }
        expect_nobody(gateway);
    });
}

#[test]
fn a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection() {
    for driver in ["epoll", "uring"] {
        let gateway = builder(driver, "").start().unwrap();
        let mut stream = Raw::connect(front(&gateway));
        stream.send("GET /sse/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let head = stream.read_until("\r\n\r\n");
        assert!(head.contains("\r\nConnection: close\r\n") && !head.contains("Transfer-Encoding"), "{head}");
        assert_eq!(stream.read_until("\n\n"), "retry: 2000\n\n");
        let position = publish(&gateway, "room.1", "", "hello");
        assert_eq!(stream.read_until("\n\n"), format!("id: {position}\ndata: hello\n\n"));
        let reader = std::thread::spawn(move || stream.read_all());
        gateway.stop();
        let rest = reader.join().unwrap();
        assert!(rest.starts_with("retry: ") && rest.ends_with("\n\n"), "{rest:?}");
    }
}

#[test]
fn a_head_request_gets_the_fields_of_a_stream_and_nothing_else() {
    on_both_drivers("", |gateway| {
        let answer = ask(front(gateway), "HEAD /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n") && answer.ends_with("\r\n\r\n"), "{answer:?}");
    });
}

#[test]
fn an_event_source_that_finds_no_place_is_told_when_to_come_back() {
    on_both_drivers("[limits]\nconnections_max = 1", |gateway| {
        let first = events(gateway, "/sse/1");
        for _ in 0..5 {
            let mut surplus = Raw::connect(front(gateway));
            surplus.send("GET /sse/1 HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n");
            let mut surplus = Events::new(surplus);
            let (heard, end) = surplus.read_all();
            let (_, last) = heard.rsplit_once("retry: ").expect("it is told");
            let after: u64 = last.trim_end().parse().expect("milliseconds");
            assert!((1_000..6_000).contains(&after) && end == End::Regular, "{heard:?}");
        }
        let refused = Raw::connect(front(gateway)).send(upgrade("/ws/1")).read_all();
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: "), "{refused}");
        assert_eq!(metric(gateway, "closed_total:too_many_connections"), 6);
        first.raw.leave();
        await_that("there is a place again", || metric(gateway, "clients_open") == 0);
        drop(events(gateway, "/sse/1"));
    });
}
