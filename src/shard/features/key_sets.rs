//! Requests whose tokens name a key that is not known: they wait until the issuer's keys have been fetched, for a short time.
//!
//! ```text
//!  Step::Check --ask--> waits --the first one of its auth--> KeyMail::Fetch --> the thread beside the shards
//!                         |                                                        | Fetched, to every shard
//!                         |<-- all that wait for this auth go on with what is known now --'
//!                         '-- KEY_WAIT is over: it goes on, too
//! ```
//!
//! However many requests wait, an auth asks once, and not again for `KEY_ASKS_APART` (`conn::published`).

use std::collections::VecDeque;

use crate::base::{Key, Tick};
use crate::conn::checked;
use crate::conn::inquiry::InquiryAnswer;
use crate::conn::route::AuthId;
use crate::limits::{CHECKS_WAITING_MAX, KEY_WAIT};
use crate::mesh::Mail;
use crate::mesh::keys::KeyMail;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::{Desk, sums};

#[derive(Default)]
pub(in crate::shard) struct KeySets {
    /// In the order in which their time ends.
    waiting: VecDeque<KeyWaiter>,
    /// Auths whose keys are being fetched for a request of this shard.
    asked: Vec<AuthId>,
}

struct KeyWaiter {
    key: Key,
    auth: AuthId,
    until: Tick,
}

impl KeySets {
    pub(crate) fn new(_: &Parts) -> KeySets {
        KeySets::default()
    }

    /// The request of `key` waits for the keys of this auth.
    pub(crate) fn wait(&mut self, desk: &mut Desk, key: Key, auth: AuthId) {
        sums::weigh(desk, key);
        if self.waiting.len() >= CHECKS_WAITING_MAX {
            return go_on(desk, key, InquiryAnswer::Busy);
        }
        self.waiting.push_back(KeyWaiter { key, auth, until: desk.now + KEY_WAIT });
        // Its end is to be noticed.
        desk.work.receive.push(key);
        desk.schedule(key);
        self.fetch(desk, auth);
    }

    /// Tokens that do not wait have named keys that are not known.
    pub(crate) fn fetch_wanted(&mut self, desk: &mut Desk) {
        for auth in desk.settings.proofs.take_wanted() {
            self.fetch(desk, auth);
        }
    }

    fn fetch(&mut self, desk: &mut Desk, auth: AuthId) {
        if self.asked.contains(&auth) {
            return;
        }
        if let Some(place) = desk.post.mesh().outbound() {
            self.asked.push(auth);
            desk.send(place, Mail::Keys(KeyMail::Fetch { auth }));
        }
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: KeyMail) {
        let KeyMail::Fetched { auth, keys } = mail else {
            debug_assert!(false, "a shard fetches nothing");
            return;
        };
        let unix_now = (desk.settings.process.unix_time)();
        desk.settings.proofs.learn(auth, keys.as_ref().ok(), unix_now);
        if desk.place.0 == 0 {
            desk.counters().fetched(auth, &keys);
        }
        self.asked.retain(|own| *own != auth);
        let all = std::mem::take(&mut self.waiting);
        for waiter in all {
            match waiter.auth == auth {
                true => go_on(desk, waiter.key, InquiryAnswer::KeysAsTheyAre),
                false => self.waiting.push_back(waiter),
            }
        }
    }
}

/// The request goes on, unless its client has gone.
fn go_on(desk: &mut Desk, key: Key, answer: InquiryAnswer) {
    let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return };
    if checked(conn, answer) {
        desk.work.resume.push_back(key);
    }
}

impl Feature for KeySets {
    fn connection_ended(&mut self, _: &mut Desk, key: Key) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiter| waiter.key != key);
        }
    }

    fn work(&mut self, desk: &mut Desk) -> bool {
        if self.waiting.front().is_none_or(|waiter| waiter.until > desk.now) {
            return false;
        }
        let Some(KeyWaiter { key, auth, .. }) = self.waiting.pop_front() else { return false };
        // The letter may be lost with its thread: the next request asks again.
        self.asked.retain(|own| *own != auth);
        go_on(desk, key, InquiryAnswer::KeysAsTheyAre);
        true
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.waiting.front().map_or(Tick::NEVER, |waiter| waiter.until)
    }

    fn count(&self, census: &mut Census) {
        census.checking = self.waiting.len();
    }
}
