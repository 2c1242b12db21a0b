//! The two halves of a proxied request, as the shard handles them: its calls to each, and what it asks about both.
//!
//! ```text
//!  client's half: queue, begin, interim, answer, answer_on .. answered | refuse
//!  upstream's half: dial, connected, ask, ask_on .. asked, await_part .. keep
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::answers::checked;
use super::checking::ForwardCheck;
use super::forward_auth::ForwardVerdict;
use super::http::{After, HttpState};
use super::inquiry::InquiryAnswer;
use super::link::{self, Link};
use super::outbox::Outbox;
use super::peer::retry_after_s;
use super::proxying::{ProxyStage, Proxying};
use super::session::{Phase, Session};
use super::settings::{Readiness, Settings};
use super::upstream::{AwaitedAnswer, Upstream, UpstreamState, Waits};
use super::{Conn, Door, Transport};
use crate::base::{Key, Remote, Tick};
use crate::proto::CloseReason;
use crate::proto::http::{AnswerHead, Framed, go_on, insert_host, write_answer, write_interim};
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::ServerId;

/// The client's half of a proxied request, if it has one in hand.
pub fn proxying(session: &mut Session) -> Option<&mut Proxying> {
    match &mut session.phase {
        Phase::Http(http) => match &mut http.state {
            HttpState::Proxying(half) => Some(half),
            HttpState::Checking(checking) => checking.forward.as_mut().map(|check| &mut check.proxying),
            _ => None,
        },
        _ => None,
    }
}

