//! A link is named by the driver's key: a socket, the layers between it and the session, and its life.
//!
//! ```text
//!  received --> transport (plain, TLS) --> carry + fresh --> session
//!  fill     <-- seal <-- outbox <---------------------------'
//! ```
//!
//! The door is a part of the link because a listener accepts sockets, and so is the entry on the turn's dirty list,
//! which is about bytes. The deadline is here because it begins before the session and outlives it: it times the
//! handshake, the progress of a batch, and the close, besides what the session waits for.

use std::net::SocketAddr;
use std::time::Duration;

use super::life::{LastAnswer, Life};
use super::outbox::{Mark, Outbox};
use super::settings::Settings;
use super::{Door, Peer, Sealing, Transport};
use crate::base::{Batch, Carry, CoarseTick, InFlight, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::tls::Arrived;

pub struct Link {
    pub(super) transport: Transport,
    /// Wire bytes of an incomplete record, head, frame or verb.
    carry: Carry,
    pub(super) outbox: Outbox,
    deadline: CoarseTick,
    pub(super) peer: Peer,
    pub(super) door: Door,
    pub(super) life: Life,
    /// A `recv` is outstanding at the driver.
    is_receiving: bool,
    /// The peer has ended its half.
    is_peer_finished: bool,
    flush: Flush,
    /// Something that waits is not of a fan-out to many: it is sent with the first list.
    pub is_urgent: bool,
    /// Its carry is not empty, and has not been used since the last heartbeat of an event stream.
    has_old_rest: bool,
    pub counted: CountedFor,
}

/// The sums of the shard in which it counts now ([`Loads`](crate::base::Loads)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedFor {
    /// What has arrived.
    pub arriving: bool,
    /// What waits to be sent.
    pub waiting: bool,
}

/// The shard's lists of links that have something to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    None,
    First,
    /// It has something of a fan-out to many. If it gets something else, it is on both lists.
    Later,
}

/// `interval`, or up to a quarter less. The heartbeats of connections that opened together, or were written to
/// together, drift apart.
pub(super) fn apart(peer: Peer, interval: Duration) -> Duration {
    interval - peer.part(interval / 4)
}

/// Keeps bytes of an unfinished TLS handshake, and looks at them together with those that were kept before.
pub fn put_off_handshake(link: &mut Link, bytes: &[u8]) -> Arrived {
    link.carry.append(bytes);
    link.transport.look(link.carry.bytes())
}

/// The driver dials it. Until it has connected it, there is no peer to receive from, and no end of one to wait for.
pub(super) fn begin_dial(link: &mut Link) {
    link.is_peer_finished = true;
}

pub(super) fn end_dial(link: &mut Link) {
    link.is_peer_finished = false;
}

/// Whether bytes of the input are kept.
pub(super) fn has_rest(link: &Link) -> bool {
    !link.carry.is_empty() || link.transport.has_plain()
}

