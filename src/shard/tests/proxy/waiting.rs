//! A request that looks for a server: refused, in the queue, too late.

use super::*;

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
    stage.end_without((client, server));
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
    stage.end_without((client, first, server, queued));
}

#[test]
fn a_reader_of_events_that_wants_the_status_gets_it() {
    let mut stage = stage(1, |target, _| target.calls_events_back = false);
    stage.services[0].decide(DialFate::Refused);
    let mut client = stage.client();
    client.say("GET /api/a HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n\r\n");
    stage.run();
    let refusal = raw(&mut client);
    assert!(refusal.starts_with("HTTP/1.1 502 ") && !refusal.contains("retry:"), "{refusal}");
    stage.end_without(client);
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
    stage.end_without(client);
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
    stage.end_without(client);
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
    stage.end_without((first, second, third, server));
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
    stage.end_without((first, second, server));
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
    stage.end_without((first, server));
}
