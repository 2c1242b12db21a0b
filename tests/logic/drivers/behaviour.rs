//! What every driver does, one behaviour a function. `tests/logic/drivers/mod.rs` runs each on each driver.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use tidegate::base::{Batch, InFlight, Key, Tick};
use tidegate::driver::Driver;

pub use crate::drivers::dialling::*;
pub use crate::drivers::ending::*;
pub use crate::drivers::storm::a_storm_of_everything_keeps_the_contract;

use crate::drivers::stage::{Event, LISTENER, Peer, Read, Stage, World, pattern};

pub fn echoes<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    for round in 1..=50 {
        let bytes = pattern(round * 97);
        stage.write_all(&mut peer, &bytes);
        let received = stage.receive_exactly(key, bytes.len());
        assert_eq!(received, bytes);
        stage.send(key, &received);
        let Event::Sent(sent, batch, Ok(())) = stage.event() else { panic!("not sent") };
        assert_eq!(sent, key);
        assert!(batch.is_empty());
        assert_eq!(stage.read_exactly(&mut peer, bytes.len()), bytes);
    }
    assert!(stage.close(key).is_empty());
    assert_eq!(stage.read_end(&mut peer), Read::End);
}

pub fn a_receive_asked_before_the_bytes_come_waits_for_them<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.recv(key);
    stage.turn();
    assert!(stage.events.is_empty());
    stage.write_all(&mut peer, b"late");
    let Event::Received(_, bytes) = stage.event() else { panic!("not received") };
    assert!(b"late".starts_with(&bytes));
}

pub fn a_large_batch_comes_back_whole_and_once_from_a_slow_reader<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    let shared: Rc<[u8]> = Rc::from(pattern(10_000));
    let mut batch = Box::new(Batch::new());
    let mut expected = Vec::new();
    for index in 0..1_000u32 {
        batch.push(&index.to_be_bytes());
        batch.push_shared(Rc::clone(&shared));
        expected.extend_from_slice(&index.to_be_bytes());
        expected.extend_from_slice(&shared);
    }
    stage.driver().send(key, batch);
    for _ in 0..5 {
        stage.turn();
    }
    assert!(stage.events.is_empty(), "10 MB fit in no kernel's buffers here");
    assert!(stage.read_exactly(&mut peer, expected.len()) == expected, "the bytes are the batch's");
    let Event::Sent(sent, batch, Ok(())) = stage.event() else { panic!("not sent") };
    assert_eq!(sent, key);
    assert!(batch.is_empty());
    stage.turn();
    assert!(stage.events.is_empty(), "one send, one completion");
    // Nothing holds the shared bytes once the batch has gone.
    drop(batch);
    assert_eq!(Rc::strong_count(&shared), 1);
}

pub fn an_empty_batch_comes_back<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, _peer) = stage.connection();
    stage.driver().send(key, Box::new(Batch::new()));
    assert!(matches!(stage.event(), Event::Sent(sent, _, Ok(())) if sent == key));
}

/// Most that kernel and driver together may hold for a peer nobody reads from.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

pub fn not_asking_for_bytes_stops_the_peer_and_loses_nothing<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    // The first receive arms whatever the driver arms; from then on nobody asks.
    stage.write_all(&mut peer, b"!");
    assert_eq!(stage.receive_exactly(key, 1), b"!");
    let block = pattern(64 * 1024);
    let mut written = Vec::new();
    let mut idle_turns = 0;
    while idle_turns < 20 {
        match peer.write(&block) {
            0 => {
                idle_turns += 1;
                stage.turn();
            }
            count => {
                idle_turns = 0;
                written.extend_from_slice(&block[..count]);
                assert!(written.len() < HELD_BYTES_MAX, "the peer was never stopped");
            }
        }
    }
    assert!(stage.events.is_empty(), "nobody asked");
    peer.finish();
    assert!(stage.receive_exactly(key, written.len()) == written, "in order, and all of it");
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(_, Ok(()))));
}

pub fn reading_again_starts_the_peer_again<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    let all = pattern(3_000_000);
    let mut written = 0;
    let mut received = Vec::new();
    // Nine turns in ten nobody asks.
    let mut turns = 0;
    let mut asked = false;
    while received.len() < all.len() {
        written += if written < all.len() { peer.write(&all[written..]) } else { 0 };
        turns += 1;
        if turns % 10 == 0 && !asked {
            stage.recv(key);
            asked = true;
        }
        stage.turn_within(Duration::ZERO);
        while let Some(event) = stage.events.pop_front() {
            let Event::Received(_, bytes) = event else { panic!("{event:?}") };
            assert!(asked, "nobody asked");
            asked = false;
            received.extend_from_slice(&bytes);
        }
    }
    assert!(received == all);
}

