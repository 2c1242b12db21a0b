//! The shards' threads.
//!
//! ```text
//!  each:  pin -> own descriptor table -> own sockets on the claimed addresses (or systemd's) -> driver -> ready
//!  all ready: go. Earlier, a socket accepted by one would be copied into the table of the next.
//! ```

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{error, warn};

use crate::base::{Fold, Place, Remote};
use crate::conn::settings::Settings;
use crate::driver::clock::Clock;
use crate::driver::epoll::EpollDriver;
use crate::driver::socket::{self, ListeningSocket};
use crate::driver::uring::{UringDriver, UringOptions};
use crate::driver::{Driver, DriverKind, ListenerId, Waker};
use crate::mesh::{Mailbox, Mesh};
use crate::shard::budget::Budget;
use crate::shard::counters::Counters;
use crate::shard::{Entrance, Parts, Shard};

use super::StartError;
use super::opened::{Gate, OpenedPlan, SocketOrigin, random, secret};

/// The state that all shards share.
#[derive(Clone)]
pub(super) struct Seeds {
    pub mesh: Mesh,
    pub counters: Arc<[Counters]>,
    pub fold: Arc<Fold>,
    pub clock: Clock,
    pub driver: DriverKind,
}

pub(super) struct Started {
    pub shards: Vec<JoinHandle<()>>,
    /// Where threads report that they have ended, and why.
    pub failed: Sender<String>,
    pub failures: Receiver<String>,
}

/// One shard's share of the plan, on its way to its thread.
struct Seed {
    place: Place,
    shared: Seeds,
    waker: Waker,
    mailbox: Mailbox,
    settings: Settings,
    entrances: Vec<Entrance>,
    ways: Vec<ShardSocket>,
    peer_timeout: Duration,
    random: u32,
    secret: [u8; 32],
    core: Option<CoreId>,
}

/// The way in which a shard gets its socket for an address.
enum ShardSocket {
    Join(SocketAddr),
    /// SHARED BEFORE UNSHARED: opened before the shard's table was copied, so its number means the same socket there.
    Share(Arc<ListeningSocket>),
}

/// The channels on which a thread reports that it is ready or why not, and learns that all are.
struct Start {
    ready: Sender<Result<(), String>>,
    go: Receiver<()>,
    failures: Sender<String>,
}

/// Returns when every shard accepts. If one cannot, none accepts and all have ended.
pub(super) fn start_shards(
    opened: &OpenedPlan,
    shared: Seeds,
    ends: Vec<(Waker, Mailbox)>,
) -> Result<Started, StartError> {
    // Each reports once at most, and so does the thread beside them.
    let (failed, failures) = bounded(opened.shards + 1);
    let (mut gos, mut shards) = (Vec::new(), Vec::new());
    let outcome = spawn(opened, shared, ends, &failed, &mut gos, &mut shards);
    if let Err(error) = outcome {
        // Dropping the senders of their `go` ends the shards.
        drop(gos);
        shards.into_iter().for_each(|shard| drop(shard.join()));
        opened.give_up();
        return Err(error);
    }
    for go in gos {
        // A shard that has ended since then is reported in `failures`.
        let _ = go.send(());
    }
    Ok(Started { shards, failed, failures })
}

/// Starts the threads, and waits until all are ready.
fn spawn(
    opened: &OpenedPlan,
    shared: Seeds,
    ends: Vec<(Waker, Mailbox)>,
    failed: &Sender<String>,
    gos: &mut Vec<Sender<()>>,
    shards: &mut Vec<JoinHandle<()>>,
) -> Result<(), StartError> {
    let cores = opened.pinning.as_deref().unwrap_or_default();
    let (ready, readies) = bounded(opened.shards);
    for (index, (waker, mailbox)) in ends.into_iter().enumerate() {
        let seed = Seed {
            place: Place(index as u16),
            shared: shared.clone(),
            waker,
            mailbox,
            settings: opened.settings.clone(),
            entrances: opened.gates.iter().map(|gate| gate.entrance.clone()).collect(),
            ways: opened.gates.iter().map(|gate| way(gate, index)).collect(),
            peer_timeout: opened.peer_timeout,
            random: random()? as u32,
            secret: secret()?,
            // If there are more shards than cores, shards share cores.
            core: (!cores.is_empty()).then(|| CoreId { id: cores[index % cores.len()] }),
        };
        let (go, gone) = bounded(1);
        gos.push(go);
        let start = Start { ready: ready.clone(), go: gone, failures: failed.clone() };
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || run(seed, start));
        shards.push(thread.map_err(|error| StartError(format!("a shard's thread did not start: {error}")))?);
    }
    drop(ready);
    for _ in 0..opened.shards {
        // A thread that ended without a report has panicked.
        let outcome = readies.recv().unwrap_or_else(|_| Err("a shard ended before it was ready".to_owned()));
        outcome.map_err(StartError)?;
    }
    Ok(())
}

