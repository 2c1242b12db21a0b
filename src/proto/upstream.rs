//! Upstreams as configured: groups of servers that do the same, and what decides which of them gets a request.
//!
//! ```text
//!  [[upstream]] --> UpstreamRule: servers, bounds, waits         of all shards: `conn::settings`
//!  a request ----> Affinity: the server's mark, a hash           read by `conn`, obeyed by `hub::upstreams`
//! ```

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::base::{Remote, fnv1a};
use crate::limits;

/// Names an upstream of one configuration: its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u16);

/// Names a server of an upstream: its index there, below [`limits::SERVERS_PER_UPSTREAM_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    pub upstream: UpstreamId,
    pub server: u8,
}

/// An upstream as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamRule {
    /// Of a route that names a URL, the URL.
    pub name: Box<str>,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    /// The rule for requests without a mark.
    pub balance: Balance,
    /// The cookie in which a client keeps the mark of its server.
    pub sticky: Option<Box<str>>,
    pub connect_timeout: Duration,
    /// How long a connection is kept without a request.
    pub keep_alive: Duration,
    /// Connections without a request that one shard keeps for each server.
    pub idle_max: usize,
    /// Requests that one server has at once, from all shards together. `None`: any number.
    pub in_flight_max: Option<usize>,
    /// Requests that wait for a server, of all shards together.
    pub queue_max: usize,
    pub queue_wait: Duration,
    /// After so many failures in a row a server is left out for a while …
    pub fails_max: u32,
    /// … that doubles from time to time.
    pub eject: Duration,
    /// How long a server that has returned gets fewer requests than others.
    pub slow_start: Duration,
    /// How often the names of servers are looked up.
    pub resolve: Duration,
    /// How servers are asked whether they are well; `None`: they are not.
    pub health: Option<HealthRule>,
    /// `None`: they are spoken to without TLS.
    pub tls: Option<UpstreamTls>,
    /// The addresses from which connections are dialled, in turn. None: the kernel chooses.
    pub sources: Vec<IpAddr>,
}

/// How a server is asked whether it is well: `GET path`, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRule {
    /// With its query, as in a request.
    pub path: Box<str>,
    pub interval: Duration,
    /// From the connection to the head of the answer.
    pub timeout: Duration,
    /// Good answers in a row until a server that is down is up …
    pub rise: u32,
    /// … and failures in a row until one that is up is down.
    pub fall: u32,
    /// Of good answers.
    pub statuses: RangeInclusive<u16>,
}

impl HealthRule {
    /// With the defaults.
    pub fn new(path: &str) -> HealthRule {
        HealthRule {
            path: path.into(),
            interval: limits::HEALTH_INTERVAL,
            timeout: limits::HEALTH_TIMEOUT,
            rise: limits::HEALTH_RISE,
            fall: limits::HEALTH_FALL,
            statuses: limits::HEALTH_STATUS_MIN..=limits::HEALTH_STATUS_MAX,
        }
    }
}

/// TLS to the servers of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that their certificates are for; `None`: of each server, its own name or address.
    pub name: Option<Box<str>>,
    /// The file of the authorities that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The files of the certificate that a server gets which asks for one, and of its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// There, for ever.
    Fixed(Remote),
    /// At the addresses of a name, which is looked up again and again.
    Named(ServerName),
}

/// A host name and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// In lower case.
    pub host: Box<str>,
    pub port: u16,
}

impl From<Remote> for ServerAddress {
    fn from(remote: Remote) -> ServerAddress {
        ServerAddress::Fixed(remote)
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> ServerAddress {
        ServerAddress::Fixed(address.into())
    }
}

impl From<ServerName> for ServerAddress {
    fn from(name: ServerName) -> ServerAddress {
        ServerAddress::Named(name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    pub at: ServerAddress,
    /// As configured: the server's name in metrics, and what hashes and marks are made of.
    pub text: Box<str>,
    pub mark: ServerMark,
    /// A hash of `text`.
    pub seed: u64,
}

/// The rule that chooses a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with fewer requests in this shard, of two that are drawn.
    #[default]
    Least,
    /// The same for all requests in which this part is equal.
    Hash(HashedPart),
}

/// The part of a request whose hash chooses a server. A request without it is given to the least busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashedPart {
    Cookie(Box<str>),
    Header(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
    /// A parameter of the route's path.
    Parameter(Box<str>),
    /// The client's address.
    Address,
}

/// What a request says about the server that it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// From the sticky cookie.
    pub mark: Option<ServerMark>,
    /// Of the hashed part.
    pub hash: Option<u64>,
}

/// Names a server in the cookie of its clients: eight bytes of a digest of the upstream's name and the server's text. All
/// shards and nodes compute the same, so nothing is shared or remembered; a client learns no address from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMark(u64);

const MARK_DIGITS: usize = 16;

impl ServerMark {
    fn new(upstream: &str, server: &str) -> ServerMark {
        // Neither text has a NUL, so no two pairs are the same bytes.
        let text = [upstream, "\0", server].concat();
        let bytes = digest(&SHA256, text.as_bytes());
        ServerMark(bytes.as_ref().iter().take(MARK_DIGITS / 2).fold(0, |mark, byte| mark << 8 | u64::from(*byte)))
    }

    /// Reads the value of a cookie. A value that no server has is none: the client gets another one.
    pub fn parse(text: &str) -> Option<ServerMark> {
        let is_mark = text.len() == MARK_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| is_mark).map(ServerMark)
    }

    /// The value of the field `Set-Cookie` by which a client keeps the mark until its browser is closed. `is_secure`: the
    /// client came over TLS.
    pub fn set_cookie(self, name: &str, is_secure: bool) -> String {
        let mut text = format!("{name}={:0MARK_DIGITS$x}; Path=/; HttpOnly; SameSite=Lax", self.0);
        if is_secure {
            // Writing to a String cannot fail.
            let _ = text.write_str("; Secure");
        }
        text
    }
}

