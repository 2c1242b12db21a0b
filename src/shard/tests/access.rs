//! The access log: each request has one line, and each stream one for its end, whatever ends it.

use serde_json::Value;

use super::*;
use crate::base::counters::Counter;
use crate::conn::access::lines::AccessRule;
use crate::mesh::Lane;
use crate::mesh::log::LogMail;
use crate::proto::access::LineFormat;

/// A log of JSON, with lines for streams that begin if so wanted.
pub(super) fn logged(mut settings: Settings, tells_opens: bool) -> Settings {
    let rule = AccessRule {
        format: LineFormat::Json,
        tells_opens,
        tells_tcp: tells_opens,
        listeners: DOORS.iter().map(|door| format!("{door:?}").into()).collect(),
        secrets: vec!["token".into()],
        unix_ms: || 784_111_777_123,
        unwritten: Counter::default(),
    };
    settings.generation_mut().access = Some(Arc::new(rule));
    settings
}

/// The lines that have been handed over since the last time.
pub(super) fn lines(log: &Mailbox) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(mail) = log.take(Lane::Tell) {
        let Mail::Log(LogMail::Lines { text, count }) = mail else { panic!("not lines: {mail:?}") };
        let text = String::from_utf8(text).expect("lines are text");
        assert_eq!(text.lines().count() as u64, count, "{text}");
        all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("each is an object")));
    }
    all
}

impl Bench {
    /// The lines of what has happened so far.
    fn lines(&mut self) -> Vec<Value> {
        self.run_for(2 * limits::ACCESS_LOG_DELAY);
        lines(self.log.as_ref().expect("there is a log"))
    }

    /// The same, if there is one.
    fn line(&mut self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

fn text_of<'l>(line: &'l Value, key: &str) -> &'l str {
    line[key].as_str().unwrap_or_default()
}

/// Kind, status and reason.
pub(super) fn outcome(line: &Value) -> (&str, u64, &str) {
    (text_of(line, "kind"), line["status"].as_u64().unwrap_or(0), text_of(line, "reason"))
}

fn bench(tells_opens: bool) -> Bench {
    let mut settings = logged(settings(), tells_opens);
    add_routes(&mut settings, [route("/health", RouteTarget::page("text/plain", b"well\n"))]);
    Bench::new(1, settings)
}

