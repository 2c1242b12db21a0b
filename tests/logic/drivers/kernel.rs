//! The worlds of the kernel drivers: their peers are sockets on the loopback.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tidegate::driver::clock::Clock;
use tidegate::driver::epoll::EpollDriver;
use tidegate::driver::uring::{UringDriver, UringOptions};
use tidegate::driver::{Driver, Waker, socket, uring};

use crate::drivers::stage::{LISTENER, Peer, Read, World};

pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Makes a kernel driver.
pub trait Make {
    type Driver: Driver<Listener = socket::ListeningSocket, Socket = OwnedFd>;
    fn make(waker: Waker, clock: Clock) -> Self::Driver;

    /// Why there is no such driver on this machine.
    fn missing() -> Option<String> {
        None
    }
}

pub struct Epoll;

impl Make for Epoll {
    type Driver = EpollDriver;

    fn make(waker: Waker, clock: Clock) -> EpollDriver {
        EpollDriver::new(waker, clock, Arc::default()).expect("epoll")
    }
}

pub struct Uring;

impl Make for Uring {
    type Driver = UringDriver;

    fn make(waker: Waker, clock: Clock) -> UringDriver {
        UringDriver::new(waker, clock, Arc::default(), &UringOptions::default()).expect("io_uring")
    }

    fn missing() -> Option<String> {
        uring::probe().err()
    }
}

/// Everything too small: the kernel runs out of submissions and completions all the time.
pub struct TightUring;

impl Make for TightUring {
    type Driver = UringDriver;

    fn make(waker: Waker, clock: Clock) -> UringDriver {
        let options = UringOptions { submissions: 4, completions: 4 };
        UringDriver::new(waker, clock, Arc::default(), &options).expect("io_uring")
    }

    fn missing() -> Option<String> {
        uring::probe().err()
    }
}

pub struct KernelWorld<M: Make> {
    driver: M::Driver,
    address: SocketAddr,
}

impl<M: Make> KernelWorld<M> {
    pub fn with_waker(waker: Waker) -> Self {
        let mut driver = M::make(waker, Clock::start());
        let (listener, address) = socket::claim(ANY_PORT).expect("a port is free");
        driver.listen(LISTENER, listener).expect("listen");
        KernelWorld { driver, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl<M: Make> World for KernelWorld<M> {
    type Driver = M::Driver;
    type Peer = TcpStream;

    fn missing() -> Option<String> {
        M::missing()
    }

    /// Gives the test's thread a table of its own: a copy of its sockets in the table of a test that runs beside it would
    /// keep them open.
    fn new() -> Self {
        socket::private_descriptor_table().expect("unshare");
        KernelWorld::with_waker(Waker::new().expect("eventfd"))
    }

    fn driver(&mut self) -> &mut M::Driver {
        &mut self.driver
    }

    fn connect(&mut self) -> TcpStream {
        let peer = TcpStream::connect(self.address).expect("connect");
        peer.set_nonblocking(true).expect("nonblocking");
        peer
    }

    fn refuses(&mut self) -> bool {
        TcpStream::connect(self.address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }
}

impl Peer for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> usize {
        match (&*self).write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the peer cannot write: {error}"),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Read {
        match (&*self).read(buffer) {
            Ok(0) => Read::End,
            Ok(count) => Read::Bytes(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => Read::Broken,
        }
    }

    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).expect("shutdown");
    }

    fn reset(self) {
        socket2::SockRef::from(&self).set_linger(Some(Duration::ZERO)).expect("linger");
    }
}
