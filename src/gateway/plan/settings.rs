//! The configuration in the form that connections and shards use.

use std::sync::Arc;
use std::time::SystemTime;

use super::auths;
use crate::base::counters::Counter;
use crate::conn::access::lines::AccessRule;
use crate::conn::decisions::{DecidedBy, Decider};
use crate::conn::hosts::Hosts;
use crate::conn::routes::Routes;
use crate::conn::settings::{BusCredentials, BusSettings, DrainSettings, Generation, Process};
use crate::gateway::config::{self, Admin, Config, DeciderBy, DeciderRules};
use crate::gateway::descriptors;
use crate::limits;
use crate::proto::bus::BusLimits;
use crate::proto::channel::Rules;
use crate::proto::http::{ForwardedHeader, TrustedProxies};
use crate::proto::networks::Networks;
use crate::proto::permission::Permissions;
use crate::proto::reserved::subjects;
use crate::proto::subject::Pattern;
use crate::proto::token::Carrier;
use crate::proto::ws::SessionLimits;

/// Settings of the process. Bytes that all shards share are divided among them.
pub(super) fn process(config: &Config, shards: usize, descriptors: u64) -> Process {
    Process {
        history_bytes_max: config.limits.history_bytes_max / shards,
        accepted_bytes_max: config.limits.accepted_bytes_max / shards,
        unacked_bytes_max: config.limits.unacked_bytes_max / shards,
        shard_connections_max: descriptors::for_clients(shards, descriptors),
        // If the clock is before 1970, no token expires.
        unix_time: || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
        ..Process::default()
    }
}

pub(super) fn generation(config: &Config, routes: Routes, shards: usize) -> Result<Generation, String> {
    let limits = &config.limits;
    let permissions = Permissions::new(&config.permissions).map_err(|error| format!("permission: channels {error}"))?;
    Ok(Generation {
        routes,
        upstreams: config.upstreams.iter().cloned().collect(),
        upstreams_tls: config.upstreams_tls()?,
        admin_hosts: hosts(config.admin.iter().flat_map(|admin| &admin.hosts)),
        admin_tokens: config.admin.as_ref().map(Admin::read_tokens).transpose()?.unwrap_or_default(),
        // Listeners are the first entrances, so these indices are their ids.
        front_hosts: config
            .listeners
            .iter()
            .map(|listener| (!listener.hosts.is_empty()).then(|| hosts(&listener.hosts)))
            .collect(),
        trust: trust(&config.trust)?,
        auths: auths::all(config, &permissions)?,
        permissions,
        deciders: deciders(config)?,
        quotas: None,
        access: config.access_log.as_ref().map(|log| Arc::new(access_rule(config, log))),
        channels: Arc::new(rules(config)?),
        websocket: SessionLimits {
            message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
            fragments_max: limits.fragments_max,
        },
        commands_per_second: limits.commands_per_second,
        bus: BusSettings {
            limits: BusLimits {
                control_line_bytes_max: limits::CONTROL_LINE_BYTES_MAX,
                payload_bytes_max: limits.payload_bytes_max,
            },
            outbox_bytes_max: limits::WORKER_OUTBOX_BYTES_MAX,
            credentials: config.bus.as_ref().and_then(|bus| bus.credentials.as_ref()).map(credentials),
        },
        payload_bytes_max: limits.payload_bytes_max,
        outbox_bytes_max: limits.outbox_bytes_max,
        arriving_bytes_max: limits.arriving_bytes_of_shard(shards),
        handshaking_bytes_max: limits.handshaking_bytes_of_shard(shards),
        waiting_bytes_max: limits.waiting_bytes_of_shard(shards),
        connections_max: limits.connections_max.unwrap_or(limits::CONNECTIONS_MAX),
        handshake_timeout: limits.handshake_timeout,
        handshake_wait: limits.handshake_wait,
        handshakes_waiting_max: limits.handshakes_waiting_max,
        head_timeout: limits.head_timeout,
        body_timeout: limits.body_timeout,
        message_timeout: limits.message_timeout,
        keep_alive_timeout: limits.keep_alive_timeout,
        ping_interval: limits.ping_interval,
        sse_heartbeat: limits.sse_heartbeat,
        send_timeout: limits.send_timeout,
        drain: DrainSettings { notice: config.drain.notice, spread: config.drain.spread },
    })
}

fn deciders(config: &Config) -> Result<Box<[Decider]>, String> {
    let decider = |rules: &DeciderRules| {
        let by = match &rules.by {
            DeciderBy::Service(service) => subjects::authorize(service).map(DecidedBy::Workers),
            DeciderBy::Url(own) => Ok(DecidedBy::Url(own.url.as_str().into())),
        };
        let by = by.map_err(|error| format!("permission.ask: {error}"))?;
        Ok(Decider { by, timeout: rules.timeout, kept: rules.kept })
    };
    config.deciders.iter().map(decider).collect()
}

/// Lacks `listeners`, whose addresses the kernel decides.
fn access_rule(config: &Config, log: &config::AccessLog) -> AccessRule {
    let carriers = config.auths.iter().flat_map(|auth| match &auth.proof {
        config::ClientProof::Token(rules) => &rules.carriers[..],
        config::ClientProof::Forward(_) | config::ClientProof::Certificate(_) => &[],
    });
    let of_query = carriers.filter_map(|carrier| match carrier.parse() {
        Ok(Carrier::Query(name)) => Some(name),
        _ => None,
    });
    AccessRule {
        format: log.format,
        tells_opens: log.tells_opens,
        tells_tcp: log.tells_tcp,
        listeners: Vec::new(),
        // RFC 6750 section 2.3: a client may send it though nothing here asks for it.
        secrets: of_query.chain(["access_token".into()]).collect(),
        unix_ms: || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64),
        unwritten: Counter::default(),
    }
}

fn hosts<'a>(names: impl IntoIterator<Item = &'a String>) -> Hosts {
    Hosts::new(names.into_iter().map(|name| name.as_str().into()))
}

fn trust(trust: &config::Trusted) -> Result<TrustedProxies, String> {
    let networks = Networks::parse(trust.networks.iter().map(String::as_str));
    let header = match trust.header {
        config::TrustedHeader::XForwardedFor => ForwardedHeader::XForwarded,
        config::TrustedHeader::Forwarded => ForwardedHeader::Forwarded,
    };
    Ok(TrustedProxies { networks: networks.ok_or("trust.networks has a text that is no network")?, header })
}

fn credentials(credentials: &config::Credentials) -> BusCredentials {
    match credentials {
        config::Credentials::User { user, password } => {
            BusCredentials::User { name: user.clone(), password: password.clone() }
        }
        config::Credentials::Token(token) => BusCredentials::Token(token.clone()),
    }
}

fn rules(config: &Config) -> Result<Rules, String> {
    let rules = config.channels.iter().map(|channel| {
        let pattern = Pattern::new(&channel.name).map_err(|error| format!("channel {}: {error}", channel.name))?;
        Ok((pattern, channel.rule.clone()))
    });
    rules.collect::<Result<Vec<_>, String>>().map(Rules::new)
}
