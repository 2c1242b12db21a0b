//! A plan that was carried out: open addresses, randomness, cores.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Remote;
use crate::conn::Door;
use crate::conn::quota::{Quota, Quotas};
use crate::conn::settings::{ProcessName, Readiness, Settings};
use crate::driver::path::{SocketFile, claim_path};
use crate::driver::socket::{self, ListeningSocket};
use crate::outbound::OutboundSources;
use crate::shard::Entrance;

use super::activated::{self, ActivatedSocket, Wanted};
use super::config::Pin;
use super::cores::Cores;
use super::plan::{Plan, PlannedGate};
use super::tree::Tree;
use super::{Listening, StartError};

pub(super) struct OpenedPlan {
    pub shards: usize,
    /// The cores that the shards are pinned to, in turn; or the reason why they are not pinned.
    pub pinning: Result<Vec<usize>, String>,
    pub settings: Settings,
    /// Issuers that publish their keys.
    pub sources: OutboundSources,
    /// How long sent bytes may stay unacknowledged.
    pub peer_timeout: Duration,
    pub gates: Vec<Gate>,
}

/// One address and the kind of its connections.
pub(super) struct Gate {
    pub entrance: Entrance,
    pub address: Remote,
    pub origin: SocketOrigin,
}

/// The source of the shards' sockets for an address.
pub(super) enum SocketOrigin {
    /// The first shard accepts from this socket, and the others bind the same address.
    Claimed(Arc<ListeningSocket>),
    /// All shards accept from this socket, which systemd opened.
    Activated(Arc<ListeningSocket>),
    /// The same, at a path: the file goes with the gateway.
    AtPath(Arc<ListeningSocket>, Arc<SocketFile>),
}

impl Gate {
    /// Stops listening, for copies of the descriptor too, so that the address is free.
    fn give_up(&self) {
        if let SocketOrigin::Claimed(listener) = &self.origin {
            listener.stop();
        }
    }
}

impl OpenedPlan {
    /// Claims every address for which `sockets` has no socket. If one cannot be claimed, all are given up.
    pub(super) fn new(plan: Plan, sockets: Vec<ActivatedSocket>) -> Result<OpenedPlan, StartError> {
        let Plan { shards, pin, mut process, mut generation, quotas, sources, tallies_max, peer_timeout, gates } = plan;
        let wanted: Vec<Wanted> = gates.iter().filter_map(wanted).collect();
        let sockets = activated::assign(sockets, &wanted)?;
        generation.quotas = self::quotas(quotas, tallies_max)?.map(Arc::new);
        process.name = ProcessName::new(&format!("TG{:016X}", random()?));
        let pinning = pinning(pin, shards);
        let gates = claim(gates, sockets)?;
        if let Some(gate) = gates.iter().find(|gate| gate.entrance.door == Door::Bus)
            && let Remote::Tcp(address) = gate.address
        {
            process.bus_address = address;
        }
        if let Some(rule) = generation.access.as_mut().and_then(Arc::get_mut) {
            rule.listeners = gates.iter().map(|gate| gate.address.to_string().into()).collect();
        }
        let (process, generation) = (process.into(), generation.into());
        let settings = Settings { process, generation, readiness: Readiness::Ready, ..Settings::default() };
        Ok(OpenedPlan { shards, pinning, settings, sources, peer_timeout, gates })
    }

    /// Gives all addresses up: no shard will accept.
    pub(super) fn give_up(&self) {
        self.gates.iter().for_each(Gate::give_up);
    }

    pub(super) fn listening(&self) -> Vec<Listening> {
        let gates = self.gates.iter();
        gates
            .map(|gate| Listening {
                door: gate.entrance.door,
                is_tls: gate.entrance.tls.is_some(),
                address: gate.address.clone(),
            })
            .collect()
    }

    /// The files of sockets at paths.
    pub(super) fn files(&self) -> Vec<Arc<SocketFile>> {
        let file = |gate: &Gate| match &gate.origin {
            SocketOrigin::AtPath(_, file) => Some(file.clone()),
            SocketOrigin::Claimed(_) | SocketOrigin::Activated(_) => None,
        };
        self.gates.iter().filter_map(file).collect()
    }
}

/// systemd passes on no sockets at paths.
fn wanted(gate: &PlannedGate) -> Option<Wanted> {
    let Remote::Tcp(address) = gate.address else { return None };
    let name = super::name_of(gate.entrance.door, gate.entrance.tls.is_some());
    Some(Wanted { name, address, is_private: gate.entrance.door != Door::Front })
}

/// Claims the addresses for which systemd passed no socket.
fn claim(planned: Vec<PlannedGate>, sockets: Vec<Option<ActivatedSocket>>) -> Result<Vec<Gate>, StartError> {
    let mut gates: Vec<Gate> = Vec::new();
    // Gates at paths come last.
    let sockets = sockets.into_iter().chain(std::iter::repeat_with(|| None));
    for (PlannedGate { entrance, address: planned }, socket) in planned.into_iter().zip(sockets) {
        let opened = match (&planned, socket) {
            (_, Some(socket)) => Ok((socket.address.into(), SocketOrigin::Activated(socket.listener))),
            (Remote::Tcp(address), None) => socket::claim(*address)
                .map(|(listener, address)| (address.into(), SocketOrigin::Claimed(Arc::new(listener)))),
            (Remote::Unix(path), None) => claim_path(path)
                .map(|(listener, file)| (planned.clone(), SocketOrigin::AtPath(Arc::new(listener), Arc::new(file)))),
        };
        match opened {
            Ok((address, origin)) => gates.push(Gate { entrance, address, origin }),
            Err(error) => {
                gates.iter().for_each(Gate::give_up);
                return Err(StartError(format!("cannot listen on {planned}: {error}")));
            }
        }
    }
    Ok(gates)
}

fn pinning(pin: Pin, shards: usize) -> Result<Vec<usize>, String> {
    let cores = Cores::read(&Tree(Path::new("/")), "thread-self").ok_or("it is not known which cores there are")?;
    cores.pinned(pin, shards)?;
    Ok(cores.allowed)
}

/// The limits with their table, if there are any.
fn quotas(all: Vec<Quota>, tallies_max: usize) -> Result<Option<Quotas>, StartError> {
    let secret = [random()?, random()?, random()?, random()?];
    Ok(Quotas::new(all, tallies_max, secret))
}

/// Eight random bytes of the kernel.
pub(super) fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError(format!("no randomness from the kernel: {error}")))
}

/// 32 random bytes of the kernel, for a secret.
pub(super) fn secret() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError(format!("no randomness from the kernel: {error}")))?;
    Ok(bytes)
}
