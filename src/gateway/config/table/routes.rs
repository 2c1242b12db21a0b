//! Keys of `[[route]]`: what the requests for a path lead to.

use super::super::form;
use super::{FILE, Fallback, Kind, Row, count, seconds};
use crate::limits;
use crate::proto::reserved::RESULT_EVENT;

const CHANNEL_EXPECTED: &str = "a subject such as \"room.{room}\": no wildcards, nothing below \"tg\" or \"_INBOX\", parameters as \
                                whole tokens and not the first of several";
const CHANNEL: Kind = Kind::Text { expected: CHANNEL_EXPECTED, fits: form::is_channel };
const PATTERNS: Kind = Kind::Texts {
    expected: "a pattern such as \"room.*\" or \"news.>\", nothing below \"tg\" or \"_INBOX\"",
    fits: form::is_pattern,
};
const SERVICE: Kind =
    Kind::Text { expected: "one token of a subject: without dots, wildcards and white space", fits: form::is_service };
pub(super) const QUERY_NAME: Kind = Kind::Text {
    expected: "the name of a query parameter: letters, digits, \"-\", \".\", \"_\", \"~\"",
    fits: form::is_query_name,
};

const PASSED: Kind = Kind::Texts {
    expected: "the name of a header field such as \"User-Agent\", none about the connection or with a meaning to the gateway",
    fits: form::is_passed,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "route",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "What requests for a path get. The first route that matches wins.",
        doc: "Each route has exactly one of `sse`, `websocket`, `accept`, `respond` and `proxy`.",
    },
    Row {
        path: "route[].path",
        kind: Kind::Text {
            expected: "a path such as \"/rooms/{room}\" whose parameters are whole segments with distinct names, or \"/api/*\"",
            fits: form::is_path,
        },
        fallback: Fallback::Required("\"/events/{channel}\""),
        help: "The path; a segment in braces is a parameter that takes any value, a last `*` takes the rest.",
        doc: "`/api/*` takes `/api`, `/api/` and all paths below it, `/*` every path. Write the path unescaped: `/café`, `/a b`. A parameter takes one segment of the path, which must not \
              be empty, and may be used in the route's channel. There its value is one token: `.`, `*`, `>`, `%` and \
              white space are percent-encoded. So a client of `/notifications/ann@example.org` subscribes to \
              `notifications.ann@example%2Eorg`, and `POST /api/channels/notifications.ann@example%252Eorg` reaches \
              it: in a URL, the `%` itself is escaped. A value that has control characters, or is too long for a \
              channel, gets 400.",
    },
    Row {
        path: "route[].host",
        kind: Kind::Texts {
            expected: "a host name or an address without a port such as \"shop.example\", or \"*.shop.example\"",
            fits: form::is_host_pattern,
        },
        fallback: Fallback::Nothing("[\"shop.example\", \"*.shop.example\"]"),
        help: "The hosts for which the route is; requests for others go on to the next route.",
        doc: "One, or a list; without it, any. Compared with the request's `Host` without its port, in any case; `*.` stands \
              for exactly one label, as in certificates. `listener.hosts` refuses other hosts before any route is looked at. Behind a proxy of `trust.networks`, the \
              `X-Forwarded-Host` that it sets counts instead.",
    },
    Row {
        path: "route[].scheme",
        kind: Kind::Choice(&["http", "https"]),
        fallback: Fallback::Nothing("\"https\""),
        help: "Whether the route is for clients without TLS or with it; without the key, for both.",
        doc: "Behind a proxy of `trust.networks`, the `X-Forwarded-Proto` that it sets says which of them a client is.",
    },
    Row {
        path: "route[].method",
        kind: Kind::Texts { expected: "a method in upper case such as \"GET\"", fits: form::is_method },
        fallback: Fallback::Text("GET"),
        help: "The methods that the route accepts; others get 405.",
        doc: "One, or a list. A WebSocket is always opened with GET. With `accept` the default is POST, and GET and \
              HEAD are not allowed: they read the results. With `proxy` the default is every method but CONNECT and TRACE.",
    },
    Row {
        path: "route[].origins",
        kind: Kind::Texts {
            expected: "an origin such as \"https://example.com\" or \"https://*.example.com\", or \"*\" for any",
            fits: form::is_origin,
        },
        fallback: Fallback::Nothing("[\"https://example.com\"]"),
        help: "Origins of the pages that may use the route besides the gateway's own; others get 403.",
        doc: "One, or a list; `*` allows any. Always allowed are pages of the gateway's own host, and requests \
              without an Origin header: a browser sends one whenever a page of another origin could read the answer or \
              opens a WebSocket. Origins are compared by scheme, host and port, however they are spelled. In \
              `https://*.example.com` the star stands for exactly one label: neither `https://example.com` nor \
              `https://a.b.example.com` is meant. The scheme of the gateway's own pages is https on a TLS listener, and \
              what a proxy of `trust.networks` says. Without `[trust]`, a plain listener counts pages of its host over \
              https as its own too, because a proxy that terminates TLS may stand in front of it. A page that is opened from a \
              disk has no origin of its own and needs `*`. On a route with `proxy`, the gateway also says on each answer which page may read it, \
              in place of what the server says (`Access-Control-Allow-Origin`, `-Allow-Credentials`); without `origins` there, the server decides. What a refused page sees and what the log says: \
              [operations.md](operations.md).",
    },
    Row {
        path: "route[].request_headers",
        kind: Kind::Texts { expected: "the name of a header field", fits: form::is_http_token },
        fallback: Fallback::Nothing("[\"X-Tenant\"]"),
        help: "Header fields that pages of other origins may set, besides the usual ones.",
        doc: "One, or a list; a browser asks for them in a preflight. Always allowed are Accept, Authorization, \
              Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Pragma and X-Requested-With. Do not list \
              a field that the route trusts (`user`): any page of `origins` could then set it.",
    },
    Row {
        path: "route[].sse",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ channel = \"events.{channel}\" }"),
        help: "Answers with an event stream (Server-Sent Events).",
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
        help: "Several channels on one stream, instead of `channel`.",
        doc: "One event id covers all of them: a client that reconnects misses no message of any.",
    },
    Row {
        path: "route[].sse.retry_ms",
        kind: Kind::Whole { min: 1, max: 3_600_000, unit: "milliseconds" },
        fallback: Fallback::Whole(limits::SSE_RETRY.as_millis() as u64),
        help: "How long clients are told to wait before they reconnect.",
        doc: "",
    },
    Row {
        path: "route[].websocket",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ channel = \"room.{room}\", publish = true }"),
        help: "Opens a WebSocket.",
        doc: "It needs at least one of `channel`, `service` and `user`; with `centrifuge-json`, at least one of \
              `channels`, `publish_to`, `server_side`, `service`, `user` and `token`.",
    },
    Row {
        path: "route[].websocket.protocol",
        kind: Kind::Choice(&["raw", "centrifuge-json"]),
        fallback: Fallback::Text("raw"),
        help: "The protocol on the WebSocket: the application's messages as they are, or Centrifugo's client \
              protocol in JSON.",
        doc: "With `centrifuge-json`, `channels`, `publish_to`, `server_side` and `token` replace `channel` and \
              `publish`; see [centrifuge.md](centrifuge.md). A raw route supports no subprotocol yet: a browser \
              fails the connection of a page that offers one (`new WebSocket(url, [\"chat\"])`).",
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
        doc: "Otherwise, and without a service, a client that sends a message is disconnected with 1008.",
    },
    Row {
        path: "route[].websocket.control",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether clients can answer and acknowledge, with JSON objects whose key \"tg\" is \"answer\" or \"ack\".",
        doc: "See [workers.md](workers.md). Clients of `centrifuge-json` always can.",
    },
    Row {
        path: "route[].websocket.subprotocols",
        kind: Kind::Texts {
            expected: "the name of a subprotocol such as \"chat.v2\", without blanks; none that begins with \"bearer.\"",
            fits: form::is_subprotocol,
        },
        fallback: Fallback::Nothing("[\"chat.v2\", \"chat.v1\"]"),
        help: "Subprotocols of the WebSocket, the preferred one first: the first that a client offers is chosen.",
        doc: "One, or a list. A client that offers none of them is let in without one; a browser then ends the connection if it has offered \
              any. Workers of `service` are told the chosen one (`Tg-Subprotocol`). `centrifuge-json` has its own.",
    },
    Row {
        path: "route[].websocket.headers",
        kind: PASSED,
        fallback: Fallback::Nothing("[\"User-Agent\", \"Accept-Language\"]"),
        help: "Header fields of the handshake that a worker of `service` gets with the message that a client has come.",
        doc: "One, or a list. `Cookie` and `Authorization` have to be named like any other. 8 KiB in all: a field that does not fit is left out.",
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
        doc: "The token has the user (`sub`), its expiry (`exp`), channels and info, as in Centrifugo. Exactly one \
              of `auth`, `hmac_secret`, `rsa_public_key` and `ecdsa_public_key` is set.",
    },
    Row {
        path: "route[].websocket.token.auth",
        kind: Kind::Text { expected: "the name of an [[auth]]", fits: form::is_auth_name },
        fallback: Fallback::Nothing("\"app\""),
        help: "The [[auth]] that takes the tokens, instead of a key: with its issuer, its claims and its channels.",
        doc: "The client shows its token in `connect` and refreshes it; `auth.token`, the carriers of requests, does not count. A \
              subscription needs no token of its own: `auth.channels` says what the client may hear.",
    },
    Row {
        path: "route[].websocket.token.hmac_secret",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"…\""),
        help: "The secret of tokens signed with HS256.",
        doc: "32 bytes or more (RFC 7518 section 3.2); `tidegate check` warns of a shorter one.",
    },
    Row {
        path: "route[].websocket.token.rsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with RS256.",
        doc: "One RSA key of 2048 to 8192 bits, or a certificate with one.",
    },
    Row {
        path: "route[].websocket.token.ecdsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with ES256.",
        doc: "One key on the curve P-256 (RFC 7518 section 3.4), or a certificate with one.",
    },
    Row {
        path: "route[].websocket.service",
        kind: SERVICE,
        fallback: Fallback::Nothing("\"rides\""),
        help: "The service whose workers get the messages of clients, from `tg.service.<service>`.",
        doc: "With `centrifuge-json`, they also get the calls (`rpc`).",
    },
    Row {
        path: "route[].websocket.user",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ header = \"X-User\", unverified = true }"),
        help: "The part of the request that names the connection's user; workers then reach it as `tg.user.<user>`.",
        doc: "The gateway trusts this name: make sure that only a component that has checked the user sets it. \
              Exactly one of `header` and `query` is set. A request without a name gets 401.",
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
        path: "route[].websocket.user.unverified",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Says that it is known: nothing here proves that name.",
        doc: "Without it, `tidegate check` warns. `route.auth` proves a user instead.",
    },
    Row {
        path: "route[].accept",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ service = \"bookings\" }"),
        help: "Answers 202 at once, gives the request to a worker, and publishes the result.",
        doc: "The answer's Location is the path and the request's id; GET reads the status and the result there. A \
              client may resend a request that has an Idempotency-Key: it is processed once, and each time gets the \
              same answer. The longest body is `limits.payload_bytes_max`. The path must not end with a slash or \
              have a parameter `id`.",
    },
    Row {
        path: "route[].accept.service",
        kind: SERVICE,
        fallback: Fallback::Required("\"bookings\""),
        help: "The service; one of its workers gets the request from `tg.service.<service>`.",
        doc: "The worker answers on the message's reply subject. If its connection ends before that, another worker \
              gets the request.",
    },
    Row {
        path: "route[].accept.channel",
        kind: CHANNEL,
        fallback: Fallback::Text("request.{id}"),
        help: "The channel on which the result is published.",
        doc: "`{name}` stands for a parameter of the path, `{id}` for the request's id, and `{user}` for the user, \
              if `user` is set.",
    },
    Row {
        path: "route[].accept.event",
        kind: Kind::Text {
            expected: "the name of an event: one line that is not empty, \"tg.result\" or a name that does not begin with \"tg.\"",
            fits: form::is_result_event,
        },
        fallback: Fallback::Text(RESULT_EVENT),
        help: "The name of the event that carries the result.",
        doc: "",
    },
    Row {
        path: "route[].accept.timeout_s",
        kind: seconds(86_400),
        fallback: Fallback::Whole(limits::REQUEST_TIMEOUT.as_secs()),
        help: "Time for the result; after that the request expires, and its channel is told so.",
        doc: "Time without a worker, such as a restart of the workers, counts too.",
    },
    Row {
        path: "route[].accept.keep_s",
        kind: seconds(86_400),
        fallback: Fallback::Whole(limits::REQUEST_KEEP.as_secs()),
        help: "How long the result and its Idempotency-Key are kept for later reads.",
        doc: "No result is dropped earlier: if `limits.accepted_bytes_max` is reached, new requests are refused.",
    },
    Row {
        path: "route[].accept.headers",
        kind: PASSED,
        fallback: Fallback::Nothing("[\"User-Agent\", \"Accept-Language\"]"),
        help: "Header fields of the request that the worker gets, as headers by these names.",
        doc: "One, or a list. `Cookie` and `Authorization` have to be named like any other. 8 KiB in all: a field that does not fit is left out.",
    },
    Row {
        path: "route[].accept.user",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ header = \"X-User\", unverified = true }"),
        help: "The part of the request that names the user; each user has a separate set of Idempotency-Keys.",
        doc: "The gateway trusts this name: make sure that only a component that has checked the user sets it. \
              Exactly one of `header` and `query` is set. A request without a name gets 401.",
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
        path: "route[].accept.user.unverified",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Says that it is known: nothing here proves that name.",
        doc: "Without it, `tidegate check` warns. `route.auth` proves a user instead.",
    },
    Row {
        path: "route[].respond",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ body = \"ok\" }"),
        help: "Answers always the same: a page for health checks, a redirect.",
        doc: "To send everything to https: a route with `path = \"/*\"`, `scheme = \"http\"` and \
              `respond = { status = 308, headers = \"Location: https://{host}{uri}\" }`. Name the hosts in `host` or \
              `listener.hosts`, or the redirect follows whatever host a request names.",
    },
    Row {
        path: "route[].respond.status",
        kind: count(200, 599),
        fallback: Fallback::Whole(200),
        help: "The status.",
        doc: "",
    },
    Row {
        path: "route[].respond.body",
        kind: Kind::Text { expected: "a text without control characters but tabs and line ends", fits: form::is_body },
        fallback: Fallback::Text(""),
        help: "The body; without a Content-Type among `headers`, it is plain text.",
        doc: "",
    },
    Row {
        path: "route[].respond.headers",
        kind: Kind::Texts {
            expected: "a header field such as \"Location: https://{host}{uri}\", none about the connection or the body's length",
            fits: form::is_field,
        },
        fallback: Fallback::Nothing("[\"Cache-Control: no-store\"]"),
        help: "Header fields, each as `Name: value`; `{host}` and `{uri}` stand for those of the request.",
        doc: "One, or a list. `{host}` has no port; `{uri}` is the path and the query as they were sent.",
    },
];
