//! The server behind the proxies: one thread that answers each request with the same bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tidegate::driver::socket::private_descriptor_table;

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// Of a request without a body.
const HEAD_END: &[u8; 4] = b"\r\n\r\n";

struct Connection {
    socket: TcpStream,
    /// Bytes of [`HEAD_END`] that have come.
    matched: usize,
}

/// Starts it; ends with the process. It has a descriptor table of its own before this returns: otherwise it would hold open the
/// stdin of a proxy that starts meanwhile.
pub fn start(body_bytes: usize) -> Result<SocketAddr, String> {
    let failed = |error: io::Error| format!("the server did not start: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\r\n");
    let answer = [head.into_bytes(), vec![b'x'; body_bytes]].concat();
    let (tell, has_begun) = channel();
    thread::spawn(move || {
        let own_table = private_descriptor_table();
        _ = tell.send(());
        if let Err(error) = own_table.and_then(|()| run(&listener, &answer)) {
            eprintln!("the server ended: {error}");
            std::process::exit(1);
        }
    });
    _ = has_begun.recv();
    Ok(address)
}

fn run(listener: &TcpListener, answer: &[u8]) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections: Slab<Connection> = Slab::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => accept_all(listener, &poll, &mut connections)?,
                Token(key) => {
                    if answer_all(&mut connections[key], answer, &mut buffer).is_err() {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

fn accept_all(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                let entry = connections.vacant_entry();
                let token = Token(entry.key());
                poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
                entry.insert(Connection { socket, matched: 0 });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// An error is the connection's end. A socket takes an answer whole, or it is an error too.
fn answer_all(connection: &mut Connection, answer: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match connection.socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                for byte in &buffer[..count] {
                    let next = HEAD_END[connection.matched];
                    connection.matched =
                        if *byte == next { connection.matched + 1 } else { usize::from(*byte == b'\r') };
                    if connection.matched == HEAD_END.len() {
                        connection.matched = 0;
                        connection.socket.write_all(answer)?;
                    }
                }
                if count < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
