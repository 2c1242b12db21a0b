//! Heads that a proxy passes on, written again from what was parsed: a request for an upstream, an answer for a client.
//!
//! ```text
//! Head   --> write_request:  GET /path?query HTTP/1.1   fields of the client that may go on   the gateway's own fields
//! AnswerHead --> write_answer:   HTTP/1.1 200 OK            fields of the upstream                Connection, Date, framing
//! ```
//!
//! Nothing of a head goes on as it came except method, query, and the values of fields (edge 4.3). In this order:
//!
//! 1. Fields go whose names have other signs than letters, digits and `-`: CGI, WSGI and PHP read `X_User` as `X-User`. A route
//!    may let them pass: then only those go that would be read as a field of rules 2 and 3.
//! 2. Fields of the one connection go, and those that `Connection` names as such.
//! 3. Fields go that only the gateway may set ([`OwnFields`]).
//! 4. The gateway sets its own. As this comes last, a client can neither nominate them away nor leave a value of its own.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use super::answer::AnswerHead;
use super::body::Framing;
use super::chunk::Streaming;
use super::credentials::{ForwardedCredentials, is_offer, other_offers};
use super::fields::{Field, begins_with, is_hop_by_hop};
use super::framed::Framed;
use super::head::Head;
use super::page_access::PageAccess;
use super::reply::{ReplyTo, push_number};
use super::trace::{STATE_FIELD, TRACE_FIELD, TraceContext};
use crate::base::push_ip;

/// What the gateway says itself in a request to an upstream; a client's fields of these names never pass.
pub struct OwnFields<'a> {
    /// `Host`. `None`: that of the server, which is inserted when it is known ([`insert_host`]).
    pub host: Option<&'a str>,
    /// `X-Forwarded-For`: one address, so an upstream need not know how many proxies there are.
    pub client: IpAddr,
    /// `X-Forwarded-Proto`.
    pub is_secure: bool,
    /// `X-Forwarded-Host`: the host that the client has named.
    pub called: Option<&'a str>,
    /// The peer is a trusted proxy: what else it says in `X-Forwarded-…` passes.
    pub is_from_proxy: bool,
    /// `X-Request-Id`.
    pub id: &'a str,
    /// `traceparent`. A `tracestate` goes on with a trace that does.
    pub trace: TraceContext,
    /// Names this gateway in `Via` ([`is_looping`]).
    pub pseudonym: &'a str,
    /// Fields of any name pass that cannot be taken for one of these.
    pub takes_any_name: bool,
    /// The handshake of a WebSocket: the only upgrade that passes.
    pub is_upgrade: bool,
    pub credentials: ForwardedCredentials<'a>,
}

/// Room for the first line and the gateway's own fields, as they mostly are.
const OWN_BYTES: usize = 256;
/// The last second of the year 9999, in Unix time.
const LAST_DATE: u64 = 253_402_300_799;
/// Room for the body that arrives with the head of an answer.
const BODY_BYTES_RESERVED: u64 = 4 * 1024;

