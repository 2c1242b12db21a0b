//! The configuration: the operator's settings, as plain data.
//!
//! ```text
//!  tidegate.toml --> tree --.
//!                           |--> one tree --> check every value --> build --> Config
//!  TIDEGATE_...  --> tree --'                      ^
//!                                                  |
//!                    TABLE of keys ----------------+--> tidegate config, docs/configuration.md, suggestions
//! ```
//!
//! A mistake is refused with its place and the accepted values; all mistakes are reported at once. Parsing opens no
//! file but the configuration. [`Listener::tls_config`] and [`TokenKey::verifier`] open the files that they name.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

mod access_log;
pub(super) mod address;
mod admin;
mod auth;
mod build;
mod certificates;
mod client_limits;
mod deciders;
mod environment;
mod error;
mod form;
mod links;
mod render;
mod table;
mod tree;
mod trust;
mod validate;

pub use crate::base::Remote;
pub use crate::conn::admin::Scope;
pub use crate::conn::site::Scheme;
pub use crate::proto::access::LineFormat;
pub use crate::proto::channel::{Delivery, Keep, Queue, Rule};
pub use crate::proto::permission::{PermissionText, Right};
pub use crate::proto::upstream::{
    Balance, HashedPart, HealthRule, ServerAddress, ServerMark, ServerName, UpstreamRule, UpstreamServer, UpstreamTls,
};
pub use access_log::{AccessLog, LogTarget};
pub use admin::{Admin, ApiSecret, ApiToken};
pub use auth::{
    AuthKey, CertificateRules, ClientAuth, ClientProof, ForwardRules, ForwardTo, PublishedKeySet, TokenRules,
};
pub use client_limits::{ClientLimit, Frequency, LimitedBy};
pub use deciders::{DeciderBy, DeciderRules, DeciderUrl};
pub use error::{Error, Errors, Place};
pub use render::{annotated, markdown};
pub use table::{Fallback, Kind, Row, TABLE};
pub use trust::{Trusted, TrustedHeader};

/// The file that is read if none is named.
pub const FILE_DEFAULT: &str = "tidegate.toml";

/// Every setting of the operator. [`Config::default`] has every default, and no listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Listeners for clients, in the order of the file. Empty only in [`Config::default`].
    pub listeners: Vec<Listener>,
    /// What all TLS listeners have in common.
    pub tls: TlsOptions,
    /// The proxies that are believed about the clients before them.
    pub trust: Trusted,
    /// The listener for workers; `None` if there is no bus. In-process workers need none.
    pub bus: Option<Bus>,
    /// The listener for operators and publishers; `None` if there is none.
    pub admin: Option<Admin>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    /// Each `[[auth]]`.
    pub auths: Vec<ClientAuth>,
    /// Each `[[permission]]`: what clients may do with channels.
    pub permissions: Vec<PermissionText>,
    /// The parts of the application that permissions ask, by id.
    pub deciders: Vec<DeciderRules>,
    /// Groups of servers that routes give requests to: those of the file, then those that routes name by a URL.
    pub upstreams: Vec<UpstreamRule>,
    /// The first that matches wins.
    pub channels: Vec<Channel>,
    /// The log of clients' requests; `None`: there is none.
    pub access_log: Option<AccessLog>,
    /// How [`Gateway::stop`](super::Gateway::stop) drains.
    pub drain: Drain,
    /// The bounds of connections, messages and waits.
    pub limits: Limits,
    /// What one address, network, user or route may use; all that apply hold.
    pub client_limits: Vec<ClientLimit>,
    /// Number of shards; 0 means one for each core, or more if `limits.connections_max` needs their descriptors.
    pub shards: usize,
    /// Whether each shard is pinned to a core of its own.
    pub pin: Pin,
    /// The kernel's interface for I/O.
    pub driver: DriverChoice,
    /// The least important lines that the program logs. A program that embeds the gateway may apply it to its own
    /// logger.
    pub log: LevelFilter,
    /// Variables of the environment that look like keys and belong to another service.
    pub links: Vec<String>,
    /// Legal settings that are probably mistakes: one line each, with its place.
    pub doubts: Vec<String>,
}

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The address to listen on. Port 0 takes a free port, which [`Gateway::listening`](super::Gateway::listening)
    /// returns. `[::]` takes IPv6 only.
    pub address: SocketAddr,
    /// Never empty if set. The first certificate is for clients that name no host or an unknown one.
    pub tls: Option<Vec<CertificateFiles>>,
    /// Clients show certificates; only with `tls`.
    pub clients: Option<ClientFiles>,
    /// The host names, besides `localhost`, that requests may name. Empty: any name.
    pub hosts: Vec<String>,
    /// Addresses and networks of load balancers that begin each connection with a PROXY header. Empty: there are none.
    pub proxy_protocol_from: Vec<String>,
}

