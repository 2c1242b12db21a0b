//! More connections than the gateway has descriptors for.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_bench::blocking::websocket_request;

/// With the admin listener, which is to answer all the same.
pub const RULES: &str = "[admin]\naddress = \"127.0.0.1:0\"\n";
/// The gateway's limit on open files.
pub const DESCRIPTORS: u32 = 2_000;
/// How long the kernel may take: its queue is full when the gateway does not accept.
const PATIENCE: Duration = Duration::from_millis(200);

/// Asks for a WebSocket on each, and reads no answer.
pub fn crowd(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    let request = websocket_request("/ws/crowd");
    let mut held = Vec::new();
    for _ in 0..connections {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut socket) = TcpStream::connect_timeout(&address, PATIENCE) else { continue };
        if socket.write_all(request.as_bytes()).is_ok() {
            held.push(socket);
        }
    }
    Ok(held)
}
