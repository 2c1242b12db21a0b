//! The head of a request: request line and header fields, and their meaning for the connection.

use std::mem::{self, MaybeUninit};
use std::ops::Deref;

use memchr::memmem;

use super::authority::Authority;
use super::body::Framing;
use super::fields::{HeadFields, content_length, head_len};
use super::reply::ReplyTo;
use super::target::{self, TargetParts};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use crate::proto::CloseReason;

/// One request head; it borrows from the bytes it was taken from.
#[derive(Debug)]
pub struct Head<'a> {
    /// A token (RFC 9110 section 9.1), case-sensitive, never `CONNECT`.
    pub method: &'a str,
    /// As sent, still escaped, without the query: starts with `/`, or is `*` for `OPTIONS`.
    pub path: &'a str,
    /// The text after the first `?`, still escaped.
    pub query: Option<&'a str>,
    /// Host and optional port, from the target if that is absolute, else from `Host`; always present in HTTP/1.1.
    pub host: Option<&'a str>,
    /// 0 or 1.
    pub minor_version: u8,
    pub body: Framing,
    /// Whether the peer lets the connection stay open after the answer.
    pub keep_alive: bool,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    fields: HeadFields<'a>,
}

impl<'a> Deref for Head<'a> {
    type Target = HeadFields<'a>;

    fn deref(&self) -> &HeadFields<'a> {
        &self.fields
    }
}

/// Takes one request head off the front of `input`.
///
/// `Ok(None)`: the head is incomplete, and `input` is unchanged. A fault is reported as soon as it is visible, so that
/// a peer with another protocol gets its answer before the deadline. After an error the connection must not be read
/// further.
///
/// Each call reads an incomplete head from its beginning; [`HEAD_BYTES_MAX`] and the head's deadline bound that.
pub fn next_head<'a>(input: &mut &'a mut [u8]) -> Result<Option<Head<'a>>, CloseReason> {
    // RFC 9112 section 2.2: at least one empty line before the request line should be ignored. Exactly one is.
    let skipped = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = &input[skipped..];
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let Some(len) = check_lines(bytes)? else {
        check_incomplete(bytes)?;
        return Ok(None);
    };

    let (taken, rest) = mem::take(input).split_at_mut(skipped + len);
    *input = rest;
    parse(&taken[skipped..]).map(Some)
}

/// Method and path, still escaped, of an incomplete head, once its first line is complete.
pub fn request_line(input: &[u8]) -> Option<(&str, &str)> {
    let input = input.strip_prefix(b"\r\n").unwrap_or(input);
    let line = std::str::from_utf8(&input[..memmem::find(input, b"\r\n")?]).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    target::parse(method, target).ok().map(|target| (method, target.path))
}

/// Refuses a beginning that no continuation could make valid.
fn check_incomplete(bytes: &[u8]) -> Result<(), CloseReason> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    if let Err(error) = httparse::Request::new(&mut []).parse_with_uninit_headers(bytes, &mut fields) {
        return Err(reason_of(error, bytes));
    }
    if bytes.len() == HEAD_BYTES_MAX { Err(CloseReason::HeadTooLarge) } else { Ok(()) }
}

/// Checks where httparse is lenient: lines must end with CRLF, and a request line comes first. Also checks the length
/// of the target, which has an error of its own. Returns the length of the head if it is complete.
fn check_lines(bytes: &[u8]) -> Result<Option<usize>, CloseReason> {
    if target_len(bytes) > TARGET_BYTES_MAX {
        return Err(CloseReason::TargetTooLong);
    }
    let starts_with_line_end = bytes.first() == Some(&b'\n') || bytes.starts_with(b"\r\n");
    if starts_with_line_end {
        Err(CloseReason::MalformedRequest)
    } else {
        head_len(bytes).map_err(|_| CloseReason::MalformedRequest)
    }
}

