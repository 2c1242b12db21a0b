//! What every driver does with connections that it begins itself.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tidegate::base::Key;
use tidegate::driver::Driver;

use crate::drivers::stage::{Event, Peer, Read, Server, Stage, World, pattern};

pub fn a_dialled_connection_echoes_like_an_accepted_one<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve();
    let (key, mut peer) = stage.dialled(&mut server);
    for round in 1..=30 {
        let bytes = pattern(round * 991);
        stage.send(key, &bytes);
        assert!(matches!(stage.event(), Event::Sent(sent, _, Ok(())) if sent == key));
        assert_eq!(stage.read_exactly(&mut peer, bytes.len()), bytes);
        stage.write_all(&mut peer, &bytes);
        assert_eq!(stage.receive_exactly(key, bytes.len()), bytes);
    }
    stage.driver().shutdown(key);
    assert_eq!(stage.read_end(&mut peer), Read::End);
    peer.finish();
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(ended, Ok(())) if ended == key));
    assert!(stage.close(key).is_empty());
}

/// A bystander goes on being served, as in the tests that follow.
pub fn a_refused_dial_ends_in_connected_and_can_be_closed<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut bystander = stage.connection();
    let unserved = stage.world.unserved();
    for _ in 0..20 {
        let key = stage.connect(&unserved, None);
        assert!(
            matches!(stage.event(), Event::Connected(refused, Err(ErrorKind::ConnectionRefused)) if refused == key)
        );
        assert!(stage.close(key).is_empty());
        stage.is_served(&mut bystander);
    }
}

/// The calls that need a connection that has been made.
fn calls_of_a_connection<W: World>() -> [fn(&mut W::Driver, Key); 3] {
    [|driver, key| driver.recv(key), |driver, key| driver.send(key, Box::default()), |driver, key| driver.shutdown(key)]
}

pub fn a_connection_that_failed_may_only_be_closed<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let unserved = stage.world.unserved();
    for call in calls_of_a_connection::<W>() {
        let key = stage.connect(&unserved, None);
        assert!(matches!(stage.event(), Event::Connected(_, Err(_))));
        let call = std::panic::AssertUnwindSafe(|| call(stage.driver(), key));
        assert!(std::panic::catch_unwind(call).is_err());
    }
}

pub fn a_connection_in_progress_may_only_be_closed<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let server = stage.world.serve_full();
    for call in calls_of_a_connection::<W>() {
        let key = stage.connect(&server.remote(), None);
        let call = std::panic::AssertUnwindSafe(|| call(stage.driver(), key));
        assert!(std::panic::catch_unwind(call).is_err());
    }
}

pub fn close_revokes_a_dial_and_its_key_can_be_used_again<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut bystander = stage.connection();
    let mut prompt = stage.world.serve();
    let silent = stage.world.serve_full();
    let local = stage.world.serve_unix();
    let mut slots = Vec::new();
    for round in 0..40 {
        let (remote, turns) = match round % 5 {
            0 => (silent.remote(), 0),
            1 => (silent.remote(), 2),
            // The close comes before the outcome, or crosses it.
            2 => (prompt.remote(), 0),
            // The outcome is there before the close, and has not been told.
            3 => (local.remote(), 0),
            _ => (stage.world.unserved(), 0),
        };
        let key = stage.connect(&remote, None);
        slots.push(key.slot);
        (0..turns).for_each(|_| stage.turn());
        assert!(stage.close(key).is_empty(), "only Closed comes");
        stage.is_served(&mut bystander);
    }
    assert!(slots.iter().all(|slot| *slot == slots[0]));
    // What was dialled and closed arrives first, and has ended.
    let key = stage.connect(&prompt.remote(), None);
    assert!(matches!(stage.event(), Event::Connected(connected, Ok(())) if connected == key));
    stage.send(key, b"the last one");
    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    loop {
        let mut peer = stage.accepted_by(&mut prompt);
        let mut heard = [0; 32];
        let read = loop {
            match peer.read(&mut heard) {
                Read::Nothing => stage.turn(),
                read => break read,
            }
        };
        if let Read::Bytes(count) = read {
            assert!(b"the last one".starts_with(&heard[..count]));
            break;
        }
    }
}

pub fn a_dial_that_is_closed_ends_in_the_kernel_too<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let server = stage.world.serve_full();
    let keys = [(); 5].map(|()| stage.connect(&server.remote(), None));
    stage.turn();
    assert_eq!(stage.world.half_open(&server), keys.len());
    keys.into_iter().for_each(|key| assert!(stage.close(key).is_empty()));
    while stage.world.half_open(&server) > 0 {
        stage.turn();
    }
}

pub fn a_late_answer_is_awaited_while_others_are_served<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut bystander = stage.connection();
    let mut server = stage.world.serve_full();
    let key = stage.connect(&server.remote(), None);
    for _ in 0..5 {
        stage.turn();
        assert!(stage.events.is_empty(), "{:?}", stage.events);
        stage.is_served(&mut bystander);
    }
    server.make_room();
    let Event::Connected(connected, Ok(())) = stage.event() else { panic!("not connected") };
    assert_eq!(connected, key);
    let mut peer = stage.accepted_by(&mut server);
    stage.write_all(&mut peer, b"at last");
    assert_eq!(stage.receive_exactly(key, 7), b"at last");
}

