//! Limits for strangers: what is too much is refused, read more slowly or ended, others go on, and each count is released.

use serde_json::json;

use super::centrifuge::{Client, token};
use super::*;
use crate::conn::quota::{Measure, Quota, QuotaBy, Quotas};
use crate::proto::http::TrustedProxies;
use crate::proto::pace::Gcra;

/// All peers of the simulator are in it, each with an address of its own.
const PEERS: &str = "10.0.0.0/8";
const ADDRESS: QuotaBy = QuotaBy::Network { ipv4_prefix: 32, ipv6_prefix: 64 };
const EVERYBODY: QuotaBy = QuotaBy::Network { ipv4_prefix: 8, ipv6_prefix: 0 };

pub(super) fn quota(by: QuotaBy) -> Quota {
    Quota {
        name: "strangers".into(),
        by,
        connections: None,
        handshake_rate: None,
        request_rate: None,
        message_rate: None,
        routes: Vec::new(),
        except: Networks::default(),
        closes: false,
    }
}

fn per_second(count: u32, burst: u32) -> Option<Gcra> {
    Some(Gcra::new(count, SECOND, burst))
}

fn limited_of(mut settings: Settings, quotas: Vec<Quota>, tallies_max: usize) -> Settings {
    settings.generation_mut().quotas = Quotas::new(quotas, tallies_max, [1, 2, 3, 4]).map(Arc::new);
    settings
}

fn limited(quotas: Vec<Quota>) -> Settings {
    limited_of(settings(), quotas, 1024)
}

/// The same behind proxies that are believed.
fn trusting(quotas: Vec<Quota>) -> Settings {
    with(limited(quotas), |generation| {
        generation.trust = TrustedProxies { networks: Networks::parse([PEERS]).unwrap(), ..TrustedProxies::default() };
    })
}

fn open_counts(bench: &Bench) -> u64 {
    bench.core(0).desk.settings.generation.quotas.as_ref().expect("it has limits").open()
}

fn refusals(bench: &Bench, measure: Measure) -> u64 {
    let count = |shard| bench.core(shard).desk.counters().limited(0, measure).expect("it has limits").value();
    (0..bench.shards.len()).map(count).sum()
}

/// A request on an open connection; the head of its answer.
fn ask(bench: &mut Bench, peer: &mut Peer, path: &str, lines: &str) -> String {
    peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    bench.run_for(SECOND / 100);
    peer.hear()
}

fn retry_after(answer: &str) -> Option<&str> {
    answer.split("\r\nRetry-After: ").nth(1)?.split("\r\n").next()
}

#[test]
fn connections_beyond_the_limit_get_429_and_others_go_on() {
    let mut bench = Bench::new(2, limited(vec![Quota { connections: Some(3), ..quota(EVERYBODY) }]));
    let mut bystander = bench.open(0, "/ws/1");
    let (first, _second) = (bench.open(1, "/ws/2"), bench.open(0, "/sse/1"));
    let mut surplus = bench.connect(1, 0);
    let answer = ask(&mut bench, &mut surplus, "/ws/1", "");
    assert!(answer.starts_with("HTTP/1.1 429 ") && retry_after(&answer).is_some(), "{answer}");
    assert!(surplus.is_at_end());
    let mut events = bench.connect(1, 0);
    events.say(request("/sse/1"));
    bench.run_for(SECOND / 10);
    let answer = events.hear();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("retry: "), "an EventSource comes back: {answer}");
    assert!(events.has_last_chunk() && events.is_at_end());
    let mut tls = bench.connect(1, TLS);
    bench.run_for(SECOND / 100);
    assert!(tls.is_at_end(), "closed before any work");
    assert_eq!(bench.core(1).desk.sums.handshaking_bytes(), 0);
    assert_eq!((refusals(&bench, Measure::Connection), bench.closed(1, CloseReason::ConnectionLimit)), (3, 3));
    expect_echo(&mut bench, &mut bystander);
    drop(first);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    let mut next = bench.open(1, "/ws/2");
    expect_echo(&mut bench, &mut next);
    assert_eq!(open_counts(&bench), 3);
}

