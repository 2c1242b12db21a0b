//! Servers that close, fall silent, or say something else than an answer.

use super::*;

#[test]
fn a_server_that_closes_a_new_connection_without_an_answer_is_502() {
    let (mut stage, mut client, server) = asked(GET);
    drop(server);
    stage.run();
    assert_eq!(status(&mut client), "502");
    assert_eq!(stage.closed(CloseReason::UpstreamClosed), 1);
    assert!(stage.accept().is_none(), "it may have done what was asked");
    stage.end_without(client);
}

/// A client with a connection to a server that is idle and about to be closed, and what it asks next.
fn race(request: &str, idle: Duration) -> (Stage, Peer) {
    let (mut stage, mut client, mut server) = asked(GET);
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
        stage.end_without((client, server));
    }
}

#[test]
fn a_request_that_must_not_be_repeated_is_not_and_gets_a_new_connection_if_the_idle_one_is_old() {
    let post = "POST /api/a HTTP/1.1\r\nHost: shop\r\n\r\n";
    let (stage, mut client) = race(post, SECOND / 10);
    assert!(stage.accept().is_none());
    assert_eq!((status(&mut client), stage.closed(CloseReason::UpstreamClosed)), ("502".to_owned(), 1));
    stage.end_without(client);
    let (mut stage, mut client) = race(post, 2 * SECOND);
    let server = stage.accept().expect("the idle one may be about to close");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    stage.end_without((client, server));
    let (stage, mut client) = race("PUT /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\nx", 2 * SECOND);
    assert!(stage.accept().is_none(), "its body is gone");
    assert_eq!(status(&mut client), "502");
    stage.end_without(client);
}

#[test]
fn a_request_is_repeated_once() {
    let (mut stage, mut client) = race(GET, 2 * SECOND);
    stage.accept().expect("a new connection").end.reset();
    stage.run();
    assert_eq!(status(&mut client), "502");
    assert!(stage.accept().is_none());
    stage.end_without(client);
}

#[test]
fn a_server_without_an_answer_in_time_is_504() {
    let (mut stage, mut client, mut server) = asked(GET);
    stage.wait(limits::PROXY_RESPONSE_TIMEOUT - SECOND);
    assert_eq!(raw(&mut client), "");
    stage.wait(2 * SECOND);
    assert_eq!(status(&mut client), "504");
    raw(&mut server);
    assert!(server.is_at_end());
    assert_eq!(stage.closed(CloseReason::UpstreamTimeout), 1);
    stage.end_without((client, server));
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
        let (mut stage, mut client, mut server) = asked(GET);
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
        stage.end_without((client, server));
    }
}

#[test]
fn a_server_that_dies_in_the_body_cuts_its_client_without_a_last_chunk() {
    for (framing, rest) in [("Content-Length: 9", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")] {
        let (mut stage, mut client, server) = asked(GET);
        server.say(format!("HTTP/1.1 200 OK\r\nDate: now\r\n{framing}\r\n\r\n{rest}"));
        stage.run();
        drop(server);
        stage.run();
        let answer = raw(&mut client);
        assert!(answer.ends_with(&format!("\r\n\r\n{rest}")), "{answer}");
        assert!(client.is_at_end());
        assert_eq!(stage.closed(CloseReason::UpstreamBroke), 1);
        stage.end_without(client);
    }
}

const OLD_GET: &str = "GET /api/a HTTP/1.0\r\nHost: shop\r\n\r\n";

#[test]
fn a_part_of_an_answer_without_a_length_does_not_look_whole_to_an_old_client() {
    let chunks = "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for is_whole in [false, true] {
        let (mut stage, mut client, server) = asked(OLD_GET);
        server.say(chunks);
        stage.run();
        if is_whole {
            server.say("0\r\n\r\n");
        }
        drop(server);
        stage.run();
        let answer = raw(&mut client);
        assert!(answer.ends_with("\r\n\r\nhello"), "the part that is there has come: {answer}");
        let expected = if is_whole { None } else { Some(std::io::ErrorKind::ConnectionReset) };
        assert_eq!((client.end.broken(), client.end.is_open()), (expected, false));
        stage.end_without(client);
    }
}

#[test]
fn the_rest_of_an_answer_that_an_old_client_does_not_take_is_followed_by_a_reset() {
    let (mut stage, mut client, server) = asked(OLD_GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\n\r\n");
    let mut left = 200_000;
    while left > 0 && stage.closed(CloseReason::SlowConsumer) == 0 {
        left -= server.end.write(&vec![b'x'; left]);
        stage.wait(SECOND);
    }
    drop(server);
    stage.wait(3 * limits::SEND_TIMEOUT);
    let answer = raw(&mut client);
    assert!(answer.len() < 200_000, "the pipe has no room for it");
    assert_eq!(client.end.broken(), Some(std::io::ErrorKind::ConnectionReset));
    stage.end_without(client);
}

#[test]
fn a_server_that_stalls_in_the_body_cuts_its_client() {
    let (mut stage, mut client, server) = asked(GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 9\r\n\r\nhel");
    stage.wait(limits::PROXY_IDLE_TIMEOUT - SECOND);
    server.say("lo");
    stage.wait(limits::PROXY_IDLE_TIMEOUT - SECOND);
    raw(&mut client);
    assert!(!client.is_at_end());
    stage.wait(2 * SECOND);
    assert!(client.is_at_end());
    assert_eq!(stage.closed(CloseReason::UpstreamBroke), 1);
    stage.end_without((client, server));
}

#[test]
fn an_event_stream_may_be_silent_for_longer_and_each_event_comes_at_once() {
    let (mut stage, mut client, server) = asked(GET);
    server.say("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n");
    stage.wait(5 * limits::PROXY_IDLE_TIMEOUT);
    server.say("data: a\n\n");
    stage.run();
    assert!(raw(&mut client).ends_with("\r\n\r\n9\r\ndata: a\n\n\r\n"));
    stage.wait(limits::PROXY_STREAM_IDLE + limits::KEEP_ALIVE_TIMEOUT);
    assert!(client.is_at_end());
    stage.end_without((client, server));
}

#[test]
fn more_bytes_than_announced_reach_no_other_client() {
    let (mut stage, mut client, mut server) = asked(GET);
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
    stage.end_without((client, server, other, third));
}
