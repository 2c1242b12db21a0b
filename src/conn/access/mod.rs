//! The access log of a shard: what is known of each request in hand, and the lines that wait for the thread that writes them.
//!
//! ```text
//!  head --begin--> entry --admitted--> answered, refused ----------------------------------.
//!                            |-------> a stream: [open] .. the connection ends ------------+--> a line --take_due--> the writer
//!                            '-------> the shard or a server answers: answered, passed_on -'
//! ```
//!
//! - **ONE LINE**: an entry is taken out of the table by the line that ends it, and a connection has one entry at most. So each
//!   request has one line, and each stream one for its end, whatever ends it ([`LastEntry`]).
//! - Entries are in a table by connection, and exist only if the configuration has an `[access_log]`. Without one nothing is
//!   kept, and no clock is read.
//! - The status and the length of an answer are read off what was written: the log says what the client gets.

mod entry;
pub mod journey;
pub mod lines;

use super::front::AdmissionOutcome;
use super::http::Http;
use super::link::Link;
use super::session::Phase;
use super::settings::{Generation, Settings};
use super::{Conn, Door, Identity, halves};
use crate::base::{Address, Key, TcpFacts, Tick};
use crate::conn::admission::request::{ClientRequest, own_id};
use crate::conn::session::identity;
use crate::proto::CloseReason;
use crate::proto::access::{AccessLine, LineKind, LineProxied};
use crate::proto::http::{Framing, TraceContext, TraceText};

use entry::{AccessEntry, HeadText, Proxied};
use journey::Journey;
use lines::{AccessRule, EndedStream, Lines};

/// The end of a request or a stream, or the begin of one.
#[derive(Clone, Copy, Default)]
struct Outcome {
    status: u16,
    reason: Option<CloseReason>,
    response_bytes: Option<u64>,
    queued: Option<u64>,
    tcp: Option<TcpFacts>,
}

/// The answer that begins at `from` of what was written; `None` if nothing was.
fn answer_written(written: &[u8], from: usize) -> Option<Outcome> {
    let answer = written.get(from..).filter(|answer| !answer.is_empty())?;
    let status = answer.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let head_end = memchr::memmem::find(answer, b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body_bytes = (answer.len() - head_end) as u64;
    Some(Outcome { status: status.unwrap_or(0), response_bytes: Some(body_bytes), ..Outcome::default() })
}

impl Lines {
    /// Adds a line about an entry.
    fn tell(
        &mut self,
        (rule, generation): (&AccessRule, &Generation),
        entry: &AccessEntry,
        kind: LineKind,
        outcome: Outcome,
        now: Tick,
    ) {
        let proxied = entry.proxied.as_ref().and_then(|proxied| line_of_servers(generation, proxied));
        let trace = entry.trace.as_ref().map(TraceContext::text);
        let line = AccessLine {
            unix_ms: (rule.unix_ms)(),
            kind,
            id: &entry.id,
            trace: trace.as_ref().map(TraceText::id),
            client: entry.client.ip(),
            peer: (entry.peer != entry.client).then(|| entry.peer.ip()),
            listener: rule.listeners.get(usize::from(entry.listener)).map_or("", |address| address),
            is_tls: entry.is_tls,
            head: entry.head.as_ref().map(HeadText::line),
            route: entry.route.map(|route| &*generation.routes[route].template),
            status: outcome.status,
            reason: outcome.reason.filter(|reason| *reason != CloseReason::Normal).map(|reason| reason.row().name),
            user: entry.user.as_deref(),
            auth: entry.auth.and_then(|auth| generation.auths.name(auth)),
            lasted: now.since(entry.began),
            request_bytes: entry.request_bytes,
            response_bytes: outcome.response_bytes,
            proxied,
            queued: outcome.queued,
            lost: entry.lost,
            tcp: outcome.tcp,
        };
        self.push(&line, rule.format, now);
    }
}

fn line_of_servers<'g>(generation: &'g Generation, proxied: &Proxied) -> Option<LineProxied<'g>> {
    let rule = generation.upstreams.get(usize::from(proxied.upstream.0))?;
    let Journey { server, attempts, is_reused, connected, answered, .. } = proxied.journey;
    let server = server.and_then(|server| rule.servers.get(usize::from(server.server)));
    Some(LineProxied {
        upstream: &rule.name,
        server: server.map(|server| &*server.text),
        attempts,
        is_reused,
        connect: connected.map(|connected| connected.since(proxied.began)),
        answer: connected.zip(answered).map(|(connected, answered)| answered.since(connected)),
    })
}

