//! Events held for slow clients, in channels with delivery `latest` or `drop`, until the last batch is sent.
//!
//! ```text
//!  event --> is a batch on its way? --no--> outbox
//!                     |                       ^
//!                     yes                     '-- release: a piece at a time, the channels in turn
//!                     v                                             |
//!            the channel's lane   latest:  a  b' c                  |   a newer b has taken the place of b
//!                                 drop:    (gap) 7 8 9  ------------'   1 to 6 would have been too much
//! ```
//!
//! A connection has an entry only while an event is held for it, so the others need no memory for this.

use std::collections::VecDeque;
use std::rc::Rc;

use ahash::{AHashMap, RandomState};

use crate::base::Key;
use crate::limits;
use crate::proto::channel::{Delivery, Loss, Queue};
use crate::proto::event::{Event, Position};
use crate::proto::replay::{Gap, GapReason};
use crate::proto::reserved::headers::KEY_HEADER;
use crate::proto::subject::Subject;

/// The held events of a shard.
#[derive(Default)]
pub struct Held {
    by_conn: AHashMap<Key, Holding>,
    keys: RandomState,
}

/// What happens to an event that cannot be sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFate {
    /// It is held. This many others are lost for it.
    Waits(Option<(Loss, u64)>),
    /// The event itself is lost.
    Lost(Loss),
    /// There is no room, and no event that may be dropped: the client is too slow.
    Full,
}

/// The next thing to release.
pub enum Next {
    /// `stands_at`: the client's position after the gap.
    Gap { tag: u32, channel: Subject, gap: Gap, stands_at: Position },
    /// `stands_at`: the client's position after the event, which need not be the next in the channel's order.
    Event { tag: u32, event: Rc<Event>, stands_at: Option<Position> },
}

/// Bounds on what may wait for one client.
#[derive(Clone, Copy)]
pub struct HoldingBounds {
    pub queue: Queue,
    /// For all its held events, in addition to its outbox.
    pub bytes_max: usize,
}

/// The held events of one connection; never empty.
#[derive(Default)]
struct Holding {
    /// The first lane is released from next.
    lanes: VecDeque<ChannelLane>,
    /// The cost of all lanes.
    cost: usize,
    /// The shares of the events, and the cost of all lanes, when they were weighed.
    shares: usize,
    weighed_at: usize,
}

/// The held events of one channel, in the order of release.
struct ChannelLane {
    channel: Subject,
    /// The connection's number for the subscription.
    tag: u32,
    events: VecDeque<HeldEvent>,
    /// How many events were taken off the front.
    taken: u64,
    /// Bytes of headers and payloads.
    bytes: usize,
    /// By hash of the key: the number of the event that waits. Only with `latest`.
    by_key: AHashMap<u64, u64>,
    /// The offset up to which everything is sent or replaced, while events are not in the channel's order.
    passed: Option<u64>,
    is_in_order: bool,
    /// Messages before the first event are lost.
    has_gap: bool,
    /// The position of the newest event so far.
    newest: Option<Position>,
}

struct HeldEvent {
    event: Rc<Event>,
    key_hash: u64,
}

