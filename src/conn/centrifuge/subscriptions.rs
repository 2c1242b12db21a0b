//! The subscriptions of a client, by channel and by tag.

use crate::base::{Key, Tick, shrink};
use crate::conn::TAG_ADDED;
use crate::conn::subs::Subs;
use crate::limits::CHANNELS_PER_CONNECTION_MAX;
use crate::proto::centrifuge::{Code, Unsubscribed};
use crate::proto::subject::Subject;

/// At most [`CHANNELS_PER_CONNECTION_MAX`], so a linear search is as fast as any.
#[derive(Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// The last tag. Tags restart before [`TAG_ADDED`], which is the user's own subscription and not stored here.
    tag: u32,
}

/// What most clients have; room for more is given back when the subscriptions end.
const LIST_ENTRIES_KEPT: usize = 4;

struct Subscription {
    channel: Subject,
    tag: u32,
    /// The hub's keys of the channel and of its joins and leaves, set as soon as the step that requests them has been
    /// taken.
    subs: Subs,
    /// When its token expires, or when it has to end for another reason.
    until: Option<Tick>,
    why: Unsubscribed,
    /// Its token allows publishing, too.
    may_publish: bool,
    /// The owner of the channel was asked, and has not answered.
    asked: Option<PositionRequest>,
}

/// A request to the owner of a channel for its position: for a `subscribe`, for `connect`, or for a subscription by a
/// worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PositionRequest {
    pub by: AskedBy,
    pub was_recovering: bool,
    /// The channel keeps history.
    pub is_kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedBy {
    /// The command with this id; its token is valid for this many seconds.
    Command {
        id: u32,
        ttl: Option<u64>,
    },
    Connect,
    Worker,
}

impl Subscriptions {
    /// The tag of a new subscription.
    pub(super) fn add(&mut self, channel: Subject, until: Option<Tick>) -> Result<u32, Code> {
        if self.contains(channel.as_str()) {
            return Err(Code::ALREADY_SUBSCRIBED);
        }
        if self.list.len() >= CHANNELS_PER_CONNECTION_MAX {
            return Err(Code::LIMIT_EXCEEDED);
        }
        self.tag = (self.tag + 1) % TAG_ADDED;
        let why = Unsubscribed::EXPIRED;
        self.list.push(Subscription {
            channel,
            tag: self.tag,
            subs: Subs::default(),
            until,
            why,
            may_publish: false,
            asked: None,
        });
        Ok(self.tag)
    }

    pub(super) fn subscribed(&mut self, tag: u32, sub: Key) {
        if let Some(subscription) = self.by_tag(tag) {
            subscription.subs.push(sub);
        }
    }

