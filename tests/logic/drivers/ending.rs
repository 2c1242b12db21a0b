//! The end that a peer must not take for an ordinary one.

use tidegate::driver::Driver;

use crate::drivers::stage::{Event, Peer, Read, Server, Stage, World, pattern};

/// Reads to the end, whatever it is.
fn read_on<W: World>(stage: &mut Stage<W>, peer: &mut W::Peer) -> (usize, Read) {
    let (mut count, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match peer.read(&mut buffer) {
            Read::Bytes(got) => count += got,
            Read::Nothing => stage.turn(),
            end => return (count, end),
        }
    }
}

pub fn an_aborted_connection_is_broken_for_its_peer<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let (key, mut peer) = stage.connection();
    stage.send(key, b"half of it");
    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    assert_eq!(stage.read_exactly(&mut peer, 10), b"half of it");
    stage.recv(key);
    assert!(stage.abort(key).is_empty(), "the receive is revoked");
    assert_eq!(read_on(&mut stage, &mut peer), (0, Read::Broken));
    // Its slot is for the next one.
    let (next, mut peer) = stage.connection();
    assert_eq!(next.slot, key.slot);
    stage.send(next, b"whole");
    stage.driver().shutdown(next);
    assert_eq!(read_on(&mut stage, &mut peer), (5, Read::End));
}

pub fn an_abort_in_the_middle_of_a_batch_returns_it_and_is_no_end_of_the_stream<W: World>(world: W) {
    for round in 0..5 {
        let mut stage = Stage::new(W::new());
        let (key, mut peer) = stage.connection();
        let bytes = pattern(20_000_000);
        stage.send(key, &bytes);
        for _ in 0..round {
            stage.turn();
        }
        let before = stage.abort(key);
        assert!(matches!(&before[..], [Event::Sent(sent, _, Err(_))] if *sent == key), "{before:?}");
        let (count, end) = read_on(&mut stage, &mut peer);
        assert!(count < bytes.len() && end == Read::Broken, "{end:?} after {count} bytes");
    }
    drop(world);
}

pub fn a_dial_can_be_aborted<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let server = stage.world.serve();
    let key = stage.connect(&server.remote(), None);
    assert!(stage.abort(key).is_empty(), "only Closed comes");
}
