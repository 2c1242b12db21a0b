//! What the configuration comes to: settings for connections, entrances for shards, addresses that are ours.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::conn::Door;
use crate::conn::hosts::Hosts;
use crate::conn::origins::Origins;
use crate::conn::route::{
    AcceptTarget, CentrifugeTarget, ChannelTemplate, PathTemplate, Route, Service, Target, UserSource, WebSocketTarget,
};
use crate::conn::routes::Routes;
use crate::conn::settings::{BusSettings, Credentials, DrainSettings, Readiness, Settings};
use crate::driver::socket::{self, Listener};
use crate::limits;
use crate::proto::bus::BusLimits;
use crate::proto::channel::Rules;
use crate::proto::subject::Pattern;
use crate::proto::token::Verifier;
use crate::proto::ws::SessionLimits;
use crate::shard::Entrance;

use super::config::{self, Config, Pin};
use super::cores::Cores;
use super::handed::{self, Handed, Wanted};
use super::tree::Tree;
use super::{Listening, StartError, descriptors};

pub(super) struct Plan {
    pub shards: usize,
    /// The cores that the shards are pinned to, in turn, or why they are not.
    pub pinning: Result<Vec<usize>, String>,
    pub settings: Arc<Settings>,
    /// How long what is sent may stay unacknowledged.
    pub peer_timeout: Duration,
    pub gates: Vec<Gate>,
}

/// One address and who comes in by it.
pub(super) struct Gate {
    pub entrance: Entrance,
    pub address: SocketAddr,
    pub origin: Origin,
}

/// Where the shards' sockets for an address come from.
pub(super) enum Origin {
    /// The first shard accepts from this one, and the others join it.
    Claimed(Arc<Listener>),
    /// All shards accept from this one.
    Handed(Arc<Listener>),
}

impl Gate {
    /// Listens no more, whoever has a copy of the descriptor: the address is free.
    fn give_up(&self) {
        if let Origin::Claimed(listener) = &self.origin {
            listener.stop();
        }
    }
}

impl Plan {
    /// `descriptors` is how many each shard may have.
    pub(super) fn new(
        config: &Config,
        pages: Vec<Route>,
        sockets: Vec<Handed>,
        descriptors: u64,
    ) -> Result<Plan, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = shards(config, descriptors, cores);
        let entrances = entrances(config)?;
        let wanted: Vec<Wanted> = entrances
            .iter()
            .map(|(entrance, address)| Wanted {
                name: super::name_of(entrance.door, entrance.tls.is_some()),
                address: *address,
                is_private: entrance.door != Door::Front,
            })
            .collect();
        let sockets = handed::assign(sockets, &wanted)?;
        let mut settings = settings(config, pages, shards)?;
        let gates = gates(entrances, sockets)?;
        if let Some(gate) = gates.iter().find(|gate| gate.entrance.door == Door::Bus) {
            settings.bus.address = gate.address;
        }
        let settings = Arc::new(settings);
        let pinning = pinning(config.pin, shards);
        Ok(Plan { shards, pinning, settings, peer_timeout: config.limits.peer_timeout, gates })
    }

    /// Nobody will accept.
    pub(super) fn give_up(&self) {
        self.gates.iter().for_each(Gate::give_up);
    }

    pub(super) fn listening(&self) -> Vec<Listening> {
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

/// One for each core unless it is configured; more where so many connections as are wished need their descriptors.
pub fn shards(config: &Config, descriptors: u64, cores: usize) -> usize {
    match (config.shards, config.limits.connections_max) {
        (0, Some(connections)) => descriptors::shards_for(connections as u64, descriptors, cores),
        (0, None) => cores.min(limits::SHARDS_MAX),
        (shards, _) => shards.min(limits::SHARDS_MAX),
    }
}

fn pinning(pin: Pin, shards: usize) -> Result<Vec<usize>, String> {
    let cores = Cores::read(&Tree(Path::new("/")), "thread-self").ok_or("it is not known which cores there are")?;
    cores.pinned(pin, shards)?;
    Ok(cores.allowed)
}

/// In the order of the configuration: listeners, bus, admin.
fn entrances(config: &Config) -> Result<Vec<(Entrance, SocketAddr)>, StartError> {
    let mut entrances = Vec::new();
    for listener in &config.listeners {
        let tls = listener.tls_config().map_err(StartError)?;
        entrances.push((Entrance { door: Door::Front, tls }, listener.address));
    }
    let bus = config.bus.iter().map(|bus| (Entrance { door: Door::Bus, tls: None }, bus.address));
    let admin = config.admin.iter().map(|admin| (Entrance { door: Door::Admin, tls: None }, admin.address));
    entrances.extend(bus.chain(admin));
    Ok(entrances)
}

/// Claims the addresses of which systemd has handed over no socket.
fn gates(entrances: Vec<(Entrance, SocketAddr)>, sockets: Vec<Option<Handed>>) -> Result<Vec<Gate>, StartError> {
    let mut gates: Vec<Gate> = Vec::new();
    for ((entrance, address), socket) in entrances.into_iter().zip(sockets) {
        let (address, origin) = match socket {
            Some(socket) => (socket.address, Origin::Handed(socket.listener)),
            None => match socket::claim(address) {
                Ok((listener, address)) => (address, Origin::Claimed(Arc::new(listener))),
                Err(error) => {
                    gates.iter().for_each(Gate::give_up);
                    return Err(StartError(format!("cannot listen on {address}: {error}")));
                }
            },
        };
        gates.push(Gate { entrance, address, origin });
    }
    Ok(gates)
}

fn settings(config: &Config, pages: Vec<Route>, shards: usize) -> Result<Settings, StartError> {
    let configured = config.routes.iter().map(route).collect::<Result<_, _>>().map_err(StartError)?;
    let routes = Routes::new(pages).and_then(|pages| pages.followed_by(configured));
    let limits = &config.limits;
    Ok(Settings {
        routes: routes.map_err(|error| StartError(error.to_string()))?,
        admin_hosts: hosts(config.admin.iter().flat_map(|admin| &admin.hosts)),
        // Listeners come first among the entrances, so these are their ids.
        front_hosts: config
            .listeners
            .iter()
            .map(|listener| (!listener.hosts.is_empty()).then(|| hosts(&listener.hosts)))
            .collect(),
        channels: Arc::new(rules(config).map_err(StartError)?),
        history_bytes_max: limits.history_bytes_max / shards,
        unacked_bytes_max: limits.unacked_bytes_max / shards,
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
            ..BusSettings::default()
        },
        payload_bytes_max: limits.payload_bytes_max,
        outbox_bytes_max: limits.outbox_bytes_max,
        connections_max: limits.connections_max.unwrap_or(limits::CONNECTIONS_MAX),
        handshake_timeout: limits.handshake_timeout,
        handshake_wait: limits.handshake_wait,
        handshakes_waiting_max: limits.handshakes_waiting_max,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        keep_alive_timeout: limits.keep_alive_timeout,
        ping_interval: limits.ping_interval,
        sse_heartbeat: limits.sse_heartbeat,
        // A clock before 1970 takes every token for valid; so does whoever set it.
        unix_time: || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
        send_timeout: limits.send_timeout,
        drain: DrainSettings { notice: config.drain.notice, spread: config.drain.spread },
        readiness: Readiness::Ready,
    })
}

