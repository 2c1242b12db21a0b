//! Keys of `[[permission]]`: what clients may do with channels.

use super::super::form;
use super::{Fallback, Kind, Row};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "permission",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "Rights of clients to the channels whose names match. Everything that no table allows there is denied.",
        doc: "The tables add up. A channel that none of them matches is as open as its route. See docs/permissions.md.",
    },
    Row {
        path: "permission[].channels",
        kind: Kind::Texts {
            expected: "a pattern such as \"user.{user}.>\" or \"room.{rooms}\": `{user}` for the client's user, another name in \
                       braces for the values of that claim",
            fits: form::is_permission,
        },
        fallback: Fallback::Required("\"user.{user}.>\""),
        help: "The names of the channels; `*` stands for one token, `>` at the end for one or more.",
        doc: "One, or a list. `{user}` stands for the user of each client, `{rooms}` for each value of the claim `rooms` of its token, a \
              text or a list of texts. Values are escaped as users are, so none is a wildcard.",
    },
    Row {
        path: "permission[].allow",
        kind: Kind::Texts { expected: "\"hear\", \"publish\", \"history\" or \"presence\"", fits: form::is_right },
        fallback: Fallback::Required("[\"hear\", \"history\"]"),
        help: "The rights.",
        doc: "One, or a list. `hear`: subscribe. `publish`: where the route lets clients publish at all. `history` and `presence`: these \
              commands of `centrifuge-json`, and its joins and leaves.",
    },
    Row {
        path: "permission[].ask",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ service = \"rooms\" }"),
        help: "Instead of allowing it outright: the application is asked, with the right, the channel and the user.",
        doc: "The answer is remembered for a while, for all connections of the user. Many clients with the same question ask once. Without an \
              answer nothing is allowed: requests get 503, commands an error that is temporary. See docs/permissions.md.",
    },
    Row {
        path: "permission[].ask.service",
        kind: Kind::Text { expected: "the name of a service, one token", fits: form::is_service },
        fallback: Fallback::Nothing("\"rooms\""),
        help: "The workers that decide: those that subscribe to `tg.authorize.` and this name.",
        doc: "",
    },
    Row {
        path: "permission[].ask.url",
        kind: Kind::Text { expected: "a URL such as \"http://127.0.0.1:3000/authorize\"", fits: form::is_url },
        fallback: Fallback::Nothing("\"http://127.0.0.1:3000/authorize\""),
        help: "Instead of a service: the application decides at this URL.",
        doc: "It gets a POST with the same JSON, and answers 200 with the same JSON, or 403. Up to 16 connections to it stay open.",
    },
    Row {
        path: "permission[].ask.ca",
        kind: Kind::Text { expected: "the path of a file", fits: form::is_file },
        fallback: Fallback::Nothing("\"ca.pem\""),
        help: "The file (PEM) with the authorities that the server of the URL is trusted by; without the key, the system's.",
        doc: "",
    },
    Row {
        path: "permission[].ask.timeout_ms",
        kind: Kind::Whole { min: 10, max: 5_000, unit: "milliseconds" },
        fallback: Fallback::Whole(limits::DECISION_TIMEOUT.as_millis() as u64),
        help: "How long a client waits for the answer.",
        doc: "",
    },
    Row {
        path: "permission[].ask.cache_s",
        kind: Kind::Whole { min: 0, max: limits::DECISION_KEPT_MAX.as_secs(), unit: "seconds" },
        fallback: Fallback::Whole(limits::DECISION_KEPT.as_secs()),
        help: "How long an answer is remembered that does not say so itself (`ttl_s`); 0: only by those that wait for it.",
        doc: "A right that is taken away may be used for as long. A revocation of the user forgets it.",
    },
    Row {
        path: "permission[].require",
        kind: Kind::Map {
            expected: "a table of claims and their values, such as { role = \"editor\" }",
            fits: form::is_claim,
        },
        fallback: Fallback::Nothing("{ role = \"editor\" }"),
        help: "Only for clients whose token has these claims: as a text, as a word of a text, or in a list.",
        doc: "",
    },
];
