//! WebSockets that a server serves: the bytes on both sides, how each end learns of the other one's, and clients, servers and
//! a network with faults, at random.

use super::*;
use crate::conn::ends;
use crate::conn::quota::{Quota, QuotaBy, Quotas};
use crate::proto::pace::Gcra;
use crate::proto::ws::frame::FrameHeader;
use crate::proto::ws::handshake;
use crate::shard::tests::strangers::quota;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(super) fn upgrade(lines: &str) -> String {
    format!(
        "GET /api/chat?room=1 HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
    )
}

pub(super) fn switched(lines: &str) -> String {
    let accept = handshake::accept(KEY);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n{lines}\r\n",
        accept.as_str()
    )
}

fn frame_of(opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match mask {
        Some(mask) => frame::write_masked(&mut bytes, true, opcode, payload, mask),
        None => frame::write(&mut bytes, opcode, payload),
    }
    bytes
}

fn from_client(text: &str) -> Vec<u8> {
    frame_of(Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes())
}

pub(super) fn from_server(text: &str) -> Vec<u8> {
    frame_of(Opcode::Text, None, text.as_bytes())
}

pub(super) fn heard(peer: &mut Peer) -> Vec<u8> {
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    std::mem::take(&mut peer.heard)
}

/// The code and the words of the Close that is all that was heard.
pub(super) fn closed_with(bytes: &[u8]) -> (u16, String) {
    let (header, start) = FrameHeader::parse(bytes).expect("a frame").expect("a whole header");
    assert_eq!((header.opcode, header.len as usize), (Opcode::Close, bytes.len() - start), "{bytes:?}");
    let mut payload = bytes[start..].to_vec();
    crate::proto::ws::mask::apply(&mut payload, header.mask.unwrap_or_default());
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8_lossy(&payload[2..]).into_owned())
}

impl Stage {
    /// A client and a server on either end of a tunnel.
    fn tunnel(&mut self) -> (Peer, Peer) {
        let (mut client, mut server) = self.asked(&upgrade(""));
        raw(&mut server);
        server.say(switched(""));
        self.run();
        assert_eq!(raw(&mut client), switched(""));
        (client, server)
    }

    /// Sends all bytes from one end; the bytes that arrive at the other one meanwhile.
    fn pass(&mut self, from: &Peer, to: &mut Peer, bytes: &[u8]) -> Vec<u8> {
        let (mut said, mut all) = (0, Vec::new());
        while said < bytes.len() {
            said += from.end.write(&bytes[said..]);
            self.run();
            all.extend(heard(to));
        }
        all
    }

    fn tunnels(&self) -> u64 {
        // The gauges are set with the turn.
        self.bench.core(0).desk.counters().tunnels.value()
    }
}

#[test]
fn a_websocket_reaches_its_server_and_frames_pass_as_they_came() {
    let mut stage = plain();
    let (mut client, mut server) =
        stage.asked(&upgrade("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"));
    let request = raw(&mut server);
    assert!(request.starts_with("GET /api/chat?room=1 HTTP/1.1\r\nHost: shop\r\n"), "{request}");
    for line in [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ] {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {request}");
    }
    let answer = switched("Sec-WebSocket-Protocol: chat\r\n");
    // The first frame comes with the head.
    server.say([answer.as_bytes(), &from_server("welcome")].concat());
    stage.run();
    assert_eq!(heard(&mut client), [answer.as_bytes(), &from_server("welcome")].concat());
    assert_eq!(stage.tunnels(), 1);
    let compressed = [&[0xC1, 0x85][..], &[9; 4], b"hello"].concat();
    let said = [from_client("one"), compressed, from_client(&"x".repeat(70_000))].concat();
    assert!(stage.pass(&client, &mut server, &said) == said);
    let said = [from_server(&"y".repeat(200_000)), frame_of(Opcode::Ping, None, b"?")].concat();
    assert!(stage.pass(&server, &mut client, &said) == said);
    stage.end_without((client, server));
}

