//! The floor of an echo: epoll, read(2), write(2) of the same bytes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::Socket;

use super::accept;

const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) fn run(listener: Socket) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), accept::LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections: Slab<TcpStream> = Slab::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                accept::LISTENER => accept::accept_all(&listener, &poll, &mut connections)?,
                Token(key) => {
                    if send_back(&mut connections[key], &mut buffer).is_err() {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

/// An error is the connection's end. Echoes are short: a socket that does not take one is an error too.
fn send_back(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                socket.write_all(&buffer[..count])?;
                if count < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
