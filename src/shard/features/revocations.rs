//! Revoked tokens: from now on no shard takes them, and the streams that they have let in end.
//!
//! ```text
//!  the admin listener, tg.revoke --Revoke--> every shard: kept in Proofs, then a walk through its connections, a piece in each
//!        ^                                     step of work '-- a stream or a proxied request with such a token: ended with TokenRevoked
//!        '---------Revoked, once for each shard: how many-----------'
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use log::warn;

use crate::base::{Address, Key, Tick};
use crate::conn::{ends, identity, revocation_answer, revocation_done};
use crate::limits;
use crate::mesh::Mail;
use crate::mesh::revocations::{RevocationAsker, RevocationMail};
use crate::proto::CloseReason;
use crate::proto::bus;
use crate::proto::event::Message;
use crate::proto::subject::Subject;
use crate::proto::token::revocation::Revocation;

use super::Feature;
use crate::shard::Parts;
use crate::shard::desk::Desk;

/// The answer to a worker that waits for the outcome.
struct AwaitedOutcome {
    reply: Subject,
    /// Streams that have ended; `None`: a shard had no place for the revocation.
    ended: Option<u64>,
    /// Shards that have said so.
    shards: u16,
}

#[derive(Default)]
pub(in crate::shard) struct Revocations {
    /// By number. As many as walks at most.
    awaited: AHashMap<u32, AwaitedOutcome>,
    last_number: u32,
    /// The first one is under way.
    walks: VecDeque<RevocationWalk>,
}

/// A walk through the connections that there were when it began: later ones are not let in.
struct RevocationWalk {
    revocation: Arc<Revocation>,
    asker: RevocationAsker,
    /// The next slot to be looked at, and the last one's next.
    at: u32,
    end: u32,
    ended: u32,
}

impl Revocations {
    pub(crate) fn new(_: &Parts) -> Revocations {
        Revocations::default()
    }

    /// An operator's text, on behalf of `key`.
    pub(crate) fn revoke(&mut self, desk: &mut Desk, key: Key, text: &[u8]) {
        let unix_now = (desk.settings.process.unix_time)();
        let Ok(revocation) = Revocation::parse(text, unix_now) else {
            return desk.answer(key, |conn, settings, now| {
                revocation_done(conn, (Err(CloseReason::BadRevocation), 1), settings, now)
            });
        };
        spread(desk, revocation, RevocationAsker::Conn(desk.address(key)));
    }

    /// A worker's message. Its reply subject, if it has one, gets the outcome: the answer of the admin listener, or a status.
    pub(crate) fn revoke_for_worker(&mut self, desk: &mut Desk, message: &Message) {
        let unix_now = (desk.settings.process.unix_time)();
        let refused = |desk: &mut Desk, status: &[u8]| {
            let reply = message.requester().cloned();
            reply.into_iter().for_each(|reply| desk.publish(Message::of_status(reply, status)));
        };
        let revocation = match Revocation::parse(&message.payload, unix_now) {
            Ok(revocation) => revocation,
            Err(words) => {
                if let Some(left_out) = desk.fold.say(&("revocation", words), desk.now) {
                    warn!("a worker's revocation is not carried out: the text {words}{left_out}");
                }
                return refused(desk, bus::BAD_REQUEST);
            }
        };
        if self.awaited.len() >= limits::REVOCATIONS_AT_ONCE {
            return refused(desk, bus::TOO_MANY_REVOCATIONS);
        }
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        if let Some(reply) = message.requester().cloned() {
            self.awaited.insert(number, AwaitedOutcome { reply, ended: Some(0), shards: 0 });
        }
        spread(desk, revocation, RevocationAsker::Message { place: desk.place, number });
    }

    /// One shard is done for a worker. After the last one, the worker is told.
    fn done_for_worker(&mut self, desk: &mut Desk, number: u32, ended: Option<u32>) {
        let Some(awaited) = self.awaited.get_mut(&number) else { return };
        awaited.ended = awaited.ended.zip(ended).map(|(all, ended)| all + u64::from(ended));
        awaited.shards += 1;
        if awaited.shards < desk.post.mesh().shards() {
            return;
        }
        let Some(AwaitedOutcome { reply, ended, .. }) = self.awaited.remove(&number) else { return };
        desk.publish(match ended {
            Some(ended) => Message::new(reply, None, None, revocation_answer(ended).into_bytes().into()),
            None => Message::of_status(reply, bus::TOO_MANY_REVOCATIONS),
        });
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: RevocationMail) {
        match mail {
            RevocationMail::Revoke { revocation, asker } => {
                let unix_now = (desk.settings.process.unix_time)();
                let has_room = self.walks.len() < limits::REVOCATIONS_AT_ONCE;
                if !has_room || !desk.settings.proofs.revoke(&revocation, unix_now) {
                    return send(desk, asker, None);
                }
                if let Some(user) = revocation.user() {
                    desk.settings.decisions.forget(user);
                }
                let end = desk.slots.end();
                self.walks.push_back(RevocationWalk { revocation, asker, at: 0, end, ended: 0 });
            }
            RevocationMail::Revoked { asker: RevocationAsker::Message { number, .. }, ended } => {
                self.done_for_worker(desk, number, ended);
            }
            RevocationMail::Revoked { asker: RevocationAsker::Conn(Address { key, .. }), ended } => {
                let of = desk.post.mesh().shards();
                let ended = ended.ok_or(CloseReason::RevocationsFull);
                desk.answer(key, |conn, settings, now| revocation_done(conn, (ended, of), settings, now));
            }
        }
    }
}

/// Asks every shard.
fn spread(desk: &mut Desk, revocation: Revocation, asker: RevocationAsker) {
    let revocation = Arc::new(revocation);
    desk.send_all(|| Mail::Revocations(RevocationMail::Revoke { revocation: revocation.clone(), asker }));
}

fn send(desk: &mut Desk, asker: RevocationAsker, ended: Option<u32>) {
    let (RevocationAsker::Conn(Address { place, .. }) | RevocationAsker::Message { place, .. }) = asker;
    desk.send(place, Mail::Revocations(RevocationMail::Revoked { asker, ended }));
}

impl Feature for Revocations {
    fn work(&mut self, desk: &mut Desk) -> bool {
        let Some(walk) = self.walks.front_mut() else { return false };
        let end = walk.end.min(walk.at.saturating_add(limits::REVOKED_AT_ONCE));
        for slot in std::mem::replace(&mut walk.at, end)..end {
            let Some(key) = desk.slots.key_at(slot) else { continue };
            let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { continue };
            let proof = identity(&conn.session).and_then(|client| client.proof());
            if !proof.is_some_and(|proof| walk.revocation.is_for(proof)) {
                continue;
            }
            walk.ended += 1;
            if ends::is_put_off(conn, CloseReason::TokenRevoked, desk.now + limits::TOKEN_FRAME_WAIT) {
                desk.schedule(key);
            } else {
                desk.end(key, CloseReason::TokenRevoked);
            }
        }
        if walk.at >= walk.end
            && let Some(RevocationWalk { asker, ended, .. }) = self.walks.pop_front()
        {
            send(desk, asker, Some(ended));
        }
        true
    }

    fn deadline(&self, now: Tick, _is_crowded: bool) -> Tick {
        if self.walks.is_empty() { Tick::NEVER } else { now }
    }
}
