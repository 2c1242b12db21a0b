//! Keys of `[limits]`: bounds of what one client, or all of them, may use.

use super::{Fallback, Kind, Row, bytes, count, seconds};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "limits",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "Bounds on what one client, or all clients together, may use.",
        doc: "",
    },
    Row {
        path: "limits.message_bytes_max",
        kind: bytes(1, 67_108_864),
        fallback: Fallback::Whole(limits::MESSAGE_BYTES_MAX as u64),
        help: "Longest WebSocket message of a client; a longer one disconnects it with 1009.",
        doc: "",
    },
    Row {
        path: "limits.fragments_max",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::FRAGMENTS_MAX as u64),
        help: "Number of fragments of a WebSocket message; a message with more disconnects the client with 1009.",
        doc: "",
    },
    Row {
        path: "limits.commands_per_second",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::COMMANDS_PER_SECOND as u64),
        help: "Commands that a client of `centrifuge-json` may send each second; a faster client is read more slowly.",
        doc: "Six seconds' worth may come at once. A subscription counts as five further commands, a token as twenty.",
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
        help: "Bytes that may wait for one client before it is disconnected as too slow.",
        doc: "At least twice `limits.message_bytes_max`. The longest waiting answer to a request of the client is \
              left out of the count.",
    },
    Row {
        path: "limits.history_bytes_max",
        kind: bytes(0, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::HISTORY_BYTES_MAX as u64),
        help: "Bytes of the kept messages of all channels together, for clients that reconnect.",
        doc: "Each shard has an equal part. Beyond it, the history of the least recently used channels is dropped \
              first.",
    },
    Row {
        path: "limits.accepted_bytes_max",
        kind: bytes(1_048_576, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::ACCEPTED_BYTES_MAX as u64),
        help: "Bytes of all accepted requests and their results; requests beyond it get 503.",
        doc: "Each shard has an equal part, at least 4 MiB. A request costs a kibibyte besides its body or its result, \
              until its `keep_s` is over. A user may have as much as is free, an address (IPv6: a /64) four times as \
              much; beyond that, requests get 429.",
    },
    Row {
        path: "limits.unacked_bytes_max",
        kind: bytes(0, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::UNACKED_BYTES_MAX as u64),
        help: "Bytes of all messages that wait for a client's acknowledgement.",
        doc: "Each shard has an equal part. Beyond it, a message with `Tg-Ack` is refused, and its worker is told. \
              See [workers.md](workers.md).",
    },
    Row {
        path: "limits.arriving_bytes_max",
        kind: bytes(1_048_576, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::ARRIVING_BYTES_MAX as u64),
        help: "Bytes of all clients that wait for the rest of a body, a message, a head or a TLS record.",
        doc: "Each shard has an equal part, and at least twice the longest body or message. Beyond it, of the clients \
              whose bytes take the most, the one that has waited longest gets 503, or a close frame with 1013. A kilobyte of \
              each connection does not count. See [operations.md](operations.md#memory).",
    },
    Row {
        path: "limits.handshaking_bytes_max",
        kind: bytes(1_048_576, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::HANDSHAKING_BYTES_MAX as u64),
        help: "Bytes that all unfinished TLS handshakes may take.",
        doc: "Each shard has an equal part, and at least room for 16 handshakes. Beyond it, the handshake that has waited \
              longest is refused.",
    },
    Row {
        path: "limits.waiting_bytes_max",
        kind: bytes(1_048_576, 1_099_511_627_776),
        fallback: Fallback::Whole(limits::WAITING_BYTES_MAX as u64),
        help: "Memory for what waits for all clients that do not keep up.",
        doc: "Each shard has an equal part, and at least four times `limits.outbox_bytes_max`. Beyond it, of the clients \
              for which the most waits, the one that has been so for the longest time is closed. Of bytes that several \
              clients wait for, each has a share. 16 KiB for each connection do not count.",
    },
    Row {
        path: "limits.connections_max",
        kind: count(1, 16_777_216),
        fallback: Fallback::Nothing("1000000"),
        help: "Number of connections of the process; further ones get 503, further event streams a time to reconnect \
              after.",
        doc: "The default is a million; the descriptors of each shard bound its clients, too, and some are left to workers and \
              the admin listener. If this key is set and `shards` is not, there are as many shards as that \
              many descriptors need.",
    },
    Row {
        path: "limits.tallies_max",
        kind: count(1_024, 67_108_864),
        fallback: Fallback::Whole(limits::TALLIES_MAX as u64),
        help: "Addresses, networks, users and routes of which `[[limit]]` keeps account at the same time.",
        doc: "A power of two, or the next one is taken; 16 bytes each, and only if there is a `[[limit]]`. Each of its bounds takes               one for each client, while a connection is open or for the time of a burst. Clients beyond it share an account for \
              64.",
    },
    Row {
        path: "limits.ping_interval_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::PING_INTERVAL.as_secs()),
        help: "Silence after which a WebSocket client gets a ping.",
        doc: "The first ping comes up to a quarter earlier, so that clients that connected together are not pinged \
              together.",
    },
    Row {
        path: "limits.head_timeout_s",
        kind: seconds(600),
        fallback: Fallback::Whole(limits::HEAD_TIMEOUT.as_secs()),
        help: "Time for the head of a request; a slower one gets 408.",
        doc: "If the request may be for an event stream, it gets no answer: an EventSource gives up for ever after \
              any status but 200.",
    },
    Row {
        path: "limits.body_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::BODY_TIMEOUT.as_secs()),
        help: "Time for the body of a request; a slower one gets 408.",
        doc: "A second more for each 4 KiB that have arrived, so that a long body has time on a slow network.",
    },
    Row {
        path: "limits.message_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::MESSAGE_TIMEOUT.as_secs()),
        help: "Time for a WebSocket message from its first bytes to its last; a slower one ends the connection with 1008.",
        doc: "A second more for each 4 KiB that have arrived. Other frames in between, such as pongs, do not prolong it.",
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
        help: "How long a TLS handshake may wait for its turn in a storm; after that it is refused before any work \
              is done.",
        doc: "About as long as clients wait. A refused connection is closed without an alert, after which clients \
              retry.",
    },
    Row {
        path: "limits.handshakes_waiting_max",
        kind: count(1, 1_000_000),
        fallback: Fallback::Whole(limits::HANDSHAKES_WAITING_MAX as u64),
        help: "Number of TLS handshakes of one shard that may wait for their turn; further ones are refused.",
        doc: "Handshakes that resume a session go first, and are refused last.",
    },
    Row {
        path: "limits.sse_heartbeat_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::SSE_HEARTBEAT.as_secs()),
        help: "Silence after which a comment is sent on an event stream, so that proxies keep it open.",
        doc: "While a stream stays silent, up to a quarter earlier, so that the comments of many streams are not \
              sent together.",
    },
    Row {
        path: "limits.send_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::SEND_TIMEOUT.as_secs()),
        help: "How long a send may make no progress before the client is disconnected as too slow.",
        doc: "Any progress, however small, is enough. Checked when the connection's timer fires \
              (`limits.ping_interval_s`, `limits.sse_heartbeat_s`), then once per this time.",
    },
    Row {
        path: "limits.peer_timeout_s",
        kind: seconds(3_600),
        fallback: Fallback::Whole(limits::PEER_TIMEOUT.as_secs()),
        help: "How long sent bytes may stay unacknowledged before the peer counts as vanished (TCP_USER_TIMEOUT).",
        doc: "Longer than `limits.send_timeout_s`, because the kernel also ends connections to peers that are alive \
              and read nothing.",
    },
];
