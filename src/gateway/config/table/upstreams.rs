//! Keys of `[[upstream]]` and of `route.proxy`: the servers behind the gateway, and what of a route goes to them.

use super::super::form;
use super::{FILE, Fallback, Kind, Row, bytes, count, count_of};
use crate::limits;

const COOKIE: Kind = Kind::Text { expected: "the name of a cookie", fits: form::is_http_token };
/// A wait, in whole seconds.
const SECONDS: Kind = Kind::Whole { min: 1, max: limits::UPSTREAM_WAIT_MAX.as_secs(), unit: "seconds" };
const MILLISECONDS: Kind =
    Kind::Whole { min: 1, max: limits::UPSTREAM_WAIT_MAX.as_millis() as u64, unit: "milliseconds" };
const DAY: Kind = Kind::Whole { min: 1, max: 86_400, unit: "seconds" };

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "upstream",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "A group of servers that do the same; routes give requests to it by `proxy`.",
        doc: "A route may also name a single server by its URL, without an `[[upstream]]`.",
    },
    Row {
        path: "upstream[].name",
        kind: Kind::Text { expected: "a name of letters, digits, \"-\" and \"_\"", fits: form::is_upstream_name },
        fallback: Fallback::Required("\"app\""),
        help: "The name by which routes and metrics know it.",
        doc: "",
    },
    Row {
        path: "upstream[].servers",
        kind: Kind::Texts {
            expected: "an address or a name with its port, such as \"10.0.0.7:3000\" or \"app.internal:3000\", or \"unix:/run/app.sock\"",
            fits: form::is_server,
        },
        fallback: Fallback::Required("[\"app.internal:3000\", \"unix:/run/app.sock\"]"),
        help: "The servers.",
        doc: "One, or a list. They speak HTTP/1.1 or HTTP/1.0. The texts are labels of metrics, and hashes and \
              sticky cookies are made of them: the same server in another spelling is another one. A name is one server, however many \
              addresses it has: each new connection goes to the next of them, and one that cannot be reached is passed over for `eject_s`. \
              If sticky clients should stay at one address, list the addresses.",
    },
    Row {
        path: "upstream[].resolve_s",
        kind: SECONDS,
        fallback: Fallback::Whole(limits::RESOLVE_INTERVAL.as_secs()),
        help: "How often the names of servers are looked up.",
        doc: "As the system does it: `/etc/hosts`, then DNS. New connections go to the new addresses at once; requests in flight \
              finish where they are, and kept connections to an address that has gone are closed. If a lookup fails, the last addresses \
              stay. A name that has never been found has no server: 503, with the reason `no_upstream`.",
    },
    Row {
        path: "upstream[].tls",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ ca = \"ca.pem\" }"),
        help: "Speaks TLS with the servers: 1.3, or 1.2.",
        doc: "Without any of its keys (`tls = {}`) a server needs a certificate of an authority that the system trusts, for its own name or \
              address. A server whose certificate is not valid gets no request: 502, with the reason `upstream_refused`, and a line of the log \
              says why. A route with a URL has it for `https://`.",
    },
    Row {
        path: "upstream[].tls.name",
        kind: Kind::Text { expected: "a host name or an address such as \"app.internal\"", fits: form::is_host },
        fallback: Fallback::Nothing("\"app.internal\""),
        help: "The name that the servers' certificates are for; it is sent to them (SNI).",
        doc: "Without it, each server's own name or address. A unix socket has none.",
    },
    Row {
        path: "upstream[].tls.ca",
        kind: FILE,
        fallback: Fallback::Nothing("\"ca.pem\""),
        help: "PEM file of the authorities that are trusted, instead of those of the system.",
        doc: "Relative paths begin at the configuration file's folder.",
    },
    Row {
        path: "upstream[].tls.certificate",
        kind: FILE,
        fallback: Fallback::Nothing("\"gateway.pem\""),
        help: "PEM file of the certificate, and its chain, that a server gets which asks for one.",
        doc: "",
    },
    Row {
        path: "upstream[].tls.key",
        kind: FILE,
        fallback: Fallback::Nothing("\"gateway.key\""),
        help: "PEM file with that certificate's private key.",
        doc: "",
    },
    Row {
        path: "upstream[].health",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ path = \"/health\" }"),
        help: "Asks each server again and again whether it is well, and leaves it out while it is not.",
        doc: "`GET` with `Host: ` and the server's text, without the request of a client, once for the whole process. Of a name, each address is \
              asked, and those that fail are left out. If all servers are left out, they are tried in spite of it.",
    },
    Row {
        path: "upstream[].health.path",
        kind: Kind::Text { expected: "a path such as \"/health\"", fits: form::is_request_path },
        fallback: Fallback::Required("\"/health\""),
        help: "The path that is asked for, with a query if there is one.",
        doc: "",
    },
    Row {
        path: "upstream[].health.interval_s",
        kind: SECONDS,
        fallback: Fallback::Whole(limits::HEALTH_INTERVAL.as_secs()),
        help: "The time between two probes of a server.",
        doc: "",
    },
    Row {
        path: "upstream[].health.timeout_s",
        kind: SECONDS,
        fallback: Fallback::Whole(limits::HEALTH_TIMEOUT.as_secs()),
        help: "How long a probe may take, from the connection to the head of the answer.",
        doc: "At most `interval_s`; where that is less than the default, it is the default.",
    },
    Row {
        path: "upstream[].health.rise",
        kind: count(1, 100),
        fallback: Fallback::Whole(limits::HEALTH_RISE as u64),
        help: "Good answers in a row after which a server that is down gets requests again.",
        doc: "At first few, as `slow_start_s` says.",
    },
    Row {
        path: "upstream[].health.fall",
        kind: count(1, 100),
        fallback: Fallback::Whole(limits::HEALTH_FALL as u64),
        help: "Failed probes in a row after which a server is down.",
        doc: "A server is up until it has failed as often, from the start of the gateway on.",
    },
    Row {
        path: "upstream[].health.status",
        kind: Kind::Text {
            expected: "a status such as \"200\", or a range such as \"200-399\"",
            fits: form::is_statuses,
        },
        fallback: Fallback::Text("200-399"),
        help: "The statuses of a good answer.",
        doc: "",
    },
    Row {
        path: "upstream[].balance",
        kind: Kind::Choice(&["least", "hash"]),
        fallback: Fallback::Text("least"),
        help: "What chooses the server of a request.",
        doc: "`least` draws two servers and takes the one that has fewer requests of this shard. `hash` gives all requests in \
              which the part that `hash` names is equal to the same server, as all gateways with the same servers do. If a server is \
              left out, its part of the hashes is divided among the others, and comes back with it.",
    },
    Row {
        path: "upstream[].hash",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ cookie = \"sid\" }"),
        help: "The part of a request that chooses its server, with `balance = \"hash\"`.",
        doc: "Exactly one of its keys is set. A request without that part is given to the least busy server.",
    },
    Row {
        path: "upstream[].hash.cookie",
        kind: COOKIE,
        fallback: Fallback::Nothing("\"sid\""),
        help: "The value of this cookie.",
        doc: "",
    },
    Row {
        path: "upstream[].hash.header",
        kind: Kind::Text { expected: "the name of a header field", fits: form::is_http_token },
        fallback: Fallback::Nothing("\"X-Tenant\""),
        help: "The value of this header field.",
        doc: "",
    },
    Row {
        path: "upstream[].hash.query",
        kind: super::routes::QUERY_NAME,
        fallback: Fallback::Nothing("\"room\""),
        help: "The value of this parameter of the query.",
        doc: "",
    },
    Row {
        path: "upstream[].hash.parameter",
        kind: Kind::Text { expected: "the name of a parameter of the path", fits: form::is_name },
        fallback: Fallback::Nothing("\"room\""),
        help: "The value of this parameter of the route's path.",
        doc: "Each route of the upstream must have it.",
    },
    Row {
        path: "upstream[].hash.by",
        kind: Kind::Choice(&["address"]),
        fallback: Fallback::Nothing("\"address\""),
        help: "The client's address.",
        doc: "Behind a proxy that `[trust]` does not name, that is the proxy's.",
    },
    Row {
        path: "upstream[].sticky",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ cookie = \"tg_app\" }"),
        help: "Keeps the requests and WebSockets of one browser at one server.",
        doc: "",
    },
    Row {
        path: "upstream[].sticky.cookie",
        kind: COOKIE,
        fallback: Fallback::Required("\"tg_app\""),
        help: "The gateway's own cookie, which names the server of its client.",
        doc: "`HttpOnly; SameSite=Lax; Path=/`, and `Secure` over TLS. Its value is a digest of the upstream's name and the server's text: \
              all gateways with the same configuration know it, and none remembers anything. If the server is left out, the client gets \
              another one, and its cookie.",
    },
    Row {
        path: "upstream[].connect_timeout_ms",
        kind: MILLISECONDS,
        fallback: Fallback::Whole(limits::CONNECT_TIMEOUT.as_millis() as u64),
        help: "How long a connection to a server may take; then another server is tried.",
        doc: "",
    },
    Row {
        path: "upstream[].keep_alive_s",
        kind: SECONDS,
        fallback: Fallback::Whole(limits::UPSTREAM_KEEP_ALIVE.as_secs()),
        help: "How long a connection to a server is kept without a request.",
        doc: "It must be shorter than the server's own (Node: 5 s): a request that meets the server's close is repeated where \
              its method allows that, and fails otherwise. A server that announces `Keep-Alive: timeout=n` is given a second less.",
    },
    Row {
        path: "upstream[].idle_max",
        kind: count(0, 65_536),
        fallback: Fallback::Whole(limits::UPSTREAM_IDLE_MAX as u64),
        help: "Most connections without a request that each shard keeps for each server.",
        doc: "Never more than the shard's part of `in_flight_max`, nor than had requests within the last `keep_alive_s`. A number below \
              that of the requests at once makes connections come and go with the requests, which costs as much again as the requests.",
    },
    Row {
        path: "upstream[].in_flight_max",
        kind: count(1, 1_000_000),
        fallback: Fallback::Nothing("500"),
        help: "Most requests that one server has at once; further ones wait.",
        doc: "Each shard has an equal part of it, at least one. Without the key there is no bound besides \
              `limits.connections_max`. WebSockets count for as long as they are open.",
    },
    Row {
        path: "upstream[].queue_max",
        kind: count(0, 65_536),
        fallback: Fallback::Whole(limits::UPSTREAM_QUEUE_MAX as u64),
        help: "Most requests that wait for a server; further ones get 503.",
        doc: "Each shard has an equal part of it.",
    },
    Row {
        path: "upstream[].queue_wait_ms",
        kind: MILLISECONDS,
        fallback: Fallback::Whole(limits::UPSTREAM_QUEUE_WAIT.as_millis() as u64),
        help: "How long a request waits for a server; then it gets 503.",
        doc: "",
    },
    Row {
        path: "upstream[].fails_max",
        kind: count(1, 1_000),
        fallback: Fallback::Whole(limits::UPSTREAM_FAILS_MAX as u64),
        help: "After this number of failures in a row, a server is left out for a while.",
        doc: "A failure is a connection that is refused, broken or too late, and an answer that does not come in time or is none. A \
              status such as 500 is an answer. If all servers are left out, they are tried in spite of it.",
    },
    Row {
        path: "upstream[].eject_s",
        kind: SECONDS,
        fallback: Fallback::Whole(limits::UPSTREAM_EJECT.as_secs()),
        help: "How long such a server is left out; twice as long each time it fails again, up to 300 s.",
        doc: "",
    },
    Row {
        path: "upstream[].slow_start_s",
        kind: count_of("seconds", 0, limits::UPSTREAM_WAIT_MAX.as_secs()),
        fallback: Fallback::Whole(limits::UPSTREAM_SLOW_START.as_secs()),
        help: "How long a server that has returned gets fewer requests than others; 0: not at all.",
        doc: "Its part grows evenly, from a tenth. Requests with a hash or a sticky cookie come back at once.",
    },
    Row {
        path: "upstream[].source",
        kind: Kind::Texts { expected: "an IP address of this machine", fits: form::is_ip },
        fallback: Fallback::Nothing("[\"10.0.0.2\", \"10.0.0.3\"]"),
        help: "The addresses from which connections to the servers are made, in turn.",
        doc: "One, or a list. From one address, about 28,000 connections can be open to one server (net.ipv4.ip_local_port_range). \
              Without the key, the kernel chooses.",
    },
];