// --- a request's way through its connection ------------------------------------------------------------------------------

/// The head of a request was read; `None`: it could not be.
pub(super) fn begin(
    (http, link): (&Http, &Link),
    request: Option<&ClientRequest<'_, '_>>,
    address: Address,
    settings: &Settings,
    now: Tick,
) {
    let Some(rule) = &settings.generation.access else { return };
    // One that waits in its admission has begun before.
    if settings.access.with(|lines| lines.entries.contains_key(&address.key)) {
        return;
    }
    let id = match request {
        Some(request) => request.id(),
        None => own_id(settings.process.conn_id(address), http.answered).into(),
    };
    let head = request.map(|request| request.head);
    let entry = AccessEntry {
        began: now,
        id: id.into(),
        trace: request.map(ClientRequest::trace),
        client: link.peer,
        peer: http.proxy.unwrap_or(link.peer),
        listener: http.listener(),
        is_tls: link.transport.is_tls(),
        head: head.map(|head| HeadText::of(head, &rule.secrets)),
        route: None,
        user: None,
        auth: None,
        request_bytes: head.and_then(|head| match head.body {
            Framing::None => Some(0),
            Framing::Length(bytes) => Some(bytes),
            Framing::Chunked | Framing::UntilEnd => None,
        }),
        stream: None,
        lost: 0,
        proxied: None,
    };
    settings.access.with(|lines| _ = lines.entries.insert(address.key, entry));
}

/// The stages of admission have come to this outcome; what they have written begins at `from`.
pub(super) fn admitted(
    request: &ClientRequest<'_, '_>,
    outcome: &AdmissionOutcome,
    (written, from): (&[u8], usize),
    key: Key,
    settings: &Settings,
    now: Tick,
) {
    let Some(rule) = &settings.generation.access else { return };
    let around = (&**rule, &*settings.generation);
    let (user, route) = match outcome {
        AdmissionOutcome::EventStream { client, route, .. }
        | AdmissionOutcome::WebSocket { identity: client, route, .. }
        | AdmissionOutcome::Centrifuge { client, route, .. }
        | AdmissionOutcome::Proxy { client, route, .. } => (client.user(), Some(*route)),
        AdmissionOutcome::Accept(accepting) => (accepting.user(), request.routed()),
        AdmissionOutcome::Read { route, .. } => (None, Some(*route)),
        AdmissionOutcome::Answered { .. } | AdmissionOutcome::Refused(_) => (None, request.routed()),
    };
    let is_certified = request.evidence.certificate.is_some();
    let auth = route.and_then(|route| request.check?.deciding(request.head, request.route(route), is_certified));
    let answer = answer_written(written, from).unwrap_or_default();
    settings.access.with(|lines| {
        let Some(entry) = lines.entries.get_mut(&key) else { return };
        entry.user = user.map(|user| user.name().into());
        (entry.route, entry.auth) = (route, auth);
        let outcome = match outcome {
            AdmissionOutcome::Accept(_) | AdmissionOutcome::Proxy { .. } | AdmissionOutcome::Read { .. } => return,
            AdmissionOutcome::Answered { .. } => answer,
            AdmissionOutcome::Refused(refused) => Outcome { reason: Some(refused.reason), ..answer },
            AdmissionOutcome::EventStream { .. }
            | AdmissionOutcome::WebSocket { .. }
            | AdmissionOutcome::Centrifuge { .. } => return lines.open(around, key, answer.status, now),
        };
        if let Some(entry) = lines.entries.remove(&key) {
            lines.tell(around, &entry, LineKind::Request, outcome, now);
        }
    });
}

