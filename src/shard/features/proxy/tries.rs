//! What becomes of a request whose server has failed, and of a half whose partner ends.
//!
//! ```text
//!  nothing was sent           --> another server, as often as the route says, within twice the time for a connection
//!  no answer, reused          --> once more on a new connection, if the request may be repeated: the server had closed meanwhile
//!  no answer                  --> refused: 502, 504
//!  an answer that is not whole --> the client's connection is cut: it must not take the part for the whole
//! ```

use std::io;

use log::{log, warn};

use super::{Proxy, go_on, half_of};
use crate::base::Key;
use crate::conn::access;
use crate::conn::halves;
use crate::conn::proxying::ProxyStage;
use crate::conn::upstream::Came;
use crate::hub::upstreams::{Pick, Tried};
use crate::proto::CloseReason;
use crate::proto::upstream::ServerId;
use crate::shard::desk::Desk;

impl Proxy {
    /// Looks for a server that has not failed the request. `failure`: of the last one.
    pub(super) fn seek(&mut self, desk: &mut Desk, client: Key, failure: Option<CloseReason>) {
        let (draw, now) = (self.draw(), desk.now);
        let Some(proxying) = half_of(desk, client) else { return };
        let tried = proxying.tried.iter().fold(Tried::default(), |tried, server| tried.with(*server));
        let (upstream, affinity) = (proxying.request.upstream, proxying.request.affinity);
        match self.upstreams.pick(upstream, affinity, tried, draw, now) {
            Pick::Server(picked) => self.begin(desk, client, picked),
            Pick::Full => match self.upstreams.wait(upstream, client, affinity, tried, now) {
                Ok(until) => {
                    self.change(now);
                    if let Some(conn) = desk.slots.get_mut(client) {
                        halves::queue(conn, until);
                        desk.schedule(client);
                        desk.work.receive.push(client);
                    }
                }
                Err(_) => self.give_up(desk, client, CloseReason::UpstreamBusy),
            },
            Pick::Exhausted => self.give_up(desk, client, failure.unwrap_or(CloseReason::NoUpstream)),
        }
    }

    /// One half ends, for a reason of its own: the other one learns of that.
    pub(in crate::shard) fn half_ended(&mut self, desk: &mut Desk, key: Key, reason: CloseReason) {
        if self.tunnel_ended(desk, key, reason) {
            return;
        }
        let Some(conn) = desk.slots.get_mut(key) else { return };
        let address = conn.link.peer().address();
        let failure = conn.link.transport().failure().map(|failure| failure.to_string());
        if let Some(half) = halves::upstream(&mut conn.session) {
            let (id, client) = (half.server, half.partner);
            let came = half.came(reason == CloseReason::PeerClosed);
            desk.work.close.push(key);
            if let Some(failure) = failure {
                tell_failure(desk, id, &failure);
            }
            let reason = if came == Came::Nowhere { reason_of_handshake(reason) } else { reason };
            match client {
                Some(client) => {
                    self.part_from(desk, client, key);
                    // Its other addresses are not to blame.
                    let has_other = came == Came::Nowhere && self.upstreams.unreachable(id, address, desk.now);
                    self.server_ended(desk, client, (id, came, has_other), reason);
                }
                None => {
                    self.upstreams.lose_idle(id, key);
                    self.change(desk.now);
                }
            }
        } else {
            self.checks.over(key);
            if reason.is_departure()
                && let Some(half) = half_of(desk, key).filter(|half| half.stage != ProxyStage::Answering)
                && let Some(server) = half.place
            {
                desk.counters().server(server).inspect(|server| server.abandoned.add(1));
            }
            self.abandon(desk, key);
        }
    }

    /// The client's half wants nothing more of its server.
    pub(super) fn abandon(&mut self, desk: &mut Desk, client: Key) {
        let Some(proxying) = half_of(desk, client) else { return };
        let (upstream, server) = (proxying.request.upstream, proxying.partner);
        if proxying.stage == ProxyStage::Queued {
            self.change(desk.now);
            self.upstreams.leave(upstream, client);
        }
        match server {
            Some(server) => {
                self.part_from(desk, client, server);
                desk.broken(server, CloseReason::Normal);
            }
            None => self.leave_place(desk, client),
        }
    }

    fn leave_place(&mut self, desk: &mut Desk, client: Key) {
        if let Some(id) = half_of(desk, client).and_then(|proxying| proxying.place.take()) {
            self.upstreams.done(id);
        }
    }