fn way(gate: &Gate, shard: usize) -> ShardSocket {
    match (&gate.origin, &gate.address) {
        (SocketOrigin::Claimed(_), Remote::Tcp(address)) if shard > 0 => ShardSocket::Join(*address),
        (
            SocketOrigin::Claimed(listener) | SocketOrigin::Activated(listener) | SocketOrigin::AtPath(listener, _),
            _,
        ) => ShardSocket::Share(listener.clone()),
    }
}

fn run(mut seed: Seed, start: Start) {
    if let Some(core) = seed.core.filter(|core| !core_affinity::set_for_current(*core)) {
        warn!("shard {} is not pinned: the kernel refused core {}", seed.place.0, core.id);
    }
    if let Err(error) = socket::private_descriptor_table() {
        warn!(
            "shard {} shares its descriptors with the process, so RLIMIT_NOFILE bounds all shards: {error}",
            seed.place.0
        );
        let process = Arc::make_mut(&mut seed.settings.process);
        process.shard_connections_max /= seed.shared.counters.len() as u64;
    }
    let (waker, clock, fold) = (seed.waker.clone(), seed.shared.clock, seed.shared.fold.clone());
    let outcome = match seed.shared.driver {
        DriverKind::Epoll => EpollDriver::new(waker, clock, fold).map(|driver| run_on(driver, seed, &start)),
        DriverKind::Uring => match UringDriver::new(waker.clone(), clock, fold.clone(), &UringOptions::default()) {
            Ok(driver) => return run_on(driver, seed, &start),
            Err(error) => {
                // The probe succeeded, but for this many shards there may be too little lockable memory, or too few
                // descriptors.
                warn!("io_uring is not used in shard {}, epoll is: {error}", seed.place.0);
                EpollDriver::new(waker, clock, fold).map(|driver| run_on(driver, seed, &start))
            }
        },
    };
    if let Err(error) = outcome {
        // The gateway may have given up already.
        let _ = start.ready.send(Err(format!("the driver did not start: {error}")));
    }
}

fn run_on<D: Driver<Listener = ListeningSocket>>(driver: D, seed: Seed, start: &Start) {
    let place = seed.place;
    let counters = seed.shared.counters.clone();
    match prepare(driver, seed) {
        Ok((mut shard, listeners)) => {
            let is_awaited = start.ready.send(Ok(())).is_ok() && start.go.recv().is_ok();
            if is_awaited {
                // A failed assertion in a shard is our bug. The other shards and the operator must learn of it.
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    for (id, listener) in listeners {
                        match listener.is_shared() {
                            true => shard.listen_for_now(id, listener)?,
                            false => shard.listen(id, listener)?,
                        }
                    }
                    shard.run()
                }));
                let failure = match outcome {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => format!("shard {} failed: {error}", place.0),
                    Err(_) => format!("shard {} panicked", place.0),
                };
                error!("{failure}");
                // The driver ends with its shard and closes the shard's connections, so a drain must not wait for them.
                counters[place.index()].clients.set(0);
                let _ = start.failures.send(failure);
            }
        }
        Err(words) => drop(start.ready.send(Err(words))),
    }
}

type Prepared<D> = (Shard<D>, Vec<(ListenerId, ListeningSocket)>);

fn prepare<D: Driver<Listener = ListeningSocket>>(driver: D, seed: Seed) -> Result<Prepared<D>, String> {
    let mut listeners = Vec::new();
    for (index, way) in seed.ways.iter().enumerate() {
        let listener = match way {
            ShardSocket::Join(address) => {
                socket::join(*address).map_err(|error| format!("cannot listen on {address}: {error}"))
            }
            ShardSocket::Share(listener) => {
                listener.share().map_err(|error| format!("cannot share a listening socket: {error}"))
            }
        }?;
        let outcome = listener.set_peer_timeout(seed.peer_timeout);
        outcome.map_err(|error| format!("cannot set TCP_USER_TIMEOUT: {error}"))?;
        listeners.push((ListenerId(index as u16), listener));
    }
    let now = driver.now();
    let parts = Parts {
        place: seed.place,
        settings: seed.settings,
        entrances: seed.entrances,
        mesh: seed.shared.mesh,
        mailbox: seed.mailbox,
        counters: seed.shared.counters,
        fold: seed.shared.fold,
        seed: seed.random,
        secret: seed.secret,
        budget: Budget::default(),
        now,
    };
    Ok((Shard::new(driver, parts), listeners))
}