/// Writes a request for an upstream, in origin form. Returns how many fields were left out because of their names.
pub fn write_request(out: &mut Vec<u8>, head: &Head<'_>, path: &str, query: Option<&str>, own: &OwnFields<'_>) -> u32 {
    out.reserve(path.len() + query.map_or(0, str::len) + head.wire_len() + OWN_BYTES);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = own.host {
        push(out, "Host", host.as_bytes());
    }
    let mut unnameable = 0;
    for field in head.end_to_end() {
        if !is_nameable(field.name) && !is_harmless(field.name, own) {
            unnameable += 1;
        } else if own.credentials.hides_subprotocols && is_offer(field.name) {
            if let Some(offers) = other_offers(field) {
                push(out, "Sec-WebSocket-Protocol", offers.as_bytes());
            }
        } else if !is_own(field.name, own.is_from_proxy)
            && (own.trace.is_continued || !is_state(field.name))
            && !own.credentials.strips(field.name)
        {
            push(out, field.name, field.value);
        }
    }
    match head.body {
        Framing::Length(len) => push(out, "Content-Length", itoa::Buffer::new().format(len).as_bytes()),
        Framing::Chunked | Framing::UntilEnd => push(out, "Transfer-Encoding", b"chunked"),
        // RFC 9110 section 8.6: these methods usually have a body.
        Framing::None if matches!(head.method, "POST" | "PUT" | "PATCH") => push(out, "Content-Length", b"0"),
        Framing::None => {}
    }
    push_client(out, own.client);
    push(out, "X-Forwarded-Proto", if own.is_secure { b"https" } else { b"http" });
    if let Some(called) = own.called {
        push(out, "X-Forwarded-Host", called.as_bytes());
    }
    push(out, "X-Request-Id", own.id.as_bytes());
    push(out, TRACE_FIELD, own.trace.text().as_str().as_bytes());
    own.credentials.told.iter().for_each(|(name, value)| push(out, name, value.as_bytes()));
    out.extend_from_slice(b"Via: 1.");
    out.extend_from_slice(itoa::Buffer::new().format(head.minor_version).as_bytes());
    out.push(b' ');
    out.extend_from_slice(own.pseudonym.as_bytes());
    out.extend_from_slice(b"\r\n");
    if own.is_upgrade {
        push(out, "Connection", b"Upgrade");
        push(out, "Upgrade", b"websocket");
    }
    out.extend_from_slice(b"\r\n");
    unnameable
}

/// The head of a request that was written without `Host`, with it.
pub fn insert_host(out: &mut Vec<u8>, head: &[u8], host: &str) {
    let line_end = memchr::memchr(b'\n', head).map_or(0, |at| at + 1);
    let (line, rest) = head.split_at(line_end);
    out.extend_from_slice(line);
    push(out, "Host", host.as_bytes());
    out.extend_from_slice(rest);
}

/// Whether the request has come through this gateway before (RFC 9110 section 7.6.3).
pub fn is_looping(head: &Head<'_>, pseudonym: &str) -> bool {
    head.elements("via").any(|element| element.split([' ', '\t']).any(|word| word == pseudonym))
}

