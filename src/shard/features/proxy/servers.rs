//! News of a shard about its servers: their addresses, whether their probes pass, the wishes of their operator; and the gauges.
//!
//! ```text
//!  outbound --Found, Probed--> each shard: its idle connections to a server that is not there, or drained, end
//!                              requests in flight go on
//!  the admin listener --Drain--> every shard --Drained--> the asker's answer, after the last one
//! ```

use log::info;

use super::Proxy;
use crate::base::{Key, Tick};
use crate::conn::server_drained;
use crate::hub::upstreams::ServerStanding;
use crate::mesh::Mail;
use crate::mesh::upstreams::{FailedCheck, UpstreamMail};
use crate::proto::CloseReason;
use crate::proto::upstream::ServerId;
use crate::shard::counters::Counters;
use crate::shard::desk::Desk;

impl Proxy {
    pub(in crate::shard) fn read(&mut self, desk: &mut Desk, mail: UpstreamMail) {
        match mail {
            UpstreamMail::Found { server, addresses } => {
                self.upstreams.found(server, &addresses);
                self.end_idle(desk, server);
                self.learned(desk, server);
            }
            UpstreamMail::Probed { server, is_up } => {
                self.upstreams.set_up(server, is_up, desk.now);
                self.learned(desk, server);
            }
            UpstreamMail::Failed { server, check } => {
                if let Some(server) = desk.counters().server(server) {
                    match check {
                        FailedCheck::Lookup => server.lookups_failed.add(1),
                        FailedCheck::Probe => server.probes_failed.add(1),
                    }
                }
            }
            UpstreamMail::Drain { server, is_drained, asker } => {
                self.set_drained(desk, server, is_drained);
                desk.send(asker.place, Mail::Upstreams(UpstreamMail::Drained { key: asker.key }));
            }
            UpstreamMail::Drained { key } => {
                let shards = desk.post.mesh().shards();
                desk.answer(key, |conn, settings, now| server_drained(conn, shards, settings, now));
            }
        }
    }

    /// Asks every shard, on behalf of `key`.
    pub(in crate::shard) fn ask_to_drain(&mut self, desk: &mut Desk, key: Key, server: ServerId, is_drained: bool) {
        let asker = desk.address(key);
        let verb = if is_drained { "gets no further request" } else { "gets requests again" };
        let rule = desk.settings.generation.upstreams.get(usize::from(server.upstream.0));
        if let Some((rule, server)) = rule.and_then(|rule| Some((rule, rule.servers.get(usize::from(server.server))?)))
        {
            info!("the server {} of the upstream {:?} {verb}: its operator wants that", server.text, rule.name);
        }
        desk.send_all(|| Mail::Upstreams(UpstreamMail::Drain { server, is_drained, asker }));
    }

    fn set_drained(&mut self, desk: &mut Desk, server: ServerId, is_drained: bool) {
        self.upstreams.set_drained(server, is_drained);
        self.end_idle(desk, server);
        self.learned(desk, server);
        // Before the answer: an operator looks at them next.
        self.measure_servers(desk.counters());
    }

    /// Sets the gauges that requests do not change; the others follow with the turn.
    fn learned(&mut self, desk: &mut Desk, id: ServerId) {
        self.change(desk.now);
        if let Some(server) = desk.counters().server(id) {
            let standing = self.upstreams.standing(id, desk.now);
            server.down.set(u64::from(standing.is_down));
            server.drained.set(u64::from(standing.is_drained));
            server.addresses.set(standing.addresses as u64);
        }
    }

    /// Ends the idle connections that no request will have: to a server that is drained, or no longer there.
    fn end_idle(&mut self, desk: &mut Desk, server: ServerId) {
        let is_drained = self.upstreams.standing(server, desk.now).is_drained;
        let is_of_no_use = |key: &Key| {
            let conn = desk.slots.get(*key);
            is_drained || conn.is_some_and(|conn| !self.upstreams.is_at(server, conn.link.peer().address()))
        };
        let idle: Vec<Key> = self.upstreams.idle(server).filter(is_of_no_use).collect();
        for key in idle {
            desk.broken(key, CloseReason::Normal);
        }
    }

    /// A server that was left out returns without an event of its own: the gauges say so.
    pub(super) fn look_for_returns(&mut self, now: Tick) {
        if self.returns_at <= now {
            self.change(now);
            self.returns_at = self.upstreams.next_return(now);
        }
    }

    /// Sets the gauges.
    pub(super) fn measure_servers(&self, counters: &Counters) {
        let standing = |id: &ServerId| self.upstreams.standing(*id, self.changed);
        for id in &self.servers {
            if let Some(server) = counters.server(*id) {
                let standing = standing(id);
                server.busy.set(standing.in_flight as u64);
                server.idle.set(standing.idle as u64);
                server.tunnels.set(standing.tunnels as u64);
                server.up.set(u64::from(standing.is_up()));
                server.down.set(u64::from(standing.is_down));
                server.drained.set(u64::from(standing.is_drained));
                server.addresses.set(standing.addresses as u64);
            }
        }
        let sum = |part: fn(ServerStanding) -> usize| self.servers.iter().map(|id| part(standing(id)) as u64).sum();
        counters.proxied.set(sum(|server| server.in_flight));
        counters.tunnels.set(sum(|server| server.tunnels));
        counters.upstream_idle.set(sum(|server| server.idle));
        counters.upstream_out.set(sum(|server| usize::from(server.is_out)));
        let upstreams = || self.servers.iter().filter(|id| id.server == 0).map(|id| id.upstream);
        counters.proxied_waiting.set(upstreams().map(|id| self.upstreams.waiting(id) as u64).sum());
        counters.proxied_desperate.set(upstreams().map(|id| self.upstreams.desperate(id)).sum());
    }
}
