//! The load: many clients on a few threads, and who publishes to them.
//!
//! ```text
//! Crew (the benchmark's thread) --jobs--> Hand 0: publisher, connections
//!                               --jobs--> Hand 1: connections ...
//! ```
//!
//! Each hand has a descriptor table of its own, as the gateway's shards have, and for the same reason. A table is a copy of
//! what was open when its thread began: so a crew is started before the process that it is to load, whose stdin it would
//! otherwise hold open.

mod arrivals;
mod bell;
mod clients;
mod connection;
mod hand;
mod opening;
mod publisher;
mod record;
mod source;
mod tally;
mod timer;
mod traffic;
mod updates;
mod wire;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use arrivals::Opened;
pub use clients::{Clients, Front};
pub use tally::{PAYLOAD_BYTES_MIN, Tally};
pub use traffic::Pace;
pub use updates::KeyUpdates;
pub(crate) use wire::write_server_frame;
pub use wire::{Framing, TEXT, write_client_frame};

use bell::Bell;
use clients::Batch;
use hand::{Done, Hand, Job};
use traffic::Traffic;

use crate::process::Process;
use crate::progress::Progress;

/// How long nothing may happen while connections are opened, or after the last message.
const PATIENCE: Duration = Duration::from_secs(30);
/// A phase without an end of its own.
const PHASE_MAX: Duration = Duration::from_secs(24 * 3600);
const GONE: &str = "a thread of the load ended";
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What all hands see.
struct Shared {
    /// What the times in payloads count from.
    base: Instant,
    bells: Vec<Bell>,
    opened: AtomicU64,
    /// Of those, with a session that they had.
    resumed: AtomicU64,
    /// Whether a phase without an end of its own ends now.
    is_over: AtomicBool,
    /// In this phase.
    delivered: AtomicU64,
    /// Deliveries at which the publisher wants to be woken.
    awaited: AtomicU64,
}

/// What came of one phase.
pub struct Outcome {
    /// Deliveries that had to come.
    pub expected: u64,
    /// From the start to the last delivery, and no shorter than the phase.
    pub elapsed: Duration,
    pub tally: Tally,
}

impl Outcome {
    /// Everybody got everything, in order, and nobody was cut off.
    pub fn require_whole(&self) -> Result<(), String> {
        let Tally { deliveries, lost, closed, fault, .. } = &self.tally;
        if *closed == 0 && *lost == 0 && *deliveries == self.expected {
            return Ok(());
        }
        let fault = fault.as_deref().unwrap_or("no connection was closed");
        Err(format!("{deliveries} of {} deliveries came; closed: {closed} ({fault})", self.expected))
    }
}

/// All threads of the load.
pub struct Crew {
    shared: Arc<Shared>,
    hands: Vec<End>,
}

/// The crew's end of a hand.
struct End {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    thread: JoinHandle<()>,
}

