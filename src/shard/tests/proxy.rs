//! Proxied requests: the bytes on both sides, and a test for each way in which a server or a client can fail the other
//! one. A bystander goes on being served.

mod cast;
mod logged;
mod proven;
mod secured;
mod servers;
mod talk;
mod tunnels;

use super::*;
use crate::conn::route::{AuthId, ForwardedHost, ProxyRoute};
use crate::driver::sim::{DialFate, SimService};
use crate::proto::upstream::{UpstreamId, UpstreamRule};

/// One shard before some servers, and a bystander.
struct Stage {
    bench: Bench,
    services: Vec<SimService>,
    bystander: Peer,
}

/// A gateway whose `/api/*` leads to so many servers.
fn stage(servers: u8, change: impl FnOnce(&mut ProxyRoute, &mut UpstreamRule)) -> Stage {
    stage_with(settings(), servers, change)
}

fn stage_with(mut settings: Settings, servers: u8, change: impl FnOnce(&mut ProxyRoute, &mut UpstreamRule)) -> Stage {
    let address = |number: u8| SocketAddr::from(([10, 9, 0, number], 80));
    let mut rule = UpstreamRule::new("app");
    for number in 0..servers {
        rule = rule.with(&address(number).to_string(), address(number));
    }
    let mut target = ProxyRoute::new(UpstreamId(0));
    change(&mut target, &mut rule);
    settings.generation_mut().upstreams = [rule].into();
    let auth = if settings.generation.auths.is_empty() { Box::default() } else { [AuthId(0)].into() };
    let any = Route {
        auth,
        methods: vec![crate::conn::route::ANY_METHOD.into()],
        ..route("/api/*", RouteTarget::Proxy(Box::new(target)))
    };
    add_routes(&mut settings, [any]);
    let mut bench = Bench::new(1, settings);
    let services = (0..servers).map(|number| bench.world.serve_calm(address(number))).collect();
    let bystander = bench.open(0, "/ws/1");
    Stage { bench, services, bystander }
}

/// The usual stage.
fn plain() -> Stage {
    stage(1, |_, _| {})
}

impl Stage {
    fn client(&self) -> Peer {
        self.bench.connect(0, 0)
    }

    fn run(&mut self) {
        self.bench.run_for(SECOND / 10);
    }

    /// The bystander says something now and then.
    fn wait(&mut self, mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(10 * SECOND);
            time -= step;
            self.bench.run_for(step - SECOND / 10);
            expect_echo(&mut self.bench, &mut self.bystander);
        }
    }

    /// A client has sent this request, and a server has it.
    fn asked(&mut self, request: &str) -> (Peer, Peer) {
        let client = self.client();
        client.say(request);
        self.run();
        let server = self.accept().expect("a connection");
        (client, server)
    }

    /// The next connection that the gateway has dialled.
    fn accept(&self) -> Option<Peer> {
        self.services.iter().find_map(SimService::accept).map(Peer::new)
    }

    /// The bystander is served, and nothing is left of what was proxied.
    fn end(mut self) {
        expect_echo(&mut self.bench, &mut self.bystander);
        self.wait(2 * limits::UPSTREAM_KEEP_ALIVE + 2 * limits::CLOSE_TIMEOUT);
        let census = self.bench.census(0);
        assert_eq!((census.connections, census.stopped_halves), (1, 0), "only the bystander is there: {census:?}");
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.bench.closed(0, reason)
    }
}

/// All bytes that have arrived since the last time, as they are.
fn raw(peer: &mut Peer) -> String {
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    String::from_utf8_lossy(&std::mem::take(&mut peer.heard)).into_owned()
}

fn status(peer: &mut Peer) -> String {
    raw(peer).get(9..12).unwrap_or_default().to_owned()
}

const GET: &str = "GET /api/a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_request_reaches_its_server_and_the_answer_its_client() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked(GET);
    let request = raw(&mut server);
    assert!(request.starts_with("GET /api/a?b=c HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.0.0."), "{request}");
    assert!(request.contains("\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop\r\nX-Request-Id: "), "{request}");
    let trace = request.lines().find_map(|line| line.strip_prefix("traceparent: 00-")).expect("a trace");
    assert_eq!((trace.len(), &trace[32..33], &trace[49..]), (52, "-", "-00"), "{trace}");
    assert!(request.contains("\r\nVia: 1.1 tidegate-") && request.ends_with("\r\n\r\n"), "{request}");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
}

