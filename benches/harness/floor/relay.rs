//! The floor of a proxy: epoll, read(2) from one socket, write(2) of the same bytes to its other half. Each client has a connection of
//! its own to the server, and nothing is understood.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::Socket;

use super::accept;

const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// One socket, and the key of its other half.
struct Half {
    socket: TcpStream,
    other: usize,
}

pub(super) fn run(listener: Socket, server: SocketAddr) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), accept::LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut halves: Slab<Half> = Slab::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                accept::LISTENER => accept_all(&listener, server, &poll, &mut halves)?,
                Token(key) => {
                    if pass_on(&halves, key, &mut buffer).is_err()
                        && let Some(half) = halves.try_remove(key)
                    {
                        halves.try_remove(half.other);
                    }
                }
            }
        }
    }
}

fn accept_all(listener: &TcpListener, server: SocketAddr, poll: &Poll, halves: &mut Slab<Half>) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let far = TcpStream::connect(server)?;
        let [near, far] = [client, far].map(|socket| halves.insert(Half { socket, other: usize::MAX }));
        for (key, other) in [(near, far), (far, near)] {
            let half = &mut halves[key];
            half.other = other;
            half.socket.set_nonblocking(true)?;
            half.socket.set_nodelay(true)?;
            poll.registry().register(&mut SourceFd(&half.socket.as_raw_fd()), Token(key), Interest::READABLE)?;
        }
    }
}

/// An error is the end of both. What is passed on is short: a socket that does not take it is an error too.
fn pass_on(halves: &Slab<Half>, key: usize, buffer: &mut [u8]) -> io::Result<()> {
    // Its other half may have ended it in this round.
    let Some(Half { socket, other }) = halves.get(key) else { return Ok(()) };
    let mut to = halves.get(*other).map(|half| &half.socket).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut from = socket;
    loop {
        match from.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                if count < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
