//! How far the sums of the gateway are filled, as its gauges tell.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tidegate::gateway::config::Config;
use tidegate::limits;
use tidegate_bench::report::Figure;

use crate::others::get;

/// Between two readings.
const INTERVAL: Duration = Duration::from_millis(100);
/// The figure that is shown: the least of the others.
const LEAST: &str = "filled_percent";

/// A sum that the shards share: the name of its figure, its gauge, and as much of it as clients can fill.
struct Sum(&'static str, &'static str, usize);

fn sums(config: &Config) -> [Sum; 5] {
    let (bounds, shards) = (&config.limits, config.shards.max(1));
    let accepted = (bounds.accepted_bytes_max / shards).max(limits::ACCEPTED_BYTES_MIN) * shards;
    [
        Sum("arriving_percent", "arriving_bytes", bounds.arriving_bytes_of_shard(shards) * shards),
        Sum("handshaking_percent", "tls_handshaking_bytes", bounds.handshaking_bytes_of_shard(shards) * shards),
        Sum("waiting_percent", "waiting_bytes", bounds.waiting_bytes_of_shard(shards) * shards),
        // The rest is for results, which workers make.
        Sum("accepted_percent", "requests_bytes", accepted - accepted / limits::ACCEPTED_FOR_RESULTS),
        Sum("history_percent", "history_bytes", bounds.history_bytes_max),
    ]
}

/// The most that each sum held, in percent of what clients can fill, and the least of these figures.
pub fn watch(admin: SocketAddr, config: &Config, is_over: &AtomicBool) -> Result<Vec<Figure>, String> {
    let sums = sums(config);
    let mut most = sums.each_ref().map(|Sum(name, ..)| (*name, 0.0_f64));
    while !is_over.load(Ordering::Relaxed) {
        let metrics = get(admin, "/metrics").map_err(|error| format!("the metrics cannot be read: {error}"))?;
        for (Sum(_, gauge, bytes_max), (_, percent)) in sums.iter().zip(&mut most) {
            let bytes = read(&metrics, gauge).map_err(|error| format!("the gauge {gauge}: {error}"))?;
            *percent = percent.max(bytes as f64 * 100.0 / *bytes_max as f64);
        }
        thread::sleep(INTERVAL);
    }
    let least = most.iter().map(|(_, percent)| *percent).fold(f64::INFINITY, f64::min);
    Ok([(LEAST, least)].into_iter().chain(most).collect())
}

/// Of all shards.
fn read(metrics: &str, gauge: &str) -> io::Result<u64> {
    let start = format!("tidegate_{gauge}{{");
    let values: Option<Vec<u64>> = metrics
        .lines()
        .filter(|line| line.starts_with(&start))
        .map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    values
        .filter(|values| !values.is_empty())
        .map(|values| values.iter().sum())
        .ok_or(io::ErrorKind::InvalidData.into())
}