/// PEM files, relative to the working directory of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The private key of the leaf: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
}

/// Which certificates of clients a listener takes. PEM files, relative to the working directory of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that have signed them.
    pub ca: PathBuf,
    /// Lists of those that are revoked.
    pub crl: Option<PathBuf>,
    /// Whether a client without one is refused in the handshake.
    pub is_required: bool,
}

/// What all TLS listeners have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The keys of session tickets, one a line; `None`: each process draws its own.
    pub ticket_keys_file: Option<PathBuf>,
    /// Whether a client that asks for a name without a certificate is refused, not served with the first one.
    pub refuses_unknown_names: bool,
    /// Whether clients of TLS 1.2 without the extended master secret (RFC 7627) are refused.
    pub requires_ems: bool,
}

/// The listener for workers with a NATS client.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// The address to listen on; port 0 takes a free port.
    pub address: SocketAddr,
    /// `None` only on loopback.
    pub credentials: Option<Credentials>,
}

/// The credentials that a worker must send in CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Both must agree with `user` and `pass`.
    User {
        /// One line without control characters, never empty.
        user: String,
        /// Compared byte by byte, in a time that does not depend on the number of equal bytes.
        password: String,
    },
    /// Must agree with `auth_token`; compared in the same way.
    Token(String),
}

impl fmt::Debug for Credentials {
    /// Leaves out the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::User { user, .. } => write!(f, "User({user:?}, …)"),
            Credentials::Token(_) => f.write_str("Token(…)"),
        }
    }
}

/// The target of the requests for one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The hosts that requests name, each without a port; `*.` stands for one label. If there are none, any.
    pub hosts: Vec<String>,
    /// Whether requests come over TLS; `None`: both ways.
    pub scheme: Option<Scheme>,
    /// Begins with `/`; a segment may be a parameter: `/rooms/{room}`. Parameters have distinct names.
    pub path: String,
    /// Never empty, upper case.
    pub methods: Vec<String>,
    /// Origins that a page may come from; `*` stands for any.
    pub origins: Vec<String>,
    /// Names of header fields that a page of another origin may set, besides the usual ones.
    pub request_headers: Vec<String>,
    /// Names of [`ClientAuth`]s: the first for which a request has a token decides. Empty: a client needs none.
    pub auth: Vec<String>,
    /// The answer to such a request.
    pub target: Target,
}

/// The kind of answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Opens an event stream.
    Sse(SseTarget),
    /// Opens a WebSocket that carries the application's messages unchanged.
    WebSocket(WebSocketTarget),
    /// Opens a WebSocket whose clients speak Centrifugo's protocol.
    Centrifuge(CentrifugeTarget),
    /// Answers 202 and gives the request to a worker.
    Accept(AcceptTarget),
    /// Answers always the same.
    Respond(RespondTarget),
    /// Gives the request to a server behind the gateway.
    Proxy(Box<ProxyTarget>),
}

