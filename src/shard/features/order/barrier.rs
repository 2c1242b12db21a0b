//! PING is a barrier: its PONG leaves after every earlier publication of the connection has been passed to its
//! subscribers, on all shards.
//!
//! ```text
//!  publications:   origin --ask--> owner --tell--> a shard with clients
//!                    '----tell----> a shard with workers --tell--> another, if the member of a group has left
//!  then the marks, behind them on the same lanes; each place answers the origin with Marked, and says how many it has sent on
//! ```
//!
//! All connections of a shard share one round at a time; a connection that pings during a round waits for the next. If
//! the shard's publications have gone to no other place since the last round, it answers at once. In-process workers
//! are not asked: their queue is their own business.

use crate::base::{Key, Place};
use crate::hub::PlaceSet;
use crate::mesh::order::OrderMail;
use crate::shard::desk::{Desk, Trail};

use super::send;

/// The origin; the owner, or a worker's shard; and one more if a member has left.
const DEPTHS: usize = 3;

#[derive(Default)]
pub(super) struct Barrier {
    round: Option<Round>,
    /// Connections that wait for the next round.
    waiting: Vec<Key>,
}

/// Marks under way, by their distance from here. The number expected at one distance is known once all nearer marks
/// have arrived.
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

    /// Every message in the publisher's line has been sent.
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

    /// A mark of this shard has arrived at a place.
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
    desk.work.resume.push_back(key);
    desk.mark_dirty(key);
}

/// The shard's own letters about `origin`'s publications, sent as an owner, precede the marks.
pub(super) fn mark(desk: &mut Desk, origin: Place) {
    let relayed = std::mem::take(&mut desk.trail.relayed[origin.index()]);
    mark_onward(desk, origin, 0, relayed);
}

pub(super) fn mark_told(desk: &mut Desk, origin: Place, depth: u8) {
    // A publication is passed on again at most once.
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
