//! The operator's settings in the form that connections and shards use: an argument of every call, stored only at the
//! desk of a shard.
//!
//! ```text
//!  Process      what the start of the process fixed                           a change needs a restart
//!  Generation   what one configuration says: routes, rules, bounds, waits     shared by all shards, never changed: replaced
//!  Readiness    how far this shard has gone away
//!  Proofs       the tokens that this shard has verified
//!  Decisions    the application's decisions that this shard remembers
//!  AccessLines  the access log of this shard: requests in hand, and lines to be written
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access::lines::{AccessLines, AccessRule};
use super::admin::tokens::AdminTokens;
use super::auth::{Auths, CredentialCheck, Proofs};
use super::decisions::{Decider, Decisions};
use super::hosts::Hosts;
use super::quota::Quotas;
use super::route::{Route, RouteTarget};
use super::routes::Routes;
use crate::base::{Address, ConnId, NodeId, fnv1a};
use crate::limits;
use crate::proto::bus::BusLimits;
use crate::proto::channel::Rules;
use crate::proto::control;
use crate::proto::http::TrustedProxies;
use crate::proto::permission::Permissions;
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::UpstreamRule;
use crate::proto::ws::SessionLimits;

/// See the module's picture.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub process: Arc<Process>,
    pub generation: Arc<Generation>,
    pub readiness: Readiness,
    pub proofs: Proofs,
    pub decisions: Decisions,
    pub access: AccessLines,
}

/// The settings that are fixed at the start of the process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Bytes that one shard keeps of the histories of all its channels.
    pub history_bytes_max: usize,
    /// Bytes that one shard keeps of accepted requests and their results.
    pub accepted_bytes_max: usize,
    /// Bytes that one shard keeps of unacknowledged messages.
    pub unacked_bytes_max: usize,
    /// With so many connections a shard takes no further client: the other descriptors of its table are for workers and the
    /// admin listener.
    pub shard_connections_max: u64,
    /// Names the gateway in the ids of its connections and requests; `None` for a gateway that is alone.
    pub node: Option<NodeId>,
    pub name: ProcessName,
    /// The address of the bus for INFO.
    pub bus_address: SocketAddr,
    /// Unix time in seconds, in which the expiry of tokens is given. The simulator has its own clock.
    pub unix_time: fn() -> u64,
}

/// The settings of one configuration.
#[derive(Clone, Debug)]
pub struct Generation {
    pub routes: Routes,
    /// By id: the servers that routes give requests to.
    pub upstreams: Box<[UpstreamRule]>,
    /// The same: TLS to their servers, where there is any. May be shorter.
    pub upstreams_tls: Box<[Option<ServersTls>]>,
    /// The host names by which the admin listener may be called.
    pub admin_hosts: Hosts,
    /// The rights of clients to channels.
    pub permissions: Permissions,
    /// By id: the parts of the application that permissions ask.
    pub deciders: Box<[Decider]>,
    /// Empty: any peer that connects may do everything.
    pub admin_tokens: AdminTokens,
    /// The same for client listeners, by listener id. A listener with `None`, or without an entry, answers for any
    /// host.
    pub front_hosts: Vec<Option<Hosts>>,
    /// The proxies that are believed about the clients before them.
    pub trust: TrustedProxies,
    /// Each `[[auth]]`, by id.
    pub auths: Auths,
    /// The limits for strangers, with what they have used; `None` without limits.
    pub quotas: Option<Arc<Quotas>>,
    /// How the access log is written; `None` without one.
    pub access: Option<Arc<AccessRule>>,
    /// The rules for channels; shards share them with their hubs.
    pub channels: Arc<Rules>,
    pub websocket: SessionLimits,
    /// Commands of the client protocol that one client may send each second.
    pub commands_per_second: u32,
    pub bus: BusSettings,
    /// Longest message that a worker or the admin API may publish.
    pub payload_bytes_max: usize,
    pub outbox_bytes_max: usize,
    /// Above this number of connections of all shards, new clients are refused.
    pub connections_max: usize,
    pub handshake_timeout: Duration,
    /// Bytes of all clients of one shard that wait for the rest of what they belong to, and the same before TLS is
    /// established.
    pub arriving_bytes_max: usize,
    pub handshaking_bytes_max: usize,
    /// Memory for what waits for all clients of one shard.
    pub waiting_bytes_max: usize,
    /// How long a handshake may wait for its first turn, and how many of a shard may wait.
    pub handshake_wait: Duration,
    pub handshakes_waiting_max: usize,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub message_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub ping_interval: Duration,
    pub sse_heartbeat: Duration,
    /// How long a send may make no progress.
    pub send_timeout: Duration,
    pub drain: DrainSettings,
}

impl Settings {
    /// For changes before the settings are shared.
    pub fn process_mut(&mut self) -> &mut Process {
        Arc::make_mut(&mut self.process)
    }

    /// For changes before the settings are shared.
    pub fn generation_mut(&mut self) -> &mut Generation {
        Arc::make_mut(&mut self.generation)
    }

