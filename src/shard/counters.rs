//! The counters of one shard, and their rendering in the Prometheus text format.

mod auths;
mod deciders;
pub(super) mod upstreams;

use std::fmt::Write;
use std::sync::Arc;

use crate::base::counters::Counter;
use crate::conn::Pushed;
use crate::conn::access::lines::AccessRule;
use crate::conn::quota::{Measure, Quotas};
use crate::conn::settings::Settings;
use crate::proto::channel::{Loss, RuleNumber, Rules};
use crate::proto::close::TABLE;
use crate::proto::replay::GapReason;
use crate::proto::subject::Subject;

use auths::AuthCounters;
use deciders::DeciderCounters;
use upstreams::UpstreamCounters;

use super::services::{self, ServiceFailure, name as service_name};

/// Declares each counter once: the field, its line in the metrics, its help.
macro_rules! counters {
    ($($field:ident: $kind:ident $name:literal, $help:literal;)*) => {
        /// Written by one shard, read by the shard that answers `GET /metrics`.
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)*
            /// Gaps that clients were told of, by reason.
            gaps: [Counter; GapReason::ALL.len()],
            /// By close reason, in the order of its table.
            pub closed: [Counter; TABLE.len()],
            /// Messages that did not reach one of their subscribers, by the rule of their channel and by reason.
            lost: Box<[[Counter; Loss::ALL.len()]]>,
            /// One entry for each service of the configuration.
            pub services: Box<[ServiceCounters]>,
            limits: Option<LimitCounters>,
            /// With the lines that its writer could not write; `None` without an access log.
            access: Option<Arc<AccessRule>>,
            /// One entry for each auth of the configuration.
            auths: Box<[AuthCounters]>,
            /// One entry for each decider of the configuration.
            deciders: Box<[DeciderCounters]>,
            /// One entry for each upstream of the configuration.
            upstreams: Box<[UpstreamCounters]>,
        }

        impl Counters {
            /// For a shard with these settings.
            pub fn of(settings: &Settings) -> Counters {
                let services = services::of_routes(&settings.generation.routes);
                let limits = settings.generation.quotas.as_ref().map(LimitCounters::new);
                let upstreams = settings.generation.upstreams.iter().map(UpstreamCounters::new).collect();
                let auths = auths::of(&settings.generation.auths);
                let access = settings.generation.access.clone();
                let deciders = deciders::of(&settings.generation.deciders);
                Counters { limits, access, auths, deciders, upstreams, ..Counters::new(&settings.generation.channels, &services) }
            }

            fn new(rules: &Rules, services: &[Subject]) -> Counters {
                Counters {
                    $($field: Counter::default(),)*
                    gaps: Default::default(),
                    closed: std::array::from_fn(|_| Counter::default()),
                    lost: (0..rules.count()).map(|_| Default::default()).collect(),
                    services: services.iter().map(ServiceCounters::new).collect(),
                    limits: None,
                    access: None,
                    auths: Box::default(),
                    deciders: Box::default(),
                    upstreams: Box::default(),
                }
            }
        }

        const ROWS: &[(&str, &str, &str, Read)] =
            &[$(($name, stringify!($kind), $help, |counters| counters.$field.value()),)*];
    };
}

type Read = fn(&Counters) -> u64;

