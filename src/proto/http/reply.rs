//! Replies: status line and fields, written straight into the bytes that are sent.
//!
//! ```text
//! Reply::start(out, 200, to).header("Content-Type", "text/plain").body(b"hello")
//! Refusal::new(CloseReason::NotFound).write(out, to)
//! ```
//!
//! No reply has a `Date`: RFC 9110 section 6.6.1 requires it of servers with a clock, and this floor has none (ticks
//! are not times of day). A recipient that caches adds one; replies that could be cached by age are marked `no-store`.

use std::borrow::Cow;

use super::Streaming;
use crate::proto::CloseReason;
use crate::proto::close::TABLE;
use crate::proto::ws::handshake::VERSION;

/// The facts of a request that shape its answer; small enough to outlive the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// A `HEAD` request: fields as for `GET`, no body.
    pub is_head: bool,
    pub minor_version: u8,
    /// Whether the connection lives on after this answer.
    pub keep_alive: bool,
}

impl ReplyTo {
    /// For a request that could not be parsed: it is the last one on its connection.
    pub const UNREADABLE: ReplyTo = ReplyTo { is_head: false, minor_version: 1, keep_alive: false };

    /// The same, as the last answer on its connection.
    pub fn closing(self) -> ReplyTo {
        ReplyTo { keep_alive: false, ..self }
    }

    /// The same for an answer whose length is not known when it begins, and the framing of its body. With HTTP/1.0 it
    /// is the last answer, and the end of the connection ends it.
    pub fn streaming(self) -> (ReplyTo, Streaming) {
        let streaming = Streaming::of(self.minor_version);
        match streaming {
            Streaming::Chunked => (self, streaming),
            Streaming::UntilClose => (self.closing(), streaming),
        }
    }
}

/// A reply being written; it is complete after [`Reply::body`] or [`Reply::stream`].
#[must_use]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    to: ReplyTo,
    status: u16,
}

