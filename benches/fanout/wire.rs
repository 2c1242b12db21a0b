//! What a subscriber reads: frames or records, told apart by what a server of messages without line ends sends.

use memchr::memchr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    WebSocket,
    EventStream,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Unit<'a> {
    Message(&'a [u8]),
    /// To be answered with the same payload.
    Ping(&'a [u8]),
    /// A heartbeat, or advice.
    Nothing,
}

/// The first unit and how many bytes it takes; `None` if it is not whole.
pub fn split(framing: Framing, bytes: &[u8]) -> Result<Option<(Unit<'_>, usize)>, String> {
    match framing {
        Framing::WebSocket => split_frame(bytes),
        Framing::EventStream => Ok(split_record(bytes)),
    }
}

/// RFC 6455 section 5.2, from a server: unmasked.
fn split_frame(bytes: &[u8]) -> Result<Option<(Unit<'_>, usize)>, String> {
    let (head_len, payload_len) = match bytes {
        [_, len @ 0..=125, ..] => (2, usize::from(*len)),
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize),
        [_, 128..=255, ..] => return Err("a server's frame is masked".to_owned()),
        _ => return Ok(None),
    };
    let Some(payload) = bytes.get(head_len..head_len + payload_len) else { return Ok(None) };
    let unit = match bytes[0] {
        0x81 | 0x82 => Unit::Message(payload),
        0x89 => Unit::Ping(payload),
        0x88 => {
            return Err(format!("the gateway closes: {:?}", String::from_utf8_lossy(payload.get(2..).unwrap_or(&[]))));
        }
        other => return Err(format!("an unexpected frame, {other:#04x}")),
    };
    Ok(Some((unit, head_len + payload_len)))
}

/// One event stream record, up to its empty line.
fn split_record(bytes: &[u8]) -> Option<(Unit<'_>, usize)> {
    let mut unit = Unit::Nothing;
    let mut at = 0;
    loop {
        let line = &bytes[at..at + memchr(b'\n', &bytes[at..])?];
        at += line.len() + 1;
        if line.is_empty() {
            return Some((unit, at));
        }
        if let Some(payload) = line.strip_prefix(b"data: ") {
            unit = Unit::Message(payload);
        }
    }
}
