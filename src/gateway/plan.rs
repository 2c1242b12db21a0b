//! What the configuration comes to: settings for connections, entrances for shards, addresses that are ours.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::conn::Door;
use crate::conn::route::{ChannelTemplate, PathTemplate, Route, Service, Target, UserSource, WebSocketTarget};
use crate::conn::settings::{BusSettings, Credentials, Settings};
use crate::driver::socket::{self, Bound};
use crate::limits;
use crate::proto::bus::BusLimits;
use crate::proto::ws::SessionLimits;
use crate::shard::Entrance;

use super::config::{self, Config};
use super::{Listening, StartError};

pub(super) struct Plan {
    pub shards: usize,
    pub is_pinned: bool,
    pub settings: Arc<Settings>,
    pub gates: Vec<Gate>,
}

/// One address and who comes in by it.
pub(super) struct Gate {
    pub entrance: Entrance,
    pub address: SocketAddr,
    /// Holds the port while the shards bind their own sockets to it; receives nothing, because it does not listen.
    _held: Bound,
}

impl Plan {
    pub fn new(config: &Config, pages: Vec<Route>) -> Result<Plan, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = if config.shards == 0 { cores } else { config.shards }.min(limits::SHARDS_MAX);
        let mut gates = Vec::new();
        for listener in &config.listeners {
            let tls = listener.tls_config().map_err(StartError)?;
            gates.push(gate(listener.address, Entrance { door: Door::Front, tls })?);
        }
        if let Some(bus) = &config.bus {
            gates.push(gate(bus.address, Entrance { door: Door::Bus, tls: None })?);
        }
        if let Some(admin) = &config.admin {
            gates.push(gate(admin.address, Entrance { door: Door::Admin, tls: None })?);
        }
        let settings = Arc::new(settings(config, pages, shards)?);
        Ok(Plan { shards, is_pinned: config.pin, settings, gates })
    }

    pub fn listening(&self) -> Vec<Listening> {
        let gates = self.gates.iter();
        gates
            .map(|gate| Listening {
                door: gate.entrance.door,
                is_tls: gate.entrance.tls.is_some(),
                address: gate.address,
            })
            .collect()
    }
}

fn gate(address: SocketAddr, entrance: Entrance) -> Result<Gate, StartError> {
    let bound = socket::bind(address).map_err(|error| StartError(format!("cannot listen on {address}: {error}")))?;
    Ok(Gate { entrance, address: bound.local_addr(), _held: bound })
}

fn settings(config: &Config, pages: Vec<Route>, shards: usize) -> Result<Settings, StartError> {
    let routes = pages.into_iter().map(Ok).chain(config.routes.iter().map(route)).collect::<Result<_, _>>();
    let limits = &config.limits;
    Ok(Settings {
        routes: routes.map_err(StartError)?,
        websocket: SessionLimits {
            message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
            fragments_max: limits.fragments_max,
        },
        bus: BusSettings {
            limits: BusLimits {
                control_line_bytes_max: limits::CONTROL_LINE_BYTES_MAX,
                payload_bytes_max: limits.payload_bytes_max,
            },
            outbox_bytes_max: limits::WORKER_OUTBOX_BYTES_MAX,
            credentials: config.bus.as_ref().and_then(|bus| bus.credentials.as_ref()).map(credentials),
            server_id: format!("TG{:016X}", random()?),
        },
        payload_bytes_max: limits.payload_bytes_max,
        outbox_bytes_max: limits.outbox_bytes_max,
        connections_max: limits.connections_max.div_ceil(shards),
        handshake_timeout: limits.handshake_timeout,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        keep_alive_timeout: limits.keep_alive_timeout,
        ping_interval: limits.ping_interval,
        sse_heartbeat: limits.sse_heartbeat,
    })
}

/// Eight bytes from the kernel.
pub(super) fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError(format!("no randomness from the kernel: {error}")))
}

fn credentials(credentials: &config::Credentials) -> Credentials {
    match credentials {
        config::Credentials::User { user, password } => {
            Credentials::User { name: user.clone(), password: password.clone() }
        }
        config::Credentials::Token(token) => Credentials::Token(token.clone()),
    }
}

fn service(websocket: &config::WebSocketTarget) -> Result<Option<Service>, String> {
    let Some(name) = &websocket.service else { return Ok(None) };
    Service::new(name).map(Some).map_err(|error| format!("service {name}: {error}"))
}

fn route(route: &config::Route) -> Result<Route, String> {
    let target = match &route.target {
        config::Target::Sse(sse) => Target::Sse { channel: ChannelTemplate::parse(&sse.channel)?, retry: sse.retry },
        config::Target::WebSocket(websocket) => Target::WebSocket(WebSocketTarget {
            channel: websocket.channel.as_deref().map(ChannelTemplate::parse).transpose()?,
            publish: websocket.publish,
            service: service(websocket)?,
            user: websocket.user.as_ref().map(|user| match user {
                config::UserSource::Header(name) => UserSource::Header(name.as_str().into()),
                config::UserSource::Query(name) => UserSource::Query(name.as_str().into()),
            }),
        }),
    };
    Ok(Route {
        path: PathTemplate::parse(&route.path)?,
        methods: route.methods.iter().map(|method| method.as_str().into()).collect(),
        template: route.path.as_str().into(),
        origins: route.origins.iter().map(|origin| origin.as_str().into()).collect(),
        target,
    })
}
