//! Proxies that say whose requests they send, and strangers that say the same.

use super::*;
use crate::conn::route::AcceptRoute;
use crate::conn::site::{Scheme, Site};
use crate::proto::http::TrustedProxies;
use crate::proto::networks::Networks;

/// All peers of the simulator are in it.
const PEERS: &str = "10.0.0.0/8";

/// A gateway that trusts this network. Its requests have no user, so that each address has a share.
fn bench(trusted: &str) -> Bench {
    let mut settings = settings();
    let target = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "result".into(),
        timeout: 60 * SECOND,
        keep: 60 * SECOND,
        user: None,
        headers: Box::default(),
    };
    add_routes(&mut settings, [Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(target)) }]);
    settings.process_mut().accepted_bytes_max = limits::ACCEPTED_BYTES_MIN;
    settings.generation_mut().trust =
        TrustedProxies { networks: Networks::parse([trusted]).unwrap(), ..TrustedProxies::default() };
    Bench::new(1, settings)
}

/// The status of the answer to a long request on this connection, with these lines.
fn post(bench: &mut Bench, peer: &mut Peer, lines: &str) -> String {
    peer.say(format!("POST /jobs HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: 40000\r\n\r\n"));
    peer.say([b'x'; 40_000]);
    bench.run_for(SECOND / 100);
    peer.hear()[9..12].to_owned()
}

fn by(client: &str) -> String {
    format!("X-Forwarded-For: 192.0.2.99, {client}\r\n")
}

/// Posts for one client until it has no share left.
fn fill(bench: &mut Bench, peer: &mut Peer, lines: &str) {
    let refused = (0..200).map(|_| post(bench, peer, lines)).find(|status| status != "202");
    assert_eq!(refused.as_deref(), Some("429"));
}

