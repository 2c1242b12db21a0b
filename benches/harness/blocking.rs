//! A client on a blocking socket, for benchmarks whose clients misbehave: they open a stream by hand, and go on as they like.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The head of a WebSocket handshake.
pub fn websocket_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends the request, and reads the head of the answer. An answer that opens no stream is an error with that head.
pub fn open(socket: &mut TcpStream, request: &str) -> io::Result<()> {
    socket.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let is_open = head.starts_with(b"HTTP/1.1 101 ") || head.starts_with(b"HTTP/1.1 200 ");
    if is_open { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())) }
}
