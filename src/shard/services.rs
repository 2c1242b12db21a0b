//! The services of the configuration, and the ways in which their clients fail: the words of metrics and log.

use crate::conn::route::{Route, RouteTarget};
use crate::conn::routes::Routes;
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;

/// The services that routes name, each once, in the order of their names.
pub fn of_routes(routes: &Routes) -> Vec<Subject> {
    let named = |route: &Route| match &route.target {
        RouteTarget::Accept(target) => Some(target.service.to.subject().clone()),
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
pub enum ServiceFailure {
    /// A call found no worker.
    NoWorker,
    /// No worker answered a call in time.
    NoAnswer,
    /// A message waited for a worker until its time was over.
    Unserved,
}

impl ServiceFailure {
    pub const ALL: [ServiceFailure; 3] = [ServiceFailure::NoWorker, ServiceFailure::NoAnswer, ServiceFailure::Unserved];

    /// The word in the metrics; stable.
    pub fn word(self) -> &'static str {
        match self {
            ServiceFailure::NoWorker => "no_worker",
            ServiceFailure::NoAnswer => "no_answer",
            ServiceFailure::Unserved => "message_unserved",
        }
    }
}
