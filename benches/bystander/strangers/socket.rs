//! A blocking WebSocket, as much of it as a stranger needs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer to a handshake may take: longer than the gateway's stalls that are measured.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// FIN and opcode (RFC 6455 section 5.2).
pub const TEXT: u8 = 0x81;

pub fn open_websocket(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let is_open = head.starts_with(b"HTTP/1.1 101 ");
    if is_open { Ok(socket) } else { Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())) }
}

/// A frame of a client: masked, with a mask of zeros, which changes nothing.
pub fn write_frame(out: &mut Vec<u8>, head: u8, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(head);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        long => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}
