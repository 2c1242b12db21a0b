//! `sub`: what it shows of a stream, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::program::{code, err, out, run, tidegate};
use crate::cli::server::{EVENTS, read_request, serve_once};

#[test]
fn sub_shows_an_event_stream_and_resumes_after_an_id() {
    let (port, server) = serve_once(|mut stream| {
        let (head, _) = read_request(&mut stream);
        let records = "id: 7:42\nevent: moved\ndata: here\n\n";
        write!(stream, "{EVENTS}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{records}\r\n", records.len()).unwrap();
        // The stream stays open until the client has had enough.
        _ = stream.read(&mut [0]);
        head
    });
    let url = format!("http://127.0.0.1:{port}/events/a?b=c");
    let output = run(&["sub", &url, "--count", "1", "--last-event-id", "7:41", "--header", "X-User: ann"]);
    assert_eq!((code(&output), out(&output)), (0, "[7:42] moved: here\n".to_owned()), "{}", err(&output));
    assert!(err(&output).starts_with("messages: 1, in "), "{}", err(&output));
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /events/a?b=c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nLast-Event-ID: 7:41\r\n") && head.contains("\r\nX-User: ann\r\n"), "{head}");
}

#[test]
fn sub_gives_json_lines_and_percentiles() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: {{\"at_ms\":1000}}\n\n").unwrap();
        _ = stream.read(&mut [0]);
    });
    let output = run(&["sub", &format!("http://127.0.0.1:{port}/"), "--count", "1", "--latency", "--json"]);
    server.join().unwrap();
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["data"], "{\"at_ms\":1000}");
    assert!(lines[0]["latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(lines[1]["summary"]["messages"], 1);
    assert!(lines[1]["summary"]["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn sub_exits_with_1_when_the_stream_ends_or_is_refused() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "{EVENTS}Content-Length: 0\r\n\r\n").unwrap();
    });
    let output = run(&["sub", &format!("http://127.0.0.1:{port}/")]);
    server.join().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(err(&output).lines().last(), Some("tidegate: the server ended the connection"));
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nno such path").unwrap();
    });
    let url = format!("http://127.0.0.1:{port}/x");
    let output = run(&["sub", &url]);
    server.join().unwrap();
    assert_eq!((code(&output), err(&output)), (1, format!("tidegate: {url}: refused with 404: no such path\n")));
}

#[test]
fn sub_exits_with_1_when_the_time_is_over_before_the_count() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\n").unwrap();
        _ = stream.read(&mut [0]);
    });
    let output = run(&["sub", &format!("http://127.0.0.1:{port}/"), "--count", "2", "--timeout", "0.2"]);
    server.join().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(err(&output).lines().last(), Some("tidegate: timed out: 0 of 2 messages arrived"));
}

#[test]
fn sub_ends_with_a_summary_on_ctrl_c_and_closes_the_websocket() {
    let (port, server) = serve_once(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send("first".into()).unwrap();
        loop {
            match socket.read() {
                Ok(tungstenite::Message::Close(frame)) => return frame.map(|frame| u16::from(frame.code)),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut child = tidegate(&["sub", &format!("ws://127.0.0.1:{port}/ws")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(err(&output).starts_with("messages: 1, in "), "{}", err(&output));
    assert_eq!(server.join().unwrap(), Some(1000));
}

#[test]
fn sub_tells_why_a_websocket_is_refused() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 24\r\n\r\nthis origin may not come";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let url = format!("ws://127.0.0.1:{port}/ws");
    let output = run(&["sub", &url]);
    server.join().unwrap();
    let expected = format!("tidegate: {url}: refused with 403 Forbidden: this origin may not come\n");
    assert_eq!((code(&output), err(&output)), (1, expected));
}

#[test]
fn sub_sends_what_it_is_told_to_and_shows_the_answers() {
    let (port, server) = serve_once(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        for _ in 0..2 {
            let message = socket.read().unwrap();
            socket.send(message).unwrap();
        }
        while socket.read().is_ok() {}
    });
    let url = format!("ws://127.0.0.1:{port}/ws");
    let output = run(&["sub", &url, "--send", "hello", "--send", "", "--count", "2"]);
    server.join().unwrap();
    assert_eq!((code(&output), out(&output).as_str()), (0, "hello\n\n"), "{}", err(&output));
}

#[test]
fn sub_tells_the_close_code_of_a_websocket() {
    let (port, server) = serve_once(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        let frame = tungstenite::protocol::CloseFrame { code: 1001.into(), reason: "come back".into() };
        socket.close(Some(frame)).unwrap();
        while socket.read().is_ok() {}
    });
    let output = run(&["sub", &format!("ws://127.0.0.1:{port}/ws")]);
    server.join().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(err(&output).lines().last(), Some("tidegate: the server ended the connection: 1001 come back"));
}