impl<'o> Reply<'o> {
    /// Writes the status line, and `Connection` unless the version's default says the same.
    pub fn start(out: &'o mut Vec<u8>, status: u16, to: ReplyTo) -> Reply<'o> {
        let reply = Reply::start_without_connection(out, status, to);
        match (to.keep_alive, to.minor_version) {
            (false, _) => reply.header("Connection", "close"),
            (true, 0) => reply.header("Connection", "keep-alive"),
            (true, _) => reply,
        }
    }

    fn start_without_connection(out: &'o mut Vec<u8>, status: u16, to: ReplyTo) -> Reply<'o> {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, status.into());
        out.push(b' ');
        out.extend_from_slice(phrase(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Reply { out, to, status }
    }

    /// Adds a field. The value may come from a peer: control characters become spaces (RFC 9110 section 5.5), so it
    /// cannot end its line and begin another field or reply. The name is ours, or the configuration's.
    pub fn header(self, name: &str, value: &str) -> Reply<'o> {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let harmless = |byte: u8| if byte.is_ascii_control() && byte != b'\t' { b' ' } else { byte };
        self.out.extend(value.bytes().map(harmless));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a field with a number.
    pub fn number(self, name: &'static str, value: u64) -> Reply<'o> {
        self.header(name, itoa::Buffer::new().format(value))
    }

    /// Lets a page of another origin read the reply.
    pub fn cors(self, cors: Option<Cors>) -> Reply<'o> {
        let Some(cors) = cors else { return self };
        let reply = self.header("Access-Control-Allow-Origin", cors.origin);
        let reply = if cors.credentials { reply.header("Access-Control-Allow-Credentials", "true") } else { reply };
        // The answer differs by origin: a cache has to know (the Fetch standard, "CORS protocol and HTTP caches").
        if cors.origin == "*" { reply } else { reply.header("Vary", "Origin") }
    }

    /// Says how the body is framed whose length is not known.
    pub fn framed(self, streaming: Streaming) -> Reply<'o> {
        match streaming {
            Streaming::Chunked => self.header("Transfer-Encoding", "chunked"),
            Streaming::UntilClose => self,
        }
    }

    /// Ends the reply with a body of known length. `HEAD` gets the length alone; 204 and 304 have neither (RFC 9110
    /// section 8.6).
    pub fn body(self, body: &[u8]) {
        let is_bodiless = matches!(self.status, 204 | 304);
        let reply = if is_bodiless { self } else { self.number("Content-Length", body.len() as u64) };
        reply.out.extend_from_slice(b"\r\n");
        if !is_bodiless && !reply.to.is_head {
            reply.out.extend_from_slice(body);
        }
    }

    /// Ends the head; what follows has a framing of its own, ends with the connection, or belongs to another protocol.
    pub fn stream(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// The access of a page of another origin to a reply (the Fetch standard, "CORS protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cors<'a> {
    /// The origin that asked, or `*`.
    pub origin: &'a str,
    /// Whether requests with cookies may be read too; never together with `*`.
    pub credentials: bool,
}

/// A request that is not served, and what its answer says beyond the reason.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub reason: CloseReason,
    /// The methods of the route, for `MethodNotAllowed`.
    pub allow: Option<&'a str>,
    /// Seconds after which to try again; the caller adds the jitter.
    pub retry_after_s: Option<u32>,
    pub cors: Option<Cors<'a>>,
    /// Why a token is not taken (RFC 6750 section 3).
    pub description: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    pub fn new(reason: CloseReason) -> Refusal<'a> {
        Refusal { reason, allow: None, retry_after_s: None, cors: None, description: None }
    }

    /// Writes the answer, with the reason's words as plain text, and returns whether the connection may carry another
    /// request. Writes nothing for a reason that has no HTTP status.
    #[must_use]
    pub fn write(&self, out: &mut Vec<u8>, to: ReplyTo) -> bool {
        let row = self.reason.row();
        if row.http_status == 0 {
            return false;
        }
        let to = if leaves_input_readable(self.reason) { to } else { to.closing() };
        let mut reply = if self.reason == CloseReason::UpgradeRequired {
            // RFC 6455 section 4.2.2 and RFC 9110 section 7.8: say which protocol and version would do.
            Reply::start_without_connection(out, row.http_status, to)
                .header("Connection", if to.keep_alive { "upgrade" } else { "upgrade, close" })
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", VERSION)
        } else {
            Reply::start(out, row.http_status, to)
        };
        if let Some(challenge) = self.challenge() {
            reply = reply.header("WWW-Authenticate", &challenge);
        }
        if let Some(methods) = self.allow {
            reply = reply.header("Allow", methods);
        }
        if let Some(seconds) = self.retry_after_s {
            reply = reply.number("Retry-After", seconds.into());
        }
        if self.retry_after_s.is_some() && self.cors.is_some() {
            // Not among those that a page may read unasked (the Fetch standard, "CORS-safelisted response-header name").
            reply = reply.header("Access-Control-Expose-Headers", "Retry-After");
        }
        let reply = reply.cors(self.cors).header("Cache-Control", "no-store");
        let words = row.words.as_bytes();
        let mut body = [b'\n'; WORDS_BYTES_MAX + 1];
        body[..words.len()].copy_from_slice(words);
        reply.header("Content-Type", "text/plain; charset=utf-8").body(&body[..words.len() + 1]);
        to.keep_alive
    }
}

impl Refusal<'_> {
    /// How the client would be let in (RFC 6750 section 3): a client without a token is told no fault.
    fn challenge(&self) -> Option<Cow<'static, str>> {
        let error = match self.reason {
            CloseReason::NoCredentials | CloseReason::NoToken => return Some(Cow::Borrowed("Bearer")),
            CloseReason::InvalidToken => "invalid_token",
            CloseReason::InsufficientScope => "insufficient_scope",
            CloseReason::AmbiguousToken => "invalid_request",
            _ => return None,
        };
        let mut challenge = format!("Bearer error=\"{error}\"");
        if let Some(description) = self.description {
            challenge.push_str(", error_description=\"");
            // RFC 6750 section 3: printable ASCII without quotes and backslashes.
            let plain = description.chars().map(|sign| match sign {
                '"' | '\\' => '\'',
                ' '..='~' => sign,
                _ => '?',
            });
            challenge.extend(plain);
            challenge.push('"');
        }
        Some(challenge.into())
    }
}

