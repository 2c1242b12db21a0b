//! Sockets as both kernel drivers want them: how they are bound, accepted, written and counted.
//!
//! ```text
//! gateway   bind(addr) ----------------------------- holds the port until the shards have it; never listens
//! shard     private_descriptor_table, bind(addr) -> Bound::listen -> Listener -> Driver::listen
//!           or, where systemd listens:    Listener::handed -> share ----'
//! ```
//!
//! SHARED BEFORE UNSHARED: what threads share (the wakers' eventfds) is opened before a shard takes a descriptor table of
//! its own; what a shard opens afterwards means nothing to another thread.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::Batch;
use crate::limits;

/// A socket that has its address and does not listen yet: the kernel sends it no connections.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Other threads accept from the same one.
    is_shared: bool,
}

/// Binds `address`, which other sockets of this user may share if they were bound here too.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(Bound { socket, address })
}

/// Options that Linux copies to every socket accepted from this one, which saves calls for each.
fn prepare(listener: &Socket) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    listener.set_tcp_notsent_lowat(limits::NOT_SENT_BYTES)
}

impl Bound {
    /// The address with the port that the kernel chose, if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn listen(self) -> io::Result<Listener> {
        self.socket.listen(limits::LISTEN_QUEUE)?;
        Ok(Listener { socket: self.socket, is_shared: false })
    }
}

