//! The most memory that a configuration allows, whatever clients do: one item for each bound, and the formula behind it.
//!
//! ```text
//!  connections, shards, [limits] --items--> a MemoryItem for each bound --in_all--> bytes
//! ```
//!
//! Workers are not in it: up to 64 MiB may wait for each that does not read.

use super::config::{ClientProof, Config};
use crate::limits;
use crate::outbound;

/// The memory that one bound allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryItem {
    /// A few words for a table.
    pub name: &'static str,
    /// At most.
    pub bytes: u64,
    /// The keys and the numbers that `bytes` follows from.
    pub formula: String,
}

/// The sum of all items.
pub fn in_all(items: &[MemoryItem]) -> u64 {
    items.iter().fold(0, |sum, item| sum.saturating_add(item.bytes))
}

/// One item for each bound, in the order of the manual ("Memory" in docs/operations.md). `shards` is at least 1;
/// `bytes_per_connection` is the cost of an idle connection: [`limits::CONNECTION_BYTES_PLAIN`] or
/// [`limits::CONNECTION_BYTES_TLS`].
pub fn items(connections: u64, shards: usize, config: &Config, bytes_per_connection: u64) -> Vec<MemoryItem> {
    let has_client_limits = !config.client_limits.is_empty();
    let upstreams = config.upstreams.iter().map(|upstream| upstream.bytes_at_most(shards)).fold(0, u64::saturating_add);
    let watched = outbound::watched(&config.upstreams) as u64;
    // A server that decides is asked each time, and a certificate is shown once for each connection.
    let has_tokens = config.auths.iter().any(|auth| matches!(auth.proof, ClientProof::Token(_)));
    let remembering = if has_tokens { shards as u64 } else { 0 };
    let revoking = if config.auths.is_empty() { 0 } else { shards as u64 };
    let deciding = if config.deciders.is_empty() { 0 } else { shards as u64 };
    let logged = if config.access_log.is_some() { connections } else { 0 };
    let config = &config.limits;
    // A sum that the shards share.
    let shared = |name, key: &str, of_shard: usize| {
        let bytes = (of_shard as u64).saturating_mul(shards as u64);
        MemoryItem { name, bytes, formula: format!("{key}: {of_shard} bytes for each of {shards} shards") }
    };
    let per = |name, count: u64, of: &str, each: u64, words: &str| {
        let formula = format!("{count} {of} x {each} bytes{words}");
        MemoryItem { name, bytes: count.saturating_mul(each), formula }
    };
    let per_shard = |name, each: u64, words: &str| per(name, shards as u64, "shards", each, words);
    let names = limits::MESSAGE_IDS_BYTES_MAX as u64 + limits::DISTINCT_VALUES_MAX as u64 * limits::DISTINCT_BYTES;
    let channels = 3 * limits::IDLE_CHANNELS_MAX as u64 * limits::KNOWN_CHANNEL_BYTES;
    let subscriptions = limits::CHANNELS_PER_CONNECTION_MAX as u64 * limits::SUBSCRIPTION_BYTES;
    let (resent, of_resent) = config.resent_bytes_at_most(shards);
    let accepted = (config.accepted_bytes_max / shards).max(limits::ACCEPTED_BYTES_MIN);
    let mail = limits::MAILBOX_BYTES as u64 + limits::MAILBOX_MAILS as u64 * limits::MAIL_LARGE_BYTES as u64;
    let tallies = if has_client_limits { config.tallies_max.next_power_of_two() as u64 } else { 0 };
    vec![
        MemoryItem {
            name: "process",
            bytes: limits::PROCESS_BYTES + shards as u64 * limits::SHARD_BYTES,
            formula: format!("{} bytes, and {shards} shards x {} bytes", limits::PROCESS_BYTES, limits::SHARD_BYTES),
        },
        per("connections", connections, "connections", bytes_per_connection, ", idle"),
        per("received, uncounted", connections, "connections", limits::ARRIVING_BYTES_FREE as u64, ""),
        per("unread, uncounted", connections, "connections", limits::WAITING_BYTES_FREE as u64, ""),
        per("subscriptions", connections, "connections", subscriptions, ", each with the most channels"),
        shared("arriving", "limits.arriving_bytes_max", config.arriving_bytes_of_shard(shards)),
        shared("handshakes", "limits.handshaking_bytes_max", config.handshaking_bytes_of_shard(shards)),
        shared("waiting for clients", "limits.waiting_bytes_max", config.waiting_bytes_of_shard(shards)),
        shared("accepted requests", "limits.accepted_bytes_max", accepted),
        MemoryItem {
            name: "histories",
            bytes: config.history_bytes_max as u64,
            formula: "limits.history_bytes_max".to_owned(),
        },
        MemoryItem { name: "resent", bytes: resent, formula: of_resent },
        per_shard("names of channels", channels, ", channels without subscribers"),
        per_shard("names of messages", names, ", Nats-Msg-Id and Tg-Distinct"),
        per_shard("presence", limits::PRESENT_MAX as u64 * limits::PRESENT_BYTES, ""),
        per_shard("mail between shards", 2 * mail, ", both lanes full"),
        MemoryItem {
            name: "upstreams",
            bytes: upstreams,
            formula: format!(
                "for each upstream: its servers x idle_max (in_flight_max, if that is less) x {shards} shards x {} bytes ({} more with tls) + queue_max x {} bytes",
                limits::UPSTREAM_IDLE_BYTES,
                limits::UPSTREAM_TLS_BYTES,
                limits::UPSTREAM_WAITING_BYTES
            ),
        },
        per("names and probes", watched, "servers", limits::WATCHED_SERVER_BYTES, ", each with a name or with health"),
        per("remembered tokens", remembering, "shards", limits::PROOFS_MEMORY_BYTES, ", if an [[auth]] has jwt"),
        per("revocations", revoking, "shards", limits::REVOCATIONS_MEMORY_BYTES, ", if there is an [[auth]]"),
        per("decisions", deciding, "shards", limits::DECISIONS_MEMORY_BYTES, ", if a [[permission]] asks"),
        per("limits of clients", tallies, "accounts", limits::TALLY_BYTES, ", if there is a [[limit]]"),
        per("access log", logged, "connections", limits::ACCESS_LOG_ENTRY_BYTES, ", if there is an [access_log]"),
        per("lines for its writer", u64::from(logged > 0), "writer", limits::MAILBOX_BYTES as u64, ", if it hangs"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::Config;
    use crate::proto::upstream::{UpstreamRule, UpstreamTls};

    #[test]
    fn an_upstream_costs_its_idle_connections_and_its_queue() {
        let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        let rule = UpstreamRule { idle_max: 3, queue_max: 5, ..UpstreamRule::new("app") };
        let config = Config { upstreams: vec![rule.with("a", address).with("b", address)], ..Config::default() };
        let items = items(1, 4, &config, limits::CONNECTION_BYTES_PLAIN);
        let item = items.iter().find(|item| item.name == "upstreams").unwrap();
        assert_eq!(item.bytes, 2 * 3 * 4 * limits::UPSTREAM_IDLE_BYTES + 5 * limits::UPSTREAM_WAITING_BYTES);
    }

    #[test]
    fn a_bound_on_requests_bounds_the_connections_that_are_kept() {
        let rule = UpstreamRule { in_flight_max: Some(8), queue_max: 0, ..UpstreamRule::new("app") };
        let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        let rule = rule.with("a", address);
        assert_eq!(rule.bytes_at_most(4), 8 * limits::UPSTREAM_IDLE_BYTES);
        assert_eq!((rule.idle_of_shard(4), rule.idle_of_shard(16)), (2, 1));
        let rule = UpstreamRule { tls: Some(UpstreamTls::default()), ..rule };
        assert_eq!(rule.bytes_at_most(4), 8 * (limits::UPSTREAM_IDLE_BYTES + limits::UPSTREAM_TLS_BYTES));
    }

    #[test]
    fn tokens_are_remembered_where_an_auth_has_tokens_and_revocations_where_there_is_an_auth() {
        let bytes = |config: &Config| {
            let items = items(1, 4, config, limits::CONNECTION_BYTES_PLAIN);
            ["remembered tokens", "revocations"].map(|name| items.iter().find(|item| item.name == name).unwrap().bytes)
        };
        let (tokens, revocations) = (4 * limits::PROOFS_MEMORY_BYTES, 4 * limits::REVOCATIONS_MEMORY_BYTES);
        for (proof, expected) in [
            ("jwt = { hmac_secret = \"b\" }", [tokens, revocations]),
            ("certificate = {}", [0, revocations]),
            ("forward = { upstream = \"http://127.0.0.1:9\", user = \"X-User\" }", [0, revocations]),
        ] {
            let text = format!("[[listener]]\naddress = \"127.0.0.1:80\"\n[[auth]]\nname = \"a\"\n{proof}\n");
            assert_eq!(bytes(&Config::parse("tidegate.toml".as_ref(), &text, []).unwrap()), expected, "{proof}");
        }
        assert_eq!(bytes(&Config::default()), [0, 0]);
    }

    #[test]
    fn the_manual_tells_the_sum_of_the_defaults() {
        let manual = include_str!("../../docs/operations.md");
        let bytes = in_all(&items(100_000, 4, &Config::default(), limits::CONNECTION_BYTES_TLS));
        let words = format!("defaults, that is {:.1} GiB", bytes as f64 / f64::from(1 << 30));
        assert!(manual.contains(&words), "the manual does not say: {words}");
    }
}
