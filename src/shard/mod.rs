//! One core's loop: it owns its connections and its part of the hub, and shares nothing.
//!
//! ```text
//!  turn:  wait --> completions --> mail --> deadlines --> handshakes --> paused input --> features --> fan-outs --> flush --> post
//!                      |                                                       |                                      |
//!                  pump: bytes -> steps -> dispatch: steps -> effects <--------'            one send per connection --'
//! ```
//!
//! - `pump`      bytes of a connection to steps, TLS included; pauses and resumes it
//! - `dispatch`  the one match from step to effect: the gateway's table of contents
//! - `centrifuge` the same for commands of the client protocol
//! - `budget`    the bounds on the work of one turn, and what is left over
//! - `desk`      what all parts of a shard work with
//! - `deliver`   messages to subscribers: owner, places, connections
//! - `deadlines` the connections whose time has come
//! - `commands`  workers' commands to clients: subscribe, unsubscribe, close, answer a call
//! - `entrances` listeners, and the place that a new connection gets
//! - `features`  the parts of a shard that do more than pass messages on
//! - `handshakes`  the queue of TLS handshakes
//! - `lifetime`  from accept to the free slot
//! - `drain`     the shutdown
//! - `mail`      letters of other threads
//!
//! `Core` is a shard without its driver; it leaves submissions in lists, and the turn hands them over.

pub mod budget;
mod census;
mod centrifuge;
mod commands;
pub mod counters;
mod deadlines;
mod deliver;
mod desk;
mod dispatch;
pub mod drain;
mod entrances;
mod features;
mod handshakes;
mod lifetime;
mod mail;
mod operations;
mod pump;
pub mod services;

pub use census::Census;
pub use entrances::Entrance;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::base::{Fold, Key, Place, Tick};
use crate::conn::settings::Settings;
use crate::conn::{Closure, access};
use crate::driver::{Completion, Driver, ListenerId};
use crate::limits;
use crate::mesh::{Mailbox, Mesh};

use budget::Budget;
use counters::Counters;
use desk::{Desk, SocketOrder, Work, spread_on};
use drain::DrainProgress;
use entrances::{Entrances, Listens};
use features::Features;
use handshakes::Handshakes;

/// The parts of a shard, except its driver.
pub struct Parts {
    pub place: Place,
    pub settings: Settings,
    /// Indexed by listener id.
    pub entrances: Vec<Entrance>,
    pub mesh: Mesh,
    pub mailbox: Mailbox,
    /// The counters of all shards, for the metrics. This shard writes its own.
    pub counters: Arc<[Counters]>,
    /// One for the process: folds lines that clients or lasting conditions cause again and again.
    pub fold: Arc<Fold>,
    /// Random, so that keys and positions of this process differ from those of any other.
    pub seed: u32,
    /// Random and secret: with it, the results of other clients' requests could be read.
    pub secret: [u8; 32],
    /// The bounds on the work of one turn.
    pub budget: Budget,
    pub now: Tick,
}

/// One shard. [`Shard::run`] drives it; the simulator calls [`Shard::turn`] itself.
pub struct Shard<D: Driver> {
    driver: D,
    core: Core,
}

/// A shard without its driver: the switchboard between connections, letters and features. All features work at one desk.
pub(crate) struct Core {
    desk: Desk,
    entrances: Entrances,
    features: Features,
    mailbox: Mailbox,
    handshakes: Handshakes,
    /// Plaintext of the records being opened.
    plain: Vec<u8>,
    /// Memory for the keys of a turn, reused.
    keys: Vec<Key>,
    drain: DrainProgress,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    GoOn,
    /// Drained: nothing is open.
    Over,
}

impl<D: Driver> Shard<D> {
    pub fn new(driver: D, parts: Parts) -> Shard<D> {
        let desk = Desk::new(&parts);
        let features = Features::new(&parts);
        let core = Core {
            desk,
            entrances: Entrances::new(parts.entrances),
            features,
            mailbox: parts.mailbox,
            handshakes: Handshakes::default(),
            plain: Vec::new(),
            keys: Vec::new(),
            drain: DrainProgress::default(),
        };
        Shard { driver, core }
    }

    /// Begins to accept on the listener that has the index `id` among the entrances.
    pub fn listen(&mut self, id: ListenerId, listener: D::Listener) -> io::Result<()> {
        self.listen_as(id, listener, Listens::Alone)
    }

    /// The same, on a listener that outlives this process: clients that connect during the drain wait for the next
    /// process.
    pub fn listen_for_now(&mut self, id: ListenerId, listener: D::Listener) -> io::Result<()> {
        self.listen_as(id, listener, Listens::ForNow)
    }

    fn listen_as(&mut self, id: ListenerId, listener: D::Listener, listens: Listens) -> io::Result<()> {
        self.core.entrances.open(id, listens);
        self.driver.listen(id, listener)
    }

