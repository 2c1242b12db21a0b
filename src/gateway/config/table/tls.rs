//! Keys of `[tls]`: what all TLS listeners have in common.

use super::{FILE, Fallback, Kind, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "tls",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "What all TLS listeners have in common.",
        doc: "",
    },
    Row {
        path: "tls.ticket_keys_file",
        kind: FILE,
        fallback: Fallback::Nothing("\"ticket.keys\""),
        help: "File of session ticket keys that gateways share and keep over restarts; without it, each process draws its own.",
        doc: "A client that comes back with a ticket costs a fraction of a full handshake, but only where its ticket is \
              understood: without this key, all clients make full handshakes after a restart, and when they come to \
              another gateway. One key a line, 80 (or 48) bytes in base64 or hexadecimal: `openssl rand -hex 80`. The \
              first one encrypts, all of them decrypt. Such a key decrypts the tickets of TLS 1.2, and with them \
              recorded connections: replace it daily (docs/operations.md, \"Ticket keys\"). Other users must not be \
              able to read the file. Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "tls.unknown_names",
        kind: Kind::Choice(&["serve", "refuse"]),
        fallback: Fallback::Text("serve"),
        help: "Whether a client that asks for a server name without a certificate is served with the listener's first \
               one, or refused.",
        doc: "A refused client gets the alert unrecognized_name, and the counter is \
              `tidegate_closed_total{reason=\"tls_unknown_name\"}`. A client that names no server, such as a health check \
              by address, is served in any case.",
    },
    Row {
        path: "tls.require_ems",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Refuses clients of TLS 1.2 without the extended master secret (RFC 7627).",
        doc: "The attack that it prevents needs client certificates, with which it is refused in any case, or a renegotiation, \
              which there is not; so clients that are older than OpenSSL 1.1 or Java 8u161 are served unless a policy (FIPS 140-3) says \
              otherwise. TLS 1.3 is not concerned.",
    },
];
