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

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::Key;
use crate::hub::SubKey;
use crate::limits;
use crate::mesh::Mail;
use crate::mesh::replays::{Asker, Replay, ReplayMail, Replayed};
use crate::proto::CloseReason;
use crate::proto::event::Position;
use crate::proto::replay::{Bounds, Excerpt, Since};
use crate::proto::subject::Subject;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::Desk;

/// Connections that have not taken all that they missed, whose next piece waits for that. Most have one channel.
#[derive(Default)]
pub(in crate::shard) struct Replays {
    readers: BTreeMap<Key, SmallVec<[Reader; 1]>>,
}

/// A subscription that has not heard all that it missed, and is not being told more at the moment.
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

    /// The new subscription `sub` of `key` hears first what `since` asks for, and then what is live.
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

    /// A piece has come: it goes out, and what is live follows it, or the next.
    fn replayed(&mut self, desk: &mut Desk, replayed: Replayed) {
        let Replayed { subject, excerpt, asker } = replayed;
        let key = asker.address.key;
        match (asker.sub, excerpt) {
            (Some(sub), Some(excerpt)) if desk.subscribers.subscriber(sub).is_some() => {
                self.tell(desk, sub, (asker, subject), excerpt);
            }
            // It has been unsubscribed meanwhile; the connection still counts on the answer.
            (Some(_), _) => {}
            (None, excerpt) => {
                desk.answer(key, |conn, settings, now| {
                    conn.push_history(asker.tag, &subject, excerpt.as_ref(), settings, now)
                });
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
            // It cannot go on behind a gap.
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
    // Beside what else waits for it, a piece must not make a client slow.
    let bytes_max = limits::REPLAY_BYTES_MAX.min(conn.session.outbox_bytes_max(&desk.settings) / 4);
    let bounds = Bounds { messages_max: limits::REPLAY_MESSAGES_MAX, bytes_max };
    send(desk, Replay { subject, since, bounds, asker });
}

/// Asks for what is kept of a channel, and for nothing after it.
pub(in crate::shard) fn ask_history(
    desk: &mut Desk,
    key: Key,
    (tag, subject): (u32, Subject),
    since: Since,
    bounds: Bounds,
) {
    let asker = Asker { address: desk.address(key), tag, sub: None, is_registration: false };
    send(desk, Replay { subject, since, bounds, asker });
}

fn send(desk: &mut Desk, replay: Replay) {
    let owner = desk.owner_of(&replay.subject);
    desk.send(owner, Mail::Replays(ReplayMail::Replay(replay.into())));
}

/// The owner's part.
fn look_up(desk: &mut Desk, replay: Replay) {
    let Replay { subject, since, bounds, asker } = replay;
    let excerpt = desk.engine.replay(&subject, since, bounds, desk.now);
    let replayed = Replayed { subject, excerpt, asker };
    desk.send(asker.address.place, Mail::Replays(ReplayMail::Replayed(replayed.into())));
}

impl Feature for Replays {
    /// If `key` has taken all that it was sent, those of its subscriptions that are behind go on.
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

    /// It reads no further.
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