#[test]
fn clients_of_one_proxy_have_a_share_each_on_one_connection() {
    let mut bench = bench(PEERS);
    let mut bystander = bench.open(0, "/ws/1");
    let mut proxy = bench.connect(0, 0);
    fill(&mut bench, &mut proxy, &by("203.0.113.7"));
    assert_eq!(post(&mut bench, &mut proxy, &by("198.51.100.1, 10.0.0.77")), "202", "another client");
    assert_eq!(post(&mut bench, &mut proxy, &by("203.0.113.7")), "429", "the same again");
    assert_eq!(post(&mut bench, &mut proxy, ""), "202", "the proxy itself");
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_stranger_gives_itself_no_other_address() {
    let mut bench = bench("192.0.2.0/24");
    let mut bystander = bench.open(0, "/ws/1");
    let mut stranger = bench.connect(0, 0);
    fill(&mut bench, &mut stranger, &by("203.0.113.7"));
    for lines in
        [by("198.51.100.1"), "Forwarded: for=198.51.100.1\r\n".to_owned(), "X-Real-IP: 198.51.100.1\r\n".to_owned()]
    {
        assert_eq!(post(&mut bench, &mut stranger, &lines), "429", "{lines}");
    }
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_client_behind_a_proxy_chooses_no_address_either() {
    let mut bench = bench(PEERS);
    let mut proxy = bench.connect(0, 0);
    fill(&mut bench, &mut proxy, &by("203.0.113.7"));
    // The proxy adds the true address at the right of whatever the client has sent.
    for forged in ["198.51.100.1", "10.0.0.1", "unknown", "\"", ", ,"] {
        let lines = format!("X-Forwarded-For: {forged}\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.2\r\n");
        assert_eq!(post(&mut bench, &mut proxy, &lines), "429", "{forged}");
    }
    // An entry that cannot be read: the last proxy, and not what is left of it.
    fill(&mut bench, &mut proxy, "X-Forwarded-For: 198.51.100.1, unknown, 10.0.0.2\r\n");
    fill(&mut bench, &mut proxy, "X-Forwarded-For: 10.0.0.2\r\n");
    assert_eq!(post(&mut bench, &mut proxy, &by("198.51.100.1")), "202");
}

#[test]
fn a_stream_keeps_the_address_of_its_client() {
    let mut bench = bench(PEERS);
    let mut proxy = bench.connect(0, 0);
    let mut upgrade = |client: &str| {
        let lines = format!("\r\nX-Forwarded-For: {client}\r\n");
        proxy.say(request("/echo?user=ann").replacen("\r\n", &lines, 1));
        bench.run_for(SECOND / 10);
        assert!(proxy.hear().starts_with("HTTP/1.1 101 "));
        let mut operator = bench.connect(0, ADMIN);
        operator.say("GET /api/users/ann HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.99\r\n\r\n");
        bench.run_for(SECOND / 10);
        operator.hear()
    };
    let found = upgrade("203.0.113.7:4711");
    assert!(found.contains("\"peer\":\"203.0.113.7:4711\""), "{found}");
}

#[test]
fn a_page_is_of_the_scheme_and_the_host_that_a_trusted_proxy_says() {
    let ask = |trusted: &str, lines: &str| {
        let mut bench = bench(trusted);
        let mut peer = bench.connect(0, 0);
        peer.say(request("/ws/1").replacen("\r\n", &format!("\r\n{lines}"), 1));
        bench.run_for(SECOND / 10);
        peer.hear()[9..12].to_owned()
    };
    let (https, http) = ("Origin: https://a\r\n", "Origin: http://a\r\n");
    let said = |origin: &str, proto: &str| format!("{origin}X-Forwarded-Proto: {proto}\r\n");
    for (lines, proxy, stranger) in [
        (said(https, "https"), "101", "403"),
        (said(https, "http"), "403", "403"),
        (said(http, "https"), "403", "101"),
        (said(http, "http"), "101", "101"),
        (said(http, "https, http"), "101", "101"),
        // A proxy that does not say the scheme may have any.
        (https.to_owned(), "101", "403"),
        (http.to_owned(), "101", "101"),
        (
            "Origin: https://shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n".into(),
            "101",
            "403",
        ),
        ("Origin: https://a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n".into(), "403", "403"),
    ] {
        assert_eq!(ask(PEERS, &lines), proxy, "from a proxy: {lines}");
        assert_eq!(ask("192.0.2.0/24", &lines), stranger, "from a stranger: {lines}");
    }
}

#[test]
fn a_route_for_https_takes_what_a_trusted_proxy_has_got_over_it() {
    let ask = |trusted: &str, lines: &str| {
        let mut bench = bench(trusted);
        let core = &mut bench.shards[0].as_mut().unwrap().core;
        let stream = RouteTarget::Sse { channels: vec![ChannelTemplate::parse("news").unwrap()], retry: SECOND };
        let site = Site::new(["shop.example".into()], Some(Scheme::Https));
        add_routes(&mut core.desk.settings, [Route { site, ..route("/sse-shop", stream) }]);
        let mut peer = bench.connect(0, 0);
        peer.say(request("/sse-shop").replacen("\r\n", &format!("\r\n{lines}"), 1));
        bench.run_for(SECOND / 10);
        peer.hear()[9..12].to_owned()
    };
    let lines = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
    assert_eq!(ask(PEERS, lines), "200");
    assert_eq!(ask(PEERS, "X-Forwarded-Host: shop.example\r\n"), "404", "the scheme is unknown");
    assert_eq!(ask(PEERS, "X-Forwarded-Proto: https\r\n"), "404");
    assert_eq!(ask("192.0.2.0/24", lines), "404", "from a stranger");
}

#[test]
fn a_header_as_long_as_a_head_changes_nothing() {
    let mut bench = bench(PEERS);
    let mut bystander = bench.open(0, "/ws/1");
    let mut proxy = bench.connect(0, 0);
    let entries = "1.2.3.4,".repeat(1_800);
    for lines in [format!("X-Forwarded-For: {entries}203.0.113.7\r\n"), "X-Forwarded-For: ::\r\n".repeat(80)] {
        assert_eq!(post(&mut bench, &mut proxy, &lines), "202");
    }
    proxy.say(format!("GET /sse/1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {}\r\n\r\n", "1.2.3.4,".repeat(8_000)));
    bench.run_for(SECOND / 10);
    assert!(proxy.hear().starts_with("HTTP/1.1 431 "));
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_worker_is_told_the_request_and_the_trace_of_a_trusted_proxy_and_no_strangers() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (trusted, is_told) in [(PEERS, true), ("192.0.2.0/24", false)] {
        let mut bench = bench(trusted);
        let mut worker = bench.connect(0, BUS);
        worker.say("CONNECT {\"headers\":true}\r\nSUB tg.service.jobs workers 1\r\n");
        bench.run_for(SECOND / 10);
        let client = bench.connect(0, 0);
        client.say(format!(
            "POST /jobs HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\
             Content-Length: 2\r\n\r\n{{}}"
        ));
        bench.run_for(SECOND / 10);
        let heard = worker.hear();
        let value = |name: &str| {
            let line =
                heard.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {heard}"));
            line.trim_start_matches([':', ' ']).to_owned()
        };
        let (id, trace) = (value("X-Request-Id"), value("traceparent"));
        assert_eq!((id == "theirs", trace.starts_with(&format!("00-{TRACE}-"))), (is_told, is_told), "{heard}");
        assert!(!trace.contains("00f067aa0ba902b7"), "the gateway has a span of its own");
        assert_eq!(trace.ends_with("-01"), is_told, "a stranger's wish to be recorded is not believed");
    }
}
