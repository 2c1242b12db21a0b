//! What one shard counts, and how it is shown: the Prometheus text format.

use std::fmt::Write;

use crate::base::counters::Counter;
use crate::proto::close::TABLE;

/// Written by one shard, read by whoever answers `GET /metrics`.
pub struct Counters {
    pub accepted: Counter,
    pub accept_failures: Counter,
    /// Connections that exist now.
    pub open: Counter,
    /// Those among them that came in by the front: what `limits.connections_max` bounds, and what a drain waits for.
    pub clients: Counter,
    /// Subscriptions of this shard's connections; as of the end of its last turn.
    pub subscriptions: Counter,
    /// Clients' messages that wait for a worker of their service; likewise.
    pub waiting: Counter,
    /// Channels with messages kept for those who come back, and the bytes that takes; likewise.
    pub histories: Counter,
    pub history_bytes: Counter,
    pub handshakes: Counter,
    /// Those among them that were resumed from a ticket.
    pub resumed: Counter,
    /// Messages that clients, workers and publishers sent.
    pub received: Counter,
    /// Messages framed for one connection each.
    pub delivered: Counter,
    /// Those among what clients got that they had missed.
    pub replayed: Counter,
    /// Times that clients were told that something is missing.
    pub gaps: Counter,
    pub mails: Counter,
    pub turns: Counter,
    /// By close reason, in the order of its table.
    pub closed: [Counter; TABLE.len()],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            accepted: Counter::default(),
            accept_failures: Counter::default(),
            open: Counter::default(),
            clients: Counter::default(),
            subscriptions: Counter::default(),
            waiting: Counter::default(),
            histories: Counter::default(),
            history_bytes: Counter::default(),
            handshakes: Counter::default(),
            resumed: Counter::default(),
            received: Counter::default(),
            delivered: Counter::default(),
            replayed: Counter::default(),
            gaps: Counter::default(),
            mails: Counter::default(),
            turns: Counter::default(),
            closed: std::array::from_fn(|_| Counter::default()),
        }
    }
}

type Read = fn(&Counters) -> u64;

const ROWS: &[(&str, &str, &str, Read)] = &[
    ("connections_accepted_total", "counter", "Connections accepted.", |c| c.accepted.value()),
    ("accept_failures_total", "counter", "Accepts that failed for want of descriptors or memory.", |c| {
        c.accept_failures.value()
    }),
    ("connections_open", "gauge", "Connections that exist now.", |c| c.open.value()),
    ("clients_open", "gauge", "Connections that exist now on listeners for clients.", |c| c.clients.value()),
    ("subscriptions", "gauge", "Subscriptions of the connections that exist now.", |c| c.subscriptions.value()),
    ("messages_waiting", "gauge", "Clients' messages that wait for a worker of their service.", |c| c.waiting.value()),
    ("histories", "gauge", "Channels of which messages are kept.", |c| c.histories.value()),
    ("history_bytes", "gauge", "Bytes that the messages kept take.", |c| c.history_bytes.value()),
    ("tls_handshakes_total", "counter", "TLS handshakes finished.", |c| c.handshakes.value()),
    ("tls_resumed_total", "counter", "TLS handshakes finished that a ticket had made shorter.", |c| c.resumed.value()),
    ("messages_received_total", "counter", "Messages from clients, workers and publishers.", |c| c.received.value()),
    ("messages_delivered_total", "counter", "Messages handed to one connection each.", |c| c.delivered.value()),
    ("messages_replayed_total", "counter", "Messages handed to clients that had missed them.", |c| c.replayed.value()),
    ("gaps_total", "counter", "Times that a client was told that messages are missing.", |c| c.gaps.value()),
    ("mails_total", "counter", "Mails between threads.", |c| c.mails.value()),
    ("turns_total", "counter", "Rounds of the event loop.", |c| c.turns.value()),
];

/// All shards' counters as `tidegate_…{shard="n"}` lines.
pub fn render<'a>(shards: impl Iterator<Item = &'a Counters> + Clone) -> String {
    let mut text = String::new();
    for (name, kind, help, read) in ROWS {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP tidegate_{name} {help}\n# TYPE tidegate_{name} {kind}");
        for (shard, counters) in shards.clone().enumerate() {
            let _ = writeln!(text, "tidegate_{name}{{shard=\"{shard}\"}} {}", read(counters));
        }
    }
    let _ = writeln!(
        text,
        "# HELP tidegate_closed_total Connections ended and requests refused, by reason.\n# TYPE tidegate_closed_total counter"
    );
    for (shard, counters) in shards.enumerate() {
        for (row, counter) in TABLE.iter().zip(&counters.closed) {
            let _ = writeln!(
                text,
                "tidegate_closed_total{{shard=\"{shard}\",reason=\"{}\"}} {}",
                row.name,
                counter.value()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_shard_has_its_line() {
        let shards = [Counters::default(), Counters::default()];
        shards[1].accepted.add(3);
        let text = render(shards.iter());
        assert!(text.contains("tidegate_connections_accepted_total{shard=\"1\"} 3\n"));
        assert_eq!(text.matches("tidegate_closed_total{").count(), 2 * TABLE.len());
    }
}
