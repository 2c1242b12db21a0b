//! The accepted requests that this shard owns, from the 202 until their results are forgotten. Pure state: events are
//! calls, and the shard takes its next tasks from it ([`KeptRequests::next_hand`], [`KeptRequests::next_news`]).
//!
//! ```text
//!  accept --> waiting --hand--> given --answer--> done, failed --.
//!               ^  |              |  '--(timeout)--> expired <-----+-- news --> kept --(keep)--> forgotten
//!               |  '--(timeout)---|----------------------^
//!               '----- gone ------'   its worker's connection has ended, or it was not there any more
//! ```
//!
//! Every accepted request ends in exactly one of done, failed and expired. It is handed to another worker only if its
//! worker has disconnected, or had left the service before the request reached it. The first answer counts. Ended
//! requests count against the same bound as pending ones, and do not give way to them: a result is kept for its time,
//! and a store that is full refuses requests. Before that, it refuses those of sources that have more than their share
//! (`sources`); those that it takes are handed on in turns (`turns`).

mod document;
mod ids;
mod queues;
mod sources;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use super::{Directory, Member};
use crate::base::{Address, RequestId, RouteId, Tick, shrink};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::bus::headers;
use crate::proto::event::Message;
use crate::proto::request::{Reading, Receipt, Status};
use crate::proto::reserved::headers::ATTEMPT_HEADER;
use crate::proto::subject::Subject;

pub(crate) use document::WorkerAnswer;
pub(crate) use ids::Ids;
use queues::{QueuedRequest, ServiceQueues};
pub(crate) use sources::RequestSources;
use sources::Shares;
use turns::QueueTurn;

/// A request whose client was promised an answer.
#[derive(Debug)]
pub struct AcceptedRequest {
    pub id: RequestId,
    pub route: RouteId,
    /// The channel on which its result is published.
    pub channel: Subject,
    /// The message for its worker: on the service's subject, with a reply subject of its own.
    pub message: Arc<Message>,
    pub timeout: Duration,
    /// How long its result is kept.
    pub keep: Duration,
    pub key: Option<IdempotencyKey>,
    pub(crate) sources: RequestSources,
}

/// The identity by which a repeated request is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key and its scope: one user on one route.
    pub name: Arc<str>,
    /// Equal for equal requests only.
    pub fingerprint: [u8; 32],
}

/// One request on its way to a worker.
#[derive(Debug)]
pub(crate) struct Hand {
    pub id: RequestId,
    pub worker: Member,
    pub message: Arc<Message>,
}

/// A request has ended: its channel is to be told.
#[derive(Debug)]
pub(crate) struct News {
    pub id: RequestId,
    pub route: RouteId,
    pub channel: Subject,
    pub status: Status,
    pub document: Box<[u8]>,
}

/// The reason why an answer is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The request has been answered.
    Twice,
    /// It has expired.
    Late,
    /// The request is not known, or no longer known.
    Unknown,
}

/// See the module's picture.
pub(crate) struct KeptRequests {
    entries: AHashMap<RequestId, KeptRequest>,
    by_key: AHashMap<Arc<str>, RequestId>,
    services: ServiceQueues,
    /// The pending requests, by their deadline.
    due: BTreeSet<(Tick, RequestId)>,
    /// The requests whose end is published, by the time at which they are forgotten.
    kept: BTreeSet<(Tick, RequestId)>,
    /// The requests whose end is not published yet.
    news: VecDeque<RequestId>,
    shares: Shares,
    bytes: usize,
    /// The bound on the bytes of requests and results; a part of it is for results alone.
    bytes_max: usize,
    serial: u64,
    /// Results that did not fit, and are told but not kept.
    unkept: u64,
}

struct KeptRequest {
    route: RouteId,
    channel: Subject,
    keep: Duration,
    key: Option<IdempotencyKey>,
    sources: RequestSources,
    bytes: usize,
    state: RequestState,
}

