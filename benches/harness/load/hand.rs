//! One thread of the load: its descriptor table, its epoll, its connections.
//!
//! ```text
//! Crew --Job--> [ jobs -> publish what is due -> open some -> wait -> receive ] --Done--> Crew
//!        bell                    (first hand only)
//! ```

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tidegate::driver::socket::private_descriptor_table;

use super::Shared;
use super::arrivals::{Arrivals, Opened};
use super::bell::Bell;
use super::clients::Batch;
use super::connection::{Connection, Scratch};
use super::opening::Opening;
use super::publisher::Publisher;
use super::source::Sources;
use super::tally::Tally;
use super::timer::Timer;
use super::traffic::Traffic;

const BELL: Token = Token(usize::MAX);
const PUBLISHER: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);
const EVENTS: usize = 1024;
pub(super) enum Job {
    Open(Batch),
    /// Cuts every connection off; each of the batch comes back at a random time within the jitter.
    ComeBack(Batch, Duration),
    /// Begins a phase.
    Reset,
    /// Leaves the CPU to others from now on: this hand stands for machines that are elsewhere.
    StandBack,
    Connect {
        address: std::net::SocketAddr,
        dialect: crate::options::Target,
        channels: usize,
        bytes: usize,
    },
    Publish(Traffic),
    Echo {
        bytes: usize,
        end: Instant,
    },
    Report,
    Close,
}

pub(super) enum Done {
    /// Reset, connected or closed.
    Ready,
    Opened(Box<Opened>),
    /// All of the traffic, in deliveries that must come of it.
    Published(u64),
    Report(Box<Tally>),
    Failed(String),
}

pub(super) struct Hand {
    index: usize,
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    done: Sender<Done>,
    bell: Bell,
    poll: Poll,
    slots: Slab<Slot>,
    scratch: Scratch,
    sources: Sources,
    tally: Tally,
    /// Deliveries of the tally that the others know of.
    told: u64,
    batch: Option<Progressing>,
    publisher: Option<Publisher>,
    traffic: Option<Traffic>,
    echo: Option<Echo>,
    timer: Timer,
}

/// Each connection has one message on its way, until the end.
struct Echo {
    bytes: usize,
    end: Instant,
    on_their_way: usize,
}

enum Slot {
    /// And which one of the batch it is.
    Opening(Box<Opening>, usize),
    Open(Connection),
}

/// A batch that is being opened.
struct Progressing {
    batch: Batch,
    arrivals: Arrivals,
}

impl Hand {
    /// On the thread itself: what is opened from here on is its own. The bells were opened before.
    pub(super) fn new(
        index: usize,
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        done: Sender<Done>,
    ) -> Result<Hand, String> {
        let failed = |error: std::io::Error| format!("a thread of the load did not start: {error}");
        private_descriptor_table().map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        let bell = shared.bells[index].clone();
        let timer = Timer::new().map_err(failed)?;
        poll.registry().register(&mut SourceFd(&bell.fd()), BELL, Interest::READABLE).map_err(failed)?;
        poll.registry().register(&mut SourceFd(&timer.0.as_raw_fd()), TIMER, Interest::READABLE).map_err(failed)?;
        Ok(Hand {
            index,
            tally: Tally::new(shared.base)?,
            shared,
            jobs,
            done,
            bell,
            poll,
            slots: Slab::new(),
            scratch: Scratch::new(),
            sources: Sources::new(index),
            told: 0,
            batch: None,
            publisher: None,
            traffic: None,
            echo: None,
            timer,
        })
    }