    /// The check of tokens; `None` without an `[[auth]]`.
    pub fn check(&self) -> Option<CredentialCheck<'_>> {
        let (auths, proofs) = (&self.generation.auths, &self.proofs);
        let check = CredentialCheck { auths, proofs, unix_time: self.process.unix_time };
        (!auths.is_empty()).then_some(check)
    }

    /// Whether clients that receive control messages would take this text of another client for one (`proto::control`).
    pub fn is_forged(&self, text: &[u8]) -> bool {
        let listens = |route: &Route| matches!(&route.target, RouteTarget::WebSocket(target) if target.control);
        control::is_of_gateway(text) && self.generation.routes.iter().any(|(_, route)| listens(route))
    }
}

/// The settings of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// How long readiness fails before clients are disconnected.
    pub notice: Duration,
    /// The time over which clients are disconnected.
    pub spread: Duration,
}

/// Whether new requests are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    #[default]
    Ready,
    /// `/ready` fails, so that load balancers choose another gateway; every request is served.
    Leaving,
    /// Requests are refused, and new streams end at once.
    Closing,
}

/// The settings of the bus for its workers.
#[derive(Clone, Debug)]
pub struct BusSettings {
    pub limits: BusLimits,
    /// The bound on bytes that wait for one worker.
    pub outbox_bytes_max: usize,
    pub credentials: Option<BusCredentials>,
}

/// The credentials that CONNECT must have.
#[derive(Clone, PartialEq, Eq)]
pub enum BusCredentials {
    User { name: String, password: String },
    Token(String),
}

impl std::fmt::Debug for BusCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BusCredentials(..)")
    }
}

impl Process {
    /// The name of a connection of this gateway, for workers and clients.
    pub fn conn_id(&self, address: Address) -> ConnId {
        ConnId::new(self.node, address)
    }
}

/// The names of one process, which another start does not have.
#[derive(Clone, Debug)]
pub struct ProcessName {
    server_id: Box<str>,
    pseudonym: Box<str>,
    seed: u64,
}

impl ProcessName {
    /// `server_id`: random.
    pub fn new(server_id: &str) -> ProcessName {
        let seed = fnv1a(server_id.as_bytes());
        let pseudonym = format!("tidegate-{:08x}", seed as u32);
        ProcessName { server_id: server_id.into(), pseudonym: pseudonym.into(), seed }
    }

    /// A random number.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The id of the server on the bus.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// The gateway in `Via` (RFC 9110 section 7.6.3).
    pub fn pseudonym(&self) -> &str {
        &self.pseudonym
    }
}

impl Default for Process {
    fn default() -> Process {
        Process {
            history_bytes_max: limits::HISTORY_BYTES_MAX,
            accepted_bytes_max: limits::ACCEPTED_BYTES_MAX,
            unacked_bytes_max: limits::UNACKED_BYTES_MAX,
            shard_connections_max: u64::MAX,
            node: None,
            name: ProcessName::new("TIDEGATE"),
            bus_address: SocketAddr::from(([127, 0, 0, 1], 4222)),
            unix_time: || 0,
        }
    }
}

impl Default for Generation {
    fn default() -> Generation {
        Generation {
            routes: Routes::default(),
            upstreams_tls: Box::default(),
            upstreams: Box::default(),
            admin_hosts: Hosts::default(),
            admin_tokens: AdminTokens::default(),
            permissions: Permissions::default(),
            deciders: Box::default(),
            front_hosts: Vec::new(),
            trust: TrustedProxies::default(),
            auths: Auths::default(),
            quotas: None,
            access: None,
            channels: Arc::default(),
            websocket: SessionLimits::default(),
            commands_per_second: limits::COMMANDS_PER_SECOND,
            bus: BusSettings::default(),
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            arriving_bytes_max: limits::ARRIVING_BYTES_MAX,
            handshaking_bytes_max: limits::HANDSHAKING_BYTES_MAX,
            waiting_bytes_max: limits::WAITING_BYTES_MAX,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            handshake_wait: limits::HANDSHAKE_WAIT,
            handshakes_waiting_max: limits::HANDSHAKES_WAITING_MAX,
            head_timeout: limits::HEAD_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            message_timeout: limits::MESSAGE_TIMEOUT,
            keep_alive_timeout: limits::KEEP_ALIVE_TIMEOUT,
            ping_interval: limits::PING_INTERVAL,
            sse_heartbeat: limits::SSE_HEARTBEAT,
            send_timeout: limits::SEND_TIMEOUT,
            drain: DrainSettings { notice: limits::DRAIN_NOTICE, spread: limits::DRAIN_SPREAD },
        }
    }
}

impl Default for BusSettings {
    fn default() -> BusSettings {
        BusSettings {
            limits: BusLimits {
                control_line_bytes_max: limits::CONTROL_LINE_BYTES_MAX,
                payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            },
            outbox_bytes_max: limits::WORKER_OUTBOX_BYTES_MAX,
            credentials: None,
        }
    }
}
