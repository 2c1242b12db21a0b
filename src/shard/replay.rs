//! Coming back: what a connection missed is asked of the channel's owner, piece by piece, and comes before what is live.
//!
//! ```text
//!  subscribe --> silent --Replay--> owner --Replayed--> gap?, messages --+--> the last: it hears what is live
//!                  ^                                                     |
//!                  '-- Replay, once all of that has been sent <----------'
//! ```
//!
//! THE SEAM: nothing twice, nothing lost. A shard's asks reach an owner in order, and so do its tells come back. What was
//! published before the owner read `Replay` is therefore at or below the position that it answers with and comes before the
//! answer; what is published later is above it and comes after. So a subscription that is passed over until the last answer,
//! and not from then on, hears each message once. A slow reader paces its own replay: if what is kept runs away from it
//! meanwhile, the next piece begins with a gap. What has been missed of many channels comes one piece after the other: an answer
//! that finds no room opens the stream all the same, and its messages are asked for again.

use smallvec::SmallVec;

use crate::base::Key;
use crate::hub::SubKey;
use crate::limits;
use crate::mesh::{Asker, Mail, Replay, Replayed};
use crate::proto::CloseReason;
use crate::proto::event::Position;
use crate::proto::replay::{Bounds, Since};
use crate::proto::subject::Subject;

use super::Core;

/// A subscription that has not heard all that it missed, and is not being told more at the moment.
pub(super) struct Reader {
    sub: SubKey,
    tag: u32,
    subject: Subject,
    stands_at: Position,
}

/// Of one connection: most have one channel.
pub(super) type Readers = SmallVec<[Reader; 1]>;

impl Core {
    /// Subscribes `key` to a channel; it hears first what `since` asks for, and then what is live.
    pub(super) fn subscribe_since(&mut self, key: Key, tag: u32, subject: Subject, since: Since) {
        let Some(sub) = self.subscribe(key, tag, &subject) else { return };
        self.desk.subscribers.silence(sub, true);
        let Some(conn) = self.desk.slots.get_mut(key) else { return };
        conn.awaits_replay();
        let asker = Asker { address: self.desk.address(key), tag, sub: Some(sub), is_registration: true };
        self.ask(key, subject, since, asker);
    }

    fn ask(&mut self, key: Key, subject: Subject, since: Since, asker: Asker) {
        let Some(conn) = self.desk.slots.get(key) else { return };
        // Beside what else waits for it, a piece must not make a client slow.
        let bytes_max = limits::REPLAY_BYTES_MAX.min(conn.outbox_bytes_max(&self.desk.settings) / 4);
        let bounds = Bounds { messages_max: limits::REPLAY_MESSAGES_MAX, bytes_max };
        self.send_replay(Replay { subject, since, bounds, asker });
    }

    /// Asks for what is kept of a channel, and for nothing after it.
    pub(super) fn ask_history(&mut self, key: Key, tag: u32, subject: Subject, since: Since, bounds: Bounds) {
        let asker = Asker { address: self.desk.address(key), tag, sub: None, is_registration: false };
        self.send_replay(Replay { subject, since, bounds, asker });
    }

    fn send_replay(&mut self, replay: Replay) {
        let owner = self.desk.owner_of(&replay.subject);
        self.desk.send(owner, Mail::Replay(Box::new(replay)));
    }

    /// The owner's part.
    pub(super) fn look_up(&mut self, replay: Replay) -> Replayed {
        let Replay { subject, since, bounds, asker } = replay;
        let excerpt = self.desk.engine.replay(&subject, since, bounds, self.desk.now);
        Replayed { subject, excerpt, asker }
    }

    /// A piece has come: it goes out, and what is live follows it, or the next.
    pub(super) fn replayed(&mut self, replayed: Replayed) {
        let Replayed { subject, excerpt, asker } = replayed;
        let key = asker.address.key;
        match (asker.sub, excerpt) {
            (Some(sub), Some(excerpt)) if self.desk.subscribers.listener(sub).is_some() => {
                let Some(conn) = self.desk.slots.get_mut(key) else { return };
                let is_unspeakable = excerpt.gap.is_some() && !conn.can_hear_gaps();
                if is_unspeakable {
                    return self.end(key, CloseReason::SlowConsumer);
                }
                let has_room = conn.has_room_for(&excerpt, &self.desk.settings);
                let excerpt = if has_room { excerpt } else { excerpt.put_off() };
                conn.push_replayed(asker.tag, &subject, &excerpt);
                self.desk.mark_dirty(key);
                self.desk.counters().replayed.add(excerpt.messages.len() as u64);
                if let Some(gap) = excerpt.gap {
                    self.desk.counters().gaps(gap.reason).add(1);
                }
                self.drop_expired(key);
                if self.desk.subscribers.listener(sub).is_none() {
                    // Over: it could not go on behind a gap.
                } else if excerpt.is_last {
                    self.desk.subscribers.silence(sub, false);
                } else {
                    let reader = Reader { sub, tag: asker.tag, subject, stands_at: excerpt.end() };
                    self.readers.entry(key).or_default().push(reader);
                }
            }
            // It has been unsubscribed meanwhile; the connection still counts on the answer.
            (Some(_), _) => {}
            (None, excerpt) => {
                self.desk.answer(key, |conn, settings, now| {
                    conn.push_history(asker.tag, &subject, excerpt.as_ref(), settings, now)
                });
            }
        }
        if asker.is_registration {
            self.desk.registered(key);
        }
    }

    /// `key` has taken what it was sent: those of its subscriptions that are behind go on.
    pub(super) fn read_on(&mut self, key: Key) {
        let is_idle = self.desk.slots.get(key).is_some_and(|conn| conn.outbox.is_empty() && conn.ended().is_none());
        if !is_idle {
            return;
        }
        for Reader { sub, tag, subject, stands_at } in self.readers.remove(&key).unwrap_or_default() {
            let asker = Asker { address: self.desk.address(key), tag, sub: Some(sub), is_registration: false };
            self.ask(key, subject, Since::After(stands_at), asker);
        }
    }

    /// A subscription ends: it reads no further.
    pub(super) fn stop_reading(&mut self, sub: SubKey) {
        let Some(key) = self.desk.subscribers.listener(sub).map(|listener| listener.key) else { return };
        if let Some(readers) = self.readers.get_mut(&key) {
            readers.retain(|reader| reader.sub != sub);
            if readers.is_empty() {
                self.readers.remove(&key);
            }
        }
    }
}