impl Link {
    /// `deadline`: the handshake's, if there is one, otherwise the session's first.
    pub(super) fn new(peer: SocketAddr, door: Door, transport: Transport, outbox: Outbox, deadline: Tick) -> Link {
        Link {
            transport,
            carry: Carry::new(),
            outbox,
            deadline: CoarseTick::ceil(deadline),
            peer: peer.into(),
            door,
            life: Life::Open,
            is_receiving: false,
            is_peer_finished: false,
            flush: Flush::None,
            is_urgent: false,
            has_old_rest: false,
            counted: CountedFor::default(),
        }
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The listener that accepted it.
    pub fn door(&self) -> Door {
        self.door
    }

    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    pub fn is_handshaking(&self) -> bool {
        self.transport.is_handshaking()
    }

    /// Whether it receives and sends: it has not ended.
    pub fn is_open(&self) -> bool {
        self.life.is_open()
    }

    // --- bytes in ----------------------------------------------------------------------------------------------------

    /// The driver should receive.
    pub(super) fn begin_receive(&mut self) {
        self.is_receiving = true;
    }

    /// The outstanding receive has completed, or never will.
    pub fn receive_done(&mut self) {
        self.is_receiving = false;
    }

    /// The peer has ended its half of the socket or of the TLS session.
    pub fn peer_finished(&mut self) {
        self.is_peer_finished = true;
    }

    pub fn is_peer_finished(&self) -> bool {
        self.is_peer_finished
    }

    /// Whether a receive is possible and none is outstanding.
    pub fn can_receive(&self) -> bool {
        !self.is_receiving && !self.is_peer_finished && !self.life.is_closing()
    }

    /// Keeps bytes that arrived while the session does not read.
    pub fn put_off(&mut self, bytes: &[u8]) {
        self.carry.append(bytes);
    }

    /// Bytes of memory for what is kept of the input, the state of an unfinished TLS handshake included.
    pub(super) fn arriving_bytes(&self) -> usize {
        self.carry.capacity() + self.transport.arriving_bytes()
    }

    /// The kept bytes joined with `fresh`, if there are kept bytes. The caller calls [`Link::keep_rest`] afterwards.
    pub fn take_joined(&mut self, fresh: &[u8]) -> Option<Vec<u8>> {
        self.carry.take_joined(fresh)
    }

    /// Keeps the unused rest of `joined`, or of `fresh` if there was nothing to join.
    pub fn keep_rest(&mut self, joined: Option<Vec<u8>>, fresh: &[u8], used: usize) {
        self.has_old_rest &= used == 0;
        match joined {
            Some(joined) => self.carry.keep_rest(joined, used),
            None => self.carry.keep(&fresh[used..]),
        }
    }

    // --- bytes out ---------------------------------------------------------------------------------------------------

    /// Puts it on the list of the turn's flush: true if it was not there.
    #[inline]
    pub fn mark_dirty(&mut self) -> bool {
        self.is_urgent = true;
        std::mem::replace(&mut self.flush, Flush::First) != Flush::First
    }

    /// Puts it on the list that is sent after that one: true if it was on neither.
    #[inline]
    pub fn mark_dirty_later(&mut self) -> bool {
        let is_new = self.flush == Flush::None;
        if is_new {
            self.flush = Flush::Later;
        }
        is_new
    }

    /// The flush has taken it off its list.
    pub(super) fn flushing(&mut self) {
        self.flush = Flush::None;
    }

    /// Bytes that are not sent yet: they wait here, or the driver has them.
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.len()
    }

    /// The memory that waits for the peer, weighed again if it has grown much.
    #[inline]
    pub fn weigh_waiting(&mut self) -> usize {
        self.outbox.weigh();
        self.outbox.weight()
    }

    /// The same, as it was weighed last.
    pub fn waiting_weight(&self) -> usize {
        self.outbox.weight()
    }

