//! Who listens to what. Pure state: the shard asks, and carries out what the answers say.
//!
//! ```text
//!   listeners   this shard's subscriptions: channel -> clients, patterns -> workers
//!   engine      the channels that this shard owns: their offsets, which shards have listeners, what is kept
//!   directory   what every shard knows: all subscriptions of workers, hence those of each service
//!   requests    the accepted requests that this shard owns, and their results
//!   questions   what workers have asked clients and not heard yet; what this shard's connections have been asked
//!   unacked     what clients have to acknowledge and have not
//! ```
//!
//! A channel belongs to the shard that its name hashes to ([`Hub::owner_of`]). The owner gives offsets, so a channel
//! has one order without a lock. The hub knows no connection, only keys; it sends nothing.

// Bytes, time and randomness are arguments; clippy.toml names what may not be called.
#![deny(clippy::disallowed_methods)]

mod destination;
mod directory;
mod engine;
mod listeners;
pub mod patterns;
mod places;
pub mod questions;
pub mod requests;
pub mod unacked;

pub use destination::{Command, Destination, NoCommand};
pub use directory::{Directory, Member, Membership, Seat};
pub use engine::{Engine, Repetition};
pub use listeners::{Listener, Listeners, Registration, SubKey, Withdrawal};
pub use places::PlaceSet;
pub use questions::{Asked, Questions};
pub use requests::Requests;
pub use unacked::Unacked;

use std::sync::Arc;

use crate::base::{Address, Place, RequestId, Tick};
use crate::proto::event::{Message, Position};
use crate::proto::presence::Change;
use crate::proto::subject::Subject;

/// One shard's part of the hub.
pub struct Hub {
    own: Place,
    shards: u16,
    pub engine: Engine,
    pub directory: Directory,
    pub requests: Requests,
    pub questions: Questions,
    pub asked: Asked,
    pub unacked: Unacked,
}

/// Which workers get a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Threads with plain subscriptions of workers (shards), or that listen themselves (in-process workers).
    pub places: PlaceSet,
    /// One member of each queue group.
    pub seats: smallvec::SmallVec<[Seat; 2]>,
    /// Somebody from the directory is meant by the message, and does not just watch everything that flows.
    pub has_addressee: bool,
}

impl Recipients {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.seats.is_empty()
    }

    /// Whether there is one place or one member, and nobody besides.
    pub fn is_one(&self) -> bool {
        self.places.iter().take(2).count() + self.seats.len() == 1
    }
}

impl Hub {
    pub fn new(own: Place, shards: u16, engine: Engine, unacked: unacked::Bounds, seed: u32) -> Hub {
        Hub {
            own,
            shards,
            engine,
            directory: Directory::default(),
            requests: Requests::new(shards),
            questions: Questions::new(own, seed),
            asked: Asked::default(),
            unacked: Unacked::new(own, unacked, seed),
        }
    }

    pub fn own(&self) -> Place {
        self.own
    }

    /// The shard that owns `subject`: the same answer on every shard and in every process of this version.
    pub fn owner_of(&self, subject: &str) -> Place {
        owner_of(subject, self.shards)
    }

    /// Takes one message for a subject that this shard owns: its position, if it is a channel's, and the shards whose clients get
    /// it. A repetition is not taken.
    pub fn publish(
        &mut self,
        subject: &Subject,
        message: &Arc<Message>,
        now: Tick,
    ) -> Result<(Option<Position>, PlaceSet), Repetition> {
        debug_assert_eq!(self.owner_of(subject.as_str()), self.own, "only the owner gives offsets");
        let mut places = PlaceSet::default();
        let position = self.engine.publish(subject, message, now, &mut places)?;
        Ok((position, places))
    }

    /// The workers that get a message on `subject`: every shard knows them.
    pub fn workers(&mut self, subject: &Subject, except: Option<Address>) -> Recipients {
        let mut recipients = Recipients::default();
        if !self.directory.is_empty() {
            let draw = self.directory.draw();
            self.directory.collect(subject.as_str(), draw, &[], except, &mut recipients);
        }
        recipients
    }
}

/// See [`Hub::owner_of`]. A channel that is named after a request belongs to the shard that keeps the request. Who comes and
/// goes is announced by the channel's owner, so that it keeps its order with what the owner answers.
pub fn owner_of(subject: &str, shards: u16) -> Place {
    let subject = Change::of(subject).map_or(subject, |(_, channel)| channel);
    if let Some(id) = RequestId::in_subject(subject).filter(|id| id.place.0 < shards) {
        return id.place;
    }
    Place((fnv1a(subject.as_bytes()) % u64::from(shards)) as u16)
}

/// FNV-1a: stable across processes, which a seeded hash is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finalizer of splitmix64: spreads neighbouring numbers.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The answers of the hub in the order of a subscription's life; see the submodules for each step alone.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;
    use crate::proto::subject::Pattern;

    #[test]
    fn the_owner_sends_to_every_place_that_listens_once() {
        let mut hub = Hub::new(Place(0), 1, Engine::new(Arc::default(), 0, 7), unacked::Bounds::default(), 7);
        let subject = Subject::new("room.1").unwrap();
        hub.engine.join(&subject, Place(3));
        hub.directory.enlist(Membership {
            pattern: Pattern::new("room.*").unwrap(),
            queue: None,
            member: Member {
                place: Place(3),
                key: Key { slot: 0, generation: 0 },
                sub: Key { slot: 0, generation: 0 },
            },
        });
        let message = Message { subject: subject.clone(), reply: None, headers: None, payload: Box::default() };
        let (position, places) = hub.publish(&subject, &Arc::new(message), Tick::ZERO).unwrap();
        assert_eq!(position.unwrap().offset, 1);
        assert_eq!(places.iter().collect::<Vec<_>>(), [Place(3)]);
        let workers = hub.workers(&subject, None);
        assert!(workers.is_one() && workers.places.contains(Place(3)));
    }
}
