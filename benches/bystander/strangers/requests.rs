//! Requests to an accept route.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Requests that are sent at once on one connection.
const PIPELINED: usize = 64;
/// The beginning of an answer.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

/// Requests without a body, each connection's as fast as they are answered.
pub fn requests(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> Result<(), String> {
    let words = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".repeat(PIPELINED);
    let ask = || -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        let mut answers = [0; 1 << 12];
        let mut tail = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            socket.write_all(words.as_bytes())?;
            let mut answered = 0;
            while answered < PIPELINED {
                let read = socket.read(&mut answers)?;
                if read == 0 {
                    return Ok(());
                }
                tail.extend_from_slice(&answers[..read]);
                answered += memchr::memmem::find_iter(&tail, STATUS_LINE).count();
                // The beginning of a status line that is not whole.
                tail.drain(..tail.len().saturating_sub(STATUS_LINE.len() - 1));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(ask)).collect();
        let outcomes = threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        let first = outcomes.filter_map(Result::err).next();
        first.map_or(Ok(()), |error| Err(format!("requests did not begin: {error}")))
    })
}