#[test]
fn one_connection_to_a_server_carries_the_requests_of_several_clients() {
    let mut stage = plain();
    let (mut first, mut server) = stage.asked(GET);
    raw(&mut server);
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut first), OK);
    let mut second = stage.client();
    for client in [&mut first, &mut second] {
        client.say(GET);
        stage.run();
        assert!(raw(&mut server).starts_with("GET /api/a?b=c "));
        assert!(stage.accept().is_none(), "no other connection");
        server.say(OK);
        stage.run();
        assert_eq!(raw(client), OK);
    }
    drop((first, second, server));
    stage.end();
}

#[test]
fn requests_that_come_together_are_answered_one_after_the_other() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked(&GET.repeat(3));
    for _ in 0..3 {
        assert_eq!(raw(&mut server).matches("GET ").count(), 1, "the next one waits for the answer");
        server.say(OK);
        stage.run();
        assert_eq!(raw(&mut client), OK);
    }
    drop((client, server));
    stage.end();
}

#[test]
fn bodies_go_both_ways_as_they_come() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhello");
    let request = raw(&mut server);
    assert!(request.contains("\r\nContent-Length: 10\r\n") && request.ends_with("\r\n\r\nhello"), "{request}");
    client.say("world");
    stage.run();
    assert_eq!(raw(&mut server), "world");
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    stage.run();
    assert_eq!(raw(&mut client), "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    server.say("4;x=y\r\ntwo!\r\n0\r\nTrailer: a\r\n\r\n");
    stage.run();
    assert_eq!(raw(&mut client), "4\r\ntwo!\r\n0\r\n\r\n", "extensions and trailers are dropped");
    client.say("POST /api/a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    stage.run();
    let request = raw(&mut server);
    assert!(
        request.contains("\r\nTransfer-Encoding: chunked\r\n") && request.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    );
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
}

#[test]
fn a_body_that_lasts_until_the_end_is_chunked_for_a_client_that_knows_chunks() {
    let mut stage = plain();
    for (version, expected) in [
        ("1.1", "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ("1.0", "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\n\r\nhi"),
    ] {
        let (mut client, server) = stage.asked(&format!("GET /api/a HTTP/{version}\r\nHost: shop\r\n\r\n"));
        server.say("HTTP/1.0 200 OK\r\nDate: now\r\n\r\nhi");
        server.end.shutdown_write();
        stage.run();
        assert_eq!(raw(&mut client), expected);
        assert_eq!(client.is_at_end(), version == "1.0");
    }
    assert_eq!(stage.closed(CloseReason::UpstreamBroke), 0);
    stage.end();
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked("HEAD /api/a HTTP/1.1\r\nHost: shop\r\n\r\n");
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 9\r\n\r\n");
    stage.run();
    assert_eq!(raw(&mut client), "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 9\r\n\r\n");
    for answer in ["HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nDate: now\r\n\r\n"] {
        client.say(GET);
        stage.run();
        raw(&mut server);
        server.say(answer);
        stage.run();
        assert_eq!(raw(&mut client), answer);
    }
    drop((client, server));
    stage.end();
}

#[test]
fn a_client_that_expects_100_hears_it_from_the_gateway() {
    let mut stage = plain();
    let (mut client, mut server) =
        stage.asked("PUT /api/a HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(raw(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(!raw(&mut server).contains("Expect"));
    client.say("ab");
    server.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    stage.run();
    assert_eq!(raw(&mut client), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
}

#[test]
fn an_early_answer_is_passed_on_and_neither_connection_is_used_again() {
    let mut stage = plain();
    let (mut client, mut server) =
        stage.asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\nhello");
    server.say("HTTP/1.1 413 Content Too Large\r\nDate: now\r\nContent-Length: 0\r\n\r\n");
    stage.run();
    let answer = raw(&mut client);
    assert_eq!(answer, "HTTP/1.1 413 Content Too Large\r\nDate: now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.say("GET /api/smuggled HTTP/1.1\r\nHost: shop\r\n\r\n");
    stage.run();
    assert!(!raw(&mut server).contains("smuggled") && server.is_at_end() && client.is_at_end());
    assert!(stage.accept().is_none());
    drop((client, server));
    stage.end();
}

#[test]
fn a_body_that_fills_the_way_to_its_server_is_whole_when_its_last_piece_is_on_the_way() {
    let mut stage = plain();
    // The server reads nothing, and its end of the connection takes less than the first two; the last one is too much.
    let pieces = [32, 32, 20, 20].map(|kilobytes| "x".repeat(kilobytes * 1024));
    let body = pieces.concat();
    let head = format!("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: {}\r\n\r\n", body.len());
    let (mut client, mut server) = stage.asked(&head);
    for piece in &pieces {
        client.say(piece);
        stage.run();
    }
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK, "both connections live on");
    client.say(GET);
    stage.run();
    let mut asked = raw(&mut server);
    while asked.len() < body.len() {
        stage.run();
        asked += &raw(&mut server);
    }
    stage.run();
    asked += &raw(&mut server);
    let (_, rest) = asked.split_once("\r\n\r\n").expect("a head");
    assert_eq!(&rest[..body.len()], body);
    assert!(rest[body.len()..].starts_with("GET /api/a?b=c HTTP/1.1\r\n"), "{}", &rest[body.len()..]);
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
}

#[test]
fn the_path_that_is_matched_is_the_path_that_is_forwarded() {
    let mut stage = stage(1, |target, _| {
        target.strip = Some("/api".into());
        target.host = ForwardedHost::Server;
    });
    let (mut client, mut server) = stage.asked("GET //%61pi///x/%7e%c3%a9?%61 HTTP/1.1\r\nHost: shop\r\n\r\n");
    let request = raw(&mut server);
    assert!(request.starts_with("GET /x/~%C3%A9?%61 HTTP/1.1\r\nHost: 10.9.0.0:80\r\n"), "{request}");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    for path in ["/api/%2e%2e/x", "/api/a%2fb", "/api/%5cx", "/api/a%0d%0ab"] {
        let mut client = stage.client();
        client.say(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n"));
        stage.run();
        assert_eq!(status(&mut client), "400", "{path}");
    }
    drop((client, server));
    stage.end();
}

#[test]
fn a_field_that_is_left_out_for_its_name_is_counted() {
    for (takes_any_name, left_out) in [(false, 2), (true, 1)] {
        let mut stage = stage(1, |target, _| target.takes_any_name = takes_any_name);
        let (client, mut server) =
            stage.asked("GET /api/a HTTP/1.1\r\nHost: shop\r\nX_Tenant: a\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n");
        let request = raw(&mut server);
        assert_eq!(
            (request.contains("X_Tenant: a"), request.contains("1.2.3.4")),
            (takes_any_name, false),
            "{request}"
        );
        assert_eq!(stage.bench.core(0).desk.counters().fields_left_out.value(), left_out);
        server.say(OK);
        stage.run();
        drop((client, server));
        stage.end();
    }
}

#[test]
fn a_request_that_comes_back_to_the_gateway_is_a_loop() {
    let mut stage = plain();
    let (client, mut server) = stage.asked(GET);
    let request = raw(&mut server);
    let via = request.lines().find(|line| line.starts_with("Via: ")).expect("it names itself").to_owned();
    let mut again = stage.client();
    again.say(format!("GET /api/a HTTP/1.1\r\nHost: shop\r\n{via}\r\n\r\n"));
    stage.run();
    assert_eq!(status(&mut again), "508");
    drop((client, server, again));
    stage.end();
}

// --- a server fails ------------------------------------------------------------------------------------------------------

#[test]
fn a_server_that_refuses_is_followed_by_another() {
    let mut stage = stage(2, |_, _| {});
    // One of the two refuses, whichever is drawn first.
    stage.services[0].decide(DialFate::Refused);
    for _ in 0..8 {
        let (mut client, mut server) = stage.asked("GET /api/a HTTP/1.1\r\nHost: shop\r\n\r\n");
        raw(&mut server);
        server.say("HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        stage.run();
        assert_eq!(raw(&mut client), OK);
    }
    assert_eq!(stage.closed(CloseReason::UpstreamRefused), 0, "no client has noticed");
    stage.end();
}

#[test]
fn a_server_that_refuses_alone_is_502_and_the_connection_lives_on() {
    let mut stage = plain();
    stage.services[0].decide(DialFate::Refused);
    let mut client = stage.client();
    client.say(GET);
    stage.run();
    let refusal = raw(&mut client);
    assert!(refusal.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && !refusal.contains("Connection: close"), "{refusal}");
    assert_eq!(stage.closed(CloseReason::UpstreamRefused), 1);
    client.say(GET);
    stage.run();
    let server = stage.accept().expect("it is asked again");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
}

#[test]
fn an_event_source_whose_server_is_away_gets_an_empty_stream_and_comes_back() {
    let mut stage = stage(1, |_, rule| rule.in_flight_max = Some(1));
    let events = "GET /api/a HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n\r\n";
    stage.services[0].decide(DialFate::Refused);
    let mut client = stage.client();
    client.say(events);
    stage.run();
    let stream = client.hear();
    assert!(stream.starts_with("HTTP/1.1 200 OK\r\n") && stream.contains("\r\n\r\nretry: "), "{stream}");
    assert!(client.has_last_chunk() && client.is_at_end());
    assert_eq!(stage.closed(CloseReason::UpstreamRefused), 1, "it is counted all the same");
    let (first, server) = stage.asked(GET);
    let mut queued = stage.client();
    queued.say(events);
    stage.wait(limits::UPSTREAM_QUEUE_WAIT + SECOND / 2);
    assert!(queued.hear().contains("\r\n\r\nretry: ") && queued.has_last_chunk());
    drop((client, first, server, queued));
    stage.end();
}

#[test]
fn a_refusal_before_the_body_has_come_ends_the_connection() {
    let mut stage = plain();
    stage.services[0].decide(DialFate::Refused);
    let mut client = stage.client();
    client.say("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n");
    stage.run();
    let refusal = raw(&mut client);
    assert!(refusal.starts_with("HTTP/1.1 502 ") && refusal.contains("Connection: close"), "{refusal}");
    client.say(GET);
    stage.run();
    assert!(stage.accept().is_none() && client.is_at_end(), "what follows is no request");
    drop(client);
    stage.end();
}

#[test]
fn a_server_that_does_not_connect_in_time_is_504() {
    let mut stage = plain();
    stage.services[0].decide(DialFate::Silent);
    let mut client = stage.client();
    client.say(GET);
    stage.wait(limits::CONNECT_TIMEOUT - SECOND / 10);
    assert_eq!(raw(&mut client), "");
    stage.wait(SECOND / 2);
    assert_eq!(status(&mut client), "504");
    assert_eq!(stage.closed(CloseReason::UpstreamConnectTimeout), 1);
    drop(client);
    stage.end();
}

#[test]
fn a_full_server_lets_requests_wait_and_the_queue_is_bounded() {
    let mut stage = stage(1, |_, rule| {
        rule.in_flight_max = Some(1);
        rule.queue_max = 1;
    });
    let (mut first, server) = stage.asked(GET);
    let (mut second, mut third) = (stage.client(), stage.client());
    second.say(GET);
    stage.run();
    third.say(GET);
    stage.run();
    let refusal = raw(&mut third);
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("\r\nRetry-After: "), "{refusal}");
    assert_eq!((raw(&mut second), stage.closed(CloseReason::UpstreamBusy)), (String::new(), 1));
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut first), OK);
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut second), OK, "its turn has come, on the same connection");
    drop((first, second, third, server));
    stage.end();
}

#[test]
fn a_request_that_has_waited_too_long_is_503() {
    let mut stage = stage(1, |_, rule| rule.in_flight_max = Some(1));
    let (first, server) = stage.asked(GET);
    let mut second = stage.client();
    second.say(GET);
    stage.wait(limits::UPSTREAM_QUEUE_WAIT + SECOND / 2);
    assert_eq!(status(&mut second), "503");
    assert_eq!(stage.closed(CloseReason::UpstreamBusy), 1);
    drop((first, second, server));
    stage.end();
}

#[test]
fn a_client_that_leaves_the_queue_leaves_its_place() {
    let mut stage = stage(1, |_, rule| {
        rule.in_flight_max = Some(1);
        rule.queue_max = 1;
    });
    let (first, server) = stage.asked(GET);
    let (second, mut third) = (stage.client(), stage.client());
    second.say(GET);
    stage.run();
    second.end.reset();
    stage.run();
    third.say(GET);
    stage.run();
    assert_eq!(raw(&mut third), "", "there is room in the queue");
    third.end.reset();
    stage.run();
    drop((first, server));
    stage.end();
}

#[test]
fn a_server_that_closes_a_new_connection_without_an_answer_is_502() {
    let mut stage = plain();
    let (mut client, server) = stage.asked(GET);
    drop(server);
    stage.run();
    assert_eq!(status(&mut client), "502");
    assert_eq!(stage.closed(CloseReason::UpstreamClosed), 1);
    assert!(stage.accept().is_none(), "it may have done what was asked");
    drop(client);
    stage.end();
}

/// A client with a connection to a server that is idle and about to be closed, and what it asks next.
fn race(request: &str, idle: Duration) -> (Stage, Peer) {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked(GET);
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    raw(&mut server);
    stage.wait(idle);
    client.say(request);
    stage.run();
    if !raw(&mut server).is_empty() {
        server.end.reset();
        stage.run();
    }
    (stage, client)
}

#[test]
fn a_reused_connection_that_closes_without_an_answer_is_followed_by_a_new_one_where_that_is_safe() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let (mut stage, mut client) = race(&format!("{method} /api/a HTTP/1.1\r\nHost: shop\r\n\r\n"), 2 * SECOND);
        let mut server = stage.accept().unwrap_or_else(|| panic!("{method} is repeated"));
        assert!(raw(&mut server).starts_with(method));
        server.say("HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
        stage.run();
        assert_eq!(status(&mut client), "204", "{method}");
        drop((client, server));
        stage.end();
    }
}