    /// Whether everything has been sent: nothing waits, and the driver has no batch.
    pub fn is_taken(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether so much waits for the peer that nothing optional is added.
    pub fn is_full(&self) -> bool {
        self.outbox.len() > limits::OUTBOX_BYTES_PAUSE
    }

    /// The current state of the outbox, for [`Link::answered`].
    pub fn mark(&self) -> Mark {
        self.outbox.mark()
    }

    /// Everything added since `before` is an answer to the peer's request (AN ANSWER ALONE IS NEVER TOO MUCH).
    pub fn answered(&mut self, before: Mark) {
        self.outbox.answered(before);
    }

    /// Whether the driver accepts a batch: none is in flight, and `close` was not called. After `close`, a batch that
    /// was in flight may still come back as sent.
    pub(super) fn can_send(&self) -> bool {
        !self.life.is_closing() && !self.outbox.is_sending()
    }

    /// Whether anything is waiting to be sent.
    pub(super) fn has_waiting(&self) -> bool {
        self.outbox.pending_len() > 0
            || self.transport.has_output()
            || (self.life.takes_leave() && self.transport.owes_close_notify())
    }

    /// Seals the waiting bytes.
    pub(super) fn fill(&mut self, sealing: &mut Sealing) -> Result<Option<Box<Batch>>, CloseReason> {
        self.is_urgent = false;
        let plain = self.outbox.take();
        let answer_bytes = plain.as_ref().map_or(0, |batch| batch.answer_bytes());
        let mut weight = 0;
        let batch = match &mut self.transport {
            Transport::Plain => plain.map(|mut batch| {
                batch.weigh(limits::WAITING_BYTES_FREE);
                weight = batch.weight();
                batch
            }),
            Transport::Layered(layer) => {
                let Some(tls) = layer.as_tls() else { return Ok(None) };
                let mut sealed = sealing.take();
                let outcome = tls.seal(plain.as_deref(), self.life.takes_leave(), &mut sealing.scratch, &mut sealed);
                // After its end, the alert is the only thing that can still be sent.
                let failure = outcome.err().filter(|_| self.life.is_open());
                if failure.is_some() || sealed.is_empty() {
                    sealing.give_back(sealed);
                    return failure.map_or(Ok(None), Err);
                }
                Some(sealed)
            }
        };
        if let Some(batch) = &batch {
            // Sealed bytes are of no use to another connection.
            let is_sealed = self.transport.is_tls() && batch.len() > limits::WAITING_BYTES_FREE;
            let weight = if is_sealed { batch.len() } else { weight };
            self.outbox.sending(batch.len(), answer_bytes, weight);
        }
        Ok(batch)
    }

    /// The batch is back: whether sent whole or in part, its bytes no longer belong to the outbox. True if it had
    /// seemed stuck.
    pub(super) fn sent(&mut self, batch: Box<Batch>, sealing: &mut Sealing) -> bool {
        if self.transport.is_tls() {
            sealing.give_back(batch);
        }
        self.outbox.sent()
    }

    // --- time --------------------------------------------------------------------------------------------------------

    pub fn deadline(&self) -> Tick {
        self.deadline.tick()
    }

    pub(super) fn wait_until(&mut self, deadline: Tick) {
        self.deadline = CoarseTick::ceil(deadline);
    }

    /// The same, for callers that may move the deadline at any time. Two checks of a batch must be
    /// [`Generation::send_timeout`](super::settings::Generation::send_timeout) apart; a deadline that is late because
    /// of that is made up for when the batch has been sent ([`super::Conn::sent`]).
    pub(super) fn wait_until_unless_stuck(&mut self, deadline: Tick) {
        if !self.outbox.is_looked_at() {
            self.wait_until(deadline);
        }
    }

    /// The deadline comes no later than `due`, unless it checks a batch in flight: then it is that of the batch, and soon.
    #[inline]
    pub(super) fn wait_no_longer_than(&mut self, due: Tick) {
        if due < self.deadline() {
            self.wait_until_unless_stuck(due);
        }
    }

    /// Called at each heartbeat. True if the same incomplete record was there at the last one.
    pub(super) fn stalls(&mut self) -> bool {
        let has_rest = !self.carry.is_empty();
        std::mem::replace(&mut self.has_old_rest, has_rest) && has_rest
    }

    /// The TLS handshake is complete: the time for the first request begins.
    pub fn handshaken(&mut self, settings: &Settings, now: Tick) {
        self.wait_until(now + settings.generation.head_timeout);
    }

    /// Whether its deadline checks the progress of a batch in flight.
    pub fn is_looked_at(&self) -> bool {
        self.outbox.is_sending() && !self.life.is_closing()
    }

    // --- the end -----------------------------------------------------------------------------------------------------

    /// True when the last words have been sent.
    pub fn is_flushed(&self) -> bool {
        !self.is_open() && self.outbox.is_empty() && !(self.can_send() && self.has_waiting())
    }

    /// True the first time: our half may end now, and the peer's end is awaited.
    pub fn begin_linger(&mut self, now: Tick) -> bool {
        let begins = self.life.linger();
        if begins {
            self.wait_until(now + limits::CLOSE_TIMEOUT);
        }
        begins
    }

    /// `Some` the first time: the driver should close the socket like this.
    pub fn begin_close(&mut self) -> Option<Closure> {
        let closure = match self.life.ends_with_reset(self.outbox.is_empty()) {
            true => Closure::Reset,
            false => Closure::Ordinary,
        };
        self.life.close().then_some(closure)
    }

    /// Ends the link: true the first time. Bytes of the peer are discarded.
    pub(super) fn end(&mut self, reason: CloseReason, now: Tick) -> bool {
        let is_first = self.life.end(reason);
        if is_first {
            if matches!(reason, CloseReason::SlowConsumer | CloseReason::WaitingFull) {
                self.outbox.drop_pending();
            }
            self.carry = Carry::new();
            self.transport.drop_plain();
            self.wait_until(now + limits::CLOSE_TIMEOUT);
        }
        is_first
    }
}

/// Whether the answer in hand lacks its rest, and its reader would not notice: nothing is awaited of the peer.
pub fn is_cut(link: &Link) -> bool {
    link.life.is_cut()
}

/// The last words of an ended link are those of an answer.
pub(super) fn deliver(link: &mut Link, last: LastAnswer) {
    link.life.deliver(last);
}

/// How the driver closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closure {
    Ordinary,
    /// The peer must not take the bytes that it has got for an answer.
    Reset,
}

/// Weighs the memory that waits for the peer again, grown or not. Returns how many parts were walked through.
pub fn weigh_again(link: &mut Link, in_flight: InFlight) -> usize {
    link.outbox.weigh_again(in_flight)
}