/// A server behind the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTarget {
    /// The name of one of [`Config::upstreams`].
    pub upstream: String,
    /// The beginning of the path that the servers do not get: whole segments of the route's path.
    pub strip: Option<String>,
    /// The `Host` that the servers get.
    pub host: ProxyHost,
    /// Longest body of a request; `None`: any.
    pub body_bytes_max: Option<u64>,
    /// From the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// Between two pieces of the answer …
    pub idle_timeout: Duration,
    /// … and of an event stream.
    pub stream_idle: Duration,
    /// Further servers that are tried if one cannot be reached.
    pub retries: u8,
    /// Whether clients may open WebSockets that a server serves.
    pub has_websockets: bool,
    /// Whether a path may have an encoded slash.
    pub has_encoded_slashes: bool,
    /// Whether header fields go on whose names have other signs than letters, digits and `-`.
    pub takes_any_name: bool,
    /// Whether an EventSource without a server is told when to come back, instead of getting the status.
    pub calls_events_back: bool,
}

/// The `Host` of requests to servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHost {
    /// The client's.
    Client,
    /// That of the server.
    Upstream,
    /// This one.
    Named(String),
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondTarget {
    /// 200 to 599; a redirect has a `Location` among its `headers`.
    pub status: u16,
    /// Empty with 204 and 304.
    pub body: String,
    /// `Name: value`, in which `{host}` and `{uri}` stand for those of the request. If there is a body, one is `Content-Type`.
    pub headers: Vec<String>,
}

/// An event stream over one or more channels.
#[derive(Clone, Debug, PartialEq)]
pub struct SseTarget {
    /// At least one: subjects in which `{parameter}` stands for one of the path's; without wildcards, never reserved.
    pub channels: Vec<String>,
    /// The reconnection time that the stream advises.
    pub retry: Duration,
}

/// At least one of `channel`, `service` and `user` is set.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocketTarget {
    /// Subscribed on opening; a template as in [`SseTarget::channels`].
    pub channel: Option<String>,
    /// Takes the clients' messages; one token of a subject.
    pub service: Option<String>,
    /// Whether clients may send to `channel`.
    pub publish: bool,
    /// The part of the request that names its user; a request without a name gets 401. `None` if connections of the
    /// route have no user.
    pub user: Option<UserSource>,
    /// Whether clients can answer questions and acknowledge messages.
    pub control: bool,
    /// The first of these that a client offers is chosen.
    pub subprotocols: Vec<String>,
    /// Header fields of the handshake that workers of `service` get.
    pub headers: Vec<String>,
}

/// A WebSocket whose clients speak Centrifugo's protocol. At least one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CentrifugeTarget {
    /// Takes the clients' calls and messages; one token of a subject.
    pub service: Option<String>,
    /// The part of the request that names its user; a request without a name gets 401. `None` if only a token can name
    /// one.
    pub user: Option<UserSource>,
    /// The key of the tokens that clients must present; `None` if they connect without one.
    pub token: Option<TokenKey>,
    /// Instead of `token`: the name of the [`ClientAuth`] that takes them.
    pub token_auth: Option<String>,
    /// Patterns of channels that clients may subscribe to.
    pub channels: Vec<String>,
    /// Patterns of channels that clients may publish to.
    pub publish_to: Vec<String>,
    /// Subscribed on connecting; templates as in [`SseTarget::channels`].
    pub server_side: Vec<String>,
}

/// The key that verifies tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenKey {
    /// HS256.
    Hmac(String),
    /// RS256, by a file with the public key.
    Rsa(PathBuf),
    /// ES256, in the same way.
    Ecdsa(PathBuf),
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenKey::Hmac(_) => f.write_str("Hmac(..)"),
            TokenKey::Rsa(file) => write!(f, "Rsa({file:?})"),
            TokenKey::Ecdsa(file) => write!(f, "Ecdsa({file:?})"),
        }
    }
}

