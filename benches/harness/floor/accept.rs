//! A bare accept and epoll loop: what a connection costs the kernel. What comes in is thrown away.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::Socket;

pub(super) const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 256;

pub(super) fn run(listener: Socket) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections: Slab<TcpStream> = Slab::new();
    let mut buffer = [0; 4096];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut connections)?;
            } else if is_over(&connections[event.token().0], &mut buffer) {
                connections.remove(event.token().0);
            }
        }
    }
}

pub(super) fn accept_all(listener: &TcpListener, poll: &Poll, connections: &mut Slab<TcpStream>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                let entry = connections.vacant_entry();
                let fd = socket.as_raw_fd();
                poll.registry().register(&mut SourceFd(&fd), Token(entry.key()), Interest::READABLE)?;
                entry.insert(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_over(mut socket: &TcpStream, buffer: &mut [u8]) -> bool {
    loop {
        match socket.read(buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
