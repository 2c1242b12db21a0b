//! The sources of requests, users and networks, and how much of the store each has.
//!
//! ```text
//!  bytes for requests |#### one network ####|## others ##|.... free ....|
//!                      '- may grow while it has at most 4 times what is free; a user, as much as is free
//! ```
//!
//! A source that sends without end so leaves room for every other one, however many there are, and no table of quotas is
//! needed. Behind a proxy all clients are one network, so a network may have more than a user. An unnamed client counts
//! for its network alone.

use std::sync::Arc;

use ahash::AHashMap;

use crate::base::shrink;
use crate::limits;

/// A party that requests are charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RequestSource {
    /// An IPv4 address, or the first half of an IPv6 address, which one household or machine has.
    Network(u64),
    User(Arc<str>),
}

/// The sources of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestSources {
    pub network: u64,
    pub user: Option<Arc<str>>,
}

impl RequestSources {
    /// The source that takes its turn among others at a service.
    pub(super) fn in_turn(&self) -> RequestSource {
        self.user().unwrap_or(RequestSource::Network(self.network))
    }

    fn user(&self) -> Option<RequestSource> {
        self.user.clone().map(RequestSource::User)
    }
}

/// The bytes of each source's requests, pending ones and results. Sources without requests have no entry.
#[derive(Default)]
pub(super) struct Shares {
    bytes: AHashMap<RequestSource, usize>,
}

impl Shares {
    /// Whether a request of this size may take from what is free.
    pub(super) fn allow(&self, sources: &RequestSources, bytes: usize, free: usize) -> bool {
        let has = |source: &RequestSource| self.bytes.get(source).copied().unwrap_or(0);
        let fits = |source: RequestSource, of_free: usize| has(&source) + bytes <= of_free * free;
        fits(RequestSource::Network(sources.network), limits::ACCEPTED_OF_FREE_NETWORK)
            && sources.user().is_none_or(|user| fits(user, limits::ACCEPTED_OF_FREE_USER))
    }

    pub(super) fn add(&mut self, sources: &RequestSources, bytes: usize) {
        for source in [Some(RequestSource::Network(sources.network)), sources.user()].into_iter().flatten() {
            *self.bytes.entry(source).or_default() += bytes;
        }
    }

    pub(super) fn remove(&mut self, sources: &RequestSources, bytes: usize) {
        for source in [Some(RequestSource::Network(sources.network)), sources.user()].into_iter().flatten() {
            if let Some(has) = self.bytes.get_mut(&source) {
                *has -= bytes;
                if *has == 0 {
                    self.bytes.remove(&source);
                    shrink(&mut self.bytes, limits::ENTRIES_KEPT);
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
