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
        help: "What holds for the channels whose names match. The first table that matches wins.",
        doc: "Nothing is kept of a channel that none matches.",
    },
    Row {
        path: "channel[].name",
        kind: Kind::Text {
            expected: "a pattern such as \"room.*\" or \"driver.>\": nothing below \"tg\" or \"_INBOX\", `*` for one token, `>` \
                       for all that follow",
            fits: form::is_pattern,
        },
        fallback: Fallback::Required("\"room.*\""),
        help: "The names; `*` stands for one token, `>` at the end for one or more.",
        doc: "",
    },
    Row {
        path: "channel[].history",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ messages = 100, age = \"5m\" }"),
        help: "Keeps the newest messages of each channel, for clients that come back.",
        doc: "The oldest are forgotten first, as soon as one of the bounds is exceeded. A client that comes back for more than \
              what is kept is told so.",
    },
    Row {
        path: "channel[].history.messages",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::HISTORY_MESSAGES as u64),
        help: "Most messages that are kept of one channel.",
        doc: "",
    },
    Row {
        path: "channel[].history.bytes",
        kind: bytes(1, 1_073_741_824),
        fallback: Fallback::Whole(limits::HISTORY_BYTES as u64),
        help: "Most bytes that are kept of one channel.",
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
        help: "Whether clients get what is kept that come for the first time.",
        doc: "Before what is live, with one message kept the last value of the channel: where a driver is, what a thing costs. Also \
              clients of raw WebSocket routes, which are never known to come back.",
    },
    Row {
        path: "channel[].delivery",
        kind: Kind::Choice(&["queue", "latest", "drop"]),
        fallback: Fallback::Text("queue"),
        help: "What a client gets that is slower than the channel.",
        doc: "`queue`: everything; where that is more than `queue` allows, the client is closed with a code that tells it to come \
              back and resume. `latest`: of each value of the header `Tg-Key` the newest message, or of the channel where there \
              is no such header; what waits is superseded by what is newer. `drop`: the newest messages that `queue` allows, \
              and before them, in place of what is missing, the event `tg.gap` (over the client protocol a message with \
              `\"tg\":\"gap\"`; clients of raw WebSocket routes are not told). Workers get everything.",
    },
    Row {
        path: "channel[].queue",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ messages = 1000, bytes = 262144 }"),
        help: "How much may wait for one client.",
        doc: "If `delivery` is `queue`: of all that waits for it. Otherwise of this channel; a client for which `latest` would have \
              to hold more is closed. One message alone is never too much.",
    },
    Row {
        path: "channel[].queue.messages",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::QUEUE_MESSAGES as u64),
        help: "Most messages that wait for one client.",
        doc: "",
    },
    Row {
        path: "channel[].queue.bytes",
        kind: bytes(1, 1_073_741_824),
        fallback: Fallback::Nothing("262144"),
        help: "Most bytes that wait for one client.",
        doc: "Without it, as without this table, as many as `limits.outbox_bytes_max` allows, which bounds it in any case.",
    },
    Row {
        path: "channel[].distinct",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether a message is delivered to nobody that says what the last one said, by the header `Tg-Distinct`.",
        doc: "With the header `Tg-Key` in messages, what was said last under the same key. Messages without `Tg-Distinct` are \
              delivered. If the channel has a history, what it does not keep any more is delivered again.",
    },
    Row {
        path: "channel[].presence",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether it is known which clients listen to the channel.",
        doc: "`GET /api/channels/{channel}/presence` on the admin listener tells, a request of a worker to \
              `tg.presence.<channel>`, and the client protocol's `presence` and `presence_stats`; joins and leaves are announced \
              on `tg.event.join.<channel>` and `tg.event.leave.<channel>`, and to clients that ask for them. Of more than 1,000 \
              clients only the first are listed, and the others counted. See [presence.md](presence.md).",
    },
    Row {
        path: "channel[].presence_grace_s",
        kind: Kind::Whole { min: 0, max: 3_600, unit: "seconds" },
        fallback: Fallback::Whole(limits::PRESENCE_GRACE.as_secs()),
        help: "How long a user may be away before it has left: a return within that is no news.",
        doc: "Of clients without a name nobody could come back as one of them: they leave at once.",
    },
];
