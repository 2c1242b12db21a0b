//! Letters of other threads to this shard, and errands of its own parts.

use crate::base::{Address, Tick};
use crate::conn::admin as conn_admin;
use crate::limits;
use crate::mesh::memberships::MembershipMail;
use crate::mesh::{Lane, Mail};

use super::Core;
use super::desk::Errand;

impl Core {
    /// Does all errands, and those that they cause. Called after each step, letter and piece of work.
    #[inline]
    pub(super) fn settle(&mut self) {
        if !self.desk.errands.is_empty() {
            self.run_errands();
        }
    }

    #[cold]
    fn run_errands(&mut self) {
        while let Some(errand) = self.desk.errands.next() {
            match errand {
                Errand::End(key, reason) => self.end(key, reason),
                Errand::Withdraw(sub) => self.withdraw(sub),
                Errand::Letter(mail) => self.read(mail),
                Errand::Publish(publish) => self.publish(publish),
                Errand::Announce(publish) => self.publish_owned(publish),
            }
        }
    }

    /// Takes the turn's mail: all tells first; asks only while no tell of ours is stuck (TELLS ARE TERMINAL).
    pub(super) fn take_mail(&mut self, clock: impl Fn() -> Tick) {
        let desk = &mut self.desk;
        desk.meter.look_at_others(desk.place, &desk.counters);
        if self.mailbox.is_empty() {
            return;
        }
        for lane in [Lane::Tell, Lane::Ask] {
            self.desk.meter.begin_share();
            for _ in 0..limits::MAILS_PER_TURN {
                if lane == Lane::Ask && self.desk.post.tell_backlog() > 0 {
                    return;
                }
                let Some(mail) = self.mailbox.take(lane) else { break };
                self.desk.counters().mails.add(1);
                self.desk.meter.spend(limits::LETTER_UNITS);
                self.read(mail);
                self.settle();
                if self.desk.meter.is_share_spent(&clock) {
                    break;
                }
            }
        }
    }

    pub(super) fn read(&mut self, mail: Mail) {
        match mail {
            Mail::Publish(publish) => self.publish_for_another(*publish),
            Mail::Spread(publish) => {
                let workers = self.desk.directory.workers(&publish.message.subject, publish.except());
                self.features.order.give_to_workers(&mut self.desk, *publish, workers);
            }
            Mail::Order(mail) => self.features.order.read(&mut self.desk, mail),
            Mail::Join { subject, from, serial } => {
                self.desk.engine.join(&subject, from);
                self.desk.send(from, Mail::Joined { subject, serial });
            }
            Mail::Leave { subject, from } => self.desk.engine.leave(&subject, from),
            Mail::ToConn { key, publish } => self.deliver_to_conn(key, *publish),
            Mail::Deliver(delivery) => self.delivered(*delivery),
            Mail::Replays(mail) => self.features.replays.read(&mut self.desk, mail),
            Mail::Questions(mail) => self.features.questions.read(&mut self.desk, mail),
            Mail::Presence(mail) => self.features.presence.read(&mut self.desk, mail),
            Mail::Acks(mail) => self.features.acks.read(&mut self.desk, mail),
            Mail::Requests(mail) => self.features.requests.read(&mut self.desk, mail),
            Mail::Direct { seat, delivery, is_second_choice } => self.desk.seated(seat, *delivery, is_second_choice),
            Mail::Joined { subject, serial } => {
                for key in self.desk.subscribers.joined(&subject, serial) {
                    self.desk.registered(key);
                }
            }
            Mail::Memberships(mail) => self.read_membership(mail),
            Mail::Published { key, number, position } => {
                self.desk.answer(key, |conn, settings, now| conn.published(number, position, settings, now));
            }
            Mail::Reached { key, connections, of } => {
                self.desk
                    .answer(key, |conn, settings, now| conn_admin::reached(conn, (connections, of), settings, now));
            }
            Mail::NoResponders { key, reply } => self.no_responders(key, &reply),
            Mail::Upstreams(mail) => self.features.proxy.read(&mut self.desk, mail),
            Mail::Revocations(mail) => self.features.revocations.read(&mut self.desk, mail),
            Mail::Keys(mail) => self.features.key_sets.read(&mut self.desk, mail),
            Mail::Decisions(mail) => self.features.asking.read(&mut self.desk, mail),
            Mail::Engine(mail) => debug_assert!(false, "no channel is shared: {mail:?}"),
            Mail::Drain(mail) => self.drain.read(&mut self.desk, mail),
            Mail::Log(mail) => debug_assert!(false, "a shard writes no log: {mail:?}"),
        }
    }

    /// Workers of any shard subscribe and unsubscribe. The directory is changed first, then the features are told.
    fn read_membership(&mut self, mail: MembershipMail) {
        match mail {
            MembershipMail::Enlist { membership, waiting } => {
                if !self.desk.directory.contains(&membership.member) {
                    self.desk.directory.enlist(membership.clone());
                    self.features.worker_subscribed(&mut self.desk, &membership);
                }
                if let Some(Address { place, key }) = waiting {
                    self.desk.send(place, Mail::Memberships(MembershipMail::Registered { key }));
                }
            }
            MembershipMail::Resign { membership } => {
                if self.desk.directory.contains(&membership.member) {
                    self.desk.directory.resign(&membership);
                    self.features.worker_unsubscribed(&mut self.desk, &membership);
                }
            }
            MembershipMail::Registered { key } => self.desk.registered(key),
        }
    }
}
