//! Keys of `[[permission]]`: what clients may do with channels.

use super::super::form;
use super::{Fallback, Kind, Row};

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
