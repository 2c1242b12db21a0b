//! The services of the configuration, and the ways in which their clients fail: the words of metrics and log.

use crate::conn::route::{Route, Target};
use crate::conn::routes::Routes;
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;

/// The services that routes name, each once, in the order of their names.
pub fn of_routes(routes: &Routes) -> Vec<Subject> {
    let named = |route: &Route| match &route.target {
        Target::Accept(target) => Some(target.service.to.subject().clone()),
        target => target.service().map(|service| service.to.subject().clone()),
    };
    let mut services: Vec<Subject> = routes.iter().filter_map(|(_, route)| named(route)).collect();
    services.sort();
    services.dedup();
    services
}

/// The name as people write it: `desk`.
pub fn name(service: &Subject) -> &str {
    subjects::service_name(service).unwrap_or(service.as_str())
}

/// A failure that a client of a service met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A call found no worker.
    NoWorker,
    /// No worker answered a call in time.
    NoAnswer,
    /// A message waited for a worker until its time was over.
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
