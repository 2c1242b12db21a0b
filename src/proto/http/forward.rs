//! Heads that a proxy passes on, written again from what was parsed: a request for an upstream, an answer for a client.
//!
//! ```text
//! Head   --> write_request:  GET /path?query HTTP/1.1   fields of the client that may go on   the gateway's own fields
//! AnswerHead --> write_answer:   HTTP/1.1 200 OK            fields of the upstream                Connection, Date, framing
//! ```
//!
//! Nothing of a head goes on as it came except method, query, and the values of fields (edge 4.3). In this order:
//!
//! 1. Fields go whose names have other signs than letters, digits and `-`: CGI, WSGI and PHP read `X_User` as `X-User`.
//! 2. Fields of the one connection go, and those that `Connection` names as such.
//! 3. Fields go that only the gateway may set ([`OwnFields`]).
//! 4. The gateway sets its own. As this comes last, a client can neither nominate them away nor leave a value of its own.

use std::net::IpAddr;

use super::answer::AnswerHead;
use super::body::Framing;
use super::chunk::Streaming;
use super::credentials::{ForwardedCredentials, is_offer, other_offers};
use super::fields::{Field, begins_with, is_hop_by_hop};
use super::framed::Framed;
use super::head::Head;
use super::reply::{ReplyTo, push_number};

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
    /// Names this gateway in `Via` ([`is_looping`]).
    pub pseudonym: &'a str,
    /// The handshake of a WebSocket: the only upgrade that passes.
    pub is_upgrade: bool,
    pub credentials: ForwardedCredentials<'a>,
}

