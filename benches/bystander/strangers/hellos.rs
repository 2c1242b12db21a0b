//! ClientHellos in two segments, as those with a post-quantum key share are.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tidegate_bench::certificate::{Certificate, NAME, Shake};

/// Of the first segment: less than the network carries at once.
const SEGMENT_BYTES: usize = 1_200;
/// How long the answer to a hello is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many connections at once, again and again. None goes on after the gateway's first flight, which is what costs.
pub fn hellos(
    address: SocketAddr,
    certificate: &Certificate,
    connections: usize,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let hello = hello(certificate)?;
    let (first, second) = hello.split_at(SEGMENT_BYTES.min(hello.len() / 2));
    while !is_over.load(Ordering::Relaxed) {
        let mut sockets = Vec::new();
        while sockets.len() < connections && !is_over.load(Ordering::Relaxed) {
            sockets.push(begin(address, first).map_err(|error| format!("hellos did not begin: {error}"))?);
        }
        // The gateway may have ended some of them.
        for socket in &mut sockets {
            _ = socket.write_all(second);
        }
        for socket in &mut sockets {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            _ = socket.read(&mut [0; 64]);
        }
    }
    Ok(())
}

fn begin(address: SocketAddr, words: &[u8]) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(words)?;
    Ok(socket)
}

/// The same for all: the gateway cannot tell.
pub fn hello(certificate: &Certificate) -> Result<Vec<u8>, String> {
    let config = certificate.client(Shake { is_hybrid: true, is_resuming: false })?;
    let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
    let mut client = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).map_err(|error| error.to_string())?;
    }
    Ok(hello)
}
