//! What a shard does by the clock and by count: signs of life, rest after a failed accept, a few handshakes a turn.

use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::proto::tls::config::provider;

/// What has arrived since it was asked last, as bytes.
fn bytes(peer: &mut Peer) -> Vec<u8> {
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    std::mem::take(&mut peer.heard)
}

/// Unmasked frames of the gateway (RFC 6455 section 5.5): an empty ping, and a close with 1001.
const PING: &[u8] = b"\x89\x00";
const GOING_AWAY: &[u8] = b"\x03\xe9";

#[test]
fn an_idle_websocket_is_asked_for_a_sign_of_life_and_closed_with_1001_without_one() {
    let mut bench = Bench::new(1, settings());
    let mut idle = bench.open(0, "/ws/1");
    let mut lively = bench.open(0, "/ws/2");
    bench.run_for(limits::PING_INTERVAL);
    assert_eq!((bytes(&mut idle), bytes(&mut lively)), (PING.to_vec(), PING.to_vec()));
    let mut pong = Vec::new();
    frame::write_masked(&mut pong, true, Opcode::Pong, b"", [0; 4]);
    lively.say(pong);
    let patience = bench.world.now() + limits::PONG_TIMEOUT;
    while bench.closed(0, CloseReason::NoPong) == 0 && bench.world.now() < patience {
        bench.run_for(SECOND);
    }
    let last = bytes(&mut idle);
    assert!(last.starts_with(b"\x88") && last[2..].starts_with(GOING_AWAY), "{last:?}");
    assert_eq!(bench.closed(0, CloseReason::NoPong), 1);
    assert_eq!(bench.census(0).connections, 2, "the other one lives, this one lingers");
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.census(0).connections, 1);
}

#[test]
fn a_listener_rests_after_a_failed_accept_and_tries_again() {
    let world = World::new(1, Faults { accept_failure: 1_000, ..Faults::none() });
    let mut bench = Bench::within(world, 1, settings());
    let _waiting = bench.world.connect(address(0, 0)).expect("the queue has room");
    bench.run_for(SECOND);
    let failures = bench.core(0).desk.counters().accept_failures.value();
    let tries_max = (SECOND.as_millis() / limits::ACCEPT_BACKOFF.as_millis()) as u64 + 1;
    assert!((2..=tries_max).contains(&failures), "{failures} failures in a second");
    bench.world.calm_down();
    bench.run_for(SECOND);
    assert_eq!(bench.census(0).connections, 1);
}

#[test]
fn live_connections_do_not_wait_for_a_storm_of_handshakes() {
    const STORM: usize = 5 * limits::HANDSHAKES_PER_TURN;
    let mut bench = Bench::new(1, settings());
    let mut live = bench.open(0, "/ws/1");
    let mut strangers: Vec<Peer> = (0..STORM).map(|_| bench.connect(0, TLS)).collect();
    bench.run_for(SECOND / 10);
    strangers.iter().for_each(|stranger| stranger.say(client_hello()));
    live.say(text(b"still here"));
    bench.world.advance_to(bench.world.now() + SECOND / 10);
    let (mut answered, mut turns) = (0, 0);
    while answered < STORM {
        bench.turn(0);
        turns += 1;
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        let now_answered = strangers.iter_mut().map(bytes).filter(|heard| !heard.is_empty()).count();
        assert!(now_answered <= limits::HANDSHAKES_PER_TURN, "{now_answered} handshakes in one turn");
        answered += now_answered;
        if turns == 2 {
            assert!(live.hear().contains("still here"), "answered before the storm is over");
        }
        assert!(turns < 100, "{answered} of {STORM} handshakes advanced");
    }
    assert!(turns >= 5);
}

#[test]
fn a_handshake_that_has_begun_does_not_wait_behind_a_storm() {
    const STORM: usize = 5 * limits::HANDSHAKES_PER_TURN;
    let mut bench = Bench::new(1, settings());
    let mut begun = bench.connect(0, TLS);
    let strangers: Vec<Peer> = (0..STORM).map(|_| bench.connect(0, TLS)).collect();
    bench.run_for(SECOND / 10);
    begun.say(client_hello());
    bench.run_for(SECOND / 10);
    assert!(!bytes(&mut begun).is_empty());
    strangers.iter().for_each(|stranger| stranger.say(client_hello()));
    bench.world.advance_to(bench.world.now() + SECOND / 10);
    bench.turn(0);
    // Not encrypted, as everything should be by now: the refusal shows that it had its turn.
    begun.say([22, 3, 3, 0, 1, 20]);
    bench.world.advance_to(bench.world.now() + SECOND / 10);
    bench.turn(0);
    assert_eq!(bench.closed(0, CloseReason::TlsForged), 1);
    assert!(bench.core(0).handshakes.len() > STORM / 2, "the storm goes on");
}

#[test]
fn handshakes_beyond_the_bound_are_refused_and_live_connections_do_not_notice() {
    const BOUND: usize = 40;
    let mut bench = Bench::new(1, with(settings(), |generation| generation.handshakes_waiting_max = BOUND));
    let mut live = bench.open(0, "/ws/1");
    let mut strangers: Vec<Peer> = (0..200).map(|_| bench.connect(0, TLS)).collect();
    bench.run_for(SECOND / 10);
    strangers.iter().for_each(|stranger| stranger.say(client_hello()));
    live.say(text(b"still here"));
    bench.run_for(SECOND / 10);
    assert!(live.hear().contains("still here"));
    let served = strangers.iter_mut().map(bytes).filter(|heard| !heard.is_empty()).count();
    assert!(served >= BOUND, "{served}");
    let refused = bench.closed(0, CloseReason::HandshakeRefused);
    assert_eq!(refused as usize, 200 - served);
    assert_eq!(bench.core(0).desk.counters().handshakes_waiting.value(), 0);
}

#[test]
fn a_handshake_that_has_waited_for_too_long_is_refused_without_work() {
    let mut bench = Bench::new(1, settings());
    let mut strangers: Vec<Peer> = (0..5 * limits::HANDSHAKES_PER_TURN).map(|_| bench.connect(0, TLS)).collect();
    bench.run_for(SECOND / 10);
    strangers.iter().for_each(|stranger| stranger.say(client_hello()));
    bench.world.advance_to(bench.world.now() + SECOND / 10);
    bench.turn(0);
    assert_eq!(bench.core(0).desk.counters().handshakes_waiting.value() as usize, 4 * limits::HANDSHAKES_PER_TURN);
    // Something keeps the shard from turning.
    bench.world.advance_to(bench.world.now() + limits::HANDSHAKE_WAIT + SECOND / 10);
    bench.run_for(SECOND / 10);
    let served = strangers.iter_mut().map(bytes).filter(|heard| !heard.is_empty()).count();
    assert_eq!(served, limits::HANDSHAKES_PER_TURN);
    assert_eq!(bench.closed(0, CloseReason::HandshakeRefused) as usize, 4 * limits::HANDSHAKES_PER_TURN);
}

fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
