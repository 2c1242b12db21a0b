//! What bad HTTP heads get: each row of the table of bad input, request smuggling, and heads that come in pieces.

use tidegate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use tidegate::proto::CloseReason::{self, *};
use tidegate::proto::http::next_head;

/// What becomes of these bytes: the paths of all heads, or the reason of the refusal.
fn verdict(bytes: &[u8]) -> Result<Vec<String>, CloseReason> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut paths = Vec::new();
    while let Some(head) = next_head(&mut input)? {
        paths.push(head.path.to_owned());
    }
    Ok(paths)
}

/// The same when only one more byte is there each time.
fn verdict_byte_by_byte(bytes: &[u8]) -> Result<Vec<String>, CloseReason> {
    let mut carry = Vec::new();
    let mut paths = Vec::new();
    for &byte in bytes {
        carry.push(byte);
        let mut input = &mut carry[..];
        while let Some(head) = next_head(&mut input)? {
            paths.push(head.path.to_owned());
        }
        carry = input.to_vec();
    }
    Ok(paths)
}

fn assert_refused(request: &[u8], reason: CloseReason) {
    assert_eq!(verdict(request), Err(reason), "{}", request.escape_ascii());
    assert_eq!(verdict_byte_by_byte(request), Err(reason), "byte by byte: {}", request.escape_ascii());
}

/// A request with these lines after its request line and `Host`.
fn with(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").into_bytes()
}

#[test]
fn takes_heads_that_come_byte_by_byte() {
    let requests =
        b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2?q HTTP/1.0\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost:\r\n\r\nGET";
    let paths = Ok(vec!["/1".into(), "/2".into(), "/3".into()]);
    assert_eq!(verdict(requests), paths);
    assert_eq!(verdict_byte_by_byte(requests), paths);
}

#[test]
fn malformed_request_lines_get_400() {
    for request in [
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTQ/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.12\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\\a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_refused(request.as_bytes(), MalformedRequest);
    }
}

#[test]
fn malformed_fields_get_400() {
    for request in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX[1]: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n",
    ] {
        assert_refused(request.as_bytes(), MalformedRequest);
    }
}

#[test]
fn a_missing_repeated_or_invalid_host_gets_400() {
    for lines in
        ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@a\r\n"]
    {
        assert_refused(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), MalformedRequest);
        assert_refused(format!("GET http://a/ HTTP/1.1\r\n{lines}\r\n").as_bytes(), MalformedRequest);
    }
    assert_refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", MalformedRequest);
}

#[test]
fn ambiguous_framing_gets_400() {
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: 1 1",
        "Content-Length:",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 1.0",
        "Content-Length: 1a",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ,chunked",
    ] {
        assert_refused(&with(lines), BadFraming);
    }
    assert_refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BadFraming);
}

#[test]
fn framing_fields_in_disguise_get_400() {
    for lines in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\0",
        "\0Transfer-Encoding: chunked",
        "Content-Length: 1\n",
        "Content-\r\nLength: 1",
    ] {
        assert_refused(&with(lines), MalformedRequest);
    }
}

#[test]
fn another_expectation_gets_417() {
    assert_refused(&with("Expect: 200-ok"), ExpectationFailed);
    assert_refused(&with("Expect: 100-continue, more"), ExpectationFailed);
}

#[test]
fn another_version_gets_505() {
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3"] {
        assert_refused(format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes(), UnsupportedVersion);
    }
    assert_refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion);
}

#[test]
fn a_long_target_gets_414_before_the_head_is_whole() {
    let longest = format!("/{}", "a".repeat(TARGET_BYTES_MAX - 1));
    assert_eq!(verdict(format!("GET {longest} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()), Ok(vec![longest.clone()]));
    assert_eq!(verdict(format!("GET {longest}").as_bytes()), Ok(vec![]));
    assert_eq!(verdict(format!("GET {longest}a").as_bytes()), Err(TargetTooLong));
    assert_eq!(verdict(format!("GET {longest}a HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()), Err(TargetTooLong));
    assert_eq!(verdict(format!("GET {} HTTP/1.1\r\n\r\n", longest.repeat(3)).as_bytes()), Err(TargetTooLong));
}

#[test]
fn a_large_head_gets_431_whole_or_not() {
    let head_of = |len: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nCookie: ", "\r\n\r\n");
        format!("{start}{}{end}", "c".repeat(len - start.len() - end.len())).into_bytes()
    };
    let largest = head_of(HEAD_BYTES_MAX);
    assert_eq!(verdict(&largest), Ok(vec!["/".into()]));
    assert_eq!(verdict(&[&b"\r\n"[..], &largest].concat()), Ok(vec!["/".into()]), "the empty line is not the head's");
    assert_eq!(verdict(&largest[..HEAD_BYTES_MAX - 1]), Ok(vec![]));
    assert_eq!(verdict(&head_of(HEAD_BYTES_MAX + 1)), Err(HeadTooLarge));
    assert_eq!(verdict(&head_of(HEAD_BYTES_MAX + 5)[..HEAD_BYTES_MAX]), Err(HeadTooLarge));
    assert_eq!(verdict(&[b'G'; HEAD_BYTES_MAX]), Err(HeadTooLarge));
}

#[test]
fn too_many_fields_get_431() {
    assert_eq!(verdict(&with(&vec!["X: y"; HEADERS_MAX - 1].join("\r\n"))), Ok(vec!["/".into()]));
    assert_refused(&with(&vec!["X: y"; HEADERS_MAX].join("\r\n")), HeadTooLarge);
}

#[test]
fn another_protocol_gets_400_without_waiting_for_an_empty_line() {
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"\0", b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\n"] {
        assert_refused(bytes, MalformedRequest);
    }
}
