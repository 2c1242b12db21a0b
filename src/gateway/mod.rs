//! The process: from a configuration to running threads, and back.
//!
//! ```text
//!  Builder --start--> Plan: settings, certificates --> OpenedPlan: addresses, cores --> one thread per shard: pin, unshare, bind, driver, run
//!                                wake-ups, mesh (SHARED BEFORE UNSHARED)            |--> names and probes of servers, if there are any
//!                                                                                   |--> the writer of the access log, if there is one
//!                                                                                   '--> in-process workers, a thread each
//!  Gateway --announce--> systemd: ready, signs of life
//!          --stop-----> Drain to every shard --> joined --> Drain to the others --> joined
//! ```

#![warn(missing_docs)]

mod access_log;
mod activated;
mod beside;
pub mod config;
pub mod online;
mod opened;
mod plan;
mod systemd;
mod threads;

// `tidegate doctor` and the benchmarks calculate with the same functions as the gateway. They are public for these
// programs only, and no stable API.
#[doc(hidden)]
pub mod cores;
#[doc(hidden)]
pub mod descriptors;
#[doc(hidden)]
pub mod most;
#[doc(hidden)]
pub mod tree;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use log::{info, warn};

use crate::base::{NodeId, Place, Remote};
use crate::conn::Door;
use crate::conn::route::{Route, RouteTarget};
use crate::driver::clock::Clock;
use crate::driver::path::SocketFile;
use crate::driver::{Choice, DriverKind, Waker, choose};
use crate::limits;
use crate::mesh::drain::DrainMail;
use crate::mesh::{Mail, Mailbox, Mesh, Threads};
use crate::outbound::{self, OutboundParts};
use crate::proto::channel::Rules;
use crate::shard::counters::{self, Counters};
use crate::shard::drain;
use crate::worker::Worker;

use access_log::LogWriter;
use config::Config;
use opened::OpenedPlan;
use plan::{Machine, Plan};
use systemd::{Announcer, Pulse};

pub use activated::ActivatedSocket;
pub use plan::shards;

/// How long a shard may take to notice that it should stop, before the gateway sends the request again.
const STOP_RETRY: Duration = Duration::from_millis(10);

/// The reason why a gateway did not start, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

type WorkerBody = Box<dyn FnOnce(Worker) + Send>;

/// A gateway that is not started yet.
pub struct Builder {
    config: Config,
    pages: Vec<Route>,
    workers: Vec<(String, WorkerBody)>,
    sockets: Vec<ActivatedSocket>,
    node: Option<NodeId>,
}

/// An open listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The protocol and the rights of its connections.
    pub door: Door,
    /// Whether connections begin with a TLS handshake.
    pub is_tls: bool,
    /// With the port that the kernel chose, if port 0 was configured; or a path.
    pub address: Remote,
}

impl Listening {
    /// `http`, `https`, `bus` or `admin`.
    pub fn name(&self) -> &'static str {
        name_of(self.door, self.is_tls)
    }
}

fn name_of(door: Door, is_tls: bool) -> &'static str {
    match (door, is_tls) {
        (Door::Front, false) => "http",
        (Door::Front, true) => "https",
        (Door::Bus, _) => "bus",
        (Door::Admin, _) => "admin",
        (Door::Upstream, _) => "upstream",
    }
}

/// A running gateway. [`Gateway::stop`] drains it; dropping it does the same.
pub struct Gateway {
    listening: Vec<Listening>,
    /// Of sockets at paths: removed with the gateway.
    socket_files: Vec<Arc<SocketFile>>,
    driver: DriverKind,
    mesh: Mesh,
    counters: Arc<[Counters]>,
    rules: Arc<Rules>,
    shards: Vec<JoinHandle<()>>,
    /// The thread for names and probes, if there is one.
    outbound: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    log_writer: Option<LogWriter>,
    failures: Receiver<String>,
    announcer: Option<Announcer>,
    drain_longest: Duration,
}

impl Builder {
    /// A gateway with this configuration, without pages, in-process workers or sockets of systemd. Opens nothing yet.
    pub fn new(config: Config) -> Builder {
        Builder { config, pages: Vec::new(), workers: Vec::new(), sockets: Vec::new(), node: None }
    }

    /// Runs `body` on a thread of its own, with a [`Worker`] of the bus, until it returns. The worker receives
    /// [`crate::worker::Received::Stopped`] when the gateway ends, and should then return.
    pub fn worker(mut self, name: &str, body: impl FnOnce(Worker) + Send + 'static) -> Builder {
        self.workers.push((name.to_owned(), Box::new(body)));
        self
    }

