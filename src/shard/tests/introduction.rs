//! Load balancers that begin with a PROXY header, those that do not, and strangers that do.

use std::io::{Read, Write};

use super::unfinished::tls_client;
use super::*;

/// All peers of the simulator are in it.
const PEERS: &str = "10.0.0.0/8";
const LINE: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";

/// A gateway whose listeners for clients get a PROXY header from this network. Its bus does not: bystanders publish there.
fn bench(from: &str) -> Bench {
    bench_of(from, settings())
}

fn bench_of(from: &str, settings: Settings) -> Bench {
    let mut bench = Bench::new(1, settings);
    let core = &mut bench.shards[0].as_mut().unwrap().core;
    core.entrances.introduce(&Networks::parse([from]).unwrap());
    bench
}

/// A client that came through the load balancer, and is subscribed.
fn bystander(bench: &mut Bench) -> Peer {
    let mut peer = bench.connect(0, 0);
    peer.say(format!("{LINE}{}", request("/ws/1")));
    bench.run_for(SECOND / 10);
    assert!(peer.hear().starts_with("HTTP/1.1 101 "));
    peer
}

/// The address under which operators find ann, who opens a WebSocket behind these bytes.
fn peer_of(bench: &mut Bench, header: &[u8]) -> String {
    let mut client = bench.connect(0, 0);
    client.say(header);
    client.say(request("/echo?user=ann"));
    bench.run_for(SECOND / 10);
    assert!(client.hear().starts_with("HTTP/1.1 101 "));
    let mut operator = bench.connect(0, ADMIN);
    operator.say("GET /api/users/ann HTTP/1.1\r\nHost: a\r\n\r\n");
    bench.run_for(SECOND / 10);
    let found = operator.hear();
    let peer = found.split("\"peer\":\"").nth(1).and_then(|rest| rest.split('"').next());
    peer.unwrap_or_else(|| panic!("{found}")).to_owned()
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 187];

#[test]
fn a_header_gives_the_connection_the_address_of_its_client() {
    let address = |header: &[u8]| peer_of(&mut bench(PEERS), header);
    assert_eq!(address(LINE.as_bytes()), "203.0.113.7:4711");
    assert_eq!(address(&v2(0x21, 0x11, &V4)), "203.0.113.7:4711");
    let mut v6 = [0; 36];
    (v6[15], v6[33]) = (1, 9);
    assert_eq!(address(&v2(0x21, 0x21, &v6)), "[::1]:9");
    for local in [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0, &[]), &v2(0x21, 0x31, &[0; 216])] {
        assert!(address(local).starts_with("10.0.0."), "it keeps its peer");
    }
}

#[test]
fn it_may_come_in_any_pieces() {
    let header = v2(0x21, 0x11, &V4);
    for cut in 1..header.len() {
        let mut bench = bench(PEERS);
        let mut bystander = bystander(&mut bench);
        let mut client = bench.connect(0, 0);
        client.say(&header[..cut]);
        bench.run_for(SECOND / 100);
        client.say(&header[cut..]);
        bench.run_for(SECOND / 100);
        client.say(request("/ws/1"));
        bench.run_for(SECOND / 100);
        assert!(client.hear().starts_with("HTTP/1.1 101 "), "cut at {cut}");
        expect_echo(&mut bench, &mut bystander);
    }
}

