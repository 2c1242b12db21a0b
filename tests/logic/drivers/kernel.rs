//! The worlds of the kernel drivers: their peers are sockets on the loopback.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tidegate::driver::clock::Clock;
use tidegate::driver::epoll::EpollDriver;
use tidegate::driver::uring::{UringDriver, UringOptions};
use tidegate::driver::{Driver, Remote, Waker, socket, uring};

use crate::drivers::stage::{LISTENER, Peer, Read, Server, World};

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
    /// Sockets that hold an address and do not listen.
    unserved: Vec<Socket>,
}

impl<M: Make> KernelWorld<M> {
    pub fn with_waker(waker: Waker) -> Self {
        let mut driver = M::make(waker, Clock::start());
        let (listener, address) = socket::claim(ANY_PORT).expect("a port is free");
        driver.listen(LISTENER, listener).expect("listen");
        KernelWorld { driver, address, unserved: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl<M: Make> World for KernelWorld<M> {
    type Driver = M::Driver;
    type Peer = TcpStream;
    type Server = KernelServer;

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

    fn serve(&mut self) -> KernelServer {
        KernelServer::tcp(1024)
    }

    fn serve_full(&mut self) -> KernelServer {
        let mut server = KernelServer::tcp(0);
        let filling = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        filling.connect(&server.socket.local_addr().expect("it is bound")).expect("there is room for one");
        server.filling = Some(filling);
        server
    }

    fn serve_unix(&mut self) -> KernelServer {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-dial-{}-{number}.sock", std::process::id()));
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
        socket.bind(&SockAddr::unix(&path).expect("short enough")).expect("bind");
        KernelServer::listening(socket, 8, Some(path))
    }

    fn unserved(&mut self) -> Remote {
        // Bound, so that no other program listens there, and it does not listen.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.bind(&ANY_PORT.into()).expect("bind");
        let address = socket.local_addr().expect("it is bound").as_socket().expect("an address");
        self.unserved.push(socket);
        Remote::Tcp(address)
    }

    /// In proc(5), the fourth word of a line is the state, and 02 that of a connection that has sent its SYN.
    fn half_open(&mut self, server: &KernelServer) -> usize {
        let Remote::Tcp(address) = server.remote() else { return 0 };
        let port = format!(":{:04X}", address.port());
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("proc");
        let lines = sockets.lines().map(|line| line.split_ascii_whitespace().skip(2));
        lines
            .filter(|words| words.clone().next().is_some_and(|to| to.ends_with(&port)))
            .filter(|words| words.clone().nth(1) == Some("02"))
            .count()
    }

    fn source(peer: &TcpStream) -> Option<IpAddr> {
        peer.peer_addr().ok().map(|address| address.ip())
    }
}

/// A listening socket of any family.
pub struct KernelServer {
    socket: Socket,
    path: Option<PathBuf>,
    /// What fills its queue.
    filling: Option<Socket>,
}

impl KernelServer {
    fn tcp(backlog: i32) -> KernelServer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.bind(&ANY_PORT.into()).expect("bind");
        KernelServer::listening(socket, backlog, None)
    }

    fn listening(socket: Socket, backlog: i32, path: Option<PathBuf>) -> KernelServer {
        socket.listen(backlog).expect("listen");
        socket.set_nonblocking(true).expect("nonblocking");
        KernelServer { socket, path, filling: None }
    }
}

impl Server for KernelServer {
    type Peer = TcpStream;

    fn remote(&self) -> Remote {
        match &self.path {
            Some(path) => Remote::Unix(path.as_path().into()),
            None => Remote::Tcp(self.socket.local_addr().ok().and_then(|own| own.as_socket()).expect("an address")),
        }
    }

    /// The type of the standard library reads and writes a stream of any family.
    fn accept(&mut self) -> Option<TcpStream> {
        let (socket, _) = self.socket.accept().ok()?;
        socket.set_nonblocking(true).expect("nonblocking");
        Some(TcpStream::from(OwnedFd::from(socket)))
    }

    fn make_room(&mut self) {
        self.socket.accept().expect("what fills the queue");
        self.filling = None;
    }
}

impl Drop for KernelServer {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            _ = std::fs::remove_file(path);
        }
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
        SockRef::from(&self).set_linger(Some(Duration::ZERO)).expect("linger");
    }
}