    /// Until the crew lets go of it, or something fails.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.turn(&mut events) {
                Ok(true) => {}
                Ok(false) => return,
                Err(words) => {
                    // The crew has gone if it does not hear.
                    _ = self.done.send(Done::Failed(words));
                    return;
                }
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> Result<bool, String> {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.begin(job)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
        let waits = [self.publish()?, self.open_some()?];
        if let Some(wait) = waits.into_iter().flatten().min() {
            self.timer.set(wait).map_err(|error| format!("a timer cannot be set: {error}"))?;
        }
        match self.poll.poll(events, None) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(format!("epoll: {error}")),
            _ => {}
        }
        for event in events.iter() {
            match event.token() {
                BELL => self.bell.take(),
                TIMER => self.timer.take(),
                PUBLISHER => {
                    if let Some(publisher) = &mut self.publisher {
                        publisher.receive(&mut self.scratch.buffer)?;
                        publisher.flush()?;
                    }
                }
                Token(slot) => self.on_ready(slot)?,
            }
        }
        self.tell_deliveries();
        Ok(true)
    }

    fn begin(&mut self, job: Job) -> Result<(), String> {
        match job {
            Job::Open(batch) => {
                let arrivals = Arrivals::at_once(batch.count)?;
                self.batch = Some(Progressing { batch, arrivals });
                self.tell_if_opened();
                return Ok(());
            }
            Job::ComeBack(batch, jitter) => {
                self.slots.clear();
                let arrivals = Arrivals::jittered(batch.count, jitter, self.index as u64)?;
                self.batch = Some(Progressing { batch, arrivals });
                self.tell_if_opened();
                return Ok(());
            }
            Job::Reset => {
                self.tally.reset();
                self.told = 0;
            }
            Job::StandBack => stand_back()?,
            Job::Connect { address, dialect, channels, bytes } => {
                let mut publisher = Publisher::connect(address, dialect, channels, bytes)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registered = self.poll.registry().register(&mut publisher.socket, PUBLISHER, interest);
                registered.map_err(|error| format!("epoll: {error}"))?;
                self.publisher = Some(publisher);
            }
            Job::Publish(traffic) => {
                self.traffic = Some(traffic);
                return Ok(());
            }
            Job::Echo { bytes, end } => return self.begin_echo(Echo { bytes, end, on_their_way: 0 }),
            Job::Report => {
                self.say(Done::Report(Box::new(self.tally.clone())));
                return Ok(());
            }
            Job::Close => {
                self.publisher = None;
                self.slots.clear();
            }
        }
        self.say(Done::Ready);
        Ok(())
    }

    fn say(&self, done: Done) {
        // It fails when the crew has gone, and then the next turn ends this thread.
        _ = self.done.send(done);
    }

    /// Publishes what is due; how long until more is.
    fn publish(&mut self) -> Result<Option<Duration>, String> {
        let (Some(traffic), Some(publisher)) = (&mut self.traffic, &mut self.publisher) else { return Ok(None) };
        let wait = traffic.publish(publisher, &self.shared)?;
        publisher.flush()?;
        if wait.is_none() {
            let expected = traffic.expected();
            self.traffic = None;
            self.say(Done::Published(expected));
        }
        Ok(wait)
    }

    /// Those whose time has come; how long until the next one's has.
    fn open_some(&mut self) -> Result<Option<Duration>, String> {
        let Some(Progressing { batch, arrivals }) = &mut self.batch else { return Ok(None) };
        let now = Instant::now();
        while let Some(member) = arrivals.next(now) {
            let (framing, channel) = batch.member(member);
            let failed = |error: std::io::Error| {
                let is_limit = error.raw_os_error() == Some(libc::EMFILE);
                format!("a connection was not opened: {error}{}", if is_limit { " (ulimit -n)" } else { "" })
            };
            let socket = TcpStream::from(self.sources.connect(batch.front.address).map_err(failed)?);
            let hello = batch.front.hello(framing, channel);
            let entry = self.slots.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered =
                self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(entry.key()), interest);
            registered.map_err(failed)?;
            let opening = Opening::new(socket, framing, hello, batch.front.tls.as_ref())?;
            entry.insert(Slot::Opening(Box::new(opening), member));
        }
        Ok(arrivals.wait(now))
    }

    /// A socket that is still being opened must open, unless its batch tries again; one that is open may end, and is counted
    /// then.
    fn on_ready(&mut self, key: usize) -> Result<(), String> {
        match self.slots.get_mut(key) {
            Some(Slot::Open(connection)) => {
                let before = self.tally.deliveries;
                if let Err(fault) = connection.receive(&mut self.scratch, &mut self.tally) {
                    self.tally.ended(fault);
                    self.slots.remove(key);
                    return Ok(());
                }
                let is_echoed = self.echo.is_some() && self.tally.deliveries > before;
                if is_echoed { self.on_echo(key) } else { Ok(()) }
            }
            Some(Slot::Opening(opening, member)) => {
                let member = *member;
                match opening.advance(&mut self.scratch) {
                    Ok(true) => self.on_answered(key),
                    Ok(false) => Ok(()),
                    Err(fault) => self.on_refused(key, member, fault),
                }
            }
            // An event of this turn that came after its socket's end.
            None => Ok(()),
        }
    }

    fn on_answered(&mut self, key: usize) -> Result<(), String> {
        let Some(Progressing { batch, arrivals }) = &mut self.batch else { return Ok(()) };
        if let Slot::Opening(opening, _) = self.slots.remove(key) {
            if opening.is_resumed() {
                self.shared.resumed.fetch_add(1, Ordering::Relaxed);
            }
            let mut connection = opening.finish(&mut self.tally)?;
            if !batch.is_kept {
                connection.say_goodbye()?;
            } else {
                // The slot is free again, and its number is the socket's token.
                assert_eq!(self.slots.insert(Slot::Open(connection)), key, "a freed slot is the next one");
            }
        }
        arrivals.opened(Instant::now());
        self.shared.opened.fetch_add(1, Ordering::Relaxed);
        self.tell_if_opened();
        Ok(())
    }

    fn on_refused(&mut self, key: usize, member: usize, fault: String) -> Result<(), String> {
        self.slots.remove(key);
        match &mut self.batch {
            Some(Progressing { arrivals, .. }) => arrivals.refused(member, Instant::now(), fault),
            None => Err(fault),
        }
    }

    fn tell_if_opened(&mut self) {
        if let Some(opened) = self.batch.as_ref().and_then(|it| it.arrivals.outcome()) {
            self.batch = None;
            self.say(Done::Opened(Box::new(opened)));
        }
    }

    fn begin_echo(&mut self, mut echo: Echo) -> Result<(), String> {
        for (_, slot) in &mut self.slots {
            if let Slot::Open(connection) = slot {
                connection.send_message(echo.bytes, since(self.shared.base, Instant::now()))?;
                echo.on_their_way += 1;
            }
        }
        self.echo = Some(echo);
        Ok(())
    }

    fn on_echo(&mut self, key: usize) -> Result<(), String> {
        let (Some(echo), Some(Slot::Open(connection))) = (&mut self.echo, self.slots.get_mut(key)) else {
            return Ok(());
        };
        let now = Instant::now();
        if now < echo.end {
            return connection.send_message(echo.bytes, since(self.shared.base, now));
        }
        echo.on_their_way -= 1;
        if echo.on_their_way == 0 {
            self.echo = None;
            self.say(Done::Ready);
        }
        Ok(())
    }

    /// The publisher may wait for them.
    fn tell_deliveries(&mut self) {
        let fresh = self.tally.deliveries - self.told;
        if fresh > 0 {
            self.told = self.tally.deliveries;
            let before = self.shared.delivered.fetch_add(fresh, Ordering::Relaxed);
            let awaited = self.shared.awaited.load(Ordering::Relaxed);
            if self.index != 0 && before < awaited && before + fresh >= awaited {
                self.shared.bells[0].ring();
            }
        }
    }
}

/// The shortest sleep of the publisher: at high rates several messages go out together.
pub(super) const SLEEP_MIN: Duration = Duration::from_micros(200);

/// When `base` and a time in nanoseconds meet.
pub(super) fn since(base: Instant, at: Instant) -> u64 {
    at.saturating_duration_since(base).as_nanos() as u64
}

/// Lowers the priority of the calling thread.
fn stand_back() -> Result<(), String> {
    const NICE: libc::c_int = 10;
    const THIS_THREAD: libc::id_t = 0;
    // SAFETY: the call takes numbers only; on Linux it is about the thread, not the process (setpriority(2), Notes).
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, THIS_THREAD, NICE) } {
        0 => Ok(()),
        _ => Err(format!("priority: {}", std::io::Error::last_os_error())),
    }
}
