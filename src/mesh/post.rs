//! The queues of the mesh: one bounded pair for each thread, many senders, one receiver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, never};

use super::{Lane, Mail};
use crate::base::{Place, shrink};
use crate::driver::Waker;
use crate::limits;

/// The threads that exchange mail, by kind. Their places are numbered in this order.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// Each is woken by the waker of its driver.
    pub shards: Vec<Waker>,
    /// Threads beside the shards, without connections and channels. Each takes asks and tells, and is woken.
    pub side_threads: Vec<Waker>,
    /// In-process workers. Each takes only tells, and sleeps on their queue.
    pub workers: usize,
    /// The writer of the access log. It takes only tells, and sleeps on their queue.
    pub has_log_writer: bool,
}

/// The ways to all threads. Immutable once the threads run; each thread has a copy.
#[derive(Clone)]
pub struct Mesh {
    ways: Arc<[Senders]>,
    shards: u16,
    /// Places below this one take asks.
    takers_of_asks: u16,
    log_writer: Option<Place>,
}

struct Senders {
    ask: Sender<Mail>,
    tell: Sender<Mail>,
    held: Arc<LargeBytes>,
    /// `None` for in-process workers.
    waker: Option<Waker>,
}

/// The receiving end of one thread's mail.
pub struct Mailbox {
    ask: Receiver<Mail>,
    tell: Receiver<Mail>,
    held: Arc<LargeBytes>,
}

/// Bytes of large messages in a mailbox, by lane.
#[derive(Default)]
struct LargeBytes([AtomicUsize; 2]);

impl LargeBytes {
    /// Reserves room for a letter; false if there is none.
    fn reserve(&self, lane: Lane, bytes: usize) -> bool {
        let has_room = bytes == 0 || self.0[lane as usize].load(Ordering::Relaxed) < limits::MAILBOX_BYTES;
        if has_room && bytes > 0 {
            self.0[lane as usize].fetch_add(bytes, Ordering::Relaxed);
        }
        has_room
    }

