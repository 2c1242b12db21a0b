//! Counters of the servers behind the gateway, by upstream and server.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Counters, Label};
use crate::base::counters::Counter;
use crate::proto::upstream::{ServerId, UpstreamRule};

/// Of one upstream.
pub(super) struct UpstreamCounters {
    name: Box<str>,
    servers: Box<[ServerCounters]>,
}

/// Of one server.
pub(crate) struct ServerCounters {
    text: Box<str>,
    /// Heads of answers.
    pub(crate) answered: Counter,
    /// Connections that were refused, broken or too late, and answers that were none or not in time.
    pub(crate) failed: Counter,
    /// Requests whose client left before their answer.
    pub(crate) abandoned: Counter,
    pub(crate) busy: Counter,
    pub(crate) idle: Counter,
    pub(crate) tunnels: Counter,
    /// 0 while it is left out, or has no address.
    pub(crate) up: Counter,
    /// 1 while its probes fail.
    pub(crate) down: Counter,
    /// 1 while an operator wants it to have no further request.
    pub(crate) drained: Counter,
    pub(crate) addresses: Counter,
    /// Lookups of its name, and probes. Only the first shard counts, for all shards.
    pub(crate) lookups_failed: Counter,
    pub(crate) probes_failed: Counter,
}

impl UpstreamCounters {
    pub(super) fn new(rule: &UpstreamRule) -> UpstreamCounters {
        let server = |text: &str| ServerCounters {
            text: text.into(),
            answered: Counter::default(),
            failed: Counter::default(),
            abandoned: Counter::default(),
            busy: Counter::default(),
            idle: Counter::default(),
            tunnels: Counter::default(),
            up: Counter::default(),
            down: Counter::default(),
            drained: Counter::default(),
            addresses: Counter::default(),
            lookups_failed: Counter::default(),
            probes_failed: Counter::default(),
        };
        let counters = UpstreamCounters {
            name: rule.name.clone(),
            servers: rule.servers.iter().map(|own| server(&own.text)).collect(),
        };
        for (own, counted) in rule.servers.iter().zip(&counters.servers) {
            let is_known = u64::from(!own.is_named());
            counted.up.set(is_known);
            counted.addresses.set(is_known);
        }
        counters
    }
}

impl Counters {
    pub(crate) fn server(&self, id: ServerId) -> Option<&ServerCounters> {
        self.upstreams.get(usize::from(id.upstream.0))?.servers.get(usize::from(id.server))
    }
}

