//! The engine: the state of the channels that this shard owns.
//!
//! ```text
//!  routing   which places listen       local for ever
//!  log       offsets, what is kept     in memory; one that lives elsewhere can take its place
//!
//!            join                    last leave             more than IDLE_CHANNELS_MAX of a kind
//!  (none) ---------> live  <----------------------------------> idle -----------------------------> forgotten
//!     '--------------------- publish, no listener ---------------^       (a new epoch, should it come back)
//! ```
//!
//! The owner's shard calls it; other shards send asks (`Join`, `Publish`, `Replay`) and get tells. Only an engine
//! interprets positions.

mod distinct;
mod duplicates;
mod history;
mod idle;
mod log;
#[cfg(test)]
mod model;
mod routing;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::PlaceSet;
use crate::base::{Place, Tick};
use crate::proto::channel::Rules;
use crate::proto::event::Message;
use crate::proto::replay::{Excerpt, ExcerptBounds, Since};
use crate::proto::reserved::destination::Destination;
use crate::proto::subject::Subject;

use log::Log;
pub(crate) use log::{Appended, Repetition};
use routing::Routing;

/// See the module's picture.
pub(crate) struct Engine {
    routing: Routing,
    log: Log,
}

impl Engine {
    /// `epoch_seed` is random: positions of an earlier process must be recognized as foreign.
    pub(crate) fn new(rules: Arc<Rules>, history_bytes_max: usize, epoch_seed: u32) -> Engine {
        Engine { routing: Routing::default(), log: Log::new(rules, history_bytes_max, epoch_seed) }
    }

    /// For messages without positions: questions, and messages to acknowledge.
    pub(crate) fn routing(&self) -> &Routing {
        &self.routing
    }

    /// The numbers of channels with subscribers, and of remembered channels without.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.routing.len(), self.log.idle())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Entries for which its lists of live channels have room.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.routing.room()
    }

    /// The number of channels with kept messages, and the bytes that they cost.
    pub(crate) fn kept(&self) -> (usize, usize) {
        self.log.kept()
    }

    /// `place` has its first subscriber.
    pub(crate) fn join(&mut self, subject: &Subject, place: Place) {
        self.routing.join(subject, place, || self.log.wake(subject));
    }

    /// `place` has no subscriber left.
    pub(crate) fn leave(&mut self, subject: &Subject, place: Place) {
        if let Some(standing) = self.routing.leave(subject, place) {
            self.log.rest(subject, standing);
        }
    }

    /// Appends one message to the log of its channel and, if it is taken, adds the places with subscribers. Inboxes and
    /// the gateway's own subjects have no positions: each has one subscriber, and there are too many of them.
    pub(crate) fn publish(&mut self, message: &Arc<Message>, now: Tick, places: &mut PlaceSet) -> Appended {
        if message.destination() != Destination::Channel {
            if let Some(channel) = self.routing.find(&message.listened()) {
                places.union(&channel.listening);
            }
            return Appended::Taken(None);
        }
        let mut live = self.routing.find_mut(&message.subject);
        let appended = self.log.append(message, live.as_mut().map(|channel| &mut channel.standing), now);
        if let (Appended::Taken(_), Some(channel)) = (appended, live) {
            places.union(&channel.listening);
        }
        appended
    }

    /// Whether only the owner of its channel can decide that the message is delivered.
    pub(crate) fn may_be_repetition(&self, message: &Message) -> bool {
        self.log.may_be_repetition(message)
    }

    /// The requested messages of a channel; `None` if the channel does not exist. A place that has joined it always
    /// gets an answer.
    pub(crate) fn replay(
        &mut self,
        subject: &Subject,
        since: Since,
        bounds: ExcerptBounds,
        now: Tick,
    ) -> Option<Excerpt> {
        let live = self.routing.find(subject.as_str()).map(|channel| channel.standing);
        let (latest, history) = self.log.read(subject, live, now)?;
        Some(history::excerpt(history, latest, since, bounds))
    }

    /// When [`Engine::sweep`] must be called.
    pub(crate) fn sweep_at(&self) -> Tick {
        self.log.sweep_at()
    }

    /// Drops some old messages and names.
    pub(crate) fn sweep(&mut self, now: Tick) {
        self.log.sweep(now);
    }
}
