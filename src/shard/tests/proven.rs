//! Clients that a token lets in: their streams end with the token, a refresh keeps a WebSocket, and users are reached by name.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::centrifuge::{Client, NOW, Said};
use super::seeds::seeds;
use super::*;
use crate::conn::auth::{Auth, AuthBy, AuthKeys, Auths, TokenAuth};
use crate::conn::route::{AuthId, CentrifugeRoute};
use crate::conn::{Lasting, identity, lasting};
use crate::proto::token::{Algorithm, KeySet, TokenPolicy};

pub(super) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// One that takes tokens of [`token`].
pub(super) fn auths() -> Auths {
    let policy = TokenPolicy { leeway_s: 0, channels: Some("channels".into()), ..TokenPolicy::default() };
    let keys = AuthKeys::Own(KeySet::secret(SECRET, [Algorithm::Hs256].into_iter().collect()).unwrap());
    let carriers = ["header", "query:token"].map(|text| text.parse().unwrap()).into();
    let token = TokenAuth { policy, keys, carriers };
    Auths::new(vec![Auth { name: "app".into(), by: AuthBy::Token(Box::new(token)) }])
}

pub(super) fn settings() -> Settings {
    let room = || ChannelTemplate::parse("room.{room}").unwrap();
    let websocket = |control| {
        RouteTarget::WebSocket(WebSocketRoute {
            channel: Some(room()),
            publish: true,
            control,
            ..WebSocketRoute::default()
        })
    };
    let centrifuge = CentrifugeRoute { publish_to: Vec::new(), ..CentrifugeRoute::default() };
    let routes = [
        route("/sse/in/{room}", RouteTarget::Sse { channels: vec![room()], retry: SECOND }),
        route("/in/{room}", websocket(false)),
        route("/control/{room}", websocket(true)),
        route("/protocol", RouteTarget::Centrifuge(Box::new(centrifuge))),
    ];
    let routes = routes.into_iter().map(|route| Route { auth: [AuthId(0)].into(), ..route });
    let mut settings = super::settings();
    add_routes(&mut settings, routes);
    let target = CentrifugeRoute {
        token_auth: Some(AuthId(0)),
        server_side: vec![ChannelTemplate::parse("own.{who}").unwrap()],
        ..CentrifugeRoute::default()
    };
    add_routes(&mut settings, [route("/connect/{who}", RouteTarget::Centrifuge(Box::new(target)))]);
    settings.process_mut().unix_time = || NOW;
    with(settings, |generation| {
        generation.auths = auths();
        // The clients of these tests answer no ping.
        generation.ping_interval = Duration::from_secs(3_600);
    })
}

pub(super) fn token(user: &str, exp: u64) -> String {
    signed(&json!({"sub": user, "exp": exp, "channels": [">"]}))
}

pub(super) fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// The code of the close frame at the end of what was heard.
pub(super) fn close_code(heard: &[u8]) -> Option<u16> {
    let at = heard.iter().rposition(|byte| *byte == 0x88)?;
    Some(u16::from_be_bytes([*heard.get(at + 2)?, *heard.get(at + 3)?]))
}

#[test]
fn streams_end_to_the_second_with_their_tokens_and_no_others() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let mut lasting = bench.open(0, &format!("/in/1?token={}", token("bob", NOW + 3_600)));
    let opened = bench.world.now();
    let mut websocket = bench.open(0, &format!("/in/1?token={}", token("ann", NOW + 60)));
    let mut events = bench.open(0, &format!("/sse/in/1?token={}", token("ann", NOW + 60)));
    assert_eq!(bench.census(0).expiring, 3);
    bench.run_for(Duration::from_secs(59));
    assert!(!websocket.is_at_end() && !events.is_at_end());
    bench.run_for((opened + Duration::from_secs(61)).since(bench.world.now()));
    assert_eq!(close_code(&websocket.hear_bytes()), Some(3000));
    let said = events.hear();
    assert!(said.ends_with("event: tg.end\ndata: {\"reason\":\"expired\"}\n\n") && events.has_last_chunk(), "{said}");
    assert_eq!((bench.closed(0, CloseReason::TokenExpired), bench.census(0).expiring), (2, 1));
    assert!(!lasting.is_at_end());
    lasting.hear();
    expect_echo(&mut bench, &mut bystander);
    drop((websocket, events, lasting, bystander));
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.census(0), Census::default(), "the entry of a stream that ends before goes with it");
}

