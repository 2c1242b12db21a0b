//! Routing: the places with subscribers of the channels that this shard owns.
//!
//! ```text
//!  (none) --first join--> { places, standing } --last leave--> (none); the log gets the standing back
//! ```
//!
//! Routing is local and answers at once, wherever the log of the channels lives: a delivery needs places, and so do
//! questions and messages to acknowledge, which have no positions.
//!
//! The standing of a channel belongs to the log, but is stored beside the places, because a publication needs both and
//! finds them with one look-up.

use super::standing::Standing;
use crate::base::{NameTable, Place};
use crate::hub::PlaceSet;
use crate::proto::subject::Subject;

/// Channels with listeners.
#[derive(Default)]
pub(crate) struct Routing {
    live: NameTable<Subject, LiveChannel>,
}

/// See the module's picture. There is at least one place.
pub(super) struct LiveChannel {
    pub standing: Standing,
    pub listening: PlaceSet,
}

impl Routing {
    /// The places with subscribers.
    pub(crate) fn listening(&self, subject: &Subject) -> PlaceSet {
        self.live.get(subject.as_str()).map(|channel| channel.listening).unwrap_or_default()
    }

    /// Channels with listeners.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.live.capacity()
    }

    pub(super) fn find(&self, subject: &str) -> Option<&LiveChannel> {
        self.live.get(subject)
    }

    pub(super) fn find_mut(&mut self, subject: &Subject) -> Option<&mut LiveChannel> {
        self.live.get_mut(subject.as_str())
    }

    /// `place` has its first subscriber; `standing` is called if it is the first place.
    pub(super) fn join(&mut self, subject: &Subject, place: Place, standing: impl FnOnce() -> Standing) {
        let first = || LiveChannel { standing: standing(), listening: PlaceSet::default() };
        self.live.get_or_insert_with(subject, first).listening.insert(place);
    }

    /// `place` has no subscriber left. Returns the channel's standing if it was the last place.
    pub(super) fn leave(&mut self, subject: &Subject, place: Place) -> Option<Standing> {
        let channel = self.live.get_mut(subject.as_str())?;
        channel.listening.remove(place);
        let standing = channel.listening.is_empty().then_some(channel.standing)?;
        self.live.remove(subject.as_str());
        Some(standing)
    }
}