pub fn bytes_that_come_with_the_answer_are_received<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve();
    for _ in 0..20 {
        let key = stage.connect(&server.remote(), None);
        let mut peer = stage.accepted_by(&mut server);
        stage.write_all(&mut peer, b"220 ready");
        peer.finish();
        assert!(matches!(stage.event(), Event::Connected(connected, Ok(())) if connected == key));
        assert_eq!(stage.receive_exactly(key, 9), b"220 ready");
        stage.recv(key);
        assert!(matches!(stage.event(), Event::Finished(_, Ok(()))));
        assert!(stage.close(key).is_empty());
    }
}

pub fn many_dials_and_accepts_at_once<W: World>(world: W) {
    const COUNT: usize = 100;
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve();
    let unserved = stage.world.unserved();
    let mut outcomes: HashMap<Key, bool> = HashMap::new();
    let mut clients = Vec::new();
    for index in 0..COUNT {
        let remote = if index % 5 == 0 { unserved.clone() } else { server.remote() };
        outcomes.insert(stage.connect(&remote, None), index % 5 != 0);
        clients.push(stage.world.connect());
    }
    let (mut dialled, mut accepted, mut served) = (Vec::new(), Vec::new(), Vec::new());
    while accepted.len() < COUNT || dialled.len() < COUNT {
        match stage.event() {
            Event::Accepted => {
                let socket = stage.sockets.pop_front().expect("it was told");
                accepted.push(stage.attach(socket));
            }
            Event::Connected(key, outcome) => {
                assert_eq!(outcomes.remove(&key), Some(outcome.is_ok()), "{key:?} {outcome:?}");
                dialled.push((key, outcome.is_ok()));
            }
            event => panic!("{event:?}"),
        }
    }
    let connected: Vec<Key> = dialled.iter().filter(|(_, is_connected)| *is_connected).map(|(key, _)| *key).collect();
    while served.len() < connected.len() {
        served.push(stage.accepted_by(&mut server));
    }
    // Each has its own peer: what goes out of one comes in at one.
    for key in accepted.iter().chain(&connected) {
        stage.send(*key, format!("{:8}", key.slot).as_bytes());
    }
    for _ in 0..COUNT + connected.len() {
        assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    }
    for (peers, keys) in [(&mut clients, &accepted), (&mut served, &connected)] {
        let mut heard: Vec<u32> = Vec::new();
        for peer in peers {
            let text = stage.read_exactly(peer, 8);
            heard.push(String::from_utf8_lossy(&text).trim().parse().expect("a slot"));
        }
        let mut expected: Vec<u32> = keys.iter().map(|key| key.slot).collect();
        heard.sort();
        expected.sort();
        assert_eq!(heard, expected);
    }
    for (key, _) in dialled {
        assert!(stage.close(key).is_empty());
    }
}

pub fn a_source_address_is_what_the_server_sees<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve();
    for last in [2, 3, 2] {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let key = stage.connect(&server.remote(), Some(from));
        assert!(matches!(stage.event(), Event::Connected(connected, Ok(())) if connected == key));
        let peer = stage.accepted_by(&mut server);
        assert_eq!(W::source(&peer), Some(from));
    }
}

pub fn a_unix_socket_is_dialled_like_another<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve_unix();
    let (key, mut peer) = stage.dialled(&mut server);
    let bytes = pattern(3_000_000);
    stage.send(key, &bytes);
    assert!(stage.read_exactly(&mut peer, bytes.len()) == bytes);
    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
    stage.write_all(&mut peer, b"thanks");
    assert_eq!(stage.receive_exactly(key, 6), b"thanks");
    peer.finish();
    stage.recv(key);
    assert!(matches!(stage.event(), Event::Finished(_, Ok(()))));
    assert!(stage.close(key).is_empty());
    // Its queue is full: that is told at once, and room in it is used by the next dial.
    let filled = std::iter::repeat_with(|| {
        let key = stage.connect(&server.remote(), None);
        let Event::Connected(connected, outcome) = stage.event() else { panic!("no outcome") };
        assert_eq!(connected, key);
        outcome
    });
    let refused = filled.take(10_000).find_map(Result::err);
    assert_eq!(refused, Some(ErrorKind::WouldBlock));
    drop(stage.accepted_by(&mut server));
    let key = stage.connect(&server.remote(), None);
    assert!(matches!(stage.event(), Event::Connected(connected, Ok(())) if connected == key));
    let remote = server.remote();
    drop(server);
    let key = stage.connect(&remote, None);
    let Event::Connected(connected, Err(ErrorKind::NotFound)) = stage.event() else { panic!("the socket is gone") };
    assert_eq!(connected, key);
}

pub fn a_reset_of_a_dialled_connection_is_told_like_any<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let mut server = stage.world.serve();
    let (key, peer) = stage.dialled(&mut server);
    stage.recv(key);
    stage.turn();
    peer.reset();
    assert!(matches!(stage.event(), Event::Finished(ended, Err(ErrorKind::ConnectionReset)) if ended == key));
    assert!(stage.close(key).is_empty());
}

pub fn a_driver_dropped_while_it_dials_leaves_nothing<W: World>(world: W) {
    let mut stage = Stage::new(world);
    let silent = stage.world.serve_full();
    let mut server = stage.world.serve();
    for _ in 0..10 {
        stage.connect(&silent.remote(), None);
    }
    let (_key, mut peer) = stage.dialled(&mut server);
    stage.connect(&server.remote(), None);
    stage.turn_within(Duration::ZERO);
    drop(stage);
    let began = std::time::Instant::now();
    while matches!(peer.read(&mut [0; 64]), Read::Nothing) {
        assert!(began.elapsed() < crate::drivers::stage::PATIENCE);
    }
}