/// A request that is answered before its work is done.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptTarget {
    /// One token of a subject.
    pub service: String,
    /// A template as in [`SseTarget::channels`], with `{id}`, and with `{user}` if there is one.
    pub channel: String,
    /// The name of the event that carries the result: one line, not empty; below `tg.` only `tg.result`.
    pub event: String,
    /// Time for the result, including the wait for a worker; after that the request expires.
    pub timeout: Duration,
    /// How long the result can be read, and its Idempotency-Key is remembered.
    pub keep: Duration,
    /// The part of the request that names its user; a request without a name gets 401. Each user has a separate set of
    /// Idempotency-Keys. `None` if all clients share one set.
    pub user: Option<UserSource>,
    /// Header fields of the request that workers get.
    pub headers: Vec<String>,
}

/// The part of a request that names its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSource {
    /// A header field of the request, by its name; case does not matter.
    Header(String),
    /// A parameter of the query, by its name; case matters.
    Query(String),
}

/// The settings of the channels whose names match.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// A pattern, never reserved.
    pub name: String,
    /// History, delivery and presence of such a channel.
    pub rule: Rule,
}

/// The settings of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long readiness fails before clients are disconnected.
    pub notice: Duration,
    /// The time over which clients are disconnected.
    pub spread: Duration,
}

/// The bounds that may be changed; `crate::limits` has their defaults and reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Longest WebSocket message of a client, all fragments together; a longer one disconnects the client with 1009.
    pub message_bytes_max: usize,
    /// Most fragments of one WebSocket message; more disconnect the client with 1009.
    pub fragments_max: u32,
    /// Commands that a client of `centrifuge-json` may send each second; a faster one is read more slowly.
    pub commands_per_second: u32,
    /// Longest message that a worker or the admin listener may publish, headers and payload together; also the longest
    /// body of a request.
    pub payload_bytes_max: usize,
    /// Most bytes that may wait for one client before it is disconnected as too slow; at least twice
    /// `message_bytes_max`.
    pub outbox_bytes_max: usize,
    /// Most bytes of messages that histories keep, of all shards together; 0 keeps none.
    pub history_bytes_max: usize,
    /// Most bytes of accepted requests and their results, of all shards together.
    pub accepted_bytes_max: usize,
    /// Most bytes of messages that wait for a client's acknowledgement, of all shards together; 0 accepts no message with `Tg-Ack`.
    pub unacked_bytes_max: usize,
    /// Most bytes of clients that wait for the rest of a body, a message, a head or a record, of all shards together.
    pub arriving_bytes_max: usize,
    /// The same for unfinished TLS handshakes.
    pub handshaking_bytes_max: usize,
    /// Most memory for what waits for clients, of all shards together.
    pub waiting_bytes_max: usize,
    /// Most connections of the whole process. `None` if the configuration does not set it: then [`crate::limits::CONNECTIONS_MAX`] holds.
    pub connections_max: Option<usize>,
    /// Addresses, networks, users and routes of which [`Config::client_limits`] keeps account at the same time.
    pub tallies_max: usize,
    /// Silence of a WebSocket client after which it is pinged.
    pub ping_interval: Duration,
    /// How long the head of a request may take; a slower one gets 408.
    pub head_timeout: Duration,
    /// How long the body of a request may take, after its head; a slower one gets 408.
    pub body_timeout: Duration,
    /// How long a WebSocket message may take from its first bytes to its last.
    pub message_timeout: Duration,
    /// How long a connection may stay open between two requests.
    pub keep_alive_timeout: Duration,
    /// How long a TLS handshake may take once its turn has come.
    pub handshake_timeout: Duration,
    /// How long a TLS handshake may wait for its turn; after that it is refused, and no work was done for it.
    pub handshake_wait: Duration,
    /// Most TLS handshakes of one shard that wait for their turn; at least 1. Further ones are refused.
    pub handshakes_waiting_max: usize,
    /// Silence of an event stream after which a comment is sent on it.
    pub sse_heartbeat: Duration,
    /// How long a send may make no progress before the client is disconnected as too slow.
    pub send_timeout: Duration,
    /// How long sent bytes may stay unacknowledged by the peer's TCP before the connection has failed
    /// (TCP_USER_TIMEOUT, in whole milliseconds); longer than `send_timeout`.
    pub peer_timeout: Duration,
}

