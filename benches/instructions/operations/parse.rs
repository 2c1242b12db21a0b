//! Bytes to meaning and back: the pure functions of `proto`.

use std::hint::black_box;

use tidegate::limits;
use tidegate::proto::bus::{self, BusLimits};
use tidegate::proto::http::{next_head, websocket_key};
use tidegate::proto::sse;
use tidegate::proto::ws::{Opcode, SessionLimits, WebSocketSession, frame, mask};

use super::payload;

/// Text under this mask is still text, so a frame that has been unmasked where it lies is valid the next time, too.
const MASK: mask::Mask = [1, 2, 3, 4];

pub fn unmask() -> Box<dyn FnMut()> {
    let mut bytes = vec![b'a'; 1024];
    Box::new(move || mask::apply(black_box(&mut bytes), MASK))
}

pub fn frame() -> Box<dyn FnMut()> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, true, Opcode::Text, &payload(), MASK);
    let (mut session, limits) = (WebSocketSession::server(), SessionLimits::default());
    Box::new(move || {
        let step = session.next(&mut black_box(&mut bytes[..]), &limits);
        assert!(matches!(black_box(step), Ok(Some(_))));
    })
}

/// What Chromium sends.
const UPGRADE: &str = "GET /ws/1 HTTP/1.1\r\n\
    Host: example.org\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

pub fn upgrade() -> Box<dyn FnMut()> {
    let mut bytes = UPGRADE.as_bytes().to_vec();
    Box::new(move || {
        let mut input = black_box(&mut bytes[..]);
        let head = next_head(&mut input).ok().flatten().expect("the head is whole");
        assert!(black_box(websocket_key(&head)).is_ok());
    })
}

pub fn publish() -> Box<dyn FnMut()> {
    let limits = BusLimits {
        control_line_bytes_max: limits::CONTROL_LINE_BYTES_MAX,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
    };
    let payload = payload();
    let mut bytes = format!("PUB driver.location.42 {}\r\n", payload.len()).into_bytes();
    bytes.extend(payload);
    bytes.extend(b"\r\n");
    Box::new(move || {
        let verb = bus::next(&mut black_box(&mut bytes[..]), &limits);
        assert!(matches!(black_box(verb), Ok(Some(_))));
    })
}

pub fn record() -> Box<dyn FnMut()> {
    let payload = payload();
    let mut out = Vec::with_capacity(2 * payload.len());
    Box::new(move || {
        out.clear();
        sse::write_record(black_box(&mut out), Some("0000abcd-1234"), Some("location"), black_box(&payload));
    })
}
