//! Sockets for both kernel drivers: binding, accepting, writing and measuring.
//!
//! ```text
//! gateway   claim(addr) ---- is the only listener ----------------------.
//! shard 0   private_descriptor_table, ListeningSocket::share <----------'--> Driver::listen
//! others    private_descriptor_table, join(addr) --------------------------> Driver::listen
//! or, where systemd listens:  ListeningSocket::activated -> share in every shard
//! ```
//!
//! SHARED BEFORE UNSHARED: the descriptors that threads share (the wakers' eventfds) are opened before a shard takes
//! its own descriptor table; a descriptor that a shard opens later means nothing to another thread.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::base::{Batch, TcpFacts};
use crate::limits;

/// A listening socket.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: Socket,
    /// All shards accept from it; a socket of systemd outlives this process, and the next one accepts from it, too.
    is_shared: bool,
    /// The socket has a path instead of an address, and no options of TCP.
    has_path: bool,
}

/// Listens on `address` as the only socket: EADDRINUSE if any process already listens there. Returns the address too,
/// with the port that the kernel chose if port 0 was given.
///
/// SO_REUSEPORT is set afterwards, for sockets that [`join`]. Linux compares the options of both sockets when the later
/// one is bound, and again when it begins to listen (`inet_csk_bind_conflict`, `inet_csk_listen_start`): a socket
/// without the option shares the port with no listener, and of two simultaneous claims one is refused at the latest
/// when it begins to listen.
pub fn claim(address: SocketAddr) -> io::Result<(ListeningSocket, SocketAddr)> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_QUEUE)?;
    socket.set_reuse_port(true)?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((ListeningSocket { socket, is_shared: false, has_path: false }, address))
}

/// Listens on an address that this process has claimed: the kernel distributes connections over all its sockets.
pub fn join(address: SocketAddr) -> io::Result<ListeningSocket> {
    let socket = unbound(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_QUEUE)?;
    Ok(ListeningSocket { socket, is_shared: false, has_path: false })
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process stay for a minute (TIME-WAIT). Without this option they would block the
    // address.
    socket.set_reuse_address(true)?;
    prepare(&socket)?;
    Ok(socket)
}

/// Options of every connection. Linux copies those of a listener to every accepted socket, which saves system calls for
/// each.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(limits::NOT_SENT_BYTES)
}

