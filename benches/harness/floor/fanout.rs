//! The floor of a fan-out: what the kernel asks for the same bytes to the same sockets, with nothing around it.
//!
//! ```text
//! accept until the publisher has come; each says with five bytes who it is and which channel it wants
//! publisher: [channel][size of the frame][size of the event][frame][event] --> to every subscriber of the channel
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use socket2::Socket;

use super::{EVENT_STREAM, WEBSOCKET};

/// Who listens to a channel, by what they read.
#[derive(Default)]
struct Channel {
    websockets: Vec<TcpStream>,
    event_streams: Vec<TcpStream>,
}

/// How bytes reach some sockets.
pub(super) trait Send {
    fn send(&mut self, sockets: &mut [TcpStream], bytes: &[u8]) -> io::Result<()>;
}

/// One write(2) after the other.
pub(super) struct Loop;

impl Send for Loop {
    fn send(&mut self, sockets: &mut [TcpStream], bytes: &[u8]) -> io::Result<()> {
        sockets.iter_mut().try_for_each(|socket| socket.write_all(bytes))
    }
}

/// Until the publisher has gone.
pub(super) fn run(listener: Socket, send: &mut impl Send) -> io::Result<()> {
    let listener = TcpListener::from(listener);
    let mut channels: Vec<Channel> = Vec::new();
    let mut publisher = loop {
        let (mut socket, _) = listener.accept()?;
        let [who, channel @ ..] = read::<5>(&mut socket)?;
        let channel = u32::from_le_bytes(channel) as usize;
        if channels.len() <= channel {
            channels.resize_with(channel + 1, Channel::default);
        }
        match who {
            WEBSOCKET => channels[channel].websockets.push(socket),
            EVENT_STREAM => channels[channel].event_streams.push(socket),
            _ => break socket,
        }
    };
    let mut bytes = Vec::new();
    loop {
        let outcome = read::<12>(&mut publisher).and_then(|head| {
            let [channel, frame, event] =
                [0, 4, 8].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize);
            bytes.resize(frame + event, 0);
            publisher.read_exact(&mut bytes)?;
            let (frame, event) = bytes.split_at(frame);
            let Channel { websockets, event_streams } = &mut channels[channel];
            send.send(websockets, frame)?;
            send.send(event_streams, event)
        });
        match outcome {
            // The load has gone, in good order or not; it says why itself.
            Err(error) if is_end(&error) => return Ok(()),
            outcome => outcome?,
        }
    }
}

fn read<const BYTES: usize>(socket: &mut TcpStream) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}
