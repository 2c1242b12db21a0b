//! Requests that two readers could understand differently. What the gateway passes on of them, four independent parsers read in the
//! same way: h11, gunicorn, waitress, and llhttp in node. On each connection to a server they find one request, and nothing behind it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::*;

/// The bytes of each connection to a server; each request has a connection of its own.
static SEEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Records everything, answers the first request as soon as its framing ends, and nothing else.
fn record(mut socket: TcpStream) {
    OPEN.fetch_add(1, Ordering::SeqCst);
    let (mut all, mut buffer, mut has_answered) = (Vec::new(), [0; 4096], false);
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
        if !has_answered && is_whole(&all) {
            has_answered = true;
            // It may be gone: a client that breaks off takes its request with it.
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    }
    if is_whole(&all) {
        SEEN.lock().expect("no test has panicked").push(all);
    }
    OPEN.fetch_sub(1, Ordering::SeqCst);
}

/// By the strictest reading: what the gateway writes must have that.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let (head, body) = (String::from_utf8_lossy(&bytes[..at + 2]).into_owned(), &bytes[at + 4..]);
    let values = |name: &str| -> Vec<String> {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    };
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => true,
        ([length], []) => body.len() >= length.parse().expect("a length"),
        ([], [coding]) if coding == "chunked" => body.ends_with(b"0\r\n\r\n"),
        both => panic!("ambiguous: {both:?}"),
    }
}

/// The outcome of a request, as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A server gets it.
    Passed,
    /// The client gets a refusal, or none, and no server gets anything whole.
    Refused,
}

use Fate::{Passed, Refused};

const SMUGGLED: &str = "GET /bad/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request with these lines behind `Host`, this body, and another request behind that.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /bad/a HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}").into_bytes()
}