impl Listener {
    /// A socket that somebody else has made listen, and its address. It keeps its queue and its options.
    pub fn handed(listener: TcpListener) -> io::Result<(Listener, SocketAddr)> {
        let socket = Socket::from(listener);
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is bound but does not listen")));
        }
        prepare(&socket)?;
        Ok((Listener { socket, is_shared: true }, address))
    }

    /// The same socket under another descriptor, of the calling thread's table: whoever comes first accepts.
    pub fn share(&self) -> io::Result<Listener> {
        self.socket.try_clone().map(|socket| Listener { socket, is_shared: true })
    }

    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// How long what it sends may stay unacknowledged: the kernel copies it to every socket accepted from this one, and ends
    /// those whose peer has vanished with ETIMEDOUT. Of a shared one it is an option of the next process too, until that sets it.
    pub fn set_peer_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_tcp_user_timeout(Some(timeout))
    }

    /// Listens no more, whoever else holds the descriptor; not for a shared one.
    pub(super) fn stop(&self) {
        // It can only fail where it does not listen.
        drop(self.socket.shutdown(Shutdown::Both));
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Takes one connection. Its descriptor stays in blocking mode: both drivers ask per call not to wait.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        Ok((socket.into(), peer.as_socket().unwrap_or(NO_ADDRESS)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Stands for the peer of a socket family that has no addresses.
const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Gives the calling thread a descriptor table of its own: RLIMIT_NOFILE counts per table, so each shard has the whole
/// limit, and no lock is shared by shards that accept and close. What is open then is copied: a connection among it would
/// outlive its close, so this comes before any connection.
pub fn private_descriptor_table() -> io::Result<()> {
    // SAFETY: unshare takes flags only; other threads keep the table they have.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What accept(2) passes on from the one connection that it would have returned: the next one may be fine.
pub(super) fn is_fault_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ETIMEDOUT
        )
    )
}

/// Reads what is there; `WouldBlock` if that is nothing.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a buffer that is ours for the whole call.
    let count = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends as much of the batch as the kernel takes at once, without marking it as sent.
pub(super) fn send(socket: &OwnedFd, batch: &Batch) -> io::Result<usize> {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let mut rest = batch.slices();
    // One event for one connection: no header and no vector that the kernel would have to copy.
    if let (Some(only), None) = (rest.next(), rest.next()) {
        // SAFETY: the pointer and the length are those of a slice that lives for the whole call.
        let count = unsafe { libc::send(socket.as_raw_fd(), only.as_ptr().cast(), only.len(), FLAGS) };
        return usize::try_from(count).map_err(|_| io::Error::last_os_error());
    }
    let mut slices = [IoSlice::new(&[]); limits::SEND_SLICES];
    let count = batch.fill_slices(&mut slices);
    SockRef::from(socket).send_vectored_with_flags(&slices[..count], FLAGS)
}

/// Bytes that the peer's kernel has acknowledged, modulo 2^32.
pub(super) fn taken(socket: &OwnedFd) -> u32 {
    /// `tcpi_bytes_acked` of linux/tcp.h; there since Linux 4.1, while libc's `tcp_info` ends before it.
    const BYTES_ACKED: std::ops::Range<usize> = 120..128;
    let mut info = [0_u8; BYTES_ACKED.end];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to a buffer of that length, which lives for the whole call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let bytes_acked = info[BYTES_ACKED].try_into().map(u64::from_ne_bytes);
    if failed == 0 { bytes_acked.map_or(0, |bytes| bytes as u32) } else { 0 }
}

/// Ends the sending half. It fails only when the connection is gone, which the receiving half will say.
pub(super) fn shutdown(socket: &OwnedFd, how: Shutdown) {
    drop(SockRef::from(socket).shutdown(how));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_bound_port_is_shared_and_only_listeners_get_connections() {
        let held = bind(ANY_PORT).unwrap();
        let listener = bind(held.local_addr()).unwrap().listen().unwrap();
        let client = TcpStream::connect(held.local_addr()).unwrap();
        let (_socket, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[test]
    fn accepted_sockets_send_at_once_and_do_not_leak_into_children() {
        let bound = bind(ANY_PORT).unwrap();
        let address = bound.local_addr();
        let listener = bound.listen().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert!(SockRef::from(&socket).tcp_nodelay().unwrap());
        // SAFETY: F_GETFD reads a flag of a descriptor that is open.
        let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn the_kernel_takes_little_of_what_a_peer_has_no_room_for() {
        let bound = bind(ANY_PORT).unwrap();
        let address = bound.local_addr();
        let listener = bound.listen().unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_recv_buffer_size(64 * 1024).unwrap();
        client.connect(&address.into()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().unwrap(), limits::NOT_SENT_BYTES);
        let mut batch = Batch::new();
        batch.push(&[0; 16 * 1024]);
        let mut taken = 0;
        let error = loop {
            match send(&socket, &batch) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // The client's buffer, which Linux doubles, what is not sent, and one more piece.
        assert!(taken < 128 * 1024 + limits::NOT_SENT_BYTES as usize + 64 * 1024, "{taken}");
    }

    #[test]
    fn accepted_sockets_have_the_listeners_peer_timeout() {
        let bound = bind(ANY_PORT).unwrap();
        let address = bound.local_addr();
        let listener = bound.listen().unwrap();
        let timeout = Duration::from_millis(12_345);
        listener.set_peer_timeout(timeout).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&socket).tcp_user_timeout().unwrap(), Some(timeout));
    }

    #[test]
    fn what_the_peer_has_taken_is_counted() {
        use std::io::{Read, Write};
        let bound = bind(ANY_PORT).unwrap();
        let address = bound.local_addr();
        let listener = bound.listen().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let before = taken(&socket);
        TcpStream::from(socket.try_clone().unwrap()).write_all(&[0; 1_000]).unwrap();
        client.read_exact(&mut [0; 1_000]).unwrap();
        // What has been read has been acknowledged, on the loopback before it could be read.
        assert_eq!(taken(&socket).wrapping_sub(before), 1_000);
    }

    #[test]
    fn a_v6_socket_leaves_v4_to_others() {
        let Ok(v6) = bind("[::]:0".parse().unwrap()) else {
            return; // a machine without IPv6
        };
        // Binding the same port of v4 would show it too, but somebody's closed connection may rest there.
        assert!(SockRef::from(&v6.socket).only_v6().unwrap());
    }

    #[test]
    fn a_private_table_hides_what_is_opened_later() {
        let fd = std::thread::spawn(|| {
            private_descriptor_table().unwrap();
            // A number no other test reaches, below the usual limit of 1024.
            // SAFETY: duplicates standard input to the lowest free number from 1000 up.
            unsafe { libc::fcntl(0, libc::F_DUPFD, 1000) }
        })
        .join()
        .unwrap();
        assert!(fd >= 1000);
        // SAFETY: F_GETFD only asks whether the descriptor is open.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1);
    }
}
