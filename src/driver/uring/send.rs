//! A batch in the kernel's hands, and the message header that may describe it.

use std::os::fd::RawFd;

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use crate::base::Batch;
use crate::limits;

/// The kernel sends on until everything is gone or the connection breaks, so that most batches cost one completion.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Most bytes of a submission whose length is an `u32`; the rest follows. Of slices the kernel itself takes 2 GiB at most.
const SEND_BYTES_MAX: usize = 1 << 30;

/// A batch that the kernel reads from. It is touched again only when the submission's completion has come.
pub struct Sending {
    pub batch: Box<Batch>,
    pub message: Option<Box<Message>>,
}

/// What sendmsg wants: a header that points to slices that point into a batch.
pub struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; limits::SEND_SLICES],
}

impl Message {
    pub fn new() -> Box<Message> {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros is valid: no name, no slices, no control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Message { header, slices: [empty; limits::SEND_SLICES] })
    }

    fn describe(&mut self, batch: &Batch) {
        let mut count = 0;
        for (slot, bytes) in self.slices.iter_mut().zip(batch.slices()) {
            *slot = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            count += 1;
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = count as _;
    }
}

impl Sending {
    /// The submission that sends what is left of the batch, which is not empty. `message` is called if it has several
    /// slices and no message yet.
    ///
    /// The entry names memory of the batch and of the message: both stay with `self` until it has completed.
    pub fn entry(&mut self, fd: RawFd, message: impl FnOnce() -> Box<Message>) -> Entry {
        let mut slices = self.batch.slices();
        let first = slices.next().unwrap_or_default();
        let (start, len) = (first.as_ptr(), first.len().min(SEND_BYTES_MAX));
        let is_single = slices.next().is_none();
        drop(slices);
        if is_single {
            return opcode::Send::new(types::Fd(fd), start, len as u32).flags(FLAGS).build();
        }
        let message = self.message.get_or_insert_with(message);
        message.describe(&self.batch);
        opcode::SendMsg::new(types::Fd(fd), &raw const message.header).flags(FLAGS as u32).build()
    }
}
