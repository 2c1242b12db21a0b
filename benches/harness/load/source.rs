//! Where connections come from: addresses of 127.0.0.0/8, because each has no more than 28,232 ports to one server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use crate::options::CONNECTIONS_PER_ADDRESS;

/// Of one thread. Ports of closed connections rest for a while, so the addresses take turns.
pub(super) struct Sources {
    thread: u8,
    process: u8,
    opened: usize,
}

impl Sources {
    pub(super) fn new(thread: usize) -> Sources {
        // 127.0.x.y is where others listen.
        Sources { thread: 1 + (thread % 250) as u8, process: std::process::id() as u8, opened: 0 }
    }

    fn next(&mut self) -> SocketAddr {
        let turn = self.opened / CONNECTIONS_PER_ADDRESS;
        self.opened += 1;
        let address = Ipv4Addr::new(127, self.thread, self.process, 1 + (turn % 250) as u8);
        SocketAddr::new(IpAddr::V4(address), 0)
    }

    /// Begins to connect; the socket becomes writable when it is done.
    pub(super) fn connect(&mut self, server: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)?;
        if server.ip().is_loopback() {
            // The port is chosen at connect, when the kernel knows the whole tuple: the same one then serves several.
            bind_address_no_port(&socket)?;
            socket.bind(&self.next().into())?;
        }
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }
}

fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, which `on` is, and its size.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