impl Held {
    /// Connections with held events.
    pub fn len(&self) -> usize {
        self.by_conn.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// The cost of the events held for `key`.
    pub fn cost(&self, key: Key) -> usize {
        self.by_conn.get(&key).map_or(0, |holding| holding.cost)
    }

    /// The memory that waits for `key`: the entries, and each event's share of one holder, as they were weighed last.
    pub fn weight(&self, key: Key) -> usize {
        self.by_conn.get(&key).map_or(0, Holding::weight)
    }

    /// Weighs it again if its cost has changed much.
    pub fn weigh(&mut self, key: Key) -> usize {
        let Some(holding) = self.by_conn.get_mut(&key) else { return 0 };
        if holding.cost.abs_diff(holding.weighed_at) >= limits::WAITING_BYTES_FREE {
            holding.weigh();
        }
        holding.weight()
    }

    /// Weighs it again in any case: other holders of the events may have let go of them. Returns how many events there are.
    pub fn weigh_again(&mut self, key: Key) -> usize {
        self.by_conn.get_mut(&key).map_or(0, Holding::weigh)
    }

    /// Holds `event`, or drops it as `delivery` says.
    pub fn offer(
        &mut self,
        key: Key,
        tag: u32,
        event: &Rc<Event>,
        delivery: Delivery,
        bounds: HoldingBounds,
    ) -> EventFate {
        debug_assert_ne!(delivery, Delivery::Queue, "it holds nothing back");
        let Held { by_conn, keys } = self;
        let holding = by_conn.entry(key).or_default();
        let outcome = match delivery {
            Delivery::Queue | Delivery::Latest => {
                let key_hash = keys.hash_one(event.message.header(KEY_HEADER));
                holding.offer_latest(tag, event, key_hash, bounds)
            }
            Delivery::Drop => holding.offer_drop(tag, event, bounds),
        };
        if holding.lanes.is_empty() {
            by_conn.remove(&key);
        }
        outcome
    }

    /// The next release for `key`; `None` if nothing is held.
    pub fn next(&mut self, key: Key) -> Option<Next> {
        let holding = self.by_conn.get_mut(&key)?;
        let next = holding.next();
        if holding.lanes.is_empty() {
            self.by_conn.remove(&key);
        }
        next
    }

    /// A new piece begins: each lane whose events are not in the channel's order recomputes the offset up to which
    /// everything is sent or replaced. It holds for the whole piece: the events within it are not passed before its end.
    pub fn begin_piece(&mut self, key: Key) {
        if let Some(holding) = self.by_conn.get_mut(&key) {
            holding.lanes.iter_mut().filter(|lane| !lane.is_in_order).for_each(ChannelLane::look);
        }
    }

    /// Drops the held events of a channel that `key` no longer subscribes to. False if nothing is held now.
    pub fn forget(&mut self, key: Key, channel: &Subject) -> bool {
        let Some(holding) = self.by_conn.get_mut(&key) else { return false };
        if let Some(index) = holding.lanes.iter().position(|lane| lane.channel == *channel)
            && let Some(lane) = holding.lanes.remove(index)
        {
            holding.cost -= lane.cost();
        }
        let is_holding = !holding.lanes.is_empty();
        if !is_holding {
            self.by_conn.remove(&key);
        }
        is_holding
    }

    /// Drops all events held for `key`.
    pub fn forget_all(&mut self, key: Key) {
        self.by_conn.remove(&key);
    }
}

impl Holding {
    fn weight(&self) -> usize {
        let events: usize = self.lanes.iter().map(|lane| lane.events.len()).sum();
        self.shares + events * limits::HELD_MESSAGE_BYTES
    }

    fn weigh(&mut self) -> usize {
        let events = || self.lanes.iter().flat_map(|lane| &lane.events);
        self.shares = events().map(|held| held.event.share() / Rc::strong_count(&held.event)).sum();
        self.weighed_at = self.cost;
        events().count()
    }

    fn offer_latest(&mut self, tag: u32, event: &Rc<Event>, key_hash: u64, bounds: HoldingBounds) -> EventFate {
        if self.cost > bounds.bytes_max {
            return EventFate::Full;
        }
        let mut waiting = HeldEvent { event: event.clone(), key_hash };
        if let Some(lane) = self.lane_of(event) {
            let before = lane.cost();
            match lane.supersede(waiting) {
                Ok(()) if lane.bytes > bounds.queue.bytes && lane.events.len() > 1 => return EventFate::Full,
                Ok(()) => {
                    let after = lane.cost();
                    self.cost = self.cost - before + after;
                    return EventFate::Waits(Some((Loss::Superseded, 1)));
                }
                Err(_) if lane.is_full(event, bounds.queue) => return EventFate::Full,
                Err(unlike_others) => waiting = unlike_others,
            }
        }
        self.push(tag, waiting);
        EventFate::Waits(None)
    }