enum RequestState {
    Pending {
        /// Kept for another worker, in case this one disconnects; shared with the worker's shard.
        message: Arc<Message>,
        expires: Tick,
        /// Its place in the order of the service.
        turn: QueueTurn,
        worker: Option<Address>,
        /// How often it was handed to a worker.
        attempts: u32,
    },
    Over {
        status: Status,
        document: Box<[u8]>,
        forget_at: Tick,
        /// Its end is published: a client that joins the channel now has missed it.
        is_told: bool,
    },
}

impl KeptRequests {
    /// `shards` share the bound on what one worker may hold. `bytes_max`: of what this shard keeps.
    pub(crate) fn new(shards: u16, bytes_max: usize) -> KeptRequests {
        KeptRequests {
            entries: AHashMap::new(),
            by_key: AHashMap::new(),
            services: ServiceQueues::new(limits::REQUEST_BYTES_PER_WORKER_MAX / usize::from(shards.max(1))),
            due: BTreeSet::new(),
            kept: BTreeSet::new(),
            news: VecDeque::new(),
            shares: Shares::default(),
            bytes: 0,
            bytes_max: bytes_max.max(limits::ACCEPTED_BYTES_MIN),
            serial: 0,
            unkept: 0,
        }
    }

    // --- commands and news ---------------------------------------------------------------------------------------------

    /// Takes a request in, if there is room. A request whose key is known is not handed on again: it gets the receipt
    /// of the first.
    pub(crate) fn accept(&mut self, request: AcceptedRequest, now: Tick) -> Result<Receipt, CloseReason> {
        if let Some(receipt) = self.known(&request)? {
            return Ok(receipt);
        }
        let bytes = size_of_request(&request);
        self.check_room(&request.sources, bytes)?;
        let AcceptedRequest { id, route, channel, message, timeout, keep, key, sources } = request;
        self.serial += 1;
        let expires = now + timeout;
        let queued = QueuedRequest { id, bytes, source: sources.in_turn() };
        let turn = self.services.wait(&message.subject, self.serial, queued);
        self.due.insert((expires, id));
        if let Some(key) = &key {
            self.by_key.insert(key.name.clone(), id);
        }
        self.bytes += bytes;
        self.shares.add(&sources, bytes);
        let receipt = Receipt { id, channel: channel.clone() };
        let state = RequestState::Pending { message, expires, turn, worker: None, attempts: 0 };
        let before = self.entries.insert(id, KeptRequest { route, channel, keep, key, sources, bytes, state });
        assert!(before.is_none(), "two requests have one id");
        Ok(receipt)
    }

    fn known(&self, request: &AcceptedRequest) -> Result<Option<Receipt>, CloseReason> {
        let Some(key) = &request.key else { return Ok(None) };
        let Some((id, entry)) = self.by_key.get(&key.name).and_then(|id| Some((*id, self.entries.get(id)?))) else {
            return Ok(None);
        };
        if entry.key.as_ref() != Some(key) {
            return Err(CloseReason::KeyReused);
        }
        Ok(Some(Receipt { id, channel: entry.channel.clone() }))
    }

    /// A worker's answer; only the first one counts.
    pub(crate) fn answer(&mut self, id: RequestId, answer: WorkerAnswer<'_>, now: Tick) -> Result<Status, Dropped> {
        let entry = self.entries.get(&id).ok_or(Dropped::Unknown)?;
        match entry.state {
            RequestState::Pending { .. } => {}
            RequestState::Over { status: Status::Expired, .. } => return Err(Dropped::Late),
            RequestState::Over { .. } => return Err(Dropped::Twice),
        }
        let status = if answer.has_failed { Status::Failed } else { Status::Done };
        let document = document::answered(id, status, &entry.channel, answer);
        self.end(id, status, document, now);
        Ok(status)
    }