    /// Accepts from these sockets instead of binding their addresses. A socket belongs to the listener of its address,
    /// or of its name.
    pub fn sockets(mut self, sockets: Vec<ActivatedSocket>) -> Builder {
        self.sockets = sockets;
        self
    }

    /// Names the gateway in the ids of its connections and requests, so that no other gateway takes them for its own.
    pub fn node(mut self, node: NodeId) -> Builder {
        self.node = Some(node);
        self
    }

    /// Serves bytes of the embedding program at `path`, before the configured routes.
    ///
    /// # Panics
    ///
    /// If `path` does not begin with `/`.
    pub fn page(mut self, path: &str, content_type: &'static str, body: &'static [u8]) -> Builder {
        self.pages.push(
            Route::new(path, RouteTarget::page(content_type, body)).expect("a page's path is written in the program"),
        );
        self
    }

    /// Binds every address, starts every thread, and returns when all of them accept.
    pub fn start(self) -> Result<Gateway, StartError> {
        let Builder { config, pages, workers, sockets, node } = self;
        let choice = match config.driver {
            config::DriverChoice::Auto => Choice::Auto,
            config::DriverChoice::Epoll => Choice::Epoll,
            config::DriverChoice::Uring => Choice::Uring,
        };
        let (driver, why_not) = choose(choice);
        if let Some(why_not) = why_not {
            warn!("io_uring is not used, epoll is: {why_not}");
        }
        let descriptors = descriptors::raise();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut plan = Plan::new(&config, pages, workers.len(), Machine { descriptors, cores })?;
        plan.process.node = node;
        let shards = plan.shards;
        let opened = OpenedPlan::new(plan, sockets)?;
        let wakers = (0..shards).map(|_| waker()).collect::<Result<Vec<_>, _>>()?;
        let is_outbound_needed = outbound::is_needed(&opened.settings.generation.upstreams, &opened.sources);
        let outbound_waker = is_outbound_needed.then(waker).transpose()?;
        let side_threads: Vec<Waker> = outbound_waker.iter().cloned().collect();
        let beside = side_threads.len();
        let has_log_writer = config.access_log.is_some();
        access_log::check(&config)?;
        let threads = Threads { shards: wakers.clone(), side_threads, workers: workers.len(), has_log_writer };
        let (mesh, mut mailboxes) = Mesh::new(threads, limits::MAILBOX_MAILS);
        let mut worker_mailboxes = mailboxes.split_off(shards);
        let outbound_mailbox = worker_mailboxes.drain(..beside).next();
        let log_mailbox = if has_log_writer { worker_mailboxes.pop() } else { None };
        let counters: Arc<[Counters]> = (0..shards).map(|_| Counters::of(&opened.settings)).collect();
        let seeds = threads::Seeds {
            mesh: mesh.clone(),
            counters: counters.clone(),
            fold: Arc::default(),
            clock: Clock::start(),
            driver,
        };
        let (fold, clock) = (seeds.fold.clone(), seeds.clock);
        let started = threads::start_shards(&opened, seeds, wakers.into_iter().zip(mailboxes).collect())?;
        let payload_bytes_max = opened.settings.generation.payload_bytes_max;
        let first = (shards + beside) as u16;
        let workers = start_workers(workers, worker_mailboxes, (&mesh, first), payload_bytes_max);
        let mut gateway = Gateway {
            listening: opened.listening(),
            socket_files: opened.files(),
            driver,
            mesh,
            counters,
            shards: started.shards,
            outbound: Vec::new(),
            workers: Vec::new(),
            log_writer: None,
            failures: started.failures,
            announcer: None,
            drain_longest: drain::longest(&opened.settings),
            rules: opened.settings.generation.channels.clone(),
        };
        if let (Some(waker), Some(mailbox)) = (outbound_waker, outbound_mailbox) {
            let generation = &opened.settings.generation;
            let (place, mesh) = (Place(shards as u16), gateway.mesh.clone());
            let (upstreams, upstreams_tls) = (generation.upstreams.clone(), generation.upstreams_tls.clone());
            let sources = opened.sources.clone();
            let parts = OutboundParts { place, mesh, mailbox, waker, upstreams, upstreams_tls, sources, fold, clock };
            gateway.outbound.push(beside::start(parts, started.failed)?);
        }
        gateway.log_writer = access_log::start(&config, &opened.settings.generation, &gateway.mesh, log_mailbox)?;
        gateway.workers = workers.map_err(|error| StartError(format!("a worker's thread did not start: {error}")))?;
        match &opened.pinning {
            Ok(_) => info!("{shards} shards on {driver}, each pinned to a core"),
            Err(why) => info!("{shards} shards on {driver}, not pinned: {why}"),
        }
        descriptors::tell(shards, descriptors, config.limits.connections_max);
        Ok(gateway)
    }
}

