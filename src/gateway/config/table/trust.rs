//! Keys of `[trust]`: the proxies that are believed about the clients before them.

use super::super::form;
use super::{Fallback, Kind, Row};

pub(super) const NETWORKS: Kind = Kind::Texts {
    expected: "an IP address, or a network such as \"10.0.0.0/8\" or \"2001:db8::/32\" without bits behind its prefix",
    fits: form::is_network,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "trust",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "The proxies in front of the gateway that are believed about the client whose request they send.",
        doc: "Without this table no proxy is believed: all its clients have the address of the proxy. See \
              docs/operations.md, \"Behind a load balancer\".",
    },
    Row {
        path: "trust.networks",
        kind: NETWORKS,
        fallback: Fallback::Nothing("[\"10.0.0.0/8\"]"),
        help: "Addresses and networks of these proxies. From any other peer, the headers below are ignored.",
        doc: "One, or a list. Nothing but proxies may be in them: a client in one of these networks can give itself any \
              address. Each proxy must replace `X-Forwarded-Proto` and `X-Forwarded-Host` that its own client sends, or \
              remove them. Holds for the listeners of clients only.",
    },
    Row {
        path: "trust.header",
        kind: Kind::Choice(&["x-forwarded-for", "forwarded"]),
        fallback: Fallback::Text("x-forwarded-for"),
        help: "The header in which these proxies name the client; the other one is ignored.",
        doc: "It is read from the right: the first address that is in none of `networks` is the client. An entry that \
              cannot be read ends the search at the last proxy that was found. With `x-forwarded-for`, the last value of \
              `X-Forwarded-Proto` is the scheme, and that of `X-Forwarded-Host` the host, that the client has used; with \
              `forwarded` (RFC 7239), `proto` and `host` of the last element. Both decide which origin is the gateway's own.",
    },
];