#[test]
fn a_stranger_with_a_header_gets_400_and_no_other_address() {
    let mut bench = bench("192.0.2.0/24");
    let mut bystander = bench.open(0, "/ws/1");
    for header in [LINE.as_bytes(), &v2(0x21, 0x11, &V4), &v2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n"] {
        let mut stranger = bench.connect(0, 0);
        stranger.say(header);
        stranger.say(request("/ws/1"));
        bench.run_for(SECOND / 10);
        let heard = stranger.hear();
        assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
        assert!(stranger.is_at_end());
    }
    assert_eq!(bench.closed(0, CloseReason::ProxyHeader), 0, "nothing was looked for");
    assert!(peer_of(&mut bench, b"").starts_with("10.0.0."), "a direct client");
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn what_is_no_header_is_closed_without_an_answer() {
    let mut bench = bench(PEERS);
    let mut bystander = bystander(&mut bench);
    let bad_port = b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n".to_vec();
    let mut bad_sum = v2(0x21, 0x11, &[&V4[..], &[3, 0, 4, 1, 2, 3, 4]].concat());
    bad_sum.extend(request("/ws/1").bytes());
    let all = [request("/ws/1").into_bytes(), bad_port, bad_sum, v2(0x21, 0x11, &[0; 12 + 537]), v2(0x22, 0, &[])];
    for (index, bytes) in all.iter().enumerate() {
        let mut peer = bench.connect(0, 0);
        peer.say(bytes);
        bench.run_for(SECOND / 10);
        assert_eq!(peer.hear(), "");
        assert!(peer.is_at_end());
        assert_eq!(bench.closed(0, CloseReason::ProxyHeader), index as u64 + 1);
    }
    let cut = bench.connect(0, 0);
    cut.say(&LINE[..20]);
    cut.end.shutdown_write();
    bench.run_for(SECOND / 10);
    assert_eq!(bench.closed(0, CloseReason::ProxyHeader), all.len() as u64 + 1, "it was cut");
    let check = bench.connect(0, 0);
    check.end.shutdown_write();
    bench.run_for(SECOND / 10);
    assert_eq!(bench.closed(0, CloseReason::PeerClosed), 1, "a check of the port");
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_header_that_does_not_end_is_closed_after_three_seconds() {
    for door in [0, TLS] {
        let mut bench = bench(PEERS);
        let mut bystander = bystander(&mut bench);
        let mut silent = bench.connect(0, door);
        let mut slow = bench.connect(0, door);
        let mut seconds = 0;
        for byte in LINE.as_bytes().chunks(1).take(20) {
            if slow.is_at_end() {
                break;
            }
            slow.say(byte);
            bench.run_for(SECOND);
            seconds += 1;
        }
        assert_eq!(seconds, 4, "looked at once a second");
        assert!(silent.is_at_end());
        assert_eq!(bench.closed(0, CloseReason::ProxyHeader), 2);
        expect_echo(&mut bench, &mut bystander);
    }
}

#[test]
fn the_time_for_the_first_request_begins_after_it() {
    let mut bench = bench(PEERS);
    let mut client = bench.connect(0, 0);
    bench.run_for(2 * SECOND);
    client.say(LINE);
    bench.run_for(limits::HEAD_TIMEOUT - SECOND);
    client.say(request("/ws/1"));
    bench.run_for(SECOND / 10);
    assert!(client.hear().starts_with("HTTP/1.1 101 "));
    let mut silent = bench.connect(0, 0);
    silent.say(LINE);
    bench.run_for(limits::HEAD_TIMEOUT + limits::CLOSE_TIMEOUT + SECOND);
    assert!(silent.is_at_end());
    assert_eq!((bench.closed(0, CloseReason::TooSlow), bench.closed(0, CloseReason::ProxyHeader)), (1, 0));
}

#[test]
fn tls_begins_after_it_however_the_bytes_are_cut() {
    for first in [LINE.len(), LINE.len() + 1, LINE.len() + 700, usize::MAX] {
        let mut bench = bench(PEERS);
        let mut bystander = bystander(&mut bench);
        let mut client = tls_client();
        let peer = bench.connect(0, TLS);
        let mut wire = LINE.as_bytes().to_vec();
        client.write_tls(&mut wire).unwrap();
        let (begin, rest) = wire.split_at(first.min(wire.len()));
        peer.say(begin);
        bench.run_for(SECOND / 100);
        peer.say(rest);
        client.writer().write_all(request("/ws/1").as_bytes()).unwrap();
        let mut heard = Vec::new();
        for _ in 0..4 {
            bench.run_for(SECOND / 100);
            let mut bytes = Vec::new();
            while matches!(peer.end.read(&mut bytes), ReadOutcome::Bytes(_)) {}
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
            let _ = client.reader().read_to_end(&mut heard);
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            peer.say(wire);
        }
        assert!(heard.starts_with(b"HTTP/1.1 101 "), "cut at {first}");
        expect_echo(&mut bench, &mut bystander);
    }
}

#[test]
fn a_page_is_of_the_scheme_that_the_load_balancer_says() {
    let ask = |flags: Option<u8>, origin: &str| {
        let mut bench = bench(PEERS);
        let tlvs = flags.map_or(Vec::new(), |flags| vec![0x20, 0, 5, flags, 0, 0, 0, 0]);
        let mut peer = bench.connect(0, 0);
        peer.say(v2(0x21, 0x11, &[&V4[..], &tlvs].concat()));
        peer.say(request("/ws/1").replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1));
        bench.run_for(SECOND / 10);
        peer.hear()[9..12].to_owned()
    };
    for (flags, https, http) in [(Some(1), "101", "403"), (Some(0), "403", "101"), (None, "101", "101")] {
        assert_eq!((&*ask(flags, "https://a"), &*ask(flags, "http://a")), (https, http), "{flags:?}");
    }
}

#[test]
fn a_full_gateway_refuses_a_client_after_its_header() {
    let mut bench = bench_of(PEERS, with(settings(), |generation| generation.connections_max = 1));
    let mut first = bystander(&mut bench);
    let mut second = bench.connect(0, 0);
    second.say(format!("{LINE}{}", request("/ws/1")));
    bench.run_for(SECOND / 10);
    assert!(second.hear().starts_with("HTTP/1.1 503 "));
    expect_echo(&mut bench, &mut first);
}

#[test]
fn a_drain_does_not_wait_for_headers() {
    let mut bench = bench(PEERS);
    let _silent = bench.connect(0, 0);
    let _begun = bench.connect(0, TLS);
    _begun.say(&LINE[..9]);
    bench.run_for(SECOND / 10);
    bench.drain();
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert!(bench.is_over());
}
