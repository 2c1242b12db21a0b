//! `pub`: what it posts, and how it is answered.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::cli::program::{err, out, run, tidegate};
use crate::cli::server::{read_request, serve_once};

#[test]
fn pub_posts_to_the_admin_api() {
    let (port, server) = serve_once(|mut stream| {
        let request = read_request(&mut stream);
        let answer = "{\"channel\":\"room.lobby\",\"position\":\"0000002a-7\"}\n";
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
        request
    });
    let admin = format!("http://127.0.0.1:{port}");
    let output = run(&["pub", "room.lobby", "hello", "--event", "said", "--id", "1", "--key", "k", "--admin", &admin]);
    assert_eq!(out(&output), "published to room.lobby, position 0000002a-7\n", "{}", err(&output));
    let (head, body) = server.join().unwrap();
    assert!(head.starts_with("POST /api/channels/room.lobby HTTP/1.1\r\n"), "{head}");
    for field in ["Tg-Event: said", "Nats-Msg-Id: 1", "Tg-Key: k"] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }
    assert_eq!(body, b"hello");
}

#[test]
fn pub_takes_the_payload_from_stdin_and_repeats_it() {
    let (port, server) = serve_once(|mut stream| {
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(read_request(&mut stream).1);
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n7:1\r\n0\r\n\r\n").unwrap();
        }
        bodies
    });
    let admin = format!("http://127.0.0.1:{port}");
    let mut child =
        tidegate(&["pub", "a", "--count", "3", "--rate", "1000", "--timestamp", "--json", "--admin", &admin])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"x\":1}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let line: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&line["published"], &line["answer"]), (&Value::from(3), &Value::from("7:1")));
    for body in server.join().unwrap() {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["x"] == 1 && body["at_ms"].as_f64().unwrap() > 1e12, "{body}");
    }
}
