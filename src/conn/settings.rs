//! What the operator decided, as connections and shards need it: an argument of every call, and stored by the desk of a shard alone.
//!
//! ```text
//!  Process      what the start of the process fixed                           a change needs a restart
//!  Generation   what one configuration says: routes, rules, bounds, waits     shared by all shards, never changed: replaced
//!  Readiness    how far this shard has gone away
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::hosts::Hosts;
use super::route::{Route, Target};
use super::routes::Routes;
use crate::limits;
use crate::proto::bus::BusLimits;
use crate::proto::channel::Rules;
use crate::proto::control;
use crate::proto::ws::SessionLimits;

/// See the module's picture.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub process: Arc<Process>,
    pub generation: Arc<Generation>,
    pub readiness: Readiness,
}

/// What the start of the process fixed.
#[derive(Clone, Debug)]
pub struct Process {
    /// Bytes that one shard keeps of all its channels.
    pub history_bytes_max: usize,
    /// And of messages that clients have not acknowledged.
    pub unacked_bytes_max: usize,
    /// How the bus says which server it is: random, new with each process.
    pub server_id: String,
    /// Where the bus listens, as INFO says it.
    pub bus_address: SocketAddr,
    /// Seconds of Unix time, which the ends of tokens are told in. The simulator has a clock of its own.
    pub unix_time: fn() -> u64,
}

/// What one configuration says.
#[derive(Clone, Debug)]
pub struct Generation {
    pub routes: Routes,
    /// By which the admin listener is asked for.
    pub admin_hosts: Hosts,
    /// The same of the listeners for clients, by listener id. One that has none, or is not listed, answers for any host.
    pub front_hosts: Vec<Option<Hosts>>,
    /// What holds for which channels; shards share it with their hubs.
    pub channels: Arc<Rules>,
    pub websocket: SessionLimits,
    pub bus: BusSettings,
    /// Longest message that a worker or the admin API may publish.
    pub payload_bytes_max: usize,
    pub outbox_bytes_max: usize,
    /// Connections of all shards together above which new clients are refused.
    pub connections_max: usize,
    pub handshake_timeout: Duration,
    /// How long one may wait for its first turn, and how many of a shard may.
    pub handshake_wait: Duration,
    pub handshakes_waiting_max: usize,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub ping_interval: Duration,
    pub sse_heartbeat: Duration,
    /// How long a peer may take nothing of a batch that is on its way.
    pub send_timeout: Duration,
    pub drain: DrainSettings,
}

impl Settings {
    /// To be changed before it is shared.
    pub fn process_mut(&mut self) -> &mut Process {
        Arc::make_mut(&mut self.process)
    }

    /// To be changed before it is shared.
    pub fn generation_mut(&mut self) -> &mut Generation {
        Arc::make_mut(&mut self.generation)
    }

    /// Whether this text of a client would be taken for the gateway's own by those who listen for it (`proto::control`).
    pub fn is_forged(&self, text: &[u8]) -> bool {
        let listens = |route: &Route| matches!(&route.target, Target::WebSocket(target) if target.control);
        control::is_of_gateway(text) && self.generation.routes.iter().any(|(_, route)| listens(route))
    }
}

/// The settings of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// How long readiness fails before anything else happens.
    pub notice: Duration,
    /// Over how long the clients are sent away then.
    pub spread: Duration,
}

/// What requests find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    #[default]
    Ready,
    /// `/ready` says no, so that nobody new is sent here; everything is served.
    Leaving,
    /// Requests are refused, and what streams begin ends at once.
    Closing,
}

/// The bus, as its workers see it.
#[derive(Clone, Debug)]
pub struct BusSettings {
    pub limits: BusLimits,
    /// Bytes that may wait for one worker.
    pub outbox_bytes_max: usize,
    pub credentials: Option<Credentials>,
}

/// What CONNECT has to carry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    User { name: String, password: String },
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Default for Process {
    fn default() -> Process {
        Process {
            history_bytes_max: limits::HISTORY_BYTES_MAX,
            unacked_bytes_max: limits::UNACKED_BYTES_MAX,
            server_id: "TIDEGATE".to_owned(),
            bus_address: SocketAddr::from(([127, 0, 0, 1], 4222)),
            unix_time: || 0,
        }
    }
}

impl Default for Generation {
    fn default() -> Generation {
        Generation {
            routes: Routes::default(),
            admin_hosts: Hosts::default(),
            front_hosts: Vec::new(),
            channels: Arc::default(),
            websocket: SessionLimits::default(),
            bus: BusSettings::default(),
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            handshake_wait: limits::HANDSHAKE_WAIT,
            handshakes_waiting_max: limits::HANDSHAKES_WAITING_MAX,
            head_timeout: limits::HEAD_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
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
