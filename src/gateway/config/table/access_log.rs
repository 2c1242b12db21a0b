//! Keys of `[access_log]`: a line for each request of a client.

use super::super::form;
use super::{Fallback, Kind, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "access_log",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "A log with a line for each request of a client, and for each stream that ends.",
        doc: "Off without this table. See docs/operations.md, \"The access log\".",
    },
    Row {
        path: "access_log.file",
        kind: Kind::Text { expected: "the path of a file, or \"stdout\"", fits: form::is_file },
        fallback: Fallback::Required("\"/var/log/tidegate/access.log\""),
        help: "The file that lines are appended to, or \"stdout\".",
        doc: "Made with the mode 0640 if it is not there. SIGUSR1 and SIGHUP open it again by its name, for logrotate. A named \
              pipe needs its reader at the start.",
    },
    Row {
        path: "access_log.format",
        kind: Kind::Choice(&["json", "combined"]),
        fallback: Fallback::Text("json"),
        help: "An object of JSON on each line, or the \"combined\" format of Apache and nginx, which says less.",
        doc: "",
    },
    Row {
        path: "access_log.streams",
        kind: Kind::Choice(&["end", "both"]),
        fallback: Fallback::Text("end"),
        help: "Whether a stream (an event stream, a WebSocket) has a line at its end alone, or one at its begin, too.",
        doc: "",
    },
    Row {
        path: "access_log.tcp",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether the end of a stream has what TCP knows of its connection: its round-trip time, retransmissions and bytes.",
        doc: "One more system call for each stream that ends. Only in JSON, and not for clients on a unix socket.",
    },
];
