//! Wakes a shard from another thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Cheap to clone, usable from every thread.
#[derive(Clone, Debug)]
pub struct Waker(Signal);

#[derive(Clone, Debug)]
enum Signal {
    /// An eventfd, opened before any thread got a descriptor table of its own (SHARED BEFORE UNSHARED).
    Kernel(Arc<File>),
    /// The simulator's: a flag that its driver checks.
    Memory(Arc<AtomicBool>),
}

impl Waker {
    /// A waker with a descriptor that a kernel driver can wait for.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes two integers and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and has no other owner.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Waker(Signal::Kernel(Arc::new(file))))
    }

    /// A waker for a driver without a kernel.
    pub fn in_memory() -> Waker {
        Waker(Signal::Memory(Arc::new(AtomicBool::new(false))))
    }

    pub fn wake(&self) {
        match &self.0 {
            // A write fails only if 2^64 - 2 wake-ups are pending, and then one is pending.
            Signal::Kernel(file) => drop((&**file).write(&1u64.to_ne_bytes())),
            Signal::Memory(flag) => flag.store(true, Ordering::Release),
        }
    }

    /// Takes the pending wake-ups; true if there was one.
    pub fn take(&self) -> bool {
        match &self.0 {
            Signal::Kernel(file) => (&**file).read(&mut [0; 8]).is_ok(),
            Signal::Memory(flag) => flag.swap(false, Ordering::Acquire),
        }
    }

    /// True while a wake-up is pending; only for wakers in memory.
    pub fn is_pending(&self) -> bool {
        match &self.0 {
            Signal::Kernel(_) => false,
            Signal::Memory(flag) => flag.load(Ordering::Acquire),
        }
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Signal::Kernel(file) => Some(file.as_fd()),
            Signal::Memory(_) => None,
        }
    }

    /// For a thread that waits for its wake-ups with tokio, within its runtime.
    pub fn awaited(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = self.fd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
        // SAFETY: the descriptor is open and owned by what is returned, which closes it with itself.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        registered.map_err(io::Error::from)
    }

    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fd().map(|fd| fd.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_merge_until_taken() {
        for waker in [Waker::new().unwrap(), Waker::in_memory()] {
            assert!(!waker.take());
            waker.wake();
            waker.clone().wake();
            assert!(waker.take());
            assert!(!waker.take());
        }
    }
}
