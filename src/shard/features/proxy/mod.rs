//! The reverse proxy of a shard: it pairs a client's request with a connection to a server, and moves the bytes between them.
//!
//! ```text
//!  client's half --Seek--> pick --> idle connection --.
//!   (conn::proxying)         |----> dial --connected--+--> pair: head --> Forward .. Asked --> upstream's half (conn::upstream)
//!        ^                   '----> queue --a place---'                                              |
//!        '------ Interim, Answer, Part .. End ------------------------------------------------------'
//!  either half ends --half_ended--> the other one: another server, a refusal, the end of the answer, or an end of its own
//! ```
//!
//! - **PAIRED**: the partner of a half's partner is that half, or there is none. [`half_ended`](Proxy::half_ended) is the one
//!   place where a pair ends before its answer does.
//! - Back-pressure: a half whose partner's outbox is full is stopped, and not read; a send of the partner releases it. Nothing
//!   else buffers.
//! - `checks`: the questions to servers whether clients are let in.
//! - `servers`: what the shard learns about its servers.
//! - `tries`: what becomes of a request whose server has failed.
//! - `tunnels`: WebSockets that a server serves.

mod checks;
mod servers;
mod tries;
mod tunnels;

use std::cell::Cell;
use std::io;

use self::checks::Checks;
use super::Feature;
use crate::base::{Key, Remote, Tick, mix};
use crate::conn::access;
use crate::conn::halves;
use crate::conn::proxying::{ProxyStep, Proxying};
use crate::conn::settings::{Readiness, Settings};
use crate::conn::upstream::{Keeps, UpstreamStep};
use crate::conn::{After, Conn};
use crate::hub::upstreams::{Freshness, Picked, Upstreams};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::http::AnswerHead;
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::{ServerAddress, ServerId, UpstreamId, UpstreamRule};
use crate::shard::Parts;
use crate::shard::census::Census;
use crate::shard::counters::Counters;
use crate::shard::desk::{Desk, SocketOrder, sums};

pub(in crate::shard) struct Proxy {
    upstreams: Upstreams,
    /// TLS to their servers, with the sessions of this shard. By id; may be shorter.
    tls: Box<[Option<ServersTls>]>,
    /// Seed and number of the next draw.
    draws: u64,
    /// Halves that are stopped. While there are none, sends concern no pair.
    stopped: usize,
    /// Halves of tunnels whose other end has finished its half.
    half_closed: usize,
    checks: Checks,
    /// All servers, for the gauges.
    servers: Box<[ServerId]>,
    /// Requests have come or gone since the gauges were set, at this time the last.
    has_changed: Cell<bool>,
    changed: Tick,
    /// When one of the servers that are left out returns, at the earliest.
    returns_at: Tick,
}

impl Proxy {
    pub(in crate::shard) fn new(parts: &Parts) -> Proxy {
        let (rules, tls) = (&parts.settings.generation.upstreams, &parts.settings.generation.upstreams_tls);
        let ids = |(upstream, rule): (u16, &UpstreamRule)| {
            (0..rule.servers.len() as u8).map(move |server| ServerId { upstream: UpstreamId(upstream), server })
        };
        Proxy {
            upstreams: Upstreams::new(rules, parts.mesh.shards().into()),
            tls: tls.iter().map(|tls| tls.as_ref().map(ServersTls::apart)).collect(),
            draws: u64::from(parts.seed) << 32,
            stopped: 0,
            half_closed: 0,
            checks: Checks::default(),
            servers: (0..).zip(rules).flat_map(ids).collect(),
            has_changed: Cell::new(false),
            changed: parts.now,
            returns_at: Tick::NEVER,
        }
    }

    /// Requests come or go: the gauges are set with the turn.
    fn change(&mut self, now: Tick) {
        self.has_changed.set(true);
        self.changed = now;
    }

    fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        mix(self.draws)
    }

    pub(in crate::shard) fn step(&mut self, desk: &mut Desk, key: Key, step: ProxyStep<'_>) {
        match step {
            ProxyStep::Seek => {
                let left_out = half_of(desk, key).map_or(0, |proxying| proxying.request.left_out);
                desk.counters().fields_left_out.add(left_out.into());
                self.seek(desk, key, None);
            }
            ProxyStep::Forward { piece, is_last } => self.forward(desk, key, piece, is_last),
            ProxyStep::Asked => self.asked(desk, key),
            ProxyStep::Upstream(said) => self.said(desk, key, said),
            ProxyStep::Frames(frames) => self.pass(desk, key, frames.bytes),
        }
    }

    // --- a connection for a request ------------------------------------------------------------------------------------

    /// The request has a place in a server: it gets a connection that is there, or a new one.
    fn begin(&mut self, desk: &mut Desk, client: Key, picked: Picked) {
        let Some(proxying) = half_of(desk, client) else { return self.upstreams.done(picked.server) };
        proxying.place = Some(picked.server);
        proxying.journey.server = Some(picked.server);
        proxying.journey.attempts = proxying.journey.attempts.saturating_add(1);
        proxying.journey.is_reused = false;
        proxying.is_unmarked = picked.is_unmarked;
        let freshness = if proxying.request.wants_fresh { Freshness::Fresh } else { Freshness::Any };
        let may_reuse = !proxying.is_repeated;
        self.change(desk.now);
        while may_reuse && let Some(server) = self.upstreams.take_idle(picked.server, freshness, desk.now) {
            if desk.slots.get(server).is_some_and(Conn::is_open) {
                if let Some(proxying) = half_of(desk, client) {
                    proxying.journey.is_reused = true;
                }
                return self.pair(desk, client, server);
            }
        }
        self.dial(desk, client, picked.server);
    }

    fn dial(&mut self, desk: &mut Desk, client: Key, id: ServerId) {
        if desk.counters().open.value() >= desk.settings.process.shard_connections_max {
            // The other descriptors are for workers and the admin listener.
            return self.give_up(desk, client, CloseReason::UpstreamBusy);
        }
        let draw = self.draw();
        let Some(rule) = desk.settings.generation.upstreams.get(usize::from(id.upstream.0)) else { return };
        let Some(server) = rule.servers.get(usize::from(id.server)) else { return };
        let remote = match &server.at {
            ServerAddress::Fixed(remote) => remote.clone(),
            ServerAddress::Named(_) => match self.upstreams.next_address(id, desk.now) {
                Some(address) => Remote::Tcp(address),
                None => return self.give_up(desk, client, CloseReason::NoUpstream),
            },
        };
        let from = rule.source(&remote, draw);
        let conn = halves::dial(id, client, &remote, desk.now + rule.connect_timeout);
        let key = desk.slots.insert(conn);
        desk.counters().open.add(1);
        desk.work.orders.push(SocketOrder::Dial { key, remote, from });
        desk.schedule(key);
        if let Some(proxying) = half_of(desk, client) {
            proxying.dialling(key);
        }
        desk.work.receive.push(client);
    }

    /// A dial has come to its end.
    pub(in crate::shard) fn connected(&mut self, desk: &mut Desk, key: Key, outcome: Result<(), io::ErrorKind>) {
        let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return };
        if let Err(kind) = outcome {
            return desk.broken(key, tries::reason_of_dial(kind));
        }
        desk.work.receive.push(key);
        let Some(id) = halves::upstream(&mut conn.session).map(|half| half.server) else { return };
        if let Some(tls) = self.tls.get(usize::from(id.upstream.0)).and_then(Option::as_ref) {
            return match halves::connected_to(conn, tls, id) {
                Ok(()) => {
                    sums::weigh(desk, key);
                    desk.mark_dirty(key);
                }
                Err(reason) => desk.broken(key, reason),
            };
        }
        halves::connected(conn);
        self.reached(desk, key);
    }

    /// The handshake with a server is over.
    pub(in crate::shard) fn secured(&mut self, desk: &mut Desk, key: Key) {
        let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return };
        halves::secured(conn);
        self.reached(desk, key);
    }

    /// A server takes requests on this connection: it gets the one that it was dialled for.
    fn reached(&mut self, desk: &mut Desk, key: Key) {
        let Some(conn) = desk.slots.get_mut(key) else { return };
        let client = halves::upstream(&mut conn.session).and_then(|upstream| upstream.partner);
        match client {
            Some(client) => self.pair(desk, client, key),
            None => desk.broken(key, CloseReason::Normal),
        }
    }

    /// The request goes to its server on this connection.
    fn pair(&mut self, desk: &mut Desk, client: Key, server: Key) {
        let (settings, now) = (&desk.settings, desk.now);
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let Some(proxying) = halves::proxying(&mut conn.session) else { return };
        proxying.partner = Some(server);
        proxying.journey.connected = Some(now);
        let (head, waits) = (proxying.take_head(), proxying.request.waits);
        let host = proxying.place.filter(|_| proxying.request.names_server).and_then(|id| {
            let rule = settings.generation.upstreams.get(usize::from(id.upstream.0))?;
            Some(rule.servers.get(usize::from(id.server))?.host())
        });
        let awaited = proxying.awaited();
        let is_whole = halves::begin(conn, settings, now);
        let Some(conn) = desk.slots.get_mut(server) else { return };
        halves::ask(conn, client, (&head, host, awaited), waits, now + settings.generation.send_timeout);
        if is_whole {
            halves::asked(conn, now);
        }
        if let Some(proxying) = half_of(desk, client) {
            proxying.put_head_back(head);
        }
        sums::weigh(desk, client);
        for key in [client, server] {
            desk.mark_dirty(key);
            desk.schedule(key);
        }
        match is_whole {
            // Its end is to be noticed.
            true => desk.work.receive.push(client),
            false => desk.work.resume.push_back(client),
        }
    }

    // --- bytes -----------------------------------------------------------------------------------------------------------

    fn forward(&mut self, desk: &mut Desk, client: Key, piece: &[u8], is_last: bool) {
        let Some(proxying) = half_of(desk, client) else { return };
        let Some((server, framed)) = proxying.goes_to() else { return };
        let Some(conn) = desk.slots.get_mut(server) else { return };
        let is_full = halves::ask_on(conn, |out| framed.write(out, piece));
        if is_last {
            return self.asked(desk, client);
        }
        desk.mark_dirty(server);
        if is_full && let Some(proxying) = half_of(desk, client) {
            self.stopped += usize::from(!std::mem::replace(&mut proxying.is_stopped, true));
        }
    }

    fn asked(&mut self, desk: &mut Desk, client: Key) {
        let now = desk.now;
        let Some((server, framed)) = half_of(desk, client).and_then(|proxying| proxying.goes_to()) else { return };
        let Some(conn) = desk.slots.get_mut(server) else { return };
        halves::ask_on(conn, |out| out.extend_from_slice(framed.end()));
        halves::asked(conn, now);
        desk.mark_dirty(server);
        desk.schedule(server);
        desk.work.receive.push(client);
    }

    fn said(&mut self, desk: &mut Desk, server: Key, said: UpstreamStep<'_>) {
        let half = desk.slots.get_mut(server).and_then(|conn| halves::upstream(&mut conn.session));
        let Some(client) = half.and_then(|half| half.partner) else { return desk.broken(server, CloseReason::Normal) };
        match said {
            UpstreamStep::Interim(head) => {
                if let Some(conn) = desk.slots.get_mut(client) {
                    halves::interim(conn, &head);
                    desk.mark_dirty(client);
                }
            }
            UpstreamStep::Answer(head) => self.answer(desk, client, server, &head),
            UpstreamStep::Switched(head) => self.switched(desk, client, server, &head),
            UpstreamStep::Part(piece) => self.part(desk, client, server, piece),
            UpstreamStep::End(keeps) => {
                self.part_from(desk, client, server);
                self.keep(desk, server, keeps);
                self.complete(desk, client);
            }
        }
    }

    fn answer(&mut self, desk: &mut Desk, client: Key, server: Key, head: &AnswerHead<'_>) {
        let (settings, now) = (&desk.settings, desk.now);
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let Some(proxying) = halves::proxying(&mut conn.session) else { return };
        let stream_idle = proxying.request.stream_idle;
        let mark = new_mark(proxying, settings);
        let place = proxying.place;
        (proxying.journey.answered, proxying.journey.status) = (Some(now), head.status);
        let is_event_stream = halves::answer(conn, head, mark.as_deref(), settings, now);
        if is_event_stream {
            access::travelled(conn, client, settings);
            access::stream_begun(client, settings, now);
        }
        // The head of the request is kept no longer.
        sums::weigh(desk, client);
        if let Some(id) = place {
            self.upstreams.answered(id, now);
            desk.counters().server(id).inspect(|server| server.answered.add(1));
        }
        desk.mark_dirty(client);
        desk.schedule(client);
        if let Some(conn) = desk.slots.get_mut(server) {
            if is_event_stream {
                halves::await_events(conn, stream_idle);
            }
            halves::await_part(conn, now);
            desk.schedule(server);
        }
    }

    fn part(&mut self, desk: &mut Desk, client: Key, server: Key, piece: &[u8]) {
        let now = desk.now;
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let is_full = halves::answer_on(conn, piece);
        if let Some(proxying) = halves::proxying(&mut conn.session) {
            proxying.journey.passed_on += piece.len() as u64;
        }
        if self.checks.len() > 0 {
            // A server's words about a client are kept.
            sums::weigh(desk, client);
        }
        desk.mark_dirty(client);
        let Some(conn) = desk.slots.get_mut(server) else { return };
        halves::await_part(conn, now);
        if is_full && let Some(half) = halves::upstream(&mut conn.session) {
            self.stopped += usize::from(!std::mem::replace(&mut half.is_stopped, true));
        }
    }

    /// The answer is whole: the client's connection goes on, or ends.
    fn complete(&mut self, desk: &mut Desk, client: Key) {
        self.checks.over(client);
        let Some(conn) = desk.slots.get_mut(client) else { return };
        let is_request = access::travelled(conn, client, &desk.settings);
        let after = halves::answered(conn, &desk.settings, desk.now);
        if is_request {
            access::passed_on(client, &desk.settings, desk.now);
        }
        go_on(desk, client, after);
    }

    /// The connection is idle, or of no use.
    fn keep(&mut self, desk: &mut Desk, server: Key, keeps: Option<Keeps>) {
        let now = desk.now;
        let may_keep = desk.settings.readiness != Readiness::Closing;
        let Some(conn) = desk.slots.get_mut(server) else { return };
        let Some(half) = halves::upstream(&mut conn.session) else { return };
        let (id, served) = (half.server, half.served);
        let is_there = self.upstreams.is_at(id, conn.link.peer().address());
        let until = match keeps {
            Some(Keeps(announced)) if may_keep && is_there => self.upstreams.keep(id, server, served, announced, now),
            _ => None,
        };
        match until {
            Some(until) => {
                halves::keep(conn, until);
                desk.schedule(server);
            }
            None => desk.broken(server, CloseReason::Normal),
        }
    }

    /// A send to `key` has completed: its partner may go on, and the end of what the partner has said may follow.
    fn go_on_after(&mut self, desk: &mut Desk, key: Key) {
        if tunnels::tunnel_of(desk, key).is_some_and(|tunnel| tunnel.owes_fin()) {
            desk.mark_dirty(key);
        }
        let Some(conn) = desk.slots.get(key) else { return };
        if conn.link.waiting_bytes() > limits::OUTBOX_BYTES_PAUSE / 2 {
            return;
        }
        let Some(other) = halves::partner(&conn.session) else { return };
        let Some(conn) = desk.slots.get_mut(other) else { return };
        if halves::release(&mut conn.session) {
            self.stopped -= 1;
            desk.work.resume.push_back(other);
        }
    }

    /// Both halves are for themselves again, and the place in the server is free.
    fn part_from(&mut self, desk: &mut Desk, client: Key, server: Key) {
        self.change(desk.now);
        if let Some(half) = desk.slots.get_mut(server).and_then(|conn| halves::upstream(&mut conn.session)) {
            half.partner = None;
            self.stopped -= usize::from(std::mem::take(&mut half.is_stopped));
        }
        if let Some(proxying) = half_of(desk, client) {
            proxying.partner = None;
            self.stopped -= usize::from(std::mem::take(&mut proxying.is_stopped));
            if let Some(id) = proxying.place.take() {
                self.upstreams.done(id);
            }
        }
    }
}