#[test]
fn a_request_that_must_not_be_repeated_is_not_and_gets_a_new_connection_if_the_idle_one_is_old() {
    let post = "POST /api/a HTTP/1.1\r\nHost: shop\r\n\r\n";
    let (stage, mut client) = race(post, SECOND / 10);
    assert!(stage.accept().is_none());
    assert_eq!((status(&mut client), stage.closed(CloseReason::UpstreamClosed)), ("502".to_owned(), 1));
    drop(client);
    stage.end();
    let (mut stage, mut client) = race(post, 2 * SECOND);
    let server = stage.accept().expect("the idle one may be about to close");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server));
    stage.end();
    let (stage, mut client) = race("PUT /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\nx", 2 * SECOND);
    assert!(stage.accept().is_none(), "its body is gone");
    assert_eq!(status(&mut client), "502");
    drop(client);
    stage.end();
}

#[test]
fn a_request_is_repeated_once() {
    let (mut stage, mut client) = race(GET, 2 * SECOND);
    stage.accept().expect("a new connection").end.reset();
    stage.run();
    assert_eq!(status(&mut client), "502");
    assert!(stage.accept().is_none());
    drop(client);
    stage.end();
}

#[test]
fn a_server_without_an_answer_in_time_is_504() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked(GET);
    stage.wait(limits::PROXY_RESPONSE_TIMEOUT - SECOND);
    assert_eq!(raw(&mut client), "");
    stage.wait(2 * SECOND);
    assert_eq!(status(&mut client), "504");
    raw(&mut server);
    assert!(server.is_at_end());
    assert_eq!(stage.closed(CloseReason::UpstreamTimeout), 1);
    drop((client, server));
    stage.end();
}