    /// Runs turns until the shard is drained.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Turn::GoOn {}
        Ok(())
    }

    /// One round of the loop.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let core = &mut self.core;
        core.desk.now = self.driver.wait(core.next_deadline())?;
        core.desk.counters().turns.add(1);
        core.desk.meter.begin_share();
        self.complete(limits::COMPLETIONS_PER_TURN);
        let Shard { driver, core } = self;
        core.take_mail(|| driver.now());
        deadlines::expire(core, driver);
        lifetime::withdraw_some(core, || driver.now());
        desk::slow::weigh_again(&mut core.desk, |key| driver.weigh(key));
        self.core.desk.engine.sweep(self.core.desk.now);
        self.handshake();
        self.core.entrances.resume(&mut self.driver, self.core.desk.now);
        let Shard { driver, core } = self;
        core.resume(|| driver.now());
        core.settle();
        core.work(|| driver.now());
        self.spread();
        self.drain();
        self.core.settle();
        self.flush();
        self.core.desk.post.flush();
        self.core.desk.sealing.free_unused(self.core.desk.now);
        let turn = self.is_over();
        desk::access::hand_over(&mut self.core.desk, turn == Turn::Over);
        self.core.measure();
        Ok(turn)
    }

    /// Handles completions of the driver, up to a bound, so that their effects are sent before the next ones are read. The
    /// driver keeps the others in their order.
    fn complete(&mut self, count_max: usize) {
        for _ in 0..count_max {
            let Some(completion) = self.driver.next() else { return };
            let core = &mut self.core;
            let mut has_failed = false;
            let accepted = match completion {
                Completion::Accepted { listener, socket, peer } => Some((listener, socket, peer)),
                Completion::AcceptFailed { listener, error } => {
                    core.entrances.accept_failed(&mut core.desk, listener, &error);
                    has_failed = true;
                    None
                }
                Completion::Received { key, bytes } => {
                    core.desk.meter.spend(budget::of_received(bytes.len()));
                    core.received(key, bytes);
                    None
                }
                Completion::Finished { key, end } => {
                    core.finished(key, end);
                    None
                }
                Completion::Sent { key, batch, outcome } => {
                    core.sent(key, batch, outcome);
                    None
                }
                Completion::Connected { key, outcome } => {
                    core.features.proxy.connected(&mut core.desk, key, outcome);
                    None
                }
                Completion::Closed { key } => {
                    core.closed(key);
                    None
                }
                Completion::Woken => None,
            };
            core.settle();
            if has_failed {
                core.entrances.rest_fronts(&mut self.driver, core.desk.now);
            }
            if let Some((listener, socket, peer)) = accepted {
                // If there is no slot, the socket is closed by its drop.
                if let Some(key) = core.entrances.accepted(&mut core.desk, &core.drain, listener, peer) {
                    self.driver.attach(socket, key);
                }
            }
            let meter = &mut self.core.desk.meter;
            meter.spend(limits::COMPLETION_UNITS);
            if meter.is_share_spent(|| self.driver.now()) {
                return;
            }
        }
    }

    /// Does fan-outs to many clients, one piece after another. What is left over goes on in the next turn.
    fn spread(&mut self) {
        let Shard { driver, core } = self;
        if !core.desk.subscribers.is_spreading() {
            return;
        }
        core.desk.subscribers.begin_rounds();
        core.desk.meter.begin_share();
        while spread_on(&mut core.desk) {
            core.desk.meter.spend(1);
            core.settle();
            if core.desk.meter.is_share_spent(|| driver.now()) {
                return;
            }
        }
    }

    /// Advances TLS handshakes, bounded in number and time, so that live connections do not wait for them.
    fn handshake(&mut self) {
        self.core.handshakes.refuse_overdue(&mut self.core.desk);
        self.core.settle();
        let until = self.core.desk.now + limits::HANDSHAKE_TIME_PER_TURN;
        let mut advanced = 0;
        while advanced < limits::HANDSHAKES_PER_TURN {
            let Some(key) = self.core.handshakes.next() else { return };
            if !self.core.advance_handshake(key) {
                continue;
            }
            advanced += 1;
            if self.driver.now() >= until {
                return;
            }
        }
    }

    /// Hands over the turn's submissions: one send for each connection, then receives and closes.
    fn flush(&mut self) {
        self.send_all(|work| &mut work.dirty);
        self.send_all(|work| &mut work.dirty_later);
        let core = &mut self.core;
        let mut keys = std::mem::take(&mut core.keys);
        keys.append(&mut core.desk.work.receive);
        for key in keys.drain(..) {
            if core.desk.begin_receive(key) {
                self.driver.recv(key);
            }
        }
        // A connection whose batch could not be sealed ends here, before closes are handed over.
        core.settle();
        access::tell_ends(&core.desk.settings, |key| self.driver.facts(key), core.desk.now);
        for order in core.desk.work.orders.drain(..) {
            match order {
                SocketOrder::Dial { key, remote, from } => self.driver.connect(&remote, from, key),
                SocketOrder::KeepAlive(key) => self.driver.keep_alive(key),
            }
        }
        keys.append(&mut core.desk.work.close);
        for key in keys.drain(..) {
            match core.desk.begin_close(key) {
                Some(Closure::Ordinary) => self.driver.close(key),
                Some(Closure::Reset) => self.driver.abort(key),
                None => {}
            }
        }
        core.keys = keys;
        // Checked in every turn, because it costs almost nothing; there is seldom memory to free.
        let Core { desk, keys, handshakes, .. } = core;
        let capacity =
            keys.capacity().max(desk.work.capacity()).max(desk.errands.capacity()).max(handshakes.capacity());
        if capacity > limits::TURN_ENTRIES_KEPT {
            keys.shrink_to(limits::TURN_ENTRIES_KEPT);
            desk.work.shrink();
            desk.errands.shrink();
            handshakes.shrink();
        }
    }

    /// Sends what the connections of a list have; those that are left when the share is spent are the first of the next turn.
    fn send_all(&mut self, list: impl Fn(&mut Work) -> &mut VecDeque<Key>) {
        let mut left = list(&mut self.core.desk.work).len();
        if left == 0 {
            return;
        }
        self.core.desk.meter.begin_share();
        let round = self.core.desk.meter.sends_per_round();
        let mut keys = std::mem::take(&mut self.core.keys);
        while left > 0 {
            let waiting = list(&mut self.core.desk.work);
            let count = round.min(left);
            let (first, rest) = waiting.as_slices();
            keys.extend_from_slice(&first[..count.min(first.len())]);
            keys.extend_from_slice(&rest[..count - keys.len()]);
            waiting.drain(..count);
            left -= count;
            self.core.desk.meter.spend(limits::SEND_UNITS * keys.len() as u64);
            for key in keys.drain(..) {
                if let Some(batch) = self.core.desk.fill(key) {
                    self.driver.send(key, batch);
                } else if self.core.desk.is_last_word_said(key) {
                    self.driver.shutdown(key);
                }
            }
            if left > 0 {
                // Sends of this round complete here, so that the next round reuses their batches while they are in the
                // cache.
                self.complete(limits::SENDS_PER_ROUND);
                if self.core.desk.meter.is_share_spent(|| self.driver.now()) {
                    break;
                }
            }
        }
        self.core.keys = keys;
    }

    /// Units of work that the shard has done since it began (`budget`).
    pub fn units_done(&self) -> u64 {
        self.core.desk.meter.done()
    }

    pub fn driver(&self) -> &D {
        &self.driver
    }
}

