use proptest::prelude::*;

use super::*;

const UNIX_MS: u64 = 784_111_777_123;

fn line<'a>() -> AccessLine<'a> {
    AccessLine {
        unix_ms: UNIX_MS,
        kind: LineKind::Request,
        id: "id-0",
        trace: None,
        client: IpAddr::from([192, 0, 2, 1]),
        peer: None,
        listener: "0.0.0.0:8080",
        is_tls: false,
        head: Some(LineHead {
            host: b"shop.example",
            method: b"GET",
            path: b"/a?b=c",
            agent: b"curl/8",
            referer: b"",
            minor_version: 1,
        }),
        route: None,
        status: 200,
        reason: None,
        user: None,
        auth: None,
        lasted: Duration::from_micros(12_345),
        request_bytes: Some(0),
        response_bytes: Some(12),
        proxied: None,
        queued: None,
        lost: 0,
        tcp: None,
    }
}

fn written(line: &AccessLine<'_>, format: LineFormat) -> String {
    let mut out = Vec::new();
    line.write(format, &mut out);
    String::from_utf8(out).expect("a line is text")
}

#[test]
fn a_request_has_what_is_known_and_nothing_else() {
    assert_eq!(
        written(&line(), LineFormat::Json),
        "{\"time\":\"1994-11-06T08:49:37.123Z\",\"id\":\"id-0\",\"kind\":\"request\",\"client\":\"192.0.2.1\",\
         \"listener\":\"0.0.0.0:8080\",\"tls\":false,\"host\":\"shop.example\",\"method\":\"GET\",\"path\":\"/a?b=c\",\
         \"status\":200,\"duration_ms\":12.345,\"request_bytes\":0,\"response_bytes\":12,\"agent\":\"curl/8\"}\n"
    );
}

#[test]
fn a_line_has_all_that_can_be_known() {
    let full = AccessLine {
        kind: LineKind::End,
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        peer: Some(IpAddr::from([10, 0, 0, 1])),
        is_tls: true,
        route: Some("/a"),
        reason: Some("peer_closed"),
        user: Some("ann"),
        auth: Some("app"),
        queued: Some(7),
        lost: 3,
        tcp: Some(TcpFacts {
            rtt_us: 41_000,
            retransmits: 3,
            unsent_bytes: 12,
            sent_bytes: 9_000,
            received_bytes: 500,
        }),
        proxied: Some(LineProxied {
            upstream: "app",
            server: Some("10.0.0.8:3000"),
            attempts: 2,
            is_reused: true,
            connect: Some(Duration::from_micros(5)),
            answer: Some(Duration::from_millis(3)),
        }),
        ..line()
    };
    let text = written(&full, LineFormat::Json);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "time",
        "id",
        "trace",
        "kind",
        "client",
        "peer",
        "listener",
        "tls",
        "host",
        "method",
        "path",
        "route",
        "status",
        "reason",
        "user",
        "auth",
        "since",
        "duration_ms",
        "request_bytes",
        "response_bytes",
        "queued",
        "lost",
        "rtt_us",
        "retransmits",
        "unsent",
        "sent_bytes",
        "received_bytes",
        "upstream",
        "server",
        "attempts",
        "reused",
        "connect_ms",
        "answer_ms",
        "agent",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(json["since"], "1994-11-06T08:49:37.111Z");
    assert_eq!((&json["connect_ms"], &json["answer_ms"]), (&0.005.into(), &3.0.into()));
}

#[test]
fn the_combined_format_is_that_of_apache() {
    let named = AccessLine { user: Some("a b\"c"), ..line() };
    assert_eq!(
        written(&named, LineFormat::Combined),
        "192.0.2.1 - a\\x20b\\x22c [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n"
    );
    let unreadable = AccessLine { head: None, status: 400, response_bytes: None, ..line() };
    assert_eq!(
        written(&unreadable, LineFormat::Combined),
        "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 - \"-\" \"-\"\n"
    );
}

#[test]
fn a_client_cannot_write_a_line_of_its_own() {
    let hostile = LineHead { agent: b"a\"} \r\n{\x1b[2J\x7f\xc2\x9b\xff\\", ..line().head.unwrap() };
    let line = AccessLine { head: Some(hostile), ..line() };
    let json = written(&line, LineFormat::Json);
    assert!(json.ends_with("\"agent\":\"a\\\"} \\u000d\\u000a{\\u001b[2J\\u007f\\u009b\u{fffd}\\\\\"}\n"), "{json}");
    let combined = written(&line, LineFormat::Combined);
    assert!(combined.ends_with(" \"a\\x22} \\x0d\\x0a{\\x1b[2J\\x7f\\xc2\\x9b\\xff\\x5c\"\n"), "{combined}");
}

#[test]
fn a_time_that_no_date_has_is_the_last_one() {
    let late = AccessLine { unix_ms: u64::MAX, ..line() };
    assert!(written(&late, LineFormat::Json).starts_with("{\"time\":\"9999-12-31T23:59:59."));
}

proptest! {
    #[test]
    fn whatever_clients_write_stays_on_its_line_and_can_be_read(
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 5),
        user in any::<String>(),
    ) {
        let head = LineHead {
            host: &bytes[0], method: &bytes[1], path: &bytes[2], agent: &bytes[3], referer: &bytes[4], minor_version: 0,
        };
        let line = AccessLine { head: Some(head), user: Some(&user), ..line() };
        let text = written(&line, LineFormat::Json);
        prop_assert!(text[..text.len() - 1].chars().all(|sign| !sign.is_control()));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json["user"].as_str(), Some(&*user));
        if !bytes[2].is_empty() {
            prop_assert_eq!(json["path"].as_str(), Some(&*String::from_utf8_lossy(&bytes[2])));
        }
        let text = written(&line, LineFormat::Combined);
        prop_assert!(text[..text.len() - 1].bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(text.matches('"').count(), 6);
    }
}
