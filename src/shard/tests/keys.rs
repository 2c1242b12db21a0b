//! Issuers that publish their keys: requests whose key is not known yet wait for them, and for nothing else.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use serde_json::{Value, json};

use super::centrifuge::{Client, NOW, Said};
use super::seeds::seeds;
use super::*;
use crate::conn::auth::{Auth, AuthBy, AuthKeys, Auths, TokenAuth};
use crate::conn::published::PublishedKeys;
use crate::conn::route::{AuthId, CentrifugeRoute};
use crate::mesh::Lane;
use crate::mesh::keys::{FetchFault, KeyMail};
use crate::proto::token::{Algorithm, KeySet, TokenPolicy};

/// For so many seconds, keys may be used.
const STALE_S: u64 = 3_600;
const AUTH: AuthId = AuthId(0);

thread_local! {
    /// Seconds of Unix time: each test has a thread of its own.
    static CLOCK: std::cell::Cell<u64> = const { std::cell::Cell::new(NOW) };
}

/// A key of an issuer, by its name.
struct Signer(&'static str, EcdsaKeyPair);

impl Signer {
    fn new(name: &'static str) -> Signer {
        Signer(name, EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.1.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.0, "x": base64(x), "y": base64(y)})
    }

    fn token(&self, user: &str) -> String {
        let header = json!({"alg": "ES256", "kid": self.0}).to_string();
        let claims = json!({"sub": user, "exp": NOW + 100 * STALE_S, "channels": [">"]}).to_string();
        let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let signature = self.1.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64(signature.as_ref()))
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Shards, the mailbox of the thread that fetches keys, and a client that has nothing to do with any of it.
struct Stage {
    bench: Bench,
    outbound: Mailbox,
    bystander: Peer,
}

fn settings() -> Settings {
    let room = || ChannelTemplate::parse("room.{room}").unwrap();
    let websocket = |control| {
        RouteTarget::WebSocket(WebSocketRoute {
            channel: Some(room()),
            publish: true,
            control,
            ..WebSocketRoute::default()
        })
    };
    let routes = [
        route("/page", RouteTarget::page("text/plain", b"page")),
        route("/sse/in/{room}", RouteTarget::Sse { channels: vec![room()], retry: SECOND }),
        route("/in/{room}", websocket(false)),
        route("/control/{room}", websocket(true)),
    ];
    let routes = routes.into_iter().map(|route| Route { auth: [AUTH].into(), ..route });
    let mut settings = super::settings();
    add_routes(&mut settings, routes);
    let target = CentrifugeRoute { token_auth: Some(AUTH), ..CentrifugeRoute::default() };
    add_routes(&mut settings, [route("/connect", RouteTarget::Centrifuge(Box::new(target)))]);
    settings.process_mut().unix_time = || CLOCK.get();
    with(settings, |generation| {
        let token = TokenAuth {
            policy: TokenPolicy { channels: Some("channels".into()), ..TokenPolicy::default() },
            keys: AuthKeys::Published { stale_s: STALE_S },
            carriers: ["header", "query:token"].map(|text| text.parse().unwrap()).into(),
        };
        generation.auths = Auths::new(vec![Auth { name: "app".into(), by: AuthBy::Token(Box::new(token)) }]);
        generation.ping_interval = Duration::from_secs(3_600);
    })
}

fn stage(shards: u16) -> Stage {
    CLOCK.set(NOW);
    let (mut bench, mailboxes) = Bench::beside(World::new(1, Faults::none()), shards, (1, 0), settings());
    let bystander = bench.open(0, "/ws/1");
    Stage { bench, outbound: mailboxes.into_iter().next().unwrap(), bystander }
}

fn published(signers: &[&Signer]) -> PublishedKeys {
    let json = json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string();
    let set = KeySet::read(json.as_bytes(), [Algorithm::Es256].into_iter().collect()).unwrap();
    PublishedKeys { set: set.into(), fetched_s: CLOCK.get() }
}

impl Stage {
    /// A fetch has ended so.
    fn fetched(&mut self, keys: Result<PublishedKeys, FetchFault>) {
        for place in (0..self.bench.shards.len() as u16).map(Place) {
            let mail = Mail::Keys(KeyMail::Fetched { auth: AUTH, keys: keys.clone() });
            assert!(self.bench.mesh.try_send(place, mail).is_ok());
            self.bench.mesh.wake(place);
        }
        self.run();
    }

    /// As [`Stage::fetched`], when the last fetch was long ago.
    fn rotated(&mut self, signers: &[&Signer]) {
        self.fetched(Ok(published(signers)));
        self.later(limits::KEY_ASKS_APART);
    }

    fn run(&mut self) {
        self.bench.run_for(SECOND / 10);
    }

    fn later(&mut self, time: Duration) {
        CLOCK.set(CLOCK.get() + time.as_secs());
        self.bench.run_for(time);
    }

    /// The fetches that shards have asked for since the last call.
    fn asked(&self) -> usize {
        let mails = std::iter::from_fn(|| self.outbound.take(Lane::Ask));
        mails.map(|mail| assert!(matches!(mail, Mail::Keys(KeyMail::Fetch { auth: AUTH })), "{mail:?}")).count()
    }

    /// A client that has asked for a page with this token.
    fn asking(&mut self, shard: u16, token: &str) -> Peer {
        let client = self.bench.connect(shard, 0);
        client.say(get(token));
        self.run();
        client
    }

    fn status(&mut self, token: &str) -> String {
        self.asking(0, token).hear().get(9..12).unwrap_or_default().to_owned()
    }

    fn end(mut self) {
        expect_echo(&mut self.bench, &mut self.bystander);
        drop(self.bystander);
        self.bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 2 * limits::CLOSE_TIMEOUT);
        for shard in 0..self.bench.shards.len() {
            assert_eq!(self.bench.census(shard), Census::default(), "nothing is left");
        }
    }
}

