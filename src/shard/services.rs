//! The services of the configuration: who serves them, and whom nobody has served.
//!
//! ```text
//!  a worker's subscription --Enlist, Resign--> every shard; the first one counts and says who came first and left last
//!  a client's call, message --nobody there--> counted by its shard
//! ```

use log::{info, warn};

use crate::base::{Address, Key, Place};
use crate::conn::route::{Route, Target};
use crate::hub::{Member, Membership};
use crate::proto::subject::Subject;

use super::Core;

/// What the subjects of all services begin with.
const PREFIX: &str = "tg.service.";
/// The place of the shard that says for the process who serves: every shard knows.
const SPEAKER: Place = Place(0);

/// The services that routes name, each once, in the order of their names.
pub fn of_routes(routes: &[Route]) -> Vec<Subject> {
    let named = |route: &Route| match &route.target {
        Target::Accept(target) => Some(target.service.subject.clone()),
        target => target.service().map(|service| service.subject.clone()),
    };
    let mut services: Vec<Subject> = routes.iter().filter_map(named).collect();
    services.sort();
    services.dedup();
    services
}

/// As people write it: `desk`.
pub fn name(service: &Subject) -> &str {
    service.as_str().strip_prefix(PREFIX).unwrap_or(service.as_str())
}

/// What befell a client of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A call found no worker.
    NoWorker,
    /// No worker has answered a call in time.
    NoAnswer,
    /// A message waited for a worker, and none came.
    Unserved,
}

impl Failure {
    pub const ALL: [Failure; 3] = [Failure::NoWorker, Failure::NoAnswer, Failure::Unserved];

    /// The word in the metrics; stable.
    pub fn word(self) -> &'static str {
        match self {
            Failure::NoWorker => "no_worker",
            Failure::NoAnswer => "no_answer",
            Failure::Unserved => "message_unserved",
        }
    }
}

impl Core {
    /// A worker serves now.
    pub(super) fn worker_came(&mut self, membership: &Membership) {
        for (service, workers) in self.count_workers(membership, 1) {
            if workers == 1
                && let Some(left_out) = self.desk.fold.say(&("worker came", &service), self.desk.now)
            {
                info!("service {}: a worker is there{left_out}", name(&service));
            }
        }
    }

    /// A member of the directory is none any more.
    pub(super) fn forget_member(&mut self, membership: &Membership) {
        if self.desk.directory.contains(&membership.member) {
            self.desk.directory.resign(membership);
            self.worker_left(membership);
        }
    }

    /// A worker of any shard does not listen any more. In-process workers resign at their end alone.
    pub(super) fn resigned(&mut self, membership: &Membership) {
        self.forget_member(membership);
        let Member { place, key, .. } = membership.member;
        if !self.desk.post.mesh().is_shard(place) {
            self.features.requests.gone(&mut self.desk, Address { place, key });
        }
    }

    fn worker_left(&mut self, membership: &Membership) {
        for (service, workers) in self.count_workers(membership, -1) {
            if workers == 0
                && let Some(left_out) = self.desk.fold.say(&("worker left", &service), self.desk.now)
            {
                warn!("service {}: the last worker has left; clients' calls fail{left_out}", name(&service));
            }
        }
    }

    /// The services that this subscription serves, and how many serve each now. Who only watches serves none.
    fn count_workers(&mut self, membership: &Membership, change: i64) -> Vec<(Subject, u64)> {
        let Membership { pattern, queue, .. } = membership;
        if self.desk.place != SPEAKER || (queue.is_none() && !pattern.is_literal()) {
            return Vec::new();
        }
        let served = self.desk.counters().services.iter().filter(|service| pattern.matches(service.subject.as_str()));
        served
            .map(|service| {
                let workers = service.workers.value().saturating_add_signed(change);
                service.workers.set(workers);
                (service.subject.clone(), workers)
            })
            .collect()
    }

    /// Counts what befell the client `key`, and says so while its service has no worker.
    pub(super) fn count_failures(&self, key: Key, failure: Failure, count: u64) {
        let Some(route) = self.desk.slots.get(key).map(|conn| conn.route()) else { return };
        let Some(service) = self.desk.settings.routes[usize::from(route)].target.service() else { return };
        let counters = self.desk.counters().services.iter().find(|own| own.subject == service.subject);
        if let Some(counters) = counters {
            counters.failed(failure).add(count);
        }
        let words = match failure {
            Failure::NoWorker => "a client's call found no worker",
            Failure::NoAnswer => "no worker has answered a client's call in time",
            Failure::Unserved => "a client's message found no worker in time, and the client was sent away",
        };
        if let Some(left_out) = self.desk.fold.say(&(failure, &service.subject), self.desk.now) {
            warn!("service {}: {words}{left_out}", name(&service.subject));
        }
    }
}
