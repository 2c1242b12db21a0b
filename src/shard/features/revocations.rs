//! Revoked tokens: from now on no shard takes them, and the streams that they have let in end.
//!
//! ```text
//!  the admin listener --Revoke--> every shard: kept in Proofs, then a walk through its connections, a piece in each step of work
//!        ^                                  '-- a stream or a proxied request with such a token: ended with TokenRevoked
//!        '---------Revoked, once for each shard: how many-----------'
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::{Address, Key, Tick};
use crate::conn::{ends, identity, revocation_done};
use crate::limits;
use crate::mesh::Mail;
use crate::mesh::revocations::RevocationMail;
use crate::proto::CloseReason;
use crate::proto::token::revocation::Revocation;

use super::Feature;
use crate::shard::Parts;
use crate::shard::desk::Desk;

#[derive(Default)]
pub(in crate::shard) struct Revocations {
    /// The first one is under way.
    walks: VecDeque<RevocationWalk>,
}

/// A walk through the connections that there were when it began: later ones are not let in.
struct RevocationWalk {
    revocation: Arc<Revocation>,
    asker: Address,
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
        let (revocation, asker) = (Arc::new(revocation), desk.address(key));
        desk.send_all(|| Mail::Revocations(RevocationMail::Revoke { revocation: revocation.clone(), asker }));
    }

    pub(crate) fn read(&mut self, desk: &mut Desk, mail: RevocationMail) {
        match mail {
            RevocationMail::Revoke { revocation, asker } => {
                let unix_now = (desk.settings.process.unix_time)();
                let has_room = self.walks.len() < limits::REVOCATIONS_AT_ONCE;
                if !has_room || !desk.settings.proofs.revoke(&revocation, unix_now) {
                    return send(desk, asker, None);
                }
                let end = desk.slots.end();
                self.walks.push_back(RevocationWalk { revocation, asker, at: 0, end, ended: 0 });
            }
            RevocationMail::Revoked { key, ended } => {
                let of = desk.post.mesh().shards();
                let ended = ended.ok_or(CloseReason::RevocationsFull);
                desk.answer(key, |conn, settings, now| revocation_done(conn, (ended, of), settings, now));
            }
        }
    }
}

fn send(desk: &mut Desk, asker: Address, ended: Option<u32>) {
    desk.send(asker.place, Mail::Revocations(RevocationMail::Revoked { key: asker.key, ended }));
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
