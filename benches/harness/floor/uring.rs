//! The floor of a fan-out by io_uring: the sends of one message in batches, each one submission.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};

use super::fanout::Send;

/// Sends of one submission.
const BATCH: usize = 1024;

/// One ring, as the gateway sets it up: a single issuer, whose completions come when it asks for them.
pub(super) struct Sends(IoUring);

impl Sends {
    pub(super) fn new() -> io::Result<Sends> {
        Ok(Sends(ring(BATCH as u32)?))
    }
}

pub(super) fn ring(entries: u32) -> io::Result<IoUring> {
    IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(entries)
}

impl Send for Sends {
    fn send(&mut self, sockets: &mut [TcpStream], bytes: &[u8]) -> io::Result<()> {
        for batch in sockets.chunks_mut(BATCH) {
            for (index, socket) in batch.iter().enumerate() {
                let send = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
                let entry = send.flags(libc::MSG_NOSIGNAL).build().user_data(index as u64);
                // SAFETY: `bytes` and `socket` outlive the operation: all completions of the batch are awaited below.
                unsafe { self.0.submission().push(&entry) }.map_err(io::Error::other)?;
            }
            let mut missing = batch.len();
            while missing > 0 {
                self.0.submit_and_wait(missing)?;
                for completion in self.0.completion() {
                    missing -= 1;
                    let sent = completion.result();
                    if sent < 0 {
                        return Err(io::Error::from_raw_os_error(-sent));
                    }
                    // A full socket takes a part, and the rest later.
                    batch[completion.user_data() as usize].write_all(&bytes[sent as usize..])?;
                }
            }
        }
        Ok(())
    }
}
