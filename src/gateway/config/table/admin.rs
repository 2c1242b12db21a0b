//! Keys of the listener for backends and operators.

use super::super::form;
use super::listeners::{ADDRESS, HOSTS};
use super::{FILE, Fallback, Kind, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "admin",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "The admin listener: the API that publishes messages, metrics, health. Without this table there is none.",
        doc: "",
    },
    Row {
        path: "admin.address",
        kind: ADDRESS,
        fallback: Fallback::Text("127.0.0.1:9180"),
        help: "The address to listen on.",
        doc: "An address that is not loopback needs `admin.allow_remote` and a token.",
    },
    Row {
        path: "admin.socket",
        kind: Kind::Text { expected: "the path of a socket, at most 107 bytes", fits: form::is_socket },
        fallback: Fallback::Nothing("\"/run/tidegate/admin.sock\""),
        help: "A path to listen on, for programs of this machine: instead of the address, unless that is set, too.",
        doc: "The owner of the process and its group may connect (mode 660). A socket on which no process listens any more is replaced; \
              it is removed when the gateway ends. With tokens, requests need one here, too.",
    },
    Row {
        path: "admin.allow_remote",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Allows an address that is not loopback. Requests then need a token.",
        doc: "Set `admin.tls` as well, unless something else encrypts what goes there.",
    },
    Row {
        path: "admin.hosts",
        kind: HOSTS,
        fallback: Fallback::Nothing("[\"tidegate.internal\"]"),
        help: "Host names by which programs may call this listener; a request for another gets 403.",
        doc: "One, or a list. An IP address or `localhost`, with any port, is always accepted, and so is a request \
              that names no host. Any other name may belong to a page that resolves it to this address (DNS \
              rebinding), so this rule also holds for health and metrics. A request with an Origin comes from a page \
              and always gets 403.",
    },
    Row {
        path: "admin.token",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"change me\""),
        help: "A token that allows everything; requests to this listener need one (`Authorization: Bearer …`).",
        doc: "As soon as there is a token, each request needs one, on every address; only `GET /health` and `GET /ready` need \
              none. 16 to 256 visible characters, such as `openssl rand -hex 32` writes. `tidegate` takes it from the same variable \
              of the environment, or from `--token-file`.",
    },
    Row {
        path: "admin.token_file",
        kind: FILE,
        fallback: Fallback::Nothing("\"admin.token\""),
        help: "The same, from a file that other users can neither read nor change.",
        doc: "Relative paths begin at the configuration file's folder. White space around the token is left out.",
    },
    Row {
        path: "admin.tokens",
        kind: Kind::OneOrMoreTables,
        fallback: Fallback::Nothing("[{ token_file = \"orders.token\", scopes = [\"publish\", \"send\"] }]"),
        help: "Further tokens, each for some endpoints only.",
        doc: "A request whose token is unknown gets 401, one whose token lacks the scope 403. docs/admin.md names the scope of each \
              endpoint.",
    },
    Row {
        path: "admin.tokens[].token",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"change me\""),
        help: "The token; this or `token_file`.",
        doc: "",
    },
    Row {
        path: "admin.tokens[].token_file",
        kind: FILE,
        fallback: Fallback::Nothing("\"orders.token\""),
        help: "The file that has it; this or `token`.",
        doc: "",
    },
    Row {
        path: "admin.tokens[].scopes",
        kind: Kind::Texts {
            expected: "\"publish\", \"read\", \"send\", \"subscribe\", \"close\", \"revoke\", \"upstreams\" or \"metrics\"",
            fits: form::is_scope,
        },
        fallback: Fallback::Required("[\"publish\", \"send\"]"),
        help: "The scopes of the token.",
        doc: "One, or a list.",
    },
    Row {
        path: "admin.tls",
        kind: Kind::OneOrMoreTables,
        fallback: Fallback::Nothing("{ certificate = \"cert.pem\", key = \"key.pem\" }"),
        help: "Makes it a TLS listener, as `listener.tls` does.",
        doc: "",
    },
    Row {
        path: "admin.tls[].certificate",
        kind: FILE,
        fallback: Fallback::Required("\"cert.pem\""),
        help: "PEM file with the certificate, followed by the rest of its chain.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "admin.tls[].key",
        kind: FILE,
        fallback: Fallback::Required("\"key.pem\""),
        help: "PEM file with the certificate's private key.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
];
