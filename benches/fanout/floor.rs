//! The floor: what the kernel asks for the same bytes to the same sockets, with nothing around it.
//!
//! ```text
//! accept until the publisher has come; each says who it is with one byte
//! publisher: [size of the frame][size of the record][frame][record] --> write(2) to every subscriber of that kind
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

/// The first byte of a connection.
pub const WEBSOCKET: u8 = b'w';
pub const EVENT_STREAM: u8 = b's';
pub const PUBLISHER: u8 = b'p';

/// Two sizes of four bytes each, little endian, then as many bytes; see the module's picture.
pub fn message(frame: &[u8], record: &[u8]) -> Vec<u8> {
    let sizes = [frame.len(), record.len()].map(|size| (size as u32).to_le_bytes());
    [&sizes[0][..], &sizes[1], frame, record].concat()
}

/// Runs until the publisher has gone.
pub fn run(listener: &TcpListener) -> io::Result<()> {
    let (mut frames, mut records) = (Vec::new(), Vec::new());
    let mut publisher = loop {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut who = [0];
        socket.read_exact(&mut who)?;
        match who[0] {
            WEBSOCKET => frames.push(socket),
            EVENT_STREAM => records.push(socket),
            _ => break socket,
        }
    };
    let mut bytes = Vec::new();
    loop {
        let mut sizes = [0; 8];
        match publisher.read_exact(&mut sizes) {
            Err(error) if is_end(&error) => return Ok(()),
            outcome => outcome?,
        }
        let [frame, record] =
            [0, 4].map(|at| u32::from_le_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]));
        bytes.resize(frame as usize + record as usize, 0);
        publisher.read_exact(&mut bytes)?;
        let (frame, record) = bytes.split_at(frame as usize);
        match write_to_all(&mut frames, frame).and_then(|()| write_to_all(&mut records, record)) {
            Err(error) if is_end(&error) => return Ok(()),
            outcome => outcome?,
        }
    }
}

/// The load has gone, in good order or not; it says why itself.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn write_to_all(sockets: &mut [TcpStream], bytes: &[u8]) -> io::Result<()> {
    sockets.iter_mut().try_for_each(|socket| socket.write_all(bytes))
}
