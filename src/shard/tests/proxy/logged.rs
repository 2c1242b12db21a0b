//! The access log of proxied requests: what each server had to do with them, and how they ended.

use serde_json::Value;

use super::tunnels::{switched, upgrade};
use super::*;
use crate::shard::tests::access::{lines, logged, outcome};

fn stage_of(servers: u8, tells_opens: bool) -> Stage {
    let mut stage = stage_with(logged(settings(), tells_opens), servers, |target, rule| {
        target.retries = 1;
        rule.connect_timeout = SECOND;
    });
    // The bystander has come.
    stage.told();
    stage
}

impl Stage {
    /// The lines since the last time.
    fn told(&mut self) -> Vec<Value> {
        self.bench.run_for(2 * limits::ACCESS_LOG_DELAY);
        lines(self.bench.log.as_ref().expect("there is a log"))
    }

    fn line(&mut self) -> Value {
        let mut lines = self.told();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

const PUT: &str = "PUT /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn an_answer_is_told_with_its_server_and_how_long_each_part_took() {
    let mut stage = stage_of(1, false);
    let (client, mut server) = stage.asked(PUT);
    for is_reused in [false, true] {
        if is_reused {
            client.say(PUT);
            stage.run();
        }
        stage.bench.run_for(SECOND);
        server.say(OK);
        stage.run();
        let line = stage.line();
        assert_eq!(outcome(&line), ("request", 200, ""), "{line}");
        assert_eq!((&line["upstream"], &line["server"]), (&"app".into(), &"10.9.0.0:80".into()));
        assert_eq!((&line["attempts"], &line["reused"]), (&1.into(), &is_reused.into()));
        assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &2.into()));
        let trace = line["trace"].as_str().expect("a trace");
        assert!(raw(&mut server).contains(&format!("\r\ntraceparent: 00-{trace}-")), "{line}");
        let (connect, answer) = (line["connect_ms"].as_f64().unwrap(), line["answer_ms"].as_f64().unwrap());
        assert!(answer >= 1_000.0 && connect < 100.0 && line["duration_ms"].as_f64().unwrap() >= answer, "{line}");
    }
}

#[test]
fn a_failure_is_told_with_its_reason_and_the_servers_that_were_tried() {
    let mut stage = stage_of(2, false);
    stage.services.iter().for_each(|service| service.decide(DialFate::Refused));
    let mut client = stage.client();
    client.say(GET);
    stage.run();
    assert_eq!(status(&mut client), "502");
    let line = stage.line();
    assert_eq!((outcome(&line), &line["attempts"]), (("request", 502, "upstream_refused"), &2.into()), "{line}");
    assert!(line.get("answer_ms").is_none() && line["response_bytes"].as_u64() > Some(0), "{line}");
}

#[test]
fn a_client_that_leaves_before_its_answer_is_499_and_a_broken_answer_has_its_status() {
    let mut stage = stage_of(1, false);
    let (client, server) = stage.asked(GET);
    client.end.reset();
    stage.run();
    assert_eq!(outcome(&stage.line()), ("request", 499, "peer_reset"));
    drop(server);
    let (client, server) = stage.asked(GET);
    client.end.shutdown_write();
    stage.run();
    assert_eq!(outcome(&stage.line()), ("request", 499, "peer_closed"));
    drop((client, server));
    let (client, server) = stage.asked(GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 9\r\n\r\nhalf");
    server.end.shutdown_write();
    stage.run();
    let line = stage.line();
    assert_eq!((outcome(&line), &line["response_bytes"]), (("request", 200, "upstream_broke"), &4.into()), "{line}");
    drop((client, server));
}

#[test]
fn what_takes_too_long_is_told_once() {
    let mut stage = stage_of(1, false);
    let (mut client, server) = stage.asked(GET);
    stage.wait(limits::PROXY_RESPONSE_TIMEOUT + SECOND);
    assert_eq!(status(&mut client), "504");
    assert_eq!(outcome(&stage.line()), ("request", 504, "upstream_timeout"));
    drop((client, server));
    assert!(stage.told().is_empty());
}

#[test]
fn a_stream_of_a_server_is_told_when_it_begins_and_when_it_ends() {
    for tells_opens in [true, false] {
        let mut stage = stage_of(1, tells_opens);
        let (client, server) = stage.asked(&upgrade(""));
        server.say(switched(""));
        stage.run();
        let begun: Vec<Value> = stage.told();
        assert_eq!(begun.iter().map(outcome).collect::<Vec<_>>(), [("open", 101, "")][..tells_opens.into()]);
        client.end.reset();
        stage.run();
        let line = stage.line();
        assert_eq!((outcome(&line), &line["server"]), (("end", 101, "peer_reset"), &"10.9.0.0:80".into()), "{line}");
        drop(server);
        let (client, server) = stage.asked("GET /api/a HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n\r\n");
        server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n");
        stage.run();
        let begun: Vec<Value> = stage.told();
        assert_eq!(begun.iter().map(outcome).collect::<Vec<_>>(), [("open", 200, "")][..tells_opens.into()]);
        drop(server);
        stage.run();
        let line = stage.line();
        assert_eq!((outcome(&line).0, outcome(&line).1), ("end", 200), "{line}");
        drop(client);
        assert!(stage.told().is_empty());
    }
}
