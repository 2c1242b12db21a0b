//! What one shard counts, and how it is shown: the Prometheus text format.

use std::fmt::Write;

use crate::base::counters::Counter;
use crate::conn::Pushed;
use crate::proto::channel::{Loss, RuleNumber, Rules};
use crate::proto::close::TABLE;
use crate::proto::replay::GapReason;

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
    /// Clients that listen to channels with presence, each counted for each of its channels; likewise.
    pub present: Counter,
    /// What was announced of them, and those who came back before their leave was.
    pub joins: Counter,
    pub leaves: Counter,
    pub returns: Counter,
    /// Accepted requests without a result, and with those whose result is kept; likewise.
    pub requests_pending: Counter,
    pub requests_kept: Counter,
    /// What workers have asked clients and not heard yet; likewise.
    pub questions: Counter,
    /// And how those ended that are not open any more.
    pub questions_answered: Counter,
    pub questions_unanswerable: Counter,
    pub questions_gone: Counter,
    pub questions_late: Counter,
    /// What clients answered that nobody had asked them, or that had been answered before.
    pub answers_stray: Counter,
    /// Messages that clients have not acknowledged; as of the end of the last turn.
    pub unacked: Counter,
    /// And how those ended that are not waited for any more; those that were not taken.
    pub unacked_acknowledged: Counter,
    pub unacked_expired: Counter,
    pub unacked_refused: Counter,
    /// Times that one of them went to a connection after it had been sent before.
    pub unacked_resent: Counter,
    /// Acknowledgements of nothing, or of what was over.
    pub acks_stray: Counter,
    pub requests_accepted: Counter,
    pub requests_done: Counter,
    pub requests_failed: Counter,
    pub requests_expired: Counter,
    /// Those that a worker had when its connection ended.
    pub requests_orphaned: Counter,
    /// Workers' answers that came second, after the time, or to nothing that is known.
    pub answers_twice: Counter,
    pub answers_late: Counter,
    pub answers_unknown: Counter,
    pub handshakes: Counter,
    /// TLS connections that have said something in their handshake, and wait for their turn; as of the end of the last one.
    pub handshakes_waiting: Counter,
    /// Those among them that were resumed from a ticket.
    pub resumed: Counter,
    /// Messages that clients, workers and publishers sent.
    pub received: Counter,
    /// Messages framed for one connection each.
    pub delivered: Counter,
    /// Those among what clients got that they had missed.
    pub replayed: Counter,
    /// Times that clients were told that something is missing, by the reason.
    gaps: [Counter; GapReason::ALL.len()],
    pub mails: Counter,
    pub turns: Counter,
    /// By close reason, in the order of its table.
    pub closed: [Counter; TABLE.len()],
    /// Messages that somebody listened to and did not get: by their channel's rule, and by the reason.
    lost: Box<[[Counter; Loss::ALL.len()]]>,
}

impl Counters {
    pub fn new(rules: &Rules) -> Counters {
        Counters {
            accepted: Counter::default(),
            accept_failures: Counter::default(),
            open: Counter::default(),
            clients: Counter::default(),
            subscriptions: Counter::default(),
            waiting: Counter::default(),
            histories: Counter::default(),
            present: Counter::default(),
            joins: Counter::default(),
            leaves: Counter::default(),
            returns: Counter::default(),
            history_bytes: Counter::default(),
            requests_pending: Counter::default(),
            requests_kept: Counter::default(),
            questions: Counter::default(),
            questions_answered: Counter::default(),
            questions_unanswerable: Counter::default(),
            questions_gone: Counter::default(),
            questions_late: Counter::default(),
            answers_stray: Counter::default(),
            unacked: Counter::default(),
            unacked_acknowledged: Counter::default(),
            unacked_expired: Counter::default(),
            unacked_refused: Counter::default(),
            unacked_resent: Counter::default(),
            acks_stray: Counter::default(),
            requests_accepted: Counter::default(),
            requests_done: Counter::default(),
            requests_failed: Counter::default(),
            requests_expired: Counter::default(),
            requests_orphaned: Counter::default(),
            answers_twice: Counter::default(),
            answers_late: Counter::default(),
            answers_unknown: Counter::default(),
            handshakes: Counter::default(),
            handshakes_waiting: Counter::default(),
            resumed: Counter::default(),
            received: Counter::default(),
            delivered: Counter::default(),
            replayed: Counter::default(),
            gaps: Default::default(),
            mails: Counter::default(),
            turns: Counter::default(),
            closed: std::array::from_fn(|_| Counter::default()),
            lost: (0..rules.count()).map(|_| Default::default()).collect(),
        }
    }

    pub fn gaps(&self, reason: GapReason) -> &Counter {
        &self.gaps[reason as usize]
    }

    pub fn lost(&self, rule: RuleNumber, loss: Loss) -> &Counter {
        &self.lost[rule.index()][loss as usize]
    }

