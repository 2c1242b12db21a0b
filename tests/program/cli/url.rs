//! Where `sub` and `pub` are sent: URLs however they are spelled, and those that lead nowhere.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::cli::program::{code, err, out, run};
use crate::cli::server::{EVENTS, read_request, serve_once};

#[test]
fn urls_are_taken_however_they_are_spelled() {
    let (port, server) = serve_once(|mut stream| {
        let (head, _) = read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: hi\n\n").unwrap();
        _ = stream.read(&mut [0]);
        head
    });
    let output = run(&["sub", &format!("HTTP://ann:p%40ss@LocalHost:{port}/a b/é?c=ü#d"), "--count", "1"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "hi\n"), "{}", err(&output));
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /a%20b/%C3%A9?c=%C3%BC HTTP/1.1\r\n"), "{head}");
    // base64 of ann:p@ss
    for field in [format!("Host: localhost:{port}"), "Authorization: Basic YW5uOnBAc3M=".to_owned()] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }

    let answer = |mut stream: TcpStream| {
        let request = read_request(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        request
    };
    for (admin, target) in
        [("127.0.0.1:PORT", ""), ("Http://127.0.0.1:PORT/", ""), ("http://127.1:PORT/gate/", "/gate")]
    {
        let (port, server) = serve_once(answer);
        let output = run(&["pub", "a", "b", "--admin", &admin.replace("PORT", &port.to_string())]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        let (head, _) = server.join().unwrap();
        assert!(head.starts_with(&format!("POST {target}/api/channels/a HTTP/1.1\r\n")), "{admin}: {head}");
    }

    let (port, server) = serve_once(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send("hi".into()).unwrap();
        while socket.read().is_ok() {}
    });
    let output = run(&["sub", &format!("WS://127.0.0.1:{port}"), "--count", "1"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "hi\n"), "{}", err(&output));
    server.join().unwrap();

    for target in ["127.0.0.1:8080/events/a", "localhost:8080"] {
        let output = run(&["sub", target]);
        assert_eq!(code(&output), 1);
        assert!(err(&output).contains("is no URL; expected ws, wss"), "{}", err(&output));
    }
}

#[test]
fn sub_and_pub_tell_in_one_line_what_they_cannot_use() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let admin = format!("http://127.0.0.1:{closed}");
    let bus = format!("nats://127.0.0.1:{closed}");
    for arguments in [
        &["sub", "ftp://127.0.0.1/"][..],
        &["sub", "ws://"],
        &["sub", &admin],
        &["sub", &bus, "a.>"],
        &["sub", &bus],
        &["sub", "a", "b"],
        &["sub", "http://127.0.0.1/", "--send", "a"],
        &["sub", "http://127.0.0.1/", "b"],
        &["sub", "https://127.0.0.1/", "--ca", "no.pem"],
        &["pub", "a", "b", "--admin", &admin],
        &["pub", "a", "b", "--admin", &bus],
        &["pub", "a", "b", "--bus", &bus],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 1, "{arguments:?}");
        let err = err(&output);
        assert!(err.starts_with("tidegate: ") && err.lines().count() == 1, "{arguments:?}: {err}");
    }
}