impl Lines {
    /// The last line of an entry.
    fn tell_last(
        &mut self,
        around: (&AccessRule, &Generation),
        key: Key,
        entry: AccessEntry,
        outcome: Outcome,
        now: Tick,
    ) {
        match entry.stream {
            Some(_) if around.0.tells_tcp => self.ended.push(EndedStream { key, entry, outcome }),
            Some(_) => self.tell(around, &entry, LineKind::End, outcome, now),
            None => self.tell(around, &entry, LineKind::Request, outcome, now),
        }
    }

    /// The entry is that of a stream from now on.
    fn open(&mut self, around: (&AccessRule, &Generation), key: Key, status: u16, now: Tick) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        entry.stream = Some(status);
        entry.head.iter_mut().for_each(HeadText::shrink);
        if around.0.tells_opens {
            self.tell(around, &entry, LineKind::Open, Outcome { status, ..Outcome::default() }, now);
        }
        self.entries.insert(key, entry);
    }
}

// --- what the shard does with it -----------------------------------------------------------------------------------------

/// Where an answer begins that is about to be written; `None` without a log.
pub fn before_answer(conn: &Conn, settings: &Settings) -> Option<usize> {
    settings.generation.access.as_ref().map(|_| conn.link.outbox.written().len())
}

/// The answer to the connection's request was written, if it has one in hand: from there on. `reason`: why it is a refusal.
pub fn answered(
    conn: &mut Conn,
    (key, from): (Key, Option<usize>),
    reason: Option<CloseReason>,
    settings: &Settings,
    now: Tick,
) {
    let (Some(rule), Some(from)) = (&settings.generation.access, from) else { return };
    let Some(answer) = answer_written(conn.link.outbox.written(), from) else { return };
    settings.access.with(|lines| {
        let Some(entry) = lines.entries.remove(&key) else { return };
        if entry.stream.is_some() {
            lines.entries.insert(key, entry);
            return;
        }
        let outcome = Outcome { reason, ..answer };
        lines.tell((rule, &settings.generation), &entry, LineKind::Request, outcome, now);
    });
}

/// The journey of the connection's request has come so far: to the end of its answer, its refusal, or a stream that begins.
/// False if that is not the request itself, but a question to a server whether its client is let in.
pub fn travelled(conn: &mut Conn, key: Key, settings: &Settings) -> bool {
    if halves::is_check(&conn.session) {
        return false;
    }
    note_journey(conn, key, settings);
    true
}

fn note_journey(conn: &mut Conn, key: Key, settings: &Settings) {
    if settings.generation.access.is_none() {
        return;
    }
    let Some(half) = halves::proxying(&mut conn.session) else { return };
    let (upstream, journey, began) = (half.request.upstream, half.journey, half.began);
    let arrived = half.arrived();
    settings.access.with(|lines| {
        if let Some(entry) = lines.entries.get_mut(&key) {
            entry.proxied = Some(Proxied { upstream, journey, began });
            entry.request_bytes = Some(arrived);
        }
    });
}

/// The answer of a server was passed on to its end. Its journey is known ([`travelled`]).
pub fn passed_on(key: Key, settings: &Settings, now: Tick) {
    let Some(rule) = &settings.generation.access else { return };
    settings.access.with(|lines| {
        let Some(entry) = lines.entries.remove(&key) else { return };
        let journey = entry.proxied.map(|proxied| proxied.journey).unwrap_or_default();
        let outcome = Outcome { status: journey.status, response_bytes: Some(journey.passed_on), ..Outcome::default() };
        lines.tell_last((rule, &settings.generation), key, entry, outcome, now);
    });
}

/// Events were lost for a client: its stream tells how many.
#[cold]
pub fn lost(key: Key, count: u64, settings: &Settings) {
    if settings.generation.access.is_some() {
        settings.access.with(|lines| lines.entries.get_mut(&key).map(|entry| entry.lost += count));
    }
}