pub fn a_quiet_connection_is_read_between_those_that_always_have_more<W: World>(world: W) {
    const COMPLETIONS_PER_TURN: usize = 2;
    const BUSY_TURNS: u32 = 20;
    const WAIT_TURNS_MAX: u32 = 10;
    let mut stage = Stage::new(world);
    let (quiet, mut quiet_peer) = stage.connection();
    stage.recv(quiet);
    let mut busy: Vec<(Key, W::Peer)> = (0..8).map(|_| stage.connection()).collect();
    let block = pattern(64 * 1024);
    busy.iter().for_each(|(key, _)| stage.recv(*key));
    for turn in 0.. {
        busy.iter_mut().for_each(|(_, peer)| _ = peer.write(&block));
        // The others have begun and are read again and again.
        if turn == BUSY_TURNS {
            stage.write_all(&mut quiet_peer, b"!");
        }
        stage.turn_with(Duration::ZERO, COMPLETIONS_PER_TURN);
        while let Some(event) = stage.events.pop_front() {
            let Event::Received(key, _) = event else { panic!("{event:?}") };
            if key == quiet {
                return;
            }
            stage.recv(key);
        }
        assert!(turn < BUSY_TURNS + WAIT_TURNS_MAX, "the quiet one waits for the others");
    }
}

pub fn the_end_of_the_stream_follows_the_last_bytes<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.write_all(&mut peer, b"last words");
    peer.finish();
    assert_eq!(stage.receive_exactly(key, 10), b"last words");
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(ended, Ok(())) if ended == key));
    // The other half still works.
    stage.send(key, b"farewell");
    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    assert_eq!(stage.read_exactly(&mut peer, 8), b"farewell");
}

pub fn the_end_that_came_before_anybody_asked_is_kept<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    peer.finish();
    for _ in 0..5 {
        stage.turn();
    }
    assert!(stage.events.is_empty());
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(ended, Ok(())) if ended == key));
}

pub fn a_reset_ends_an_outstanding_receive_with_an_error<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, peer) = stage.connection();
    stage.recv(key);
    stage.turn();
    peer.reset();
    assert!(matches!(stage.event(), Event::Finished(ended, Err(ErrorKind::ConnectionReset)) if ended == key));
    assert!(stage.close(key).is_empty());
}

pub fn a_reset_ends_an_outstanding_send_with_an_error<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, peer) = stage.connection();
    stage.send(key, &pattern(20_000_000));
    for _ in 0..5 {
        stage.turn();
    }
    assert!(stage.events.is_empty());
    peer.reset();
    let Event::Sent(sent, batch, Err(_)) = stage.event() else { panic!("not failed") };
    assert_eq!(sent, key);
    assert!(!batch.is_empty(), "what it has left is not sent");
    // Later sends fail too, and each comes back.
    stage.send(key, b"anybody?");
    assert!(matches!(stage.event(), Event::Sent(_, _, Err(_))));
    assert!(stage.close(key).is_empty());
}

pub fn close_revokes_a_receive_and_returns_the_batch_first<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.recv(key);
    stage.send(key, &pattern(20_000_000));
    for _ in 0..5 {
        stage.turn();
    }
    let before = stage.close(key);
    assert!(matches!(&before[..], [Event::Sent(sent, _, Err(_))] if *sent == key), "{before:?}");
    // The peer gets what was on its way and then the end, one way or the other.
    while let Read::Bytes(_) = stage.read_end(&mut peer) {}
}

pub fn close_without_a_turn_between_works<W: World>(world: W) {
    let mut stage = Stage::new(world);
    for round in 0..20 {
        let (key, mut peer) = stage.connection();
        let _ = peer.write(b"unread");
        stage.recv(key);
        stage.send(key, &pattern(100 + round * 200_000));
        let before = stage.close(key);
        assert!(matches!(&before[..], [Event::Sent(..)] | [Event::Received(..), Event::Sent(..)]), "{before:?}");
    }
}

pub fn bytes_of_an_earlier_tenant_never_reach_the_next<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut earlier: Vec<Key> = Vec::new();
    for round in 0..100u32 {
        let (key, mut peer) = stage.connection();
        assert!(!earlier.contains(&key), "keys differ though the slot is the same");
        stage.recv(key);
        if round % 3 == 0 {
            stage.turn();
        }
        // What the peer says in the very moment of the close is for nobody.
        let _ = peer.write(format!("earlier {round}").as_bytes());
        if round % 2 == 0 {
            stage.turn();
        }
        stage.events.clear();
        let before = stage.close(key);
        assert!(before.iter().all(|event| matches!(event, Event::Received(..))), "{before:?}");
        earlier.push(key);

        let (key, mut peer) = stage.connection();
        assert_eq!(key.slot, earlier[0].slot);
        stage.write_all(&mut peer, b"mine");
        assert_eq!(stage.receive_exactly(key, 4), b"mine");
        stage.close(key);
        earlier.push(key);
    }
}

