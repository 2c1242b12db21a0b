//! A WebSocket on a blocking socket.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_bench::blocking::{open, websocket_request};

/// How long an answer to a handshake may take: longer than the gateway's stalls that are measured.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

pub fn open_websocket(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    open(&mut socket, &websocket_request(path))?;
    Ok(socket)
}