    /// Counts what is lost because of a message under this rule.
    pub fn count_lost(&self, rule: RuleNumber, pushed: Pushed) {
        let (loss, count) = match pushed {
            Pushed::Framed(_) | Pushed::Held(None) => return,
            Pushed::Held(Some(lost)) => lost,
            Pushed::Lost(loss) => (loss, 1),
            Pushed::TooSlow => (Loss::Closed, 1),
        };
        self.lost(rule, loss).add(count);
    }
}

impl Default for Counters {
    /// For those who have no rules.
    fn default() -> Counters {
        Counters::new(&Rules::default())
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
    ("present", "gauge", "Clients listening to channels with presence, once for each channel.", |c| c.present.value()),
    ("presence_joins_total", "counter", "Users and clients who came to a channel with presence.", |c| c.joins.value()),
    ("presence_leaves_total", "counter", "Users and clients who left one, the grace over.", |c| c.leaves.value()),
    ("presence_returns_total", "counter", "Users who came back to one within the grace.", |c| c.returns.value()),
    ("history_bytes", "gauge", "Bytes that the messages kept take.", |c| c.history_bytes.value()),
    ("requests_pending", "gauge", "Accepted requests that have no result yet.", |c| c.requests_pending.value()),
    ("requests_kept", "gauge", "Accepted requests, those whose result is kept among them.", |c| {
        c.requests_kept.value()
    }),
    ("requests_accepted_total", "counter", "Requests accepted.", |c| c.requests_accepted.value()),
    ("requests_done_total", "counter", "Accepted requests that a worker has done.", |c| c.requests_done.value()),
    ("requests_failed_total", "counter", "Accepted requests that failed.", |c| c.requests_failed.value()),
    ("requests_expired_total", "counter", "Accepted requests that nobody answered in time.", |c| {
        c.requests_expired.value()
    }),
    ("requests_orphaned_total", "counter", "Accepted requests that a worker had when its connection ended.", |c| {
        c.requests_orphaned.value()
    }),
    ("answers_twice_total", "counter", "Answers to a request that had been answered.", |c| c.answers_twice.value()),
    ("answers_late_total", "counter", "Answers to a request that had expired.", |c| c.answers_late.value()),
    ("answers_unknown_total", "counter", "Answers to a request that nobody knows.", |c| c.answers_unknown.value()),
    ("questions_open", "gauge", "Questions to clients that have no answer yet.", |c| c.questions.value()),
    ("questions_answered_total", "counter", "Questions that a client has answered.", |c| c.questions_answered.value()),
    ("questions_unanswerable_total", "counter", "Questions to users and connections that cannot answer.", |c| {
        c.questions_unanswerable.value()
    }),
    ("questions_gone_total", "counter", "Questions whose clients left without an answer.", |c| {
        c.questions_gone.value()
    }),
    ("questions_late_total", "counter", "Questions that nobody answered in time.", |c| c.questions_late.value()),
    ("answers_stray_total", "counter", "Clients' answers to nothing, or that came too late.", |c| {
        c.answers_stray.value()
    }),
    ("unacked", "gauge", "Messages that their clients have not acknowledged yet.", |c| c.unacked.value()),
    ("unacked_acknowledged_total", "counter", "Messages with Tg-Ack that a client has acknowledged.", |c| {
        c.unacked_acknowledged.value()
    }),
    ("unacked_expired_total", "counter", "Messages with Tg-Ack that nobody has acknowledged in time.", |c| {
        c.unacked_expired.value()
    }),
    ("unacked_refused_total", "counter", "Messages with Tg-Ack that were not taken.", |c| c.unacked_refused.value()),
    ("unacked_resent_total", "counter", "Times that a message with Tg-Ack was sent to a connection again.", |c| {
        c.unacked_resent.value()
    }),
    ("acks_stray_total", "counter", "Clients' acknowledgements of nothing, or of what was over.", |c| {
        c.acks_stray.value()
    }),
    ("tls_handshakes_total", "counter", "TLS handshakes finished.", |c| c.handshakes.value()),
    ("tls_handshakes_waiting", "gauge", "TLS connections that wait for a turn of their handshake.", |c| {
        c.handshakes_waiting.value()
    }),
    ("tls_resumed_total", "counter", "TLS handshakes finished that a ticket had made shorter.", |c| c.resumed.value()),
    ("messages_received_total", "counter", "Messages from clients, workers and publishers.", |c| c.received.value()),
    ("messages_delivered_total", "counter", "Messages handed to one connection each.", |c| c.delivered.value()),
    ("messages_replayed_total", "counter", "Messages handed to clients that had missed them.", |c| c.replayed.value()),
    ("mails_total", "counter", "Mails between threads.", |c| c.mails.value()),
    ("turns_total", "counter", "Rounds of the event loop.", |c| c.turns.value()),
];

/// All shards' counters as `tidegate_…{shard="n"}` lines.
pub fn render<'a>(shards: impl Iterator<Item = &'a Counters> + Clone, rules: &Rules) -> String {
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
    for (shard, counters) in shards.clone().enumerate() {
        for (row, counter) in TABLE.iter().zip(&counters.closed) {
            let _ = writeln!(
                text,
                "tidegate_closed_total{{shard=\"{shard}\",reason=\"{}\"}} {}",
                row.name,
                counter.value()
            );
        }
    }
    render_gaps(&mut text, shards.clone());
    render_lost(&mut text, shards, rules);
    text
}

