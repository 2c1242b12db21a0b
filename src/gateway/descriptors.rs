//! How many connections the limit on open files allows.
//!
//! ```text
//!  a shard's table:  | standing |            clients            | workers | admin | clients that are told 503 |
//!                               '--------- for_clients ---------'-- a full gateway is still seen and served --'
//! ```
//!
//! RLIMIT_NOFILE counts per shard, because each shard has its own descriptor table: more shards hold more connections.
//! The kernel distributes connections over the shards at random, so one shard reaches its limit before the others are
//! full.

use log::{info, warn};
use rlimit::Resource;

use crate::limits;

/// The fullest shard is at most this many standard deviations above the mean; the probability of more is one in a
/// billion.
const DEVIATIONS: f64 = 6.0;

/// Descriptors of each table that clients leave to others.
const RESERVED: u64 = limits::WORKERS_RESERVED + limits::ADMIN_RESERVED + limits::REFUSALS_OPEN_MAX as u64;

/// Raises the soft limit to the hard one, and returns the number of descriptors that each shard may have.
pub(super) fn raise() -> u64 {
    let (soft, hard) = match Resource::NOFILE.get() {
        Ok(limits) => limits,
        Err(error) => {
            warn!("the limit on open files is not known: {error}");
            return u64::MAX;
        }
    };
    if soft >= hard {
        return soft;
    }
    match Resource::NOFILE.set(hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            warn!("the limit on open files stays at {soft}, {hard} would be allowed: {error}");
            soft
        }
    }
}

/// Number of connections of one of `shards` with which it takes no further client, if its table may have `descriptors`.
/// Workers and the admin listener have the rest, and so have clients that are told that there is no room. Under a very low
/// limit these get half.
pub fn for_clients(shards: usize, descriptors: u64) -> u64 {
    let usable = descriptors.saturating_sub(limits::DESCRIPTORS_RESERVED + shards as u64);
    usable - RESERVED.min(usable / 2)
}

/// Number of connections that `shards` hold together, if each may have `descriptors`.
pub fn held(shards: usize, descriptors: u64) -> u64 {
    let usable = for_clients(shards, descriptors);
    if shards == 1 {
        return usable;
    }
    // The mean at which the fullest shard just fits: mean + DEVIATIONS * sqrt(mean) = usable.
    let root = (f64::sqrt(DEVIATIONS * DEVIATIONS + 4.0 * usable as f64) - DEVIATIONS) / 2.0;
    (shards as u64).saturating_mul((root * root) as u64)
}

/// Number of descriptors that each of `shards` needs if they hold `connections` together.
pub fn needed(shards: usize, connections: u64) -> u64 {
    let mean = connections.div_ceil(shards as u64);
    let spread = if shards == 1 { 0.0 } else { DEVIATIONS * f64::sqrt(mean as f64) };
    let clients = mean.saturating_add(spread.ceil() as u64 + 1);
    clients.saturating_add(RESERVED.min(clients) + limits::DESCRIPTORS_RESERVED + shards as u64)
}

/// The fewest shards, at least one for each core, that hold this many connections; [`limits::SHARDS_MAX`] if no number
/// does.
pub fn shards_for(connections: u64, descriptors: u64, cores: usize) -> usize {
    let cores = cores.min(limits::SHARDS_MAX);
    (cores..=limits::SHARDS_MAX).find(|shards| held(*shards, descriptors) >= connections).unwrap_or(limits::SHARDS_MAX)
}

/// Logs how many connections the process can hold, and how it could hold the configured number.
pub(super) fn tell(shards: usize, descriptors: u64, wanted: Option<usize>) {
    let room = held(shards, descriptors);
    if descriptors == rlimit::INFINITY {
        return info!("connections: any number of descriptors for each of {shards} shards");
    }
    info!("connections: room for {room}, with {descriptors} descriptors for each of {shards} shards");
    if let Some(wanted) = wanted.filter(|wanted| *wanted as u64 > room) {
        warn!(
            "connections: limits.connections_max is {wanted}, and there are descriptors for {room}; raise the limit on open \
             files (LimitNOFILE= of the unit, ulimit -n) or the number of shards: tidegate doctor --connections {wanted}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_count_for_each_shard_and_some_are_left_for_chance() {
        assert_eq!(held(1, 20_000), 20_000 - limits::DESCRIPTORS_RESERVED - 1 - RESERVED);
        assert_eq!(for_clients(2, 300), 300 - limits::DESCRIPTORS_RESERVED - 2 - 117, "half of few");
        let two = held(2, 20_000);
        assert!((37_000..39_000).contains(&two), "{two}");
        assert!(held(8, 20_000).abs_diff(4 * two) < 100);
        assert_eq!(held(4, 10), 0);
        assert!(held(2, u64::MAX) > 1 << 40);
    }

    #[test]
    fn what_is_needed_is_enough_and_little_more() {
        for (shards, connections) in [(1, 1), (1, 50_000), (2, 100_000), (7, 1_000_000), (256, 1_000)] {
            let needed = needed(shards, connections);
            assert!(held(shards, needed) >= connections, "{shards} {connections}");
            assert!(held(shards, needed - 2 - needed / 1_000) < connections + shards as u64, "{shards} {connections}");
        }
    }

    #[test]
    fn more_shards_than_cores_where_descriptors_are_short() {
        assert_eq!(shards_for(1_000, 20_000, 2), 2);
        let shards = shards_for(100_000, 20_000, 2);
        assert!(held(shards, 20_000) >= 100_000 && held(shards - 1, 20_000) < 100_000, "{shards}");
        assert_eq!(shards_for(u64::MAX, 20_000, 2), limits::SHARDS_MAX);
        assert_eq!(shards_for(1_000, 10, 2), limits::SHARDS_MAX);
    }
}
