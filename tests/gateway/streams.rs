//! Event streams on real sockets: clients of every age, clients that say no more, clients that come when there is no place.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;

use tidegate::gateway::Gateway;

use crate::events::{End, Events, events};
use crate::peers::*;
use crate::support::*;
use crate::tls::{connect, on_both_drivers_over_tls};

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

fn expect_whole(reader: &mut impl Read, text: &str) {
    let mut heard = vec![0; text.len()];
    reader.read_exact(&mut heard).expect("it comes whole");
    assert!(heard == text.as_bytes(), "another text");
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
fn a_stream_goes_on_when_its_client_has_ended_its_half() {
    on_both_drivers("limits = { sse_heartbeat_s = 1 }", |gateway| {
        // With the request, and later.
        let mut first = Raw::connect(front(gateway));
        first.send("GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").0.shutdown(Shutdown::Write).unwrap();
        let (mut first, mut second) = (Events::new(first), events(gateway, "/sse/1"));
        second.raw.0.shutdown(Shutdown::Write).unwrap();
        first.read_until("retry: 2000\n\n");
        for number in 0..3 {
            for stream in [&mut first, &mut second] {
                // More than the two comments that find out whether it is there.
                (0..4).for_each(|_| _ = stream.read_until(": \n\n"));
            }
            publish(gateway, "room.1", "", &number.to_string());
            for stream in [&mut first, &mut second] {
                stream.read_until(&format!("data: {number}\n\n"));
            }
        }
        first.raw.leave();
        await_that("one is gone", || metric(gateway, "clients_open") == 1);
        publish(gateway, "room.1", "", "still here");
        second.read_until("data: still here\n\n");
        second.raw.leave();
        expect_nobody(gateway);
        assert_eq!(metric(gateway, "closed_total:peer_closed"), 2);
    });
}

#[test]
fn a_stream_goes_on_after_close_notify_and_not_after_a_cut() {
    on_both_drivers_over_tls(&["localhost"], "limits = { sse_heartbeat_s = 1 }", |gateway, certificates| {
        let mut polite = connect(gateway, certificates, "localhost");
        polite.write_all(b"GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        polite.conn.send_close_notify();
        polite.flush().unwrap();
        let mut polite = Events::new(polite);
        (0..4).for_each(|_| _ = polite.read_until(": \n\n"));
        publish(gateway, "room.1", "", "hello");
        polite.read_until("data: hello\n\n");
        polite.raw.sock.leave();
        expect_nobody(gateway);
        let mut cut = connect(gateway, certificates, "localhost");
        cut.write_all(b"GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut cut = Events::new(cut);
        cut.read_until("retry: 2000\n\n");
        cut.raw.sock.0.shutdown(Shutdown::Write).unwrap();
        cut.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(metric(gateway, "closed_total:tls_truncated"), 1);
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

#[test]
fn an_answer_that_is_being_made_reaches_a_client_that_has_ended_its_half() {
    const JOBS: &str = "[[route]]\npath = \"/jobs\"\naccept = { service = \"jobs\" }\n\
         [[channel]]\nname = \"kept.*\"\nhistory = { messages = 100, bytes = 8000000 }";
    on_both_drivers(JOBS, |gateway| {
        let payload = "x".repeat(100_000);
        (0..40).for_each(|_| _ = publish(gateway, "kept.1", "", &payload));
        for round in 0..10 {
            let post = "POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1";
            let answers = String::from_utf8(HalfCloser::ask(front(gateway), post.repeat(2))).unwrap();
            assert_eq!(answers.matches("HTTP/1.1 202 ").count(), 2, "{round}: {answers}");
            let channel = if round % 2 == 0 { "kept.1" } else { "kept.2" };
            let history = format!("GET /api/channels/{channel}/history?limit=40 HTTP/1.1\r\nHost: a\r\n\r\n");
            let answers = String::from_utf8(HalfCloser::ask(admin(gateway), history.repeat(2))).unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{round}: {:.300}", answers);
        }
        expect_nobody(gateway);
    });
}

#[test]
fn an_answer_longer_than_may_wait_for_a_client_comes_whole() {
    const LAST: &str = "[[channel]]\nname = \"last.*\"\nhistory = { messages = 1, newcomers = true }\n\
         [[route]]\npath = \"/last/{name}\"\nsse = { channel = \"last.{name}\" }\n\
         [[route]]\npath = \"/last/{a}/{b}\"\nsse = { channels = [\"last.{a}\", \"last.{b}\"] }";
    for shards in [1, 2] {
        on_both_drivers_with(
            |driver| builder_of(driver, shards, LAST),
            |gateway| {
                // Beyond limits.outbox_bytes_max as a record, not as a body.
                let payload = "x".repeat(1_048_546);
                (0..4).for_each(|number| _ = publish(gateway, &format!("last.{number}"), "", &payload));
                for path in ["/last/0", "/last/1", "/last/0/1", "/last/2/3"] {
                    let mut stream = events(gateway, path);
                    for _ in 0..path.matches('/').count() - 1 {
                        stream.read_until("\ndata: ");
                        expect_whole(&mut stream, &format!("{payload}\n\n"));
                    }
                    stream.raw.leave();
                }
                let mut operator = Raw::connect(admin(gateway));
                for number in [0, 1, 2, 3, 0] {
                    operator.send(format!("GET /api/channels/last.{number}/history HTTP/1.1\r\nHost: a\r\n\r\n"));
                    let mut answer = Events::new(operator);
                    answer.read_until("\"data\":\"");
                    expect_whole(&mut answer, &payload);
                    let (rest, end) = answer.read_all();
                    assert!(
                        rest.starts_with("\",\"position\":") && rest.ends_with("}\n") && end == End::Regular,
                        "{rest}"
                    );
                    operator = answer.raw;
                }
                assert_eq!(metric(gateway, "closed_total:slow_consumer"), 0);
            },
        );
    }
}
