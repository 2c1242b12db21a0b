//! PING is a barrier: its PONG comes after all that this connection has published has been handed to its subscribers, on whatever
//! shard.
//!
//! ```text
//!  publications:   origin --ask--> owner --tell--> a shard with clients
//!                    '----tell----> a shard with workers --tell--> another, if the member of a group has left
//!  then the marks, behind them on the same lanes; each place answers the origin with Marked, and says how many it has sent on
//! ```
//!
//! One round at a time for all connections of a shard: a connection that pings meanwhile waits for the next. A shard whose
//! publications have gone nowhere else since the last round answers at once. In-process workers are not asked: their queue is their
//! own.

use crate::base::{Key, Place};
use crate::hub::PlaceSet;
use crate::mesh::order::OrderMail;
use crate::shard::desk::{Desk, Trail};

use super::send;

/// Origin, owner or worker's shard, and one more where a member has left.
const DEPTHS: usize = 3;

#[derive(Default)]
pub(super) struct Barrier {
    round: Option<Round>,
    /// Connections that wait for the next round.
    waiting: Vec<Key>,
}

/// Marks that are under way, by how far they are from here: what is expected is known once all that is nearer has arrived.
#[derive(Default)]
struct Round {
    waiting: Vec<Key>,
    expected: [u32; DEPTHS],
    arrived: [u32; DEPTHS],
}

impl Barrier {
    /// Connections that wait for their PONG.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.round.as_ref().map_or(0, |round| round.waiting.len())
    }

    /// All that a publisher has said has gone out.
    pub(super) fn line_is_empty(&mut self, desk: &mut Desk, key: Key) {
        if desk.slots.get(key).is_some_and(|conn| conn.session.owes_pong()) {
            self.waiting.push(key);
            if self.round.is_none() {
                self.begin_round(desk);
            }
        }
    }

    fn begin_round(&mut self, desk: &mut Desk) {
        let origin = desk.place;
        let Trail { asked, told, .. } = &mut desk.trail;
        let (asked, told) = (std::mem::take(asked), std::mem::take(told));
        let waiting = std::mem::take(&mut self.waiting);
        let count = asked.iter().count() + told.iter().count();
        if count == 0 {
            return waiting.into_iter().for_each(|key| pong(desk, key));
        }
        asked.iter().for_each(|place| send(desk, place, OrderMail::Mark { origin }));
        told.iter().for_each(|place| send(desk, place, OrderMail::MarkTold { origin, depth: 0 }));
        self.round = Some(Round { waiting, expected: [count as u32, 0, 0], arrived: [0; DEPTHS] });
    }

    /// A mark of this shard's has arrived somewhere.
    pub(super) fn marked(&mut self, desk: &mut Desk, depth: u8, onward: u16) {
        let depth = usize::from(depth);
        let Some(round) = &mut self.round else { return };
        round.arrived[depth] += 1;
        if let Some(further) = round.expected.get_mut(depth + 1) {
            *further += u32::from(onward);
        }
        if round.arrived == round.expected {
            let Round { waiting, .. } = self.round.take().unwrap_or_default();
            waiting.into_iter().for_each(|key| pong(desk, key));
            if !self.waiting.is_empty() {
                self.begin_round(desk);
            }
        }
    }
}

fn pong(desk: &mut Desk, key: Key) {
    let Some(conn) = desk.slots.get_mut(key) else { return };
    conn.pong();
    desk.work.resume.push(key);
    desk.mark_dirty(key);
}

/// What this shard has sent on of `origin`'s as an owner goes before the marks.
pub(super) fn mark(desk: &mut Desk, origin: Place) {
    let relayed = std::mem::take(&mut desk.trail.relayed[origin.index()]);
    mark_onward(desk, origin, 0, relayed);
}

pub(super) fn mark_told(desk: &mut Desk, origin: Place, depth: u8) {
    // What has been sent on again is not sent on a third time.
    let is_last = usize::from(depth) + 1 == DEPTHS;
    let relayed = match is_last {
        true => PlaceSet::default(),
        false => std::mem::take(&mut desk.trail.relayed_again[origin.index()]),
    };
    mark_onward(desk, origin, depth, relayed);
}

fn mark_onward(desk: &mut Desk, origin: Place, depth: u8, relayed: PlaceSet) {
    relayed.iter().for_each(|place| send(desk, place, OrderMail::MarkTold { origin, depth: depth + 1 }));
    let onward = relayed.iter().count() as u16;
    send(desk, origin, OrderMail::Marked { depth, onward });
}
