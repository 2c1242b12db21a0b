//! The promise to every other client, worker and operator, whatever a stranger does within its rights.

use tidegate::limits;

/// Latency of the echoes of a live connection, at p99.
pub const P99_MS_MAX: f64 = 100.0;
/// The longest wait of an operator or a worker for an answer.
pub const ANSWER_MS_MAX: f64 = 1_000.0;
/// Memory afterwards, as a multiple of the memory before …
pub const MEMORY_TO_BEFORE: f64 = 1.2;
/// … with less than this on top, and what is [`remembered_mib`]: tables and lists keep the room of a burst, and jemalloc some
/// pages of each size.
pub const MEMORY_LEFT_MIB_MAX: f64 = 8.0;
/// Of other channels, how many keep their history.
pub const KEPT_PERCENT_MIN: f64 = 100.0;
/// What a name of a channel without subscribers takes (docs/operations.md).
const NAME_BYTES: usize = 200;

/// What a shard keeps on purpose when this stranger has left, at most: accepted requests until a worker has answered them, and
/// names of channels.
pub fn remembered_mib(stranger: &str) -> f64 {
    let bytes = match stranger {
        "requests" => limits::ACCEPTED_BYTES_MAX,
        "names" => limits::IDLE_CHANNELS_MAX * NAME_BYTES,
        _ => 0,
    };
    bytes as f64 / f64::from(1 << 20)
}