fn hosts<'a>(names: impl IntoIterator<Item = &'a String>) -> Hosts {
    Hosts::new(names.into_iter().map(|name| name.as_str().into()))
}

/// Eight bytes from the kernel.
pub(super) fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError(format!("no randomness from the kernel: {error}")))
}

/// And 32 of them, for what nobody may guess.
pub(super) fn secret() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError(format!("no randomness from the kernel: {error}")))?;
    Ok(bytes)
}

fn credentials(credentials: &config::Credentials) -> Credentials {
    match credentials {
        config::Credentials::User { user, password } => {
            Credentials::User { name: user.clone(), password: password.clone() }
        }
        config::Credentials::Token(token) => Credentials::Token(token.clone()),
    }
}

fn rules(config: &Config) -> Result<Rules, String> {
    let rules = config.channels.iter().map(|channel| {
        let pattern = Pattern::new(&channel.name).map_err(|error| format!("channel {}: {error}", channel.name))?;
        Ok((pattern, channel.rule.clone()))
    });
    rules.collect::<Result<Vec<_>, String>>().map(Rules::new)
}

fn service(name: &String) -> Result<Service, String> {
    Service::new(name).map_err(|error| format!("service {name}: {error}"))
}

fn user(source: &config::UserSource) -> UserSource {
    match source {
        config::UserSource::Header(name) => UserSource::Header(name.as_str().into()),
        config::UserSource::Query(name) => UserSource::Query(name.as_str().into()),
    }
}

fn verifier(path: &str, key: &config::TokenKey) -> Result<Verifier, String> {
    key.verifier().map_err(|error| format!("route {path}: {error}"))
}

fn patterns(names: &[String]) -> Result<Vec<Pattern>, String> {
    names.iter().map(|name| Pattern::new(name).map_err(|error| format!("{name}: {error}"))).collect()
}

fn route(route: &config::Route) -> Result<Route, String> {
    let target = match &route.target {
        config::Target::Sse(sse) => {
            let channels = sse.channels.iter().map(|channel| ChannelTemplate::parse(channel));
            Target::Sse { channels: channels.collect::<Result<_, _>>()?, retry: sse.retry }
        }
        config::Target::WebSocket(websocket) => Target::WebSocket(WebSocketTarget {
            channel: websocket.channel.as_deref().map(ChannelTemplate::parse).transpose()?,
            publish: websocket.publish,
            service: websocket.service.as_ref().map(service).transpose()?,
            user: websocket.user.as_ref().map(user),
            control: websocket.control,
        }),
        config::Target::Accept(accept) => Target::Accept(AcceptTarget {
            service: service(&accept.service)?,
            channel: ChannelTemplate::parse(&accept.channel)?,
            event: accept.event.as_str().into(),
            timeout: accept.timeout,
            keep: accept.keep,
            user: accept.user.as_ref().map(user),
        }),
        config::Target::Centrifuge(centrifuge) => Target::Centrifuge(Box::new(CentrifugeTarget {
            service: centrifuge.service.as_ref().map(service).transpose()?,
            user: centrifuge.user.as_ref().map(user),
            token: centrifuge.token.as_ref().map(|key| verifier(&route.path, key)).transpose()?,
            channels: patterns(&centrifuge.channels)?,
            publish_to: patterns(&centrifuge.publish_to)?,
            server_side: centrifuge
                .server_side
                .iter()
                .map(|name| ChannelTemplate::parse(name))
                .collect::<Result<_, _>>()?,
        })),
    };
    Ok(Route {
        path: PathTemplate::parse(&route.path)?,
        methods: route.methods.iter().map(|method| method.as_str().into()).collect(),
        template: route.path.as_str().into(),
        request_headers: route.request_headers.iter().map(|name| name.as_str().into()).collect(),
        origins: Origins::new(route.origins.iter().map(|origin| origin.as_str().into())),
        target,
    })
}