fn render_gaps<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters>) {
    let _ = writeln!(
        text,
        "# HELP tidegate_gaps_total Times that a client was told that messages are missing, by the reason.\n\
         # TYPE tidegate_gaps_total counter"
    );
    for (shard, counters) in shards.enumerate() {
        for reason in GapReason::ALL {
            let (word, count) = (reason.word(), counters.gaps(reason).value());
            let _ = writeln!(text, "tidegate_gaps_total{{shard=\"{shard}\",reason=\"{word}\"}} {count}");
        }
    }
}

/// What channels that no pattern matches have in place of one, and what no pattern can be.
const NO_RULE: &str = "no rule";

fn render_lost<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters>, rules: &Rules) {
    let _ = writeln!(
        text,
        "# HELP tidegate_messages_lost_total Messages that a subscriber did not get, by the pattern of their channel and the \
         reason.\n# TYPE tidegate_messages_lost_total counter"
    );
    for (shard, counters) in shards.enumerate() {
        for (number, pattern) in rules.patterns() {
            let channel = pattern.map_or(NO_RULE, |pattern| pattern.as_str());
            for loss in Loss::ALL.into_iter().filter(|loss| loss.can_befall(rules.rule(number))) {
                let _ = writeln!(
                    text,
                    "tidegate_messages_lost_total{{shard=\"{shard}\",channel=\"{}\",reason=\"{}\"}} {}",
                    Label(channel),
                    loss.word(),
                    counters.lost(number, loss).value()
                );
            }
        }
    }
}

/// A label's value: three characters have to be escaped.
struct Label<'a>(&'a str);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::channel::{Delivery, Rule};
    use crate::proto::subject::Pattern;

    #[test]
    fn every_reason_and_shard_has_its_line() {
        let shards = [Counters::default(), Counters::default()];
        shards[1].accepted.add(3);
        let text = render(shards.iter(), &Rules::default());
        assert!(text.contains("tidegate_connections_accepted_total{shard=\"1\"} 3\n"));
        assert_eq!(text.matches("tidegate_closed_total{").count(), 2 * TABLE.len());
    }

    #[test]
    fn gaps_are_shown_by_their_reason() {
        let counters = Counters::default();
        GapReason::ALL.into_iter().zip(1..).for_each(|(reason, count)| counters.gaps(reason).add(count));
        let text = render([&counters].into_iter(), &Rules::default());
        let shown: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("tidegate_gaps_total{shard=\"0\",")).collect();
        let expected = ["gone", "epoch", "future", "malformed", "unknown", "slow"].iter().zip(1..);
        assert_eq!(shown, expected.map(|(word, count)| format!("reason=\"{word}\"}} {count}")).collect::<Vec<_>>());
    }

    #[test]
    fn losses_are_shown_by_pattern_and_reason_as_far_as_the_rule_allows_them() {
        let rule = |name: &str, delivery| (Pattern::new(name).unwrap(), Rule { delivery, ..Rule::default() });
        let rules = Rules::new([rule("grid.*", Delivery::Latest), rule("a\"b", Delivery::Drop)]);
        let counters = Counters::new(&rules);
        let (grid, _) = rules.patterns().next().unwrap();
        counters.count_lost(grid, Pushed::Held(Some((Loss::Superseded, 2))));
        counters.count_lost(rules.fallback(), Pushed::TooSlow);
        let text = render([&counters].into_iter(), &rules);
        let lines: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("tidegate_messages_lost_total{")).collect();
        assert_eq!(
            lines,
            [
                "shard=\"0\",channel=\"grid.*\",reason=\"superseded\"} 2",
                "shard=\"0\",channel=\"grid.*\",reason=\"closed\"} 0",
                "shard=\"0\",channel=\"grid.*\",reason=\"duplicate\"} 0",
                "shard=\"0\",channel=\"a\\\"b\",reason=\"oldest\"} 0",
                "shard=\"0\",channel=\"a\\\"b\",reason=\"duplicate\"} 0",
                "shard=\"0\",channel=\"no rule\",reason=\"closed\"} 1",
                "shard=\"0\",channel=\"no rule\",reason=\"duplicate\"} 0",
            ]
        );
    }
}
