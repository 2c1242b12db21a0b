//! A plan that has been carried out: addresses that are ours, randomness, cores.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::conn::Door;
use crate::conn::settings::{Readiness, Settings};
use crate::driver::socket::{self, ListeningSocket};
use crate::shard::Entrance;

use super::activated::{self, ActivatedSocket, Wanted};
use super::config::Pin;
use super::cores::Cores;
use super::plan::{Plan, PlannedGate};
use super::tree::Tree;
use super::{Listening, StartError};

pub(super) struct OpenedPlan {
    pub shards: usize,
    /// The cores that the shards are pinned to, in turn, or why they are not.
    pub pinning: Result<Vec<usize>, String>,
    pub settings: Settings,
    /// How long what is sent may stay unacknowledged.
    pub peer_timeout: Duration,
    pub gates: Vec<Gate>,
}

/// One address and the kind of its connections.
pub(super) struct Gate {
    pub entrance: Entrance,
    pub address: SocketAddr,
    pub origin: SocketOrigin,
}

/// Where the shards' sockets for an address come from.
pub(super) enum SocketOrigin {
    /// The first shard accepts from this one, and the others join it.
    Claimed(Arc<ListeningSocket>),
    /// All shards accept from this one, which systemd has opened.
    Activated(Arc<ListeningSocket>),
}

impl Gate {
    /// Stops listening, also for copies of the descriptor: the address is free.
    fn give_up(&self) {
        if let SocketOrigin::Claimed(listener) = &self.origin {
            listener.stop();
        }
    }
}

impl OpenedPlan {
    /// Claims every address of which `sockets` has none. If one cannot be claimed, none is.
    pub(super) fn new(plan: Plan, sockets: Vec<ActivatedSocket>) -> Result<OpenedPlan, StartError> {
        let Plan { shards, pin, mut process, generation, peer_timeout, gates } = plan;
        let wanted: Vec<Wanted> = gates.iter().map(wanted).collect();
        let sockets = activated::assign(sockets, &wanted)?;
        process.server_id = format!("TG{:016X}", random()?);
        let pinning = pinning(pin, shards);
        let gates = claim(gates, sockets)?;
        if let Some(gate) = gates.iter().find(|gate| gate.entrance.door == Door::Bus) {
            process.bus_address = gate.address;
        }
        let settings = Settings { process: process.into(), generation: generation.into(), readiness: Readiness::Ready };
        Ok(OpenedPlan { shards, pinning, settings, peer_timeout, gates })
    }

    /// No shard will accept.
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

fn wanted(gate: &PlannedGate) -> Wanted {
    Wanted {
        name: super::name_of(gate.entrance.door, gate.entrance.tls.is_some()),
        address: gate.address,
        is_private: gate.entrance.door != Door::Front,
    }
}

/// Claims the addresses of which systemd has handed over no socket.
fn claim(planned: Vec<PlannedGate>, sockets: Vec<Option<ActivatedSocket>>) -> Result<Vec<Gate>, StartError> {
    let mut gates: Vec<Gate> = Vec::new();
    for (PlannedGate { entrance, address }, socket) in planned.into_iter().zip(sockets) {
        let (address, origin) = match socket {
            Some(socket) => (socket.address, SocketOrigin::Activated(socket.listener)),
            None => match socket::claim(address) {
                Ok((listener, address)) => (address, SocketOrigin::Claimed(Arc::new(listener))),
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

fn pinning(pin: Pin, shards: usize) -> Result<Vec<usize>, String> {
    let cores = Cores::read(&Tree(Path::new("/")), "thread-self").ok_or("it is not known which cores there are")?;
    cores.pinned(pin, shards)?;
    Ok(cores.allowed)
}

/// Eight bytes from the kernel.
pub(super) fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError(format!("no randomness from the kernel: {error}")))
}

/// And 32 of them, for a secret.
pub(super) fn secret() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError(format!("no randomness from the kernel: {error}")))?;
    Ok(bytes)
}
