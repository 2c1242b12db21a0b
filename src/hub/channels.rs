//! The channels that this shard owns: offsets, and which shards have listeners.
//!
//! ```text
//!            join                    last leave, offset > 0            more than IDLE_CHANNELS_MAX
//!  (none) ---------> live  <----------------------------------> idle -----------------------------> forgotten
//!     '--------------------- publish, nobody listens -----------^       (a new epoch, should it come back)
//! ```

use ahash::AHashMap;
use lru::LruCache;

use super::PlaceSet;
use crate::base::Place;
use crate::limits;
use crate::proto::event::Position;
use crate::proto::subject::Subject;

struct Channel {
    /// The last position given; offset 0 before the first.
    position: Position,
    listening: PlaceSet,
}

/// See the module's picture.
pub struct Channels {
    live: AHashMap<Subject, Channel>,
    /// Nobody listens; only the position is worth keeping.
    idle: LruCache<Subject, Position>,
    epoch_next: u32,
}

impl Channels {
    pub fn new(epoch_seed: u32) -> Channels {
        // Bounded by `park`: `LruCache::new` would allocate for the bound at once.
        Channels { live: AHashMap::new(), idle: LruCache::unbounded(), epoch_next: epoch_seed }
    }

    /// Channels with listeners, and channels remembered without.
    pub fn len(&self) -> (usize, usize) {
        (self.live.len(), self.idle.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// `place` has a listener now.
    pub fn join(&mut self, subject: &Subject, place: Place) {
        if !self.live.contains_key(subject) {
            let position = match self.idle.pop(subject) {
                Some(position) => position,
                None => self.begin(),
            };
            self.live.insert(subject.clone(), Channel { position, listening: PlaceSet::default() });
        }
        if let Some(channel) = self.live.get_mut(subject) {
            channel.listening.insert(place);
        }
    }

    /// `place` has no listener any more.
    pub fn leave(&mut self, subject: &Subject, place: Place) {
        let Some(channel) = self.live.get_mut(subject) else { return };
        channel.listening.remove(place);
        if channel.listening.is_empty() {
            let position = channel.position;
            self.live.remove(subject);
            if position.offset > 0 {
                self.park(subject.clone(), position);
            }
        }
    }

    /// Counts one message, and adds the places that listen. Answers' inboxes and the gateway's own subjects have no
    /// positions: they are one listener's each, and there are too many of them.
    pub fn publish(&mut self, subject: &Subject, places: &mut PlaceSet) -> Option<Position> {
        let has_positions = !subject.is_inbox() && !subject.is_reserved();
        if let Some(channel) = self.live.get_mut(subject) {
            places.union(&channel.listening);
            channel.position.offset += u64::from(has_positions);
            return has_positions.then_some(channel.position);
        }
        if !has_positions {
            return None;
        }
        if let Some(position) = self.idle.get_mut(subject) {
            position.offset += 1;
            return Some(*position);
        }
        let mut position = self.begin();
        position.offset = 1;
        self.park(subject.clone(), position);
        Some(position)
    }

    fn begin(&mut self) -> Position {
        self.epoch_next = self.epoch_next.wrapping_add(1);
        Position { epoch: self.epoch_next, offset: 0 }
    }

    fn park(&mut self, subject: Subject, position: Position) {
        self.idle.put(subject, position);
        if self.idle.len() > limits::IDLE_CHANNELS_MAX {
            self.idle.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    #[test]
    fn offsets_go_on_while_nobody_listens() {
        let mut channels = Channels::new(1);
        let room = subject("room.1");
        let mut places = PlaceSet::default();
        let first = channels.publish(&room, &mut places).unwrap();
        assert!(places.is_empty());
        channels.join(&room, Place(1));
        let second = channels.publish(&room, &mut places).unwrap();
        assert_eq!(places.iter().collect::<Vec<_>>(), [Place(1)]);
        channels.leave(&room, Place(1));
        let third = channels.publish(&room, &mut PlaceSet::default()).unwrap();
        assert_eq!((first.offset, second.offset, third.offset), (1, 2, 3));
        assert_eq!((first.epoch, second.epoch), (third.epoch, third.epoch));
    }

    #[test]
    fn a_forgotten_channel_comes_back_in_another_epoch() {
        let mut channels = Channels::new(1);
        let room = subject("room.1");
        let first = channels.publish(&room, &mut PlaceSet::default()).unwrap();
        for number in 0..limits::IDLE_CHANNELS_MAX {
            channels.publish(&subject(&format!("other.{number}")), &mut PlaceSet::default());
        }
        assert_eq!(channels.len(), (0, limits::IDLE_CHANNELS_MAX));
        let again = channels.publish(&room, &mut PlaceSet::default()).unwrap();
        assert_eq!(again.offset, 1);
        assert_ne!(again.epoch, first.epoch);
    }

    #[test]
    fn inboxes_leave_nothing_behind() {
        let mut channels = Channels::new(1);
        let inbox = subject("_INBOX.a.1");
        channels.join(&inbox, Place(0));
        let mut places = PlaceSet::default();
        assert_eq!(channels.publish(&inbox, &mut places), None);
        assert!(places.contains(Place(0)));
        channels.leave(&inbox, Place(0));
        assert!(channels.is_empty());
    }
}
