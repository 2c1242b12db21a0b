//! All subscriptions of workers, and with them the workers of each service. Every shard has the same directory.

use std::sync::Arc;

use ahash::AHashSet;
use smallvec::SmallVec;

use super::patterns::Trie;
use super::{Recipients, SubKey};
use crate::base::{Address, Key, Place, mix};
use crate::proto::subject::{Pattern, Subject};

/// One subscription, anywhere in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    pub place: Place,
    /// The worker's connection; unused for in-process workers.
    pub key: Key,
    pub sub: SubKey,
}

impl Member {
    fn is_of(&self, connection: Address) -> bool {
        (self.place, self.key) == (connection.place, connection.key)
    }
}

/// The subscriptions of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub pattern: Pattern,
    /// Its queue group: each message goes to one member of it.
    pub queue: Option<Arc<str>>,
    pub member: Member,
}

/// A queue group, and the member that gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub queue: Arc<str>,
    pub member: Member,
}

struct DirectoryEntry {
    member: Member,
    queue: Option<Arc<str>>,
    /// A plain wildcard subscription: it watches, and does not count as a responder.
    is_observer: bool,
    /// It names one subject, as workers that take requests do. Others watch, and would never answer.
    is_literal: bool,
}

/// The same on every shard, except for mail on its way.
#[derive(Default)]
pub(crate) struct Directory {
    entries: Trie<DirectoryEntry>,
    members: AHashSet<Member>,
    draws: u64,
}

impl Directory {
    pub(crate) fn enlist(&mut self, membership: Membership) {
        let Membership { pattern, queue, member } = membership;
        if self.members.insert(member) {
            let is_literal = pattern.is_literal();
            let is_observer = queue.is_none() && !is_literal;
            self.entries.insert(&pattern, DirectoryEntry { member, queue, is_observer, is_literal });
        }
    }

    pub(crate) fn resign(&mut self, membership: &Membership) {
        if self.members.remove(&membership.member) {
            self.entries.remove(&membership.pattern, |entry| entry.member == membership.member);
        }
    }

    pub(crate) fn contains(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// A number for [`Directory::collect`] where the caller has no better one: every member gets an equal share.
    pub(crate) fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        mix(self.draws)
    }

    /// The workers that get a message on `subject`.
    pub(crate) fn workers(&mut self, subject: &Subject, except: Option<Address>) -> Recipients {
        let mut recipients = Recipients::default();
        if !self.members.is_empty() {
            let draw = self.draw();
            self.collect(subject.as_str(), draw, &[], except, &mut recipients);
        }
        recipients
    }

    /// Adds the receivers of a message on `subject`: the places of plain subscriptions, and one member of each queue
    /// group. That is the member that is `preferred`, as long as it stays, otherwise the one that `draw` chooses
    /// (rendezvous hashing: only the share of a member that joins or leaves moves). The connection `except` is skipped:
    /// it does not want its own messages.
    pub(crate) fn collect(
        &self,
        subject: &str,
        draw: u64,
        preferred: &[Member],
        except: Option<Address>,
        recipients: &mut Recipients,
    ) {
        if self.members.is_empty() {
            return;
        }
        let mut groups: SmallVec<[(&Arc<str>, u64, Member); 2]> = SmallVec::new();
        self.entries.for_each_match(subject, |entry| match &entry.queue {
            _ if except.is_some_and(|except| entry.member.is_of(except)) => {}
            None => {
                recipients.places.insert(entry.member.place);
                recipients.has_addressee |= !entry.is_observer;
            }
            Some(queue) => {
                let is_preferred = preferred.contains(&entry.member);
                let weight = if is_preferred { u64::MAX } else { weight(draw, &entry.member) };
                match groups.iter_mut().find(|(name, ..)| *name == queue) {
                    Some(best) if weight <= best.1 => {}
                    Some(best) => (best.1, best.2) = (weight, entry.member),
                    None => groups.push((queue, weight, entry.member)),
                }
            }
        });
        let seats = groups.into_iter().map(|(queue, _, member)| Seat { queue: queue.clone(), member });
        recipients.seats.extend(seats);
        recipients.has_addressee |= !recipients.seats.is_empty();
    }

    /// Calls `found` for each member that subscribes to exactly this subject, with or without a queue group, in no
    /// particular order.
    pub(crate) fn for_each_worker(&self, subject: &str, mut found: impl FnMut(&Member)) {
        self.entries.for_each_match(subject, |entry| {
            if entry.is_literal {
                found(&entry.member);
            }
        });
    }

    /// Another member of a queue group, for a message whose first choice has left.
    pub(crate) fn replace(&mut self, subject: &str, queue: &str, except: Option<Address>) -> Option<Seat> {
        let mut recipients = Recipients::default();
        let draw = self.draw();
        self.collect(subject, draw, &[], except, &mut recipients);
        recipients.seats.into_iter().find(|seat| &*seat.queue == queue)
    }
}