pub fn shutdown_follows_what_is_being_sent<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    let bytes = pattern(5_000_000);
    stage.send(key, &bytes);
    stage.driver().shutdown(key);
    assert!(stage.read_exactly(&mut peer, bytes.len()) == bytes);
    assert_eq!(stage.read_end(&mut peer), Read::End);
    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    // The peer may go on talking.
    stage.write_all(&mut peer, b"thanks");
    assert_eq!(stage.receive_exactly(key, 6), b"thanks");
    peer.finish();
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(_, Ok(()))));
}

pub fn shutdown_of_an_idle_connection_is_seen_by_the_peer<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.driver().shutdown(key);
    assert_eq!(stage.read_end(&mut peer), Read::End);
}

pub fn wake_ups_merge_and_none_is_lost<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let waker = stage.driver().waker();
    for _ in 0..100 {
        for _ in 0..10 {
            waker.wake();
        }
        assert!(matches!(stage.event(), Event::Woken));
        stage.turn_within(Duration::ZERO);
        stage.turn_within(Duration::ZERO);
        assert!(stage.events.len() <= 1, "ten wake-ups are far fewer completions");
        stage.events.clear();
    }
}

pub fn wait_ends_at_the_deadline_and_not_before<W: World>(world: W) {
    let mut stage = Stage::new(world);
    // Things that happen without completing anything must not cut the wait short.
    let (_key, mut peer) = stage.connection();
    stage.write_all(&mut peer, b"nobody asks for this");
    for micros in [0, 1, 300, 1_000, 12_345, 50_000] {
        let deadline = stage.driver().now() + Duration::from_micros(micros);
        let woke = stage.world.wait(deadline);
        assert!(woke >= deadline, "{woke:?} is before {deadline:?}");
        assert!(stage.driver().now() >= woke);
        assert!(stage.driver().next().is_none());
    }
    // A deadline that has passed does not sleep.
    let woke = stage.world.wait(Tick::ZERO);
    assert!(stage.driver().now().since(woke) < Duration::from_secs(1));
}

pub fn a_completion_ends_a_wait_without_a_deadline<W: World>(world: W) {
    let mut stage = Stage::new(world);
    stage.driver().waker().wake();
    stage.world.wait(Tick::NEVER);
    assert!(matches!(stage.event(), Event::Woken));
}

pub fn many_connections_talk_at_once<W: World>(world: W) {
    const COUNT: usize = 300;
    let mut stage = Stage::new(world);
    let mut connections: Vec<(Key, W::Peer)> = (0..COUNT).map(|_| stage.connection()).collect();
    for round in 0..5 {
        let said = |index: usize| pattern(1 + index * 7 + round);
        for (index, (key, peer)) in connections.iter_mut().enumerate() {
            stage.write_all(peer, &said(index));
            stage.recv(*key);
        }
        // Whatever arrives goes back to where it came from.
        let mut to_come: usize = (0..COUNT).map(|index| said(index).len()).sum();
        let mut queued: Vec<Vec<u8>> = vec![Vec::new(); COUNT];
        while to_come > 0 {
            match stage.event() {
                Event::Received(key, bytes) => {
                    to_come -= bytes.len();
                    queued[key.slot as usize].extend_from_slice(&bytes);
                    if queued[key.slot as usize].len() < said(slot_index(&connections, key)).len() {
                        stage.recv(key);
                    }
                }
                event => panic!("{event:?}"),
            }
        }
        for (key, _) in &connections {
            stage.send(*key, &queued[key.slot as usize]);
        }
        for (index, (key, peer)) in connections.iter_mut().enumerate() {
            assert_eq!(queued[key.slot as usize], said(index));
            assert_eq!(stage.read_exactly(peer, said(index).len()), said(index));
        }
        for _ in 0..COUNT {
            assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
        }
    }
    for (key, _) in &connections {
        assert!(stage.close(*key).is_empty());
    }
}

fn slot_index<P>(connections: &[(Key, P)], key: Key) -> usize {
    connections.iter().position(|(held, _)| *held == key).expect("a key that was attached")
}