    fn release(&self, mail: &Mail) {
        let bytes = mail.large_bytes();
        if bytes > 0 {
            self.0[mail.lane() as usize].fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Mesh {
    /// With one mailbox for each place, in order; `mails_max` bounds each lane.
    pub fn new(threads: Threads, mails_max: usize) -> (Mesh, Vec<Mailbox>) {
        let Threads { shards, side_threads, workers, has_log_writer } = threads;
        let count = shards.len() as u16;
        let takers_of_asks = count + side_threads.len() as u16;
        let woken = shards.into_iter().chain(side_threads).map(|waker| (bounded(mails_max), Some(waker)));
        let log_writer = has_log_writer.then_some(Place(takers_of_asks + workers as u16));
        let sleepers = (0..workers + usize::from(has_log_writer)).map(|_| (closed(), None));
        let (ways, mailboxes): (Vec<Senders>, Vec<Mailbox>) = woken
            .chain(sleepers)
            .map(|((ask, ask_out), waker)| {
                let (tell, tell_out) = bounded(mails_max);
                let held = Arc::new(LargeBytes::default());
                (Senders { ask, tell, held: held.clone(), waker }, Mailbox { ask: ask_out, tell: tell_out, held })
            })
            .unzip();
        (Mesh { ways: ways.into(), shards: count, takers_of_asks, log_writer }, mailboxes)
    }

    /// The number of shards. Their places come first.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// The thread beside the shards, if there is one.
    pub fn outbound(&self) -> Option<Place> {
        (self.takers_of_asks > self.shards).then_some(Place(self.shards))
    }

    /// The place of the writer of the access log; the last one, if there is one.
    pub fn log_writer(&self) -> Option<Place> {
        self.log_writer
    }

    /// Whether connections and channels may live there.
    pub fn is_shard(&self, place: Place) -> bool {
        place.0 < self.shards
    }

    /// Whether the thread at that place takes letters of this lane.
    pub fn takes(&self, place: Place, lane: Lane) -> bool {
        lane == Lane::Tell || place.0 < self.takers_of_asks
    }

    pub fn wake(&self, place: Place) {
        if let Some(waker) = &self.ways[place.index()].waker {
            waker.wake();
        }
    }

    /// Puts one letter into a lane. Returns it if the lane is full, its receiver is gone, or the place has no such
    /// lane: an in-process worker takes no asks.
    pub fn try_send(&self, to: Place, mail: Mail) -> Result<(), TrySendError<Mail>> {
        let way = &self.ways[to.index()];
        if !way.held.reserve(mail.lane(), mail.large_bytes()) {
            return Err(TrySendError::Full(mail));
        }
        let outcome = match mail.lane() {
            Lane::Ask => way.ask.try_send(mail),
            Lane::Tell => way.tell.try_send(mail),
        };
        if let Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) = &outcome {
            way.held.release(mail);
        }
        outcome
    }
}

/// A lane that a place does not have: letters are returned as from a thread that has ended.
fn closed() -> (Sender<Mail>, Receiver<Mail>) {
    (bounded(0).0, never())
}

impl Mailbox {
    pub fn take(&self, lane: Lane) -> Option<Mail> {
        let queue = match lane {
            Lane::Ask => &self.ask,
            Lane::Tell => &self.tell,
        };
        // Usually the queue is empty, and a look is cheaper than a receive.
        if queue.is_empty() {
            return None;
        }
        let mail = queue.try_recv().ok()?;
        self.held.release(&mail);
        Some(mail)
    }

    pub fn is_empty(&self) -> bool {
        self.ask.is_empty() && self.tell.is_empty()
    }

    /// Sleeps until a tell arrives; for in-process workers. `None`: the deadline has passed; `Err`: the gateway is
    /// gone.
    pub fn wait(&self, deadline: Instant) -> Result<Option<Mail>, GatewayGone> {
        match self.tell.recv_deadline(deadline) {
            Ok(mail) => {
                self.held.release(&mail);
                Ok(Some(mail))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(GatewayGone),
        }
    }
}

/// All threads that could send have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayGone;

/// One thread's outgoing mail: gathered during a turn, sent at its end, kept while a mailbox is full.
pub struct Post {
    mesh: Mesh,
    own: Place,
    /// By destination and lane; each keeps its order.
    waiting: Vec<[VecDeque<Mail>; 2]>,
    /// Destinations with waiting letters.
    dirty: Vec<Place>,
    count: usize,
    tell_count: usize,
    /// Bytes of large messages.
    bytes: usize,
    /// Tells that the last flush could not send.
    tells_stuck: usize,
}

impl Post {
    pub fn new(mesh: Mesh, own: Place) -> Post {
        let waiting = mesh.ways.iter().map(|_| [VecDeque::new(), VecDeque::new()]).collect();
        Post { mesh, own, waiting, dirty: Vec::new(), count: 0, tell_count: 0, bytes: 0, tells_stuck: 0 }
    }

    /// Letters that could not be sent yet.
    pub fn backlog(&self) -> usize {
        self.count
    }

    /// Whether publishers should wait until some letters have been sent.
    pub fn is_crowded(&self) -> bool {
        self.count > limits::BACKLOG_MAILS_HIGH || self.bytes > limits::BACKLOG_BYTES_HIGH
    }

    /// Whether waiting publishers may continue.
    pub fn has_room(&self) -> bool {
        self.count <= limits::BACKLOG_MAILS_HIGH / 2 && self.bytes <= limits::BACKLOG_BYTES_HIGH / 2
    }

    /// Tells that found their mailbox full: while there are any, no asks are taken (TELLS ARE TERMINAL). Tells that
    /// were gathered since the last flush do not count.
    pub fn tell_backlog(&self) -> usize {
        self.tells_stuck
    }

    pub fn push(&mut self, to: Place, mail: Mail) {
        assert!(to != self.own, "a thread does not mail itself");
        let lane = mail.lane();
        debug_assert!(self.mesh.takes(to, lane), "an ask for an in-process worker is lost: {mail:?}");
        self.count += 1;
        self.bytes += mail.large_bytes();
        self.tell_count += usize::from(lane == Lane::Tell);
        let lanes = &mut self.waiting[to.index()];
        if lanes.iter().all(VecDeque::is_empty) {
            self.dirty.push(to);
        }
        lanes[lane as usize].push_back(mail);
    }

    /// Sends a letter to every other shard.
    pub fn push_all(&mut self, mut mail: impl FnMut() -> Mail) {
        for place in (0..self.mesh.shards).map(Place) {
            if place != self.own {
                self.push(place, mail());
            }
        }
    }

    /// Letters for which its queues have room.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.waiting.iter().flatten().map(VecDeque::capacity).sum()
    }

    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Sends as many letters as fit, with one wake-up for each destination. Letters to a thread that has ended are
    /// dropped.
    pub fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for to in dirty {
            let mut is_sent = false;
            for lane in [Lane::Tell, Lane::Ask] {
                let queue = &mut self.waiting[to.index()][lane as usize];
                while let Some(mail) = queue.pop_front() {
                    let bytes = mail.large_bytes();
                    match self.mesh.try_send(to, mail) {
                        Err(TrySendError::Full(mail)) => {
                            queue.push_front(mail);
                            break;
                        }
                        Ok(()) => is_sent = true,
                        Err(TrySendError::Disconnected(_)) => {}
                    }
                    self.count -= 1;
                    self.bytes -= bytes;
                    self.tell_count -= usize::from(lane == Lane::Tell);
                }
            }
            if is_sent {
                self.mesh.wake(to);
            }
            self.waiting[to.index()].iter_mut().for_each(|queue| shrink(queue, limits::TURN_ENTRIES_KEPT));
            if self.waiting[to.index()].iter().any(|queue| !queue.is_empty()) {
                self.dirty.push(to);
            }
        }
        self.tells_stuck = self.tell_count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;
    use crate::hub::{Member, Membership};
    use crate::mesh::Publish;
    use crate::mesh::memberships::MembershipMail;
    use crate::proto::event::Message;
    use crate::proto::subject::{Pattern, Subject};

    fn registered(slot: u32) -> Mail {
        Mail::Memberships(MembershipMail::Registered { key: Key { slot, generation: 0 } })
    }

    #[test]
    fn a_full_mailbox_keeps_order_and_loses_nothing() {
        let wakers = vec![Waker::in_memory(), Waker::in_memory()];
        let (mesh, mailboxes) = Mesh::new(Threads { shards: wakers.clone(), ..Threads::default() }, 4);
        let mut post = Post::new(mesh, Place(0));
        for slot in 0..10 {
            post.push(Place(1), registered(slot));
        }
        let mut got = Vec::new();
        while got.len() < 10 {
            post.flush();
            assert!(wakers[1].take(), "whoever gets mail is woken");
            while let Some(Mail::Memberships(MembershipMail::Registered { key })) = mailboxes[1].take(Lane::Tell) {
                got.push(key.slot);
            }
        }
        assert_eq!(got, (0..10).collect::<Vec<_>>());
        assert_eq!((post.backlog(), post.tell_backlog()), (0, 0));
    }

    fn large(bytes: usize) -> Mail {
        let subject = Subject::new("a").unwrap();
        let message = Message::new(subject, None, None, vec![0; bytes].into());
        Mail::Publish(Box::new(Publish::new(message, None)))
    }

    #[test]
    fn a_mailbox_holds_few_large_messages_and_a_post_says_when_it_is_crowded() {
        const BYTES: usize = 1 << 20;
        let (mesh, mailboxes) = all_kinds(1_000);
        for to in [OTHER_SHARD, SIDE_THREAD] {
            let mut post = Post::new(mesh.clone(), Place(0));
            let mut sent = 0;
            while !post.is_crowded() {
                post.push(to, large(BYTES));
                post.flush();
                sent += 1;
            }
            assert_eq!(sent, (limits::MAILBOX_BYTES + limits::BACKLOG_BYTES_HIGH) / BYTES + 1);
            let mut taken = 0;
            while mailboxes[to.index()].take(Lane::Ask).is_some() {
                taken += 1;
                post.flush();
            }
            assert_eq!(taken, sent);
            assert!(post.has_room() && post.backlog() == 0);
        }
    }

    const OTHER_SHARD: Place = Place(1);
    const SIDE_THREAD: Place = Place(2);
    const WORKER: Place = Place(3);

    /// Two shards, and one of each other kind.
    fn all_kinds(mails_max: usize) -> (Mesh, Vec<Mailbox>) {
        let wakers = |count| (0..count).map(|_| Waker::in_memory()).collect();
        Mesh::new(Threads { shards: wakers(2), side_threads: wakers(1), workers: 1, has_log_writer: false }, mails_max)
    }

    fn ask(slot: u32) -> Mail {
        let membership = || Membership {
            pattern: Pattern::new("a").unwrap(),
            queue: None,
            member: Member { place: WORKER, key: Key { slot, generation: 0 }, sub: Key { slot, generation: 0 } },
        };
        Mail::Memberships(MembershipMail::Resign { membership: membership() })
    }

    #[test]
    fn a_side_thread_takes_asks_and_tells_and_is_no_shard() {
        const MAILS_MAX: usize = 3;
        let (mesh, mailboxes) = all_kinds(MAILS_MAX);
        assert!(mesh.is_shard(OTHER_SHARD) && !mesh.is_shard(SIDE_THREAD) && !mesh.is_shard(WORKER));
        assert_eq!(mesh.shards(), 2);
        let (mailbox, waker) = (&mailboxes[SIDE_THREAD.index()], mesh.ways[SIDE_THREAD.index()].waker.clone().unwrap());
        let mut post = Post::new(mesh, Place(0));
        for slot in 0..2 * MAILS_MAX as u32 {
            post.push(SIDE_THREAD, ask(slot));
            post.push(SIDE_THREAD, registered(slot));
        }
        for left in [MAILS_MAX, 0] {
            post.flush();
            assert!(waker.take());
            assert_eq!((post.backlog(), post.tell_backlog()), (2 * left, left), "each lane holds as many as a shard's");
            for lane in [Lane::Ask, Lane::Tell] {
                let taken: Vec<Mail> = std::iter::from_fn(|| mailbox.take(lane)).collect();
                assert_eq!(taken.len(), MAILS_MAX);
                assert!(taken.iter().all(|mail| mail.lane() == lane));
            }
        }
        post.flush();
        assert!(!waker.take(), "nothing has come");
    }

    #[test]
    fn what_is_for_all_is_for_the_other_shards() {
        let (mesh, mailboxes) = all_kinds(4);
        for (own, expected) in [(Place(0), [0, 1, 0, 0]), (SIDE_THREAD, [1, 1, 0, 0])] {
            let mut post = Post::new(mesh.clone(), own);
            post.push_all(|| registered(0));
            post.flush();
            let count = |mailbox: &Mailbox| std::iter::from_fn(|| mailbox.take(Lane::Tell)).count();
            assert_eq!(mailboxes.iter().map(count).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_in_process_worker_takes_no_asks() {
        let (mesh, mailboxes) = all_kinds(4);
        assert!(mesh.takes(SIDE_THREAD, Lane::Ask) && mesh.takes(WORKER, Lane::Tell) && !mesh.takes(WORKER, Lane::Ask));
        assert!(matches!(mesh.try_send(WORKER, ask(0)), Err(TrySendError::Disconnected(_))));
        assert!(mesh.try_send(WORKER, registered(0)).is_ok());
        assert!(matches!(mailboxes[WORKER.index()].wait(Instant::now()), Ok(Some(_))));
        assert!(mailboxes[WORKER.index()].is_empty());
    }

    #[test]
    fn mail_to_a_thread_that_ended_is_dropped() {
        let (mesh, mut mailboxes) = all_kinds(4);
        drop(mailboxes.remove(OTHER_SHARD.index()));
        let mut post = Post::new(mesh, Place(0));
        post.push(OTHER_SHARD, registered(0));
        post.flush();
        assert_eq!(post.backlog(), 0);
    }
}
