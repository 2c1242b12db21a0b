//! Ports for programs that are told theirs, or that start again on the same.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to connections: one of those could take the place of a program that starts again.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address of loopback that was free a moment ago, another one each time.
pub fn free_address() -> SocketAddr {
    // Processes of tests begin at different places.
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    let mut all = (0..COUNT).map(|_| (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT + FIRST);
    let free = all.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    free.and_then(|listener| listener.local_addr().ok()).expect("a port is free")
}
