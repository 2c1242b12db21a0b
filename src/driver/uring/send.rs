//! The submission that sends a batch, and the message header that may describe it.

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use crate::base::Batch;
use crate::limits;

/// The kernel continues a send until everything is sent or the connection breaks, so most batches cost one completion.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Most bytes of a submission whose length is a `u32`; the rest follows. For slices, the kernel's own bound is 2 GiB.
const SEND_BYTES_MAX: usize = 1 << 30;

/// Sends the rest of a batch, if it is one slice. The entry refers to memory of the batch.
pub(super) fn one_slice(fd: types::Fd, batch: &Batch) -> Option<Entry> {
    let mut slices = batch.slices();
    let only = slices.next().unwrap_or_default();
    if slices.next().is_some() {
        return None;
    }
    let len = only.len().min(SEND_BYTES_MAX) as u32;
    Some(opcode::Send::new(fd, only.as_ptr(), len).flags(FLAGS).build())
}

/// The argument of sendmsg: a header that points to slices that point into a batch.
pub(super) struct SendmsgHeader {
    header: libc::msghdr,
    slices: [libc::iovec; limits::SEND_SLICES],
}

impl SendmsgHeader {
    pub(super) fn new() -> Box<SendmsgHeader> {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros is valid: no name, no slices, no control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(SendmsgHeader { header, slices: [empty; limits::SEND_SLICES] })
    }

    /// Sends the rest of a batch. The entry refers to memory of the batch and of this header.
    pub(super) fn entry(&mut self, fd: types::Fd, batch: &Batch) -> Entry {
        let mut count = 0;
        for (slot, bytes) in self.slices.iter_mut().zip(batch.slices()) {
            *slot = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            count += 1;
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        opcode::SendMsg::new(fd, &raw const self.header).flags(FLAGS as u32).build()
    }
}
