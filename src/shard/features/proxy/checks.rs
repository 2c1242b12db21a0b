//! Questions to servers whether clients are let in: each is a proxied request whose answer stays here, and has an end.
//!
//! ```text
//!  Step::Check --check--> seek, pair, .. like any other request --the answer's end, no server--> the client's request goes on
//!                 |-- too many: it is sent back                  '-- auth.forward.timeout_ms is over: the same, 503
//! ```

use std::collections::{BTreeSet, HashMap};

use super::{Proxy, go_on, half_of};
use crate::base::{Key, Tick};
use crate::conn::inquiry::InquiryAnswer;
use crate::conn::proxying::ProxyStage;
use crate::conn::{After, checked, halves};
use crate::limits::CHECKS_WAITING_MAX;
use crate::shard::desk::{Desk, sums};

/// When each has to be answered.
#[derive(Default)]
pub(super) struct Checks {
    ends: BTreeSet<(Tick, Key)>,
    of: HashMap<Key, Tick>,
}

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    #[inline]
    pub(super) fn next_end(&self) -> Tick {
        self.ends.first().map_or(Tick::NEVER, |(until, _)| *until)
    }

    /// The one of this client is over, if it has one.
    pub(super) fn over(&mut self, client: Key) {
        if !self.of.is_empty()
            && let Some(until) = self.of.remove(&client)
        {
            self.ends.remove(&(until, client));
        }
    }

    fn begin(&mut self, client: Key, until: Tick) {
        self.of.insert(client, until);
        self.ends.insert((until, client));
    }
}

impl Proxy {
    /// The request of a client waits until a server has said whether it is let in.
    pub(in crate::shard) fn check(&mut self, desk: &mut Desk, client: Key) {
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let Some(until) = halves::check_until(&mut conn.session) else { return };
        if self.checks.len() >= CHECKS_WAITING_MAX {
            checked(conn, InquiryAnswer::Busy);
            return go_on(desk, client, After::KeepOpen);
        }
        self.checks.begin(client, until);
        sums::weigh(desk, client);
        // Its end is to be noticed.
        desk.work.receive.push(client);
        desk.schedule(client);
        self.seek(desk, client, None);
    }

    /// Ends one question that is not answered in time. False if there is none.
    pub(super) fn end_late_check(&mut self, desk: &mut Desk) -> bool {
        let Some((_, client)) = self.checks.ends.first().copied().filter(|(until, _)| *until <= desk.now) else {
            return false;
        };
        self.checks.over(client);
        if let Some(half) = half_of(desk, client)
            && let Some(place) = half.place.filter(|_| matches!(half.stage, ProxyStage::Asked | ProxyStage::Answering))
        {
            self.failed(desk, place);
        }
        self.abandon(desk, client);
        if let Some(conn) = desk.slots.get_mut(client) {
            halves::leave_unclear(conn);
            go_on(desk, client, After::KeepOpen);
        }
        true
    }
}
