//! Services: the number of their workers, and the clients that no worker has served.

use serde_json::json;

use super::centrifuge::{Client, settings};
use super::*;
use crate::conn::route::AcceptRoute;
use crate::shard::services::ServiceFailure;

/// Workers of the service, as the first shard has counted them.
fn workers(bench: &Bench, service: &str) -> u64 {
    let counters = bench.core(0).desk.counters().services.iter().find(|own| services::name(&own.subject) == service);
    counters.expect("a service of the configuration").workers.value()
}

fn failures(bench: &Bench, service: &str, failure: ServiceFailure) -> u64 {
    let all = bench.core(0).desk.counters.iter().flat_map(|counters| &counters.services);
    all.filter(|own| services::name(&own.subject) == service).map(|own| own.failed(failure).value()).sum()
}

#[test]
fn workers_are_counted_wherever_they_are_and_once() {
    let mut bench = Bench::new(3, settings());
    let named = &bench.core(0).desk.counters().services;
    let named: Vec<&str> = named.iter().map(|own| services::name(&own.subject)).collect();
    assert_eq!(named, ["desk", "echo"], "each once, however many routes name it");
    let connect = |bench: &mut Bench, shard, subjects: &str| {
        let mut worker = bench.connect(shard, BUS);
        worker.say(format!("CONNECT {{\"verbose\":false}}\r\n{subjects}PING\r\n"));
        bench.run_for(SECOND / 10);
        assert!(worker.hear().ends_with("PONG\r\n"));
        worker
    };
    let plain = connect(&mut bench, 0, "SUB tg.service.desk 1\r\n");
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (1, 0));
    let group = connect(&mut bench, 2, "SUB tg.service.* workers 1\r\n");
    let _watching = connect(&mut bench, 1, "SUB > 1\r\nSUB tg.service.* 2\r\nSUB tg.service.other 3\r\n");
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (2, 1), "who watches serves nobody");
    group.say("UNSUB 1\r\n");
    bench.run_for(SECOND / 10);
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (1, 0));
    drop(plain);
    bench.run_for(SECOND);
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (0, 0));
}

#[test]
fn whom_no_worker_serves_is_counted_by_the_service_and_the_reason() {
    let mut bench = Bench::new(2, settings());
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    let call = |id: u32| json!({"id": id, "rpc": {"method": "book", "data": 1}});
    client.say(&[call(2), call(3)]);
    bench.run_for(SECOND);
    assert_eq!(client.texts()[1]["error"]["code"], 100);
    assert_eq!(failures(&bench, "desk", ServiceFailure::NoWorker), 2);
    let silent = bench.connect(1, BUS);
    silent.say("CONNECT {\"verbose\":false}\r\nSUB tg.service.desk 1\r\n");
    bench.run_for(SECOND);
    client.say(&[call(4)]);
    for _ in 0..4 {
        bench.run_for(limits::CALL_TIMEOUT / 3);
        client.say(&[json!({})]);
    }
    assert_eq!(failures(&bench, "desk", ServiceFailure::NoAnswer), 1);
    drop(silent);
    bench.run_for(SECOND);
    client.say(&[json!({"send": {"data": 1}})]);
    bench.run_for(limits::SERVICE_WAIT + SECOND);
    assert_eq!(failures(&bench, "desk", ServiceFailure::Unserved), 1);
    let counts = [ServiceFailure::NoWorker, ServiceFailure::NoAnswer].map(|failure| failures(&bench, "desk", failure));
    assert_eq!((counts, bench.closed(0, CloseReason::NoWorker)), ([2, 1], 1));
}

/// The id and the trace of the stream that has begun last, as the access log has them.
fn logged_names(bench: &Bench) -> (String, String) {
    let lines = super::access::lines(bench.log.as_ref().expect("there is a log"));
    let line = lines.last().expect("it has begun");
    let text = |key: &str| line[key].as_str().expect("a text").to_owned();
    (text("id"), text("trace"))
}

#[test]
fn a_worker_is_told_the_subprotocol_and_the_fields_of_the_handshake() {
    let mut settings = super::access::logged(super::settings(), true);
    let websocket = WebSocketRoute {
        service: Some(Service::new("echo").unwrap()),
        subprotocols: ["chat.v2", "chat.v1"].map(Into::into).into(),
        headers: ["User-Agent"].map(Into::into).into(),
        ..WebSocketRoute::default()
    };
    add_routes(&mut settings, [route("/chat", RouteTarget::WebSocket(websocket))]);
    let mut bench = Bench::new(1, settings);
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.service.echo workers 1\r\n");
    // Open streams send no word of their end.
    let mut clients = Vec::new();
    for (offers, chosen) in [
        ("chat.v1, chat.v2", Some("chat.v2")),
        ("chat.v1", Some("chat.v1")),
        ("CHAT.V1, other", None),
        ("tidegate", None),
        ("", None),
    ] {
        let offered = if offers.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {offers}\r\n") };
        let mut client = bench.connect(0, 0);
        client.say(
            request("/chat").replace("Host: a\r\n", &format!("Host: a\r\nUser-Agent: me\r\nCookie: c\r\n{offered}")),
        );
        bench.run_for(2 * limits::ACCESS_LOG_DELAY);
        let opened = worker.hear();
        assert!(opened.contains("Tg-Kind: open\r\nUser-Agent: me\r\n") && !opened.contains("Cookie"), "{opened}");
        let logged = logged_names(&bench);
        assert!(
            opened.contains(&format!("\r\nX-Request-Id: {}\r\ntraceparent: 00-{}-", logged.0, logged.1)),
            "{opened}"
        );
        client.say(text(b"hello"));
        bench.run_for(SECOND / 10);
        let (answer, heard) = (client.hear(), worker.hear());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim_start_matches([':', ' ']).to_owned())
        };
        assert_eq!(field(&answer, "Sec-WebSocket-Protocol").as_deref(), chosen, "{offers}: {answer}");
        assert_eq!(field(&heard, "Tg-Subprotocol").as_deref(), chosen, "{offers}: {heard}");
        assert!(heard.contains("hello") && !heard.contains("User-Agent"), "{heard}");
        assert!(!heard.contains("traceparent"), "its connection names it: {heard}");
        clients.push(client);
    }
}

#[test]
fn a_worker_gets_the_fields_that_the_route_names() {
    let mut settings = super::settings();
    let jobs = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "result".into(),
        timeout: SECOND,
        keep: SECOND,
        user: None,
        headers: ["User-Agent", "Accept-Language"].map(Into::into).into(),
    };
    add_routes(&mut settings, [Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(jobs)) }]);
    let mut bench = Bench::new(1, settings);
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.service.jobs workers 1\r\n");
    let client = bench.connect(0, 0);
    client.say(
        "POST /jobs HTTP/1.1\r\nHost: a\r\nuser-agent: curl/8\r\nAuthorization: Bearer s3cret\r\nCookie: s3cret\r\n\
         Content-Length: 2\r\n\r\n{}",
    );
    bench.run_for(SECOND / 10);
    let heard = worker.hear();
    assert!(heard.contains("\r\nUser-Agent: curl/8\r\n") && heard.contains("\r\nX-Request-Id: "), "{heard}");
    assert!(!heard.contains("Accept-Language") && !heard.contains("s3cret"), "{heard}");
}
