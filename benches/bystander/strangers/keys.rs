//! KeyUpdates (RFC 8446 section 4.6.3), each followed by an empty record: the gateway derives keys, and gets no data.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_bench::certificate::{Certificate, Shake};
use tidegate_bench::load::KeyUpdates;

use super::keep_at_it;

/// In one write.
const UPDATES: usize = 128;

pub fn keys(
    address: SocketAddr,
    certificate: &Certificate,
    connections: usize,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let config = certificate.client(Shake::default())?;
    let begin = |_| {
        let mut socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let updates = KeyUpdates::shake(&mut socket, config.clone())?;
        Ok((socket, updates))
    };
    keep_at_it(connections, is_over, begin, |(socket, updates), is_over| {
        let mut out = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            out.clear();
            (0..UPDATES).try_for_each(|_| updates.seal(&mut out))?;
            socket.write_all(&out).map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}
