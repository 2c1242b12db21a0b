//! The floors: what the kernel asks for the same work, with nothing around it. Always plain.

mod accept;
mod echo;
mod echo_uring;
mod fanout;
mod relay;
mod uring;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::spawn;

use socket2::{Domain, Socket, Type};
use tidegate::driver::socket::private_descriptor_table;

use crate::gateway::wait_for_the_end;
use crate::load::{Framing, write_server_frame};
use crate::process::tell;

/// As deep as the gateway's.
const LISTEN_QUEUE: i32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accepts, and notices ends; nothing is ever sent.
    Accept,
    /// A message to all subscribers of its channel, by write(2).
    Write,
    /// The same by io_uring, in batches.
    WriteUring,
    /// Sends back what comes; epoll, read(2) and write(2).
    Echo,
    /// The same by io_uring.
    EchoUring,
    /// Passes on what comes to a server, and back; epoll, read(2) and write(2).
    Relay,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Accept, Kind::Write, Kind::WriteUring, Kind::Echo, Kind::EchoUring, Kind::Relay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Accept => "accept",
            Kind::Write => "write",
            Kind::WriteUring => "write-uring",
            Kind::Echo => "echo",
            Kind::EchoUring => "echo-uring",
            Kind::Relay => "relay",
        }
    }
}

/// Runs until stdin ends. `server`: of a relay.
pub(crate) fn serve(name: &str, threads: usize, server: Option<SocketAddr>) -> Result<(), String> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("no floor is {name}"))?;
    let failed = |error: io::Error| format!("the floor {name}: {error}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let held = bind(address).map_err(failed)?;
    let address = held.local_addr().map_err(failed)?.as_socket().ok_or("an address of IPv4")?;
    let (ready, readies) = std::sync::mpsc::channel();
    for _ in 0..threads {
        let ready = ready.clone();
        // Not joined: the process ends, and they with it.
        spawn(move || {
            let outcome = private_descriptor_table().and_then(|()| bind(address)).and_then(|listener| {
                listener.listen(LISTEN_QUEUE)?;
                _ = ready.send(());
                match kind {
                    Kind::Accept => accept::run(listener),
                    Kind::Write => fanout::run(listener, &mut fanout::Loop),
                    Kind::WriteUring => fanout::run(listener, &mut uring::Sends::new()?),
                    Kind::Echo => echo::run(listener),
                    Kind::EchoUring => echo_uring::run(listener),
                    Kind::Relay => relay::run(listener, server.ok_or(io::ErrorKind::InvalidInput)?),
                }
            });
            if let Err(error) = outcome {
                eprintln!("a floor ended: {error}");
                std::process::exit(1);
            }
        });
    }
    // Their tables are their own before any of them has a connection.
    (0..threads).for_each(|_| _ = readies.recv());
    tell([("front", address), ("publish", address)].into_iter())?;
    wait_for_the_end();
    Ok(())
}

/// An address that its threads share.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The first byte of what a connection says when it comes; the number of its channel follows.
const WEBSOCKET: u8 = b'w';
const EVENT_STREAM: u8 = b's';
/// What the publisher says.
pub(crate) const PUBLISHER: [u8; 5] = *b"p\0\0\0\0";

/// What a subscriber says.
pub(crate) fn word(framing: Framing, channel: u32) -> Vec<u8> {
    let who = if framing == Framing::WebSocket { WEBSOCKET } else { EVENT_STREAM };
    [&[who][..], &channel.to_le_bytes()].concat()
}

/// A publisher's message: channel, size of the frame, size of the event, four bytes each and little endian; then both, the
/// very bytes that the gateway would send.
pub(crate) fn write_message(out: &mut Vec<u8>, channel: u32, number: u32, payload: &[u8]) {
    let mut frame = Vec::with_capacity(payload.len() + 4);
    write_server_frame(&mut frame, payload);
    let event = [format!("id: 00000000-{number}\ndata: ").as_bytes(), payload, b"\n\n"].concat();
    for size in [channel, frame.len() as u32, event.len() as u32] {
        out.extend_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&frame);
    out.extend_from_slice(&event);
}