// In the order in which they are shown. `open` and `clients` are exact at any time: `limits.connections_max` bounds
// `clients`, and a drain waits for them. The other gauges are as of the end of the last turn.
counters! {
    accepted: counter "connections_accepted_total", "Connections accepted.";
    accept_failures: counter "accept_failures_total", "Accepts that failed for want of descriptors or memory.";
    open: gauge "connections_open", "Connections that exist now.";
    clients: gauge "clients_open", "Connections that exist now on listeners for clients.";
    subscriptions: gauge "subscriptions", "Subscriptions of the connections that exist now.";
    deliveries_owed: gauge "deliveries_owed", "Deliveries to clients of large rooms that are still to come.";
    owed_bytes: gauge "deliveries_owed_bytes", "Bytes of the messages that are kept for them.";
    waiting: gauge "messages_waiting", "Clients' messages that wait for a worker of their service.";
    histories: gauge "histories", "Channels of which messages are kept.";
    present: gauge "present", "Clients listening to channels with presence, once for each channel.";
    joins: counter "presence_joins_total", "Users and clients who came to a channel with presence.";
    leaves: counter "presence_leaves_total", "Users and clients who left one, the grace over.";
    returns: counter "presence_returns_total", "Users who came back to one within the grace.";
    history_bytes: gauge "history_bytes", "Bytes that the messages kept take.";
    requests_pending: gauge "requests_pending", "Accepted requests that have no result yet.";
    requests_kept: gauge "requests_kept", "Accepted requests, those whose result is kept among them.";
    requests_bytes: gauge "requests_bytes", "Bytes that accepted requests and their kept results take.";
    requests_accepted: counter "requests_accepted_total", "Requests accepted.";
    requests_done: counter "requests_done_total", "Accepted requests that a worker has done.";
    requests_failed: counter "requests_failed_total", "Accepted requests that failed.";
    requests_expired: counter "requests_expired_total", "Accepted requests that nobody answered in time.";
    requests_orphaned: counter "requests_orphaned_total", "Accepted requests that a worker had when its connection ended.";
    requests_unkept: counter "requests_unkept_total", "Results that were told and not kept, because they did not fit into limits.accepted_bytes_max.";
    answers_twice: counter "answers_twice_total", "Answers to a request that had been answered.";
    answers_late: counter "answers_late_total", "Answers to a request that had expired.";
    answers_unknown: counter "answers_unknown_total", "Answers to a request that nobody knows.";
    questions: gauge "questions_open", "Questions to clients that have no answer yet.";
    questions_answered: counter "questions_answered_total", "Questions that a client has answered.";
    questions_unanswerable: counter "questions_unanswerable_total", "Questions to users and connections that cannot answer.";
    questions_gone: counter "questions_gone_total", "Questions whose clients left without an answer.";
    questions_late: counter "questions_late_total", "Questions that nobody answered in time.";
    answers_stray: counter "answers_stray_total", "Clients' answers to nothing, or that came too late.";
    decisions_open: gauge "decisions_open", "Decisions of the application about clients that are waited for.";
    unacked: gauge "unacked", "Messages that their clients have not acknowledged yet.";
    unacked_acknowledged: counter "unacked_acknowledged_total", "Messages with Tg-Ack that a client has acknowledged.";
    unacked_expired: counter "unacked_expired_total", "Messages with Tg-Ack that nobody has acknowledged in time.";
    unacked_refused: counter "unacked_refused_total", "Messages with Tg-Ack that were not taken.";
    unacked_resent: counter "unacked_resent_total", "Times that a message with Tg-Ack was sent to a connection again.";
    acks_stray: counter "acks_stray_total", "Clients' acknowledgements of nothing, or of what was over.";
    proxied: gauge "proxied_requests", "Requests that a server of an upstream has now.";
    proxied_waiting: gauge "proxied_requests_waiting", "Requests that wait for a server of their upstream.";
    proxied_desperate: gauge "proxied_requests_desperate", "Requests that were given to a server that was left out, because all were.";
    fields_left_out: counter "proxied_fields_left_out_total", "Header fields of requests that servers did not get because of their names.";
    tunnels: gauge "tunnels_open", "WebSockets that a server of an upstream serves.";
    upstream_idle: gauge "upstream_connections_idle", "Connections to servers that wait for a request.";
    upstream_out: gauge "upstream_servers_out", "Servers that are left out for a while after failures.";
    arriving_bytes: gauge "arriving_bytes", "Bytes of clients that wait for the rest of a message, a request or a record.";
    handshaking_bytes: gauge "tls_handshaking_bytes", "Bytes that unfinished TLS handshakes take.";
    waiting_bytes: gauge "waiting_bytes", "Memory for what waits for clients that do not keep up.";
    handshakes: counter "tls_handshakes_total", "TLS handshakes finished.";
    handshakes_waiting: gauge "tls_handshakes_waiting", "TLS connections that wait for a turn of their handshake.";
    resumed: counter "tls_resumed_total", "TLS handshakes finished that a ticket had made shorter.";
    received: counter "messages_received_total", "Messages from clients, workers and publishers.";
    unroutable: counter "messages_unroutable_total", "Messages of workers to names that are no subjects, or that they may not publish to.";
    forged: counter "messages_forged_total", "Clients' messages that others would have taken for the gateway's own; they went nowhere.";
    rests: counter "client_rests_total", "Times that a client was not read for a while, because it had sent commands faster than limits.commands_per_second.";
    delivered: counter "messages_delivered_total", "Messages handed to one connection each.";
    replayed: counter "messages_replayed_total", "Messages handed to clients that had missed them.";
    access_log_lost: counter "access_log_lost_total", "Lines of the access log that were lost because the writer did not keep up.";
    mails: counter "mails_total", "Mails between threads.";
    turns: counter "turns_total", "Rounds of the event loop.";
}