    fn offer_drop(&mut self, tag: u32, event: &Rc<Event>, bounds: HoldingBounds) -> EventFate {
        let mut lost = 0;
        let mut cost = self.cost;
        if let Some(lane) = self.lane_of(event) {
            while !lane.events.is_empty() && (cost > bounds.bytes_max || lane.is_full(event, bounds.queue)) {
                cost -= lane.lose();
                lost += 1;
            }
        }
        self.cost = cost;
        if cost > bounds.bytes_max {
            // The waiting bytes belong to other channels: this one has no older event to drop.
            let lane = self.lane(tag, event);
            lane.has_gap = true;
            lane.newest = event.position;
            return EventFate::Lost(Loss::Oldest);
        }
        self.push(tag, HeldEvent { event: event.clone(), key_hash: 0 });
        EventFate::Waits((lost > 0).then_some((Loss::Oldest, lost)))
    }

    fn push(&mut self, tag: u32, waiting: HeldEvent) {
        self.cost += waiting.cost();
        self.lane(tag, &waiting.event).push(waiting);
    }

    fn lane_of(&mut self, event: &Event) -> Option<&mut ChannelLane> {
        self.lanes.iter_mut().find(|lane| lane.channel == event.message.subject)
    }

    fn lane(&mut self, tag: u32, event: &Event) -> &mut ChannelLane {
        let found = self.lanes.iter().position(|lane| lane.channel == event.message.subject);
        let index = found.unwrap_or_else(|| {
            self.lanes.push_back(ChannelLane::new(tag, event.message.subject.clone()));
            self.lanes.len() - 1
        });
        &mut self.lanes[index]
    }

    fn next(&mut self) -> Option<Next> {
        let mut lane = self.lanes.pop_front()?;
        let before = lane.cost();
        let next = lane.next();
        self.cost -= before - lane.cost();
        if !lane.is_empty() {
            self.lanes.push_back(lane);
        }
        next
    }
}

impl ChannelLane {
    fn new(tag: u32, channel: Subject) -> ChannelLane {
        ChannelLane {
            channel,
            tag,
            events: VecDeque::new(),
            taken: 0,
            bytes: 0,
            by_key: AHashMap::new(),
            passed: None,
            is_in_order: true,
            has_gap: false,
            newest: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.has_gap
    }

    fn cost(&self) -> usize {
        self.bytes + self.events.len() * limits::HELD_MESSAGE_BYTES
    }

    /// Whether there is no room for `event`. A single event always has room.
    fn is_full(&self, event: &Event, queue: Queue) -> bool {
        let is_too_much = self.events.len() >= queue.messages || self.bytes + event.message.bytes() > queue.bytes;
        is_too_much && !self.events.is_empty()
    }

    fn push(&mut self, waiting: HeldEvent) {
        self.bytes += waiting.bytes();
        self.newest = waiting.event.position;
        if waiting.key_hash != 0 {
            // On a hash collision the second key is not conflated: its values are queued in order.
            self.by_key.entry(waiting.key_hash).or_insert(self.taken + self.events.len() as u64);
        }
        self.events.push_back(waiting);
    }

    /// Replaces the waiting event with the same key; returns the new one if there is none.
    fn supersede(&mut self, waiting: HeldEvent) -> Result<(), HeldEvent> {
        let index = self.by_key.get(&waiting.key_hash).map(|number| (number - self.taken) as usize);
        let is_same =
            |other: &HeldEvent| other.event.message.header(KEY_HEADER) == waiting.event.message.header(KEY_HEADER);
        let Some(index) = index.filter(|index| self.events.get(*index).is_some_and(is_same)) else {
            return Err(waiting);
        };
        self.is_in_order &= index + 1 == self.events.len();
        self.newest = waiting.event.position;
        self.bytes += waiting.bytes();
        let older = std::mem::replace(&mut self.events[index], waiting);
        self.bytes -= older.bytes();
        Ok(())
    }

    /// Drops the oldest event. Returns the cost that this saves.
    fn lose(&mut self) -> usize {
        self.has_gap = true;
        self.take().map_or(0, |waiting| waiting.cost())
    }

    fn take(&mut self) -> Option<HeldEvent> {
        let waiting = self.events.pop_front()?;
        self.bytes -= waiting.bytes();
        if self.by_key.get(&waiting.key_hash) == Some(&self.taken) {
            self.by_key.remove(&waiting.key_hash);
        }
        self.taken += 1;
        Some(waiting)
    }

    /// Everything below the oldest waiting event has been sent, or replaced by something newer. The client's position
    /// is the offset just below that event, even if the channel's log has left that offset out: no message lies
    /// between.
    fn look(&mut self) {
        let offsets = self.events.iter().filter_map(|waiting| waiting.event.position).map(|position| position.offset);
        self.passed = offsets.min().map(|oldest| oldest - 1);
    }

    fn next(&mut self) -> Option<Next> {
        let first = self.events.front().and_then(|waiting| waiting.event.position);
        if std::mem::take(&mut self.has_gap)
            && let Some(last) = self.newest
        {
            let gap = Gap { reason: GapReason::Slow, first, last };
            let stands_at = first.map_or(last, |first| Position { offset: first.offset - 1, ..first });
            return Some(Next::Gap { tag: self.tag, channel: self.channel.clone(), gap, stands_at });
        }
        let event = self.take()?.event;
        let stands_at = match event.position {
            _ if self.events.is_empty() => self.newest,
            Some(position) if !self.is_in_order => self.passed.map(|offset| Position { offset, ..position }),
            position => position,
        };
        Some(Next::Event { tag: self.tag, event, stands_at })
    }
}

impl HeldEvent {
    fn bytes(&self) -> usize {
        self.event.message.bytes()
    }

