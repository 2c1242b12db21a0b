//! The promise to every other client, worker and operator, whatever a stranger does within its rights.

use tidegate::gateway::config::Config;
use tidegate::gateway::most;
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
/// Of each sum that clients can fill, how much the stranger `hoard` fills at least: a run that does not reach a bound says
/// nothing about it.
pub const FILLED_PERCENT_MIN: f64 = 90.0;
/// Two of the sums that it fills (`limits.accepted_bytes_max`, `limits.history_bytes_max` of its gateway): what is in them stays
/// when it has left.
pub const HOARD_ACCEPTED_BYTES: usize = 64 * 1024 * 1024;
pub const HOARD_HISTORY_BYTES: usize = 32 * 1024 * 1024;
/// What a name of a channel without subscribers takes (docs/operations.md).
const NAME_BYTES: usize = 200;
/// The same, each name being as long as it may be. Twice: they lie between names that have gone, and jemalloc gives back whole
/// pages.
const HOARD_NAMES_BYTES: usize = 2 * limits::IDLE_CHANNELS_MAX * limits::KNOWN_CHANNEL_BYTES as usize;

/// The most that a shard keeps on purpose when this stranger has left: accepted requests until a worker has answered them,
/// histories, and names of channels.
pub fn remembered_mib(stranger: &str) -> f64 {
    let bytes = match stranger {
        "requests" => limits::ACCEPTED_BYTES_MAX,
        "names" => limits::IDLE_CHANNELS_MAX * NAME_BYTES,
        "hoard" => HOARD_ACCEPTED_BYTES + HOARD_HISTORY_BYTES + HOARD_NAMES_BYTES,
        _ => 0,
    };
    bytes as f64 / f64::from(1 << 20)
}

/// The most memory that a configuration allows with so many connections, as `tidegate doctor` adds it up, in MiB. A connection's
/// price has the kernel's part in it.
pub fn bound_mib(config: &Config, connections: usize) -> f64 {
    let is_tls = config.listeners.iter().any(|listener| listener.tls.is_some());
    let each = if is_tls { limits::CONNECTION_BYTES_TLS } else { limits::CONNECTION_BYTES_PLAIN };
    let items = most::items(connections as u64, config.shards.max(1), config, each);
    most::in_all(&items) as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor;
    use crate::options::Target;
    use crate::process::Setup;

    #[test]
    fn the_bound_is_that_of_the_configuration_that_the_gateway_gets() {
        let bound_of = |rules: &str| {
            let setup = Setup {
                target: Target::Epoll,
                shards: 1,
                certificate: None,
                floor: floor::Kind::Write,
                has_worker: false,
                is_grouped: false,
                rules,
            };
            bound_mib(&setup.config().expect("a configuration"), 2_000)
        };
        let lower = "[limits]\nwaiting_bytes_max = 67108864\nhistory_bytes_max = 33554432\n";
        assert_eq!(bound_of("") - bound_of(lower), f64::from(1024 - 64 + 256 - 32));
    }
}
