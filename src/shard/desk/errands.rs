//! Errands: what one part of a shard needs of the others, done once the part has returned. Features do not call each
//! other.
//!
//! ```text
//!  a feature --end, withdraw, send, publish, announce--> Errands --Core::settle--> ends --> withdrawals --> tells --> asks, publications
//! ```
//!
//! A letter from a shard to itself is an errand, so that it goes the same way as one to another shard: tells before asks, each in
//! order (TELLS ARE TERMINAL, THE SEAM). Publications are made in order with the asks.

use std::collections::VecDeque;

use crate::base::Key;
use crate::hub::SubKey;
use crate::limits;
use crate::mesh::{Lane, Mail, Publish};
use crate::proto::CloseReason;

#[derive(Debug)]
pub(in crate::shard) enum Errand {
    End(Key, CloseReason),
    Withdraw(SubKey),
    /// From this shard to itself.
    Letter(Mail),
    Publish(Publish),
    /// A publication of the gateway itself. The named connection does not receive it.
    Announce(Publish),
}

#[derive(Default)]
pub(in crate::shard) struct Errands {
    ends: VecDeque<(Key, CloseReason)>,
    withdrawals: VecDeque<SubKey>,
    tells: VecDeque<Mail>,
    /// Asks and publications.
    asks: VecDeque<Errand>,
    count: usize,
}

impl Errands {
    pub(crate) fn push(&mut self, errand: Errand) {
        self.count += 1;
        match errand {
            Errand::End(key, reason) => self.ends.push_back((key, reason)),
            Errand::Withdraw(sub) => self.withdrawals.push_back(sub),
            Errand::Letter(mail) if mail.lane() == Lane::Tell => self.tells.push_back(mail),
            errand => self.asks.push_back(errand),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn next(&mut self) -> Option<Errand> {
        if self.is_empty() {
            return None;
        }
        self.count -= 1;
        let end = self.ends.pop_front().map(|(key, reason)| Errand::End(key, reason));
        end.or_else(|| self.withdrawals.pop_front().map(Errand::Withdraw))
            .or_else(|| self.tells.pop_front().map(Errand::Letter))
            .or_else(|| self.asks.pop_front())
    }

    /// How many errands the longest queue has room for.
    pub(crate) fn capacity(&self) -> usize {
        let letters = self.tells.capacity().max(self.asks.capacity());
        self.ends.capacity().max(self.withdrawals.capacity()).max(letters)
    }

    /// Frees the memory of a turn with very many errands.
    pub(crate) fn shrink(&mut self) {
        self.ends.shrink_to(limits::TURN_ENTRIES_KEPT);
        self.withdrawals.shrink_to(limits::TURN_ENTRIES_KEPT);
        self.tells.shrink_to(limits::TURN_ENTRIES_KEPT);
        self.asks.shrink_to(limits::TURN_ENTRIES_KEPT);
    }
}
