//! When the next message is due, as a descriptor: epoll itself sleeps whole milliseconds.

use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::time::Duration;

/// Readable when the time has come.
pub(super) struct Timer(pub(super) std::fs::File);

impl Timer {
    pub(super) fn new() -> io::Result<Timer> {
        // SAFETY: timerfd_create takes two integers and touches no memory of ours.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else owns it.
        Ok(Timer(unsafe { std::fs::File::from_raw_fd(fd) }))
    }

    /// Once, `wait` from now; what was set before is forgotten.
    pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let value = libc::timespec {
            tv_sec: wait.as_secs() as libc::time_t,
            // Zero would switch it off.
            tv_nsec: (wait.subsec_nanos().max(1)) as libc::c_long,
        };
        let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: it reads one itimerspec, which `once` is, and writes nothing because the last pointer is null.
        match unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &once, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes it unreadable again.
    pub(super) fn take(&self) {
        // It fails only when the time has not come.
        drop((&self.0).read(&mut [0; 8]));
    }
}
