//! Keys of what is listened on: for clients, for workers.

use super::super::form;
use super::trust::NETWORKS;
use super::{FILE, Fallback, Kind, Row};

pub(super) const ADDRESS: Kind = Kind::Text {
    expected: "an IP address and a port such as \"127.0.0.1:8080\" or \"[::]:8443\"",
    fits: form::is_address,
};

pub(super) const HOSTS: Kind = Kind::Texts {
    expected: "the name of a host such as \"tidegate.internal\", without port and wildcards",
    fits: form::is_host,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "listener",
        kind: Kind::Tables,
        fallback: Fallback::Required(""),
        help: "An address that clients connect to.",
        doc: "At least one is needed.",
    },
    Row {
        path: "listener[].address",
        kind: ADDRESS,
        fallback: Fallback::Required("\"127.0.0.1:8080\""),
        help: "The address to listen on. Port 0 takes a free port.",
        doc: "`[::]` takes IPv6 only, `0.0.0.0` IPv4; `[::ffff:127.0.0.1]` is another spelling of `127.0.0.1`.",
    },
    Row {
        path: "listener[].hosts",
        kind: HOSTS,
        fallback: Fallback::Nothing("[\"gate.example.org\"]"),
        help: "Host names that the listener answers for; a request for another gets 421. Without this key it answers \
              for any.",
        doc: "One, or a list. An IP address or `localhost`, with any port, is always accepted, and so is a request \
              that names no host. Without this key, a foreign page that resolves its own name to this address (DNS \
              rebinding) passes for a page of the gateway's own, because its `Host` and its `Origin` agree. Set this \
              key on a gateway in a private network, or on one that recognizes users by a cookie. A proxy in front \
              of it must pass `Host` on unchanged.",
    },
    Row {
        path: "listener[].proxy_protocol",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ from = [\"10.0.0.0/8\"] }"),
        help: "Load balancers in front of it send a PROXY header, from which the gateway takes the client's address.",
        doc: "See docs/operations.md, \"Behind a load balancer\".",
    },
    Row {
        path: "listener[].proxy_protocol.from",
        kind: NETWORKS,
        fallback: Fallback::Required("[\"10.0.0.0/8\"]"),
        help: "Addresses and networks of these load balancers. Any other peer is a direct client.",
        doc: "One, or a list. A peer in them must begin each connection with the header (version 1 or 2) within 3 seconds; \
              otherwise the connection is closed. The address of the peer decides, never what it sends: the header of a \
              direct client is a malformed request.",
    },
    Row {
        path: "listener[].tls",
        kind: Kind::OneOrMoreTables,
        fallback: Fallback::Nothing("{ certificate = \"cert.pem\", key = \"key.pem\" }"),
        help: "Makes it a TLS listener.",
        doc: "With several certificates (`tls = [{ … }, { … }]`) the client's server name chooses one. The first one \
              is for clients that name no server, or one that no certificate is valid for.",
    },
    Row {
        path: "listener[].tls[].certificate",
        kind: FILE,
        fallback: Fallback::Required("\"cert.pem\""),
        help: "PEM file with the certificate, followed by the rest of its chain.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "listener[].tls[].key",
        kind: FILE,
        fallback: Fallback::Required("\"key.pem\""),
        help: "PEM file with the certificate's private key.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "listener[].clients",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ ca = \"clients.pem\" }"),
        help: "Clients of this TLS listener show certificates; `[[auth]]` with `certificate` makes users of them.",
        doc: "Such a listener sends no session tickets, because a resumed session shows no certificate: each connection makes a full \
              handshake. Clients of TLS 1.2 need the extended master secret. See docs/login.md.",
    },
    Row {
        path: "listener[].clients.ca",
        kind: FILE,
        fallback: Fallback::Required("\"clients.pem\""),
        help: "PEM file with the authorities that have signed these certificates.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "listener[].clients.crl",
        kind: FILE,
        fallback: Fallback::Nothing("\"clients.crl\""),
        help: "PEM file with lists of certificates that are revoked (RFC 5280 section 5).",
        doc: "A list that has ended refuses all certificates of its authority. A change needs a restart.",
    },
    Row {
        path: "listener[].clients.required",
        kind: Kind::Switch,
        fallback: Fallback::Switch(true),
        help: "Whether a client without a certificate is refused in the handshake; with `false`, `route.auth` decides.",
        doc: "",
    },
    Row {
        path: "bus",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "The embedded bus, to which workers connect with a NATS client. Without this table there is none.",
        doc: "",
    },
    Row {
        path: "bus.address",
        kind: ADDRESS,
        fallback: Fallback::Text("127.0.0.1:4222"),
        help: "The address to listen on.",
        doc: "An address that is not loopback needs credentials.",
    },
    Row {
        path: "bus.user",
        kind: Kind::Text { expected: "a name without control characters", fits: form::is_user },
        fallback: Fallback::Nothing("\"worker\""),
        help: "The user that workers must name, together with `bus.password`.",
        doc: "",
    },
    Row {
        path: "bus.password",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"change me\""),
        help: "The password that belongs to `bus.user`.",
        doc: "Set it from the environment rather than in a file.",
    },
    Row {
        path: "bus.token",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"change me\""),
        help: "A token that workers must present, instead of user and password.",
        doc: "Set it from the environment rather than in a file.",
    },
];