impl Counters {
    pub fn gaps(&self, reason: GapReason) -> &Counter {
        &self.gaps[reason as usize]
    }

    /// Gaps that slow clients were told of.
    pub fn slow_gaps(&self) -> &Counter {
        self.gaps(GapReason::Slow)
    }

    /// What was more than the limit with this index allows; `None`: the settings have no limits.
    pub fn limited(&self, quota: usize, measure: Measure) -> Option<&Counter> {
        Some(&self.limits.as_ref()?.limited.get(quota)?[measure as usize])
    }

    pub fn lost(&self, rule: RuleNumber, loss: Loss) -> &Counter {
        &self.lost[rule.index()][loss as usize]
    }

    /// Counts the messages that a push under this rule discarded.
    pub fn count_lost(&self, rule: RuleNumber, pushed: Pushed) {
        if let Some((loss, count)) = pushed.lost() {
            self.lost(rule, loss).add(count);
        }
    }
}

impl Default for Counters {
    /// For settings without rules.
    fn default() -> Counters {
        Counters::new(&Rules::default(), &[])
    }
}

/// Counters about the clients of one service.
pub struct ServiceCounters {
    pub subject: Subject,
    /// Subscriptions that serve it. Only the first shard counts, for all shards.
    pub workers: Counter,
    failures: [Counter; ServiceFailure::ALL.len()],
}

impl ServiceCounters {
    fn new(subject: &Subject) -> ServiceCounters {
        ServiceCounters { subject: subject.clone(), workers: Counter::default(), failures: Default::default() }
    }

    pub fn failed(&self, failure: ServiceFailure) -> &Counter {
        &self.failures[failure as usize]
    }
}

/// Counters about the limits for strangers.
struct LimitCounters {
    quotas: Arc<Quotas>,
    /// By limit and measure.
    limited: Box<[[Counter; Measure::ALL.len()]]>,
}

impl LimitCounters {
    fn new(quotas: &Arc<Quotas>) -> LimitCounters {
        LimitCounters { quotas: quotas.clone(), limited: quotas.names().map(|_| Default::default()).collect() }
    }
}

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
    render_lost(&mut text, shards.clone(), rules);
    render_services(&mut text, shards.clone());
    render_limits(&mut text, shards.clone());
    render_access_log(&mut text, shards.clone());
    auths::render(&mut text, shards.clone());
    deciders::render(&mut text, shards.clone());
    upstreams::render(&mut text, shards);
    text
}