fn get(token: &str) -> String {
    format!("GET /page HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")
}

#[test]
fn a_request_waits_until_its_key_is_fetched_and_what_follows_it_waits_behind() {
    let (mut stage, old, new) = (stage(1), Signer::new("old"), Signer::new("new"));
    stage.rotated(&[&old]);
    let mut client = stage.bench.connect(0, 0);
    let long = get(&new.token("ann")).replace("Host: a", &format!("Host: a\r\nX: {}", "x".repeat(4_000)));
    client.say(long + &get(&old.token("ann")) + "GET /no");
    stage.run();
    assert_eq!((client.hear().as_str(), stage.asked(), stage.bench.census(0).checking), ("", 1, 1));
    assert!(stage.bench.census(0).arriving_bytes > 0, "the head that is kept counts");
    client.say("thing HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.fetched(Ok(published(&[&old, &new])));
    let heard = client.hear();
    let statuses: Vec<&str> = heard.matches("HTTP/1.1 200 ").chain(heard.matches("HTTP/1.1 404 ")).collect();
    assert_eq!(statuses, ["HTTP/1.1 200 ", "HTTP/1.1 200 ", "HTTP/1.1 404 "], "{heard}");
    assert_eq!((stage.asked(), stage.bench.census(0).arriving_bytes), (0, 0));
    drop(client);
    stage.end();
}

#[test]
fn streams_of_every_kind_open_after_the_wait() {
    let (mut stage, signer) = (stage(2), Signer::new("one"));
    stage.rotated(&[&Signer::new("other")]);
    let token = signer.token("ann");
    let mut streams: Vec<Peer> = ["/sse/in/1", "/in/1"]
        .map(|path| {
            let peer = stage.bench.connect(1, 0);
            peer.say(request(&format!("{path}?token={token}")));
            peer
        })
        .into();
    stage.run();
    assert!(streams.iter_mut().all(|peer| peer.hear().is_empty()));
    assert_eq!(stage.asked(), 1);
    stage.fetched(Ok(published(&[&signer])));
    stage.bystander.say(text(b"hello"));
    stage.run();
    let heard: Vec<String> = streams.iter_mut().map(Peer::hear).collect();
    assert!(heard[0].starts_with("HTTP/1.1 200 ") && heard[0].contains("data: hello"), "{heard:?}");
    assert!(heard[1].starts_with("HTTP/1.1 101 ") && heard[1].ends_with("hello"), "{heard:?}");
    stage.bystander.hear();
    drop(streams);
    stage.end();
}

#[test]
fn a_key_that_is_not_published_is_refused_after_the_fetch_and_then_at_once() {
    let (mut stage, own, stranger) = (stage(1), Signer::new("own"), Signer::new("strange"));
    stage.rotated(&[&own]);
    for outcome in [Ok(published(&[&own])), Err(FetchFault::Status)] {
        let mut client = stage.asking(0, &stranger.token("eve"));
        assert_eq!((client.hear().as_str(), stage.asked()), ("", 1));
        stage.fetched(outcome);
        let heard = client.hear();
        assert!(heard.starts_with("HTTP/1.1 401 ") && heard.contains("names a key ('kid')"), "{heard}");
        assert_eq!((stage.status(&stranger.token("eve")), stage.asked()), ("401".to_owned(), 0), "it was just fetched");
        assert_eq!(stage.status(&own.token("ann")), "200");
        stage.later(limits::KEY_ASKS_APART);
    }
    stage.end();
}

#[test]
fn a_thousand_requests_with_one_unknown_key_make_one_fetch() {
    let (mut stage, own, new) = (stage(2), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let token = new.token("ann");
    let mut clients: Vec<Peer> = (0..1_000)
        .map(|number| {
            let client = stage.bench.connect(number % 2, 0);
            client.say(get(&token));
            client
        })
        .collect();
    stage.run();
    assert_eq!(stage.asked(), 2, "each shard asks, and the thread beside them fetches once");
    stage.fetched(Ok(published(&[&own, &new])));
    stage.later(SECOND);
    assert!(clients.iter_mut().all(|client| client.hear().starts_with("HTTP/1.1 200 ")));
    let text = counters::render(stage.bench.core(0).desk.counters.iter(), &Default::default());
    assert!(text.contains("tidegate_key_fetches_total{auth=\"app\",outcome=\"fetched\"} 2\n"), "{text}");
    assert!(text.contains(&format!("tidegate_keys_fetched_seconds{{auth=\"app\"}} {}\n", NOW + 10)), "{text}");
    drop(clients);
    stage.end();
}

#[test]
fn more_requests_than_may_wait_are_sent_back() {
    let (mut stage, own, new) = (stage(1), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let token = new.token("ann");
    let count = limits::CHECKS_WAITING_MAX + 3;
    let mut clients = Vec::new();
    while clients.len() < count {
        let client = stage.bench.connect(0, 0);
        client.say(get(&token));
        clients.push(client);
        if clients.len() % 100 == 0 {
            stage.bench.run_for(SECOND / 100);
        }
    }
    stage.run();
    let refused = clients.iter_mut().map(Peer::hear).filter(|heard| heard.starts_with("HTTP/1.1 503 "));
    assert_eq!(refused.count(), 3);
    assert_eq!(stage.bench.closed(0, CloseReason::AuthBusy), 3);
    drop(clients);
    stage.later(limits::KEY_WAIT);
    stage.end();
}

#[test]
fn a_fetch_that_hangs_costs_its_requests_two_seconds_and_nothing_else() {
    let (mut stage, own, new) = (stage(1), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let mut client = stage.asking(0, &new.token("ann"));
    stage.later(limits::KEY_WAIT - SECOND / 2);
    assert_eq!((stage.status(&own.token("bob")), client.hear().as_str()), ("200".to_owned(), ""));
    stage.later(SECOND);
    assert!(client.hear().starts_with("HTTP/1.1 401 "));
    assert_eq!((stage.asked(), stage.bench.census(0).checking), (1, 0));
    client.say(get(&own.token("ann")));
    stage.run();
    assert!(client.hear().starts_with("HTTP/1.1 200 "), "the connection lives on");
    drop(client);
    stage.end();
}

#[test]
fn a_client_that_goes_away_or_ends_its_half_ends_its_wait() {
    let (mut stage, own, new) = (stage(1), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let (gone, mut half) = (stage.asking(0, &new.token("ann")), stage.asking(0, &new.token("ann")));
    half.end.shutdown_write();
    gone.end.reset();
    stage.run();
    assert_eq!(stage.bench.census(0).checking, 1, "who only ends its half still reads");
    stage.fetched(Ok(published(&[&own, &new])));
    assert!(half.hear().starts_with("HTTP/1.1 200 ") && half.is_at_end());
    drop(half);
    stage.end();
}

#[test]
fn without_fresh_keys_no_token_passes_and_old_ones_hold_for_a_while() {
    let (mut stage, signer) = (stage(1), Signer::new("one"));
    let token = signer.token("ann");
    let mut client = stage.asking(0, &token);
    let heard = client.hear();
    assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("\r\nRetry-After: 5\r\n"), "{heard}");
    assert!(heard.contains("\r\nConnection: keep-alive\r\n") || !heard.contains("Connection: close"), "{heard}");
    let mut events = stage.bench.connect(0, 0);
    events.say(request(&format!("/sse/in/1?token={token}")));
    stage.run();
    let heard = events.hear();
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("retry: 5000"), "an EventSource comes back: {heard}");
    assert!(events.has_last_chunk());
    stage.fetched(Ok(published(&[&signer])));
    assert_eq!(stage.status(&token), "200");
    for _ in 0..STALE_S / 600 {
        stage.later(Duration::from_secs(600));
        stage.fetched(Err(FetchFault::Unreachable));
    }
    assert_eq!(stage.status(&token), "200", "the old keys hold");
    stage.later(SECOND);
    assert_eq!(stage.status(&token), "503", "a key may have been withdrawn long ago");
    stage.fetched(Ok(published(&[&signer])));
    assert_eq!(stage.status(&token), "200");
    assert!(stage.bench.closed(0, CloseReason::AuthUnavailable) >= 3);
    drop((client, events));
    stage.bystander = stage.bench.open(0, "/ws/1");
    stage.end();
}

#[test]
fn a_token_does_not_pass_after_its_key_has_left_the_set() {
    let (mut stage, lost, other) = (stage(1), Signer::new("lost"), Signer::new("other"));
    let token = lost.token("ann");
    stage.rotated(&[&lost]);
    assert_eq!(stage.status(&token), "200");
    stage.rotated(&[&lost, &other]);
    assert_eq!(stage.status(&token), "200");
    stage.fetched(Ok(published(&[&other])));
    assert_eq!(stage.status(&token), "401", "although it was verified before");
    // Another key under the name of the lost one.
    stage.fetched(Ok(published(&[&Signer::new("lost"), &other])));
    assert_eq!(stage.status(&token), "401");
    stage.end();
}

#[test]
fn the_client_protocol_comes_again_when_the_key_has_been_fetched() {
    let (mut stage, own, new) = (stage(1), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let connect = |bench: &mut Bench| {
        let mut client = Client::open(bench, "/connect");
        client.say(&[json!({"id": 1, "connect": {"token": new.token("ann")}})]);
        bench.run_for(SECOND / 10);
        client.hear()
    };
    let again = json!({"id": 1, "error": {"code": 100, "message": "internal server error", "temporary": true}});
    assert_eq!(connect(&mut stage.bench), [Said::Text(again)]);
    assert_eq!(stage.asked(), 1);
    stage.fetched(Ok(published(&[&own, &new])));
    assert!(matches!(&connect(&mut stage.bench)[..], [Said::Text(answer)] if answer["connect"]["client"].is_string()));
    let mut control = stage.bench.open(0, &format!("/control/1?token={}", own.token("ann")));
    stage.later(limits::KEY_ASKS_APART);
    let newest = Signer::new("newest");
    control.say(text(json!({"tg": "token", "token": newest.token("ann")}).to_string().as_bytes()));
    stage.run();
    assert!(control.hear().contains("its issuer's keys are being fetched"));
    assert_eq!(stage.asked(), 1);
    stage.fetched(Ok(published(&[&own, &newest])));
    control.say(text(json!({"tg": "token", "token": newest.token("ann")}).to_string().as_bytes()));
    stage.run();
    assert!(control.hear().contains("\"ttl\":"));
    drop(control);
    stage.end();
}

#[test]
fn a_drain_waits_for_no_key() {
    let (mut stage, own, new) = (stage(1), Signer::new("own"), Signer::new("new"));
    stage.rotated(&[&own]);
    let (mut page, mut events) = (stage.asking(0, &new.token("ann")), stage.bench.connect(0, 0));
    events.say(request(&format!("/sse/in/1?token={}", new.token("ann"))));
    stage.run();
    let generation = &stage.bench.core(0).desk.settings.generation;
    let notice = generation.drain.notice;
    stage.bench.drain();
    stage.later(notice + SECOND);
    stage.fetched(Ok(published(&[&own, &new])));
    let heard = page.hear();
    assert!(heard.starts_with("HTTP/1.1 ") && heard.contains("\r\nConnection: close\r\n"), "{heard}");
    assert!(page.is_at_end());
    assert!(events.hear().starts_with("HTTP/1.1 200 ") && events.is_at_end());
    stage.later(limits::DRAIN_GRACE * 3);
    assert!(stage.bench.is_over());
}

/// Clients show tokens of known, new and foreign keys over a network with faults, and leave or stay; the set changes, and fetches fail.
fn storm(seed: u64) -> usize {
    CLOCK.set(NOW);
    let world = World::seeded(seed);
    let (mut bench, mailboxes) = Bench::beside(world.clone(), 2, (1, 0), settings());
    let signers = ["a", "b", "c"].map(Signer::new);
    let stranger = Signer::new("strange");
    let (mut own, mut foreign): (Vec<Peer>, Vec<Peer>) = Default::default();
    let (mut current, mut passed) = (published(&[&signers[0]]), 0);
    let below = |bound| world.random_below(bound);
    let tell = |bench: &Bench, keys: Result<PublishedKeys, FetchFault>| {
        for place in [Place(0), Place(1)] {
            // A full mailbox is no matter here.
            let _ = bench.mesh.try_send(place, Mail::Keys(KeyMail::Fetched { auth: AUTH, keys: keys.clone() }));
            bench.mesh.wake(place);
        }
    };
    tell(&bench, Ok(current.clone()));
    for _ in 0..300 {
        match below(6) {
            0..=2 => {
                let signer = below(4) as usize;
                let token = signers.get(signer).unwrap_or(&stranger).token("ann");
                if let Some(end) = world.connect(address(below(2) as u16, 0)) {
                    end.write(get(&token).repeat(1 + below(3) as usize).as_bytes());
                    if signer < signers.len() { own.push(Peer::new(end)) } else { foreign.push(Peer::new(end)) }
                }
            }
            3 if !own.is_empty() => {
                let client = own.swap_remove(below(own.len() as u64) as usize);
                if below(2) == 0 {
                    client.end.reset();
                }
            }
            4 => {
                let kept: Vec<&Signer> = signers.iter().filter(|_| below(2) == 0).collect();
                if !kept.is_empty() {
                    current = published(&kept);
                }
            }
            _ => {}
        }
        let asked = std::iter::from_fn(|| mailboxes[0].take(Lane::Ask)).count();
        if asked > 0 && below(4) > 0 {
            tell(&bench, if below(3) == 0 { Err(FetchFault::TooSlow) } else { Ok(current.clone()) });
        }
        for client in &mut own {
            passed += memchr::memmem::find_iter(&client.hear_bytes(), b"HTTP/1.1 200 ").count();
        }
        for client in &mut foreign {
            assert!(memchr::memmem::find(&client.hear_bytes(), b" 200 ").is_none(), "nobody has published its key");
        }
        let step = Duration::from_millis(100 + below(2_000));
        CLOCK.set(CLOCK.get() + step.as_secs());
        bench.run_for(step);
    }
    world.calm_down();
    drop((own, foreign));
    bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 5 * limits::SEND_TIMEOUT);
    for shard in 0..2 {
        assert_eq!(bench.census(shard), Census::default(), "nothing is left");
    }
    passed
}

#[test]
fn whatever_clients_and_issuers_do_no_foreign_token_passes_and_nothing_stays() {
    let mut passed = 0;
    for seed in seeds(0..16) {
        println!("TIDEGATE_SEED={seed}");
        passed += storm(seed);
    }
    assert!(passed > 0, "somebody is let in");
}