/// Name, kind and help, and what is counted, by its label.
type Line = (&'static str, &'static str, &'static str, &'static [(&'static str, fn(&ServerCounters) -> &Counter)]);

const LINES: &[Line] = &[
    (
        "upstream_requests_total",
        "counter",
        "Answers of a server, its failures, and requests whose client left before the answer.",
        &[
            (",outcome=\"answered\"", |server| &server.answered),
            (",outcome=\"failed\"", |server| &server.failed),
            (",outcome=\"abandoned\"", |server| &server.abandoned),
        ],
    ),
    (
        "upstream_connections",
        "gauge",
        "Connections to a server that have a request, those that have none, and those that are WebSockets.",
        &[
            (",state=\"busy\"", |server| &server.busy),
            (",state=\"idle\"", |server| &server.idle),
            (",state=\"tunnel\"", |server| &server.tunnels),
        ],
    ),
    (
        "upstream_up",
        "gauge",
        "0 if a shard leaves the server out, because it has failed, its probes fail, or its name has no address.",
        &[("", |server| &server.up)],
    ),
    (
        "upstream_drained",
        "gauge",
        "1 if an operator has taken the server out: it gets no further request.",
        &[("", |server| &server.drained)],
    ),
    (
        "upstream_addresses",
        "gauge",
        "Addresses of the server: those of its name, or one.",
        &[("", |server| &server.addresses)],
    ),
    (
        "upstream_checks_failed_total",
        "counter",
        "Lookups of the server's name and probes of it that have failed, all in the first shard's line.",
        &[(",check=\"lookup\"", |server| &server.lookups_failed), (",check=\"probe\"", |server| &server.probes_failed)],
    ),
];

/// Nothing, where there is no upstream.
pub(super) fn render<'a>(text: &mut String, shards: impl Iterator<Item = &'a Counters> + Clone) {
    if shards.clone().all(|counters| counters.upstreams.is_empty()) {
        return;
    }
    for (name, kind, help, counted) in LINES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP tidegate_{name} {help}\n# TYPE tidegate_{name} {kind}");
        for (shard, counters) in shards.clone().enumerate() {
            for upstream in &counters.upstreams {
                for server in &upstream.servers {
                    for (label, counter) in *counted {
                        let (named, text_of) = (Label(&upstream.name), Label(&server.text));
                        let value = counter(server).value();
                        let _ = writeln!(
                            text,
                            "tidegate_{name}{{shard=\"{shard}\",upstream=\"{named}\",server=\"{text_of}\"{label}}} {value}"
                        );
                    }
                }
            }
        }
    }
}

/// All servers as JSON, each with the sums of all shards.
pub(crate) fn list(shards: &[Counters]) -> String {
    let upstreams = shards.first().map(|counters| &*counters.upstreams).unwrap_or_default().iter().enumerate();
    let all: Vec<Value> = upstreams
        .map(|(at, upstream)| {
            let servers: Vec<Value> = (0..upstream.servers.len())
                .map(|server| {
                    let each =
                        || shards.iter().filter_map(move |counters| counters.upstreams.get(at)?.servers.get(server));
                    let sum =
                        |of: fn(&ServerCounters) -> &Counter| each().map(|server| of(server).value()).sum::<u64>();
                    json!({
                        "server": &*upstream.servers[server].text,
                        "state": state(each()),
                        "in_flight": sum(|server| &server.busy),
                        "idle": sum(|server| &server.idle),
                        "answered": sum(|server| &server.answered),
                        "failed": sum(|server| &server.failed),
                        "lookups_failed": sum(|server| &server.lookups_failed),
                        "probes_failed": sum(|server| &server.probes_failed),
                        "addresses": upstream.servers[server].addresses.value(),
                    })
                })
                .collect();
            json!({ "upstream": &*upstream.name, "servers": servers })
        })
        .collect();
    json!({ "upstreams": all }).to_string()
}

/// One word, of what counts most. Shards learn of probes, addresses and drains nearly at the same time, of failures each on
/// its own.
fn state<'a>(shards: impl Iterator<Item = &'a ServerCounters> + Clone) -> &'static str {
    let any = |is_so: fn(&ServerCounters) -> bool| shards.clone().any(is_so);
    if any(|server| server.drained.value() > 0) {
        if any(|server| server.busy.value() > 0) { "draining" } else { "drained" }
    } else if any(|server| server.addresses.value() == 0) {
        "unknown"
    } else if any(|server| server.down.value() > 0) {
        "down"
    } else if any(|server| server.up.value() == 0) {
        "left_out"
    } else {
        "up"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::settings::Settings;
    use crate::proto::channel::Rules;
    use crate::proto::upstream::UpstreamId;

    #[test]
    fn the_list_has_one_word_for_each_server() {
        let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        let mut settings = Settings::default();
        settings.generation_mut().upstreams = [UpstreamRule::new("app").with("a", address).with("b", address)].into();
        let shards = [Counters::of(&settings), Counters::of(&settings)];
        let of = |shard: usize| shards[shard].server(ServerId { upstream: UpstreamId(0), server: 1 }).unwrap();
        let read = || serde_json::from_str::<Value>(&list(&shards)).unwrap()["upstreams"][0]["servers"].clone();
        of(0).busy.set(2);
        of(1).busy.set(3);
        of(1).answered.add(7);
        let server = read()[1].clone();
        assert_eq!((&server["server"], &server["state"]), (&json!("b"), &json!("up")));
        assert_eq!(
            (&server["in_flight"], &server["answered"], &server["addresses"]),
            (&json!(5), &json!(7), &json!(1))
        );
        type Change = fn(&ServerCounters);
        let changes: [(Change, &str); 5] = [
            (|server| server.up.set(0), "left_out"),
            (|server| server.down.set(1), "down"),
            (|server| server.addresses.set(0), "unknown"),
            (|server| server.drained.set(1), "draining"),
            (|server| server.busy.set(0), "draining"),
        ];
        for (change, state) in changes {
            change(of(1));
            assert_eq!(read()[1]["state"], state);
        }
        of(0).busy.set(0);
        assert_eq!((&read()[1]["state"], &read()[0]["state"]), (&json!("drained"), &json!("up")));
        assert_eq!(list(&[Counters::default()]), "{\"upstreams\":[]}");
    }

    #[test]
    fn each_server_of_each_shard_has_its_lines() {
        let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        let mut settings = Settings::default();
        settings.generation_mut().upstreams = [UpstreamRule::new("app").with("a", address).with("b\"", address)].into();
        let shards = [Counters::of(&settings), Counters::of(&settings)];
        let server = shards[1].server(ServerId { upstream: UpstreamId(0), server: 1 }).unwrap();
        server.failed.add(3);
        let text = super::super::render(shards.iter(), &Rules::default());
        for line in [
            "# TYPE tidegate_upstream_requests_total counter\n",
            "tidegate_upstream_up{shard=\"0\",upstream=\"app\",server=\"a\"} 1\n",
            "tidegate_upstream_requests_total{shard=\"1\",upstream=\"app\",server=\"b\\\"\",outcome=\"failed\"} 3\n",
            "tidegate_upstream_connections{shard=\"0\",upstream=\"app\",server=\"a\",state=\"idle\"} 0\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        assert!(!super::super::render([Counters::default()].iter(), &Rules::default()).contains("upstream_up"));
        let none = ServerId { upstream: UpstreamId(1), server: 0 };
        assert!(shards[0].server(none).is_none());
    }
}
