//! Sockets that another process holds too, as in a handover: a driver that goes closes its own
//! descriptors, and shuts nothing down. A listener says which it is (`ListeningSocket::is_shared`); a connection with a batch at the kernel is the
//! exception, and a handover waits until there is none.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use tidegate::driver::clock::Clock;
use tidegate::driver::{Driver, Waker, socket};

use crate::drivers::kernel::{ANY_PORT, Epoll, KernelWorld, Make, Uring};
use crate::drivers::stage::{LISTENER, Stage, World};

#[test]
fn a_connection_outlives_its_epoll() {
    a_connection_outlives_its_driver::<Epoll>();
}

#[test]
fn a_connection_outlives_its_ring() {
    a_connection_outlives_its_driver::<Uring>();
}

fn a_connection_outlives_its_driver<M: Make>() {
    if let Some(why) = M::missing() {
        return eprintln!("skipped: {why}");
    }
    let mut stage = Stage::new(KernelWorld::<M>::new());
    let mut peer = stage.world.connect();
    let socket = stage.accepted();
    let elsewhere = socket.try_clone().expect("a second descriptor");
    let key = stage.attach(socket);
    stage.recv(key);
    stage.turn();
    drop(stage);
    let mut elsewhere = TcpStream::from(elsewhere);
    peer.set_nonblocking(false).expect("blocking");
    elsewhere.set_nonblocking(false).expect("blocking");
    for word in [*b"one", *b"two"] {
        let mut heard = [0; 3];
        elsewhere.write_all(&word).expect("our half is open");
        peer.read_exact(&mut heard).expect("the peer hears it");
        assert_eq!(heard, word);
        peer.write_all(&word).expect("the peer's half is open");
        elsewhere.read_exact(&mut heard).expect("it is heard");
        assert_eq!(heard, word);
    }
}

#[test]
fn a_listener_outlives_its_epoll() {
    a_listener_outlives_its_driver::<Epoll>();
}

#[test]
fn a_listener_outlives_its_ring() {
    a_listener_outlives_its_driver::<Uring>();
}

fn a_listener_outlives_its_driver<M: Make>() {
    if let Some(why) = M::missing() {
        return eprintln!("skipped: {why}");
    }
    socket::private_descriptor_table().expect("unshare");
    let socket = TcpListener::bind(ANY_PORT).expect("a port is free");
    let elsewhere = socket.try_clone().expect("a second descriptor");
    let (listener, address) = socket::ListeningSocket::activated(socket).expect("it listens");
    let mut driver = M::make(Waker::new().expect("eventfd"), Clock::start());
    driver.listen(LISTENER, listener).expect("listen");
    drop(driver);
    TcpStream::connect(address).expect("another process listens");
    drop(elsewhere);
    assert!(TcpStream::connect(address).is_err(), "nothing listens any more");
}