#[test]
fn nothing_of_the_client_reaches_the_server_before_the_101() {
    let (mut stage, mut client, mut server) = asked(&upgrade(""));
    client.say(from_client("early"));
    stage.run();
    assert!(raw(&mut server).ends_with("\r\n\r\n"), "the head alone");
    server.say(switched(""));
    stage.run();
    assert_eq!(heard(&mut server), from_client("early"));
    assert_eq!(raw(&mut client), switched(""));
    stage.end_without((client, server));
}

#[test]
fn any_other_answer_ends_the_connection_and_what_came_early_is_no_request() {
    let mut stage = plain();
    for (answer, heard) in [
        (OK, OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
        (
            "HTTP/1.1 426 Upgrade Required\r\nDate: now\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 426 Upgrade Required\r\nDate: now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        ),
    ] {
        let (mut client, mut server) = stage.asked(&upgrade(""));
        client.say("GET /api/smuggled HTTP/1.1\r\nHost: shop\r\n\r\n");
        stage.run();
        raw(&mut server);
        server.say(answer);
        stage.run();
        assert_eq!(raw(&mut client), heard);
        assert!(client.is_at_end());
        assert!(!raw(&mut server).contains("smuggled") && stage.accept().is_none());
        server.end.reset();
        stage.run();
    }
    stage.end();
}

#[test]
fn a_101_that_does_not_answer_the_key_is_garbage() {
    let mut stage = plain();
    for (part, replacement) in [("s3pP", "S3pP"), ("Upgrade: websocket", "Upgrade: h2c"), ("101", "102")] {
        let (mut client, server) = stage.asked(&upgrade(""));
        server.say(switched("").replace(part, replacement));
        server.end.shutdown_write();
        stage.run();
        assert_eq!(status(&mut client), "502", "{replacement}");
        assert!(client.is_at_end(), "{replacement}");
    }
    assert_eq!(stage.closed(CloseReason::UpstreamGarbage), 2, "the 102 is no answer");
    stage.end();
}

#[test]
fn a_handshake_that_is_none_reaches_no_server() {
    let mut stage = plain();
    for (part, replacement, expected) in [
        ("Version: 13", "Version: 8", "426"),
        ("GET", "POST", "400"),
        (KEY, "short", "400"),
        ("Host: shop", "Host: shop\r\nContent-Length: 5", "400"),
        ("Host: shop", "Host: shop\r\nOrigin: https://elsewhere.example", "403"),
    ] {
        let mut client = stage.client();
        client.say(upgrade("").replace(part, replacement));
        stage.run();
        assert_eq!(status(&mut client), expected, "{replacement}");
        assert!(stage.accept().is_none(), "{replacement}");
    }
    stage.end();
}

#[test]
fn a_route_without_websockets_passes_on_a_plain_request() {
    let mut stage = stage(1, |target, _| target.has_websockets = false);
    let (mut client, mut server) = stage.asked(&upgrade(""));
    let request = raw(&mut server);
    assert!(!request.contains("Upgrade"), "{request}");
    server.say(OK);
    stage.run();
    assert_eq!(raw(&mut client), OK);
    stage.end_without((client, server));
}

#[test]
fn a_close_and_the_end_of_a_half_are_passed_on_behind_all_that_was_said() {
    let mut stage = plain();
    for begins_client in [true, false] {
        let (client, server) = stage.tunnel();
        let (mut first, mut second) = if begins_client { (client, server) } else { (server, client) };
        let said = from_server(&"z".repeat(100_000));
        assert!(stage.pass(&first, &mut second, &said) == said);
        first.say(from_server("the last words"));
        first.say(frame_of(Opcode::Close, None, &1000_u16.to_be_bytes()));
        first.end.shutdown_write();
        stage.run();
        assert_eq!(heard(&mut second)[16..], *frame_of(Opcode::Close, None, &1000_u16.to_be_bytes()));
        assert!(second.is_at_end());
        second.say(frame_of(Opcode::Close, None, &1000_u16.to_be_bytes()));
        stage.run();
        assert_eq!(closed_with(&heard(&mut first)).0, 1000);
        assert!(!first.is_at_end(), "the other half goes on");
        second.end.shutdown_write();
        stage.run();
        assert!(first.is_at_end());
        assert_eq!(stage.tunnels(), 0);
    }
    assert_eq!(stage.closed(CloseReason::PeerClosed), 2);
    stage.end();
}

#[test]
fn an_end_that_breaks_ends_the_other_one() {
    let mut stage = plain();
    let (client, mut server) = stage.tunnel();
    client.end.reset();
    stage.run();
    assert!(heard(&mut server).is_empty() && server.is_at_end(), "without a word");
    let (mut client, server) = stage.tunnel();
    server.end.reset();
    stage.run();
    assert_eq!(closed_with(&heard(&mut client)).0, 1013);
    assert_eq!(stage.closed(CloseReason::UpstreamBroke), 1);
    assert_eq!(stage.closed(CloseReason::PeerReset), 1);
    stage.end_without(client);
}

#[test]
fn a_drain_and_a_command_send_both_ends_a_close() {
    for is_drain in [true, false] {
        let mut stage = plain();
        let (mut client, mut server) = stage.tunnel();
        match is_drain {
            true => stage.bench.drain(),
            false => close_by_worker(&mut stage),
        }
        stage.bench.run_for(if is_drain { limits::DRAIN_SPREAD } else { SECOND });
        let (code, words) = closed_with(&heard(&mut client));
        assert_eq!(code, if is_drain { 1001 } else { 1000 }, "{words}");
        assert_eq!(closed_with(&heard(&mut server)), (1001, "the gateway has ended it".to_owned()));
        assert!(client.is_at_end() && server.is_at_end());
    }
}

#[test]
fn a_close_waits_for_the_end_of_the_frame_before_it() {
    let mut stage = plain();
    let (mut client, server) = stage.tunnel();
    let whole = from_server("a long story");
    server.say(&whole[..5]);
    stage.run();
    close_by_worker(&mut stage);
    stage.run();
    assert_eq!(heard(&mut client), whole[..5]);
    server.say(&whole[5..]);
    stage.run();
    let all = heard(&mut client);
    assert_eq!(all[..whole.len() - 5], whole[5..]);
    assert_eq!(closed_with(&all[whole.len() - 5..]).0, 1000);
    // A frame that does not become whole puts it off for a while only, and then none can be said.
    let (mut client, server) = stage.tunnel();
    server.say(&whole[..5]);
    stage.run();
    close_by_worker(&mut stage);
    stage.wait(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(heard(&mut client), whole[..5]);
    assert!(client.is_at_end());
    stage.end_without((client, server));
}

#[test]
fn a_tunnel_in_which_neither_end_speaks_is_over_after_its_time() {
    let mut stage = stage(1, |target, _| target.stream_idle = 100 * SECOND);
    let (mut client, mut server) = stage.tunnel();
    for _ in 0..3 {
        stage.wait(90 * SECOND);
        server.say(from_server("still here"));
        stage.run();
        assert_eq!(heard(&mut client), from_server("still here"));
    }
    stage.wait(110 * SECOND);
    assert_eq!(closed_with(&heard(&mut client)).0, 1001);
    assert_eq!(closed_with(&heard(&mut server)).0, 1001);
    assert_eq!(stage.closed(CloseReason::TunnelIdle), 1);
    stage.end_without((client, server));
}

#[test]
fn an_end_that_takes_nothing_is_not_waited_for_and_stops_the_other_one() {
    let mut stage = plain();
    for client_speaks in [false, true] {
        let (mut client, mut server) = stage.tunnel();
        let speaker = if client_speaks { &mut client } else { &mut server };
        let long = frame_of(Opcode::Binary, None, &vec![7; 8_000_000]);
        let mut said = speaker.end.write(&long);
        for _ in 0..20 {
            stage.run();
            said += speaker.end.write(&long[said..]);
        }
        assert!(said < long.len(), "back-pressure: {said}");
        stage.wait(3 * limits::SEND_TIMEOUT);
        assert!(speaker.is_at_end());
    }
    assert_eq!(stage.closed(CloseReason::SlowConsumer), 1);
    assert_eq!(stage.closed(CloseReason::UpstreamTimeout), 1);
    stage.end();
}

#[test]
fn the_frames_of_a_client_are_counted_by_limits_and_those_of_a_server_are_not() {
    let slow = Quota {
        connections: Some(2),
        message_rate: Some(Gcra::new(1, SECOND, 2)),
        routes: vec!["/api/*".into()],
        ..quota(QuotaBy::Route)
    };
    let mut settings = settings();
    settings.generation_mut().quotas = Quotas::new(vec![slow], 64, [1, 2, 3, 4]).map(Arc::new);
    let mut stage = stage_with(settings, 1, |_, _| {});
    let (mut client, mut server) = stage.tunnel();
    let frames = from_client("hi");
    client.say(frames.repeat(5));
    server.say(from_server("ho").repeat(50));
    stage.run();
    assert_eq!(heard(&mut client), from_server("ho").repeat(50));
    let begun = heard(&mut server).len() / frames.len();
    assert!((2..=3).contains(&begun), "{begun} at once");
    stage.wait(4 * SECOND);
    assert_eq!(heard(&mut server), frames.repeat(5 - begun));
    // A second one is as many as the route may have.
    let (other, _other) = stage.tunnel();
    let mut third = stage.client();
    third.say(upgrade(""));
    stage.run();
    assert_eq!(status(&mut third), "429");
    drop((other, _other));
    stage.wait(SECOND);
    let (mut refused, answers) = stage.asked(&upgrade(""));
    answers.say(OK);
    stage.run();
    assert_eq!(status(&mut refused), "200");
    stage.run();
    drop((refused, answers));
    stage.wait(limits::CLOSE_TIMEOUT + SECOND);
    let last = stage.tunnel();
    stage.end_without((client, server, third, last));
}

/// A worker closes the connection of a client by its id, which its server has got as a part of the request's.
fn close_by_worker(stage: &mut Stage) {
    let _worker = close_some(&stage.bench).expect("a client of a tunnel");
    stage.run();
}

pub(super) fn close_some(bench: &Bench) -> Option<Peer> {
    let slots = &bench.shards[0].as_ref()?.core.desk.slots;
    let is_client = |key: &Key| slots.get(*key).is_some_and(|conn| conn.is_open() && ends::is_client(&conn.session));
    let id = conn_id(bench.core(0), slots.keys().find(is_client)?);
    let worker = Peer::new(bench.world.connect_calm(address(0, BUS))?);
    worker.say(format!("CONNECT {{\"verbose\":false}}\r\nPUB tg.conn.{id}.close 0\r\n\r\nPING\r\n"));
    Some(worker)
}

/// A gateway whose `/api/*` leads to these servers.
pub(super) fn settings_of(hosts: &[SocketAddr], has_limits: bool) -> Settings {
    let rule = hosts.iter().fold(UpstreamRule::new("app"), |rule, host| rule.with(&host.to_string(), *host));
    let target = RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))));
    let mut settings = settings();
    settings.generation_mut().upstreams = [rule].into();
    add_routes(&mut settings, [route("/api/*", target)]);
    if has_limits {
        let limit = Quota {
            connections: Some(9),
            message_rate: Some(Gcra::new(5, SECOND, 5)),
            routes: vec!["/api/*".into()],
            ..quota(QuotaBy::Route)
        };
        settings.generation_mut().quotas = Quotas::new(vec![limit], 64, [1, 2, 3, 4]).map(Arc::new);
    }
    settings
}
