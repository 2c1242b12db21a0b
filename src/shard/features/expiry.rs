//! Streams whose client was let in by a token: each ends when its token does, to the second.
//!
//! ```text
//!  opened, or its request passed on --the token's end--> due --time--> a stream: ended with TokenExpired, 3000 or the event tg.end
//!                           refreshed --later--^           |           a request that a server has not answered: looked at again
//!                                                          |           another request: goes on
//!                                                          '-- the connection ends before: its entry goes
//! ```
//!
//! A connection without a token has no entry: it costs no byte and no timer.

use std::collections::{BTreeSet, HashMap};

use crate::base::{Key, Tick};
use crate::conn::{self, Conn, Lasting, ends, identity, identity_mut};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::control;

use super::Feature;
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::desk::Desk;

#[derive(Default)]
pub(in crate::shard) struct StreamEnds {
    /// When to look at connections with a token: one entry each.
    due: BTreeSet<(Tick, Key)>,
    of: HashMap<Key, Tick>,
}

impl StreamEnds {
    pub(crate) fn new(_: &Parts) -> StreamEnds {
        StreamEnds::default()
    }

    /// A stream has begun, or a request that may become one.
    pub(crate) fn opened(&mut self, desk: &Desk, key: Key) {
        let until = desk.slots.get(key).map_or(Tick::NEVER, until);
        if until != Tick::NEVER {
            self.look_at(key, until);
        }
    }

    fn look_at(&mut self, key: Key, until: Tick) {
        if let Some(earlier) = self.of.insert(key, until) {
            self.due.remove(&(earlier, key));
        }
        self.due.insert((until, key));
    }

    fn forget(&mut self, key: Key) {
        if let Some(until) = self.of.remove(&key) {
            self.due.remove(&(until, key));
        }
    }

    /// A client has shown another token. Its stream lives as long as that, or goes on as before if the token is not taken; it
    /// ends if the token is another user's.
    pub(crate) fn refresh(&mut self, desk: &mut Desk, key: Key, token: &str) {
        if desk.slots.get(key).is_none_or(|conn| until(conn) == Tick::NEVER) {
            return;
        }
        match prove_again(desk, key, token) {
            Ok(ttl_s) => {
                self.opened(desk, key);
                desk.put_control(key, &control::token_taken(ttl_s));
            }
            Err(RefreshFault::OtherUser) => desk.end(key, CloseReason::OtherUser),
            Err(RefreshFault::NotTaken(words)) => desk.put_control(key, &control::token_refused(&words)),
        }
    }
}

enum RefreshFault {
    OtherUser,
    /// For the client.
    NotTaken(String),
}

fn prove_again(desk: &mut Desk, key: Key, token: &str) -> Result<u64, RefreshFault> {
    let Desk { slots, settings, now, .. } = desk;
    let (Some(conn), Some(check)) = (slots.get_mut(key), settings.check()) else { return Err(RefreshFault::OtherUser) };
    let route = &settings.generation.routes[conn.session.route()];
    let proof = check.prove_token(route, token).map_err(|refused| RefreshFault::NotTaken(refused.to_string()))?;
    let client = identity_mut(&mut conn.session).ok_or(RefreshFault::OtherUser)?;
    client.refresh(proof, (settings.process.unix_time)(), *now).ok_or(RefreshFault::OtherUser)
}

fn until(conn: &Conn) -> Tick {
    identity(&conn.session).map_or(Tick::NEVER, |client| client.until())
}

impl Feature for StreamEnds {
    fn connection_ended(&mut self, _: &mut Desk, key: Key) {
        if !self.of.is_empty() {
            self.forget(key);
        }
    }

    fn work(&mut self, desk: &mut Desk) -> bool {
        let Some((_, key)) = self.due.first().copied().filter(|(until, _)| *until <= desk.now) else { return false };
        self.forget(key);
        let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return true };
        let until = until(conn);
        match conn::lasting(&conn.session) {
            _ if until > desk.now && until != Tick::NEVER => self.look_at(key, until),
            Lasting::Stream if until != Tick::NEVER => {
                // A frame that a server has begun is finished first.
                if ends::is_put_off(conn, CloseReason::TokenExpired, desk.now + limits::TOKEN_FRAME_WAIT) {
                    desk.schedule(key);
                } else {
                    desk.end(key, CloseReason::TokenExpired);
                }
            }
            Lasting::Unknown if until != Tick::NEVER => self.look_at(key, desk.now + limits::TOKEN_FRAME_WAIT),
            _ => {}
        }
        true
    }

    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.due.first().map_or(Tick::NEVER, |(until, _)| *until)
    }

    fn count(&self, census: &mut Census) {
        census.expiring = self.due.len();
    }
}