/// A thread for each worker, whose places begin with `first`.
fn start_workers(
    workers: Vec<(String, WorkerBody)>,
    mailboxes: Vec<Mailbox>,
    (mesh, first): (&Mesh, u16),
    payload_bytes_max: usize,
) -> io::Result<Vec<JoinHandle<()>>> {
    let each = (first..).map(Place).zip(workers.into_iter().zip(mailboxes));
    each.map(|(place, ((name, body), mailbox))| {
        let worker = Worker::new(place, mesh.clone(), mailbox, payload_bytes_max);
        std::thread::Builder::new().name(name).spawn(move || body(worker))
    })
    .collect()
}

fn waker() -> Result<Waker, StartError> {
    Waker::new().map_err(|error| StartError(format!("no eventfd for the wake-ups: {error}")))
}

impl Gateway {
    /// In the order of the configuration: listeners, bus, admin.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// The first listener of that kind with an address.
    pub fn address(&self, door: Door, is_tls: bool) -> Option<SocketAddr> {
        let of_kind = self.listening.iter().filter(|listening| listening.door == door && listening.is_tls == is_tls);
        let mut addresses = of_kind.filter_map(|listening| match listening.address {
            Remote::Tcp(address) => Some(address),
            Remote::Unix(_) => None,
        });
        addresses.next()
    }

    /// The driver of all shards: the configured one, or epoll if the kernel does not allow it.
    pub fn driver(&self) -> DriverKind {
        self.driver
    }

    /// The number of shards, each a thread with its own connections. It never changes.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// All counters in the Prometheus text format.
    pub fn metrics(&self) -> String {
        counters::render(self.counters.iter(), &self.rules)
    }

    /// Tells systemd, if it asks for notifications (NOTIFY_SOCKET), that every address is open. Afterwards, as long as all
    /// shards turn, sends the keep-alives that its watchdog expects.
    pub fn announce(&mut self) {
        self.announcer =
            Announcer::start(Pulse::new(self.mesh.clone(), self.counters.clone(), self.driver, self.drain_longest));
    }

    /// Opens the file of the access log again by its name, so that another program can rename it. False if there is no such
    /// log, or its writer hangs.
    pub fn reopen_access_log(&self) -> bool {
        self.log_writer.as_ref().is_some_and(LogWriter::reopen)
    }

    /// The reasons of shards that ended unexpectedly.
    pub fn failures(&self) -> &Receiver<String> {
        &self.failures
    }

    /// Drains: ends every connection (WebSockets with 1001, event streams cleanly), as the configuration's `drain`
    /// says, then the threads. Whatever the peers do, that takes at most ten seconds longer than the two times there.
    pub fn stop(mut self) {
        self.drain();
    }

    fn drain(&mut self) {
        if let Some(announcer) = &self.announcer {
            announcer.stopping();
        }
        // All shards are told before the first is waited for, so that their clients leave at the same time.
        self.stop_threads(0, |gateway| &mut gateway.shards);
        let beside = self.outbound.len() as u16;
        self.stop_threads(self.mesh.shards(), |gateway| &mut gateway.outbound);
        self.stop_threads(self.mesh.shards() + beside, |gateway| &mut gateway.workers);
        self.log_writer.take().into_iter().for_each(LogWriter::stop);
        self.socket_files.clear();
        self.announcer = None;
    }

    fn stop_threads(&mut self, first_place: u16, threads: fn(&mut Gateway) -> &mut Vec<JoinHandle<()>>) {
        let threads = std::mem::take(threads(self));
        for (place, thread) in (first_place..).map(Place).zip(&threads) {
            self.tell_to_stop(place, thread);
        }
        for thread in threads {
            // A shard's panic is in `failures`; a worker's panic is the embedder's.
            let _ = thread.join();
        }
    }

    /// Tries again while the mailbox is full, until its thread has made room or ended.
    fn tell_to_stop(&self, place: Place, thread: &JoinHandle<()>) {
        while !thread.is_finished() && self.mesh.try_send(place, Mail::Drain(DrainMail::Begin)).is_err() {
            std::thread::sleep(STOP_RETRY);
        }
        self.mesh.wake(place);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain();
    }
}