/// Writes the final answer of an upstream for its client. `set_cookie`: of the gateway itself. `access`: of pages of other origins.
/// `unix_time`: now, in seconds, for an answer without `Date` (RFC 9110 section 6.6.1). Returns how the body is passed on, and whether the client's connection lives on.
pub fn write_answer(
    out: &mut Vec<u8>,
    answer: &AnswerHead<'_>,
    to: ReplyTo,
    set_cookie: Option<&str>,
    access: PageAccess<'_>,
    unix_time: fn() -> u64,
) -> (Framed, bool) {
    let (to, framed) = match answer.body {
        Framing::None | Framing::Length(_) => (to, Framed::Bare),
        Framing::Chunked | Framing::UntilEnd => {
            let (to, streaming) = to.streaming();
            (to, Framed::Streamed(streaming))
        }
    };
    let body_bytes = if let Framing::Length(len) = answer.body { len.min(BODY_BYTES_RESERVED) as usize } else { 0 };
    out.reserve(answer.wire_len() + set_cookie.map_or(0, str::len) + OWN_BYTES + body_bytes);
    push_status(out, answer);
    let has_body = answer.body != Framing::None;
    for field in answer.end_to_end() {
        // The length is written from what was parsed; without a body it says what a GET would bring, and in a 204 nothing.
        let is_length = field.name.eq_ignore_ascii_case("content-length");
        if (!is_length || !has_body && answer.status != 204) && !access.replaces(field.name) {
            push(out, field.name, field.value);
        }
    }
    match answer.body {
        Framing::Length(len) => push(out, "Content-Length", itoa::Buffer::new().format(len).as_bytes()),
        _ if framed == Framed::Streamed(Streaming::Chunked) => push(out, "Transfer-Encoding", b"chunked"),
        _ => {}
    }
    if let Some(cookie) = set_cookie {
        push(out, "Set-Cookie", cookie.as_bytes());
    }
    access.write(|name, value| push(out, name, value));
    if answer.header("date").is_none() {
        // A date has four digits for its year.
        let now = UNIX_EPOCH + Duration::from_secs(unix_time().min(LAST_DATE));
        push_display(out, "Date", httpdate::HttpDate::from(now));
    }
    match (to.keep_alive, to.minor_version) {
        (false, _) => push(out, "Connection", b"close"),
        (true, 0) => push(out, "Connection", b"keep-alive"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    (framed, to.keep_alive)
}

/// Writes the answer of a server that has opened a WebSocket ([`is_switched`](super::is_switched)). `set_cookie`: of the gateway
/// itself.
pub fn write_switched(out: &mut Vec<u8>, answer: &AnswerHead<'_>, set_cookie: Option<&str>) {
    push_status(out, answer);
    push(out, "Connection", b"Upgrade");
    push(out, "Upgrade", b"websocket");
    let is_length = |field: &&Field<'_>| field.name.eq_ignore_ascii_case("content-length");
    answer.end_to_end().filter(|field| !is_length(field)).for_each(|field| push(out, field.name, field.value));
    if let Some(cookie) = set_cookie {
        push(out, "Set-Cookie", cookie.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an answer that another one follows (`103 Early Hints`). Only for a client of HTTP/1.1 (RFC 9110 section 15.2).
pub fn write_interim(out: &mut Vec<u8>, answer: &AnswerHead<'_>) {
    push_status(out, answer);
    let is_length = |field: &&Field<'_>| field.name.eq_ignore_ascii_case("content-length");
    answer.end_to_end().filter(|field| !is_length(field)).for_each(|field| push(out, field.name, field.value));
    out.extend_from_slice(b"\r\n");
}

fn push_status(out: &mut Vec<u8>, answer: &AnswerHead<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, answer.status.into());
    out.push(b' ');
    out.extend_from_slice(answer.phrase.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_client(out: &mut Vec<u8>, client: IpAddr) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    push_ip(out, client);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_display(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

/// Rule 1 of the module.
pub(super) fn is_nameable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a field of an unusual name may pass: it has no meaning to the gateway as CGI, WSGI and PHP would read it.
fn is_harmless(name: &str, own: &OwnFields<'_>) -> bool {
    if !own.takes_any_name {
        return false;
    }
    let folded = name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
    !is_own(&folded, false) && !is_hop_by_hop(&folded) && !is_state(&folded) && !own.credentials.strips(&folded)
}

/// Whether a field of this name can tell a server something about a client: neither is it about the connection or the request
/// itself, nor has another meaning to the gateway.
pub fn may_be_told(name: &str) -> bool {
    let is_other = ["via", "cookie", "authorization", STATE_FIELD].iter().any(|other| other.eq_ignore_ascii_case(name));
    !name.is_empty()
        && is_nameable(name)
        && !is_own(name, false)
        && !is_hop_by_hop(name)
        && !begins_with(name, "sec-websocket-")
        && !is_other
}

fn is_state(name: &str) -> bool {
    name.eq_ignore_ascii_case(STATE_FIELD)
}

/// Whether a server that decides about clients may hear a client's field of this name.
pub fn may_be_sent(name: &str) -> bool {
    may_be_told(name) || ["cookie", "authorization"].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Rule 3 of the module: what is the gateway's to say, and what is written from what was parsed.
pub(super) fn is_own(name: &str, is_from_proxy: bool) -> bool {
    const OWN: [&str; 9] = [
        "host",
        "content-length",
        "forwarded",
        "x-real-ip",
        "x-request-id",
        TRACE_FIELD,
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
        || begins_with(name, "tg-")
        || begins_with(name, "x-forwarded-") && !is_from_proxy
}

#[cfg(test)]
mod tests;
