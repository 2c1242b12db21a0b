//! Keys of `[limits]`: bounds of what one client, or all of them, may use.

use super::{Fallback, Kind, Row, bytes, count, seconds};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "limits",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "Bounds of what one client, or all of them, may use.",
        doc: "",
    },
    Row {
        path: "limits.message_bytes_max",
        kind: bytes(1, 67_108_864),
        fallback: Fallback::Whole(limits::MESSAGE_BYTES_MAX as u64),
        help: "Longest WebSocket message of a client; a longer one closes it with 1009.",
        doc: "",
    },
    Row {
        path: "limits.fragments_max",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::FRAGMENTS_MAX as u64),
        help: "Most fragments of a WebSocket message; more close it with 1009.",
        doc: "",
    },
    Row {
        path: "limits.payload_bytes_max",
        kind: bytes(1, 67_108_864),
        fallback: Fallback::Whole(limits::PAYLOAD_BYTES_MAX as u64),
        help: "Longest payload that workers or the admin listener may publish, headers included.",
        doc: "",
    },
    Row {
        path: "limits.outbox_bytes_max",
        kind: bytes(4_096, 1_073_741_824),
        fallback: Fallback::Whole(limits::OUTBOX_BYTES_MAX as u64),
        help: "Bytes that may wait for one client before it counts as too slow and is closed.",
        doc: "At least twice `limits.message_bytes_max`. The longest answer to what it has asked for does not count.",
    },
    Row {
        path: "limits.history_bytes_max",
        kind: bytes(0, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::HISTORY_BYTES_MAX as u64),
        help: "Bytes of messages that are kept of all channels together, for those who come back.",
        doc: "Shared out among the shards. Beyond it, what is kept of the least recently used channels is given up first.",
    },
    Row {
        path: "limits.unacked_bytes_max",
        kind: bytes(0, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::UNACKED_BYTES_MAX as u64),
        help: "Bytes of messages that clients have not acknowledged, of all together.",
        doc: "Shared out among the shards. Beyond it, workers are told that a message with `Tg-Ack` is not taken. See [workers.md](workers.md).",
    },
    Row {
        path: "limits.connections_max",
        kind: count(1, 16_777_216),
        fallback: Fallback::Nothing("1000000"),
        help: "Most connections of the process; further ones get 503, and event streams a time to come back.",
        doc: "Without it a million. Where it is set and `shards` is not, there are as many shards as so many descriptors take.",
    },
    Row {
        path: "limits.ping_interval_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::PING_INTERVAL.as_secs()),
        help: "Silence after which a WebSocket client is asked for a sign of life.",
        doc: "The first time up to a quarter earlier, so that the pings of those who came together do not come together.",
    },
    Row {
        path: "limits.head_timeout_s",
        kind: seconds(600),
        fallback: Fallback::Whole(limits::HEAD_TIMEOUT.as_secs()),
        help: "How long the head of a request may take; a slower one gets 408.",
        doc: "Or no answer, if it may be that of an event stream: an EventSource gives up for ever when it gets anything but 200.",
    },
    Row {
        path: "limits.body_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::BODY_TIMEOUT.as_secs()),
        help: "How long the body of a request may take; a slower one gets 408.",
        doc: "",
    },
    Row {
        path: "limits.keep_alive_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::KEEP_ALIVE_TIMEOUT.as_secs()),
        help: "How long a connection may stay open between two requests.",
        doc: "",
    },
    Row {
        path: "limits.handshake_timeout_s",
        kind: seconds(600),
        fallback: Fallback::Whole(limits::HANDSHAKE_TIMEOUT.as_secs()),
        help: "How long a TLS handshake may take.",
        doc: "",
    },
    Row {
        path: "limits.handshake_wait_s",
        kind: seconds(600),
        fallback: Fallback::Whole(limits::HANDSHAKE_WAIT.as_secs()),
        help: "How long a TLS handshake may wait for its turn in a storm; then it is refused before any work is done for it.",
        doc: "As long as clients wait. Refused is closed without a word: clients take that for a reason to try again.",
    },
    Row {
        path: "limits.handshakes_waiting_max",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::HANDSHAKES_WAITING_MAX as u64),
        help: "Most TLS handshakes of one shard that wait for their turn; further ones are refused.",
        doc: "Those that resume a session go first, and are refused last.",
    },
    Row {
        path: "limits.sse_heartbeat_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::SSE_HEARTBEAT.as_secs()),
        help: "Silence after which a comment is sent on a stream of events, so that proxies keep it open.",
        doc: "On one that stays silent up to a quarter earlier, so that those of many streams do not come together.",
    },
    Row {
        path: "limits.send_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::SEND_TIMEOUT.as_secs()),
        help: "How long a client may take nothing of what is being sent before it counts as too slow and is closed.",
        doc: "Whoever takes something, however little, is not closed for this. It is looked at when a connection's timer runs \
              (`limits.ping_interval_s`, `limits.sse_heartbeat_s`) and once in this time then.",
    },
    Row {
        path: "limits.peer_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::PEER_TIMEOUT.as_secs()),
        help: "How long what was sent may stay unacknowledged before the peer counts as vanished (TCP_USER_TIMEOUT).",
        doc: "Longer than `limits.send_timeout_s`: the kernel also ends peers that are there and take nothing.",
    },
];