#[test]
fn only_few_are_told_at_the_same_time() {
    let mut bench = Bench::new(1, limited(vec![Quota { connections: Some(1), ..quota(EVERYBODY) }]));
    let mut bystander = bench.open(0, "/ws/1");
    let mut silent: Vec<Peer> = (0..limits::REFUSALS_OPEN_MAX + 3).map(|_| bench.connect(0, 0)).collect();
    bench.run_for(SECOND / 10);
    let closed = silent.iter_mut().filter_map(|peer| peer.is_at_end().then_some(())).count();
    assert_eq!((closed, bench.census(0).connections), (3, limits::REFUSALS_OPEN_MAX + 1));
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.census(0).connections, 1);
    let mut told = bench.connect(0, 0);
    assert!(ask(&mut bench, &mut told, "/ws/1", "").starts_with("HTTP/1.1 429 "), "there is room for words again");
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn connections_that_come_too_fast_are_refused_until_the_rate_allows_more() {
    let mut bench = Bench::new(1, limited(vec![Quota { handshake_rate: per_second(1, 3), ..quota(EVERYBODY) }]));
    let mut bystander = bench.open(0, "/ws/1");
    let mut tls: Vec<Peer> = (0..5).map(|_| bench.connect(0, TLS)).collect();
    bench.run_for(SECOND / 100);
    assert_eq!(tls.iter_mut().filter(|peer| !peer.end.is_open()).count(), 3, "two of the burst are left");
    assert_eq!(refusals(&bench, Measure::Handshake), 3);
    bench.run_for(SECOND);
    let next = bench.connect(0, TLS);
    bench.run_for(SECOND / 100);
    assert!(next.end.is_open());
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn requests_above_the_rate_get_429_with_the_time_after_which_they_fit() {
    let quotas = vec![Quota { request_rate: Some(Gcra::new(1, 4 * SECOND, 3)), ..quota(ADDRESS) }];
    let mut bench = Bench::new(1, limited(quotas));
    let mut bystander = bench.open(0, "/ws/1");
    let mut client = bench.connect(0, 0);
    for status in ["404", "404", "426", "429"] {
        let path = if status == "404" { "/nothing" } else { "/ws/1" };
        assert_eq!(&ask(&mut bench, &mut client, path, "")[9..12], status, "what is refused counts as well");
    }
    let answer = ask(&mut bench, &mut client, "/nothing", "");
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_eq!(retry_after(&answer), Some("4"));
    bench.run_for(4 * SECOND);
    assert_eq!(&ask(&mut bench, &mut client, "/ws/1", "")[9..12], "426", "on the same connection");
    client.say(request("/sse/1"));
    bench.run_for(SECOND / 10);
    let answer = client.hear();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("retry: 3"), "{answer}");
    assert!(client.has_last_chunk() && client.is_at_end());
    let (refused, closed) = (refusals(&bench, Measure::Request), bench.closed(0, CloseReason::RequestLimit));
    assert_eq!((refused, closed), (3, 3));
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_household_is_one_client_and_the_proxy_before_it_is_none() {
    let quotas = vec![Quota { connections: Some(2), request_rate: per_second(1, 4), ..quota(ADDRESS) }];
    let mut bench = Bench::new(1, trusting(quotas));
    let by = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let open = |bench: &mut Bench, client: &str| {
        let mut peer = bench.connect(0, 0);
        let head = request("/ws/1").replace("Host: a\r\n", &format!("Host: a\r\n{}", by(client)));
        peer.say(head);
        bench.run_for(SECOND / 100);
        (peer.hear()[9..12].to_owned(), peer)
    };
    let (first, mut bystander) = open(&mut bench, "2001:db8:0:1::1");
    let (second, other) = open(&mut bench, "2001:db8:0:1:ffff::2");
    assert_eq!((&*first, &*second, open_counts(&bench)), ("101", "101", 2));
    assert_eq!(open(&mut bench, "2001:db8:0:1::3").0, "429", "one /64");
    let (neighbour, _neighbour) = open(&mut bench, "2001:db8:0:2::1");
    assert_eq!(neighbour, "101");
    drop(other);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    let mut proxy = bench.connect(0, 0);
    let status = |bench: &mut Bench, proxy: &mut Peer, client| ask(bench, proxy, "/", &by(client))[9..12].to_owned();
    let statuses: Vec<String> = (0..5).map(|_| status(&mut bench, &mut proxy, "203.0.113.7")).collect();
    assert_eq!(statuses, ["404", "404", "404", "404", "429"]);
    assert_eq!(status(&mut bench, &mut proxy, "203.0.113.8"), "404", "of the same proxy on the same connection");
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn clients_of_a_load_balancer_are_counted_once_it_has_said_their_address() {
    let mut bench = Bench::new(1, limited(vec![Quota { connections: Some(2), ..quota(ADDRESS) }]));
    let core = &mut bench.shards[0].as_mut().unwrap().core;
    core.entrances.introduce(&Networks::parse([PEERS]).unwrap());
    let open = |bench: &mut Bench, door: u16, client: &str| {
        let peer = bench.connect(0, door);
        peer.say(format!("PROXY TCP4 {client} 192.0.2.1 4711 443\r\n"));
        if door == 0 {
            peer.say(request("/ws/1"));
        }
        bench.run_for(SECOND / 100);
        peer
    };
    let mut all: Vec<Peer> = (0..3).map(|_| open(&mut bench, 0, "203.0.113.7")).collect();
    assert_eq!(open_counts(&bench), 2);
    let statuses: Vec<String> = all.iter_mut().map(|peer| peer.hear()[9..12].to_owned()).collect();
    assert_eq!(statuses, ["101", "101", "429"]);
    assert!(open(&mut bench, TLS, "203.0.113.7").is_at_end());
    let mut another = open(&mut bench, TLS, "203.0.113.8");
    assert!(!another.is_at_end());
    expect_echo(&mut bench, &mut all[0]);
    drop((all, another));
    bench.run_for(limits::HANDSHAKE_TIMEOUT + SECOND);
    assert_eq!((open_counts(&bench), bench.census(0)), (0, Census::default()));
}

#[test]
fn exceptions_have_no_limit_and_other_routes_neither() {
    let except = Networks::parse([PEERS]).unwrap();
    let quotas = vec![
        Quota { connections: Some(1), request_rate: per_second(1, 1), except, ..quota(EVERYBODY) },
        Quota { connections: Some(1), routes: vec!["/ws/{room}".into()], ..quota(EVERYBODY) },
        Quota { connections: Some(2), routes: vec!["/sse/{room}".into()], ..quota(QuotaBy::Route) },
    ];
    let mut bench = Bench::new(1, limited(quotas));
    let mut bystander = bench.open(0, "/ws/1");
    let status = |bench: &mut Bench, path: &str| {
        let mut peer = bench.connect(0, 0);
        peer.say(request(path));
        bench.run_for(SECOND / 100);
        (peer.hear()[..12].to_owned(), peer)
    };
    assert_eq!(status(&mut bench, "/ws/2").0, "HTTP/1.1 429");
    let kept = [(); 2].map(|()| status(&mut bench, "/sse/1").1);
    assert_eq!(open_counts(&bench), 3);
    let (_, mut third) = status(&mut bench, "/sse/2");
    assert!(third.is_at_end(), "of all clients on the route");
    drop(kept);
    bench.run_for(limits::SSE_HEARTBEAT * 2);
    assert_eq!(open_counts(&bench), 1);
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn messages_above_the_rate_are_read_when_they_fit_and_none_is_lost() {
    const COUNT: usize = 100;
    let mut bench = Bench::new(1, limited(vec![Quota { message_rate: per_second(1, 10), ..quota(ADDRESS) }]));
    let mut bystander = bench.open(0, "/ws/bystander");
    let mut eager = bench.open(0, "/ws/1");
    eager.say(vec![text(b"again;"); COUNT].concat());
    let heard = |peer: &mut Peer| peer.hear().matches("again;").count();
    bench.run_for(SECOND / 10);
    assert_eq!(heard(&mut eager), 10, "the burst");
    assert_eq!(bench.census(0).resting, 1);
    let mut all = 10;
    for second in 1..=COUNT {
        bench.run_for(SECOND);
        all += heard(&mut eager);
        assert!(all <= 11 + second, "{all} after {second} s");
        if second % 10 == 0 {
            expect_echo(&mut bench, &mut bystander);
        }
    }
    assert_eq!(all, COUNT, "the pings of this time were not answered, and that is no fault");
    assert_eq!(bench.closed(0, CloseReason::NoPong), 0);
    assert!(refusals(&bench, Measure::Message) > 0 && bench.census(0).resting == 0);
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_connection_that_ends_while_it_rests_leaves_nothing() {
    let rate = Some(Gcra::new(1, 60 * SECOND, 1));
    let mut bench = Bench::new(1, limited(vec![Quota { message_rate: rate, ..quota(ADDRESS) }]));
    let mut bystander = bench.open(0, "/ws/bystander");
    let eager = bench.open(0, "/ws/1");
    eager.say(vec![text(b"x"); 5].concat());
    bench.run_for(SECOND / 10);
    assert_eq!(bench.census(0).resting, 1);
    eager.end.reset();
    // The next ping finds that it has gone, long before its rest is over.
    bench.run_for(limits::PING_INTERVAL + 5 * SECOND);
    assert_eq!((bench.census(0).resting, bench.census(0).connections), (0, 1));
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_client_that_is_not_read_for_a_minute_is_not_taken_for_gone() {
    let rate = Some(Gcra::new(1, 60 * SECOND, 1));
    let except = Networks::parse(["10.0.0.1"]).unwrap();
    let settings = super::centrifuge::settings();
    let settings = limited_of(settings, vec![Quota { message_rate: rate, except, ..quota(ADDRESS) }], 1024);
    let mut bench = Bench::new(1, settings);
    let mut bystander = bench.open(0, "/ws/bystander");
    let mut slow = bench.open(0, "/ws/1");
    slow.say([text(b"one;"), text(b"two;"), text(b"three;")].concat());
    let client = Client::open(&mut bench, "/open");
    client.say(&[json!({"id": 1, "connect": {}}), json!({"id": 2, "unsubscribe": {"channel": "room.x"}})]);
    bench.run_for(SECOND / 10);
    let mut heard = slow.hear();
    for _ in 0..13 {
        assert_eq!(bench.census(0).connections, 3);
        bench.run_for(10 * SECOND);
        heard += &slow.hear();
        expect_echo(&mut bench, &mut bystander);
    }
    assert!(["one;", "two;", "three;"].iter().all(|word| heard.contains(word)), "{heard}");
    assert_eq!(bench.closed(0, CloseReason::NoPong), 0);
}

#[test]
fn messages_above_the_rate_end_the_connection_where_the_limit_says_so() {
    let mut bench =
        Bench::new(1, limited(vec![Quota { message_rate: per_second(1, 3), closes: true, ..quota(ADDRESS) }]));
    let mut bystander = bench.open(0, "/ws/bystander");
    let eager = bench.open(0, "/ws/1");
    eager.say(vec![text(b"again;"); 5].concat());
    bench.run_for(SECOND / 10);
    let mut bytes = Vec::new();
    while matches!(eager.end.read(&mut bytes), ReadOutcome::Bytes(_)) {}
    let last = bytes.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 1008_u16.to_be_bytes());
    assert!(last && String::from_utf8_lossy(&bytes).matches("again;").count() == 3, "{bytes:?}");
    assert_eq!(bench.closed(0, CloseReason::MessageLimit), 1);
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn commands_of_one_frame_are_messages_one_by_one() {
    let settings = limited_of(
        super::centrifuge::settings(),
        vec![Quota { message_rate: per_second(1, 3), ..quota(ADDRESS) }],
        1024,
    );
    let mut bench = Bench::new(1, settings);
    let mut bystander = bench.open(0, "/ws/bystander");
    let mut client = Client::open(&mut bench, "/open");
    let commands: Vec<_> = (2..12).map(|id| json!({"id": id, "unsubscribe": {"channel": "room.x"}})).collect();
    client.say(&[vec![json!({"id": 1, "connect": {}})], commands].concat());
    bench.run_for(SECOND / 10);
    assert_eq!(client.texts().len(), 3);
    bench.run_for(4 * SECOND);
    assert_eq!(client.texts().len(), 4);
    expect_echo(&mut bench, &mut bystander);
    bench.run_for(20 * SECOND);
    assert_eq!(bench.census(0).resting, 0);
}

#[test]
fn a_user_is_limited_whatever_the_address_once_it_is_known() {
    let limits = Quota { connections: Some(1), request_rate: per_second(1, 4), ..quota(QuotaBy::User) };
    let mut bench = Bench::new(1, limited_of(super::centrifuge::settings(), vec![limits], 1024));
    let mut bystander = bench.open(0, "/ws/bystander");
    let status = |bench: &mut Bench, path: &str| {
        let mut peer = bench.connect(0, 0);
        peer.say(request(path));
        bench.run_for(SECOND / 100);
        (peer.hear()[9..12].to_owned(), peer)
    };
    let (first, ann) = status(&mut bench, "/echo?user=ann");
    assert_eq!((&*first, &*status(&mut bench, "/echo?user=ann").0), ("101", "429"));
    assert_eq!(open_counts(&bench), 1);
    // The token of the client protocol names its user later.
    let connect =
        json!([{"id": 1, "connect": {"token": token(&json!({"sub": "ann", "exp": super::centrifuge::NOW + 60}))}}]);
    let by_token = Client::open(&mut bench, "/token");
    by_token.say(connect.as_array().unwrap());
    bench.run_for(SECOND / 10);
    assert_eq!(bench.closed(0, CloseReason::ConnectionLimit), 2);
    drop(ann);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(open_counts(&bench), 0);
    let mut by_token = Client::open(&mut bench, "/token");
    by_token.say(connect.as_array().unwrap());
    bench.run_for(SECOND / 10);
    assert_eq!((by_token.texts().len(), open_counts(&bench)), (1, 1));
    assert_eq!(status(&mut bench, "/echo?user=ann").0, "429");
    drop(by_token);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(open_counts(&bench), 0);
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_hundred_thousand_addresses_take_the_memory_of_the_table() {
    const TALLIES: usize = 4_096;
    let mut settings = trusting(Vec::new());
    settings = limited_of(settings, vec![Quota { request_rate: per_second(10, 10), ..quota(ADDRESS) }], TALLIES);
    let mut bench = Bench::new(1, settings);
    let mut bystander = bench.open(0, "/ws/1");
    let mut proxy = bench.connect(0, 0);
    let mut answers = 0;
    for first in (0..100_000_u32).step_by(200) {
        let requests = (first..first + 200).map(|number| {
            let ip = std::net::Ipv4Addr::from(0xcb00_0000 + number * 7);
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {ip}\r\n\r\n")
        });
        proxy.say(requests.collect::<String>());
        bench.run_for(SECOND / 100);
        answers += proxy.hear().matches("HTTP/1.1 404 ").count();
    }
    let quotas = bench.core(0).desk.settings.generation.quotas.as_ref().unwrap();
    assert_eq!((answers, quotas.bytes(), quotas.open()), (100_000, TALLIES * 16, 0));
    assert_eq!(bench.census(0).connections, 2);
    expect_echo(&mut bench, &mut bystander);
}

/// Connections come and end in every way, on two shards. After each turn the accounts say what is open (`Bench::turn`).
#[test]
fn each_count_is_released_however_a_connection_ends() {
    for seed in seeds::seeds(0..30) {
        let quotas = vec![
            Quota { connections: Some(12), handshake_rate: per_second(50, 50), ..quota(EVERYBODY) },
            Quota {
                connections: Some(8),
                message_rate: per_second(5, 5),
                routes: vec!["/ws/{room}".into()],
                ..quota(ADDRESS)
            },
            Quota { connections: Some(3), request_rate: per_second(5, 5), ..quota(QuotaBy::User) },
            Quota { connections: Some(4), routes: vec!["/sse/{room}".into()], ..quota(QuotaBy::Route) },
        ];
        // So few places that some have none.
        let mut bench = Bench::within(World::new(seed, Faults::none()), 2, limited_of(settings(), quotas, 8));
        let mut peers: Vec<Peer> = Vec::new();
        for _ in 0..120 {
            let shard = bench.world.random_below(2) as u16;
            match bench.world.random_below(10) {
                0..4 => {
                    let peer = bench.connect(shard, 0);
                    let path = ["/ws/1", "/sse/1", "/echo?user=ann", "/echo?user=bob", "/", "/ws/2"];
                    let path = path[bench.world.random_below(path.len() as u64) as usize];
                    peer.say(request(path));
                    peers.push(peer);
                }
                4 => peers.push(bench.connect(shard, TLS)),
                choice if !peers.is_empty() => {
                    let index = bench.world.random_below(peers.len() as u64) as usize;
                    match choice {
                        5 => peers.swap_remove(index).end.reset(),
                        6 => drop(peers.swap_remove(index)),
                        7 => peers[index].end.shutdown_write(),
                        8 => _ = peers[index].end.write(&text(b"x").repeat(3)),
                        _ => _ = peers[index].end.write(b"GET /\0 HTTP/1.1\r\n\r\n"),
                    }
                }
                _ => {}
            }
            let time = Duration::from_millis(bench.world.random_below(300));
            bench.run_for(time);
        }
        drop(peers);
        bench.run_for(60 * SECOND);
        assert_eq!((open_counts(&bench), bench.census(0), bench.census(1)), (0, Census::default(), Census::default()));
    }
}