impl ListeningSocket {
    /// A socket on which another process began to listen, and its address. It keeps its queue and its options.
    pub fn activated(listener: TcpListener) -> io::Result<(ListeningSocket, SocketAddr)> {
        let socket = Socket::from(listener);
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is bound but does not listen")));
        }
        prepare(&socket)?;
        Ok((ListeningSocket { socket, is_shared: true, has_path: false }, address))
    }

    /// A socket that listens on a path: all shards accept from it.
    pub(super) fn of_path(socket: Socket) -> ListeningSocket {
        ListeningSocket { socket, is_shared: true, has_path: true }
    }

    /// The same socket under another descriptor in the calling thread's table.
    pub fn share(&self) -> io::Result<ListeningSocket> {
        let socket = self.socket.try_clone()?;
        Ok(ListeningSocket { socket, is_shared: self.is_shared, has_path: self.has_path })
    }

    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// How long sent bytes may stay unacknowledged. The kernel copies the option to every accepted socket, and ends
    /// sockets whose peer has vanished with ETIMEDOUT. On a shared socket the option also applies to the next process,
    /// until that sets it.
    pub fn set_peer_timeout(&self, timeout: Duration) -> io::Result<()> {
        if self.has_path {
            return Ok(());
        }
        self.socket.set_tcp_user_timeout(Some(timeout))
    }

    /// Stops listening, for other holders of the descriptor too. Not to be called on a shared socket: the next process
    /// accepts from it.
    pub fn stop(&self) {
        // It fails only if the socket does not listen.
        drop(self.socket.shutdown(Shutdown::Both));
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Accepts one connection. Its descriptor stays in blocking mode: both drivers pass a flag with each call instead.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        Ok((socket.into(), peer.as_socket().unwrap_or(NO_ADDRESS)))
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address of a peer whose socket family has no addresses.
const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Gives the calling thread its own descriptor table: RLIMIT_NOFILE counts per table, so each shard has the whole
/// limit, and shards that accept and close share no lock. Open descriptors are copied. A copied connection would
/// outlive its close, so this must precede the first connection.
pub fn private_descriptor_table() -> io::Result<()> {
    // SAFETY: unshare takes flags only; other threads keep the table they have.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether an error of accept(2) concerns only the connection that it would have returned: the next one may be fine.
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

/// Reads the available bytes; `WouldBlock` if there are none.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a buffer that is ours for the whole call.
    let count = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends as much of the batch as the kernel accepts at once, without marking it as sent.
pub(super) fn send(socket: &OwnedFd, batch: &Batch) -> io::Result<usize> {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let mut rest = batch.slices();
    // One event for one connection: saves the header and the vector that the kernel would have to copy.
    if let (Some(only), None) = (rest.next(), rest.next()) {
        // SAFETY: the pointer and the length are those of a slice that lives for the whole call.
        let count = unsafe { libc::send(socket.as_raw_fd(), only.as_ptr().cast(), only.len(), FLAGS) };
        return usize::try_from(count).map_err(|_| io::Error::last_os_error());
    }
    let mut slices = [IoSlice::new(&[]); limits::SEND_SLICES];
    let count = batch.fill_slices(&mut slices);
    SockRef::from(socket).send_vectored_with_flags(&slices[..count], FLAGS)
}

/// The bytes of `tcp_info` (linux/tcp.h) that are read, as far as the kernel writes them; zeros for what an older one lacks.
/// `None`: the socket is none of TCP.
fn tcp_info(socket: &OwnedFd) -> Option<[u8; NOTSENT_BYTES.end]> {
    let mut info = [0_u8; NOTSENT_BYTES.end];
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
    (failed == 0).then_some(info)
}

/// Where they are in `tcp_info`. libc's `tcp_info` ends before `tcpi_bytes_acked`, which exists since Linux 4.1.
const RTT: Range<usize> = 68..72;
const TOTAL_RETRANS: Range<usize> = 100..104;
const BYTES_ACKED: Range<usize> = 120..128;
const BYTES_RECEIVED: Range<usize> = 128..136;
const NOTSENT_BYTES: Range<usize> = 144..148;

/// Bytes that the peer's kernel has acknowledged, modulo 2^32.
pub(super) fn taken(socket: &OwnedFd) -> u32 {
    facts(socket).map_or(0, |facts| facts.sent_bytes as u32)
}

/// `None`: the socket is none of TCP.
pub(super) fn facts(socket: &OwnedFd) -> Option<TcpFacts> {
    let info = tcp_info(socket)?;
    let short = |at: Range<usize>| info[at].try_into().map_or(0, u32::from_ne_bytes);
    let long = |at: Range<usize>| info[at].try_into().map_or(0, u64::from_ne_bytes);
    Some(TcpFacts {
        rtt_us: short(RTT),
        retransmits: short(TOTAL_RETRANS),
        unsent_bytes: short(NOTSENT_BYTES),
        sent_bytes: long(BYTES_ACKED),
        received_bytes: long(BYTES_RECEIVED),
    })
}

/// It fails only for sockets that are not TCP's.
pub(super) fn keep_alive(socket: &OwnedFd) {
    let params = TcpKeepalive::new()
        .with_time(limits::KEEP_ALIVE_AFTER)
        .with_interval(limits::KEEP_ALIVE_INTERVAL)
        .with_retries(limits::KEEP_ALIVE_PROBES);
    drop(SockRef::from(socket).set_tcp_keepalive(&params));
}

/// The kernel resets the connection when the last descriptor is closed, and discards what it has not sent (socket(7),
/// `SO_LINGER`). A unix socket accepts the option and ignores it. It fails only if the connection is gone.
pub(super) fn reset_at_close(socket: &OwnedFd) {
    drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
}

/// Resets the connection at once (connect(2) with `AF_UNSPEC`), although the kernel still holds the socket. False if it cannot
/// be done: for a unix socket, or while the kernel waits in a call for this one.
pub(super) fn disconnect(socket: &OwnedFd) -> bool {
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the pointer and the length are those of an address that lives for the whole call.
    let outcome =
        unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, size_of_val(&nowhere) as libc::socklen_t) };
    outcome == 0
}

