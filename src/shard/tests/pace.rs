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

/// A storm that goes on: as many new strangers in each turn as one turn serves.
struct Storm {
    strangers: Vec<Peer>,
    silent: usize,
}

impl Storm {
    /// `begun` of the strangers have said their hello, and have not had a turn.
    fn new(bench: &mut Bench, begun: usize) -> Storm {
        let strangers: Vec<Peer> = (0..20 * limits::HANDSHAKES_PER_TURN).map(|_| bench.connect(0, TLS)).collect();
        bench.run_for(SECOND / 10);
        let mut storm = Storm { silent: strangers.len(), strangers };
        storm.say_hello(begun);
        storm
    }

    fn say_hello(&mut self, count: usize) {
        let said = self.silent - count.min(self.silent)..self.silent;
        self.silent = said.start;
        self.strangers[said].iter().for_each(|stranger| stranger.say(client_hello()));
    }

    /// The number of turns until the peer has heard something.
    fn turns_until_heard(&mut self, bench: &mut Bench, peer: &mut Peer) -> usize {
        for turn in 1..60 {
            bench.world.advance_to(bench.world.now() + SECOND / 1_000);
            bench.turn(0);
            self.say_hello(limits::HANDSHAKES_PER_TURN);
            if !bytes(peer).is_empty() {
                return turn;
            }
        }
        panic!("it waits for ever");
    }
}

#[test]
fn a_hello_in_two_segments_waits_once() {
    const BEGUN: usize = 5;
    let turns = [false, true].map(|is_split| {
        let mut bench = Bench::new(1, settings());
        let mut bystander = bench.open(0, "/ws/1");
        let mut victim = bench.connect(0, TLS);
        let mut storm = Storm::new(&mut bench, BEGUN * limits::HANDSHAKES_PER_TURN);
        let hello = client_hello();
        let at = if is_split { 1_448.min(hello.len() - 1) } else { 0 };
        if is_split {
            victim.say(&hello[..at]);
        }
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        bench.turn(0);
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        victim.say(&hello[at..]);
        bystander.say(text(b"still here"));
        let turns = storm.turns_until_heard(&mut bench, &mut victim);
        assert!(bystander.hear().contains("still here"));
        turns
    });
    assert!(turns[0] > 2 && turns[1] <= turns[0], "whole, in two segments: {turns:?} turns");
}

#[test]
fn a_hello_in_two_segments_or_records_keeps_the_priority_of_its_ticket() {
    let hello = with_ticket(client_hello());
    let (one, two) = hello[5..].split_at(700);
    let in_two_records = [&[22, 3, 1, 2, 188], one, &[22, 3, 1], &(two.len() as u16).to_be_bytes(), two].concat();
    for wire in [hello, in_two_records] {
        let mut bench = Bench::new(1, settings());
        let mut victim = bench.connect(0, TLS);
        let mut storm = Storm::new(&mut bench, 10 * limits::HANDSHAKES_PER_TURN);
        victim.say(&wire[..705]);
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        bench.turn(0);
        assert_eq!(bench.core(0).handshakes.len(), 9 * limits::HANDSHAKES_PER_TURN, "half a hello does not wait");
        victim.say(&wire[705..]);
        let turns = storm.turns_until_heard(&mut bench, &mut victim);
        assert!(turns <= 2, "{turns} turns");
    }
}

#[test]
fn a_hello_that_drips_takes_no_turn_and_ends_at_its_deadline() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let mut dripper = bench.connect(0, TLS);
    bench.run_for(SECOND / 10);
    let hello = client_hello();
    let _storm = Storm::new(&mut bench, 5 * limits::HANDSHAKES_PER_TURN);
    for (byte, turns_left) in hello.iter().zip((0..5).rev()) {
        dripper.say([*byte]);
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        bench.turn(0);
        assert_eq!(
            bench.core(0).handshakes.len(),
            turns_left * limits::HANDSHAKES_PER_TURN,
            "the storm has every turn"
        );
    }
    bystander.say(text(b"still here"));
    bench.run_for(SECOND / 10);
    assert!(bystander.hear().contains("still here") && bytes(&mut dripper).is_empty());
    bench.run_for(limits::HANDSHAKE_TIMEOUT);
    assert!(dripper.is_at_end() && bench.closed(0, CloseReason::TlsTooSlow) > 0);
}

#[test]
fn junk_on_the_tls_port_ends_at_once_and_never_waits() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let mut others: Vec<Peer> = (0..3).map(|_| bench.connect(0, TLS)).collect();
    let _storm = Storm::new(&mut bench, 10 * limits::HANDSHAKES_PER_TURN);
    others[0].say("GET / HTTP/1.1\r\n\r\n");
    others[1].end.write(&[22; 40_000]);
    // A record that is longer than any handshake.
    others[2].say([22, 3, 1, 0x40, 0, 1]);
    bystander.say(text(b"still here"));
    for _ in 0..2 {
        bench.world.advance_to(bench.world.now() + SECOND / 1_000);
        bench.turn(0);
    }
    let alerts: Vec<u8> = others.iter_mut().map(|other| bytes(other)[6]).collect();
    assert_eq!(alerts, [10, 70, 22], "unexpected_message, protocol_version, record_overflow");
    assert_eq!(bench.closed(0, CloseReason::TlsProtocol), 3);
    assert!(bench.core(0).handshakes.len() >= 8 * limits::HANDSHAKES_PER_TURN, "the storm goes on");
    assert!(bystander.hear().contains("still here"));
}

/// The hello with a ticket of another gateway in it.
fn with_ticket(mut hello: Vec<u8>) -> Vec<u8> {
    // Record, message, version and random; then session id, suites and compressions, each after its length.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]);
    // One identity of 32 bytes with its age, and one binder of 32 bytes (RFC 8446 section 4.2.11).
    let psk = [&[0, 38, 0, 32][..], &[7; 36], &[0, 33, 32], &[7; 32]].concat();
    hello.extend([0, 41, 0, psk.len() as u8]);
    hello.extend(&psk);
    let mut lengthen = |at: usize| {
        let length = u16::from_be_bytes([hello[at], hello[at + 1]]) + 4 + psk.len() as u16;
        hello[at..at + 2].copy_from_slice(&length.to_be_bytes());
    };
    [3, 7, at].into_iter().for_each(&mut lengthen);
    hello
}

fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
