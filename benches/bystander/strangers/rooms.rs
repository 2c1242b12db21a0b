//! Strangers in a room of their own.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_bench::load::{TEXT, write_client_frame};

use super::socket::open_websocket;

/// Empty messages that fill one receive of the gateway.
const FLOOD_MESSAGES: usize = 32 * 1024 / 6;
/// A fragment a little below `limits.message_bytes_max`.
const FRAGMENT_BYTES: usize = 65_000;

/// Subscribers that read nothing, and one write whose messages all of them get.
pub fn flood(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        held.push(open_websocket(address, "/room/flood")?);
    }
    let mut frames = Vec::new();
    for _ in 0..FLOOD_MESSAGES {
        write_client_frame(&mut frames, TEXT, b"");
    }
    if let Some(publisher) = held.first_mut() {
        publisher.write_all(&frames)?;
    }
    Ok(held)
}

/// WebSockets whose message has no end.
pub fn fragments(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    const TEXT_WITHOUT_FIN: u8 = 0x01;
    let mut frame = Vec::new();
    write_client_frame(&mut frame, TEXT_WITHOUT_FIN, &[b'x'; FRAGMENT_BYTES]);
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        let mut socket = open_websocket(address, "/room/fragments")?;
        if socket.write_all(&frame).is_ok() {
            held.push(socket);
        }
    }
    Ok(held)
}
