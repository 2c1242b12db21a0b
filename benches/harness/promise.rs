//! What is promised to those who are not the stranger, whatever a stranger does within its rights.

/// Latency of the echoes of a live connection, at p99.
pub const P99_MS_MAX: f64 = 100.0;
/// What operators and workers wait for.
pub const ANSWER_MS_MAX: f64 = 1_000.0;
/// Memory afterwards, as a multiple of the memory before …
pub const MEMORY_TO_BEFORE: f64 = 1.2;
/// … with less than this on top: the names that a shard remembers on purpose (100,000 of some 200 bytes, docs/operations.md),
/// the room that tables and lists keep after a burst, and some pages of jemalloc.
pub const MEMORY_LEFT_MIB_MAX: f64 = 24.0;
/// Of other channels, how many keep their history.
pub const KEPT_PERCENT_MIN: f64 = 100.0;
