//! What an answer is about that the shard owes: remembered from the request on.

use super::accept::Owed;
use super::origins::Page;
use crate::proto::presence::{Found, Whereabouts};
use crate::proto::subject::Subject;

pub(super) enum About {
    /// A text from the shard.
    Text,
    /// The position of a message in this channel.
    Published(Subject),
    /// The address of a request that was accepted.
    Accepted(Box<Owed>),
    /// The state of a request that was accepted earlier, or the error of one that failed.
    Request(Option<Box<Page>>),
    /// The connections of a user.
    User(Box<Whereabouts>),
}

impl About {
    /// The page of another origin that may read the answer, if any.
    pub(super) fn page(&self) -> Option<&Page> {
        match self {
            About::Text | About::Published(_) | About::User(_) => None,
            About::Accepted(owed) => owed.page.as_ref(),
            About::Request(page) => page.as_deref(),
        }
    }

    /// Adds one shard's report about the user. Returns the text of the answer after the last one.
    pub(super) fn found(&mut self, found: Found) -> Option<String> {
        match self {
            About::User(whereabouts) => whereabouts.add(found).then(|| whereabouts.to_json()),
            _ => None,
        }
    }
}