    /// A worker's connection has ended: its unanswered requests go to other workers, before later requests. Returns
    /// their number.
    pub(crate) fn gone(&mut self, worker: Address) -> usize {
        let orphans = self.services.gone(worker);
        for id in &orphans {
            if let Some(KeptRequest { state: RequestState::Pending { worker, .. }, .. }) = self.entries.get_mut(id) {
                *worker = None;
            }
        }
        orphans.len()
    }

    /// A request did not reach its worker, which has left the service.
    pub(crate) fn missed(&mut self, id: RequestId, by: Address) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let RequestState::Pending { message, turn, worker, .. } = &mut entry.state else { return };
        if *worker == Some(by) {
            *worker = None;
            self.services.give_back(&message.subject, *turn, by);
        }
    }

    /// A worker has subscribed, to its first service or to another one.
    pub(crate) fn stir(&mut self) {
        self.services.stir();
    }

    // --- what the shard must do next -----------------------------------------------------------------------------------

    /// The next request to hand on, and the worker for it: the one of its service that holds the fewest requests.
    pub(crate) fn next_hand(&mut self, directory: &Directory) -> Option<Hand> {
        let (id, member) = self.services.next(directory)?;
        let RequestState::Pending { message, worker, attempts, .. } = &mut self.entries.get_mut(&id)?.state else {
            unreachable!("only pending requests wait for a worker")
        };
        *worker = Some(Address { place: member.place, key: member.key });
        *attempts += 1;
        let message = if *attempts == 1 { message.clone() } else { Arc::new(again(message, *attempts)) };
        Some(Hand { id, worker: member, message })
    }

    /// The next request whose end is to be published.
    pub(crate) fn next_news(&mut self) -> Option<News> {
        let id = self.news.pop_front()?;
        shrink(&mut self.news, limits::ENTRIES_KEPT);
        let entry = self.entries.get_mut(&id)?;
        let RequestState::Over { forget_at, is_told, .. } = &mut entry.state else {
            unreachable!("only what is over is news")
        };
        *is_told = true;
        self.kept.insert((*forget_at, id));
        entry.news(id)
    }

    /// Whether [`KeptRequests::next_hand`] or [`KeptRequests::next_news`] may have something.
    pub(crate) fn has_work(&self) -> bool {
        !self.news.is_empty() || self.services.may_have_work()
    }

    /// Ends the requests whose deadline has passed, and forgets old results. Returns how many have expired.
    pub(crate) fn expire(&mut self, now: Tick) -> usize {
        let mut count = 0;
        while let Some((_, id)) = self.due.first().copied().filter(|(expires, _)| *expires <= now) {
            let Some(entry) = self.entries.get(&id) else { unreachable!("what is due is there") };
            let document = document::bare(id, Status::Expired, &entry.channel);
            self.end(id, Status::Expired, document, now);
            count += 1;
        }
        while self.kept.first().is_some_and(|(forget_at, _)| *forget_at <= now) {
            self.forget_first();
        }
        count
    }

    /// When [`KeptRequests::expire`] is to be called again.
    pub(crate) fn deadline(&self) -> Tick {
        let first = |times: &BTreeSet<(Tick, RequestId)>| times.first().map_or(Tick::NEVER, |(at, _)| *at);
        first(&self.due).min(first(&self.kept))
    }

    // --- getters -------------------------------------------------------------------------------------------------------

    /// The document for a client that asks for a request of this route.
    pub(crate) fn read(&self, id: RequestId, route: RouteId) -> Option<Reading> {
        let entry = self.entries.get(&id).filter(|entry| entry.route == route)?;
        let (status, document) = match &entry.state {
            RequestState::Pending { .. } => (Status::Pending, document::bare(id, Status::Pending, &entry.channel)),
            RequestState::Over { status, document, .. } => (*status, document.clone()),
        };
        Some(Reading { status, document })
    }

    /// The news of a request that was published already, for a client that has joined its channel since.
    pub(crate) fn old_news(&self, id: RequestId, channel: &Subject) -> Option<News> {
        let entry = self.entries.get(&id).filter(|entry| entry.channel == *channel)?;
        let is_old = matches!(entry.state, RequestState::Over { is_told: true, .. });
        is_old.then(|| entry.news(id)).flatten()
    }

    /// The number of requests, results included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of results that were told, and not kept for want of room.
    pub(crate) fn unkept(&self) -> u64 {
        self.unkept
    }

    /// The bytes of requests and results, as `limits.accepted_bytes_max` counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of pending requests.
    pub(crate) fn pending(&self) -> usize {
        self.due.len()
    }

    // --- within --------------------------------------------------------------------------------------------------------

    /// The end of a pending request.
    fn end(&mut self, id: RequestId, status: Status, document: Box<[u8]>, now: Tick) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let bytes = entry.bytes_without_payload() + document.len();
        // A result that is longer than its request may find no room: earlier ones do not give way to it.
        let is_kept = bytes <= entry.bytes || self.bytes - entry.bytes + bytes <= self.bytes_max;
        self.unkept += u64::from(!is_kept);
        let forget_at = if is_kept { now + entry.keep } else { now };
        let over = RequestState::Over { status, document, forget_at, is_told: false };
        let RequestState::Pending { message, expires, turn, worker, .. } = std::mem::replace(&mut entry.state, over)
        else {
            unreachable!("a request ends once")
        };
        self.bytes = self.bytes - entry.bytes + bytes;
        self.shares.remove(&entry.sources, entry.bytes);
        self.shares.add(&entry.sources, bytes);
        entry.bytes = bytes;
        self.services.leave(&message.subject, turn, worker);
        self.due.remove(&(expires, id));
        self.news.push_back(id);
    }

    /// Whether a request of this size may be taken in. Its result may be longer, so results have room that no request
    /// gets.
    fn check_room(&self, sources: &RequestSources, bytes: usize) -> Result<(), CloseReason> {
        let free = (self.bytes_max - self.bytes_max / limits::ACCEPTED_FOR_RESULTS).saturating_sub(self.bytes);
        if bytes > free {
            Err(CloseReason::RequestsFull)
        } else if !self.shares.allow(sources, bytes, free) {
            Err(CloseReason::RequestsShare)
        } else {
            Ok(())
        }
    }

    /// Forgets the result whose time is over first; false if there is none.
    fn forget_first(&mut self) -> bool {
        let Some((_, id)) = self.kept.pop_first() else { return false };
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
            self.shares.remove(&entry.sources, entry.bytes);
            if let Some(key) = &entry.key {
                self.by_key.remove(&key.name);
            }
            shrink(&mut self.entries, limits::ENTRIES_KEPT);
            shrink(&mut self.by_key, limits::ENTRIES_KEPT);
        }
        true
    }
}

impl KeptRequest {
    fn news(&self, id: RequestId) -> Option<News> {
        let RequestState::Over { status, document, .. } = &self.state else { return None };
        let (route, channel) = (self.route, self.channel.clone());
        // A copy: one for subscribers, one for readers.
        Some(News { id, route, channel, status: *status, document: document.clone() })
    }

    fn bytes_without_payload(&self) -> usize {
        match &self.state {
            RequestState::Pending { message, .. } => self.bytes - message.payload.len(),
            RequestState::Over { document, .. } => self.bytes - document.len(),
        }
    }
}

/// The same message for the nth worker, with that number. A copy, made only for requests that an earlier worker has left.
fn again(message: &Message, attempts: u32) -> Message {
    let attempt = attempts.to_string();
    let headers = message.headers.as_ref().map(|block| headers::with(block, ATTEMPT_HEADER, &attempt));
    Message::new(message.subject.clone(), message.reply.clone(), headers, message.payload.clone())
}

fn size_of_request(request: &AcceptedRequest) -> usize {
    let headers = request.message.headers.as_ref().map_or(0, |headers| headers.len());
    let key = request.key.as_ref().map_or(0, |key| key.name.len());
    limits::REQUEST_BYTES + request.message.payload.len() + headers + key
}
