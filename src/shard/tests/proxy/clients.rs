//! Clients that leave, stop, or take nothing, and the end of a gateway.

use super::*;

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
