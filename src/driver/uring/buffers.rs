//! The buffers that the kernel receives into, and the ring through which it is given them.
//!
//! ```text
//! [ ring: one entry per buffer, shared with the kernel | pad to a page | buffer 0 | buffer 1 | ... ]
//! ```
//!
//! OWNER OF A BUFFER: the kernel, from `give_back` until a completion names it; then this side, until `give_back`.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The only group of buffers there is.
pub const GROUP: u16 = 0;

pub struct Buffers {
    pages: Pages,
    ring_bytes: usize,
    count: u16,
    buffer_bytes: usize,
    /// Buffers given to the kernel so far; wraps.
    tail: u16,
}

impl Buffers {
    /// `count` is a power of two.
    pub fn new(count: u16, buffer_bytes: usize) -> io::Result<Buffers> {
        let ring_bytes = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE);
        let pages = Pages::new(ring_bytes + usize::from(count) * buffer_bytes)?;
        let mut buffers = Buffers { pages, ring_bytes, count, buffer_bytes, tail: 0 };
        for buffer in 0..count {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    pub fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let ring = self.pages.start.as_ptr() as u64;
        // SAFETY: the ring lies at the start of a page, has `count` entries, and its memory outlives the registration:
        // the driver drops the io_uring before the buffers.
        unsafe { submitter.register_buf_ring_with_flags(ring, self.count, GROUP, 0) }
    }

    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// The first `len` bytes of a buffer that a completion has named and that has not been given back.
    pub fn bytes(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        assert!(len <= self.buffer_bytes, "the kernel filled more than the buffer");
        let start = self.address(buffer);
        // SAFETY: the bytes lie within our pages (asserted), are initialised (the pages began as zeros), and the
        // kernel does not touch a buffer that it has not been given (OWNER OF A BUFFER).
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    pub fn give_back(&mut self, buffer: u16) {
        let address = self.address(buffer) as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        let ring = self.pages.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the slot is masked, so it lies within the ring.
        let entry = unsafe { ring.add(slot) };
        // SAFETY: the kernel reads entries only below the tail, and this one is not; it is aligned and initialised. The
        // first entry's spare field is the tail itself, which no setter below touches.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the pointer is that of the ring's first entry, which is initialised.
        let tail = unsafe { BufRingEntry::tail(ring) };
        // SAFETY: the tail is an aligned word of our pages; the kernel only reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Keeps the memory for ever, because the kernel may still write to it.
    pub fn leak(&mut self) {
        self.pages.len = 0;
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "the kernel named buffer {buffer} of {}", self.count);
        let offset = self.ring_bytes + usize::from(buffer) * self.buffer_bytes;
        // SAFETY: the buffer's number is below `count` (asserted), so the offset lies within the pages.
        unsafe { self.pages.start.as_ptr().add(offset) }
    }
}

/// Large enough a unit for every page size that Linux has.
const PAGE: usize = 64 * 1024;

/// Anonymous memory, zeroed, touched only where it is used.
struct Pages {
    start: NonNull<u8>,
    /// 0 once leaked.
    len: usize,
}

impl Pages {
    fn new(len: usize) -> io::Result<Pages> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Pages { start, len })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the mapping is ours, and no slice of it outlives the `Buffers` that owns it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}
