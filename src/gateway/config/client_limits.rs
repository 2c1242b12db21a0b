//! What one client may use, as the configuration says it.

use std::time::Duration;

/// A bound on what one address, network, user or route may use (`[[limit]]`). At least one of the four measures is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimit {
    /// In metrics and in the log.
    pub name: String,
    /// The accounts that the bound is for.
    pub by: LimitedBy,
    /// Most connections that are open at once; of a user, of a route, or with `routes`: streams and WebSockets.
    pub connections: Option<u32>,
    /// How many connections may begin.
    pub handshake_rate: Option<Frequency>,
    /// How many requests may come.
    pub request_rate: Option<Frequency>,
    /// How many messages may come on WebSockets.
    pub message_rate: Option<Frequency>,
    /// How many may come at once; `None`: as many as the frequency names.
    pub burst: Option<u32>,
    /// Paths of the routes that it is for. Empty: all.
    pub routes: Vec<String>,
    /// Addresses and networks that it is not for.
    pub except: Vec<String>,
    /// Whether a WebSocket whose messages come too fast is closed. Otherwise it is read more slowly.
    pub closes: bool,
}

/// What a bound is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// All addresses with the same first bits.
    Network {
        /// Bits of an IPv4 address: 32 for each address.
        ipv4_prefix: u8,
        /// Bits of an IPv6 address.
        ipv6_prefix: u8,
    },
    /// Each user, on routes that know it.
    User,
    /// All clients of a route together.
    Route,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// At least one.
    pub count: u32,
    /// The time.
    pub per: Duration,
}
