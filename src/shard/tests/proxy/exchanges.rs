//! A request there and its answer back: the bytes on both sides.

use super::*;

#[test]
fn a_request_reaches_its_server_and_the_answer_its_client() {
    let (mut stage, mut client, mut server) = asked(GET);
    let request = raw(&mut server);
    assert!(request.starts_with("GET /api/a?b=c HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.0.0."), "{request}");
    assert!(request.contains("\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop\r\nX-Request-Id: "), "{request}");
    let trace = request.lines().find_map(|line| line.strip_prefix("traceparent: 00-")).expect("a trace");
    assert_eq!((trace.len(), &trace[32..33], &trace[49..]), (52, "-", "-00"), "{trace}");
    assert!(request.contains("\r\nVia: 1.1 tidegate-") && request.ends_with("\r\n\r\n"), "{request}");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    stage.end_without((client, server));
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
    stage.end_without((first, second, server));
}

#[test]
fn requests_that_come_together_are_answered_one_after_the_other() {
    let (mut stage, mut client, mut server) = asked(&GET.repeat(3));
    for _ in 0..3 {
        assert_eq!(raw(&mut server).matches("GET ").count(), 1, "the next one waits for the answer");
        server.say(OK);
        stage.run();
        assert_eq!(raw(&mut client), OK);
    }
    stage.end_without((client, server));
}

#[test]
fn bodies_go_both_ways_as_they_come() {
    let (mut stage, mut client, mut server) =
        asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhello");
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
    stage.end_without((client, server));
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
    let (mut stage, mut client, mut server) = asked("HEAD /api/a HTTP/1.1\r\nHost: shop\r\n\r\n");
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
    stage.end_without((client, server));
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
    stage.end_without((client, server));
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
    stage.end_without((client, server));
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
    stage.end_without((client, server));
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
    stage.end_without((client, server));
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
        stage.end_without((client, server));
    }
}

#[test]
fn a_request_that_comes_back_to_the_gateway_is_a_loop() {
    let (mut stage, client, mut server) = asked(GET);
    let request = raw(&mut server);
    let via = request.lines().find(|line| line.starts_with("Via: ")).expect("it names itself").to_owned();
    let mut again = stage.client();
    again.say(format!("GET /api/a HTTP/1.1\r\nHost: shop\r\n{via}\r\n\r\n"));
    stage.run();
    assert_eq!(status(&mut again), "508");
    stage.end_without((client, server, again));
}

// --- a server fails ------------------------------------------------------------------------------------------------------