#[test]
fn another_token_of_the_same_user_keeps_a_websocket_and_one_of_another_ends_it() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let say = |exp: u64, user: &str| text(json!({"tg": "token", "token": token(user, exp)}).to_string().as_bytes());
    let mut client = bench.open(0, &format!("/control/2?token={}", token("ann", NOW + 60)));
    client.say(say(NOW + 300, "ann"));
    bench.run_for(SECOND);
    assert!(client.hear().contains("{\"tg\":\"token\",\"ttl\":300}"));
    bench.run_for(Duration::from_secs(100));
    assert!(!client.is_at_end());
    client.say(text(b"{\"tg\":\"token\",\"token\":\"junk\"}"));
    client.say(text(b"{\"tg\":\"token\"}"));
    bench.run_for(SECOND);
    let said = client.hear();
    assert_eq!(said.matches("\"error\":\"it is no JWT").count(), 2, "{said}");
    assert!(!client.is_at_end(), "the earlier token holds");
    bench.run_for(Duration::from_secs(200));
    assert_eq!(close_code(&client.hear_bytes()), Some(3000));
    let mut thief = bench.open(0, &format!("/control/2?token={}", token("ann", NOW + 60)));
    thief.say(say(NOW + 300, "bob"));
    bench.run_for(SECOND);
    assert_eq!(close_code(&thief.hear_bytes()), Some(3003));
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn an_event_stream_with_a_token_hears_what_is_for_its_user() {
    let mut bench = Bench::new(2, settings());
    let mut events = bench.open(1, &format!("/sse/in/1?token={}", token("ann@example.org", NOW + 60)));
    let mut nameless = bench.open(1, "/sse/1");
    let worker = bench.connect(0, BUS);
    worker.say("CONNECT {}\r\nPUB tg.user.ann@example%2Eorg 2\r\nhi\r\nPUB room.1 3\r\nall\r\n");
    bench.run_for(SECOND);
    let said = events.hear();
    assert!(said.contains("data: hi\n") && said.contains("data: all\n"), "{said}");
    let said = nameless.hear();
    assert!(!said.contains("data: hi\n") && said.contains("data: all\n"), "{said}");
}

#[test]
fn a_client_of_the_client_protocol_hears_the_channels_of_its_token() {
    let mut bench = Bench::new(1, settings());
    let token = signed(&json!({"sub": "ann", "exp": NOW + 60, "channels": ["room.1"]}));
    let (mut client, answer) = Client::connected(&mut bench, &format!("/protocol?token={token}"), json!({}));
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    client.say(&[
        json!({"id": 2, "subscribe": {"channel": "room.1"}}),
        json!({"id": 3, "subscribe": {"channel": "room.2"}}),
    ]);
    bench.run_for(SECOND);
    let said = client.texts();
    assert!(said[0]["subscribe"].is_object(), "{said:?}");
    assert_eq!(said[1]["error"]["code"], 103, "{said:?}");
    bench.run_for(Duration::from_secs(60));
    let said = client.hear();
    assert_eq!(said.last(), Some(&Said::Close(3005, "connection expired".to_owned())), "{said:?}");
}

