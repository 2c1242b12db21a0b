//! Subscriptions, channels and everything that workers and clients wait for. Pure state: the shard calls it, and
//! carries out the results.
//!
//! ```text
//!   subscribers this shard's subscriptions: channel -> clients, patterns -> workers
//!   topic       the clients of one channel on this shard, and the events on their way to them
//!   engine      the channels that this shard owns: routing (which places have listeners) and log (offsets, what is kept)
//!   presences   the clients of the channels that this shard owns, where their rules ask for that; joins and leaves to announce
//!   directory   what every shard knows: all subscriptions of workers, hence those of each service
//!   requests    the accepted requests that this shard owns, and their results
//!   questions   what workers have asked clients and not heard yet; what this shard's connections have been asked
//!   unacked     what clients have to acknowledge and have not
//!   upstreams   the servers that requests are given to: which one, which connection, and what waits
//! ```
//!
//! A channel belongs to the shard that its name hashes to ([`owner_of`]). The owner gives offsets, so a channel
//! has one order without a lock. The hub knows no connection, only keys; it sends nothing.

// Bytes, time and randomness are arguments; clippy.toml lists the forbidden calls.
#![deny(clippy::disallowed_methods)]

mod directory;
mod engine;
pub(crate) mod patterns;
mod places;
mod presences;
pub(crate) mod questions;
pub(crate) mod requests;
mod subscribers;
mod topic;
pub(crate) mod unacked;
pub(crate) mod upstreams;

pub(crate) use directory::{Directory, Member, Membership, Seat};
pub(crate) use engine::{Appended, Engine, Repetition};
pub(crate) use places::PlaceSet;
pub(crate) use presences::Presences;
pub(crate) use questions::{OwedAnswers, PendingQuestions};
pub(crate) use requests::KeptRequests;
pub(crate) use subscribers::{Registration, SubKey, Subscribers, Withdrawal};
pub(crate) use topic::{Pending, Subscriber};
pub(crate) use unacked::UnackedMessages;

use crate::base::{Place, RequestId, fnv1a};
use crate::proto::event::Message;
use crate::proto::reserved::subjects::Change;

/// The workers that get a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recipients {
    /// Shards with plain subscriptions of workers, and in-process workers.
    pub places: PlaceSet,
    /// One member of each queue group.
    pub seats: smallvec::SmallVec<[Seat; 2]>,
    /// At least one receiver counts as a responder: a member of a queue group, or a plain subscription without wildcards.
    /// Plain wildcard subscriptions only watch.
    pub has_addressee: bool,
}

impl Recipients {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.seats.is_empty()
    }

    /// Whether there is exactly one place or one member.
    pub(crate) fn is_one(&self) -> bool {
        self.places.iter().take(2).count() + self.seats.len() == 1
    }
}

/// The shard that owns `subject`: the same on every shard and in every process of this version. A channel that is named
/// after a request belongs to the request's keeper. Joins and leaves are announced by the channel's owner, so that they
/// keep their order with its answers.
pub(crate) fn owner_of(subject: &str, shards: u16) -> Place {
    owner_of_name(Change::of(subject).map_or(subject, |(_, channel)| channel), shards)
}

/// The shard that owns the subject of a message, see [`Message::owned_by`].
pub(crate) fn owner_of_message(message: &Message, shards: u16) -> Place {
    owner_of_name(message.owned_by(), shards)
}

fn owner_of_name(name: &str, shards: u16) -> Place {
    if let Some(id) = RequestId::in_subject(name).filter(|id| id.place.0 < shards) {
        return id.place;
    }
    Place((fnv1a(name.as_bytes()) % u64::from(shards)) as u16)
}