    fn cost(&self) -> usize {
        self.bytes() + limits::HELD_MESSAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::Message;

    const CLIENT: Key = Key { slot: 1, generation: 0 };
    const WIDE: HoldingBounds = HoldingBounds { queue: Queue { messages: 100, bytes: 10_000 }, bytes_max: usize::MAX };

    fn event(channel: &str, key: Option<&str>, offset: u64) -> Rc<Event> {
        let headers = key.map(|key| format!("NATS/1.0\r\nTg-Key: {key}\r\n\r\n").into_bytes().into());
        let subject = Subject::new(channel).unwrap();
        let message = Message::new(subject, None, headers, vec![b'x'; 10].into());
        Rc::new(Event::new(message, Some(Position { epoch: 1, offset })))
    }

    fn latest(held: &mut Held, key: Option<&str>, offset: u64) -> EventFate {
        held.offer(CLIENT, 0, &event("grid", key, offset), Delivery::Latest, WIDE)
    }

    fn dropping(held: &mut Held, offset: u64, bounds: HoldingBounds) -> EventFate {
        held.offer(CLIENT, 0, &event("log", None, offset), Delivery::Drop, bounds)
    }

    /// `offset@stands_at` for an event, `gap:first-last@stands_at` for a gap.
    fn released(held: &mut Held, count: usize) -> Vec<String> {
        held.begin_piece(CLIENT);
        let offset = |position: Option<Position>| position.map_or(0, |position| position.offset);
        let words = |next| match next {
            Next::Event { event, stands_at, .. } => format!("{}@{}", offset(event.position), offset(stands_at)),
            Next::Gap { gap, stands_at, .. } => {
                format!("gap:{}-{}@{}", offset(gap.first), gap.last.offset, stands_at.offset)
            }
        };
        std::iter::from_fn(|| held.next(CLIENT)).take(count).map(words).collect()
    }

    #[test]
    fn the_newest_without_a_key_takes_the_place_of_the_older() {
        let mut held = Held::default();
        assert_eq!(latest(&mut held, None, 1), EventFate::Waits(None));
        assert_eq!(latest(&mut held, None, 2), EventFate::Waits(Some((Loss::Superseded, 1))));
        assert_eq!(latest(&mut held, None, 5), EventFate::Waits(Some((Loss::Superseded, 1))));
        assert_eq!(held.cost(CLIENT), 10 + limits::HELD_MESSAGE_BYTES);
        assert_eq!(released(&mut held, 9), ["5@5"]);
        assert!(held.is_empty());
    }

    #[test]
    fn whoever_has_waited_longest_goes_first_and_ids_wait_for_those_behind() {
        let mut held = Held::default();
        for (offset, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "a")] {
            latest(&mut held, Some(key), offset);
        }
        // A client that has received 5 and resumes must still get 2 and 3.
        assert_eq!(released(&mut held, 1), ["5@1"]);
        latest(&mut held, Some("b"), 6);
        latest(&mut held, Some("a"), 7);
        assert_eq!(released(&mut held, 2), ["6@2", "3@2"]);
        assert_eq!(released(&mut held, 2), ["7@7"]);
        assert!(held.is_empty());
        for (offset, key) in [(8, "a"), (9, "b"), (10, "b")] {
            latest(&mut held, Some(key), offset);
        }
        assert_eq!(released(&mut held, 9), ["8@8", "10@10"], "in order as long as only the last is superseded");
    }

