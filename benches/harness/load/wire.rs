//! What a subscriber reads: frames or records, told apart by what a server of messages without line ends sends.

use memchr::memchr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    WebSocket,
    EventStream,
}

/// First bytes of a client's last frame of a message: FIN and opcode.
pub const TEXT: u8 = 0x81;
pub(super) const PONG: u8 = 0x8a;
/// Two of flags and length, eight of a longer length, four of mask.
pub(super) const CLIENT_HEADER_BYTES_MAX: usize = 14;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    Message(&'a [u8]),
    /// To be answered with the same payload.
    Ping(&'a [u8]),
    /// A heartbeat, or advice.
    Nothing,
}

/// The first unit and how many bytes it takes; `None` if it is not whole.
pub(super) fn split(framing: Framing, bytes: &[u8]) -> Result<Option<(Unit<'_>, usize)>, String> {
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
            return Err(format!("the server closes: {:?}", String::from_utf8_lossy(payload.get(2..).unwrap_or(&[]))));
        }
        other => return Err(format!("an unexpected frame, {other:#04x}")),
    };
    Ok(Some((unit, head_len + payload_len)))
}

/// One event stream record, up to its empty line. The stream comes in chunks (RFC 9112 section 7.1), one or two a record, which end
/// behind a line: so the lines of the chunks, which end in CR, are passed over as fields without a meaning are.
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

/// RFC 6455 section 5.2, from a client: masked, with a mask of zeros, which changes nothing.
pub fn write_client_frame(out: &mut Vec<u8>, head: u8, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(head);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        long @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
        longer => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(longer as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// From a server: a text, unmasked, shorter than 64 KiB.
pub(crate) fn write_server_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(TEXT);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        long => {
            out.push(126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_frames_off_the_front() {
        let bytes = b"\x81\x02hi\x89\x00\x82\x7e\x00\x80";
        assert_eq!(split(Framing::WebSocket, bytes), Ok(Some((Unit::Message(b"hi"), 4))));
        assert_eq!(split(Framing::WebSocket, &bytes[4..]), Ok(Some((Unit::Ping(b""), 2))));
        assert_eq!(split(Framing::WebSocket, &bytes[6..]), Ok(None));
        assert!(split(Framing::WebSocket, b"\x88\x02\x03\xe9").is_err());
    }

    #[test]
    fn takes_records_off_the_front() {
        let bytes = b"id: 1\ndata: hi\n\n: alive\n\ndata: ";
        assert_eq!(split(Framing::EventStream, bytes), Ok(Some((Unit::Message(b"hi"), 16))));
        assert_eq!(split(Framing::EventStream, &bytes[16..]), Ok(Some((Unit::Nothing, 9))));
        assert_eq!(split(Framing::EventStream, &bytes[25..]), Ok(None));
        let chunks = b"10\r\nid: 1\ndata: hi\n\n\r\n6\r\nid: 2\n\r\nb\r\ndata: two\n\n\r\n";
        assert_eq!(split(Framing::EventStream, chunks), Ok(Some((Unit::Message(b"hi"), 20))));
        assert_eq!(split(Framing::EventStream, &chunks[20..]), Ok(Some((Unit::Message(b"two"), 27))));
    }

    #[test]
    fn a_clients_frame_is_masked() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            write_client_frame(&mut frame, 0x81, &vec![b'a'; length]);
            assert_eq!(frame[1] & 0x80, 0x80);
            assert!(frame.len() - length <= CLIENT_HEADER_BYTES_MAX);
        }
    }
}