/// The question to a server whether the client is let in, if that is the half that it has in hand.
fn check(session: &mut Session) -> Option<&mut ForwardCheck> {
    match &mut session.phase {
        Phase::Http(http) => match &mut http.state {
            HttpState::Checking(checking) => checking.forward.as_deref_mut(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether its half is the question to a server whether the client is let in.
pub fn is_check(session: &Session) -> bool {
    match &session.phase {
        Phase::Http(http) => matches!(&http.state, HttpState::Checking(checking) if checking.forward.is_some()),
        _ => false,
    }
}

/// When such a question has to be answered.
pub fn check_until(session: &mut Session) -> Option<Tick> {
    check(session).map(|check| check.proxying.began + check.proxying.request.waits.answer)
}

/// The server has said all about the client, or nothing of use: its request goes on.
fn judge(conn: &mut Conn, verdict: ForwardVerdict) -> After {
    checked(conn, InquiryAnswer::Judged(verdict));
    After::KeepOpen
}

/// The server has not said in time whether the client is let in: its request goes on.
pub fn leave_unclear(conn: &mut Conn) {
    judge(conn, ForwardVerdict::Unclear);
}

/// Whether it waits for the server of its request, for its admission, or for a decision about its command.
pub fn awaits_server(session: &Session) -> bool {
    match &session.phase {
        Phase::Http(http) => match &http.state {
            HttpState::Proxying(half) => half.awaits_server(),
            HttpState::Checking(checking) => !checking.is_answered(),
            _ => false,
        },
        Phase::Centrifuge(centrifuge) => centrifuge.asked.is_open(),
        _ => false,
    }
}

/// The deadline of a half has come; see [`Proxying::on_deadline`]. `None`: it is none.
pub(super) fn deadline(
    session: &mut Session,
    progress: Option<Option<u32>>,
    settings: &Settings,
    now: Tick,
) -> Option<Result<Duration, CloseReason>> {
    if let Phase::Tunnel(tunnel) = &session.phase {
        return Some(tunnel.on_deadline(progress, settings, now));
    }
    if let Phase::Upstream(half) = &session.phase {
        return Some(half.on_deadline(progress, settings));
    }
    if is_check(session) {
        // The shard's proxy ends it before.
        return None;
    }
    proxying(session).map(|half| half.on_deadline(progress, settings))
}

/// Whether a client that ends its half has gone: it waits for a server, which is better freed of the work, or reads a stream of
/// events, which has no end of its own. The end of a client's half is not always the end of the client (RFC 9112 section 9.6), but
/// few go on reading, and their end cannot be told from that of the others.
pub fn ends_with_client(session: &Session) -> bool {
    let Phase::Http(http) = &session.phase else { return false };
    match &http.state {
        HttpState::Proxying(half) => half.is_event_stream || !half.has_begun_answer(),
        HttpState::Checking(checking) => checking.forward.is_some(),
        _ => false,
    }
}

/// The partner of a half, if it has one.
pub fn partner(session: &Session) -> Option<Key> {
    match &session.phase {
        Phase::Upstream(half) => half.partner,
        Phase::Tunnel(half) => half.partner,
        Phase::Http(http) => match &http.state {
            HttpState::Proxying(half) => half.partner,
            HttpState::Checking(checking) => checking.forward.as_ref()?.proxying.partner,
            _ => None,
        },
        _ => None,
    }
}

/// Its partner takes bytes again. True if the half was stopped.
pub fn release(session: &mut Session) -> bool {
    if let Phase::Upstream(half) = &mut session.phase {
        return std::mem::take(&mut half.is_stopped);
    }
    if let Phase::Tunnel(half) = &mut session.phase {
        return std::mem::take(&mut half.is_stopped);
    }
    proxying(session).is_some_and(|half| std::mem::take(&mut half.is_stopped))
}

/// Whether it has a half of a proxied request, or may have one.
pub fn is_proxied(session: &Session) -> bool {
    match &session.phase {
        Phase::Http(http) => matches!(http.state, HttpState::Proxying(_)) || is_check(session),
        Phase::Upstream(_) | Phase::Tunnel(_) => true,
        _ => false,
    }
}

/// The upstream's half, if it is one.
pub fn upstream(session: &mut Session) -> Option<&mut Upstream> {
    match &mut session.phase {
        Phase::Upstream(half) => Some(half),
        _ => None,
    }
}

/// Its server gets it now. True if it has no body: it is whole.
pub fn begin(conn: &mut Conn, settings: &Settings, now: Tick) -> bool {
    let is_check = is_check(&conn.session);
    let Some(half) = proxying(&mut conn.session) else { return false };
    half.stage = ProxyStage::Asked;
    half.is_whole |= half.body.is_over();
    if is_check {
        return true;
    }
    let (is_whole, expects) = (half.is_whole, std::mem::take(&mut half.is_expectant));
    if expects && !is_whole {
        conn.link.outbox.write(go_on);
    }
    let patience = if is_whole { settings.generation.send_timeout } else { settings.generation.body_timeout };
    conn.link.wait_until(now + patience);
    is_whole
}

/// Waits for a place in a server until then.
pub fn queue(conn: &mut Conn, until: Tick) {
    let is_check = is_check(&conn.session);
    if let Some(half) = proxying(&mut conn.session) {
        half.stage = ProxyStage::Queued;
        if !is_check {
            conn.link.wait_until(until);
        }
    }
}

/// Passes on an answer that another one follows, to clients that know of such answers.
pub fn interim(conn: &mut Conn, head: &AnswerHead<'_>) {
    if is_check(&conn.session) {
        return;
    }
    if proxying(&mut conn.session).is_some_and(|half| half.to.minor_version == 1 && !half.has_begun_answer()) {
        conn.link.outbox.write(|out| write_interim(out, head));
    }
}

/// Passes on the head of the answer, with the server's mark if there is one to set.
/// Returns whether a stream of events follows.
pub fn answer(
    conn: &mut Conn,
    head: &AnswerHead<'_>,
    set_cookie: Option<&str>,
    settings: &Settings,
    now: Tick,
) -> bool {
    if let Some(check) = check(&mut conn.session) {
        check.proxying.stage = ProxyStage::Answering;
        if let Some(auth) = settings.check().and_then(|credentials| credentials.forward(check.auth)) {
            check.hear(auth, head, (settings.process.unix_time)());
        }
        return false;
    }
    let Some(half) = proxying(&mut conn.session) else { return false };
    let is_last = !half.is_whole || settings.readiness == Readiness::Closing;
    let to = if is_last { half.to.closing() } else { half.to };
    let is_event_stream = head.is_event_stream();
    let mut passed = (Framed::Bare, false);
    let access = half.access();
    let unix_time = settings.process.unix_time;
    conn.link.outbox.write(|out| passed = write_answer(out, head, to, set_cookie, access, unix_time));
    if let Some(half) = proxying(&mut conn.session) {
        (half.answer, half.to.keep_alive) = passed;
        half.stage = ProxyStage::Answering;
        half.is_event_stream = is_event_stream;
        half.head = Vec::new();
        if half.is_whole {
            conn.link.wait_until_unless_stuck(now + settings.generation.send_timeout);
        }
    }
    is_event_stream
}

/// Passes on a piece of the answer's body. True if so much waits for the client that no more should come.
pub fn answer_on(conn: &mut Conn, piece: &[u8]) -> bool {
    if let Some(check) = check(&mut conn.session) {
        check.hear_on(piece);
        return false;
    }
    if let Some(framed) = proxying(&mut conn.session).map(|half| half.answer) {
        conn.link.outbox.write(|out| framed.write(out, piece));
    }
    conn.link.is_full()
}

/// The answer is whole.
pub fn answered(conn: &mut Conn, settings: &Settings, now: Tick) -> After {
    if let Some(check) = check(&mut conn.session) {
        let verdict = check.take_verdict();
        return judge(conn, verdict);
    }
    let Phase::Http(http) = &mut conn.session.phase else { return After::KeepOpen };
    let HttpState::Proxying(half) = &http.state else { return After::KeepOpen };
    let (framed, keep_alive) = (half.answer, half.to.keep_alive);
    conn.link.outbox.push(framed.end());
    conn.link.wait_until_unless_stuck(now + settings.generation.keep_alive_timeout);
    http.after(keep_alive)
}

/// Answers that there is no answer.
pub fn refuse(conn: &mut Conn, reason: CloseReason, settings: &Settings, now: Tick) -> After {
    if is_check(&conn.session) {
        return judge(conn, ForwardVerdict::Unclear);
    }
    let retry_after_s = retry_after_s(conn.link.peer);
    let Phase::Http(http) = &mut conn.session.phase else { return After::KeepOpen };
    let HttpState::Proxying(half) = &http.state else { return After::KeepOpen };
    let keep_alive = half.refuse(reason, retry_after_s, false, &mut conn.link.outbox);
    conn.link.wait_until_unless_stuck(now + settings.generation.keep_alive_timeout);
    http.after(keep_alive)
}

/// A connection that the driver is about to dial, for the request of `partner`.
pub fn dial(server: ServerId, partner: Key, to: &Remote, deadline: Tick) -> Conn {
    let peer = match to {
        Remote::Tcp(address) => *address,
        Remote::Unix(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    };
    let mut link = Link::new(peer, Door::Upstream, Transport::Plain, Outbox::default(), deadline);
    link::begin_dial(&mut link);
    Conn { link, session: Session::new(Phase::Upstream(Box::new(Upstream::dialled(server, partner)))) }
}

/// The driver has connected it.
pub fn connected(conn: &mut Conn) {
    link::end_dial(&mut conn.link);
    secured(conn);
}

/// The driver has connected it, and TLS begins: the request waits for the end of the handshake.
pub fn connected_to(conn: &mut Conn, tls: &ServersTls, server: ServerId) -> Result<(), CloseReason> {
    link::end_dial(&mut conn.link);
    let name = tls.names.get(usize::from(server.server)).ok_or(CloseReason::TlsInternal)?;
    conn.link.transport = Transport::tls_to(&tls.config, name.clone())?;
    Ok(())
}

/// It is there for requests: connected, and after the handshake where there is one.
pub fn secured(conn: &mut Conn) {
    if let Some(half) = upstream(&mut conn.session) {
        half.connected();
    }
}

/// Sends the head of a request of `partner`.
/// `until`: when the rest of the request, or its answer, is looked for.
/// `host`: if the head lacks it.
pub fn ask(
    conn: &mut Conn,
    partner: Key,
    (head, host, awaited): (&[u8], Option<&str>, AwaitedAnswer),
    waits: Waits,
    until: Tick,
) {
    if let Some(half) = upstream(&mut conn.session) {
        half.ask(partner, awaited, waits);
        match host {
            Some(host) => conn.link.outbox.write(|out| insert_host(out, head, host)),
            None => conn.link.outbox.push(head),
        }
        conn.link.wait_until(until);
    }
}

/// Sends what `write` writes of a request's body, if the server still takes it. True if so much waits for it that no more
/// should come.
pub fn ask_on(conn: &mut Conn, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    if upstream(&mut conn.session).is_some_and(|half| !half.is_deaf) {
        conn.link.outbox.write(write);
    }
    conn.link.is_full()
}

/// The request is whole: its answer is awaited from now on.
pub fn asked(conn: &mut Conn, now: Tick) {
    if let Some(half) = upstream(&mut conn.session) {
        half.is_request_whole = true;
        if matches!(half.state, UpstreamState::Asking) {
            let until = now + half.waits.answer;
            conn.link.wait_until(until);
        }
    }
}

/// It takes nothing more. True if it may still say something: a server that answers before the end of a request, and closes,
/// resets what is sent to it after that.
pub fn is_deafened(conn: &mut Conn) -> bool {
    match upstream(&mut conn.session) {
        Some(half) if half.partner.is_some() => {
            half.is_deaf = true;
            conn.link.outbox.drop_pending();
            true
        }
        _ => false,
    }
}

/// It is idle until then.
pub fn keep(conn: &mut Conn, until: Tick) {
    conn.link.wait_until(until);
}

/// Its answer is an event stream, and may be silent for so long.
pub fn await_events(conn: &mut Conn, idle: Duration) {
    if let Some(half) = upstream(&mut conn.session) {
        half.waits.idle = idle;
    }
}

/// The head of its answer, or a piece of it, has arrived: the next one is awaited from now on.
pub fn await_part(conn: &mut Conn, now: Tick) {
    if let Some(half) = upstream(&mut conn.session) {
        let until = now + half.waits.idle;
        conn.link.wait_until_unless_stuck(until);
    }
}
