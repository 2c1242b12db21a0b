//! The requests that wait for a worker of a service, and those that a worker holds.

use std::collections::{BTreeMap, BTreeSet};

use super::super::directory::{Directory, Member, weight};
use super::sources::RequestSource;
use super::turns::{QueueTurn, Turns};
use crate::base::{Address, RequestId};
use crate::limits;
use crate::proto::subject::Subject;

/// A request in a queue: its id, its size, and the source that takes turns with others. Its place is that under which
/// the queue stores it.
#[derive(Clone, Debug)]
pub(super) struct QueuedRequest {
    pub id: RequestId,
    pub bytes: usize,
    pub source: RequestSource,
}

/// By service subject. Services without requests have no entry.
pub(super) struct ServiceQueues {
    services: BTreeMap<Subject, ServiceQueue>,
    /// Services for which a worker may be found: something has changed since none was found.
    stirred: BTreeSet<Subject>,
    /// The bound on the bytes of the requests that one worker holds.
    worker_bytes_max: usize,
}

/// In the order of their turns: a request that was given back is first again.
#[derive(Default)]
struct ServiceQueue {
    turns: Turns,
    waiting: BTreeMap<QueueTurn, QueuedRequest>,
    loads: BTreeMap<Address, Load>,
}

/// The unanswered requests of one worker.
#[derive(Default)]
struct Load {
    tickets: BTreeMap<QueueTurn, QueuedRequest>,
    bytes: usize,
}

impl ServiceQueues {
    pub(super) fn new(worker_bytes_max: usize) -> ServiceQueues {
        ServiceQueues { services: BTreeMap::new(), stirred: BTreeSet::new(), worker_bytes_max }
    }

    /// A new request waits. Returns its place.
    pub(super) fn wait(&mut self, subject: &Subject, serial: u64, ticket: QueuedRequest) -> QueueTurn {
        let service = self.services.entry(subject.clone()).or_default();
        let turn = service.turns.draw(&ticket.source, serial);
        service.waiting.insert(turn, ticket);
        self.stirred.insert(subject.clone());
        turn
    }

    /// A request has ended, with or without a worker.
    pub(super) fn leave(&mut self, subject: &Subject, turn: QueueTurn, worker: Option<Address>) {
        let Some(service) = self.services.get_mut(subject) else { return };
        match worker {
            Some(worker) => drop(service.release(worker, turn)),
            None => {
                if let Some(ticket) = service.waiting.remove(&turn) {
                    service.turns.leave(&ticket.source);
                }
            }
        }
        self.settle(subject);
    }

    /// A request waits again.
    pub(super) fn give_back(&mut self, subject: &Subject, turn: QueueTurn, worker: Address) {
        let Some(service) = self.services.get_mut(subject) else { return };
        if let Some(ticket) = service.release(worker, turn) {
            service.turns.wait(&ticket.source, turn);
            service.waiting.insert(turn, ticket);
            self.stirred.insert(subject.clone());
        }
    }

    /// All requests of a worker wait again. Returns them.
    pub(super) fn gone(&mut self, worker: Address) -> Vec<RequestId> {
        let mut orphans = Vec::new();
        for (subject, service) in &mut self.services {
            let Some(load) = service.loads.remove(&worker) else { continue };
            for (turn, ticket) in load.tickets {
                orphans.push(ticket.id);
                service.turns.wait(&ticket.source, turn);
                service.waiting.insert(turn, ticket);
            }
            self.stirred.insert(subject.clone());
        }
        orphans
    }

    pub(super) fn stir(&mut self) {
        let waiting = self.services.iter().filter(|(_, service)| !service.waiting.is_empty());
        self.stirred.extend(waiting.map(|(subject, _)| subject.clone()));
    }

    pub(super) fn may_have_work(&self) -> bool {
        !self.stirred.is_empty()
    }

    /// The next request, and the worker for it. `None` if no worker of any service has room.
    pub(super) fn next(&mut self, directory: &Directory) -> Option<(RequestId, Member)> {
        while let Some(subject) = self.stirred.first() {
            let found = self.services.get_mut(subject).and_then(|service| {
                let turn = *service.waiting.first_key_value()?.0;
                let member = service.choose(subject, turn, directory, self.worker_bytes_max)?;
                Some((service.give(turn, member)?, member))
            });
            if found.is_some() {
                return found;
            }
            self.stirred.pop_first();
        }
        None
    }

    /// A worker has room again, or the service has no requests left.
    fn settle(&mut self, subject: &Subject) {
        let Some(service) = self.services.get(subject) else { return };
        if service.waiting.is_empty() && service.loads.is_empty() {
            self.services.remove(subject);
        } else if !service.waiting.is_empty() {
            self.stirred.insert(subject.clone());
        }
    }
}

impl ServiceQueue {
    /// The worker with room that holds the fewest requests; among equals, the request's number decides.
    fn choose(&self, subject: &Subject, turn: QueueTurn, directory: &Directory, bytes_max: usize) -> Option<Member> {
        let bytes = self.waiting.get(&turn)?.bytes;
        let mut best: Option<((usize, u64), Member)> = None;
        directory.for_each_worker(subject.as_str(), |member| {
            let load = self.loads.get(&Address { place: member.place, key: member.key });
            let held = load.map_or(0, |load| load.tickets.len());
            // A worker without requests takes one of any size.
            let fits = load.is_none_or(|load| load.bytes + bytes <= bytes_max);
            let rank = (held, weight(turn.serial, member));
            if held < limits::REQUESTS_PER_WORKER_MAX && fits && best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, *member));
            }
        });
        best.map(|(_, member)| member)
    }

    fn give(&mut self, turn: QueueTurn, member: Member) -> Option<RequestId> {
        let ticket = self.waiting.remove(&turn)?;
        self.turns.hand_on(&ticket.source, turn, self.waiting.len());
        let load = self.loads.entry(Address { place: member.place, key: member.key }).or_default();
        let id = ticket.id;
        load.bytes += ticket.bytes;
        load.tickets.insert(turn, ticket);
        Some(id)
    }

    fn release(&mut self, worker: Address, turn: QueueTurn) -> Option<QueuedRequest> {
        let load = self.loads.get_mut(&worker)?;
        let ticket = load.tickets.remove(&turn)?;
        load.bytes -= ticket.bytes;
        if load.tickets.is_empty() {
            self.loads.remove(&worker);
        }
        Some(ticket)
    }
}