#[test]
fn many_forged_tokens_keep_nobody_else_waiting() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let stranger = bench.connect(0, 0);
    let forged = format!("{}x", token("ann", NOW + 60));
    let requests: String =
        (0..300).map(|_| format!("GET /sse/in/1?token={forged} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    stranger.say(requests);
    expect_echo(&mut bench, &mut bystander);
    assert_eq!(bench.closed(0, CloseReason::InvalidToken), 300);
    let text = counters::render(bench.core(0).desk.counters.iter(), &bench.core(0).desk.settings.generation.channels);
    assert!(text.contains("tidegate_auth_total{shard=\"0\",auth=\"app\",outcome=\"invalid\"} 300\n"), "{text}");
}

#[test]
fn an_auth_takes_the_token_of_connect_and_its_refresh() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let claims = |user: &str, seconds: u64| {
        signed(&json!({"sub": user, "exp": NOW + seconds, "channels": ["room.1", "own.ann"]}))
    };
    let connect = json!({"token": claims("ann", 60)});
    let (mut client, answer) = Client::connected(&mut bench, "/connect/ann", connect.clone());
    assert_eq!((&answer["connect"]["ttl"], bench.census(0).expiring), (&json!(60), 1), "{answer}");
    client.say(&[
        json!({"id": 2, "subscribe": {"channel": "room.1"}}),
        json!({"id": 3, "subscribe": {"channel": "room.2"}}),
        json!({"id": 4, "refresh": {"token": claims("ann", 300)}}),
        json!({"id": 5, "refresh": {"token": "junk"}}),
    ]);
    bench.run_for(SECOND);
    let said = client.hear();
    assert!(said.contains(&Said::Text(json!({"id": 2, "subscribe": {}}))), "{said:?}");
    assert!(said.contains(&Said::Text(json!({"id": 3, "error": {"code": 103, "message": "permission denied"}}))));
    assert_eq!(said.last(), Some(&Said::Close(3500, "invalid token".to_owned())), "as with a key: {said:?}");
    for (path, token, said) in [
        (
            "/connect/bob",
            claims("ann", 60),
            Said::Text(json!({"id": 1, "error": {"code": 103, "message": "permission denied"}})),
        ),
        (
            "/connect/ann",
            claims("ann", 0),
            Said::Text(json!({"id": 1, "error": {"code": 109, "message": "token expired"}})),
        ),
        (
            "/connect/ann",
            String::new(),
            Said::Text(json!({"id": 1, "error": {"code": 101, "message": "unauthorized"}})),
        ),
        ("/connect/ann", "junk".to_owned(), Said::Close(3500, "invalid token".to_owned())),
    ] {
        let mut client = Client::open(&mut bench, path);
        client.say(&[json!({"id": 1, "connect": {"token": token}})]);
        bench.run_for(SECOND / 10);
        assert_eq!(client.hear(), [said], "{path} {token}");
    }
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_client_with_the_token_of_an_auth_lives_as_long_as_its_last_one() {
    let mut bench = Bench::new(1, settings());
    let (mut client, _) = Client::connected(&mut bench, "/connect/ann", json!({"token": token("ann", NOW + 60)}));
    let (mut left, _) = Client::connected(&mut bench, "/connect/ann", json!({"token": token("ann", NOW + 60)}));
    client.say(&[json!({"id": 2, "refresh": {"token": token("ann", NOW + 300)}})]);
    bench.run_for(Duration::from_secs(61));
    assert_eq!(left.hear().last(), Some(&Said::Close(3005, "connection expired".to_owned())));
    let said = client.hear();
    assert!(!said.iter().any(|said| matches!(said, Said::Close(..))), "{said:?}");
    assert_eq!(bench.closed(0, CloseReason::TokenExpired), 1);
    bench.run_for(Duration::from_secs(240));
    assert_eq!(client.hear().last(), Some(&Said::Close(3005, "connection expired".to_owned())));
}

/// The answer to a revocation.
fn revoke(bench: &mut Bench, text: &str) -> String {
    let mut operator = bench.connect(0, ADMIN);
    operator.say(format!("POST /api/revocations HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
    bench.run_for(SECOND / 2);
    operator.hear()
}

#[test]
fn a_revoked_user_is_gone_from_all_shards_within_a_second_and_is_not_let_in() {
    let mut bench = Bench::new(2, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let ann = token("ann", NOW + 3_600);
    let mut websocket = bench.open(0, &format!("/in/1?token={ann}"));
    let mut events = bench.open(1, &format!("/sse/in/1?token={ann}"));
    let (mut client, _) = Client::connected(&mut bench, &format!("/protocol?token={ann}"), json!({}));
    let mut greeting = bench.open(0, &format!("/protocol?token={ann}"));
    let mut bob = bench.open(1, &format!("/in/1?token={}", token("bob", NOW + 3_600)));
    let answer = revoke(&mut bench, "{\"user\":\"ann\"}");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"closed\":4}"), "{answer}");
    assert_eq!(close_code(&websocket.hear_bytes()), Some(3003));
    assert!(events.hear().ends_with("event: tg.end\ndata: {\"reason\":\"revoked\"}\n\n"));
    assert_eq!(client.hear(), [Said::Close(3503, "force disconnect".to_owned())]);
    assert!(greeting.is_at_end(), "one that has not connected yet");
    assert!(!bob.is_at_end());
    for shard in 0..2 {
        let mut again = bench.connect(shard, 0);
        again.say(request(&format!("/sse/in/1?token={ann}")));
        bench.run_for(SECOND / 10);
        let said = again.hear();
        assert!(said.starts_with("HTTP/1.1 401 ") && said.contains("error_description=\"it is revoked\""), "{said}");
    }
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn a_token_is_revoked_by_its_name_and_a_text_that_names_none_is_refused() {
    let mut bench = Bench::new(1, settings());
    let claims = |id: &str| signed(&json!({"sub": "ann", "exp": NOW + 60, "channels": [">"], "jti": id, "sid": "s"}));
    let mut first = bench.open(0, &format!("/in/1?token={}", claims("1")));
    let mut second = bench.open(0, &format!("/in/1?token={}", claims("2")));
    assert!(revoke(&mut bench, "{\"jti\":\"1\"}").ends_with("{\"closed\":1}"));
    assert!(first.is_at_end() && !second.is_at_end());
    for bad in ["", "{}", "{\"user\":\"a\",\"jti\":\"1\"}", "{\"jti\":1}"] {
        assert!(revoke(&mut bench, bad).starts_with("HTTP/1.1 400 "), "{bad}");
    }
    assert!(revoke(&mut bench, "{\"sid\":\"s\",\"issued_before\":1}").ends_with("{\"closed\":1}"));
    assert!(second.is_at_end());
}

#[test]
fn a_worker_revokes_as_an_operator_does() {
    for home in 0..2 {
        let mut bench = Bench::new(2, settings());
        let ann = token("ann", NOW + 3_600);
        let mut streams: Vec<Peer> = (0..2).map(|shard| bench.open(shard, &format!("/in/1?token={ann}"))).collect();
        let mut worker = bench.connect(home, BUS);
        worker.say("CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\nSUB _INBOX.> 1\r\nPING\r\n");
        bench.run_for(SECOND / 10);
        worker.hear();
        let mut request = |bench: &mut Bench, text: &str| {
            worker.say(format!("PUB tg.revoke _INBOX.1 {}\r\n{text}\r\n", text.len()));
            bench.run_for(SECOND);
            worker.hear()
        };
        for bad in ["", "{}", "{\"user\":\"ann\",\"until\":1}"] {
            let heard = request(&mut bench, bad);
            assert!(heard.starts_with("HMSG ") && heard.contains("NATS/1.0 400 Bad Request\r\n"), "{bad}: {heard}");
        }
        assert!(streams.iter_mut().all(|stream| !stream.is_at_end()));
        assert_eq!(request(&mut bench, "{\"user\":\"ann\"}"), "MSG _INBOX.1 1 12\r\n{\"closed\":2}\r\n");
        assert!(streams.iter_mut().all(Peer::is_at_end));
        assert_eq!(request(&mut bench, "{\"user\":\"ann\"}"), "MSG _INBOX.1 1 12\r\n{\"closed\":0}\r\n");
    }
}

#[test]
fn a_revocation_that_no_worker_waits_for_is_carried_out_and_leaves_nothing() {
    let mut bench = Bench::new(2, settings());
    let mut stream = bench.open(1, &format!("/in/1?token={}", token("ann", NOW + 3_600)));
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPUB tg.revoke 14\r\n{\"user\":\"ann\"}\r\nPING\r\n");
    bench.run_for(SECOND);
    assert!(worker.hear().ends_with("PONG\r\n") && stream.is_at_end());
    // A client's answer is no revocation.
    let _tab = bench.open(1, &format!("/in/1?token={}", token("bob", NOW + 3_600)));
    worker.say("PUB tg.user.bob tg.revoke 2\r\nhi\r\n");
    bench.run_for(SECOND);
    assert_eq!(worker.hear(), "MSG tg.user.bob 1 tg.revoke 2\r\nhi\r\n", "a plain message");
}

#[test]
fn a_walk_through_many_connections_does_a_piece_at_a_time_and_finds_each() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let count = 3 * limits::REVOKED_AT_ONCE;
    let ann = token("ann", NOW + 3_600);
    let open = |_| {
        let peer = bench.connect(0, 0);
        peer.say(request(&format!("/in/1?token={ann}")));
        peer
    };
    let peers: Vec<Peer> = (0..count).map(open).collect();
    bench.run_for(SECOND);
    let answer = revoke(&mut bench, "{\"user\":\"ann\"}");
    assert!(answer.ends_with(&format!("{{\"closed\":{count}}}")), "{answer}");
    assert_eq!(bench.closed(0, CloseReason::TokenRevoked), u64::from(count));
    bystander.hear();
    expect_echo(&mut bench, &mut bystander);
    drop(peers);
}

thread_local! {
    /// Seconds of Unix time in a world with a storm: each test has a thread of its own.
    static CLOCK: std::cell::Cell<u64> = const { std::cell::Cell::new(NOW) };
}

/// No stream is open more than a second after the end of its token.
fn assert_none_outlives_its_token(bench: &Bench) {
    for shard in 0..2 {
        let desk = &bench.core(shard).desk;
        let streams = desk.slots.keys().filter_map(|key| desk.slots.get(key)).filter(|conn| conn.is_open());
        for conn in streams.filter(|conn| lasting(&conn.session) == Lasting::Stream) {
            let until = identity(&conn.session).map_or(Tick::NEVER, |client| client.until());
            assert!(until == Tick::NEVER || desk.now < until + SECOND, "it should have ended at {until:?}");
        }
    }
}

/// Clients come with tokens of all ages over a network with faults, show others, and leave or stay until the end.
fn storm(seed: u64) {
    CLOCK.set(NOW);
    let mut settings = settings();
    settings.process_mut().unix_time = || CLOCK.get();
    let world = World::seeded(seed);
    let mut bench = Bench::within(world.clone(), 2, settings);
    let mut bystander = bench.connect(0, 0);
    bystander.say(request("/ws/1"));
    let mut peers: Vec<Peer> = Vec::new();
    let below = |bound| world.random_below(bound);
    let some_token = || match below(8) {
        0 => "junk".to_owned(),
        1 => token("ann", CLOCK.get()),
        age => token(["ann", "bob"][below(2) as usize], CLOCK.get() + age + below(20)),
    };
    for _ in 0..400 {
        match below(6) {
            0 | 1 => {
                let kind = ["/sse/in/1", "/in/1", "/control/1", "/protocol"][below(4) as usize];
                if let Some(end) = world.connect(address(below(2) as u16, 0)) {
                    end.write(request(&format!("{kind}?token={}", some_token())).as_bytes());
                    peers.push(Peer::new(end));
                }
            }
            2 | 3 if !peers.is_empty() => {
                let said = match below(3) {
                    0 => json!({"tg": "token", "token": some_token()}).to_string(),
                    1 => json!({"id": 1, "connect": {}}).to_string(),
                    _ => "hello".to_owned(),
                };
                peers[below(peers.len() as u64) as usize].end.write(&text(said.as_bytes()));
            }
            4 if peers.len() > 30 => drop(peers.swap_remove(below(peers.len() as u64) as usize)),
            _ => {}
        }
        for peer in &mut peers {
            peer.hear_bytes();
        }
        bench.run_for(SECOND / 4);
        CLOCK.set(NOW + world.now().since(Tick::ZERO).as_secs());
        assert_none_outlives_its_token(&bench);
    }
    assert!(bench.closed(0, CloseReason::TokenExpired) + bench.closed(1, CloseReason::TokenExpired) > 0);
    bystander.hear();
    bystander.say(text(b"still there"));
    bench.run_for(10 * SECOND);
    assert!(bystander.hear().contains("still there"), "seed {seed}");
    drop((peers, bystander));
    bench.run_for(
        2 * limits::HALF_CLOSE_PROBE + 2 * limits::CLOSE_TIMEOUT + limits::SEND_TIMEOUT + limits::SSE_HEARTBEAT,
    );
    for shard in 0..2 {
        assert_eq!(bench.census(shard), Census::default(), "seed {seed}");
    }
}

#[test]
fn in_no_storm_does_a_stream_outlive_its_token() {
    seeds(0..20).for_each(storm);
}