/// The table's longest words.
const WORDS_BYTES_MAX: usize = {
    let mut longest = 0;
    let mut index = 0;
    while index < TABLE.len() {
        if TABLE[index].words.len() > longest {
            longest = TABLE[index].words.len();
        }
        index += 1;
    }
    longest
};

/// Whether the end of the refused request is known, so that the next one can be found: of those for upstreams, unless the
/// caller says otherwise. All other refusals close.
fn leaves_input_readable(reason: CloseReason) -> bool {
    use CloseReason::*;
    matches!(
        reason,
        NotFound
            | MethodNotAllowed
            | Unnameable
            | OriginRefused
            | HostRefused
            | Misdirected
            | NoCredentials
            | NoToken
            | InvalidToken
            | InsufficientScope
            | AmbiguousToken
            | AuthUnavailable
            | AuthBusy
            | NotUpgradable
            | UpgradeRequired
            | BadPublish
            | UnknownRequest
            | KeyReused
            | RequestsFull
            | RequestsShare
            | ConnectionLimit
            | RequestLimit
            | NoUpstream
            | UpstreamRefused
            | UpstreamConnectTimeout
            | UpstreamBusy
            | UpstreamClosed
            | UpstreamTimeout
            | UpstreamGarbage
    )
}

/// Tells a peer that waits for it to send its body (RFC 9110 section 15.2.1).
pub fn go_on(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Opens an event stream (the WHATWG HTML standard, "Server-sent events"). What follows is framed as is returned; the connection
/// carries nothing after it. `HEAD` gets the same fields (RFC 9112 section 6.1).
pub fn event_stream(out: &mut Vec<u8>, to: ReplyTo, cors: Option<Cors>) -> Streaming {
    let streaming = Streaming::of(to.minor_version);
    Reply::start(out, 200, to.closing())
        .framed(streaming)
        .header("Content-Type", "text/event-stream; charset=utf-8")
        // no-transform keeps proxies from compressing, and so from buffering; nginx reads the last one.
        .header("Cache-Control", "no-cache, no-transform")
        .header("X-Accel-Buffering", "no")
        .cors(cors)
        .stream();
    streaming
}

/// Accepts an upgrade: `accept` answers the key, `protocol` is one of those that the client offered (RFC 6455 section
/// 4.2.2).
pub fn switching_protocols(out: &mut Vec<u8>, accept: &str, protocol: Option<&str>) {
    let to = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };
    let mut reply = Reply::start_without_connection(out, 101, to)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        reply = reply.header("Sec-WebSocket-Protocol", protocol);
    }
    reply.stream();
}

/// Answers the question of a browser whether a page of another origin may send a request (the Fetch standard,
/// "CORS-preflight request"). `methods` and `fields` are the lists that the route allows.
pub fn preflight(out: &mut Vec<u8>, to: ReplyTo, cors: Cors, methods: &str, fields: &str) {
    Reply::start(out, 204, to)
        .header("Access-Control-Allow-Methods", methods)
        .header("Access-Control-Allow-Headers", fields)
        // Ten minutes: fewer questions, and a changed configuration soon reaches every page.
        .header("Access-Control-Max-Age", "600")
        .cors(Some(cors))
        .body(b"");
}

pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// RFC 9110 section 15. Any other status has an empty phrase, which RFC 9112 section 4 allows.
fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: ReplyTo = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_length_and_body() {
        let reply = written(|out| Reply::start(out, 200, TO).header("Content-Type", "text/plain").body(b"hello"));
        assert_eq!(reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    }

    #[test]
    fn answers_head_with_the_length_alone() {
        let reply = written(|out| Reply::start(out, 200, ReplyTo { is_head: true, ..TO }).body(b"hello"));
        assert_eq!(reply, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    }

    #[test]
    fn says_what_becomes_of_the_connection_where_the_version_does_not() {
        let status = |to| written(|out| Reply::start(out, 204, to).body(b""));
        assert_eq!(status(TO), "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(status(TO.closing()), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        let old = ReplyTo { minor_version: 0, ..TO };
        assert_eq!(status(old), "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
    }

    #[test]
    fn keeps_values_from_splitting_the_reply() {
        let reply = written(|out| Reply::start(out, 200, TO).header("Location", "/\r\nSet-Cookie: a\0\u{7f}").stream());
        assert_eq!(reply, "HTTP/1.1 200 OK\r\nLocation: /  Set-Cookie: a  \r\n\r\n");
    }

    #[test]
    fn refuses_with_the_words_of_the_table() {
        for row in TABLE.iter().filter(|row| row.http_status != 0) {
            let reply = written(|out| {
                let _ = Refusal::new(row.reason).write(out, TO);
            });
            let (head, body) = reply.split_once("\r\n\r\n").unwrap();
            assert!(!phrase(row.http_status).is_empty(), "{}", row.name);
            let status_line = format!("HTTP/1.1 {} {}\r\n", row.http_status, phrase(row.http_status));
            assert!(head.starts_with(&status_line), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            assert_eq!(body, format!("{}\n", row.words));
        }
    }

    #[test]
    fn closes_after_a_request_whose_end_is_unknown() {
        let mut out = Vec::new();
        assert!(!Refusal::new(CloseReason::BadFraming).write(&mut out, TO));
        assert!(String::from_utf8_lossy(&out).contains("\r\nConnection: close\r\n"));
        assert!(Refusal::new(CloseReason::NotFound).write(&mut out, TO));
        assert!(!Refusal::new(CloseReason::NotFound).write(&mut out, TO.closing()));
    }

    #[test]
    fn answers_nothing_where_there_is_nothing_to_answer() {
        let mut out = Vec::new();
        assert!(!Refusal::new(CloseReason::PeerClosed).write(&mut out, TO));
        assert!(out.is_empty());
    }

    #[test]
    fn refuses_with_what_the_status_calls_for() {
        let refusal = |refusal: Refusal| {
            written(|out| {
                let _ = refusal.write(out, TO);
            })
        };
        let reply = refusal(Refusal { allow: Some("GET, HEAD"), ..Refusal::new(CloseReason::MethodNotAllowed) });
        assert!(reply.contains("\r\nAllow: GET, HEAD\r\n"));
        let reply = refusal(Refusal { retry_after_s: Some(7), ..Refusal::new(CloseReason::Overload) });
        assert!(reply.contains("\r\nRetry-After: 7\r\n"));
        assert!(refusal(Refusal::new(CloseReason::NoCredentials)).contains("\r\nWWW-Authenticate: Bearer\r\n"));
        let reply = refusal(Refusal::new(CloseReason::UpgradeRequired));
        assert!(reply.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    }

    #[test]
    fn opens_an_event_stream_in_chunks_where_the_client_knows_them() {
        let cors = Cors { origin: "https://a.example", credentials: true };
        let old = ReplyTo { minor_version: 0, ..TO };
        for (to, streaming, coding) in
            [(TO, Streaming::Chunked, "Transfer-Encoding: chunked\r\n"), (old, Streaming::UntilClose, "")]
        {
            assert_eq!(
                written(|out| assert_eq!(event_stream(out, to, Some(cors)), streaming)),
                format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n{coding}Content-Type: text/event-stream; charset=utf-8\r\n\
                     Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n\
                     Access-Control-Allow-Origin: https://a.example\r\nAccess-Control-Allow-Credentials: true\r\n\
                     Vary: Origin\r\n\r\n"
                )
            );
        }
    }

    #[test]
    fn switches_protocols() {
        assert_eq!(
            written(|out| switching_protocols(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("chat"))),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn answers_a_preflight() {
        let any = Cors { origin: "*", credentials: false };
        assert_eq!(
            written(|out| preflight(out, TO, any, "GET", "Last-Event-ID")),
            "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Methods: GET\r\n\
             Access-Control-Allow-Headers: Last-Event-ID\r\nAccess-Control-Max-Age: 600\r\n\
             Access-Control-Allow-Origin: *\r\n\r\n"
        );
    }
}