impl Core {
    fn measure(&self) {
        let counters = self.desk.counters();
        let owed = self.desk.subscribers.owed();
        counters.deliveries_owed.set(owed.deliveries as u64);
        counters.owed_bytes.set(owed.bytes as u64);
        counters.subscriptions.set(self.desk.subscribers.len() as u64);
        counters.handshakes_waiting.set(self.handshakes.len() as u64);
        counters.arriving_bytes.set(self.desk.sums.arriving_bytes() as u64);
        counters.handshaking_bytes.set(self.desk.sums.handshaking_bytes() as u64);
        counters.waiting_bytes.set(self.desk.sums.waiting_bytes() as u64);
        let (channels, bytes) = self.desk.engine.kept();
        counters.histories.set(channels as u64);
        counters.history_bytes.set(bytes as u64);
        counters.measure_auths(&self.desk.settings.proofs);
        counters.measure_deciders(&self.desk.settings.decisions);
        self.features.measure(counters);
    }

    /// When the next turn must begin, even if nothing completes.
    fn next_deadline(&self) -> Tick {
        let is_crowded = self.desk.post.is_crowded();
        let is_busy = !self.handshakes.is_empty() || !self.desk.work.is_done() || self.desk.subscribers.is_spreading();
        let is_behind = self.desk.meter.is_behind(&self.desk.subscribers);
        let has_room_again = !self.desk.parked.is_empty() && self.desk.post.has_room() && !is_behind;
        if is_busy || has_room_again || !self.mailbox.is_empty() && self.desk.post.tell_backlog() == 0 {
            return self.desk.now;
        }
        let swept = self.desk.engine.sweep_at().min(self.desk.sums.sweep_at());
        let kept = swept.min(self.features.deadline(self.desk.now, is_crowded));
        let mut deadline = self.desk.wheel.next().min(kept).min(self.desk.sealing.deadline());
        // The other shard does not wake this one when it has caught up.
        let waits_for_another = self.desk.meter.is_another_behind() && !self.desk.parked.is_empty();
        if self.desk.post.backlog() > 0 || waits_for_another {
            deadline = deadline.min(self.desk.now + limits::BACKLOG_RETRY);
        }
        let deadline = deadline.min(self.drain.deadline(self.desk.now)).min(self.desk.settings.access.due());
        deadline.min(self.entrances.deadline())
    }
}

#[cfg(test)]
mod tests;