/// Shuts down the sending half. It fails only if the connection is gone, which the receiving half will report.
pub(super) fn shutdown(socket: &OwnedFd, how: Shutdown) {
    drop(SockRef::from(socket).shutdown(how));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_claimed_address_is_nobody_elses_and_those_that_join_share_it() {
        // A copy in the table of a concurrent test would keep a socket open.
        private_descriptor_table().unwrap();
        let (first, address) = claim(ANY_PORT).unwrap();
        let taken = |outcome: io::Result<(ListeningSocket, SocketAddr)>| outcome.unwrap_err().kind();
        assert_eq!(taken(claim(address)), io::ErrorKind::AddrInUse);
        let second = join(address).unwrap();
        let both = [&first, &second];
        both.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        // The kernel chooses by a hash of the ports.
        let mut counts = [0; 2];
        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (count, listener) in counts.iter_mut().zip(both) {
            *count = std::iter::from_fn(|| listener.accept().ok()).count();
        }
        assert!(counts.iter().sum::<usize>() == clients.len() && counts.iter().all(|count| *count > 0), "{counts:?}");
        assert_eq!(taken(claim(address)), io::ErrorKind::AddrInUse, "also beside those that have joined");
        drop(first);
        assert_eq!(taken(claim(address)), io::ErrorKind::AddrInUse);
        drop(second);
        // Connections of both sockets still exist, or are in TIME-WAIT.
        claim(address).unwrap();
    }

    #[test]
    fn an_address_within_another_is_taken_as_well() {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for (one, other) in [(any as fn(u16) -> SocketAddr, here as fn(u16) -> SocketAddr), (here, any)] {
            let (_first, address) = claim(one(0)).unwrap();
            assert_eq!(claim(other(address.port())).unwrap_err().kind(), io::ErrorKind::AddrInUse, "{address}");
        }
    }

    #[test]
    fn a_program_that_shares_its_port_with_its_own_is_another_program() {
        let sharing = unbound(ANY_PORT).unwrap();
        sharing.set_reuse_port(true).unwrap();
        sharing.bind(&ANY_PORT.into()).unwrap();
        sharing.listen(1).unwrap();
        let address = sharing.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(claim(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn of_those_that_claim_at_once_one_at_most_has_the_address() {
        for _ in 0..100 {
            let (free, address) = claim(ANY_PORT).unwrap();
            drop(free);
            let barrier = std::sync::Barrier::new(2);
            let claimed = std::thread::scope(|scope| {
                let claimants = [(); 2].map(|()| {
                    scope.spawn(|| {
                        barrier.wait();
                        claim(address)
                    })
                });
                claimants.map(|claimant| claimant.join().unwrap()).into_iter().flatten().count()
            });
            assert!(claimed <= 1, "both have {address}");
        }
    }

    #[test]
    fn accepted_sockets_send_at_once_and_do_not_leak_into_children() {
        let (listener, address) = claim(ANY_PORT).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert!(SockRef::from(&socket).tcp_nodelay().unwrap());
        // SAFETY: F_GETFD reads a flag of a descriptor that is open.
        let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn the_kernel_takes_little_of_what_a_peer_has_no_room_for() {
        let (listener, address) = claim(ANY_PORT).unwrap();
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
        // The client's buffer, which Linux doubles, the unsent bytes, and one more piece.
        assert!(taken < 128 * 1024 + limits::NOT_SENT_BYTES as usize + 64 * 1024, "{taken}");
    }

    #[test]
    fn accepted_sockets_have_the_listeners_peer_timeout() {
        let (listener, address) = claim(ANY_PORT).unwrap();
        let timeout = Duration::from_millis(12_345);
        listener.set_peer_timeout(timeout).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&socket).tcp_user_timeout().unwrap(), Some(timeout));
    }

    #[test]
    fn bytes_that_a_peer_has_no_room_for_are_unsent() {
        let (listener, address) = claim(ANY_PORT).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        assert_eq!(facts(&socket).unwrap().unsent_bytes, 0);
        let mut batch = Batch::new();
        batch.push(&[0; 64 * 1024]);
        while send(&socket, &batch).is_ok() {}
        assert!(facts(&socket).unwrap().unsent_bytes > 0);
    }

    #[test]
    fn what_the_peer_has_taken_is_counted() {
        use std::io::{Read, Write};
        let (listener, address) = claim(ANY_PORT).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let before = taken(&socket);
        TcpStream::from(socket.try_clone().unwrap()).write_all(&[0; 1_000]).unwrap();
        client.read_exact(&mut [0; 1_000]).unwrap();
        // The bytes that were read are acknowledged; on the loopback even before they could be read.
        assert_eq!(taken(&socket).wrapping_sub(before), 1_000);
    }

    #[test]
    fn a_connection_can_be_reset_while_its_socket_is_open_and_a_unix_socket_cannot() {
        use std::io::Read;
        let listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = OwnedFd::from(listener.accept().unwrap().0);
        assert!(disconnect(&socket));
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!disconnect(&unix.into()));
    }

    #[test]
    fn a_v6_socket_leaves_v4_to_others() {
        let Ok((v6, _)) = claim("[::]:0".parse().unwrap()) else {
            return; // a machine without IPv6
        };
        // Binding the same port of IPv4 would show it too, but a closed connection of another program may be in
        // TIME-WAIT there.
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

    #[test]
    fn a_silent_peer_is_asked_for_a_sign_of_life() {
        let listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
        let client = OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        keep_alive(&client);
        let socket = SockRef::from(&client);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::KEEP_ALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), limits::KEEP_ALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), limits::KEEP_ALIVE_PROBES);
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        keep_alive(&unix.into());
    }
}