    #[test]
    fn a_value_that_cannot_be_held_makes_its_client_too_slow() {
        let mut held = Held::default();
        let bounds = HoldingBounds { queue: Queue { messages: 2, bytes: 1_000 }, ..WIDE };
        let mut offer =
            |key: &str, offset| held.offer(CLIENT, 0, &event("grid", Some(key), offset), Delivery::Latest, bounds);
        assert_eq!([offer("a", 1), offer("b", 2)], [EventFate::Waits(None); 2]);
        assert_eq!(offer("a", 3), EventFate::Waits(Some((Loss::Superseded, 1))));
        assert_eq!(offer("c", 4), EventFate::Full);
        let bounds = HoldingBounds { bytes_max: 0, ..WIDE };
        assert_eq!(held.offer(CLIENT, 0, &event("grid", Some("a"), 5), Delivery::Latest, bounds), EventFate::Full);
    }

    #[test]
    fn the_oldest_are_dropped_and_a_gap_stands_before_what_follows() {
        let mut held = Held::default();
        let bounds = HoldingBounds { queue: Queue { messages: 3, bytes: 1_000 }, ..WIDE };
        (1..=3).for_each(|offset| assert_eq!(dropping(&mut held, offset, bounds), EventFate::Waits(None)));
        assert_eq!(dropping(&mut held, 4, bounds), EventFate::Waits(Some((Loss::Oldest, 1))));
        assert_eq!(dropping(&mut held, 5, bounds), EventFate::Waits(Some((Loss::Oldest, 1))));
        assert_eq!(released(&mut held, 2), ["gap:3-5@2", "3@3"]);
        (6..=7).for_each(|offset| _ = dropping(&mut held, offset, bounds));
        assert_eq!(released(&mut held, 9), ["gap:5-7@4", "5@5", "6@6", "7@7"], "another one, where it is");
        assert!(held.is_empty());
        let bounds = HoldingBounds { queue: Queue { messages: 3, bytes: 5 }, ..WIDE };
        assert_eq!(dropping(&mut held, 8, bounds), EventFate::Waits(None), "one is never too much");
        assert_eq!(dropping(&mut held, 9, bounds), EventFate::Waits(Some((Loss::Oldest, 1))));
        assert_eq!(released(&mut held, 9), ["gap:9-9@8", "9@9"]);
    }

    #[test]
    fn where_others_have_all_the_room_the_newest_is_lost_and_the_gap_is_not() {
        let mut held = Held::default();
        latest(&mut held, None, 1);
        let full = HoldingBounds { bytes_max: 10, ..WIDE };
        assert_eq!(dropping(&mut held, 5, full), EventFate::Lost(Loss::Oldest));
        assert_eq!(dropping(&mut held, 6, full), EventFate::Lost(Loss::Oldest));
        assert_eq!(released(&mut held, 9), ["1@1", "gap:0-6@6"]);
        assert!(held.is_empty());
    }

    #[test]
    fn channels_take_turns() {
        let mut held = Held::default();
        (1..=3).for_each(|offset| _ = dropping(&mut held, offset, WIDE));
        latest(&mut held, Some("a"), 11);
        latest(&mut held, Some("b"), 12);
        assert_eq!(released(&mut held, 9), ["1@1", "11@11", "2@2", "12@12", "3@3"]);
    }

    #[test]
    fn what_is_forgotten_costs_nothing() {
        let mut held = Held::default();
        dropping(&mut held, 1, WIDE);
        latest(&mut held, None, 1);
        assert!(held.forget(CLIENT, &Subject::new("log").unwrap()));
        assert_eq!(held.cost(CLIENT), 10 + limits::HELD_MESSAGE_BYTES);
        assert!(!held.forget(CLIENT, &Subject::new("grid").unwrap()));
        assert!(held.is_empty());
    }
}
