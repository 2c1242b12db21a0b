//! The decision whether a request becomes a WebSocket (RFC 6455 section 4.2.1), and whether a server's answer makes it one
//! (section 4.1).

use super::answer::AnswerHead;
use super::head::Head;
use crate::proto::CloseReason;
use crate::proto::ws::handshake::{Accept, VERSION, is_key};

/// Whether the request asks for a WebSocket at all, correctly or not.
pub fn wants_websocket(head: &Head) -> bool {
    head.has_element("upgrade", "websocket")
}

/// Whether it is the request of an EventSource (the WHATWG HTML standard, "Server-sent events").
pub fn accepts_events(head: &Head<'_>) -> bool {
    let mut accepted = head.values("accept").flat_map(|value| value.split(|byte| *byte == b','));
    accepted.any(|element| {
        let media_type = element.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// The key to answer, if the request is a valid opening handshake.
///
/// A request that does not ask for a WebSocket, or asks for another version, is told what is supported
/// (`UpgradeRequired`); a malformed handshake is `NotUpgradable`.
pub fn websocket_key<'a>(head: &Head<'a>) -> Result<&'a str, CloseReason> {
    if !wants_websocket(head) {
        return Err(CloseReason::UpgradeRequired);
    }
    // We would read a body as frames, and a proxy in front of us would read it as a body.
    let is_opening = head.method == "GET"
        && head.minor_version == 1
        && head.has_element("connection", "upgrade")
        && head.body.is_empty();
    if !is_opening {
        return Err(CloseReason::NotUpgradable);
    }
    let version = head.single_header("sec-websocket-version").map_err(|_| CloseReason::NotUpgradable)?;
    if version != Some(VERSION) {
        return Err(CloseReason::UpgradeRequired);
    }
    match head.single_header("sec-websocket-key") {
        Ok(Some(key)) if is_key(key) => Ok(key),
        _ => Err(CloseReason::NotUpgradable),
    }
}

/// Whether the answer to an opening handshake, whose key has this answer, makes the connection a WebSocket. Nothing less does:
/// otherwise the client's frames could be read as requests by the server, and its answers as frames by the client.
pub fn is_switched(answer: &AnswerHead, accept: &Accept) -> bool {
    let mut upgrades = answer.elements("upgrade");
    let is_websocket = upgrades.next().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    answer.status == 101
        && answer.minor_version == 1
        && is_websocket
        && upgrades.next().is_none()
        && answer.has_element("connection", "upgrade")
        && answer.single_header("sec-websocket-accept") == Ok(Some(accept.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::{next_answer, next_head};
    use crate::proto::ws::handshake::accept;

    const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    /// The result for the valid handshake with one part replaced.
    fn with(part: &str, replacement: &str) -> Result<String, CloseReason> {
        assert!(GOOD.contains(part));
        let mut request = GOOD.replace(part, replacement).into_bytes();
        let mut input = &mut request[..];
        let head = next_head(&mut input).unwrap().unwrap();
        websocket_key(&head).map(str::to_owned)
    }

    #[test]
    fn accepts_the_handshake_of_rfc_6455() {
        assert_eq!(with("GET", "GET"), Ok("dGhlIHNhbXBsZSBub25jZQ==".into()));
        assert!(with("Upgrade: WebSocket", "Upgrade: h2c\r\nUpgrade: foo , websocket").is_ok());
        assert!(with("Host: a", "Host: a\r\nContent-Length: 0").is_ok());
        let with_stray_bits = "AQIDBAUGBwgJCgsMDQ4PEC==";
        assert_eq!(with("dGhlIHNhbXBsZSBub25jZQ==", with_stray_bits), Ok(with_stray_bits.into()));
    }

    #[test]
    fn asks_for_version_13() {
        for (part, replacement) in [
            ("Upgrade: WebSocket\r\n", ""),
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("Version: 13", "Version: 8"),
            ("Version: 13", "Version: 8, 13"),
            ("Sec-WebSocket-Version: 13\r\n", ""),
        ] {
            assert_eq!(with(part, replacement), Err(CloseReason::UpgradeRequired), "{part} -> {replacement}");
        }
    }

    #[test]
    fn refuses_a_malformed_handshake() {
        for (part, replacement) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("keep-alive, Upgrade", "keep-alive"),
            ("Host: a", "Host: a\r\nContent-Length: 5"),
            ("Host: a", "Host: a\r\nTransfer-Encoding: chunked"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Version: 13"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            ("dGhlIHNhbXBsZSBub25jZQ==", ""),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWFi"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWFiYw=="),
        ] {
            assert_eq!(with(part, replacement), Err(CloseReason::NotUpgradable), "{part} -> {replacement}");
        }
    }

    #[test]
    fn only_the_answer_to_the_key_makes_it_a_websocket() {
        const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let with = |part: &str, replacement: &str| {
            assert!(SWITCHED.contains(part));
            let mut answer = SWITCHED.replace(part, replacement).into_bytes();
            let head = next_answer(&mut &mut answer[..], false).unwrap().unwrap();
            is_switched(&head, &accept("dGhlIHNhbXBsZSBub25jZQ=="))
        };
        assert!(with("101", "101"));
        for (part, replacement) in [
            ("101", "200"),
            ("101", "102"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Upgrade: WebSocket\r\n", ""),
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("Upgrade: WebSocket", "Upgrade: websocket, h2c"),
            ("keep-alive, Upgrade", "keep-alive"),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", ""),
            ("Connection", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nConnection"),
        ] {
            assert!(!with(part, replacement), "{part} -> {replacement}");
        }
    }
}
