//! Proxied requests of clients with a token: what becomes of streams and downloads when it ends.

use super::tunnels::{closed_with, from_server, heard, switched, upgrade};
use super::*;
use crate::shard::tests::centrifuge::NOW;
use crate::shard::tests::proven::{auths, token};

/// A gateway in which `/api/*` wants a token.
fn guarded() -> Stage {
    let mut settings = settings();
    settings.process_mut().unix_time = || NOW;
    settings.generation_mut().auths = auths();
    settings.generation_mut().ping_interval = Duration::from_secs(3_600);
    stage_with(settings, 1, |target, _| target.stream_idle = Duration::from_secs(3_600))
}

fn bearer(seconds: u64) -> String {
    format!("Authorization: Bearer {}\r\n", token("ann", NOW + seconds))
}

fn get(seconds: u64) -> String {
    format!("GET /api/a HTTP/1.1\r\nHost: shop\r\n{}\r\n", bearer(seconds))
}

#[test]
fn a_request_without_a_token_reaches_no_server() {
    let mut stage = guarded();
    let mut client = stage.client();
    client.say(GET);
    client.say(upgrade(""));
    stage.run();
    let said = raw(&mut client);
    assert_eq!(said.matches("HTTP/1.1 401 ").count(), 2, "{said}");
    assert!(stage.accept().is_none());
    stage.end_without(client);
}

#[test]
fn a_tunnel_ends_with_its_token_at_a_border_between_two_frames() {
    for is_within_frame in [false, true] {
        let mut stage = guarded();
        let (mut client, mut server) = stage.asked(&upgrade(&bearer(60)));
        let request = raw(&mut server);
        assert!(request.contains("\r\nAuthorization: Bearer "), "the server's own business: {request}");
        server.say(switched(""));
        stage.run();
        assert!(raw(&mut client).starts_with("HTTP/1.1 101 "));
        stage.wait(Duration::from_secs(59));
        let frame = from_server("hello");
        if is_within_frame {
            server.say(&frame[..3]);
        }
        stage.bench.run_for(Duration::from_millis(900));
        if is_within_frame {
            assert_eq!(heard(&mut client), &frame[..3]);
            assert!(client.end.is_open(), "the frame is finished first");
            server.say(&frame[3..]);
            stage.run();
            let said = heard(&mut client);
            assert_eq!(said[..frame.len() - 3], frame[3..]);
            assert_eq!(closed_with(&said[frame.len() - 3..]).0, 3000);
        } else {
            assert_eq!(closed_with(&heard(&mut client)).0, 3000);
            assert_eq!(closed_with(&heard(&mut server)).0, 1001);
        }
        assert_eq!(stage.closed(CloseReason::TokenExpired), 1);
        stage.end_without((client, server));
    }
}

#[test]
fn an_event_stream_of_a_server_ends_with_its_token_and_a_download_does_not() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n";
    const HALF: &str = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 10\r\n\r\nhello";
    let mut stage = guarded();
    let (mut reader, mut events) = stage.asked(&get(20));
    events.say(EVENTS);
    let (mut late, late_events) = stage.asked(&get(20));
    let (mut download, file) = stage.asked(&get(20));
    file.say(HALF);
    stage.bench.run_for(Duration::from_millis(19_500));
    assert!(raw(&mut reader).contains("data: a") && reader.end.is_open());
    stage.bench.run_for(SECOND);
    raw(&mut reader);
    raw(&mut events);
    assert!(!reader.end.is_open() && !events.end.is_open(), "its server learns of it");
    late_events.say(EVENTS);
    stage.bench.run_for(SECOND + SECOND / 4);
    raw(&mut late);
    assert!(!late.end.is_open(), "a stream that has begun after the end is noticed");
    assert!(raw(&mut download).contains("hello") && download.end.is_open());
    file.say("world");
    stage.run();
    assert!(raw(&mut download).contains("world"));
    download.say(GET);
    stage.run();
    assert!(raw(&mut download).starts_with("HTTP/1.1 401 "), "the connection serves other requests");
    stage.end_without((reader, late, download, events, late_events, file));
}
