//! The decision whether a request becomes a WebSocket (RFC 6455 section 4.2.1).

use super::head::Head;
use crate::proto::CloseReason;
use crate::proto::ws::handshake::{VERSION, is_key};

/// Whether the request asks for a WebSocket at all, correctly or not.
pub fn wants_websocket(head: &Head) -> bool {
    head.has_element("upgrade", "websocket")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

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
}