#[test]
fn requests_of_one_connection_have_a_line_each_in_their_order() {
    let mut bench = bench(false);
    let mut client = bench.connect(0, 0);
    client.say(
        "GET /health?a=b&token=s3cret HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\nReferer: /x\r\nCookie: s3cret\r\n\r\n\
         GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let lines = bench.lines();
    assert!(client.hear().ends_with("method not allowed\n") || client.is_at_end());
    let outcomes: Vec<_> = lines.iter().map(outcome).collect();
    assert_eq!(
        outcomes,
        [("request", 200, ""), ("request", 404, "not_found"), ("request", 405, "method_not_allowed")],
        "{lines:?}"
    );
    let first = &lines[0];
    for (key, expected) in [
        ("time", "1994-11-06T08:49:37.123Z"),
        ("client", "10.0.0.1"),
        ("listener", "Front"),
        ("host", "a"),
        ("method", "GET"),
        ("path", "/health?a=b&token=***"),
        ("route", "/health"),
        ("agent", "curl/8"),
        ("referer", "/x"),
    ] {
        assert_eq!(text_of(first, key), expected, "{first}");
    }
    assert_eq!((&first["request_bytes"], &first["response_bytes"]), (&0.into(), &5.into()));
    let (connection, number) = text_of(first, "id").rsplit_once('-').unwrap();
    assert_eq!(number, "0");
    assert_eq!(text_of(&lines[2], "id"), format!("{connection}-2"));
    assert!(!lines.iter().any(|line| line.to_string().contains("s3cret")));
}

#[test]
fn a_stream_has_a_line_for_its_end_and_one_for_its_begin_if_wanted() {
    for tells_opens in [true, false] {
        let mut bench = bench(tells_opens);
        for (path, status) in [("/sse/1", 200), ("/ws/1", 101), ("/echo?user=ann", 101)] {
            let client = bench.open(0, path);
            let opened = bench.lines();
            assert_eq!(opened.iter().map(outcome).collect::<Vec<_>>(), [("open", status, "")][..tells_opens.into()]);
            bench.run_for(10 * SECOND);
            client.end.reset();
            let end = bench.line();
            assert_eq!(outcome(&end), ("end", status, "peer_reset"), "{end}");
            assert!(end["duration_ms"].as_f64().unwrap() >= 10_000.0 && end["since"].is_string(), "{end}");
            assert_eq!(text_of(&end, "path"), path);
            assert_eq!(text_of(&end, "user"), if path.contains("ann") { "ann" } else { "" });
        }
        assert_eq!(bench.core(0).desk.settings.access.open(), 0);
    }
}

#[test]
fn the_end_of_a_stream_says_how_its_connection_was_if_wanted() {
    for is_wanted in [true, false] {
        let mut bench = bench(is_wanted);
        for path in ["/sse/1", "/ws/1"] {
            let mut client = bench.open(0, path);
            client.end.set_path(41_000, 3);
            bench.lines();
            client.hear();
            bench.run_for(SECOND);
            let sent = request(path).len();
            client.end.reset();
            let end = bench.line();
            assert_eq!((outcome(&end).0, end.get("lost")), ("end", None));
            if is_wanted {
                assert_eq!((&end["rtt_us"], &end["retransmits"]), (&41_000.into(), &3.into()), "{end}");
                assert_eq!(end["received_bytes"], sent, "{end}");
                assert!(end["sent_bytes"].as_u64() > Some(100), "{end}");
            } else {
                assert!(end.get("rtt_us").is_none() && end.get("sent_bytes").is_none(), "{end}");
            }
        }
    }
}

#[test]
fn what_a_drain_ends_has_its_line_before_the_shard_is_over() {
    let mut bench = bench(false);
    let _streams = [bench.open(0, "/sse/1"), bench.open(0, "/ws/1")];
    bench.drain();
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert!(bench.is_over());
    let lines = lines(bench.log.as_ref().unwrap());
    let ends: Vec<_> = lines.iter().map(outcome).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|(kind, _, reason)| (*kind, *reason) == ("end", "drain")), "{ends:?}");
}

#[test]
fn a_head_that_cannot_be_read_is_told_without_it_and_half_of_one_only_if_it_is_answered() {
    let mut bench = bench(false);
    let malformed = bench.connect(0, 0);
    malformed.say("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let line = bench.line();
    assert_eq!(outcome(&line), ("request", 400, "malformed_request"), "{line}");
    assert!(line.get("method").is_none() && line.get("path").is_none());
    let half = bench.connect(0, 0);
    half.say("POST /a HTTP/1.1\r\nHos");
    bench.run_for(SECOND);
    drop(half);
    assert!(bench.lines().is_empty(), "nothing was asked for");
    let slow = bench.connect(0, 0);
    slow.say("POST /a HTTP/1.1\r\nHos");
    bench.run_for(limits::HEAD_TIMEOUT + SECOND);
    let line = bench.line();
    assert_eq!(outcome(&line), ("request", 408, "too_slow"), "{line}");
    drop((malformed, slow));
    assert!(bench.lines().is_empty());
}

#[test]
fn lines_that_no_writer_takes_are_lost_and_counted() {
    let mut bench = bench(false);
    bench.log = None;
    let client = bench.connect(0, 0);
    client.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    bench.run_for(SECOND);
    assert_eq!(bench.core(0).desk.counters().access_log_lost.value(), 3);
}

#[test]
fn without_a_log_nothing_is_kept() {
    let mut bench = Bench::new(1, settings());
    let _stream = bench.open(0, "/sse/1");
    bench.run_for(SECOND);
    let access = &bench.core(0).desk.settings.access;
    assert_eq!((access.open(), access.due()), (0, Tick::NEVER));
}