fn render_limits<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters> + Clone) {
    // The accounts are those of all shards.
    let Some(quotas) = shards.clone().find_map(|counters| counters.limits.as_ref()).map(|limits| &limits.quotas) else {
        return;
    };
    let _ = writeln!(
        text,
        "# HELP tidegate_limit_accounts_full_total Times that a client had no account of its own for a limit, because \
         limits.tallies_max was reached.\n# TYPE tidegate_limit_accounts_full_total counter\n\
         tidegate_limit_accounts_full_total {}\n\
         # HELP tidegate_limited_total Connections, requests and messages that were more than a limit allows, by the limit and \
         what was limited.\n# TYPE tidegate_limited_total counter",
        quotas.homeless_count()
    );
    for (shard, limits) in shards.enumerate().filter_map(|(shard, counters)| Some((shard, counters.limits.as_ref()?))) {
        for (name, counts) in limits.quotas.names().zip(&limits.limited) {
            for measure in Measure::ALL {
                let _ = writeln!(
                    text,
                    "tidegate_limited_total{{shard=\"{shard}\",limit=\"{}\",what=\"{}\"}} {}",
                    Label(name),
                    measure.word(),
                    counts[measure as usize].value()
                );
            }
        }
    }
}

fn render_access_log<'a>(text: &mut String, mut shards: impl Iterator<Item = &'a Counters>) {
    let Some(access) = shards.find_map(|counters| counters.access.as_ref()) else { return };
    let _ = writeln!(
        text,
        "# HELP tidegate_access_log_unwritten_total Lines of the access log that could not be written.\n\
         # TYPE tidegate_access_log_unwritten_total counter\n\
         tidegate_access_log_unwritten_total {}",
        access.unwritten.value()
    );
}

fn render_services<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters> + Clone) {
    let _ = writeln!(
        text,
        "# HELP tidegate_workers Subscriptions of workers that serve a service of the configuration.\n\
         # TYPE tidegate_workers gauge"
    );
    for ServiceCounters { subject, workers, .. } in shards.clone().take(1).flat_map(|counters| &counters.services) {
        let _ = writeln!(text, "tidegate_workers{{service=\"{}\"}} {}", Label(service_name(subject)), workers.value());
    }
    let _ = writeln!(
        text,
        "# HELP tidegate_service_failures_total Calls and messages of clients that no worker has served, by the service and the \
         reason.\n# TYPE tidegate_service_failures_total counter"
    );
    for (shard, counters) in shards.enumerate() {
        for service in &counters.services {
            for failure in ServiceFailure::ALL {
                let _ = writeln!(
                    text,
                    "tidegate_service_failures_total{{shard=\"{shard}\",service=\"{}\",reason=\"{}\"}} {}",
                    Label(service_name(&service.subject)),
                    failure.word(),
                    service.failed(failure).value()
                );
            }
        }
    }
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

/// The label of channels that no pattern matches. No pattern can be equal to it.
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
    fn services_are_shown_with_who_serves_them_and_what_failed() {
        let services = [Subject::new("tg.service.desk").unwrap(), Subject::new("tg.service.jobs").unwrap()];
        let shards = [0, 1].map(|_| Counters::new(&Rules::default(), &services));
        shards[0].services[1].workers.set(3);
        shards[1].services[0].failed(ServiceFailure::NoAnswer).add(2);
        let text = render(shards.iter(), &Rules::default());
        let shown: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("tidegate_workers")).collect();
        assert_eq!(shown, ["{service=\"desk\"} 0", "{service=\"jobs\"} 3"]);
        assert_eq!(text.matches("tidegate_service_failures_total{").count(), 2 * 2 * ServiceFailure::ALL.len());
        assert!(
            text.contains("tidegate_service_failures_total{shard=\"1\",service=\"desk\",reason=\"no_answer\"} 2\n")
        );
    }

    #[test]
    fn losses_are_shown_by_pattern_and_reason_as_far_as_the_rule_allows_them() {
        let rule = |name: &str, delivery| (Pattern::new(name).unwrap(), Rule { delivery, ..Rule::default() });
        let rules = Rules::new([rule("grid.*", Delivery::Latest), rule("a\"b", Delivery::Drop)]);
        let counters = Counters::new(&rules, &[]);
        let (grid, _) = rules.patterns().next().unwrap();
        counters.count_lost(grid, Pushed::Held(Some((Loss::Superseded, 2))));
        counters.count_lost(RuleNumber::FALLBACK, Pushed::TooSlow);
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