/// The weight of a member in rendezvous hashing, the same on every shard.
pub(super) fn weight(draw: u64, member: &Member) -> u64 {
    mix(draw ^ mix(member.sub.to_bits() ^ u64::from(member.place.0) << 56))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(pattern: &str, queue: Option<&str>, slot: u32) -> Membership {
        let key = Key { slot, generation: 0 };
        let member = Member { place: Place((slot % 3) as u16), key, sub: key };
        Membership { pattern: Pattern::new(pattern).unwrap(), queue: queue.map(Arc::from), member }
    }

    fn chosen(directory: &Directory, subject: &str, draw: u64) -> Recipients {
        let mut recipients = Recipients::default();
        directory.collect(subject, draw, &[], None, &mut recipients);
        recipients
    }

    #[test]
    fn one_member_of_each_queue_group_gets_a_message() {
        let mut directory = Directory::default();
        for slot in 0..6 {
            directory.enlist(membership("job.*", Some(["a", "b"][slot as usize % 2]), slot));
        }
        directory.enlist(membership("job.>", Some("a"), 6));
        let mut counts = [0; 7];
        for draw in 0..7_000 {
            let recipients = chosen(&directory, "job.1", draw);
            assert_eq!(recipients.seats.len(), 2);
            recipients.seats.iter().for_each(|seat| counts[seat.member.sub.slot as usize] += 1);
        }
        assert!(counts.iter().all(|count| *count > 1_000), "a fair share for each: {counts:?}");
    }

    #[test]
    fn a_preferred_member_keeps_its_messages_when_others_come() {
        let mut directory = Directory::default();
        directory.enlist(membership("tg.service.x", Some("q"), 0));
        let first = chosen(&directory, "tg.service.x", 1).seats[0].member;
        (1..50).for_each(|slot| directory.enlist(membership("tg.service.x", Some("q"), slot)));
        for draw in 0..50 {
            let mut recipients = Recipients::default();
            directory.collect("tg.service.x", draw, &[first], None, &mut recipients);
            assert_eq!(recipients.seats[0].member, first);
        }
    }

    #[test]
    fn an_observer_is_nobody_to_answer() {
        let mut directory = Directory::default();
        directory.enlist(membership(">", None, 0));
        let seen = chosen(&directory, "tg.service.x", 1);
        assert!(!seen.is_empty() && !seen.has_addressee);
        directory.enlist(membership("tg.service.x", None, 1));
        assert!(chosen(&directory, "tg.service.x", 1).has_addressee);
        directory.enlist(membership("tg.service.*", Some("q"), 2));
        assert_eq!(chosen(&directory, "tg.service.y", 1).seats.len(), 1);
        assert!(chosen(&directory, "tg.service.y", 1).has_addressee);
    }

    #[test]
    fn the_publisher_that_declines_an_echo_is_nobody() {
        let mut directory = Directory::default();
        let own = membership("job.*", Some("a"), 0);
        let except = Some(Address { place: own.member.place, key: own.member.key });
        let meant = |directory: &Directory| {
            let mut recipients = Recipients::default();
            directory.collect("job.1", 1, &[own.member], except, &mut recipients);
            recipients
        };
        directory.enlist(own.clone());
        directory.enlist(Membership {
            queue: None,
            member: Member { sub: Key { slot: 9, generation: 0 }, ..own.member },
            ..own.clone()
        });
        assert!(meant(&directory).is_empty());
        directory.enlist(membership("job.*", Some("a"), 1));
        assert_eq!(meant(&directory).seats[0].member.sub.slot, 1, "the next member");
        assert_eq!(directory.replace("job.1", "a", except).unwrap().member.sub.slot, 1);
    }

    #[test]
    fn a_message_whose_member_left_goes_to_another_of_its_group() {
        let mut directory = Directory::default();
        directory.enlist(membership("job.*", Some("a"), 0));
        directory.enlist(membership("job.*", Some("b"), 1));
        directory.enlist(membership("job.*", Some("a"), 2));
        directory.resign(&membership("job.*", Some("a"), 0));
        assert_eq!(directory.replace("job.1", "a", None).unwrap().member.sub.slot, 2);
        directory.resign(&membership("job.*", Some("a"), 2));
        assert_eq!(directory.replace("job.1", "a", None), None, "the other group has its own copy");
    }

    #[test]
    fn only_the_share_of_a_member_that_left_moves() {
        let mut directory = Directory::default();
        (0..4).for_each(|slot| directory.enlist(membership("tg.service.x", Some("q"), slot)));
        let before: Vec<Member> =
            (0..100).map(|draw| chosen(&directory, "tg.service.x", draw).seats[0].member).collect();
        let gone = membership("tg.service.x", Some("q"), 2);
        directory.resign(&gone);
        assert!(!directory.contains(&gone.member));
        for (draw, member) in before.into_iter().enumerate() {
            let now = chosen(&directory, "tg.service.x", draw as u64).seats[0].member;
            assert!(member == gone.member || now == member);
        }
    }
}
