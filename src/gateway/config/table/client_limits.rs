//! Keys of `[[limit]]`: bounds of what one address, network, user or route may use.

use super::super::form;
use super::trust::NETWORKS;
use super::{Fallback, Kind, Row, count};

const RATE: Kind = Kind::Text {
    expected: "a rate such as \"20/s\", \"300/m\" or \"1000/h\"; a million a second at most",
    fits: form::is_rate,
};

const fn bits(max: u64) -> Kind {
    Kind::Whole { min: 1, max, unit: "bits" }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "limit",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "Bounds on what one address, network, user or route may use. Every table that applies holds.",
        doc: "Holds for the listeners of clients only. At least one of `connections`, `handshakes`, `requests` and `messages` \
              must be set. See docs/operations.md, \"Limits\".",
    },
    Row {
        path: "limit[].name",
        kind: Kind::Text { expected: "a text that is not empty, without control characters", fits: form::is_user },
        fallback: Fallback::Required("\"address\""),
        help: "The name of the limit, in metrics and in the log.",
        doc: "",
    },
    Row {
        path: "limit[].by",
        kind: Kind::Choice(&["address", "network", "user", "route"]),
        fallback: Fallback::Text("address"),
        help: "What the bounds are for: each address, each network, each user, or each route with all its clients.",
        doc: "Of IPv6, an `address` is a /64, because one client has any number of addresses in it. A user is known on routes \
              with `user` or `token`. The address is that of the client, if a trusted proxy or a PROXY header names it.",
    },
    Row {
        path: "limit[].ipv4_prefix",
        kind: bits(32),
        fallback: Fallback::Nothing("32"),
        help: "How many bits of an IPv4 address make a network.",
        doc: "Without this key: 32 for `address`, 24 for `network`.",
    },
    Row {
        path: "limit[].ipv6_prefix",
        kind: bits(128),
        fallback: Fallback::Nothing("64"),
        help: "How many bits of an IPv6 address make a network.",
        doc: "Without this key: 64 for `address`, 48 for `network`.",
    },
    Row {
        path: "limit[].connections",
        kind: count(1, 16_777_215),
        fallback: Fallback::Nothing("200"),
        help: "Number of connections that are open at once; further ones get 429.",
        doc: "Connections are counted when they are accepted; over TLS, further ones are closed without an answer. By user or \
              by route, with `routes`, and for clients of a trusted proxy: streams and WebSockets, when they begin. An \
              EventSource gets 200 with a time to reconnect after, because it gives up after any other status.",
    },
    Row {
        path: "limit[].handshakes",
        kind: RATE,
        fallback: Fallback::Nothing("\"20/s\""),
        help: "How many connections may begin; further ones get 429, over TLS they are closed before any work.",
        doc: "Only by address or network, and without `routes`: nothing else is known when a connection begins.",
    },
    Row {
        path: "limit[].requests",
        kind: RATE,
        fallback: Fallback::Nothing("\"100/s\""),
        help: "How many requests may come; further ones get 429 with `Retry-After`.",
        doc: "Streams and WebSockets count when they begin. Requests that are refused count, too.",
    },
    Row {
        path: "limit[].messages",
        kind: RATE,
        fallback: Fallback::Nothing("\"50/s\""),
        help: "How many messages may come on WebSockets, commands of `centrifuge-json` included.",
        doc: "See `excess`.",
    },
    Row {
        path: "limit[].burst",
        kind: count(1, 1_000_000),
        fallback: Fallback::Nothing("100"),
        help: "How many may come at once.",
        doc: "Without this key: as many as the rate names, which is a second's worth of \"20/s\" and an hour's of \"1000/h\".",
    },
    Row {
        path: "limit[].routes",
        kind: Kind::Texts { expected: "the path of a [[route]], as it is written there", fits: form::is_path },
        fallback: Fallback::Nothing("[\"/ws/{room}\"]"),
        help: "The routes that the limit is for, by their paths.",
        doc: "One, or a list. Without this key: all, and requests for no route as well.",
    },
    Row {
        path: "limit[].except",
        kind: NETWORKS,
        fallback: Fallback::Nothing("[\"10.0.0.0/8\"]"),
        help: "Addresses and networks that the limit is not for.",
        doc: "One, or a list: an office, a probe that checks the service.",
    },
    Row {
        path: "limit[].excess",
        kind: Kind::Choice(&["wait", "close"]),
        fallback: Fallback::Text("wait"),
        help: "What happens when messages come too fast.",
        doc: "`wait`: the connection is not read until the next message fits; none is lost, and a client that only bursts notices \
              little. `close`: it is disconnected with 1008.",
    },
];
