//! Clients that leave, stop, or take nothing, and the end of a gateway.

use std::io::Write;

use super::*;
use crate::proto::upstream::ServerId;
use crate::shard::tests::unfinished::TlsPeer;

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
    stage.end_without((client, server));
}

// --- a client fails ------------------------------------------------------------------------------------------------------

#[test]
fn a_client_that_goes_away_takes_its_servers_connection_with_it() {
    for (answer, request) in [
        ("", GET),
        ("", "POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhel"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", GET),
    ] {
        let (mut stage, client, mut server) = asked(request);
        server.say(answer);
        stage.run();
        client.end.reset();
        stage.run();
        raw(&mut server);
        assert!(server.is_at_end(), "at once");
        stage.end_without(server);
    }
}

#[test]
fn a_client_that_ends_its_half_of_an_event_stream_has_gone() {
    let (mut stage, client, mut server) = asked(GET);
    server.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n");
    stage.run();
    client.end.shutdown_write();
    stage.run();
    raw(&mut server);
    assert!(server.is_at_end());
    stage.end_without((client, server));
}

#[test]
fn a_client_that_ends_its_half_before_its_answer_frees_the_server_at_once() {
    let post = "POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello";
    let upgrade = super::tunnels::upgrade("");
    for (request, interim) in [(GET, ""), (GET, "HTTP/1.1 103 Early Hints\r\n\r\n"), (post, ""), (&upgrade, "")] {
        let (mut stage, mut client, mut server) = asked(request);
        server.say(interim);
        stage.run();
        raw(&mut client);
        client.end.shutdown_write();
        stage.run();
        raw(&mut server);
        assert!(server.is_at_end() && client.is_at_end(), "{request}");
        assert_eq!((raw(&mut client).as_str(), stage.closed(CloseReason::PeerClosed)), ("", 1));
        let id = ServerId { upstream: UpstreamId(0), server: 0 };
        let counters = &stage.bench.core(0).desk.counters;
        assert_eq!(
            counters.iter().filter_map(|shard| shard.server(id)).map(|server| server.abandoned.value()).sum::<u64>(),
            1
        );
        stage.end_without((client, server));
    }
}

#[test]
fn a_client_that_ends_its_half_within_its_answer_gets_the_rest() {
    let (mut stage, mut client, server) = asked(GET);
    server.say(&OK[..OK.len() - 1]);
    stage.run();
    client.end.shutdown_write();
    stage.run();
    server.say("i");
    stage.run();
    assert_eq!(raw(&mut client), OK);
    assert!(client.is_at_end());
    stage.end_without((client, server));
}

/// A client leaves.
const DEPARTURES: [fn(Peer); 3] = [
    |client| client.end.reset(),
    |client| drop(client),
    |client| {
        client.end.shutdown_write();
        std::mem::forget(client);
    },
];

#[test]
fn a_request_whose_client_leaves_in_the_queue_reaches_no_server() {
    for leave in DEPARTURES {
        let mut stage = stage(1, |_, rule| rule.in_flight_max = Some(1));
        let (mut first, mut server) = stage.asked(GET);
        let queued = stage.client();
        queued.say("GET /api/queued HTTP/1.1\r\nHost: shop\r\n\r\n");
        stage.run();
        leave(queued);
        stage.run();
        server.say(OK);
        stage.run();
        assert_eq!(raw(&mut first), OK);
        assert!(!raw(&mut server).contains("queued"));
        assert!(stage.accept().is_none());
        stage.end_without((first, server));
    }
}

#[test]
fn a_dial_whose_client_leaves_is_closed() {
    for leave in DEPARTURES {
        let mut stage = plain();
        stage.services[0].decide(DialFate::Silent);
        let client = stage.client();
        client.say(GET);
        stage.run();
        leave(client);
        stage.bench.run_for(SECOND + limits::CLOSE_TIMEOUT);
        assert_eq!(stage.bench.census(0).connections, 1, "the bystander's");
        stage.end();
    }
}

#[test]
fn a_client_behind_tls_that_closes_is_noticed_and_one_that_sends_its_next_request_is_not_gone() {
    for closes in [true, false] {
        let mut stage = plain();
        let mut client = TlsPeer::open_with(&mut stage.bench, GET);
        let mut server = stage.accept().expect("a connection");
        raw(&mut server);
        match closes {
            true => client.session.send_close_notify(),
            false => client.session.writer().write_all(GET.as_bytes()).unwrap(),
        }
        let wire = client.wire();
        client.peer.end.write(&wire);
        stage.run();
        assert_eq!(server.is_at_end(), closes);
        if !closes {
            for _ in 0..2 {
                server.say(OK);
                stage.run();
            }
            assert_eq!(client.hear(), OK.repeat(2).as_bytes());
        }
        stage.end_without((client, server));
    }
}

#[test]
fn a_client_that_takes_nothing_is_slow_and_its_server_is_not_read_meanwhile() {
    let (mut stage, client, server) = asked(GET);
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
    stage.end_without((client, server));
}

#[test]
fn a_slow_client_gets_all_of_a_long_answer() {
    const SIZE: usize = 3_000_000;
    let (mut stage, client, server) = asked(GET);
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
    stage.end_without((client, server));
}

#[test]
fn a_client_whose_body_stops_is_408_and_one_that_goes_on_is_not() {
    let (mut stage, mut client, mut server) =
        asked("POST /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..20 {
        client.say([b'x'; 5_000]);
        raw(&mut server);
        stage.wait(9 * SECOND);
    }
    assert_eq!(raw(&mut client), "", "three minutes, and it goes on");
    stage.wait(2 * limits::BODY_TIMEOUT + SECOND);
    assert_eq!(status(&mut client), "408");
    stage.end_without((client, server));
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
    stage.end_without((client, server));
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
    stage.end_without((client, server));
}

// --- the gateway goes away -----------------------------------------------------------------------------------------------

#[test]
fn a_drain_waits_for_answers_and_leaves_no_idle_connection() {
    let (mut stage, mut client, server) = asked(GET);
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
    stage.end_without((client, server));
}
