//! The floor of an echo by io_uring: a receive for each connection, and a send of what it brought; those of one turn in one
//! submission.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use slab::Slab;
use socket2::Socket;

use super::uring::ring;

const ENTRIES: u32 = 1024;
/// Longer than any echo: a part of one would come back as a part.
const BUFFER_BYTES: usize = 16 * 1024;
const ACCEPT: u64 = u64::MAX;
/// Set in the user data of a send.
const IS_SEND: u64 = 1 << 63;

struct Connection {
    socket: TcpStream,
    buffer: Box<[u8]>,
}

impl Connection {
    fn receive(&mut self, key: usize) -> Entry {
        let fd = types::Fd(self.socket.as_raw_fd());
        opcode::Recv::new(fd, self.buffer.as_mut_ptr(), self.buffer.len() as u32).build().user_data(key as u64)
    }

    fn send(&mut self, key: usize, count: i32) -> Entry {
        let send = opcode::Send::new(types::Fd(self.socket.as_raw_fd()), self.buffer.as_ptr(), count as u32);
        // All of it, or the connection is over.
        send.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build().user_data(key as u64 | IS_SEND)
    }
}

pub(super) fn run(listener: Socket) -> io::Result<()> {
    let listener = TcpListener::from(listener);
    let mut ring = ring(ENTRIES)?;
    let mut connections: Slab<Connection> = Slab::new();
    push(&mut ring, &accept(&listener))?;
    let mut finished = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        finished.extend(ring.completion().map(|completion| (completion.user_data(), completion.result())));
        for (who, outcome) in finished.drain(..) {
            if who == ACCEPT {
                let socket = TcpStream::from(accepted(outcome)?);
                let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
                let key = connections.insert(Connection { socket, buffer });
                push(&mut ring, &connections[key].receive(key))?;
                push(&mut ring, &accept(&listener))?;
                continue;
            }
            let key = (who & !IS_SEND) as usize;
            let next = match outcome {
                // No operation of it is left, so its buffer may go.
                ..=0 => {
                    connections.remove(key);
                    continue;
                }
                _ if who & IS_SEND != 0 => connections[key].receive(key),
                count => connections[key].send(key, count),
            };
            push(&mut ring, &next)?;
        }
    }
}

fn accept(listener: &TcpListener) -> Entry {
    let accept = opcode::Accept::new(types::Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut());
    accept.flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT)
}

fn accepted(outcome: i32) -> io::Result<Socket> {
    use std::os::fd::FromRawFd;
    if outcome < 0 {
        return Err(io::Error::from_raw_os_error(-outcome));
    }
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { Socket::from_raw_fd(outcome) })
}

fn push(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    if ring.submission().is_full() {
        ring.submit()?;
    }
    // SAFETY: a connection has one operation at a time and is removed only when that has completed; its buffer is boxed and
    // does not move. The listener lives as long as the ring.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)
}
