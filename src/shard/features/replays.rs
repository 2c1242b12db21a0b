//! Replays: the missed messages of a returning client are requested from the channel's owner, piece by piece, and sent
//! before the live ones.
//!
//! ```text
//!  subscribe --> silent --Replay--> owner --Replayed--> gap?, messages --+--> the last: it hears what is live
//!                  ^                                                     |
//!                  '-- Replay, once all of that has been sent <----------'
//! ```
//!
//! THE SEAM: nothing twice, nothing lost. A shard's asks reach an owner in order, and the owner's tells come back in
//! order. So a message published before the owner reads `Replay` is at or below the position in the answer, and arrives
//! before it; every later message is above that position, and arrives after it. A subscription that is skipped until
//! the last answer, and served from then on, therefore gets each message once. A slow reader paces its own replay: if
//! history is dropped before it has read it, the next piece begins with a gap. Replays of many channels come one piece
//! after the other: if an answer finds no room, the stream opens all the same, and the messages are requested again
//! later.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::Key;
use crate::hub::SubKey;
use crate::limits;
use crate::mesh::Mail;
use crate::mesh::replays::{Asker, Replay, ReplayMail, Replayed};
use crate::proto::CloseReason;
use crate::proto::event::Position;
use crate::proto::replay::{Excerpt, ExcerptBounds, Since};
use crate::proto::subject::Subject;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::Desk;

/// Connections with an incomplete replay, whose next piece waits until they have read the last one. Most have one
/// channel.
#[derive(Default)]
pub(in crate::shard) struct Replays {
    readers: BTreeMap<Key, SmallVec<[Reader; 1]>>,
}

/// A subscription with an incomplete replay and no request under way.
struct Reader {
    sub: SubKey,
    tag: u32,
    subject: Subject,
    stands_at: Position,
}

impl Replays {
    pub(crate) fn new(_parts: &Parts) -> Replays {
        Replays::default()
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: ReplayMail) {
        match mail {
            ReplayMail::Replay(replay) => look_up(desk, *replay),
            ReplayMail::Replayed(replayed) => self.replayed(desk, *replayed),
        }
    }

    /// The new subscription `sub` of `key` gets the messages that `since` asks for, then the live ones.
    pub(crate) fn begin(
        &mut self,
        desk: &mut Desk,
        key: Key,
        sub: SubKey,
        (tag, subject): (u32, Subject),
        since: Since,
    ) {
        desk.subscribers.silence(sub, true);
        let Some(conn) = desk.slots.get_mut(key) else { return };
        conn.session.awaits_replay();
        let asker = Asker { address: desk.address(key), tag, sub: Some(sub), is_registration: true };
        ask(desk, key, subject, since, asker);
    }

    /// A piece has arrived: it is sent, followed by live messages or by the next piece.
    fn replayed(&mut self, desk: &mut Desk, replayed: Replayed) {
        let Replayed { subject, excerpt, asker } = replayed;
        let key = asker.address.key;
        match (asker.sub, excerpt) {
            (Some(sub), Some(excerpt)) if desk.subscribers.subscriber(sub).is_some() => {
                self.tell(desk, sub, (asker, subject), excerpt);
            }
            // The client has unsubscribed, but the connection still waits for the answer.
            (Some(_), _) => {}
            (None, excerpt) => {
                desk.answer(key, |conn, settings, now| conn.push_history(subject, excerpt, settings, now));
                // A long answer may be under way now. The connection may then have an earlier deadline than before, which
                // the wheel must know.
                desk.schedule(key);
            }
        }
        if asker.is_registration {
            desk.registered(key);
        }
    }

    fn tell(&mut self, desk: &mut Desk, sub: SubKey, (asker, subject): (Asker, Subject), excerpt: Excerpt) {
        let key = asker.address.key;
        let Some(conn) = desk.slots.get_mut(key) else { return };
        let is_unspeakable = excerpt.gap.is_some() && !conn.session.can_hear_gaps();
        if is_unspeakable {
            return desk.end(key, CloseReason::SlowConsumer);
        }
        let has_room = conn.has_room_for(&excerpt, &desk.settings);
        let excerpt = if has_room { excerpt } else { excerpt.put_off() };
        conn.push_replayed(asker.tag, &subject, &excerpt);
        desk.mark_dirty(key);
        desk.counters().replayed.add(excerpt.messages.len() as u64);
        if let Some(gap) = excerpt.gap {
            desk.counters().gaps(gap.reason).add(1);
        }
        if desk.drop_expired(key).contains(&sub) {
            // The subscription cannot continue after a gap.
        } else if excerpt.is_last {
            desk.subscribers.silence(sub, false);
        } else {
            let reader = Reader { sub, tag: asker.tag, subject, stands_at: excerpt.end() };
            self.readers.entry(key).or_default().push(reader);
        }
    }
}

fn ask(desk: &mut Desk, key: Key, subject: Subject, since: Since, asker: Asker) {
    let Some(conn) = desk.slots.get(key) else { return };
    // Together with other queued messages, a piece must not make a client slow.
    let bytes_max = limits::REPLAY_BYTES_MAX.min(conn.session.outbox_bytes_max(&desk.settings) / 4);
    let bounds = ExcerptBounds { messages_max: limits::REPLAY_MESSAGES_MAX, bytes_max };
    send(desk, Replay { subject, since, bounds, asker });
}

/// Requests kept messages of a channel, without a subscription.
pub(in crate::shard) fn ask_history(
    desk: &mut Desk,
    key: Key,
    (tag, subject): (u32, Subject),
    since: Since,
    bounds: ExcerptBounds,
) {
    let asker = Asker { address: desk.address(key), tag, sub: None, is_registration: false };
    send(desk, Replay { subject, since, bounds, asker });
}

fn send(desk: &mut Desk, replay: Replay) {
    let owner = desk.owner_of(&replay.subject);
    desk.send(owner, Mail::Replays(ReplayMail::Replay(replay.into())));
}

/// The owner's part: reads the log and answers.
fn look_up(desk: &mut Desk, replay: Replay) {
    let Replay { subject, since, bounds, asker } = replay;
    let excerpt = desk.engine.replay(&subject, since, bounds, desk.now);
    let replayed = Replayed { subject, excerpt, asker };
    desk.send(asker.address.place, Mail::Replays(ReplayMail::Replayed(replayed.into())));
}

impl Feature for Replays {
    /// Once `key` has received what it was sent, its incomplete replays continue.
    fn connection_sent(&mut self, desk: &mut Desk, key: Key) {
        let is_idle = desk.slots.get(key).is_some_and(|conn| conn.link.is_taken() && conn.is_open());
        if self.readers.is_empty() || !is_idle {
            return;
        }
        for Reader { sub, tag, subject, stands_at } in self.readers.remove(&key).unwrap_or_default() {
            let asker = Asker { address: desk.address(key), tag, sub: Some(sub), is_registration: false };
            ask(desk, key, subject, Since::After(stands_at), asker);
        }
    }

    /// The replay of the subscription ends.
    fn subscription_ends(&mut self, desk: &mut Desk, sub: SubKey) {
        if self.readers.is_empty() {
            return;
        }
        let Some(key) = desk.subscribers.subscriber(sub).map(|subscriber| subscriber.key) else { return };
        if let Some(readers) = self.readers.get_mut(&key) {
            readers.retain(|reader| reader.sub != sub);
            if readers.is_empty() {
                self.readers.remove(&key);
            }
        }
    }

    fn count(&self, census: &mut Census) {
        census.readers = self.readers.len();
    }
}
