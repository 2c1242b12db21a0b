//! The table of keys: each key of the configuration, once. The parser's checks, the environment's variables, the
//! suggestions, `tidegate config` and docs/configuration.md derive from it.

use super::form;
use crate::limits;

/// One key.
pub struct Row {
    /// Where it stands: `limits.fragments_max`. `[]` follows the name of a list of tables: `route[].path`.
    pub path: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    /// One line.
    pub help: &'static str,
    /// What else is worth knowing; may be empty.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A table that stands at most once.
    Table,
    /// Any number of tables: `[[name]]`.
    Tables,
    /// One table, or a list of them.
    OneOrMoreTables,
    Whole {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that fits; `expected` completes "expected …".
    Text {
        expected: &'static str,
        fits: fn(&str) -> bool,
    },
    /// One such text, or a list of them.
    Texts {
        expected: &'static str,
        fits: fn(&str) -> bool,
    },
    /// A text that errors never show.
    Secret,
}

/// What holds when a key is not there.
#[derive(Clone, Copy)]
pub enum Fallback {
    Whole(u64),
    Switch(bool),
    Text(&'static str),
    /// The key must be there; the example (TOML) is for the annotated file.
    Required(&'static str),
    /// The key may be missing, and nothing takes its place; with an example (TOML).
    Nothing(&'static str),
}

const ADDRESS: Kind = Kind::Text {
    expected: "an IP address and a port such as \"127.0.0.1:8080\" or \"[::]:8443\"",
    fits: form::is_address,
};
const FILE: Kind = Kind::Text { expected: "the path of a file", fits: form::is_file };
const CHANNEL_EXPECTED: &str = "a subject such as \"room.{room}\": no wildcards, nothing below \"tg\" or \"_INBOX\", parameters as \
                                whole tokens and not the first of several";
const CHANNEL: Kind = Kind::Text { expected: CHANNEL_EXPECTED, fits: form::is_channel };
const PATTERNS: Kind = Kind::Texts {
    expected: "a pattern such as \"room.*\" or \"news.>\", nothing below \"tg\" or \"_INBOX\"",
    fits: form::is_pattern,
};
const AGE: Kind =
    Kind::Text { expected: "a time such as \"30s\", \"5m\", \"12h\" or \"7d\"; a year at most", fits: form::is_age };

const SERVICE: Kind =
    Kind::Text { expected: "one token of a subject: without dots, wildcards and white space", fits: form::is_service };
const QUERY_NAME: Kind = Kind::Text {
    expected: "the name of a query parameter: letters, digits, \"-\", \".\", \"_\", \"~\"",
    fits: form::is_query_name,
};

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: "bytes" }
}

const fn seconds(max: u64) -> Kind {
    Kind::Whole { min: 1, max, unit: "seconds" }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: "" }
}

const fn count_of(unit: &'static str, min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit }
}

/// In the order of the annotated file: keys of the top level first, as TOML wants them.
pub const TABLE: &[Row] = &[
    Row {
        path: "driver",
        kind: Kind::Choice(&["auto", "epoll", "uring"]),
        fallback: Fallback::Text("auto"),
        help: "How the kernel is asked for network I/O.",
        doc: "`auto` takes the faster one that this kernel allows. If `uring` is asked for and cannot be had, one log line \
              says why and `epoll` is used.",
    },
    Row {
        path: "shards",
        kind: count(0, limits::SHARDS_MAX as u64),
        fallback: Fallback::Whole(0),
        help: "Number of shards, each a thread with its own connections; 0 means one for each core.",
        doc: "The limit on open files counts for each shard. So if `limits.connections_max` is set and one shard for each core \
              could not open so many sockets, 0 means as many shards as it takes.",
    },
    Row {
        path: "pin",
        kind: Kind::Switch,
        fallback: Fallback::Switch(true),
        help: "Whether each shard is pinned to a core.",
        doc: "Turn it off when several busy processes share the cores.",
    },
    Row {
        path: "log",
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        fallback: Fallback::Text("info"),
        help: "The least important log lines that are written to stderr.",
        doc: "",
    },
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
        help: "Where it listens. Port 0 takes a free one.",
        doc: "",
    },
    Row {
        path: "listener[].tls",
        kind: Kind::OneOrMoreTables,
        fallback: Fallback::Nothing("{ certificate = \"cert.pem\", key = \"key.pem\" }"),
        help: "Makes it a TLS listener.",
        doc: "With several certificates (`tls = [{ … }, { … }]`) the client's server name chooses; the first one answers \
              clients that name no server, or one that no certificate is for.",
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
        path: "bus",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "The embedded bus: where workers connect with a NATS client. Without this table there is none.",
        doc: "",
    },
    Row {
        path: "bus.address",
        kind: ADDRESS,
        fallback: Fallback::Text("127.0.0.1:4222"),
        help: "Where it listens.",
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
        doc: "Better set from the environment than written into a file.",
    },
    Row {
        path: "bus.token",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"change me\""),
        help: "A token that workers must present, instead of user and password.",
        doc: "Better set from the environment than written into a file.",
    },
    Row {
        path: "admin",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "The admin listener: the API that publishes messages. Without this table there is none.",
        doc: "",
    },
    Row {
        path: "admin.address",
        kind: ADDRESS,
        fallback: Fallback::Text("127.0.0.1:9180"),
        help: "Where it listens.",
        doc: "An address that is not loopback needs `admin.allow_remote`.",
    },
    Row {
        path: "admin.allow_remote",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Allows an address that is not loopback: whoever reaches it can publish.",
        doc: "Only for networks in which every peer is trusted, such as a container's own.",
    },
    Row {
        path: "route",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "What the requests for a path lead to. The first route that matches wins.",
        doc: "Each route has one of `sse`, `websocket` and `accept`.",
    },
    Row {
        path: "route[].path",
        kind: Kind::Text {
            expected: "a path such as \"/rooms/{room}\" whose parameters are whole segments with distinct names",
            fits: form::is_path,
        },
        fallback: Fallback::Required("\"/events/{channel}\""),
        help: "The path; a segment in braces is a parameter that takes any value.",
        doc: "A parameter may be used in the route's channel.",
    },
    Row {
        path: "route[].method",
        kind: Kind::Texts { expected: "a method in upper case such as \"GET\"", fits: form::is_method },
        fallback: Fallback::Text("GET"),
        help: "The methods that the route takes; others get 405.",
        doc: "One, or a list. A WebSocket is always opened with GET. With `accept` it is POST unless it is said, and never GET or \
              HEAD, which read the results.",
    },
    Row {
        path: "route[].origins",
        kind: Kind::Texts {
            expected: "an origin such as \"https://example.com\", or \"*\" for any",
            fits: form::is_origin,
        },
        fallback: Fallback::Nothing("[\"https://example.com\"]"),
        help: "Origins of the pages that may use the route besides the gateway's own; others get 403.",
        doc: "One, or a list; `*` allows any. Pages of the gateway's own host always may, and so may requests without an \
              Origin header: they come from no page.",
    },
    Row {
        path: "route[].sse",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ channel = \"events.{channel}\" }"),
        help: "Answers with a stream of Server-Sent Events.",
        doc: "",
    },
    Row {
        path: "route[].sse.channel",
        kind: CHANNEL,
        fallback: Fallback::Nothing("\"events.{channel}\""),
        help: "The channel whose messages are streamed; `{name}` stands for a parameter of the path.",
        doc: "",
    },
    Row {
        path: "route[].sse.channels",
        kind: Kind::Texts { expected: CHANNEL_EXPECTED, fits: form::is_channel },
        fallback: Fallback::Nothing("[\"news\", \"events.{channel}\"]"),
        help: "Several of them on one stream, instead of `channel`.",
        doc: "One id stands for all of them: a client that comes back misses nothing in any.",
    },
    Row {
        path: "route[].sse.retry_ms",
        kind: Kind::Whole { min: 1, max: 3_600_000, unit: "milliseconds" },
        fallback: Fallback::Whole(limits::SSE_RETRY.as_millis() as u64),
        help: "How long clients are told to wait before they connect again.",
        doc: "",
    },
    Row {
        path: "route[].websocket",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ channel = \"room.{room}\", publish = true }"),
        help: "Opens a WebSocket.",
        doc: "It leads somewhere: it has at least one of `channel`, `service` and `user`, or, with `centrifuge-json`, of \
              `channels`, `publish_to`, `server_side`, `service`, `user` and `token`.",
    },
    Row {
        path: "route[].websocket.protocol",
        kind: Kind::Choice(&["raw", "centrifuge-json"]),
        fallback: Fallback::Text("raw"),
        help: "What is spoken on it: messages as they are, or Centrifugo's client protocol in JSON.",
        doc: "With `centrifuge-json`, `channels`, `publish_to`, `server_side` and `token` take the places of `channel` and \
              `publish`; see [centrifuge.md](centrifuge.md).",
    },
    Row {
        path: "route[].websocket.channel",
        kind: CHANNEL,
        fallback: Fallback::Nothing("\"room.{room}\""),
        help: "The channel that each connection is subscribed to; `{name}` stands for a parameter of the path.",
        doc: "",
    },
    Row {
        path: "route[].websocket.publish",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether the messages of clients are published to the channel.",
        doc: "Otherwise, and without a service, a client that sends is closed with 1008.",
    },
    Row {
        path: "route[].websocket.control",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether clients can answer and acknowledge: texts whose key \"tg\" says so are the gateway's.",
        doc: "See [workers.md](workers.md). Clients of `centrifuge-json` always can.",
    },
    Row {
        path: "route[].websocket.channels",
        kind: PATTERNS,
        fallback: Fallback::Nothing("[\"rides.>\", \"news\"]"),
        help: "Channels that clients of `centrifuge-json` may subscribe to.",
        doc: "One pattern, or a list; `*` is one token, `>` all that follow. A subscription token may allow others.",
    },
    Row {
        path: "route[].websocket.publish_to",
        kind: PATTERNS,
        fallback: Fallback::Nothing("\"chat.*\""),
        help: "Channels that clients of `centrifuge-json` may publish to.",
        doc: "One pattern, or a list.",
    },
    Row {
        path: "route[].websocket.server_side",
        kind: Kind::Texts { expected: CHANNEL_EXPECTED, fits: form::is_channel },
        fallback: Fallback::Nothing("[\"news\", \"room.{room}\"]"),
        help: "Channels that each client of `centrifuge-json` is subscribed to when it connects.",
        doc: "One, or a list; `{name}` stands for a parameter of the path.",
    },
    Row {
        path: "route[].websocket.token",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ hmac_secret = \"…\" }"),
        help: "Clients of `centrifuge-json` must connect with a token (JWT) that this key has signed.",
        doc: "It names the user (`sub`), and its end (`exp`), channels and info as in Centrifugo. It has exactly one of \
              `hmac_secret`, `rsa_public_key` and `ecdsa_public_key`.",
    },
    Row {
        path: "route[].websocket.token.hmac_secret",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"…\""),
        help: "The secret of tokens signed with HS256.",
        doc: "",
    },
    Row {
        path: "route[].websocket.token.rsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with RS256.",
        doc: "",
    },
    Row {
        path: "route[].websocket.token.ecdsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with ES256.",
        doc: "",
    },
    Row {
        path: "route[].websocket.service",
        kind: SERVICE,
        fallback: Fallback::Nothing("\"rides\""),
        help: "The service whose workers take the messages of clients, from `tg.service.<service>`.",
        doc: "With `centrifuge-json`, calls (`rpc`) as well.",
    },
    Row {
        path: "route[].websocket.user",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ header = \"X-User\" }"),
        help: "Where the connection's user is named; workers then reach it as `tg.user.<user>`.",
        doc: "What is named there is believed: let only something that checks it set it. It has exactly one of `header` and \
              `query`; who names no user gets 401.",
    },
    Row {
        path: "route[].websocket.user.header",
        kind: Kind::Text { expected: "the name of a header field", fits: form::is_http_token },
        fallback: Fallback::Nothing("\"X-User\""),
        help: "The request's header field that names the user.",
        doc: "",
    },
    Row {
        path: "route[].websocket.user.query",
        kind: QUERY_NAME,
        fallback: Fallback::Nothing("\"user\""),
        help: "The query parameter that names the user.",
        doc: "",
    },
    Row {
        path: "route[].accept",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ service = \"bookings\" }"),
        help: "Answers 202 at once, has a worker do what was asked, and pushes the result.",
        doc: "The answer's Location is the path and the request's id; GET reads the status and the result there. With the header \
              Idempotency-Key a request can be sent again: it is done once, and gets the same answer. The longest body is \
              `limits.payload_bytes_max`. The path does not end with a slash and has no parameter `id`.",
    },
    Row {
        path: "route[].accept.service",
        kind: SERVICE,
        fallback: Fallback::Required("\"bookings\""),
        help: "The service, one of whose workers gets the request from `tg.service.<service>`.",
        doc: "It answers on the message's reply subject. If its connection ends before that, another worker gets the request.",
    },
    Row {
        path: "route[].accept.channel",
        kind: CHANNEL,
        fallback: Fallback::Text("request.{id}"),
        help: "The channel on which the result is pushed.",
        doc: "`{name}` stands for a parameter of the path, `{id}` for the request's id, and `{user}` for the user, if `user` says \
              who that is.",
    },
    Row {
        path: "route[].accept.event",
        kind: Kind::Text { expected: "the name of an event: one line that is not empty", fits: form::is_user },
        fallback: Fallback::Text("tg.result"),
        help: "The name of the event that carries the result.",
        doc: "",
    },
    Row {
        path: "route[].accept.timeout_s",
        kind: seconds(86_400),
        fallback: Fallback::Whole(limits::REQUEST_TIMEOUT.as_secs()),
        help: "How long the result may take; after that the request has expired, and its channel is told so.",
        doc: "That includes the time in which there is no worker, such as a restart.",
    },
    Row {
        path: "route[].accept.keep_s",
        kind: seconds(86_400),
        fallback: Fallback::Whole(limits::REQUEST_KEEP.as_secs()),
        help: "How long the result is kept for those who read it later, and its Idempotency-Key with it.",
        doc: "Where memory is short the oldest results are forgotten before that.",
    },
    Row {
        path: "route[].accept.user",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ header = \"X-User\" }"),
        help: "Where the user is named; each user has Idempotency-Keys of their own.",
        doc: "What is named there is believed: let only something that checks it set it. It has exactly one of `header` and \
              `query`; who names no user gets 401.",
    },
    Row {
        path: "route[].accept.user.header",
        kind: Kind::Text { expected: "the name of a header field", fits: form::is_http_token },
        fallback: Fallback::Nothing("\"X-User\""),
        help: "The request's header field that names the user.",
        doc: "",
    },
    Row {
        path: "route[].accept.user.query",
        kind: QUERY_NAME,
        fallback: Fallback::Nothing("\"user\""),
        help: "The query parameter that names the user.",
        doc: "",
    },
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
    Row {
        path: "drain",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "How the gateway goes away when it is told to stop.",
        doc: "Readiness fails at once. After `notice_s` no client is let in any more, and those who are there are closed one \
              after the other within `spread_s`, each told when to come back. Then workers are closed. The whole takes \
              at most 10 seconds longer than the two.",
    },
    Row {
        path: "drain.notice_s",
        kind: count_of("seconds", 0, 600),
        fallback: Fallback::Whole(limits::DRAIN_NOTICE.as_secs()),
        help: "How long only readiness fails (`GET /ready` on the admin listener gets 503) and everything is served.",
        doc: "Longer than the load balancer takes to see it; 0 where nobody asks.",
    },
    Row {
        path: "drain.spread_s",
        kind: count_of("seconds", 0, 3_600),
        fallback: Fallback::Whole(limits::DRAIN_SPREAD.as_secs()),
        help: "Over how long clients are sent away; a few clients take less.",
        doc: "All of them connect again somewhere: this decides how many of them in a second.",
    },
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
        doc: "At least twice `limits.message_bytes_max`.",
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
        help: "Most connections of the process; further ones get 503.",
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
        doc: "",
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

