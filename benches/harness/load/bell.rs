//! Wakes a hand from another thread: an eventfd, opened before any hand has a descriptor table of its own, and so known to
//! all of them by the same number.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Bell(Arc<File>);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        // SAFETY: eventfd takes two integers and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else owns it.
        Ok(Bell(Arc::new(unsafe { File::from_raw_fd(fd) })))
    }

    pub(super) fn ring(&self) {
        // It fails only when it has been rung 2^64 - 2 times, and then it rings.
        drop((&*self.0).write(&1u64.to_ne_bytes()));
    }

    /// Silences it.
    pub(super) fn take(&self) {
        drop((&*self.0).read(&mut [0; 8]));
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
