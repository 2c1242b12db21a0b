//! The server's half of a handshake, in memory: what rustls itself takes with the gateway's configuration.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind, ServerConfig, ServerConnection};

use crate::certificate;

/// CPU time of the server's half of one handshake, on average over `count`; and how many of them resumed.
pub fn server_half(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    count: usize,
) -> Result<(Duration, usize), String> {
    let mut spent = Duration::ZERO;
    let mut resumed = 0;
    for _ in 0..count {
        let (half, kind) = handshake(server, client)?;
        spent += half;
        resumed += usize::from(kind == Some(HandshakeKind::Resumed));
    }
    Ok((spent / count as u32, resumed))
}

/// Until the ticket is with the client; the server's part is timed, its connection made and dropped included.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(Duration, Option<HandshakeKind>), String> {
    let failed = |error: rustls::Error| format!("a handshake in memory failed: {error}");
    let mut client = certificate::client(client)?;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let start = thread_cpu()?;
    let mut server = ServerConnection::new(server.clone()).map_err(failed)?;
    let mut spent = thread_cpu()? - start;
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() || client.wants_write() {
        write_all(|out| client.write_tls(out), &mut to_server)?;
        let start = thread_cpu()?;
        let mut arrived = &to_server[..];
        while !arrived.is_empty() {
            server.read_tls(&mut arrived).map_err(|error| error.to_string())?;
            server.process_new_packets().map_err(failed)?;
        }
        while server.wants_write() {
            write_all(|out| server.write_tls(out), &mut to_client)?;
        }
        spent += thread_cpu()? - start;
        to_server.clear();
        let mut arrived = &to_client[..];
        while !arrived.is_empty() {
            client.read_tls(&mut arrived).map_err(|error| error.to_string())?;
            client.process_new_packets().map_err(failed)?;
        }
        to_client.clear();
    }
    let start = thread_cpu()?;
    drop(server);
    Ok((spent + (thread_cpu()? - start), client.handshake_kind()))
}

fn write_all(write: impl FnOnce(&mut dyn Write) -> std::io::Result<usize>, out: &mut Vec<u8>) -> Result<(), String> {
    write(out).map(drop).map_err(|error| error.to_string())
}

/// What this thread has used so far.
fn thread_cpu() -> Result<Duration, String> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which `time` is.
    match unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(std::io::Error::last_os_error().to_string()),
    }
}
