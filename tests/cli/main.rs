//! The command line, as a user meets it: what it prints, where, and with which exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tidegate::proto::tls::Certificate;
use tidegate::proto::tls::certificates::{read_chain, read_key, self_signed};

#[path = "process/command.rs"]
mod command;

use command::unconfigured;

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = unconfigured(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tidegate(arguments).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

/// A folder of the test's own that is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tidegate-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn help_names_each_verb_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), 0);
    for word in ["serve", "check", "config", "demo", "pub", "sub", "Exit codes: 0"] {
        assert!(out(&output).contains(word), "{word}");
    }
    for verb in ["serve", "check", "config", "pub", "sub"] {
        let output = run(&[verb, "--help"]);
        assert!(code(&output) == 0 && out(&output).contains("Examples:"), "{verb}");
    }
}

#[test]
fn version_is_the_crates() {
    assert_eq!(out(&run(&["--version"])), format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&[][..], &["launch"], &["sub"], &["sub", "x", "--count", "0"], &["pub", "a", "b", "--rate", "0"]]
    {
        assert_eq!(code(&run(arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn check_accepts_what_config_prints() {
    let folder = Folder::new("defaults");
    let file = folder.file("tidegate.toml", &out(&run(&["config"])));
    let output = run(&["check", &file]);
    assert_eq!((code(&output), err(&output)), (0, String::new()));
    assert_eq!(out(&output), format!("{file}: ok, listeners: 1, routes: 1\n"));
}

#[test]
fn without_a_file_it_is_said_that_there_is_none_and_how_to_get_one() {
    let folder = Folder::new("nowhere");
    for verb in ["check", "serve"] {
        let output = tidegate(&[verb]).current_dir(&folder.0).output().unwrap();
        let expected = "tidegate.toml: there is no such file here; `tidegate config` prints one to begin with, \
                        --config names another";
        assert_eq!(code(&output), 1);
        assert!(err(&output).lines().any(|line| line == expected), "{}", err(&output));
    }
}

#[test]
fn check_tells_every_mistake_in_one_line_and_exits_with_1() {
    let folder = Folder::new("mistakes");
    let file =
        folder.file("tidegate.toml", "[[listener]]\nadress = \"127.0.0.1:1\"\n[limits]\nfragments_max = \"many\"\n");
    let output = run(&["check", &file]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    let expected = [
        format!("{file}:2: unknown key \"adress\" in [[listener]]; did you mean \"address\"?"),
        format!("{file}:4: limits.fragments_max is \"many\"; expected a whole number from 1 to 1000000"),
    ];
    assert_eq!(err(&output).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn check_reads_the_file_of_the_working_directory_and_the_environment() {
    let folder = Folder::new("directory");
    folder.file("tidegate.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let output =
        tidegate(&["check"]).current_dir(&folder.0).env("TIDEGATE_LISTENER_1_ADDRESS", "127.0.0.1:2").output().unwrap();
    assert_eq!(out(&output), "tidegate.toml: ok, listeners: 2, routes: 0\n");
    let output = tidegate(&["check"]).current_dir(&folder.0).env("TIDEGATE_LISTENER", "127.0.0.1:2").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("unknown variable TIDEGATE_LISTENER; "), "{}", err(&output));
}

#[test]
fn a_file_is_named_with_or_without_the_arguments_name_and_wins_over_the_variable() {
    let folder = Folder::new("named");
    let file = folder.file("a.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let other = folder.file("b.toml", "");
    for arguments in [
        &["check", &file][..],
        &["check", "--config", &file],
        &["serve", "--check", &file],
        &["serve", "--check", "--config", &file],
    ] {
        let output = tidegate(arguments).env("TIDEGATE_CONFIG", &other).output().unwrap();
        assert_eq!(
            (code(&output), out(&output)),
            (0, format!("{file}: ok, listeners: 1, routes: 0\n")),
            "{arguments:?}"
        );
    }
    for verb in [&["check"][..], &["serve", "--check"]] {
        let output = tidegate(verb).env("TIDEGATE_CONFIG", &file).output().unwrap();
        assert_eq!(out(&output), format!("{file}: ok, listeners: 1, routes: 0\n"), "{verb:?}");
        assert_eq!(code(&run(&[verb, &[&file, "--config", &other]].concat())), 2, "one file, not two");
    }
}

#[test]
fn check_tells_certificates_that_are_missing_or_do_not_fit() {
    let folder = Folder::new("certificates");
    let (first, key) = self_signed(&["localhost".to_owned()]).unwrap();
    let (other, _) = self_signed(&["localhost".to_owned()]).unwrap();
    folder.file("cert.pem", &first);
    folder.file("key.pem", &key);
    folder.file("other.pem", &other);
    let check = |certificate: &str, key: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
        );
        let output = run(&["check", &folder.file("tidegate.toml", &text)]);
        (code(&output), err(&output).replace(&format!("{}/", folder.0.display()), ""))
    };
    assert_eq!(check("cert.pem", "key.pem"), (0, String::new()));
    let told = |words: &str| (1, format!("tidegate.toml: listener 127.0.0.1:1: {words}\n"));
    assert_eq!(check("no.pem", "key.pem"), told("no.pem: No such file or directory (os error 2)"));
    assert_eq!(check("key.pem", "key.pem"), told("key.pem: no certificate in it"));
    assert_eq!(check("other.pem", "key.pem"), told("other.pem with key.pem: the key does not fit the certificate"));
}

#[test]
fn check_tells_keys_of_tokens_that_could_verify_none() {
    let folder = Folder::new("keys");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    folder.file("p384.pem", &p384.public_key_pem());
    folder.file("p256.pem", &p256.public_key_pem());
    folder.file("p256.key", &p256.serialize_pem());
    let told = |verb: &[&str], key: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[route]]\npath = \"/ws\"\n\
             websocket = {{ protocol = \"centrifuge-json\", token = {{ {key} }} }}\n"
        );
        let output = run(&[verb, &[&folder.file("tidegate.toml", &text)]].concat());
        (code(&output), err(&output).replace(&format!("{}/", folder.0.display()), ""))
    };
    let es256 = "ES256 takes keys on the curve P-256 (RFC 7518 section 3.4)";
    for verb in [&["check"][..], &["serve", "--check"]] {
        for (key, words) in [
            (
                "ecdsa_public_key = \"p384.pem\"",
                format!("ecdsa_public_key p384.pem is a key on the curve P-384; {es256}"),
            ),
            (
                "ecdsa_public_key = \"no.pem\"",
                "ecdsa_public_key no.pem cannot be read: No such file or directory (os error 2)".to_owned(),
            ),
        ] {
            assert_eq!(told(verb, key), (1, format!("tidegate.toml: route /ws: {words}\n")));
        }
        let (code, words) = told(verb, "ecdsa_public_key = \"p256.key\"");
        assert!(code == 1 && words.contains("p256.key is a private key"), "{words}");
        let (code, words) = told(verb, "hmac_secret = \"-----BEGIN PUBLIC KEY-----\"");
        assert!(code == 1 && words.contains("hmac_secret is a key in PEM; expected"), "{words}");
        let (code, words) = told(verb, "hmac_secret = \"secret\"");
        assert!(
            code == 0 && words.contains("warning: route /ws: hmac_secret is short enough to be guessed"),
            "{words}"
        );
        for fits in ["ecdsa_public_key = \"p256.pem\"".to_owned(), format!("hmac_secret = \"{}\"", "x".repeat(32))] {
            assert_eq!(told(verb, &fits), (0, String::new()));
        }
    }
}

#[test]
fn check_warns_of_certificates_that_clients_will_not_accept() {
    let folder = Folder::new("doubts");
    let file = folder.file(
        "tidegate.toml",
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n",
    );
    let key = rcgen::KeyPair::generate().unwrap();
    folder.file("key.pem", &key.serialize_pem());
    let check = |names: &[&str], years: std::ops::Range<i32>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut wanted = rcgen::CertificateParams::new(names).unwrap();
        wanted.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        folder.file("cert.pem", &wanted.self_signed(&key).unwrap().pem());
        let output = run(&["check", &file]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        err(&output).replace(&format!("{}/", folder.0.display()), "")
    };
    assert_eq!(check(&["localhost"], 2020..2120), "");
    assert_eq!(check(&["127.0.0.1"], 2020..2120), "");
    let told = "tidegate.toml: warning: listener 127.0.0.1:1: cert.pem: the certificate ";
    for (names, years, words) in [
        (&["localhost"][..], 2019..2020, "has expired, "),
        (&["localhost"], 2119..2120, "is not valid yet, but in "),
        (&[], 2020..2120, "names no host (subjectAltName), "),
    ] {
        let err = check(names, years);
        assert!(err.starts_with(&format!("{told}{words}")) && err.lines().count() == 1, "{err}");
    }
}

/// Answers one connection, then ends; gives what `answer` gave.
fn serve_once<T: Send + 'static>(answer: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    (port, thread::spawn(move || answer(listener.accept().expect("the client connects").0)))
}

/// The head of a request and its body.
fn read_request(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line comes") > 0, "the head is whole");
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body comes");
    (head, body)
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

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
    assert_eq!(err(&output).lines().last(), Some("tidegate: the server ended it"));
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
    assert_eq!(err(&output).lines().last(), Some("tidegate: timed out: 0 of 2 messages came"));
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
    assert_eq!(err(&output).lines().last(), Some("tidegate: the server ended it: 1001 come back"));
}

fn serve_tls_once(certificate: &str, key: &str) -> (u16, JoinHandle<()>) {
    let (chain, key) = (read_chain(certificate.as_bytes()).unwrap(), read_key(key.as_bytes()).unwrap());
    let config: Arc<rustls::ServerConfig> =
        tidegate::proto::tls::server_config(vec![Certificate::new(chain, key).unwrap()]).unwrap();
    serve_once(move |stream| {
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
        // A client that does not trust us leaves during the handshake.
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: secret\n\n").unwrap();
        _ = stream.read(&mut [0]);
    })
}

#[test]
fn sub_trusts_a_certificate_only_when_told_to() {
    let folder = Folder::new("tls");
    let (certificate, key) = self_signed(&["localhost".to_owned()]).unwrap();
    let file = folder.file("cert.pem", &certificate);
    let sub = |more: &[&str]| {
        let (port, server) = serve_tls_once(&certificate, &key);
        let url = format!("https://localhost:{port}/");
        let output = run(&[&["sub", &url, "--count", "1"], more].concat());
        server.join().unwrap();
        (code(&output), out(&output), err(&output))
    };
    for trust in [&["--insecure"][..], &["--ca", &file]] {
        let (code, out, err) = sub(trust);
        assert_eq!((code, out.as_str()), (0, "secret\n"), "{err}");
    }
    let (other, _) = self_signed(&["localhost".to_owned()]).unwrap();
    let (code, _, err) = sub(&["--ca", &folder.file("other.pem", &other)]);
    assert!(code == 1 && err.contains("certificate") && err.lines().count() == 1, "{err}");
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

#[test]
fn no_error_is_shown_when_the_reader_has_had_enough() {
    let script = format!("{} config | head -n 1", Path::new(env!("CARGO_BIN_EXE_tidegate")).display());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, String::new()));
}

#[test]
fn what_cannot_be_written_is_one_line_and_an_exit_code_and_never_a_panic() {
    let folder = Folder::new("full");
    let good = folder.file("good.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let bad = folder.file("bad.toml", "[[listener]]\n");
    let shell = |line: String| {
        let script = format!("{} {line}", Path::new(env!("CARGO_BIN_EXE_tidegate")).display());
        unconfigured("sh").args(["-c", &script]).output().unwrap()
    };
    let told = "tidegate: stdout: No space left on device (os error 28)\n";
    for verb in ["config", "config --markdown", "doctor --connections 1", "--help", "sub --help", "--version"] {
        let failed = if verb.starts_with("doctor") { 2 } else { 1 };
        let output = shell(format!("{verb} >/dev/full"));
        assert_eq!((code(&output), err(&output).as_str()), (failed, told), "{verb}");
        assert_eq!(code(&shell(format!("{verb} >/dev/full 2>/dev/full"))), failed, "{verb}");
        let output = shell(format!("{verb} | head -c 1"));
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{verb}");
    }
    for (verb, expected) in [
        (format!("check {good}"), 0),
        (format!("check {bad}"), 1),
        (format!("serve {bad}"), 1),
        ("sub ftp://127.0.0.1/".to_owned(), 1),
        ("launch".to_owned(), 2),
    ] {
        assert_eq!(code(&shell(format!("{verb} 2>/dev/full"))), expected, "{verb}");
        assert_eq!(code(&shell(format!("{verb} 2>&-"))), expected, "{verb}");
    }
    assert_eq!(code(&shell(format!("check {good} >/dev/full 2>/dev/full"))), 1);
}

#[test]
fn sub_says_on_stdout_what_was_asked_for_and_ends_well_without_a_stderr() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: hi\n\n").unwrap();
        _ = stream.read(&mut [0]);
    });
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate")).display();
    let script = format!("{program} sub http://127.0.0.1:{port}/ --count 1 2>/dev/full");
    let output = unconfigured("sh").args(["-c", &script]).output().unwrap();
    server.join().unwrap();
    assert_eq!((code(&output), out(&output).as_str()), (0, "hi\n"));
}

#[test]
fn starts_beside_a_service_of_its_name_and_still_tells_a_slip() {
    let folder = Folder::new("links");
    let file = folder.file("tidegate.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let check =
        |variables: &[(&str, &str)]| tidegate(&["check", &file]).envs(variables.iter().copied()).output().unwrap();
    let output = check(&[
        ("TIDEGATE_PORT", "tcp://10.96.0.7:8080"),
        ("TIDEGATE_SERVICE_HOST", "10.96.0.7"),
        ("TIDEGATE_SERVICE_PORT", "8080"),
        ("TIDEGATE_SERVICE_PORT_HTTP", "8080"),
        ("TIDEGATE_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("TIDEGATE_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("TIDEGATE_PORT_8080_TCP_PORT", "8080"),
        ("TIDEGATE_PORT_8080_TCP_PROTO", "tcp"),
        ("TIDEGATE_ADMIN_SERVICE_HOST", "10.96.0.9"),
        ("TIDEGATE_NAME", "/worker/tidegate"),
        ("TIDEGATE_ENV_PATH", "/usr/bin"),
    ]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let output = check(&[("TIDEGATE_PORT", "8080")]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("unknown variable TIDEGATE_PORT; "), "{}", err(&output));
}

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