impl Limits {
    /// The part of one of `shards`. A body or a message of full length always fits beside another one, however many shards
    /// there are.
    pub fn arriving_bytes_of_shard(&self, shards: usize) -> usize {
        let longest = self.payload_bytes_max.max(self.message_bytes_max);
        (self.arriving_bytes_max / shards).max(2 * longest)
    }

    /// The same for handshakes, of which as many as one turn advances always fit.
    pub fn handshaking_bytes_of_shard(&self, shards: usize) -> usize {
        let least = crate::limits::HANDSHAKES_PER_TURN * crate::limits::HANDSHAKE_BYTES_MAX;
        (self.handshaking_bytes_max / shards).max(least)
    }

    /// The most memory for messages that clients have not acknowledged, and its formula.
    pub fn resent_bytes_at_most(&self, shards: usize) -> (u64, String) {
        let entries = (crate::limits::UNACKED_PER_SHARD_MAX * crate::limits::UNACKED_BYTES) as u64;
        let bytes = (self.unacked_bytes_max as u64).saturating_add(shards as u64 * entries);
        (bytes, format!("limits.unacked_bytes_max, and {shards} shards x {entries} bytes for their entries"))
    }

    /// The same for what waits, which always fits for a few clients.
    pub fn waiting_bytes_of_shard(&self, shards: usize) -> usize {
        (self.waiting_bytes_max / shards).max(4 * self.outbox_bytes_max)
    }
}

/// Whether each shard is pinned to a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// If it is known to help; see [`super::cores`].
    Auto,
    /// Always; if there are more shards than cores, shards share cores.
    Yes,
    /// Never: the kernel moves shards between cores.
    No,
}

/// The kernel's interface for I/O. [`Gateway::driver`](super::Gateway::driver) returns the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// The faster one that this kernel allows.
    Auto,
    /// Readiness by epoll(7), which every kernel has.
    Epoll,
    /// Completions by io_uring(7). On a kernel that does not allow it, the gateway uses epoll and logs the reason in
    /// one line.
    Uring,
}

impl Config {
    /// Reads `file`, then applies the variables. If `file` is `None`, [`FILE_DEFAULT`] is read if it exists.
    pub fn load(file: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, Errors> {
        let path = file.unwrap_or(Path::new(FILE_DEFAULT));
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(path, &text, variables),
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Config::parse(path, "", variables).map_err(|errors| errors.with(Error::absent()))
            }
            Err(error) => Err(Errors::new(path).with(Error::unreadable(&error))),
        }
    }

    /// Reads the text of `file`. Errors use its name, and relative paths begin at its folder.
    pub fn parse(
        file: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, Errors> {
        let mut errors = Errors::new(file);
        let mut root = match tree::parse(text) {
            Ok(root) => root,
            Err(error) => return Err(errors.with(error)),
        };
        let links = environment::apply(&mut root, variables, &mut errors);
        let broken = validate::validate(&root, &mut errors);
        let mut config = build::build(file.parent().unwrap_or(Path::new("")), &root, &broken, &mut errors);
        config.links = links;
        config.doubts = errors.take_doubts();
        errors.into_result(config)
    }
}

impl Default for Config {
    fn default() -> Config {
        let mut ignored = Errors::new(Path::new(FILE_DEFAULT));
        let root = tree::Table::default();
        build::build(Path::new(""), &root, &Default::default(), &mut ignored)
    }
}

/// The address of the bus if none is set.
pub const BUS_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4222);
/// The address of the admin listener if none is set.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
