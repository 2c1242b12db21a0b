//! Strangers that do not finish what they say.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

/// A body as long as `limits.payload_bytes_max` allows by default.
const BODY_BYTES: usize = 1024 * 1024;

/// Connections that say `words`, and then nothing.
pub fn hold(address: SocketAddr, connections: usize, is_over: &AtomicBool, words: &[u8]) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < connections && !is_over.load(Ordering::Relaxed) {
        let mut socket = TcpStream::connect(address)?;
        if socket.write_all(words).is_ok() {
            held.push(socket);
        }
    }
    Ok(held)
}

pub fn unfinished_request() -> Vec<u8> {
    let head = format!("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; BODY_BYTES - 1]].concat()
}

/// RFC 8446 section 5.1: a ClientHello, after which the gateway has a state to keep, and the longest record but for its end.
pub fn begun_handshake(hello: &[u8]) -> Vec<u8> {
    const CONTENT_BYTES: u16 = 16_000;
    const APPLICATION_DATA: u8 = 23;
    let head = [&[APPLICATION_DATA, 3, 3][..], &CONTENT_BYTES.to_be_bytes()].concat();
    [hello, &head, &vec![0; usize::from(CONTENT_BYTES) - 1]].concat()
}

/// RFC 8446 sections 4 and 5.1: a ClientHello that is longer than its record, and as long as a gateway waits for.
pub fn unfinished_handshake() -> Vec<u8> {
    const CONTENT_BYTES: u16 = 16_000;
    let mut content = vec![0; CONTENT_BYTES.into()];
    content[..4].copy_from_slice(&[1, 0, 0x3f, 0]);
    [&[22, 3, 1][..], &CONTENT_BYTES.to_be_bytes(), &content].concat()
}