/// Room for the first line and the gateway's own fields, as they mostly are.
const OWN_BYTES: usize = 256;
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
        if !is_nameable(field.name) {
            unnameable += 1;
        } else if own.credentials.hides_subprotocols && is_offer(field.name) {
            if let Some(offers) = other_offers(field) {
                push(out, "Sec-WebSocket-Protocol", offers.as_bytes());
            }
        } else if !is_own(field.name, own.is_from_proxy) && !own.credentials.strips(field.name) {
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

/// Writes the final answer of an upstream for its client. `set_cookie`: of the gateway itself. `unix_time`: now, in seconds, for an
/// answer without `Date` (RFC 9110 section 6.6.1). Returns how the body is passed on, and whether the client's connection lives on.
pub fn write_answer(
    out: &mut Vec<u8>,
    answer: &AnswerHead<'_>,
    to: ReplyTo,
    set_cookie: Option<&str>,
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
        if !is_length || !has_body && answer.status != 204 {
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
    if answer.header("date").is_none() {
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_time());
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

/// Each request has it, so an IPv4 address avoids the machinery of `{}`.
fn push_client(out: &mut Vec<u8>, client: IpAddr) {
    let IpAddr::V4(ip) = client else { return push_display(out, "X-Forwarded-For", client) };
    out.extend_from_slice(b"X-Forwarded-For: ");
    for octet in ip.octets() {
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
        out.push(b'.');
    }
    out.pop();
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

/// Whether a field of this name can tell a server something about a client: neither is it about the connection or the request
/// itself, nor has another meaning to the gateway.
pub fn may_be_told(name: &str) -> bool {
    let is_other = ["via", "cookie", "authorization"].iter().any(|other| other.eq_ignore_ascii_case(name));
    !name.is_empty()
        && is_nameable(name)
        && !is_own(name, false)
        && !is_hop_by_hop(name)
        && !begins_with(name, "sec-websocket-")
        && !is_other
}

/// Whether a server that decides about clients may hear a client's field of this name.
pub fn may_be_sent(name: &str) -> bool {
    may_be_told(name) || ["cookie", "authorization"].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Rule 3 of the module: what is the gateway's to say, and what is written from what was parsed.
pub(super) fn is_own(name: &str, is_from_proxy: bool) -> bool {
    const OWN: [&str; 8] = [
        "host",
        "content-length",
        "forwarded",
        "x-real-ip",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
        || begins_with(name, "tg-")
        || begins_with(name, "x-forwarded-") && !is_from_proxy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Body, BodyStep, next_answer, next_head};
    use super::*;

    const TO: ReplyTo = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };
    const UNIX_TIME: fn() -> u64 = || 784_111_777;

    fn own() -> OwnFields<'static> {
        OwnFields {
            host: Some("shop.example"),
            client: IpAddr::from([192, 0, 2, 1]),
            is_secure: true,
            called: Some("shop.example"),
            is_from_proxy: false,
            id: "id-1",
            pseudonym: "tidegate-0a1b2c3d",
            is_upgrade: false,
            credentials: ForwardedCredentials::default(),
        }
    }

    const SET: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
                       X-Request-Id: id-1\r\nVia: 1.1 tidegate-0a1b2c3d\r\n";

    /// The request with these lines after its request line and `Host`, as its upstream gets it, and the fields left out.
    fn forwarded_by(own: &OwnFields<'_>, line: &str, lines: &str) -> (String, u32) {
        let mut bytes = format!("{line}\r\nHost: shop.example\r\n{lines}\r\n").into_bytes();
        let head = next_head(&mut &mut bytes[..]).unwrap().expect("a head");
        let mut out = Vec::new();
        let unnameable = write_request(&mut out, &head, head.path, head.query, own);
        (String::from_utf8(out).unwrap(), unnameable)
    }

    fn forwarded(line: &str, lines: &str) -> String {
        forwarded_by(&own(), line, lines).0
    }

    fn passed_on_to(to: ReplyTo, answer: &str) -> (String, Framed, bool) {
        let mut bytes = answer.as_bytes().to_vec();
        let answer = next_answer(&mut &mut bytes[..], to.is_head).unwrap().expect("a head");
        let mut out = Vec::new();
        let (framed, keep_alive) = write_answer(&mut out, &answer, to, None, UNIX_TIME);
        (String::from_utf8(out).unwrap(), framed, keep_alive)
    }

    #[test]
    fn a_request_goes_on_in_origin_form_with_the_gateways_own_fields_last() {
        let request = forwarded("GET /a?b=c HTTP/1.1", "Accept: */*\r\nCookie: d=e\r\n");
        assert_eq!(
            request,
            format!("GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nCookie: d=e\r\n{SET}\r\n")
        );
        assert!(forwarded("GET http://shop.example/a HTTP/1.1", "").starts_with("GET /a HTTP/1.1\r\n"));
    }

    #[test]
    fn what_a_token_says_is_told_and_no_value_of_a_client_in_its_place() {
        let stripped: [Box<str>; 2] = ["X-User".into(), "X-Roles".into()];
        let told = [("X-User".into(), "ann".into())];
        let lines = "x-user: root\r\nX_User: root\r\nX-ROLES: admin\r\nConnection: X-User\r\nX-Users: all\r\n";
        for (told, expected) in [(&told[..], "X-User: ann\r\n"), (&[][..], "")] {
            let credentials = ForwardedCredentials { stripped: &stripped, told, hides_subprotocols: false };
            let (request, unnameable) = forwarded_by(&OwnFields { credentials, ..own() }, "GET /a HTTP/1.1", lines);
            let via = "Via: 1.1 tidegate-0a1b2c3d\r\n";
            let set = SET.replace(via, &format!("{expected}{via}"));
            assert_eq!(request, format!("GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Users: all\r\n{set}\r\n"));
            assert_eq!(unnameable, 1);
        }
    }

    #[test]
    fn a_field_that_has_a_meaning_to_the_gateway_tells_no_claim() {
        for name in ["X-User", "Remote-User", "User"] {
            assert!(may_be_told(name), "{name}");
        }
        for name in ["", "Host", "X_User", "Tg-User", "X-Forwarded-User", "Connection", "Via", "Cookie", "Te"] {
            assert!(!may_be_told(name), "{name}");
        }
    }

    #[test]
    fn the_host_of_a_server_is_inserted_when_it_is_known() {
        let (without, _) = forwarded_by(&OwnFields { host: None, ..own() }, "GET /a HTTP/1.1", "Accept: */*\r\n");
        let mut out = Vec::new();
        insert_host(&mut out, without.as_bytes(), "10.0.0.7:80");
        let expected = format!("GET /a HTTP/1.1\r\nHost: 10.0.0.7:80\r\nAccept: */*\r\n{SET}\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn fields_of_one_connection_end_here_and_so_do_those_that_it_nominates() {
        let request = forwarded(
            "GET / HTTP/1.1",
            "Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: a\r\nProxy-Authorization: b\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: c\r\nExpect: 100-continue\r\nX-Yours: 2\r\n",
        );
        assert_eq!(request, format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Yours: 2\r\n{SET}\r\n"));
    }

    #[test]
    fn a_client_cannot_nominate_the_gateways_own_fields_away() {
        let request =
            forwarded("GET / HTTP/1.1", "Connection: X-Forwarded-For, X-Forwarded-Proto, Via, Host, X-Request-Id\r\n");
        assert_eq!(request, format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{SET}\r\n"));
    }

    #[test]
    fn a_client_leaves_no_value_of_its_own_in_the_gateways_fields() {
        let lines = "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-proto: x\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\n\
                     X-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: evil\r\nTg-User: ann\r\n";
        assert_eq!(forwarded("GET / HTTP/1.1", lines), format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{SET}\r\n"));
        let (request, _) = forwarded_by(&OwnFields { is_from_proxy: true, ..own() }, "GET / HTTP/1.1", lines);
        let expected = format!(
            "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Port: 1\r\n{SET}\r\n"
        );
        assert_eq!(request, expected, "a trusted proxy may say more");
    }

    #[test]
    fn names_that_a_backend_may_fold_into_others_are_left_out() {
        let (request, unnameable) = forwarded_by(
            &own(),
            "GET / HTTP/1.1",
            "X_Forwarded_For: 1.2.3.4\r\nX.User: ann\r\nA!b: c\r\nX-Ok-1: d\r\n",
        );
        assert_eq!(
            (request, unnameable),
            (format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Ok-1: d\r\n{SET}\r\n"), 3)
        );
    }

    #[test]
    fn the_framing_of_a_request_is_written_anew() {
        for (line, lines, framing) in [
            ("POST / HTTP/1.1", "", "Content-Length: 0\r\n"),
            ("PUT / HTTP/1.1", "", "Content-Length: 0\r\n"),
            ("PATCH / HTTP/1.1", "", "Content-Length: 0\r\n"),
            ("DELETE / HTTP/1.1", "", ""),
            ("GET / HTTP/1.1", "Content-Length: 007\r\n", "Content-Length: 7\r\n"),
            ("POST / HTTP/1.1", "Transfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n"),
            ("POST / HTTP/1.1", "Connection: content-length\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n"),
        ] {
            let expected = format!("{line}\r\nHost: shop.example\r\n{framing}{SET}\r\n");
            assert_eq!(forwarded(line, lines), expected, "{line} {lines}");
        }
    }

    #[test]
    fn the_via_of_others_stays_and_our_own_shows_a_loop() {
        let request = forwarded("GET / HTTP/1.0", "Via: 1.1 edge\r\n");
        assert!(request.contains("Via: 1.1 edge\r\n") && request.contains("\r\nVia: 1.0 tidegate-0a1b2c3d\r\n"));
        for (via, is_loop) in [
            ("Via: 1.1 tidegate-0a1b2c3d\r\n", true),
            ("Via: 1.1 a, 1.0 tidegate-0a1b2c3d (x)\r\n", true),
            ("Via: 1.1 tidegate-0a1b2c3e\r\n", false),
            ("", false),
        ] {
            let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}\r\n").into_bytes();
            let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
            assert_eq!(is_looping(&head, "tidegate-0a1b2c3d"), is_loop, "{via}");
        }
    }

    #[test]
    fn only_an_admitted_websocket_goes_on_as_an_upgrade() {
        let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
        let (request, _) = forwarded_by(&OwnFields { is_upgrade: true, ..own() }, "GET / HTTP/1.1", lines);
        assert!(request.ends_with("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
        assert!(request.contains("\r\nSec-WebSocket-Key: k\r\n"));
        assert!(!forwarded("GET / HTTP/1.1", lines).to_lowercase().contains("\r\nupgrade:"));
    }

    #[test]
    fn an_answer_goes_on_as_it_came_without_the_fields_of_its_connection() {
        let (text, framed, keep_alive) = passed_on_to(
            TO,
            "HTTP/1.1 207 Odd Words\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
             X_Any: c\r\nDate: d\r\nContent-Length: 05\r\n\r\n",
        );
        assert_eq!(
            text,
            "HTTP/1.1 207 Odd Words\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX_Any: c\r\nDate: d\r\nContent-Length: 5\r\n\r\n"
        );
        assert_eq!((framed, keep_alive), (Framed::Bare, true));
    }

    #[test]
    fn an_answer_without_a_date_gets_one() {
        let (text, ..) = passed_on_to(TO, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_or_lasts_until_the_end_as_the_client_understands_it() {
        let chunked = Framed::Streamed(Streaming::Chunked);
        for answer in
            ["HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\nDate: d\r\n\r\n"]
        {
            let (text, framed, keep_alive) = passed_on_to(TO, answer);
            assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
            assert_eq!((framed, keep_alive), (chunked, true));
            let (text, framed, keep_alive) = passed_on_to(ReplyTo { minor_version: 0, ..TO }, answer);
            assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n");
            assert_eq!((framed, keep_alive), (Framed::Streamed(Streaming::UntilClose), false));
        }
        let old = ReplyTo { minor_version: 0, ..TO };
        let (text, ..) = passed_on_to(old, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n");
    }

    #[test]
    fn an_answer_without_a_body_keeps_the_length_that_a_get_would_have_but_for_a_204() {
        let to_head = ReplyTo { is_head: true, ..TO };
        let (text, framed, keep_alive) =
            passed_on_to(to_head, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!((framed, keep_alive), (Framed::Bare, true));
        let (text, ..) = passed_on_to(to_head, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\n\r\n");
        let (text, ..) = passed_on_to(TO, "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        let (text, ..) = passed_on_to(TO, "HTTP/1.1 204 No Content\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(text, "HTTP/1.1 204 No Content\r\nDate: d\r\n\r\n");
    }

    #[test]
    fn an_early_hint_goes_on_without_framing_and_date() {
        let mut bytes =
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 3\r\nConnection: x\r\n\r\n".to_vec();
        let answer = next_answer(&mut &mut bytes[..], false).unwrap().unwrap();
        assert!(answer.is_interim());
        let mut out = Vec::new();
        write_interim(&mut out, &answer);
        assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_with_the_same_framing(
            lines in prop::collection::vec("[A-Za-z_-]{1,12}: [ -~]{0,12}", 0..6),
            body in prop::sample::select(vec!["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"]),
        ) {
            let mut bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\n{}\r\n{body}\r\n", lines.join("\r\n")).into_bytes();
            if let Ok(Some(head)) = next_head(&mut &mut bytes[..]) {
                let mut out = Vec::new();
                write_request(&mut out, &head, head.path, head.query, &own());
                let mut rest = &mut out[..];
                let again = next_head(&mut rest).unwrap().unwrap();
                let framing = if head.body == Framing::None { Framing::Length(0) } else { head.body };
                prop_assert_eq!((again.body, again.keep_alive, again.expects_continue), (framing, true, false));
                prop_assert!(rest.is_empty());
            }
        }

        #[test]
        fn a_body_passed_on_in_pieces_is_the_same(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let framed = Framed::of_request(Framing::Chunked);
            let mut wire = Vec::new();
            pieces.iter().for_each(|piece| framed.write(&mut wire, piece));
            wire.extend_from_slice(framed.end());
            let (mut body, mut input, mut read) = (Body::new(Framing::Chunked, u64::MAX).unwrap(), &mut wire[..], Vec::new());
            while let BodyStep::Data(data) = body.next(&mut input).unwrap() {
                read.extend_from_slice(data);
            }
            prop_assert!(body.is_over() && input.is_empty());
            prop_assert_eq!(read, pieces.concat());
        }
    }
}
