//! The plan of a gateway: settings for connections, entrances for shards. Making a plan opens and changes nothing; it
//! reads the files that the configuration names. [`OpenedPlan`](super::opened::OpenedPlan) is a plan that was carried
//! out.
//!
//! ```text
//!  Config --Plan::new--> Plan --OpenedPlan::new--> sockets, randomness, cores --> threads
//! ```

mod auths;
mod client_limits;
mod routes;
mod settings;

pub(super) use auths::{decider_sources, key_sources};

use std::path::PathBuf;
use std::time::Duration;

use crate::conn::Door;
use crate::conn::quota::Quota;
use crate::conn::route::Route;
use crate::conn::settings::{Generation, Process};
use crate::hub::PlaceSet;
use crate::limits;
use crate::outbound::{self, OutboundSources};
use crate::proto::networks::Networks;
use crate::proto::upstream::{UpstreamId, UpstreamRule};
use crate::shard::Entrance;

use super::config::{Config, Pin};
use super::{StartError, descriptors};
use crate::base::Remote;

pub(super) struct Plan {
    pub shards: usize,
    pub pin: Pin,
    /// Lacks `node`, which the builder knows, `name`, which the process draws at start, and `bus_address`, which the
    /// kernel decides.
    pub process: Process,
    /// Lacks `quotas`: their table has a secret, which is drawn at start.
    pub generation: Generation,
    pub quotas: Vec<Quota>,
    /// Issuers that publish their keys.
    pub sources: OutboundSources,
    /// Most accounts of `quotas`.
    pub tallies_max: usize,
    /// How long sent bytes may stay unacknowledged.
    pub peer_timeout: Duration,
    /// In the order of the configuration: listeners, bus, admin.
    pub gates: Vec<PlannedGate>,
}

/// An address, and the kind of its connections.
pub(super) struct PlannedGate {
    pub entrance: Entrance,
    /// Port 0 takes a free port. A path is that of the admin listener; it comes last.
    pub address: Remote,
}

/// The facts of the machine that decide the number of shards.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    /// Number of descriptors that each shard may have.
    pub descriptors: u64,
    pub cores: usize,
}

impl Plan {
    /// `pages` precede the routes of the configuration; `workers` is the number of in-process workers.
    pub(super) fn new(
        config: &Config,
        pages: Vec<Route>,
        workers: usize,
        machine: Machine,
    ) -> Result<Plan, StartError> {
        let shards = shards(config, machine.descriptors, machine.cores);
        let keys = key_sources(config).map_err(StartError)?;
        let sources = OutboundSources { keys, deciders: decider_sources(config).map_err(StartError)? };
        let has_outbound = outbound::is_needed(&config.upstreams, &sources);
        let others = workers + usize::from(has_outbound) + usize::from(config.access_log.is_some());
        check_places(config.shards, shards, others).map_err(StartError)?;
        let routes = routes::all(config, pages).map_err(StartError)?;
        Ok(Plan {
            shards,
            pin: config.pin,
            process: settings::process(config, shards, machine.descriptors),
            generation: settings::generation(config, routes, shards).map_err(StartError)?,
            quotas: client_limits::all(config).map_err(StartError)?,
            sources,
            tallies_max: config.limits.tallies_max,
            peer_timeout: config.limits.peer_timeout,
            gates: gates(config).map_err(StartError)?,
        })
    }
}

/// The id of the upstream with this name.
fn upstream(name: &str, upstreams: &[UpstreamRule]) -> Result<UpstreamId, String> {
    let index = upstreams.iter().position(|upstream| *upstream.name == *name);
    let id = index.and_then(|index| u16::try_from(index).ok());
    id.map(UpstreamId).ok_or_else(|| format!("{name} is no upstream"))
}

/// One shard for each core, unless configured; more if `limits.connections_max` needs their descriptors.
pub fn shards(config: &Config, descriptors: u64, cores: usize) -> usize {
    match (config.shards, config.limits.connections_max) {
        (0, Some(connections)) => descriptors::shards_for(connections as u64, descriptors, cores),
        (0, None) => cores.min(limits::SHARDS_MAX),
        (shards, _) => shards.min(limits::SHARDS_MAX),
    }
}

/// The bounds of connection ids, which name a shard, and of sets of places, which name a thread.
fn check_places(wished: usize, shards: usize, others: usize) -> Result<(), String> {
    if wished > limits::SHARDS_MAX {
        return Err(format!("{wished} shards are more than {}", limits::SHARDS_MAX));
    }
    let others_max = PlaceSet::PLACES_MAX - shards;
    if others > others_max {
        return Err(format!("{others} threads beside the shards (in-process workers) are more than {others_max}"));
    }
    Ok(())
}

fn gates(config: &Config) -> Result<Vec<PlannedGate>, String> {
    let mut gates = Vec::new();
    for listener in &config.listeners {
        let introduced_by = Networks::parse(listener.proxy_protocol_from.iter().map(String::as_str));
        let introduced_by = introduced_by.ok_or("listener.proxy_protocol.from has a text that is no network")?;
        let entrance = Entrance { door: Door::Front, tls: listener.tls_config(&config.tls)?, introduced_by };
        gates.push(PlannedGate { entrance, address: listener.address.into() });
    }
    let plain = |door| Entrance { door, tls: None, introduced_by: Networks::default() };
    gates.extend(config.bus.iter().map(|bus| PlannedGate { entrance: plain(Door::Bus), address: bus.address.into() }));
    if let Some(admin) = &config.admin {
        let tls = admin.tls_config(&config.tls).map_err(|error| format!("admin: {error}"))?;
        let entrance = Entrance { tls, ..plain(Door::Admin) };
        gates.extend(admin.address.map(|address| PlannedGate { entrance, address: address.into() }));
        let at_path =
            |path: &PathBuf| PlannedGate { entrance: plain(Door::Admin), address: Remote::Unix(path.as_path().into()) };
        gates.extend(admin.socket.as_ref().map(at_path));
    }
    Ok(gates)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::gateway::config::Bus;

    #[test]
    fn a_plan_opens_nothing() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = busy.local_addr().unwrap();
        let config = Config { bus: Some(Bus { address, credentials: None }), shards: 3, ..Config::default() };
        let machine = Machine { descriptors: 1_000, cores: 1 };
        let plan = Plan::new(&config, Vec::new(), 0, machine).expect("another program's address can be planned for");
        assert_eq!((plan.shards, plan.gates.len(), plan.gates[0].address.clone()), (3, 1, address.into()));
    }

    #[test]
    fn more_threads_than_there_are_places_are_refused() {
        let machine = Machine { descriptors: 1_000, cores: 1 };
        let plan = |shards, workers| {
            let config = Config { shards, ..Config::default() };
            Plan::new(&config, Vec::new(), workers, machine).map(|plan| plan.shards).map_err(|error| error.0)
        };
        assert_eq!(plan(256, 256), Ok(256));
        assert_eq!(plan(257, 0), Err("257 shards are more than 256".to_owned()));
        assert_eq!(
            plan(2, 511),
            Err("511 threads beside the shards (in-process workers) are more than 510".to_owned())
        );
    }
}
