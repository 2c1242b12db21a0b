//! Strangers in seeded worlds: whatever they say and however they leave, nothing of them stays.

use super::seeds::seeds;
use super::*;

/// Input that a peer might send, whole, cut or out of place.
fn something(world: &World) -> Vec<u8> {
    const UPGRADE: &str = " HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let number = world.random_below(4);
    match world.random_below(16) {
        0 => format!("GET /sse/{number} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        1 | 2 => format!("GET /ws/{number}{UPGRADE}").into_bytes(),
        3 => format!("GET /echo?user=u{number}{UPGRADE}").into_bytes(),
        4 => text(&vec![b'x'; world.random_below(3_000) as usize]),
        5 => text(b"short").repeat(20),
        6 => format!("SUB room.{number} {number}\r\nSUB room.* w\r\nUNSUB {number}\r\n").into_bytes(),
        7 => format!("SUB tg.service.echo workers s{number}\r\nPING\r\n").into_bytes(),
        8 => format!("PUB room.{number} answer.{number} 5\r\nhello\r\n").into_bytes().repeat(20),
        9 => {
            format!("POST /api/channels/room.{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz").into_bytes()
        }
        11 | 12 => format!("PUB room.{number} 9000\r\n{}\r\n", "x".repeat(9_000)).into_bytes(),
        13 => format!("PUB tg.user.u{number}.subscribe answer 6\r\nroom.{number}\r\n").into_bytes(),
        14 => format!("PUB tg.user.u{number}.unsubscribe 6\r\nroom.{number}\r\n").into_bytes(),
        15 => format!("PUB tg.user.u{number}.close 0\r\n\r\n").into_bytes(),
        10 => b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        _ => {
            let mut close = Vec::new();
            frame::write_masked(&mut close, true, Opcode::Close, b"\x03\xe8", [1, 2, 3, 4]);
            close
        }
    }
}

/// Strangers come, say something, read or do not, and leave in every way there is. The simulator panics when a shard
/// breaks the driver's contract.
fn storm(seed: u64) {
    let mut settings = settings();
    settings.generation_mut().connections_max = 20;
    settings.generation_mut().outbox_bytes_max = 20_000;
    settings.generation_mut().waiting_bytes_max = if seed.is_multiple_of(3) { 50_000 } else { 10_000_000 };
    settings.generation_mut().arriving_bytes_max = if seed.is_multiple_of(2) { 4_000 } else { 100_000 };
    settings.generation_mut().bus.outbox_bytes_max = 20_000;
    let world = World::seeded(seed);
    let mut bench = Bench::within(world.clone(), 2, settings);
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..300 {
        let chosen = world.random_below(peers.len().max(1) as u64) as usize;
        match world.random_below(10) {
            0 | 1 => {
                let address = address(world.random_below(2) as u16, world.random_below(4) as u16);
                peers.extend(world.connect(address).map(Peer::new));
            }
            2..=5 if !peers.is_empty() => {
                let said = something(&world);
                let length = if world.random_below(5) == 0 {
                    world.random_below(said.len() as u64) as usize
                } else {
                    said.len()
                };
                peers[chosen].end.write(&said[..length]);
            }
            6 if !peers.is_empty() => drop(peers[chosen].hear()),
            7 if !peers.is_empty() => peers[chosen].end.shutdown_write(),
            8 if !peers.is_empty() => {
                let peer = peers.swap_remove(chosen);
                if world.random_below(2) == 0 {
                    peer.end.reset();
                }
            }
            _ => {}
        }
        let micros = if world.random_below(20) == 0 { 5_000_000 } else { world.random_below(2_000) + 1 };
        bench.run_for(Duration::from_micros(micros));
    }
    world.calm_down();
    drop(peers);
    bench.run_for(200 * SECOND);
    for shard in 0..2 {
        assert_eq!(bench.census(shard), Census::default(), "shard {shard}");
        let core = bench.core(shard);
        let left = (core.desk.parked.len(), core.handshakes.len(), core.desk.post.backlog(), core.desk.wheel.len());
        assert_eq!(left, (0, 0, 0, 0), "shard {shard}: parked, handshakes, backlog, timers");
        assert_eq!(core.desk.counters().open.value(), 0);
    }
    bench.drain();
    bench.run_for(SECOND);
    assert!(bench.is_over());
}

#[test]
fn strangers_in_every_kind_of_world_leave_nothing_behind() {
    for seed in seeds(0..100) {
        let outcome = std::panic::catch_unwind(|| storm(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