fn corpus() -> Vec<(String, Vec<u8>, Fate)> {
    let mut all: Vec<(String, Vec<u8>, Fate)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, fate| all.push((name.to_owned(), bytes, fate));
    // Two framings, or one that is spelled in another way.
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (lines, fate) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refused),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Refused),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Refused),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Refused),
        ("Content-Length: 5, 5\r\n", Refused),
        ("Content-Length: +5\r\n", Refused),
        ("Content-Length: -5\r\n", Refused),
        ("Content-Length: 0x5\r\n", Refused),
        ("Content-Length: 5 5\r\n", Refused),
        ("Content-Length: 5_0\r\n", Refused),
        ("Content-Length: \r\n", Refused),
        ("Content-Length: 5\u{b}\r\n", Refused),
        ("Content-Length : 5\r\n", Refused),
        (" Content-Length: 5\r\n", Refused),
        ("Content-Length: 99999999999999999999\r\n", Refused),
        ("Content-Length:5\r\n", Passed),
        ("Content-Length: \t 5 \t\r\n", Passed),
        ("Content-Length: 0005\r\n", Passed),
        ("Transfer-Encoding : chunked\r\n", Refused),
        ("Transfer-Encoding\t: chunked\r\n", Refused),
        (" Transfer-Encoding: chunked\r\n", Refused),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", Refused),
        ("X: y\nTransfer-Encoding: chunked\r\n", Refused),
        ("X: y\rTransfer-Encoding: chunked\r\n", Refused),
        ("Transfer-Encoding:\r\n chunked\r\n", Refused),
        ("Transfer-Encoding: xchunked\r\n", Refused),
        ("Transfer-Encoding: chunked, identity\r\n", Refused),
        ("Transfer-Encoding: identity, chunked\r\n", Refused),
        ("Transfer-Encoding: identity\r\n", Refused),
        ("Transfer-Encoding: gzip, chunked\r\n", Refused),
        ("Transfer-Encoding: chunked;q=1\r\n", Refused),
        ("Transfer-Encoding: \"chunked\"\r\n", Refused),
        ("Transfer-Encoding: chunked,\r\n", Refused),
        ("Transfer-Encoding: ,chunked\r\n", Refused),
        ("Transfer-Encoding: chunked\u{b}\r\n", Refused),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refused),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Refused),
        ("Transfer-Encoding: CHUNKED\r\n", Passed),
        ("Transfer-Encoding:chunked\r\n", Passed),
        ("Transfer-Encoding: \t chunked \t\r\n", Passed),
        // Another field altogether: the request has no body, and the rest is a request of its own.
        ("Transfer_Encoding: chunked\r\n", Passed),
        ("Content_Length: 5\r\n", Passed),
    ] {
        let body = match lines.to_lowercase() {
            lines if lines.contains('_') => String::new(),
            lines if lines.contains("chunked") && !lines.starts_with("content-length: 5\r\n") => chunked("hello"),
            _ => "hello".to_owned(),
        };
        let bytes = post(lines, &(body + SMUGGLED));
        add(lines, bytes, fate);
    }
    // Chunks that two readers could count differently.
    for (body, fate) in [
        ("5\r\nhello\r\n0\r\n\r\n", Passed),
        ("5;a=b\r\nhello\r\n0;x\r\n\r\n", Passed),
        ("05\r\nhello\r\n000\r\n\r\n", Passed),
        ("5\r\nhello\r\n0\r\nX: y\r\n\r\n", Passed),
        ("5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n", Passed),
        ("0x5\r\nhello\r\n0\r\n\r\n", Refused),
        ("+5\r\nhello\r\n0\r\n\r\n", Refused),
        ("5 \r\nhello\r\n0\r\n\r\n", Refused),
        (" 5\r\nhello\r\n0\r\n\r\n", Refused),
        ("5\nhello\n0\n\n", Refused),
        ("5\r\nhello\n0\r\n\r\n", Refused),
        ("5\r\nhello0\r\n\r\n", Refused),
        ("5\r\nhelloX\r\n0\r\n\r\n", Refused),
        ("5;a\n\r\nhello\r\n0\r\n\r\n", Refused),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", Refused),
        ("5\r\nhello\r\n0\r\nX: y\n\r\n", Refused),
        ("5\r\nhello\r\n0\r\n X: y\r\n\r\n", Refused),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", Refused),
        ("-1\r\nhello\r\n0\r\n\r\n", Refused),
        ("\r\nhello\r\n0\r\n\r\n", Refused),
        ("G\r\nhello\r\n0\r\n\r\n", Refused),
        ("5\r\nhello\r\n", Refused),
    ] {
        add(&format!("chunks {body}"), post("Transfer-Encoding: chunked\r\n", body), fate);
    }
    // Targets, versions and methods.
    for (line, fate) in [
        ("GET /bad/a HTTP/1.1", Passed),
        ("GET /bad//a/./b HTTP/1.1", Refused),
        ("GET /bad/a/../b HTTP/1.1", Refused),
        ("GET /bad/%2e%2e/b HTTP/1.1", Refused),
        ("GET /bad/a%2fb HTTP/1.1", Refused),
        ("GET /bad/a%5cb HTTP/1.1", Refused),
        ("GET /bad/a\\b HTTP/1.1", Refused),
        ("GET /bad/a%00b HTTP/1.1", Refused),
        ("GET /bad/a%0d%0aX:%20y HTTP/1.1", Refused),
        ("GET /bad/a#b HTTP/1.1", Refused),
        ("GET /bad/%61;x=1?q=/../ HTTP/1.1", Passed),
        ("GET //bad//a HTTP/1.1", Passed),
        ("GET http://a/bad/a HTTP/1.1", Passed),
        ("GET http://b@a/bad/a HTTP/1.1", Refused),
        ("GET a:80 HTTP/1.1", Refused),
        ("GET /bad/a b HTTP/1.1", Refused),
        ("GET  /bad/a HTTP/1.1", Refused),
        ("GET\t/bad/a\tHTTP/1.1", Refused),
        ("GET /bad/a HTTP/1.2", Refused),
        ("GET /bad/a HTTP/2.0", Refused),
        ("GET /bad/a http/1.1", Refused),
        ("GET /bad/a", Refused),
        ("G(ET /bad/a HTTP/1.1", Refused),
        ("CONNECT a:80 HTTP/1.1", Refused),
        ("TRACE /bad/a HTTP/1.1", Refused),
        ("OPTIONS * HTTP/1.1", Refused),
        ("PRI * HTTP/2.0", Refused),
    ] {
        add(line, format!("{line}\r\nHost: a\r\n\r\n").into_bytes(), fate);
    }
    // Fields that nominate, repeat, or say what is not theirs to say.
    for (lines, fate) in [
        ("Connection: content-length\r\nContent-Length: 5\r\n", Passed),
        ("Connection: close, host, x-forwarded-for, x-request-id\r\nContent-Length: 5\r\n", Passed),
        ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", Passed),
        (
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\n",
            Passed,
        ),
        (
            "X-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\nX_Forwarded_For: 9.9.9.9\r\nContent-Length: 5\r\n",
            Passed,
        ),
        ("X: a\u{0}b\r\nContent-Length: 5\r\n", Refused),
        ("X\u{0}: a\r\nContent-Length: 5\r\n", Refused),
        ("X(: a\r\nContent-Length: 5\r\n", Refused),
        (": a\r\nContent-Length: 5\r\n", Refused),
        ("X\r\nContent-Length: 5\r\n", Refused),
        ("Host: b\r\nContent-Length: 5\r\n", Refused),
        ("Expect: 100-continue\r\nContent-Length: 5\r\n", Passed),
        ("Expect: 100-continue, x\r\nContent-Length: 5\r\n", Refused),
        ("TE: trailers\r\nTrailer: X\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nContent-Length: 5\r\n", Passed),
    ] {
        let body = if lines.contains("chunked") { chunked("hello") } else { "hello".to_owned() };
        add(lines, post(lines, &body), fate);
    }
    // A body where few expect one, and none where many do.
    for (request, fate) in [
        ("GET /bad/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Passed),
        ("HEAD /bad/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Passed),
        ("DELETE /bad/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Passed),
        ("POST /bad/a HTTP/1.1\r\nHost: a\r\n\r\n", Passed),
        ("POST /bad/a HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Passed),
        ("POST /bad/a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Refused),
        ("\r\nGET /bad/a HTTP/1.1\r\nHost: a\r\n\r\n", Passed),
        ("\nGET /bad/a HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
        ("GET /bad/a HTTP/1.1\r\n\r\n", Refused),
        ("GET /bad/a HTTP/1.1\nHost: a\n\n", Refused),
        ("GET /bad/a HTTP/1.1\r\nHost: a, b\r\n\r\n", Refused),
    ] {
        add(request, request.as_bytes().to_vec(), fate);
    }
    all
}

/// How long a request waits for its answer until it counts as half of one.
const HALF_REQUEST: Duration = Duration::from_secs(1);

/// Whether the answer has begun, those of 1xx before it left out.
fn has_final_status(said: &[u8]) -> bool {
    let heads = String::from_utf8_lossy(said);
    heads.split("HTTP/1.").skip(1).any(|head| head.len() > 5 && !head[1..].starts_with(" 1"))
}

/// Runs a reader: what it says of each text.
fn read_by(command: &mut Command, texts: &[u8]) -> Vec<Value> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run tests/install.sh first");
    child.stdin.take().expect("a pipe").write_all(texts).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn four_parsers_agree_on_what_a_server_gets_of_requests_made_to_be_misread() {
    let corpus = corpus();
    let server = Server::start(record);
    let routes = server.route("bad", "") + &route("good", Server::start(serve_well).address, "");
    let gateway = builder("epoll", &routes).start().expect("the gateway starts");
    let mut bystander = Bystander::new(&gateway);
    let mut wrong = Vec::new();
    let mut every: Vec<Vec<u8>> = Vec::new();
    for (name, bytes, fate) in &corpus {
        let mut client = Raw::connect(front(&gateway));
        client.send(bytes);
        // A client that ends its half before its answer has gone; without the end, half a request has no answer.
        client.0.set_read_timeout(Some(HALF_REQUEST)).expect("it is connected");
        let (mut answer, mut piece) = (Vec::new(), [0; 1_024]);
        while !has_final_status(&answer)
            && let Ok(length @ 1..) = client.0.read(&mut piece)
        {
            answer.extend_from_slice(&piece[..length]);
        }
        client.0.set_read_timeout(Some(PATIENCE)).expect("it is connected");
        // It may have been refused, and closed, before all of it was sent.
        let _ = client.0.shutdown(std::net::Shutdown::Write);
        let _ = client.0.read_to_end(&mut answer);
        await_that("servers have got all", || OPEN.load(Ordering::SeqCst) == 0);
        let seen = std::mem::take(&mut *SEEN.lock().expect("no test has panicked"));
        let is_smuggled = seen.iter().any(|bytes| String::from_utf8_lossy(bytes).starts_with("GET /smuggled "));
        let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        let has_passed = seen.iter().any(|bytes| !bytes.starts_with(b"GET /smuggled "));
        if has_passed != (*fate == Passed) || is_smuggled && *fate == Refused {
            wrong.push(format!("{name:?}: {status:?}, {} passed on, should be {fate:?}", seen.len()));
        }
        every.extend(seen);
    }
    bystander.expect_service();
    bystander.leave();
    gateway.stop();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));

    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let texts = serde_json::to_vec(&every.iter().map(hex).collect::<Vec<_>>()).expect("texts");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let by_python =
        read_by(Command::new(folder.join(".venv/bin/python")).arg(folder.join("gateway/proxied/read.py")), &texts);
    let by_node = read_by(Command::new("node").arg(folder.join("gateway/proxied/read.mjs")), &texts);
    for ((bytes, python), node) in every.iter().zip(&by_python).zip(&by_node) {
        let readings: Vec<&Value> = python.as_array().expect("three").iter().chain([node]).collect();
        let text = String::from_utf8_lossy(bytes);
        assert!(readings.iter().all(|reading| *reading == readings[0]), "{text:?}: {readings:?}");
        let [one] = &readings[0].as_array().expect("requests")[..] else { panic!("{text:?}: {readings:?}") };
        assert!(one.is_array(), "{text:?}: {one}");
    }
    assert!(every.len() > 20, "enough passes to compare: {}", every.len());
}