/// The streams that have ended in this turn: their last lines, with what TCP knows. Before their sockets are closed.
pub fn tell_ends(settings: &Settings, mut facts: impl FnMut(Key) -> Option<TcpFacts>, now: Tick) {
    let Some(rule) = settings.generation.access.as_ref().filter(|rule| rule.tells_tcp) else { return };
    settings.access.with(|lines| {
        for EndedStream { key, entry, outcome } in std::mem::take(&mut lines.ended) {
            let outcome = Outcome { tcp: facts(key), ..outcome };
            lines.tell((rule, &settings.generation), &entry, LineKind::End, outcome, now);
        }
    });
}

/// A server has begun a stream: of events, or a WebSocket. Its journey is known ([`travelled`]).
pub fn stream_begun(key: Key, settings: &Settings, now: Tick) {
    let Some(rule) = &settings.generation.access else { return };
    settings.access.with(|lines| {
        let proxied = lines.entries.get(&key).and_then(|entry| entry.proxied);
        let status = proxied.map_or(0, |proxied| proxied.journey.status);
        lines.open((rule, &settings.generation), key, status, now);
    });
}

/// The facts about a connection that is about to end, for the line about its request or stream.
pub struct LastEntry {
    key: Key,
    /// Where its last words begin.
    from: usize,
    queued: u64,
    user: Option<Box<str>>,
    /// The connection speaks HTTP, and has no stream.
    is_http: bool,
}

impl LastEntry {
    /// `None` without a log, and for peers that are no clients.
    pub fn of(conn: &mut Conn, address: Address, settings: &Settings, now: Tick) -> Option<LastEntry> {
        settings.generation.access.as_ref()?;
        if conn.link.door() != Door::Front {
            return None;
        }
        let key = address.key;
        travelled(conn, key, settings);
        let is_asked = matches!(&conn.session.phase, Phase::Http(http) if http.is_asked());
        if let Phase::Http(http) = &conn.session.phase
            && is_asked
            && settings.access.with(|lines| !lines.entries.contains_key(&key))
        {
            // The connection ends within a head; that is a request only if it is answered.
            begin((http, &conn.link), None, address, settings, now);
        }
        Some(LastEntry {
            key,
            from: conn.link.outbox.written().len(),
            queued: conn.link.waiting_bytes() as u64,
            user: identity(&conn.session).and_then(Identity::user).map(|user| user.name().into()),
            is_http: matches!(conn.session.phase, Phase::Http(_)),
        })
    }

    /// The connection has ended for `reason`.
    pub fn tell(self, conn: &Conn, reason: CloseReason, settings: &Settings, now: Tick) {
        let Some(rule) = &settings.generation.access else { return };
        let answer = answer_written(conn.link.outbox.written(), self.from).filter(|_| self.is_http);
        settings.access.with(|lines| {
            let Some(mut entry) = lines.entries.remove(&self.key) else { return };
            if self.user.is_some() {
                entry.user = self.user;
            }
            let reason = Some(reason);
            let journey = entry.proxied.map(|proxied| proxied.journey).filter(|journey| journey.status > 0);
            let response_bytes = journey.filter(|_| self.is_http).map(|journey| journey.passed_on);
            let outcome = match (entry.stream, journey, answer) {
                (Some(status), ..) => {
                    let queued = Some(self.queued);
                    Outcome { status, reason, response_bytes, queued, tcp: None }
                }
                (None, Some(journey), _) => {
                    Outcome { status: journey.status, reason, response_bytes, ..Outcome::default() }
                }
                (None, None, Some(answer)) => Outcome { reason, ..answer },
                // Not a request: nothing whole has arrived, and nothing was answered.
                (None, None, None) if entry.head.is_none() => return,
                (None, None, None) => {
                    let status = if reason.is_some_and(CloseReason::is_departure) { CLIENT_LEFT } else { 0 };
                    Outcome { status, reason, ..Outcome::default() }
                }
            };
            lines.tell_last((rule, &settings.generation), self.key, entry, outcome, now);
        });
    }
}

/// The status that nginx has made usual for a client that leaves before its answer.
const CLIENT_LEFT: u16 = 499;
