//! Connections that this process begins: where they lead, the call, and its outcome.
//!
//! ```text
//! begin -- in progress --> the kernel reports the socket as writable --> outcome --.
//!   |----- connected at once: a unix socket ---------------------------------------+--> Connected
//!   '----- an error: no descriptor, no free port, refused … -----------------------'
//! ```
//!
//! A dialled socket has the options of an accepted one, and is in blocking mode like it once connect(2) has returned.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::socket;
use crate::base::Remote;
use crate::limits;

/// A connection that connect(2) has not refused.
pub(super) struct Begun {
    pub socket: OwnedFd,
    /// If not, the kernel will report the socket as writable, and then [`outcome`] is valid.
    pub is_connected: bool,
}

pub(super) fn begin(to: &Remote, from: Option<IpAddr>) -> io::Result<Begun> {
    match to {
        Remote::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            socket::prepare(&socket)?;
            socket.set_tcp_user_timeout(Some(limits::PEER_TIMEOUT))?;
            if let Some(from) = from {
                choose_port_late(&socket)?;
                socket.bind(&SocketAddr::new(from, 0).into())?;
            }
            begin_tcp(socket, *address)
        }
        Remote::Unix(path) => {
            let address = SockAddr::unix(path)?;
            connect(Socket::new(Domain::UNIX, Type::STREAM, None)?, &address)
        }
    }
}

/// A port of this machine on which no socket listens can be chosen as the connection's own port. Then TCP connects the
/// socket with itself (RFC 9293 section 3.5, simultaneous open), and every byte would come back.
fn begin_tcp(socket: Socket, to: SocketAddr) -> io::Result<Begun> {
    let begun = connect(socket, &to.into())?;
    let own = SockRef::from(&begun.socket).local_addr()?;
    if own.as_socket() == Some(to) { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(begun) }
}

fn connect(socket: Socket, to: &SockAddr) -> io::Result<Begun> {
    socket.set_nonblocking(true)?;
    let outcome = loop {
        match socket.connect(to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => break outcome,
        }
    };
    socket.set_nonblocking(false)?;
    let is_connected = match outcome {
        Ok(()) => true,
        // EALREADY: after an interruption.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY)) => false,
        Err(error) => return Err(error),
    };
    Ok(Begun { socket: socket.into(), is_connected })
}

/// Binding chooses the address alone, and connect(2) the port (IP_BIND_ADDRESS_NO_PORT, also for IPv6): a port is then
/// taken for one destination, while binding would take it for all, and 28,000 connections would use them up.
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    let yes: libc::c_int = 1;
    // SAFETY: the option is an integer that lives for the whole call, and its length is that of an integer.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How a connection in progress has ended.
pub(super) fn outcome(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).take_error()?.map_or(Ok(()), Err)
}

/// The outcome that a shard is told. `OutOfMemory` stands for each shortage of this machine, so that a server does not seem to have
/// failed.
pub(super) fn kind_of(error: &io::Error) -> io::ErrorKind {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => io::ErrorKind::OutOfMemory,
        _ => error.kind(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::Path;

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn tcp() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
    }

    #[test]
    fn a_connection_that_meets_itself_is_refused() {
        let socket = tcp();
        socket.bind(&ANY_PORT.into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(begin_tcp(socket, own).err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn dialled_sockets_are_like_accepted_ones() {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        let begun = begin(&Remote::Tcp(listener.local_addr().unwrap()), None).unwrap();
        let socket = SockRef::from(&begun.socket);
        assert!(socket.tcp_nodelay().unwrap() && !socket.nonblocking().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), limits::NOT_SENT_BYTES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits::PEER_TIMEOUT));
        // SAFETY: F_GETFD reads a flag of a descriptor that is open.
        let flags = unsafe { libc::fcntl(begun.socket.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn a_source_address_is_bound_without_its_port() {
        let listeners = [(); 2].map(|()| TcpListener::bind(ANY_PORT).unwrap());
        let from = IpAddr::from([127, 0, 0, 2]);
        let begun = listeners
            .each_ref()
            .map(|listener| begin(&Remote::Tcp(listener.local_addr().unwrap()), Some(from)).unwrap().socket);
        for socket in &begun {
            let own = SockRef::from(socket).local_addr().unwrap().as_socket().unwrap();
            assert!(own.ip() == from && own.port() != 0, "{own}");
            let mut value: libc::c_int = 0;
            let mut length = size_of_val(&value) as libc::socklen_t;
            // SAFETY: value and length live for the whole call, and the length is that of the value.
            let failed = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::IPPROTO_IP,
                    libc::IP_BIND_ADDRESS_NO_PORT,
                    (&raw mut value).cast(),
                    &raw mut length,
                )
            };
            assert_eq!((failed, value), (0, 1));
        }
    }

    #[test]
    fn a_source_address_of_another_family_is_an_error() {
        let to = Remote::Tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(begin(&to, Some("::1".parse().unwrap())).is_err());
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        let path = "x".repeat(200);
        let begun = begin(&Remote::Unix(Path::new(&path).into()), None);
        assert_eq!(begun.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn every_shortage_of_this_machine_is_one() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC] {
            assert_eq!(kind_of(&io::Error::from_raw_os_error(errno)), io::ErrorKind::OutOfMemory);
        }
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(kind_of(&refused), io::ErrorKind::ConnectionRefused);
    }
}
