//! An admitted request on its way to an upstream: its head as a server gets it.
//!
//! ```text
//!  Head, ProxyRoute --> canonical path, without `strip` --> write_request --> Proxying
//!     '----------------------> affinity ---------------------------------------^
//! ```

use std::borrow::Cow;

use super::Peer;
use super::forward_auth::ForwardAuth;
use super::proxying::{ForwardedRequest, PageRule, Proxying};
use super::route::{ForwardedHost, ProxyRoute};
use super::upstream::Waits;
use crate::base::Tick;
use crate::proto::CloseReason;
use crate::proto::http::{
    Body, CheckFields, ForwardedCredentials, Framed, Framing, Head, OwnFields, ReplyTo, TraceContext, accepts_events,
    canonical_path, write_check, write_request,
};
use crate::proto::upstream::{Affinity, UpstreamId};
use crate::proto::ws::handshake::Accept;

/// Facts about a request that its head does not say.
pub(super) struct RequestFacts<'a> {
    pub peer: Peer,
    /// The peer has sent it as a trusted proxy.
    pub is_from_proxy: bool,
    pub id: Cow<'a, str>,
    pub trace: TraceContext,
    /// Names the gateway in `Via`.
    pub pseudonym: &'a str,
    pub is_secure: bool,
    /// The host that the client has named.
    pub host: Option<&'a str>,
    pub affinity: Affinity,
    /// It opens a WebSocket, whose key has this answer.
    pub accept: Option<Accept>,
    /// The query that goes on.
    pub query: Option<Cow<'a, str>>,
    pub credentials: ForwardedCredentials<'a>,
    pub page_rule: PageRule,
}

/// Makes the client's half of a request.
pub(super) fn forward(
    head: &Head<'_>,
    target: &ProxyRoute,
    arrived: RequestFacts<'_>,
    now: Tick,
) -> Result<Proxying, CloseReason> {
    let body = Body::new(head.body, target.body_bytes_max.unwrap_or(u64::MAX))?;
    let path = canonical_path(head.path, target.has_encoded_slashes)?;
    let path = without(&path, target.strip.as_deref());
    let own = OwnFields {
        host: match &target.host {
            ForwardedHost::Client => head.host.or(arrived.host),
            ForwardedHost::Server => None,
            ForwardedHost::Named(host) => Some(host),
        },
        client: arrived.peer.ip(),
        is_secure: arrived.is_secure,
        called: arrived.host,
        is_from_proxy: arrived.is_from_proxy,
        id: &arrived.id,
        trace: arrived.trace,
        pseudonym: arrived.pseudonym,
        takes_any_name: target.takes_any_name,
        is_upgrade: arrived.accept.is_some(),
        credentials: arrived.credentials,
    };
    let mut out = Vec::new();
    let left_out = write_request(&mut out, head, path, arrived.query.as_deref(), &own);
    let request = ForwardedRequest {
        upstream: target.upstream,
        affinity: arrived.affinity,
        retries: target.retries,
        waits: Waits { answer: target.response_timeout, idle: target.idle_timeout },
        stream_idle: target.stream_idle,
        accept: arrived.accept,
        may_repeat: head.body.is_empty() && matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE"),
        wants_fresh: matches!(head.method, "POST" | "PATCH"),
        wants_events: target.calls_events_back && head.method == "GET" && accepts_events(head),
        is_secure: arrived.is_secure,
        names_server: own.host.is_none(),
        page_rule: arrived.page_rule,
        left_out,
    };
    let framed = Framed::of_request(head.body);
    // Bytes that a client sends before the 101 must not be read as a request if there is none.
    let to = if arrived.accept.is_some() { head.reply_to().closing() } else { head.reply_to() };
    Ok(Proxying::new(request, to, out, (body, framed), head.expects_continue, now))
}

/// Makes the half of the question to a server whether the client of a request is let in.
pub(super) fn check(
    head: &Head<'_>,
    (auth, upstream, path): (&ForwardAuth, UpstreamId, &str),
    arrived: RequestFacts<'_>,
    now: Tick,
) -> Result<Proxying, CloseReason> {
    // A server that decides by the path must not see another one than the route and its server do.
    let asked = canonical_path(head.path, true)?;
    let own = CheckFields {
        path,
        send: &auth.send,
        client: arrived.peer.ip(),
        is_secure: arrived.is_secure,
        called: arrived.host,
        asked: &asked,
        query: arrived.query.as_deref(),
        id: &arrived.id,
        pseudonym: arrived.pseudonym,
    };
    let mut out = Vec::new();
    write_check(&mut out, head, &own);
    let request = ForwardedRequest {
        upstream,
        affinity: arrived.affinity,
        retries: 1,
        waits: Waits { answer: auth.timeout, idle: auth.timeout },
        stream_idle: auth.timeout,
        accept: None,
        may_repeat: true,
        wants_fresh: false,
        wants_events: false,
        is_secure: arrived.is_secure,
        names_server: true,
        page_rule: PageRule::Server,
        left_out: 0,
    };
    // A GET, and an answer with a body, whatever the client has asked for.
    let to = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };
    let body = Body::new(Framing::None, 0)?;
    Ok(Proxying::new(request, to, out, (body, Framed::Bare), false, now))
}

/// The path without its first segments: as many as `strip` has. A route's `strip` is the beginning of its path.
fn without<'p>(path: &'p str, strip: Option<&str>) -> &'p str {
    let Some(strip) = strip else { return path };
    let count = strip.trim_matches('/').split('/').filter(|segment| !segment.is_empty()).count();
    match path.match_indices('/').nth(count) {
        Some((at, _)) => &path[at..],
        None => "/",
    }
}