/// Length of the text between the first two spaces of the request line, as far as it has arrived.
fn target_len(bytes: &[u8]) -> usize {
    let line = &bytes[..memchr::memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let Some(space) = memchr::memchr(b' ', line) else { return 0 };
    let target = &line[space + 1..];
    memchr::memchr(b' ', target).unwrap_or(target.len())
}

/// Parses a complete head; `bytes` ends with its empty line.
fn parse(bytes: &[u8]) -> Result<Head<'_>, CloseReason> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(CloseReason::MalformedRequest),
        Err(error) => return Err(reason_of(error, bytes)),
    }
    let (Some(method), Some(target), Some(minor_version)) = (request.method, request.path, request.version) else {
        return Err(CloseReason::MalformedRequest);
    };
    let TargetParts { path, query, host } = target::parse(method, target)?;
    let fields = HeadFields::new(request.headers);
    let mut head = Head {
        method,
        path,
        query,
        host,
        minor_version,
        body: Framing::None,
        keep_alive: false,
        expects_continue: false,
        fields,
    };
    head.check_host()?;
    head.body = head.framing()?;
    head.keep_alive = head.is_kept_alive();
    head.expects_continue = head.expectation()?;
    Ok(head)
}

fn reason_of(error: httparse::Error, bytes: &[u8]) -> CloseReason {
    match error {
        httparse::Error::TooManyHeaders => CloseReason::HeadTooLarge,
        httparse::Error::Version if names_another_version(bytes) => CloseReason::UnsupportedVersion,
        _ => CloseReason::MalformedRequest,
    }
}

/// Whether the third word of the request line begins like an HTTP version (RFC 9112 section 2.3).
fn names_another_version(bytes: &[u8]) -> bool {
    let word = bytes.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    word.strip_prefix(b"HTTP/").and_then(|number| number.first()).is_some_and(u8::is_ascii_digit)
}

impl<'a> Head<'a> {
    /// The facts of this request that its answer needs.
    pub fn reply_to(&self) -> ReplyTo {
        ReplyTo { is_head: self.method == "HEAD", minor_version: self.minor_version, keep_alive: self.keep_alive }
    }

    /// RFC 9112 section 3.2: exactly one valid `Host` in HTTP/1.1, at most one in HTTP/1.0; an absolute target
    /// overrides it.
    fn check_host(&mut self) -> Result<(), CloseReason> {
        let host = self.single_header("host")?;
        match host {
            None if self.minor_version == 1 => return Err(CloseReason::MalformedRequest),
            Some(host) if !host.is_empty() => _ = Authority::parse(host)?,
            _ => {}
        }
        self.host = self.host.or(host);
        Ok(())
    }

