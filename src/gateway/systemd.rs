//! The gateway's notifications to systemd (sd_notify(3)).
//!
//! ```text
//!  all shards listen --> READY=1
//!  each beat:  wake every shard; has each turned since the last beat? --yes--> WATCHDOG=1, STATUS=…
//!                                                                     '--no--> nothing: systemd waits WatchdogSec, no longer
//!  drain begins -------> STOPPING=1, EXTEND_TIMEOUT_USEC=as long as it may take
//! ```
//!
//! An idle shard sleeps until it is woken, so a turn after a wake-up is its sign of life. A shard that is stuck in a
//! turn, or has ended, shows none. Then the process sends no keep-alive, whatever its other shards do.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::warn;
use sd_notify::NotifyState;

use crate::base::Place;
use crate::driver::DriverKind;
use crate::mesh::Mesh;
use crate::shard::counters::Counters;

/// Beats within the time that systemd allows between two keep-alives, so that a shard may spend one and a half of them
/// in one turn.
const BEATS_PER_WATCHDOG: u32 = 4;
/// How often the status is sent if no watchdog requires more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the end of the process waits for systemd to read the last message: a manager that does not read must not
/// delay the end.
const LAST_NEWS_TIMEOUT: Duration = Duration::from_secs(1);

/// Reports the state of the gateway to systemd. Ends with the gateway.
pub(super) struct Announcer {
    stop: Option<Sender<()>>,
    /// Disconnected when its thread has ended.
    over: Receiver<()>,
}

impl Announcer {
    /// Reports that the gateway is ready, and starts the keep-alives for the watchdog. `None` without NOTIFY_SOCKET.
    pub(super) fn start(pulse: Pulse) -> Option<Announcer> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = sd_notify::watchdog_enabled();
        let interval = watchdog.map_or(STATUS_INTERVAL, |limit| (limit / BEATS_PER_WATCHDOG).min(STATUS_INTERVAL));
        if let Err(error) = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&pulse.status())]) {
            warn!("systemd does not hear that the gateway is ready: {error}");
        }
        let (stop, stopped) = bounded(1);
        let (alive, over) = bounded(0);
        let announce = move || {
            announce(pulse, interval, watchdog.is_some(), &stopped);
            drop(alive);
        };
        let thread = std::thread::Builder::new().name("systemd".to_owned()).spawn(announce);
        if let Err(error) = thread {
            warn!("systemd gets no signs of life: {error}");
        }
        Some(Announcer { stop: Some(stop), over })
    }

    /// Reports that the gateway is stopping.
    pub(super) fn stopping(&self) {
        if let Some(stop) = &self.stop {
            // The channel is full if this was reported already.
            let _ = stop.try_send(());
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop = None;
        let _: Result<(), _> = self.over.recv_timeout(LAST_NEWS_TIMEOUT);
    }
}

fn announce(mut pulse: Pulse, interval: Duration, has_watchdog: bool, stopped: &Receiver<()>) {
    let stop_usec = u32::try_from(pulse.drain_longest.as_micros()).unwrap_or(u32::MAX);
    let mut is_stopping = false;
    let mut were_stuck = Vec::new();
    loop {
        match stopped.recv_timeout(interval) {
            Ok(()) => {
                is_stopping = true;
                // TimeoutStopSec is for a process that hangs. A drain that is configured to take longer is no hang.
                let extended = NotifyState::ExtendTimeoutUsec(stop_usec);
                tell(&[NotifyState::Stopping, NotifyState::Status("Draining"), extended]);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // In a drain, shards end one by one, so a shard that does not turn is no failure.
        let stuck = if is_stopping { Vec::new() } else { pulse.beat() };
        if stuck.is_empty() && has_watchdog {
            tell(&[NotifyState::Watchdog]);
        }
        if !stuck.is_empty() && stuck != were_stuck {
            warn!("shards {stuck:?} have not turned for {interval:?}: systemd gets no sign of life from this process");
        }
        if !is_stopping {
            tell(&[NotifyState::Status(&pulse.status())]);
        }
        were_stuck = stuck;
    }
}

/// If systemd is gone, the message is dropped.
fn tell(news: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(news);
}

/// Checks whether every shard turns.
pub(super) struct Pulse {
    mesh: Mesh,
    counters: Arc<[Counters]>,
    /// The number of turns of each shard at the last beat; empty before the first.
    turns: Vec<u64>,
    driver: DriverKind,
    /// The longest time that a drain takes.
    drain_longest: Duration,
}

impl Pulse {
    pub(super) fn new(mesh: Mesh, counters: Arc<[Counters]>, driver: DriverKind, drain_longest: Duration) -> Pulse {
        Pulse { mesh, counters, turns: Vec::new(), driver, drain_longest }
    }

    /// The shards that have not turned since the last beat woke them. Wakes all shards again.
    pub(super) fn beat(&mut self) -> Vec<usize> {
        let turns: Vec<u64> = self.counters.iter().map(|counters| counters.turns.value()).collect();
        let stuck = (0..self.turns.len()).filter(|shard| turns[*shard] == self.turns[*shard]).collect();
        self.turns = turns;
        (0..self.mesh.shards()).map(Place).for_each(|place| self.mesh.wake(place));
        stuck
    }

    fn status(&self) -> String {
        let open: u64 = self.counters.iter().map(|counters| counters.open.value()).sum();
        format!("Connections: {open}, on {} shards over {}", self.counters.len(), self.driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Waker;
    use crate::mesh::Threads;

    #[test]
    fn a_beat_wakes_every_shard_and_the_next_one_names_those_that_did_not_turn() {
        let wakers: Vec<Waker> = (0..2).map(|_| Waker::in_memory()).collect();
        let (mesh, _mailboxes) = Mesh::new(Threads { shards: wakers.clone(), ..Threads::default() }, 1);
        let counters: Arc<[Counters]> = (0..2).map(|_| Counters::default()).collect();
        let mut pulse = Pulse::new(mesh, counters.clone(), DriverKind::Epoll, Duration::ZERO);
        assert!(pulse.beat().is_empty(), "nobody has been woken before the first beat");
        assert!(wakers.iter().all(Waker::take));

        counters[0].turns.add(1);
        assert_eq!(pulse.beat(), [1]);
        assert!(wakers.iter().all(Waker::take), "who is stuck is woken too");
        counters.iter().for_each(|counters| counters.turns.add(7));
        assert!(pulse.beat().is_empty());
    }
}
