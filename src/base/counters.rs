//! Counters of one shard: written only by its thread, read by any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter. A single thread adds; any thread reads.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Not a read-modify-write: there is one writer (ONE OWNER).
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// For gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn sub(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
