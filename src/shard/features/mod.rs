//! The parts of a shard that do more than pass messages on. Each feature owns its state, works at the desk, and signs
//! up here in one line.
//!
//! ```text
//!  Core --letter, step, publication--> the feature it is for --errands, letters--> Core
//!   '----- hooks of `Feature`, to each in order: an end, subscriptions, the turn's work, deadline, census
//! ```
//!
//! Features do not call each other. What one needs of another is an errand or a letter.

pub(super) mod acks;
pub(super) mod asking;
pub(super) mod expiry;
pub(super) mod key_sets;
pub(super) mod limiter;
pub(super) mod order;
pub(super) mod presence;
pub(super) mod proxy;
pub(super) mod questions;
pub(super) mod replays;
pub(super) mod requests;
pub(super) mod revocations;
pub(super) mod services;

use crate::base::{Key, Tick};
use crate::hub::{Membership, SubKey};
use crate::limits;
use crate::proto::replay::Since;
use crate::proto::subject::Subject;

use super::census::Census;
use super::counters::Counters;
use super::desk::Desk;
use super::{Core, Parts};

use acks::Acks;
use asking::Asking;
use expiry::StreamEnds;
use key_sets::KeySets;
use limiter::Limiter;
use order::Order;
use presence::Presence;
use proxy::Proxy;
use questions::Questions;
use replays::Replays;
use requests::Requests;
use revocations::Revocations;
use services::Services;

/// The hooks of a feature. A feature implements those that concern it.
pub(super) trait Feature {
    /// The connection `key` is about to end: its subscriptions and its identity still exist.
    fn connection_ends(&mut self, _desk: &mut Desk, _key: Key) {}

    /// The connection `key` has ended. Its subscriptions end with it.
    fn connection_ended(&mut self, _desk: &mut Desk, _key: Key) {}

    /// A client's subscription `sub` has begun.
    fn subscription_began(&mut self, _desk: &mut Desk, _sub: SubKey) {}

    /// The subscription `sub` is about to go.
    fn subscription_ends(&mut self, _desk: &mut Desk, _sub: SubKey) {}

    /// The client `key` has joined a channel, and asked for the messages that `since` names.
    fn channel_joined(&mut self, _desk: &mut Desk, _key: Key, _channel: &Subject, _since: Option<Since>) {}

    /// A send of the connection `key` has completed.
    fn connection_sent(&mut self, _desk: &mut Desk, _key: Key) {}

    /// A worker of any shard has subscribed; the directory has it.
    fn worker_subscribed(&mut self, _desk: &mut Desk, _membership: &Membership) {}

    /// A subscription of a worker of any shard has ended.
    fn worker_unsubscribed(&mut self, _desk: &mut Desk, _membership: &Membership) {}

    /// How many pieces of work one turn does at most.
    const PIECES_PER_TURN: usize = usize::MAX;

    /// Does one piece of the feature's own work, if one is due and there is room for the mail that it makes. False if
    /// it did none. Called when [`deadline`](Feature::deadline) has come.
    fn work(&mut self, _desk: &mut Desk) -> bool {
        false
    }

    /// When the next turn must begin for that work, even if nothing completes. `is_crowded`: there is no room for more
    /// mail.
    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        Tick::NEVER
    }

    /// Sets the gauges.
    fn measure(&self, _counters: &Counters) {}

    /// Counts what the feature holds. Tests check what is left of it when all connections have ended.
    fn count(&self, _census: &mut Census) {}

    /// A drain has begun to disconnect clients.
    fn drain(&mut self) {}

    /// In a drain: whether the feature still owes workers an outcome.
    fn owes_workers(&self) -> bool {
        false
    }
}

macro_rules! features {
    ($($name:ident: $type:ty),+ $(,)?) => {
        /// All features, in the order in which their hooks are called.
        pub(super) struct Features {
            $(pub(super) $name: $type,)+
        }

        impl Features {
            pub(super) fn new(parts: &Parts) -> Features {
                Features { $($name: <$type>::new(parts),)+ }
            }

            pub(super) fn connection_ends(&mut self, desk: &mut Desk, key: Key) {
                $(self.$name.connection_ends(desk, key);)+
            }

            pub(super) fn connection_ended(&mut self, desk: &mut Desk, key: Key) {
                $(self.$name.connection_ended(desk, key);)+
            }

            pub(super) fn subscription_began(&mut self, desk: &mut Desk, sub: SubKey) {
                $(self.$name.subscription_began(desk, sub);)+
            }

            pub(super) fn subscription_ends(&mut self, desk: &mut Desk, sub: SubKey) {
                $(self.$name.subscription_ends(desk, sub);)+
            }

            pub(super) fn channel_joined(&mut self, desk: &mut Desk, key: Key, channel: &Subject, since: Option<Since>) {
                $(self.$name.channel_joined(desk, key, channel, since);)+
            }

            pub(super) fn connection_sent(&mut self, desk: &mut Desk, key: Key) {
                $(self.$name.connection_sent(desk, key);)+
            }

            pub(super) fn worker_subscribed(&mut self, desk: &mut Desk, membership: &Membership) {
                $(self.$name.worker_subscribed(desk, membership);)+
            }

            pub(super) fn worker_unsubscribed(&mut self, desk: &mut Desk, membership: &Membership) {
                $(self.$name.worker_unsubscribed(desk, membership);)+
            }

            pub(super) fn deadline(&self, now: Tick, is_crowded: bool) -> Tick {
                Tick::NEVER $(.min(self.$name.deadline(now, is_crowded)))+
            }

            pub(super) fn measure(&self, counters: &Counters) {
                $(self.$name.measure(counters);)+
            }

            pub(super) fn count(&self, census: &mut Census) {
                $(self.$name.count(census);)+
            }

            pub(super) fn drain(&mut self) {
                $(self.$name.drain();)+
            }

            pub(super) fn owes_workers(&self) -> bool {
                false $(|| self.$name.owes_workers())+
            }
        }

        impl Core {
            /// Does the turn's work of each feature, within one share of its budget, and the errands that follow from it.
            pub(super) fn work(&mut self, clock: impl Fn() -> Tick) {
                if self.features.deadline(self.desk.now, false) > self.desk.now {
                    return;
                }
                let mut has_begun = false;
                $(
                    // Cheaper than to ask a feature that has nothing to do.
                    let is_due = self.features.$name.deadline(self.desk.now, false) <= self.desk.now;
                    let pieces = if is_due { <$type as Feature>::PIECES_PER_TURN } else { 0 };
                    for _ in 0..pieces {
                        if !self.features.$name.work(&mut self.desk) {
                            break;
                        }
                        self.settle();
                        if !std::mem::replace(&mut has_begun, true) {
                            self.desk.meter.begin_share();
                        }
                        self.desk.meter.spend(limits::PIECE_UNITS);
                        // The next feature may still do one piece.
                        if self.desk.meter.is_share_spent(&clock) {
                            break;
                        }
                    }
                )+
            }
        }
    };
}

features! {
    order: Order,
    services: Services,
    questions: Questions,
    replays: Replays,
    requests: Requests,
    acks: Acks,
    presence: Presence,
    limiter: Limiter,
    expiry: StreamEnds,
    revocations: Revocations,
    key_sets: KeySets,
    asking: Asking,
    proxy: Proxy,
}