    /// RFC 9112 section 6, without its leniencies: a length or chunks, given once; otherwise the request is refused.
    fn framing(&self) -> Result<Framing, CloseReason> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
            (None, _, None, _) => Ok(Framing::None),
            (Some(length), None, None, _) => content_length(length).map(Framing::Length).ok_or(CloseReason::BadFraming),
            // HTTP/1.0 has no transfer codings: by section 6.1 such framing is faulty.
            (None, _, Some(coding), None) if self.minor_version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Framing::Chunked)
            }
            _ => Err(CloseReason::BadFraming),
        }
    }

    /// RFC 9112 section 9.3.
    fn is_kept_alive(&self) -> bool {
        !self.has_element("connection", "close")
            && (self.minor_version == 1 || self.has_element("connection", "keep-alive"))
    }

    /// RFC 9110 section 10.1.1: ignored in HTTP/1.0, and without a body there is nothing to wait for.
    fn expectation(&self) -> Result<bool, CloseReason> {
        if self.minor_version == 0 {
            return Ok(false);
        }
        let mut expects = false;
        for expectation in self.elements("expect") {
            if !expectation.eq_ignore_ascii_case("100-continue") {
                return Err(CloseReason::ExpectationFailed);
            }
            expects = true;
        }
        Ok(expects && !self.body.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::UNREADABLE;
    use super::*;

    /// Parses one head and shows it to `look`; the rest of the input must be `rest`.
    fn read<T>(request: &str, rest: &str, look: impl FnOnce(&Head) -> T) -> T {
        let mut bytes = request.to_owned().into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).expect(request).expect(request);
        let shown = look(&head);
        assert_eq!(input, rest.as_bytes());
        shown
    }

    /// A request with these lines after its request line and `Host`.
    fn with<T>(lines: &str, look: impl FnOnce(&Head) -> T) -> T {
        read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), "", look)
    }

    #[test]
    fn reads_the_parts_of_a_head() {
        read("GET /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nCookie:  e=f \t\r\n\r\n", "", |head| {
            assert_eq!((head.method, head.path, head.query), ("GET", "/a/b", Some("c=d")));
            assert_eq!((head.host, head.minor_version, head.body), (Some("x:80"), 1, Framing::None));
            assert!(head.keep_alive && !head.expects_continue);
            assert_eq!(head.header("COOKIE"), Some("e=f"));
            assert_eq!(head.header("Accept"), None);
            assert_eq!(head.fields().len(), 2);
        });
    }

    #[test]
    fn takes_pipelined_heads_one_by_one() {
        let mut bytes = b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nHEAD /2 HTTP/1.0\r\n\r\nGET".to_vec();
        let mut input = &mut bytes[..];
        let first = next_head(&mut input).unwrap().unwrap();
        let second = next_head(&mut input).unwrap().unwrap();
        assert_eq!((first.path, second.path), ("/1", "/2"));
        assert!(!first.reply_to().is_head && second.reply_to().is_head);
        assert!(next_head(&mut input).unwrap().is_none());
        assert_eq!(input, b"GET", "an incomplete head stays where it is");
    }

    #[test]
    fn prefers_the_host_of_an_absolute_target() {
        read("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "", |head| assert_eq!(head.host, Some("b")));
        read("GET / HTTP/1.0\r\n\r\n", "", |head| assert_eq!(head.host, None));
    }

    #[test]
    fn finds_the_framing() {
        with("", |head| assert_eq!(head.body, Framing::None));
        with("Content-Length: 0042\r\n", |head| assert_eq!(head.body, Framing::Length(42)));
        with("Transfer-Encoding: Chunked\r\n", |head| assert_eq!(head.body, Framing::Chunked));
    }

    #[test]
    fn keeps_alive_as_version_and_connection_say() {
        for (version, connection, keep_alive) in [
            (1, "", true),
            (1, "Connection: upgrade\r\n", true),
            (1, "Connection: x\r\nConnection: y, Close\r\n", false),
            (1, "Connection: keep-alive, close\r\n", false),
            (0, "", false),
            (0, "Connection: Keep-Alive\r\n", true),
            (0, "Connection: keep-alive, close\r\n", false),
        ] {
            let request = format!("GET / HTTP/1.{version}\r\nHost: a\r\n{connection}\r\n");
            assert_eq!(read(&request, "", |head| head.keep_alive), keep_alive, "{request}");
        }
    }

    #[test]
    fn expects_continue_only_with_a_body_to_wait_for() {
        with("Expect: 100-Continue\r\nContent-Length: 1\r\n", |head| assert!(head.expects_continue));
        with("Expect: 100-continue\r\n", |head| assert!(!head.expects_continue));
        let old = "POST / HTTP/1.0\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n";
        read(old, "", |head| assert!(!head.expects_continue));
    }

    #[test]
    fn joins_lists_over_fields() {
        with("X: a , b\r\nY: c\r\nx:,d\r\n", |head| {
            assert_eq!(head.elements("x").collect::<Vec<_>>(), ["a", "b", "d"]);
            assert!(head.has_element("X", "B") && !head.has_element("X", "c"));
            assert_eq!(head.single_header("x"), Err(CloseReason::MalformedRequest));
            assert_eq!(head.single_header("y"), Ok(Some("c")));
        });
    }

    #[test]
    fn does_not_take_an_unreadable_value_for_an_absent_one() {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: \xff\r\n\r\n".to_vec();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        assert_eq!(head.header("Origin"), Some(UNREADABLE));
        assert_eq!(head.values("Origin").next(), Some(&b"\xff"[..]));
        assert_eq!(head.single_header("Origin"), Err(CloseReason::MalformedRequest), "nor for a name");
    }

    #[test]
    fn holds_more_fields_than_fit_inline() {
        let lines: String = (0..HEADERS_MAX - 1).map(|index| format!("X{index}: {index}\r\n")).collect();
        with(&lines, |head| assert_eq!(head.header("X94"), Some("94")));
    }
}
