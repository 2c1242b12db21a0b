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

use ahash::AHashMap;

use super::standing::Standing;
use crate::base::{Place, shrink};
use crate::hub::PlaceSet;
use crate::limits;
use crate::proto::subject::Subject;

/// Channels with listeners.
#[derive(Default)]
pub(crate) struct Routing {
    live: AHashMap<Subject, LiveChannel>,
}

/// See the module's picture. There is at least one place.
pub(super) struct LiveChannel {
    pub standing: Standing,
    pub listening: PlaceSet,
}

impl Routing {
    /// The places with subscribers.
    pub(crate) fn listening(&self, subject: &Subject) -> PlaceSet {
        self.live.get(subject).map(|channel| channel.listening).unwrap_or_default()
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
        self.live.get_mut(subject)
    }

    /// `place` has its first subscriber; `standing` is called if it is the first place.
    pub(super) fn join(&mut self, subject: &Subject, place: Place, standing: impl FnOnce() -> Standing) {
        if !self.live.contains_key(subject) {
            self.live.insert(subject.clone(), LiveChannel { standing: standing(), listening: PlaceSet::default() });
        }
        if let Some(channel) = self.live.get_mut(subject) {
            channel.listening.insert(place);
        }
    }

    /// `place` has no subscriber left. Returns the channel's standing if it was the last place.
    pub(super) fn leave(&mut self, subject: &Subject, place: Place) -> Option<Standing> {
        let channel = self.live.get_mut(subject)?;
        channel.listening.remove(place);
        let standing = channel.listening.is_empty().then_some(channel.standing)?;
        self.live.remove(subject);
        shrink(&mut self.live, limits::ENTRIES_KEPT);
        Some(standing)
    }
}