pub fn a_paused_listener_accepts_nothing_until_it_is_resumed<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let _first = stage.connection();
    stage.driver().pause_accept(LISTENER);
    let _waiting: Vec<W::Peer> = (0..10).map(|_| stage.world.connect()).collect();
    for _ in 0..10 {
        stage.turn();
    }
    assert!(stage.events.is_empty(), "{:?}", stage.events);
    stage.driver().resume_accept(LISTENER);
    for _ in 0..10 {
        drop(stage.accepted());
    }
    // Pausing and resuming in one turn changes nothing.
    stage.driver().pause_accept(LISTENER);
    stage.driver().resume_accept(LISTENER);
    let _last = stage.connection();
}

pub fn whoever_comes_after_the_end_of_listening_is_refused<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    let mut queued = stage.world.connect();
    stage.driver().unlisten(LISTENER);
    assert!(stage.world.refuses());
    // One that nobody had accepted is refused as well, however late it is told.
    while !matches!(queued.read(&mut [0]), Read::Broken | Read::End) {
        stage.turn();
    }
    assert!(stage.events.is_empty(), "{:?}", stage.events);
    stage.write_all(&mut peer, b"those who are in stay");
    assert_eq!(stage.receive_exactly(key, 21), b"those who are in stay");
}

pub fn what_the_peer_has_taken_grows_when_it_takes_and_only_then<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.send(key, &pattern(20_000_000));
    // Until every buffer on the way is full.
    let mut taken = stage.driver().taken(key);
    let mut looks = 0;
    while looks < 50 {
        stage.turn();
        let before = std::mem::replace(&mut taken, stage.driver().taken(key));
        looks = if taken == before { looks + 1 } else { 0 };
    }
    assert!(stage.events.is_empty(), "the batch is on its way");
    let before = taken;
    // A peer's kernel says that there is room again when it is worth saying.
    let mut heard = vec![0; 65_536];
    while stage.driver().taken(key) == before {
        assert!(!matches!(peer.read(&mut heard), Read::End | Read::Broken));
        stage.turn();
    }
    drop(stage.close(key));
}

pub fn the_facts_of_tcp_count_the_bytes_of_both_ways<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.send(key, &pattern(1_000));
    assert_eq!(stage.read_exactly(&mut peer, 1_000).len(), 1_000);
    stage.write_all(&mut peer, b"hello");
    while !matches!(stage.event(), Event::Sent(..)) {}
    assert_eq!(stage.receive_exactly(key, 5), b"hello");
    // Bytes that were read are acknowledged, perhaps a moment later.
    let facts = loop {
        match stage.driver().facts(key) {
            Some(facts) if facts.sent_bytes < 1_000 => stage.turn(),
            facts => break facts.expect("it is TCP"),
        }
    };
    assert_eq!((facts.sent_bytes, facts.received_bytes, facts.retransmits), (1_000, 5, 0));
    stage.close(key);
    assert!(stage.driver().facts(key).is_none(), "it is gone");
}

pub fn a_unix_socket_has_no_facts_of_tcp<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve_unix();
    let (key, _peer) = stage.dialled(&mut server);
    assert!(stage.driver().facts(key).is_none());
}

pub fn a_batch_that_the_driver_has_is_weighed_as_it_is_now<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, _peer) = stage.connection();
    assert_eq!(stage.driver().weigh(key), InFlight::default());
    let shared: Rc<[u8]> = Rc::from(pattern(20_000_000));
    let mut batch = Box::new(Batch::new());
    batch.push_shared(shared.clone());
    stage.driver().send(key, batch);
    stage.turn();
    let before = stage.driver().weigh(key);
    assert!((10_000_000..11_000_000).contains(&before.weight) && before.parts == 1, "half of it: {before:?}");
    drop(shared);
    assert!(stage.driver().weigh(key).weight >= 20_000_000);
    drop(stage.close(key));
}

pub fn a_dropped_socket_is_closed<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut peer = stage.world.connect();
    drop(stage.accepted());
    assert_eq!(stage.read_end(&mut peer), Read::End);
}

pub fn a_driver_dropped_in_the_middle_ends_its_connections<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (reading, mut reader) = stage.connection();
    let (writing, mut writer) = stage.connection();
    stage.recv(reading);
    stage.send(writing, &pattern(20_000_000));
    for _ in 0..3 {
        stage.turn();
    }
    drop(stage);
    let began = std::time::Instant::now();
    for peer in [&mut reader, &mut writer] {
        while matches!(peer.read(&mut [0; 65_536]), Read::Bytes(_) | Read::Nothing) {
            assert!(began.elapsed() < crate::drivers::stage::PATIENCE);
        }
    }
}

pub fn a_key_that_is_not_attached_is_a_bug_of_the_caller<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, _peer) = stage.connection();
    stage.close(key);
    let call = std::panic::AssertUnwindSafe(|| stage.driver().recv(key));
    assert!(std::panic::catch_unwind(call).is_err());
}
