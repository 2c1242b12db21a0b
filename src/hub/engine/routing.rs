//! Routing: which places listen to the channels that this shard owns.
//!
//! ```text
//!  (none) --first join--> { places, standing } --last leave--> (none); the log gets the standing back
//! ```
//!
//! It is local, and answers at once, wherever the log of the channels lives: a message that is delivered needs places, and so do
//! questions and messages to acknowledge, which have no positions.
//!
//! Where a channel stands belongs to the log and lies here beside the places, because a publication needs both: it finds them by
//! one look-up.

use ahash::AHashMap;

use super::log::Standing;
use crate::base::Place;
use crate::hub::PlaceSet;
use crate::proto::subject::Subject;

/// Channels with listeners.
#[derive(Default)]
pub(crate) struct Routing {
    live: AHashMap<Subject, LiveChannel>,
}

/// See the module's picture; the places are never none.
pub(super) struct LiveChannel {
    pub standing: Standing,
    pub listening: PlaceSet,
}

impl Routing {
    /// The places that listen.
    pub(crate) fn listening(&self, subject: &Subject) -> PlaceSet {
        self.live.get(subject).map(|channel| channel.listening).unwrap_or_default()
    }

    /// Channels with listeners.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn find(&self, subject: &str) -> Option<&LiveChannel> {
        self.live.get(subject)
    }

    pub(super) fn find_mut(&mut self, subject: &Subject) -> Option<&mut LiveChannel> {
        self.live.get_mut(subject)
    }

    /// `place` has a listener now; `standing` is asked for if it is the channel's first.
    pub(super) fn join(&mut self, subject: &Subject, place: Place, standing: impl FnOnce() -> Standing) {
        if !self.live.contains_key(subject) {
            self.live.insert(subject.clone(), LiveChannel { standing: standing(), listening: PlaceSet::default() });
        }
        if let Some(channel) = self.live.get_mut(subject) {
            channel.listening.insert(place);
        }
    }

    /// `place` has no listener any more: where the channel stands, if it was the last.
    pub(super) fn leave(&mut self, subject: &Subject, place: Place) -> Option<Standing> {
        let channel = self.live.get_mut(subject)?;
        channel.listening.remove(place);
        let standing = channel.listening.is_empty().then_some(channel.standing)?;
        self.live.remove(subject);
        Some(standing)
    }
}