    fn by_tag(&mut self, tag: u32) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|subscription| subscription.tag == tag)
    }

    /// The owner of the channel is being asked.
    pub(super) fn ask(&mut self, tag: u32, asked: PositionRequest) {
        if let Some(subscription) = self.by_tag(tag) {
            subscription.asked = Some(asked);
        }
    }

    /// The owner has answered; `None` if this was a further piece of its answer.
    pub(super) fn answered(&mut self, tag: u32) -> Option<PositionRequest> {
        self.by_tag(tag)?.asked.take()
    }

    /// Whether the owner of the channel still owes an answer.
    pub(super) fn is_asked(&self, tag: u32) -> bool {
        self.list.iter().any(|subscription| subscription.tag == tag && subscription.asked.is_some())
    }

    /// Whether any owner still owes an answer.
    pub(super) fn are_asked(&self) -> bool {
        self.list.iter().any(|subscription| subscription.asked.is_some())
    }

    /// Ends a subscription as soon as the hub can be told.
    pub(super) fn give_up(&mut self, tag: u32, why: Unsubscribed) {
        if let Some(subscription) = self.by_tag(tag) {
            (subscription.until, subscription.why) = (Some(Tick::ZERO), why);
        }
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        self.list.iter().any(|subscription| subscription.channel.as_str() == channel)
    }

    /// Ends a subscription. Returns the hub's keys, and the request to the channel's owner that is not answered yet.
    pub(super) fn remove(&mut self, channel: &str) -> Option<(Vec<Key>, Option<PositionRequest>)> {
        let index = self.list.iter().position(|subscription| subscription.channel.as_str() == channel)?;
        let Subscription { mut subs, asked, .. } = self.list.swap_remove(index);
        shrink(&mut self.list, LIST_ENTRIES_KEPT);
        Some((subs.take(), asked))
    }

    /// A token, the first or another, lets the subscription last until then. False if there is no such subscription.
    pub(super) fn refresh(&mut self, channel: &str, until: Option<Tick>, may_publish: bool) -> bool {
        let found = self.list.iter_mut().find(|subscription| subscription.channel.as_str() == channel);
        found.map(|subscription| (subscription.until, subscription.may_publish) = (until, may_publish)).is_some()
    }

    /// Whether a token of the subscription allows publishing to its channel.
    pub(super) fn may_publish(&self, channel: &str) -> bool {
        self.list.iter().any(|subscription| subscription.may_publish && subscription.channel.as_str() == channel)
    }

    /// The earliest time at which a subscription has to end.
    pub(super) fn deadline(&self) -> Tick {
        self.list.iter().filter_map(|subscription| subscription.until).min().unwrap_or(Tick::NEVER)
    }

    /// Ends a subscription that has expired.
    pub(super) fn take_expired(&mut self, now: Tick) -> Option<(Subject, Vec<Key>, Unsubscribed)> {
        let is_over = |subscription: &Subscription| subscription.until.is_some_and(|until| until <= now);
        let index = self.list.iter().position(is_over)?;
        let Subscription { channel, mut subs, why, .. } = self.list.swap_remove(index);
        shrink(&mut self.list, LIST_ENTRIES_KEPT);
        Some((channel, subs.take(), why))
    }

    /// Takes the hub's keys of all subscriptions.
    pub(super) fn subs(&self) -> impl Iterator<Item = Key> {
        self.list.iter().flat_map(|subscription| subscription.subs.as_slice()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    #[test]
    fn a_channel_is_subscribed_once_until_it_is_removed_or_expires() {
        let mut subscriptions = Subscriptions::default();
        let tag = subscriptions.add(channel("a"), None).unwrap();
        subscriptions.subscribed(tag, key(1));
        assert_eq!(subscriptions.add(channel("a"), None), Err(Code::ALREADY_SUBSCRIBED));
        let tag = subscriptions.add(channel("b"), Some(Tick::from_millis(5))).unwrap();
        subscriptions.subscribed(tag, key(2));
        assert_eq!(subscriptions.take_expired(Tick::from_millis(4)), None);
        assert!(
            subscriptions.refresh("b", Some(Tick::from_millis(9)), true) && !subscriptions.refresh("c", None, true)
        );
        assert_eq!(subscriptions.deadline(), Tick::from_millis(9));
        assert_eq!(["a", "b", "c"].map(|name| subscriptions.may_publish(name)), [false, true, false]);
        assert_eq!(
            subscriptions.take_expired(Tick::from_millis(9)),
            Some((channel("b"), vec![key(2)], Unsubscribed::EXPIRED))
        );
        assert_eq!((subscriptions.remove("a"), subscriptions.remove("a")), (Some((vec![key(1)], None)), None));
        assert_eq!(subscriptions.subs().count(), 0);
    }

    #[test]
    fn only_so_many_channels_and_their_memory_comes_back() {
        let mut subscriptions = Subscriptions::default();
        for number in 0..CHANNELS_PER_CONNECTION_MAX {
            subscriptions.add(channel(&number.to_string()), None).unwrap();
        }
        assert_eq!(subscriptions.add(channel("more"), None), Err(Code::LIMIT_EXCEEDED));
        (0..CHANNELS_PER_CONNECTION_MAX).for_each(|number| _ = subscriptions.remove(&number.to_string()));
        assert!(subscriptions.list.capacity() <= 4 * LIST_ENTRIES_KEPT, "{}", subscriptions.list.capacity());
    }
}