    /// The upstream's half has ended, having come so far. Its server may have another address that can be tried.
    fn server_ended(
        &mut self,
        desk: &mut Desk,
        client: Key,
        (id, came, has_other): (ServerId, Came, bool),
        reason: CloseReason,
    ) {
        let now = desk.now;
        let is_shortage = matches!(reason, CloseReason::WaitingFull | CloseReason::ArrivingFull | CloseReason::Drain);
        let reason = if is_shortage { CloseReason::UpstreamBusy } else { reason };
        let Some(rule) = desk.settings.generation.upstreams.get(usize::from(id.upstream.0)) else { return };
        let patience = 2 * rule.connect_timeout;
        let Some(proxying) = half_of(desk, client) else { return };
        match came {
            Came::Nowhere => {
                if !has_other {
                    proxying.tried.push(id);
                }
                // An address that is passed over is no try: the next request does not have it.
                let may_try = (has_other || proxying.tried.len() <= usize::from(proxying.request.retries))
                    && now.since(proxying.began) < patience
                    && reason != CloseReason::UpstreamBusy;
                if has_other {
                    desk.counters().server(id).inspect(|server| server.failed.add(1));
                } else if reason != CloseReason::UpstreamBusy {
                    self.failed(desk, id);
                }
                match may_try {
                    true => self.seek(desk, client, Some(reason)),
                    false => self.give_up(desk, client, reason),
                }
            }
            Came::NoAnswer { is_reused } => {
                let is_closed = !is_failure(reason);
                if is_reused && is_closed && proxying.request.may_repeat && !proxying.is_repeated {
                    proxying.is_repeated = true;
                    return self.seek(desk, client, Some(CloseReason::UpstreamClosed));
                }
                if (!is_reused || !is_closed) && !is_shortage {
                    self.failed(desk, id);
                }
                self.give_up(desk, client, if is_closed { CloseReason::UpstreamClosed } else { reason });
            }
            Came::Answer { is_whole: true } => self.complete(desk, client),
            Came::Answer { is_whole: false } => {
                self.failed(desk, id);
                if desk.slots.get(client).is_some_and(|conn| halves::is_check(&conn.session)) {
                    return self.give_up(desk, client, CloseReason::UpstreamBroke);
                }
                desk.end(client, CloseReason::UpstreamBroke);
            }
        }
    }

    /// The server has not done what it should.
    pub(super) fn failed(&mut self, desk: &mut Desk, id: ServerId) {
        desk.counters().server(id).inspect(|server| server.failed.add(1));
        let Some(left_out) = self.upstreams.failed(id, desk.now) else { return };
        self.change(desk.now);
        self.returns_at = self.upstreams.next_return(desk.now);
        let Some(rule) = desk.settings.generation.upstreams.get(usize::from(id.upstream.0)) else { return };
        let Some(server) = rule.servers.get(usize::from(id.server)) else { return };
        if let Some(folded) = desk.fold.say(&("upstream", &*rule.name, &*server.text), desk.now) {
            let (name, text, seconds) = (&rule.name, &server.text, left_out.as_secs());
            warn!(
                "the server {text} of the upstream {name:?} is left out for {seconds} s: it has failed too often{folded}"
            );
        }
    }

    /// The request gets no answer of a server.
    pub(super) fn give_up(&mut self, desk: &mut Desk, client: Key, reason: CloseReason) {
        self.checks.over(client);
        self.leave_place(desk, client);
        let row = reason.row();
        desk.counters().closed[reason as usize].add(1);
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let peer = conn.link.peer();
        let upstream = halves::proxying(&mut conn.session).map(|proxying| proxying.request.upstream);
        access::travelled(conn, client, &desk.settings);
        let from = access::before_answer(conn, &desk.settings);
        let after = halves::refuse(conn, reason, &desk.settings, desk.now);
        access::answered(conn, (client, from), Some(reason), &desk.settings, desk.now);
        go_on(desk, client, after);
        let rules = &desk.settings.generation.upstreams;
        if let Some(rule) = upstream.and_then(|id| rules.get(usize::from(id.0)))
            && let Some(folded) = desk.fold.say(&("proxy", row.name, &*rule.name), desk.now)
        {
            log!(
                row.level,
                "{peer} got no answer of the upstream {:?}: {} ({}){folded}",
                rule.name,
                row.words,
                row.name
            );
        }
    }
}

/// Whether the reason is one for the client; else the server has closed the connection, or the connection broke.
fn is_failure(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::UpstreamTimeout
            | CloseReason::UpstreamGarbage
            | CloseReason::UpstreamConnectTimeout
            | CloseReason::UpstreamBusy
    )
}

/// Of a handshake with a server that has not come to its end.
fn reason_of_handshake(reason: CloseReason) -> CloseReason {
    match reason {
        CloseReason::TlsTooSlow => CloseReason::UpstreamConnectTimeout,
        CloseReason::TlsTruncated
        | CloseReason::TlsProtocol
        | CloseReason::TlsAlert
        | CloseReason::TlsForged
        | CloseReason::TlsIncompatible
        | CloseReason::TlsInternal
        | CloseReason::PeerReset
        | CloseReason::PeerClosed => CloseReason::UpstreamRefused,
        other => other,
    }
}

/// TLS has failed: a certificate that is not trusted is a matter for the operator.
fn tell_failure(desk: &mut Desk, id: ServerId, failure: &str) {
    let Some(rule) = desk.settings.generation.upstreams.get(usize::from(id.upstream.0)) else { return };
    let Some(server) = rule.servers.get(usize::from(id.server)) else { return };
    if let Some(folded) = desk.fold.say(&("upstream tls", &*rule.name, &*server.text, failure), desk.now) {
        // As `openssl req -x509` makes them, if nothing else is said.
        let hint = match failure.contains("CaUsedAsEndEntity") {
            true => " (its certificate is that of an authority; expected one with basicConstraints CA:FALSE)",
            false => "",
        };
        warn!("TLS to the server {} of the upstream {:?} has failed: {failure}{hint}{folded}", server.text, rule.name);
    }
}

/// The reason of a dial that has failed. For want of descriptors, memory or ports here, no server is to blame.
pub(super) fn reason_of_dial(kind: io::ErrorKind) -> CloseReason {
    match kind {
        io::ErrorKind::OutOfMemory | io::ErrorKind::AddrNotAvailable => CloseReason::UpstreamBusy,
        io::ErrorKind::TimedOut => CloseReason::UpstreamConnectTimeout,
        _ => CloseReason::UpstreamRefused,
    }
}