/// They follow those of `[[route]]`.
pub(super) const OF_ROUTES: &[Row] = &[
    Row {
        path: "route[].proxy",
        kind: Kind::TableOr { expected: "a name of an [[upstream]] or a URL", fits: form::is_text },
        fallback: Fallback::Nothing("\"http://127.0.0.1:3000\""),
        help: "Gives requests to the servers of an upstream, and their answers to the clients.",
        doc: "`proxy = \"app\"` is short for `proxy = { upstream = \"app\" }`. Without `method`, the route takes every method but CONNECT \
              and TRACE. Pages of other origins are refused only if `origins` is set, and then the gateway answers their preflights; \
              otherwise the service decides. A WebSocket is always checked.",
    },
    Row {
        path: "route[].proxy.upstream",
        kind: Kind::Text {
            expected: "the name of an [[upstream]], or a URL such as \"http://127.0.0.1:3000\" or \"unix:/run/app.sock\"",
            fits: form::is_text,
        },
        fallback: Fallback::Required("\"app\""),
        help: "The name of an `[[upstream]]`, or a URL for a single server with the defaults of one.",
        doc: "",
    },
    Row {
        path: "route[].proxy.strip",
        kind: Kind::Text { expected: "a beginning of the path such as \"/api\"", fits: form::is_strip },
        fallback: Fallback::Nothing("\"/api\""),
        help: "The beginning of the path that the servers do not get.",
        doc: "Whole segments of the route's path without parameters: with `path = \"/api/*\"` and `strip = \"/api\"`, `/api/users` becomes \
              `/users`, and `/api` becomes `/`.",
    },
    Row {
        path: "route[].proxy.host",
        kind: Kind::Text {
            expected: "\"client\", \"upstream\", or a host such as \"app.internal\"",
            fits: form::is_proxy_host,
        },
        fallback: Fallback::Text("client"),
        help: "The `Host` that the servers get: the client's, the server's own, or this one.",
        doc: "With `upstream` it is the server's text. The client's is in `X-Forwarded-Host` in any case.",
    },
    Row {
        path: "route[].proxy.body_bytes_max",
        kind: bytes(0, u64::MAX >> 12),
        fallback: Fallback::Nothing("10_000_000"),
        help: "Longest body of a request; a longer one gets 413.",
        doc: "Bodies pass through without being kept, so no memory depends on it. Without the key there is no bound.",
    },
    Row {
        path: "route[].proxy.response_timeout_s",
        kind: DAY,
        fallback: Fallback::Whole(limits::PROXY_RESPONSE_TIMEOUT.as_secs()),
        help: "How long a server may take from the end of the request to the head of its answer; then 504.",
        doc: "",
    },
    Row {
        path: "route[].proxy.idle_timeout_s",
        kind: DAY,
        fallback: Fallback::Whole(limits::PROXY_IDLE_TIMEOUT.as_secs()),
        help: "How long an answer may pause between two pieces; then the connection is cut.",
        doc: "",
    },
    Row {
        path: "route[].proxy.stream_idle_s",
        kind: DAY,
        fallback: Fallback::Whole(limits::PROXY_STREAM_IDLE.as_secs()),
        help: "The same for an event stream, and how long both ends of a WebSocket may be silent.",
        doc: "",
    },
    Row {
        path: "route[].proxy.websocket",
        kind: Kind::Switch,
        fallback: Fallback::Switch(true),
        help: "Whether clients may open WebSockets that a server serves.",
        doc: "Frames pass in both directions as they came, extensions included. Before that, the gateway checks the client's handshake and \
              the server's answer (RFC 6455 section 4), and the page's origin (`origins`). In a drain both ends get a Close. With `false` \
              the server gets such a request as a plain one; other protocols than WebSocket are never upgraded.",
    },
    Row {
        path: "route[].proxy.retries",
        kind: count(0, 10),
        fallback: Fallback::Whole(limits::PROXY_RETRIES as u64),
        help: "How many further servers are tried if one cannot be reached.",
        doc: "A request of which a server has received a part is repeated only if its method may be (RFC 9110 section 9.2.2) and a connection \
              that had been kept ended before the answer: once, whatever this says.",
    },
    Row {
        path: "route[].proxy.encoded_slashes",
        kind: Kind::Switch,
        fallback: Fallback::Switch(false),
        help: "Whether a path may have an encoded slash (`%2F`); otherwise such a request gets 400.",
        doc: "Services disagree about what it means, so a path could pass by what protects another one.",
    },
    Row {
        path: "route[].proxy.header_names",
        kind: Kind::Choice(&["strict", "lenient"]),
        fallback: Fallback::Text("strict"),
        help: "Whether fields of a request go on whose names have other signs than letters, digits and `-`.",
        doc: "CGI, WSGI and PHP read `X_User` and `X.User` as `X-User`, so a client could set what an auth or the gateway says. `\"lenient\"` \
              passes such fields, except those that would be read as one of the gateway's own, of the connection, or of an `[[auth]]`. \
              What is left out is counted: `tidegate_proxied_fields_left_out_total`.",
    },
    Row {
        path: "route[].proxy.event_stream_errors",
        kind: Kind::Choice(&["retry", "status"]),
        fallback: Fallback::Text("retry"),
        help: "What a request for an event stream gets without an answer of a server: a time to come back, or the status.",
        doc: "With `\"retry\"` a GET that accepts `text/event-stream` gets an empty stream with `retry:` instead of the gateway's own 502, 503 or \
              504, because an EventSource gives up for ever after any status but 200 (the WHATWG HTML standard). `\"status\"` is for clients \
              that see to that themselves, and for monitors. A server's own status is never changed.",
    },
];