impl Crew {
    /// To be started before the process that it loads.
    pub fn start(hands: usize) -> Result<Crew, String> {
        let failed = |error: std::io::Error| format!("the load did not start: {error}");
        let bells = (0..hands).map(|_| Bell::new()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let shared = Arc::new(Shared {
            base: Instant::now(),
            bells,
            opened: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
        });
        let mut crew = Crew { shared, hands: Vec::new() };
        for index in 0..hands {
            let (jobs, next_job) = channel();
            let (tell, done) = channel();
            let shared = crew.shared.clone();
            let run = move || match Hand::new(index, shared, next_job, tell.clone()) {
                Ok(hand) => {
                    _ = tell.send(Done::Ready);
                    hand.run();
                }
                Err(words) => _ = tell.send(Done::Failed(words)),
            };
            let thread = std::thread::Builder::new().name(format!("load-{index}")).spawn(run).map_err(failed)?;
            crew.hands.push(End { jobs, done, thread });
        }
        // Their tables are their own before anything else is opened.
        (0..hands).try_for_each(|index| crew.expect_ready(index))?;
        Ok(crew)
    }

    /// Opens clients from all hands; returns when each is answered. How long that took.
    pub fn open(&self, front: &Front, clients: Clients, progress: &mut Progress) -> Result<Duration, String> {
        self.open_from(0..self.hands.len(), front, clients, true, progress)
    }

    /// The same, but each is closed as soon as it is open.
    pub fn visit(&self, front: &Front, clients: Clients, progress: &mut Progress) -> Result<Duration, String> {
        self.open_from(0..self.hands.len(), front, clients, false, progress)
    }

    /// From some hands only.
    pub fn open_from(
        &self,
        hands: Range<usize>,
        front: &Front,
        clients: Clients,
        is_kept: bool,
        progress: &mut Progress,
    ) -> Result<Duration, String> {
        let start = Instant::now();
        let job = |first, count| Job::Open(Batch { front: front.clone(), clients, first, count, is_kept });
        self.bring_in(hands, clients.count, job, progress)?;
        Ok(start.elapsed())
    }

    /// Cuts off whomever some hands have, all at once. Each comes back at a random time within `jitter`, and again after a
    /// while if it is refused; returns when each is answered.
    pub fn come_back(
        &self,
        hands: Range<usize>,
        front: &Front,
        clients: Clients,
        jitter: Duration,
        progress: &mut Progress,
    ) -> Result<Opened, String> {
        let batch = |first, count| Batch { front: front.clone(), clients, first, count, is_kept: true };
        self.bring_in(hands, clients.count, |first, count| Job::ComeBack(batch(first, count), jitter), progress)
    }

    /// Each hand gets its share: where it begins, and how many.
    fn bring_in(
        &self,
        hands: Range<usize>,
        count: usize,
        job: impl Fn(usize, usize) -> Job,
        progress: &mut Progress,
    ) -> Result<Opened, String> {
        self.shared.opened.store(0, Ordering::Relaxed);
        self.shared.resumed.store(0, Ordering::Relaxed);
        let each = count.div_ceil(hands.len());
        for (share, index) in hands.clone().enumerate() {
            let first = (share * each).min(count);
            self.tell(index, job(first, each.min(count - first)))?;
        }
        let mut all = Opened::new()?;
        let mut watch = Watch::new();
        for index in hands {
            loop {
                match self.hands[index].done.recv_timeout(LOOK_INTERVAL) {
                    Ok(Done::Opened(opened)) => {
                        all.add(*opened);
                        break;
                    }
                    Ok(Done::Failed(words)) => return Err(words),
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(GONE.to_owned()),
                }
                let opened = self.shared.opened.load(Ordering::Relaxed);
                progress.show(|| format!("{opened} of {count} opened"));
                if watch.is_stuck(opened) {
                    return Err(format!("only {opened} of {count} connections were opened"));
                }
            }
        }
        Ok(all)
    }

    /// Leaves the CPU to the other hands and to the server: what these hands do stands for machines that are elsewhere.
    pub fn stand_back(&self, hands: Range<usize>) -> Result<(), String> {
        for index in hands {
            self.tell(index, Job::StandBack)?;
            self.expect_ready(index)?;
        }
        Ok(())
    }

    /// How many of the last ones opened had resumed a TLS session.
    pub fn resumed(&self) -> u64 {
        self.shared.resumed.load(Ordering::Relaxed)
    }

    /// For the channels of `clients`; messages will have so many bytes. Floors take nobody after it.
    pub fn connect_publisher(&self, process: &Process, clients: Clients, bytes: usize) -> Result<(), String> {
        let (address, dialect) = (process.publish()?, process.target);
        self.tell(0, Job::Connect { address, dialect, channels: clients.channels(), bytes })?;
        self.expect_ready(0)
    }

    /// Publishes for `duration`, and returns when everybody has got everything, or patience has ended. Each crowd fills the
    /// channels from the first on; those of the first crowd are published to.
    pub fn run(
        &self,
        crowds: &[Clients],
        pace: Pace,
        duration: Duration,
        progress: &mut Progress,
    ) -> Result<Outcome, String> {
        let mut listeners = vec![0; crowds.first().map_or(0, Clients::channels)];
        for crowd in crowds {
            listeners.iter_mut().zip(crowd.listeners()).for_each(|(all, its)| *all += its);
        }
        let start = self.begin(Traffic::new(pace, duration, listeners))?;
        self.finish(start, duration, progress)
    }

    /// Publishes while `rest` does something else, from other hands than the first.
    pub fn run_during<T>(
        &self,
        clients: Clients,
        pace: Pace,
        rest: impl FnOnce() -> Result<T, String>,
        progress: &mut Progress,
    ) -> Result<(Outcome, T), String> {
        let start = self.begin(Traffic::new(pace, PHASE_MAX, clients.listeners()))?;
        let outcome = rest()?;
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.bells[0].ring();
        Ok((self.finish(start, start.elapsed(), progress)?, outcome))
    }

    fn begin(&self, traffic: Traffic) -> Result<Instant, String> {
        self.all_ready(|| Job::Reset)?;
        self.shared.delivered.store(0, Ordering::Relaxed);
        self.shared.is_over.store(false, Ordering::Relaxed);
        let start = Instant::now();
        self.tell(0, Job::Publish(traffic))?;
        Ok(start)
    }

    fn finish(&self, start: Instant, duration: Duration, progress: &mut Progress) -> Result<Outcome, String> {
        let mut expected = None;
        let mut watch = Watch::new();
        loop {
            match self.hands[0].done.recv_timeout(LOOK_INTERVAL) {
                Ok(Done::Published(deliveries)) => expected = Some(deliveries),
                Ok(Done::Failed(words)) => return Err(words),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(GONE.to_owned()),
            }
            let delivered = self.shared.delivered.load(Ordering::Relaxed);
            progress.show(|| format!("{} s, {delivered} deliveries", start.elapsed().as_secs()));
            if expected.is_some_and(|expected| delivered >= expected) || watch.is_stuck(delivered) {
                break;
            }
        }
        let expected = expected.ok_or("the publisher is stuck")?;
        let tally = self.reports()?;
        let elapsed = tally.last_delivery.saturating_duration_since(start).max(duration);
        Ok(Outcome { expected, elapsed, tally })
    }

    /// Each client sends a message, and another one whenever it has got one, for `duration`. What was sent comes back as a
    /// delivery.
    pub fn echo(&self, bytes: usize, duration: Duration, progress: &mut Progress) -> Result<Outcome, String> {
        self.all_ready(|| Job::Reset)?;
        let start = Instant::now();
        (0..self.hands.len()).try_for_each(|index| self.tell(index, Job::Echo { bytes, end: start + duration }))?;
        for index in 0..self.hands.len() {
            loop {
                match self.hands[index].done.recv_timeout(LOOK_INTERVAL) {
                    Ok(Done::Failed(words)) => return Err(words),
                    Ok(_) => break,
                    Err(_) if start.elapsed() > duration + PATIENCE => return Err("echoes do not come back".to_owned()),
                    Err(_) => {}
                }
                progress.show(|| format!("{} s", start.elapsed().as_secs()));
            }
        }
        let tally = self.reports()?;
        Ok(Outcome { expected: tally.deliveries, elapsed: duration, tally })
    }

    fn reports(&self) -> Result<Tally, String> {
        let mut tally = Tally::new(self.shared.base)?;
        for index in 0..self.hands.len() {
            tally.add(&self.report(index)?);
        }
        Ok(tally)
    }

    fn report(&self, index: usize) -> Result<Tally, String> {
        self.tell(index, Job::Report)?;
        match self.hands[index].done.recv() {
            Ok(Done::Report(tally)) => Ok(*tally),
            Ok(Done::Failed(words)) => Err(words),
            _ => Err(GONE.to_owned()),
        }
    }

    /// Closes every connection.
    pub fn close(&self) -> Result<(), String> {
        self.all_ready(|| Job::Close)
    }

    fn all_ready(&self, job: impl Fn() -> Job) -> Result<(), String> {
        (0..self.hands.len()).try_for_each(|index| self.tell(index, job()))?;
        (0..self.hands.len()).try_for_each(|index| self.expect_ready(index))
    }

    fn tell(&self, index: usize, job: Job) -> Result<(), String> {
        if self.hands[index].jobs.send(job).is_err() {
            return Err(match self.hands[index].done.try_iter().last() {
                Some(Done::Failed(words)) => words,
                _ => GONE.to_owned(),
            });
        }
        self.shared.bells[index].ring();
        Ok(())
    }

    fn expect_ready(&self, index: usize) -> Result<(), String> {
        match self.hands[index].done.recv_timeout(PATIENCE) {
            Ok(Done::Ready) => Ok(()),
            Ok(Done::Failed(words)) => Err(words),
            _ => Err("a thread of the load does not answer".to_owned()),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (index, End { jobs, thread, .. }) in self.hands.drain(..).enumerate() {
            drop(jobs);
            self.shared.bells[index].ring();
            // A thread that panicked has said so.
            _ = thread.join();
        }
    }
}

/// Notices when a number does not grow any more.
struct Watch {
    seen: u64,
    since: Instant,
}

impl Watch {
    fn new() -> Watch {
        Watch { seen: 0, since: Instant::now() }
    }

    fn is_stuck(&mut self, number: u64) -> bool {
        if number != self.seen {
            *self = Watch { seen: number, since: Instant::now() };
        }
        self.since.elapsed() > PATIENCE
    }
}
