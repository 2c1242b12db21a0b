//! What the answer to a request will be about, from the moment that the shard owes it.

use super::accept::Owed;
use super::origins::Page;
use crate::proto::presence::{Found, Whereabouts};
use crate::proto::subject::Subject;

pub(super) enum About {
    /// What the shard says in text.
    Text,
    /// The position of a message in this channel.
    Published(Subject),
    /// Where the request is to be found.
    Accepted(Box<Owed>),
    /// A request that was accepted earlier, or one that fails.
    Request(Option<Box<Page>>),
    /// Where a user is connected.
    User(Box<Whereabouts>),
}

impl About {
    /// Whether a page of another origin may read the answer.
    pub(super) fn page(&self) -> Option<&Page> {
        match self {
            About::Text | About::Published(_) | About::User(_) => None,
            About::Accepted(owed) => owed.page.as_ref(),
            About::Request(page) => page.as_deref(),
        }
    }

    /// One shard has said where the user is: the text of the answer, if it was the last.
    pub(super) fn found(&mut self, found: Found) -> Option<String> {
        match self {
            About::User(whereabouts) => whereabouts.add(found).then(|| whereabouts.to_json()),
            _ => None,
        }
    }
}