impl UpstreamServer {
    pub fn new(upstream: &str, text: &str, at: ServerAddress) -> UpstreamServer {
        UpstreamServer { at, text: text.into(), mark: ServerMark::new(upstream, text), seed: fnv1a(text.as_bytes()) }
    }
}

impl UpstreamServer {
    /// The `Host` by which requests name the server itself. A path names none.
    pub fn host(&self) -> &str {
        match self.at {
            ServerAddress::Fixed(Remote::Unix(_)) => "localhost",
            ServerAddress::Fixed(Remote::Tcp(_)) | ServerAddress::Named(_) => &self.text,
        }
    }

    /// The name that its certificate must have, unless the configuration says another one. A path has no name.
    pub fn certified_host(&self) -> Option<String> {
        match &self.at {
            ServerAddress::Fixed(Remote::Tcp(address)) => Some(address.ip().to_string()),
            ServerAddress::Fixed(Remote::Unix(_)) => None,
            ServerAddress::Named(name) => Some(name.host.to_string()),
        }
    }

    /// Whether its address has to be looked up.
    pub fn is_named(&self) -> bool {
        matches!(self.at, ServerAddress::Named(_))
    }
}

impl UpstreamRule {
    /// With the defaults, and without a server.
    pub fn new(name: &str) -> UpstreamRule {
        UpstreamRule {
            name: name.into(),
            servers: Vec::new(),
            balance: Balance::Least,
            sticky: None,
            connect_timeout: limits::CONNECT_TIMEOUT,
            keep_alive: limits::UPSTREAM_KEEP_ALIVE,
            idle_max: limits::UPSTREAM_IDLE_MAX,
            in_flight_max: None,
            queue_max: limits::UPSTREAM_QUEUE_MAX,
            queue_wait: limits::UPSTREAM_QUEUE_WAIT,
            fails_max: limits::UPSTREAM_FAILS_MAX,
            eject: limits::UPSTREAM_EJECT,
            slow_start: limits::UPSTREAM_SLOW_START,
            resolve: limits::RESOLVE_INTERVAL,
            health: None,
            tls: None,
            sources: Vec::new(),
        }
    }

    /// The requests that one of `shards` gives to a server at once; `None`: any number.
    pub fn in_flight_of_shard(&self, shards: usize) -> Option<usize> {
        self.in_flight_max.map(|all| (all / shards.max(1)).max(1))
    }

    /// The connections without a request that one of `shards` keeps to a server: no more than it can have requests there.
    pub fn idle_of_shard(&self, shards: usize) -> usize {
        self.in_flight_of_shard(shards).map_or(self.idle_max, |most| self.idle_max.min(most))
    }

    /// The memory of its idle connections and of its queue, of all shards.
    pub fn bytes_at_most(&self, shards: usize) -> u64 {
        let of_server = (self.idle_of_shard(shards) as u64).saturating_mul(shards as u64);
        let idle = (self.servers.len() as u64).saturating_mul(of_server);
        let waiting = (self.queue_max as u64).saturating_mul(limits::UPSTREAM_WAITING_BYTES);
        let tls = if self.tls.is_some() { limits::UPSTREAM_TLS_BYTES } else { 0 };
        idle.saturating_mul(limits::UPSTREAM_IDLE_BYTES + tls).saturating_add(waiting)
    }

    /// The address from which a connection to `to` is dialled: one of the sources of its family, by `draw`. `None`: the
    /// kernel chooses.
    pub fn source(&self, to: &Remote, draw: u64) -> Option<IpAddr> {
        let Remote::Tcp(to) = to else { return None };
        let fitting = || self.sources.iter().filter(|source| source.is_ipv4() == to.is_ipv4());
        let count = fitting().count() as u64;
        (count > 0).then(|| fitting().nth((draw % count) as usize).copied()).flatten()
    }

    /// The same with another server, which requests name by `text` and connections reach there.
    pub fn with(mut self, text: &str, at: impl Into<ServerAddress>) -> UpstreamRule {
        self.servers.push(UpstreamServer::new(&self.name, text, at.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_the_same_in_every_process() {
        // printf 'app\0%s' 10.0.0.7:3000 | sha256sum
        let mark = ServerMark::new("app", "10.0.0.7:3000");
        assert_eq!(mark.set_cookie("tg_app", false), "tg_app=8da4f3128507018c; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(mark.set_cookie("s", true), "s=8da4f3128507018c; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(ServerMark::parse("8da4f3128507018c"), Some(mark));
    }

    #[test]
    fn names_that_run_together_make_other_marks() {
        assert_ne!(ServerMark::new("app1", "0.0.0.1:1"), ServerMark::new("app", "10.0.0.1:1"));
    }

    #[test]
    fn a_cookie_that_is_no_mark_is_none() {
        for text in ["", "0", "g000000000000000", "+00000000000000a", "0000000000000000a", "ABCDEF0123456789"] {
            assert_eq!(ServerMark::parse(text), None, "{text}");
        }
        assert_eq!(ServerMark::parse("00000000000000ff"), Some(ServerMark(255)));
    }

    #[test]
    fn a_server_is_known_by_its_text() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let rule = UpstreamRule::new("app").with("127.0.0.1:80", address).with("[::1]:80", address);
        assert_ne!(rule.servers[0].mark, rule.servers[1].mark);
        assert_ne!(rule.servers[0].seed, rule.servers[1].seed);
        assert_eq!(rule.servers[0], UpstreamServer::new("app", "127.0.0.1:80", address.into()));
    }
}