/// The row of a path, written as in [`Row::path`].
pub(super) fn row(path: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.path == path)
}

/// The rows directly below a path (`""` is the top level).
pub(super) fn rows_below<'a>(path: &'a str) -> impl Iterator<Item = &'static Row> + 'a {
    TABLE.iter().filter(move |row| row.parent() == path)
}

impl Row {
    /// The last word of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the table that it stands in: `route[]` of `route[].path`.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// The path that the names inside of it continue: with `[]` where tables are listed.
    pub(super) fn inside(&self) -> String {
        match self.kind {
            Kind::Tables | Kind::OneOrMoreTables => format!("{}[]", self.path),
            _ => self.path.to_owned(),
        }
    }

    /// The path as people write it.
    pub(super) fn spoken(&self) -> String {
        self.path.replace("[]", "")
    }

    /// The environment variable that sets it, with `N` for each index; `None` for tables.
    pub fn variable(&self) -> Option<String> {
        if matches!(self.kind, Kind::Table | Kind::Tables | Kind::OneOrMoreTables) {
            return None;
        }
        let path = self.path.replace("[].", "_N_").replace('.', "_").to_uppercase();
        Some(format!("TIDEGATE_{path}"))
    }
}

impl Kind {
    /// Completes "expected …".
    pub fn expected(&self) -> String {
        match self {
            Kind::Table => "a table".to_owned(),
            Kind::Tables => "tables".to_owned(),
            Kind::OneOrMoreTables => "a table, or a list of tables".to_owned(),
            Kind::Whole { min, max, unit: "" } => format!("a whole number from {min} to {max}"),
            Kind::Whole { min, max, unit } => format!("a whole number of {unit} from {min} to {max}"),
            Kind::Switch => "true or false".to_owned(),
            Kind::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Kind::Text { expected, .. } | Kind::Texts { expected, .. } => (*expected).to_owned(),
            Kind::Secret => "a text that is not empty".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_place_a_valid_default_and_one_line_of_help() {
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.path == row.path).count(), 1, "{}", row.path);
            let parent = row.parent().trim_end_matches("[]");
            assert!(parent.is_empty() || TABLE.iter().any(|other| other.path == parent), "{} has no parent", row.path);
            assert!(row.help.ends_with('.') && !row.help.contains('\n') && row.help.len() <= 120, "{}", row.path);
            let fits = match (row.kind, row.fallback) {
                (Kind::Whole { min, max, .. }, Fallback::Whole(whole)) => (min..=max).contains(&whole),
                (Kind::Switch, Fallback::Switch(_)) => true,
                (Kind::Choice(words), Fallback::Text(word)) => words.contains(&word),
                (Kind::Text { fits, .. } | Kind::Texts { fits, .. }, Fallback::Text(text)) => fits(text),
                (_, Fallback::Required(_) | Fallback::Nothing(_)) => true,
                _ => false,
            };
            assert!(fits, "{} has a default that it does not take itself", row.path);
        }
    }
}
