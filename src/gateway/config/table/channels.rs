//! Keys of `[[channel]]`: what is kept, delivered and known of the channels whose names match.

use super::super::form;
use super::{Fallback, Kind, Row, bytes, count};
use crate::limits;

const AGE: Kind =
    Kind::Text { expected: "a time such as \"30s\", \"5m\", \"12h\" or \"7d\"; a year at most", fits: form::is_age };

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "channel",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "Rules for the channels whose names match. The first table that matches wins.",
        doc: "A channel that no table matches keeps no messages.",
    },
    Row {
        path: "channel[].name",
        kind: Kind::Text {
            expected: "a pattern such as \"room.*\" or \"driver.>\": nothing below \"tg\" or \"_INBOX\", `*` for one token, `>` \
                       for all that follow",
            fits: form::is_pattern,
        },
        fallback: Fallback::Required("\"room.*\""),
        help: "The names of the channels; `*` stands for one token, `>` at the end for one or more.",
        doc: "",
    },
    Row {
        path: "channel[].history",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ messages = 100, age = \"5m\" }"),
        help: "Keeps the newest messages of each channel, for clients that reconnect.",
        doc: "As soon as one of the bounds is exceeded, the oldest messages are dropped. A client that missed more \
              than is kept is told of the gap.",
    },
    Row {
        path: "channel[].history.messages",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::HISTORY_MESSAGES as u64),
        help: "Number of messages that are kept of one channel.",
        doc: "",
    },
    Row {
        path: "channel[].history.bytes",
        kind: bytes(1, 1_073_741_824),
        fallback: Fallback::Whole(limits::HISTORY_BYTES as u64),
        help: "Bytes of messages that are kept of one channel.",
        doc: "",
    },
    Row {
        path: "channel[].history.age",
        kind: AGE,
        fallback: Fallback::Text(limits::HISTORY_AGE),
        help: "How long a message is kept.",
        doc: "",
    },
    Row {
        path: "channel[].history.newcomers",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether a client also gets the kept messages when it subscribes for the first time.",
        doc: "It gets them before the live ones. With `messages = 1` that is the last value of the channel: the \
              place of a driver, a price. Clients of raw WebSocket routes get them on each connection, because they \
              have no position.",
    },
    Row {
        path: "channel[].delivery",
        kind: Kind::Choice(&["queue", "latest", "drop"]),
        fallback: Fallback::Text("queue"),
        help: "What a client gets that reads more slowly than the channel sends.",
        doc: "`queue`: every message; a client whose messages exceed `queue` is disconnected with a code after which \
              it reconnects and resumes. `latest`: the newest message of each value of the header `Tg-Key`, or of \
              the channel where messages have no such header; a newer message replaces a waiting one. `drop`: the \
              newest messages that `queue` allows, and before them the event `tg.gap` in place of the dropped ones \
              (over the client protocol a message with `\"tg\":\"gap\"`; clients of raw WebSocket routes are not \
              told). Workers get every message.",
    },
    Row {
        path: "channel[].queue",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ messages = 1000, bytes = 262144 }"),
        help: "How much may wait for one client.",
        doc: "With `delivery = \"queue\"` this bounds all that waits for the client, otherwise the messages of this \
              channel alone; with `latest`, a client that exceeds it is disconnected. A single message may exceed \
              it.",
    },
    Row {
        path: "channel[].queue.messages",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::QUEUE_MESSAGES as u64),
        help: "Number of messages that may wait for one client.",
        doc: "",
    },
    Row {
        path: "channel[].queue.bytes",
        kind: bytes(1, 1_073_741_824),
        fallback: Fallback::Nothing("262144"),
        help: "Bytes of messages that may wait for one client.",
        doc: "Without this key, or without the table, `limits.outbox_bytes_max` is the bound; it also bounds a \
              larger value.",
    },
    Row {
        path: "channel[].distinct",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether a message is dropped if its header `Tg-Distinct` equals that of the last message.",
        doc: "If messages have the header `Tg-Key`, the last message with the same key counts. Messages without \
              `Tg-Distinct` are delivered. If the channel has a history, a value whose message has left the history \
              is delivered again.",
    },
    Row {
        path: "channel[].presence",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether the gateway tracks which clients subscribe to the channel.",
        doc: "The list is the answer to `GET /api/channels/{channel}/presence` on the admin listener, to a worker's \
              request to `tg.presence.<channel>`, and to the client protocol's `presence` and `presence_stats`. \
              Joins and leaves are announced on `tg.event.join.<channel>` and `tg.event.leave.<channel>`, and to \
              clients that ask for them. The first 1,000 clients are listed, the others only counted. See \
              [presence.md](presence.md).",
    },
    Row {
        path: "channel[].presence_grace_s",
        kind: Kind::Whole { min: 0, max: 3_600, unit: "seconds" },
        fallback: Fallback::Whole(limits::PRESENCE_GRACE.as_secs()),
        help: "How long a user may be away before a leave is announced; a return within that time announces nothing.",
        doc: "A client without a user's name leaves at once, because no other connection can return as the same \
              client.",
    },
];
