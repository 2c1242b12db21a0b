//! The servers that people have behind a gateway, asked by curl directly and through it: the answers are the same.

use std::process::Command;
use std::thread;

use super::programs::{BIG_BYTES, Program, SMALL};
use super::*;

/// The final answer: status, header fields that concern its client, and body.
#[derive(Debug, PartialEq)]
struct Fetched {
    status: String,
    fields: Vec<String>,
    body: Vec<u8>,
}

/// What belongs to one connection, to one moment, or to the gateway.
const OF_THE_WAY: &[&str] = &[
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "date",
    "via",
    "x-request-id",
    "traceparent",
    "last-modified-by",
];

/// All answers that curl gets, one for each URL, on one connection if it stays open.
fn curl(base: SocketAddr, paths: &[&str], words: &[&str]) -> Vec<Fetched> {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "30", "--suppress-connect-headers"]).args(words);
    // Each answer is followed by a line that no body has.
    command.args(["-w", "\n=== the end of an answer ===\n"]);
    command.args(paths.iter().map(|path| format!("http://{base}{path}")));
    let output = command.output().expect("curl is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let end = b"\n=== the end of an answer ===\n";
    let mut rest = &output.stdout[..];
    let mut all = Vec::new();
    while let Some(at) = rest.windows(end.len()).position(|window| window == end) {
        all.push(fetched(&rest[..at]));
        rest = &rest[at + end.len()..];
    }
    assert_eq!(all.len(), paths.len());
    all
}

fn fetched(bytes: &[u8]) -> Fetched {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..at].to_vec()).expect("a head is text");
    let body = &bytes[at + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").to_owned();
    // Interim answers come first.
    if status.starts_with('1') {
        return fetched(body);
    }
    let is_for_the_client = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        !OF_THE_WAY.contains(&name.as_str())
    };
    let mut fields: Vec<String> = lines.filter(is_for_the_client).map(str::to_owned).collect();
    fields.sort();
    Fetched { status, fields, body: body.to_vec() }
}

/// Gets the same from the server and through the gateway; returns it.
fn same(gateway: &Gateway, program: &Program, path: &str, words: &[&str]) -> Fetched {
    let direct = curl(program.address, &[path], words).remove(0);
    let through = curl(front(gateway), &[&format!("/app{path}")], words).remove(0);
    assert_eq!(through.status, direct.status, "{} {path} {words:?}", program.name);
    assert_eq!(through.fields, direct.fields, "{} {path} {words:?}", program.name);
    assert!(through.body == direct.body, "{} {path} {words:?}: another body", program.name);
    through
}

/// What is asked of each server. `has_files`: it knows ranges and dates. `takes_bodies`: it sends back a digest.
fn expect_the_same(program: &Program, has_files: bool, takes_bodies: bool, more: impl Fn(&Gateway) + Sync) {
    let extra = route("app", program.address, "");
    on_both_drivers(&extra, |gateway| {
        let small = same(gateway, program, "/small.txt", &[]);
        assert_eq!((small.status.as_str(), &*small.body), ("200", SMALL.as_bytes()));
        assert_eq!(same(gateway, program, "/big.bin", &[]).body.len(), BIG_BYTES);
        assert_eq!(same(gateway, program, "/big.bin", &["--http1.0"]).body.len(), BIG_BYTES);
        assert_eq!(same(gateway, program, "/big.bin", &["--compressed"]).body.len(), BIG_BYTES);
        assert_eq!(same(gateway, program, "/none", &[]).status, "404");
        if has_files {
            assert_eq!(same(gateway, program, "/small.txt", &["--head"]).status, "200");
            let changed = small.fields.iter().find_map(|field| field.strip_prefix("Last-Modified: ")).expect("a date");
            let unless_changed = format!("If-Modified-Since: {changed}");
            let unchanged = same(gateway, program, "/small.txt", &["-H", &unless_changed]);
            assert_eq!((unchanged.status.as_str(), unchanged.body.len()), ("304", 0));
        }
        if takes_bodies {
            // Above 1 MB, curl expects 100-continue.
            let big = format!("@{}", program.file("big.bin").display());
            for words in [
                &["--data-binary", "a few words"][..],
                &["--data-binary", &big],
                &["--data-binary", &big, "-X", "PUT", "-H", "Expect:"],
                &["--data-binary", &big, "-H", "Transfer-Encoding: chunked"],
            ] {
                assert_eq!(same(gateway, program, "/echo", words).status, "200", "{words:?}");
            }
        }
        // More requests than some servers take on one connection.
        let paths = ["/app/small.txt"; 20];
        for answer in curl(front(gateway), &paths, &[]) {
            assert_eq!((answer.status.as_str(), &*answer.body), ("200", SMALL.as_bytes()));
        }
        // From several clients at the same time.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for answer in curl(front(gateway), &["/app/big.bin", "/app/small.txt", "/app/big.bin"], &[]) {
                        assert!(answer.status == "200" && [BIG_BYTES, SMALL.len()].contains(&answer.body.len()));
                    }
                });
            }
        });
        more(gateway);
        expect_nobody(gateway);
        for reason in ["upstream_garbage", "upstream_broke", "upstream_closed", "upstream_refused", "upstream_timeout"]
        {
            assert_eq!(metric(gateway, &format!("closed_total:{reason}")), 0, "{} {reason}", program.name);
        }
    });
}

#[test]
fn nginx_is_served_through_the_gateway() {
    expect_the_same(&Program::nginx(), true, false, |_| {});
}

#[test]
fn apache_is_served_through_the_gateway() {
    expect_the_same(&Program::apache(), true, false, |_| {});
}

#[test]
fn gunicorn_is_served_through_the_gateway() {
    expect_the_same(&Program::gunicorn(), false, true, |_| {});
}

#[test]
fn uvicorn_is_served_through_the_gateway() {
    expect_the_same(&Program::uvicorn(), false, true, |_| {});
}

#[test]
fn a_server_of_http_1_0_is_served_through_the_gateway() {
    expect_the_same(&Program::http_server(), true, false, |_| {});
}

#[test]
fn node_is_served_through_the_gateway() {
    let node = Program::node();
    expect_the_same(&node, false, true, |gateway| {
        assert_eq!(same(gateway, &node, "/nothing", &[]).status, "204");
        let cookies = same(gateway, &node, "/cookies", &[]);
        assert_eq!(cookies.fields.iter().filter(|field| field.starts_with("Set-Cookie: ")).count(), 2);
        // Early hints reach the client.
        let mut client = Raw::connect(front(gateway));
        client.send("GET /app/hints HTTP/1.1\r\nHost: a\r\n\r\n");
        let hints = client.read_until("\r\n\r\n").to_lowercase();
        assert!(hints.starts_with("http/1.1 103 ") && hints.contains("link: </style.css>; rel=preload"), "{hints}");
        assert!(client.read_until("hinted").starts_with("HTTP/1.1 200 "));
        client.leave();
        // An event comes at once, though the stream goes on.
        let mut stream = Raw::connect(front(gateway));
        stream
            .send("GET /app/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
            .read_until("data: first\n\n");
        stream.leave();
        // The server sees its client.
        let seen =
            curl(front(gateway), &["/app/headers"], &["-H", "X-Forwarded-For: 9.9.9.9", "-H", "X_Under: a"]).remove(0);
        let seen: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!(
            (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
            (&"127.0.0.1".into(), &"http".into()),
            "{seen}"
        );
        assert!(
            seen["x_under"].is_null() && seen["via"].as_str().is_some_and(|via| via.contains("tidegate")),
            "{seen}"
        );
    });
}