#[test]
fn an_answer_that_is_none_is_502() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        &"HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
        &format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(limits::ANSWER_HEAD_BYTES_MAX)),
    ] {
        let mut stage = plain();
        let (mut client, mut server) = stage.asked(GET);
        let mut bytes = garbage.as_bytes();
        while !bytes.is_empty() && server.end.is_open() {
            bytes = &bytes[server.end.write(bytes)..];
            stage.run();
        }
        assert_eq!(status(&mut client), "502", "{garbage:.40}");
        raw(&mut server);
        assert!(server.is_at_end());
        assert_eq!(stage.closed(CloseReason::UpstreamGarbage), 1);
        client.say(GET);
        stage.run();
        let server = stage.accept().expect("the client is served again");
        server.say(OK);
        stage.run();
        assert_eq!(raw(&mut client), OK);
        drop((client, server));
        stage.end();
    }
}

#[test]
fn a_server_that_dies_in_the_body_cuts_its_client_without_a_last_chunk() {
    for (framing, rest) in [("Content-Length: 9", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")] {
        let mut stage = plain();
        let (mut client, server) = stage.asked(GET);
        server.say(format!("HTTP/1.1 200 OK\r\nDate: now\r\n{framing}\r\n\r\n{rest}"));
        stage.run();
        drop(server);
        stage.run();
        let answer = raw(&mut client);
        assert!(answer.ends_with(&format!("\r\n\r\n{rest}")), "{answer}");
        assert!(client.is_at_end());
        assert_eq!(stage.closed(CloseReason::UpstreamBroke), 1);
        drop(client);
        stage.end();
    }
}

#[test]
fn a_server_that_stalls_in_the_body_cuts_its_client() {
    let mut stage = plain();
    let (mut client, server) = stage.asked(GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 9\r\n\r\nhel");
    stage.wait(limits::PROXY_IDLE_TIMEOUT - SECOND);
    server.say("lo");
    stage.wait(limits::PROXY_IDLE_TIMEOUT - SECOND);
    raw(&mut client);
    assert!(!client.is_at_end());
    stage.wait(2 * SECOND);
    assert!(client.is_at_end());
    assert_eq!(stage.closed(CloseReason::UpstreamBroke), 1);
    drop((client, server));
    stage.end();
}

#[test]
fn an_event_stream_may_be_silent_for_longer_and_each_event_comes_at_once() {
    let mut stage = plain();
    let (mut client, server) = stage.asked(GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n");
    stage.wait(5 * limits::PROXY_IDLE_TIMEOUT);
    server.say("data: a\n\n");
    stage.run();
    assert!(raw(&mut client).ends_with("\r\n\r\n9\r\ndata: a\n\n\r\n"));
    stage.wait(limits::PROXY_STREAM_IDLE + limits::KEEP_ALIVE_TIMEOUT);
    assert!(client.is_at_end());
    drop((client, server));
    stage.end();
}

#[test]
fn more_bytes_than_announced_reach_no_other_client() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked(GET);
    server.say(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"));
    stage.run();
    assert_eq!(raw(&mut client), OK);
    client.say(GET);
    stage.run();
    raw(&mut server);
    assert!(server.is_at_end(), "it is not used again");
    let other = stage.accept().expect("a new connection");
    other.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    // The same on a connection that has been idle for a while.
    stage.wait(SECOND);
    other.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    stage.run();
    client.say(GET);
    stage.run();
    let third = stage.accept().expect("a new connection");
    third.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    drop((client, server, other, third));
    stage.end();
}

#[test]
fn a_server_that_takes_nothing_of_a_body_is_504_and_its_client_is_not_read_meanwhile() {
    let mut stage = plain();
    let client = stage.client();
    client.say("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000000\r\n\r\n");
    stage.run();
    let server = stage.accept().expect("a connection");
    let mut sent = 0;
    for _ in 0..100 {
        sent += client.end.write(&[b'x'; 64 * 1024]);
        stage.run();
    }
    assert!(sent < 2_000_000, "{sent} bytes wait somewhere");
    assert_eq!(stage.bench.census(0).stopped_halves, 1);
    let mut client = client;
    stage.wait(5 * limits::SEND_TIMEOUT);
    assert_eq!(status(&mut client), "504");
    assert_eq!(stage.closed(CloseReason::UpstreamTimeout), 1);
    drop((client, server));
    stage.end();
}

// --- a client fails ------------------------------------------------------------------------------------------------------

#[test]
fn a_client_that_goes_away_takes_its_servers_connection_with_it() {
    for (answer, request) in [
        ("", GET),
        ("", "POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhel"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", GET),
    ] {
        let mut stage = plain();
        let (client, mut server) = stage.asked(request);
        server.say(answer);
        stage.run();
        client.end.reset();
        stage.run();
        raw(&mut server);
        assert!(server.is_at_end(), "at once");
        drop(server);
        stage.end();
    }
}

#[test]
fn a_client_that_ends_its_half_of_an_event_stream_has_gone() {
    let mut stage = plain();
    let (client, mut server) = stage.asked(GET);
    server.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n");
    stage.run();
    client.end.shutdown_write();
    stage.run();
    raw(&mut server);
    assert!(server.is_at_end());
    drop((client, server));
    stage.end();
}

#[test]
fn a_client_that_ends_its_half_gets_its_answer() {
    let mut stage = plain();
    let (mut client, server) = stage.asked(GET);
    client.end.shutdown_write();
    stage.run();
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    assert!(client.is_at_end());
    drop((client, server));
    stage.end();
}

#[test]
fn a_client_that_takes_nothing_is_slow_and_its_server_is_not_read_meanwhile() {
    let mut stage = plain();
    let (client, server) = stage.asked(GET);
    server.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let mut sent = 0;
    for _ in 0..100 {
        sent += server.end.write(&[b'x'; 64 * 1024]);
        stage.run();
    }
    assert!(sent < 2_000_000, "{sent} bytes wait somewhere");
    assert_eq!(stage.bench.census(0).stopped_halves, 1);
    stage.wait(5 * limits::SEND_TIMEOUT);
    assert_eq!(stage.closed(CloseReason::SlowConsumer), 1);
    assert_eq!(stage.closed(CloseReason::UpstreamBroke), 0, "the server is not to blame");
    drop((client, server));
    stage.end();
}

#[test]
fn a_slow_client_gets_all_of_a_long_answer() {
    const SIZE: usize = 3_000_000;
    let mut stage = plain();
    let (client, server) = stage.asked(GET);
    server.say(format!("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: {SIZE}\r\n\r\n"));
    let body: Vec<u8> = (0..SIZE).map(|index| (index / 7) as u8).collect();
    let (mut sent, mut heard) = (0, Vec::new());
    for _ in 0..10_000 {
        sent += server.end.write(&body[sent..]);
        stage.bench.run_for(SECOND / 100);
        client.end.read_at_most(16 * 1024, &mut heard);
        if sent == SIZE && heard.len() > SIZE {
            break;
        }
    }
    assert!(heard.ends_with(&body), "{} of {SIZE}", heard.len());
    drop((client, server));
    stage.end();
}

#[test]
fn a_client_whose_body_stops_is_408_and_one_that_goes_on_is_not() {
    let mut stage = plain();
    let (mut client, mut server) = stage.asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..20 {
        client.say([b'x'; 5_000]);
        raw(&mut server);
        stage.wait(9 * SECOND);
    }
    assert_eq!(raw(&mut client), "", "three minutes, and it goes on");
    stage.wait(2 * limits::BODY_TIMEOUT + SECOND);
    assert_eq!(status(&mut client), "408");
    drop((client, server));
    stage.end();
}

#[test]
fn a_malformed_body_is_400_and_reaches_no_server_whole() {
    let mut stage = plain();
    let (mut client, mut server) =
        stage.asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.say("zz\r\n0\r\n\r\n");
    stage.run();
    assert_eq!(status(&mut client), "400");
    assert!(!raw(&mut server).ends_with("0\r\n\r\n") && server.is_at_end());
    drop((client, server));
    stage.end();
}

#[test]
fn a_body_above_the_routes_bound_is_413() {
    let mut stage = stage(1, |target, _| target.body_bytes_max = Some(5));
    let mut client = stage.client();
    client.say("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n");
    stage.run();
    assert_eq!(status(&mut client), "413");
    let (mut client, mut server) =
        stage.asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n");
    assert_eq!(status(&mut client), "413");
    raw(&mut server);
    assert!(server.is_at_end());
    drop((client, server));
    stage.end();
}

// --- the gateway goes away -----------------------------------------------------------------------------------------------

#[test]
fn a_drain_waits_for_answers_and_leaves_no_idle_connection() {
    let mut stage = plain();
    let (mut client, server) = stage.asked(GET);
    stage.bench.drain();
    stage.bench.run_for(SECOND);
    server.say(OK);
    stage.run();
    assert!(raw(&mut client).ends_with("\r\nConnection: close\r\n\r\nhi"));
    assert!(client.is_at_end());
    stage.bench.run_for(3 * limits::CLOSE_TIMEOUT);
    assert!(stage.bench.is_over());
}

#[test]
fn a_mark_leads_a_client_to_its_server() {
    let mut stage = stage(4, |_, rule| rule.sticky = Some("tg_app".into()));
    let (mut client, mut server) = stage.asked(GET);
    let first = server.end.address();
    raw(&mut server);
    server.say(OK);
    stage.run();
    let answer = raw(&mut client);
    let cookie = answer.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).expect("a mark");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let mark = cookie.split(';').next().unwrap_or_default().to_owned();
    for _ in 0..8 {
        // The connection is idle or in use: others must lead to the same server.
        let mut other = stage.client();
        other.say(format!("POST /api/a HTTP/1.1\r\nHost: shop\r\nCookie: a=b; {mark}\r\n\r\n"));
        stage.wait(2 * SECOND);
        let taken = stage.accept();
        let server = taken.as_ref().unwrap_or(&server);
        assert_eq!(server.end.address(), first);
        server.say(OK);
        stage.run();
        assert_eq!(raw(&mut other), OK, "it has the mark");
    }
    drop((client, server));
    stage.end();
}