impl Feature for Proxy {
    #[inline]
    fn connection_sent(&mut self, desk: &mut Desk, key: Key) {
        if self.stopped | self.half_closed != 0 {
            self.go_on_after(desk, key);
        }
    }

    fn work(&mut self, desk: &mut Desk) -> bool {
        self.look_for_returns(desk.now);
        if self.end_late_check(desk) {
            return true;
        }
        if self.upstreams.deadline() > desk.now {
            return false;
        }
        let draw = self.draw();
        let Some((client, picked)) = self.upstreams.next_waiter(draw, desk.now) else { return false };
        self.begin(desk, client, picked);
        true
    }

    #[inline]
    fn deadline(&self, _now: Tick, _is_crowded: bool) -> Tick {
        self.upstreams.deadline().min(self.returns_at).min(self.checks.next_end())
    }

    fn measure(&self, counters: &Counters) {
        if self.has_changed.replace(false) {
            self.measure_servers(counters);
        }
    }

    fn count(&self, census: &mut Census) {
        census.stopped_halves = self.stopped;
        census.server_checks = self.checks.len();
    }
}

/// The cookie that says the server, for a client that does not know it.
fn new_mark(proxying: &Proxying, settings: &Settings) -> Option<String> {
    let id = proxying.place.filter(|_| proxying.is_unmarked)?;
    let rule = settings.generation.upstreams.get(usize::from(id.upstream.0))?;
    let mark = rule.servers.get(usize::from(id.server))?.mark;
    Some(mark.set_cookie(rule.sticky.as_deref()?, proxying.request.is_secure))
}

/// An answer is written: the client's connection goes on, or ends.
fn go_on(desk: &mut Desk, client: Key, after: After) {
    match after {
        After::Close => desk.end(client, CloseReason::Normal),
        After::KeepOpen => desk.work.resume.push_back(client),
    }
    sums::weigh(desk, client);
    desk.mark_dirty(client);
    desk.schedule(client);
}

/// The client's half.
fn half_of(desk: &mut Desk, client: Key) -> Option<&mut Proxying> {
    halves::proxying(&mut desk.slots.get_mut(client)?.session)
}
