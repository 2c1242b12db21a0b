//! Bounds of upstreams and of the requests that they get.

use std::time::Duration;

use super::CONNECTION_BYTES_PLAIN;

/// Most upstreams, and most servers of one: a request looks at each of its servers, and a set of them is one word.
pub const UPSTREAMS_MAX: usize = 256;
pub const SERVERS_PER_UPSTREAM_MAX: usize = 64;
/// Longest name of an upstream: it is a label of metrics.
pub const UPSTREAM_NAME_BYTES_MAX: usize = 64;
/// Longest host name of a server (RFC 1035 section 2.3.4, as text).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Longest path of a unix socket (unix(7): 108 bytes with the NUL).
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// How often the name of a server is looked up (configurable as `upstream.resolve_s`): orchestrators announce a new address
/// for 5 to 30 s.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses of one name that are used; a resolver's answer in one datagram has about as many.
pub const ADDRESSES_PER_NAME_MAX: usize = 16;
/// Lookups that go on at once: each has a thread of its own for as long as the resolver takes, up to half a minute.
pub const LOOKUPS_AT_ONCE: usize = 8;
/// How long the start of the gateway waits until each name has been looked up once, and each key set fetched: as long as a
/// resolver takes that is well, and as a key server far away does. A service that does not answer keeps no other from being
/// served.
pub const LOOKUP_WAIT_AT_START: Duration = Duration::from_secs(2);
pub const KEYS_WAIT_AT_START: Duration = Duration::from_secs(5);
/// How often a server is probed, and how long it may take (configurable as `upstream.health.interval_s` and `timeout_s`):
/// HAProxy probes every 2 s, Kubernetes every 10 s.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Probes in a row that make a server up, or down (configurable as `upstream.health.rise` and `fall`), as in HAProxy.
pub const HEALTH_RISE: u32 = 2;
pub const HEALTH_FALL: u32 = 3;
/// The statuses of a server that is well (configurable as `upstream.health.status`): a redirection is an answer.
pub const HEALTH_STATUS_MIN: u16 = 200;
pub const HEALTH_STATUS_MAX: u16 = 399;
/// Probes that go on at once: each is a socket.
pub const PROBES_AT_ONCE: usize = 64;
/// News about servers that wait for room in the shards' mailboxes; the tasks that have more wait.
pub const OUTBOUND_NEWS_MAX: usize = 64;
/// Memory for the watch over one server: its tasks, its addresses, and their probes.
pub const WATCHED_SERVER_BYTES: u64 = 16 * 1024;
/// How long a connection to a server may take (configurable as `upstream.connect_timeout_ms`): the kernel repeats a lost
/// SYN after a second.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection to a server is kept without a request (configurable as `upstream.keep_alive_s`): Node closes its
/// own after 5 s, and a request that crosses the close fails.
pub const UPSTREAM_KEEP_ALIVE: Duration = Duration::from_secs(4);
/// This much less than a server announces (`Keep-Alive: timeout=5`), for the same reason.
pub const UPSTREAM_KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// Such connections that a shard keeps for each server (configurable as `upstream.idle_max`): as many requests as a core
/// has at the same time in a server that answers 50,000 of them a second within 10 ms. With fewer, clients in step with
/// each other open and close a connection for nearly each request, which costs twice as much; more than were busy within
/// the time for which they are kept are never there.
pub const UPSTREAM_IDLE_MAX: usize = 512;
/// What each of them costs: its socket, its slot, and its state here.
pub const UPSTREAM_IDLE_BYTES: u64 = CONNECTION_BYTES_PLAIN;
/// Memory that TLS to a server adds: the connection stays in rustls, with its keys, the server's chain of certificates and the buffers of
/// TLS messages.
pub const UPSTREAM_TLS_BYTES: u64 = 12 * 1024;
/// Requests on one connection to a server. Some servers close theirs after as many (nginx, `keepalive_requests`).
pub const UPSTREAM_SERVED_MAX: u32 = 1_000;
/// A request that cannot be repeated gets a connection that was used within this time, or a new one: the server has hardly begun
/// to close it.
pub const UPSTREAM_FRESH: Duration = Duration::from_secs(1);
/// Requests that wait for a server (configurable as `upstream.queue_max`), and how long (`upstream.queue_wait_ms`): what
/// waits longer is better sent to another gateway, or not at all.
pub const UPSTREAM_QUEUE_MAX: usize = 1_024;
pub const UPSTREAM_QUEUE_WAIT: Duration = Duration::from_secs(1);
/// What a request that waits costs, besides its connection: an entry of the queue.
pub const UPSTREAM_WAITING_BYTES: u64 = 128;
/// Failures in a row after which a server is left out (configurable as `upstream.fails_max`), and for how long
/// (`upstream.eject_s`): longer than the restart of most services. Twice as long each time, up to five minutes.
pub const UPSTREAM_FAILS_MAX: u32 = 3;
pub const UPSTREAM_EJECT: Duration = Duration::from_secs(10);
pub const UPSTREAM_EJECT_MAX: Duration = Duration::from_secs(300);
/// The time over which a server that has returned gets its full share (configurable as `upstream.slow_start_s`): its caches
/// are cold, and its code is not compiled yet.
pub const UPSTREAM_SLOW_START: Duration = Duration::from_secs(10);
/// The longest value of such a wait that the configuration takes.
pub const UPSTREAM_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// From the end of a request to the head of its answer (configurable as `route.proxy.response_timeout_s`), and between two
/// pieces of the answer (`idle_timeout_s`): nginx's and HAProxy's usual minute.
pub const PROXY_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
pub const PROXY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for event streams and WebSockets (configurable as `route.proxy.stream_idle_s`): they are silent for minutes, and
/// proxies that end them after one are a standing complaint.
pub const PROXY_STREAM_IDLE: Duration = Duration::from_secs(3_600);
/// Further servers that a request is offered (configurable as `route.proxy.retries`), if none has received a byte of it.
pub const PROXY_RETRIES: u32 = 1;
/// Longest head of an upstream's answer: larger than a request's, because a login may set several cookies of 4 KiB each.
pub const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields of an upstream's answer; httparse fills a fixed array of 8 KiB on the stack.
pub const ANSWER_FIELDS_MAX: usize = 256;
/// A body that is passed on to an upstream may take any time, but not come more slowly than this, over each `body_timeout`: no
/// memory depends on it, a connection of the upstream does.
pub const PROXIED_BYTES_PER_SECOND_MIN: u64 = 500;
/// Answers of an upstream before the final one; a page has one or two early hints.
pub const INTERIM_ANSWERS_MAX: u8 = 8;

/// Silence on a connection of a proxied WebSocket after which the kernel asks the peer for a sign of life, how often, and how many
/// questions may stay unanswered: a peer that has vanished is known after two minutes. The gateway sends no pings of its own there.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub const KEEP_ALIVE_PROBES: u32 = 3;
