//! A frame's header and how frames are written (RFC 6455 section 5.2).

use std::rc::Rc;

use crate::base::joined;
use crate::limits::CONTROL_BYTES_MAX;
use crate::proto::CloseReason;

use super::mask::{self, Mask};

/// Longest header: 2 bytes, 8 of length, 4 of mask.
pub const HEADER_BYTES_MAX: usize = 14;
/// Longest reason of a close frame: a control frame less the 2 bytes of the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The purpose of a frame (RFC 6455 section 11.8); the reserved ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: Option<Mask>,
    /// Below 2^63, and at most [`CONTROL_BYTES_MAX`] in a control frame.
    pub len: u64,
}

impl FrameHeader {
    /// Reads the header at the front of `input` and says how many bytes it has; `None` if it is not whole.
    ///
    /// An error in the first two bytes is refused without waiting for more bytes.
    pub fn parse(input: &[u8]) -> Result<Option<(FrameHeader, usize)>, CloseReason> {
        let &[first, second, ref rest @ ..] = input else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(CloseReason::WebSocketProtocol)?;
        let fin = first & FIN != 0;
        let short_len = second & !MASKED;
        if first & RESERVED != 0 || opcode.is_control() && !(fin && short_len as usize <= CONTROL_BYTES_MAX) {
            return Err(CloseReason::WebSocketProtocol);
        }
        // "The minimal number of bytes MUST be used to encode the length" (section 5.2), and its top bit is 0.
        let (len, rest, range) = match short_len {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u16::from_be_bytes(*len).into(), rest, 126..=u16::MAX.into())
            }
            127 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*len), rest, 1 << 16..=i64::MAX as u64)
            }
            len => (len.into(), rest, 0..=125),
        };
        if !range.contains(&len) {
            return Err(CloseReason::WebSocketProtocol);
        }
        let (mask, rest) = match rest.split_first_chunk() {
            _ if second & MASKED == 0 => (None, rest),
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        };
        Ok(Some((FrameHeader { fin, opcode, mask, len }, input.len() - rest.len())))
    }

    /// The header at the front of the array, and its length.
    fn bytes(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = if self.fin { FIN } else { 0 } | self.opcode as u8;
        let mut written = if self.len < 126 {
            bytes[1] = masked | self.len as u8;
            2
        } else if let Ok(len) = u16::try_from(self.len) {
            bytes[1] = masked | 126;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            4
        } else {
            bytes[1] = masked | 127;
            bytes[2..10].copy_from_slice(&self.len.to_be_bytes());
            10
        };
        if let Some(mask) = &self.mask {
            bytes[written..written + mask.len()].copy_from_slice(mask);
            written += mask.len();
        }
        (bytes, written)
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (bytes, written) = self.bytes();
        out.extend_from_slice(&bytes[..written]);
    }
}

/// Appends the header of a server's unfragmented frame; the caller appends `payload_len` bytes of payload.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    FrameHeader { fin: true, opcode, mask: None, len: payload_len as u64 }.write(out);
}

/// A server's unfragmented frame, shared by many connections.
pub fn shared(opcode: Opcode, payload: &[u8]) -> Rc<[u8]> {
    let (header, written) = FrameHeader { fin: true, opcode, mask: None, len: payload.len() as u64 }.bytes();
    joined(&[&header[..written], payload])
}

/// Appends a server's unfragmented frame.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a server's close frame. A longer `reason` is cut at a character boundary, to [`REASON_BYTES_MAX`].
///
/// Without a code, or with one that must not be sent (1006, "the connection broke", is only observed), the frame is
/// empty, which the peer sees as 1005 (RFC 6455 section 7.1.5).
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let Some(code) = code.filter(|&code| is_close_code(code)) else {
        return write_header(out, Opcode::Close, 0);
    };
    let mut reason_len = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(reason_len) {
        reason_len -= 1;
    }
    let reason = &reason[..reason_len];
    write_header(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a client's frame.
pub fn write_masked(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], mask: Mask) {
    FrameHeader { fin, opcode, mask: Some(mask), len: payload.len() as u64 }.write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], mask);
}

/// Whether a close frame may carry `code` (RFC 6455 section 7.4 and the registry of section 11.7).
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REFUSED: Result<Option<(FrameHeader, usize)>, CloseReason> = Err(CloseReason::WebSocketProtocol);

    fn written(header: FrameHeader) -> Vec<u8> {
        let mut out = Vec::new();
        header.write(&mut out);
        out
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let hello = FrameHeader { fin: true, opcode: Opcode::Text, mask: None, len: 5 };
        assert_eq!(FrameHeader::parse(b"\x81\x05Hello"), Ok(Some((hello, 2))));
        let masked = FrameHeader { mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..hello };
        assert_eq!(FrameHeader::parse(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Ok(Some((masked, 6))));
        let binary = FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, len: 256 };
        assert_eq!(FrameHeader::parse(b"\x82\x7E\x01\x00"), Ok(Some((binary, 4))));
        assert_eq!(
            FrameHeader::parse(b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00"),
            Ok(Some((FrameHeader { len: 65_536, ..binary }, 10)))
        );
    }

    #[test]
    fn refuses_reserved_bits_and_opcodes_from_the_first_two_bytes() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(FrameHeader::parse(&[0x81 | bit, 0x80]), REFUSED);
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(FrameHeader::parse(&[0x80 | opcode, 0x80]), REFUSED);
        }
    }

    #[test]
    fn refuses_control_frames_that_are_fragments_or_long() {
        assert_eq!(FrameHeader::parse(b"\x09\x80"), REFUSED);
        assert_eq!(FrameHeader::parse(b"\x89\xFE"), REFUSED);
        assert_eq!(FrameHeader::parse(b"\x88\xFF"), REFUSED);
        assert_eq!(FrameHeader::parse(b"\x89\xFD"), Ok(None), "125 bytes are allowed");
    }

    #[test]
    fn refuses_lengths_that_are_not_minimal_or_negative() {
        assert_eq!(FrameHeader::parse(b"\x82\x7E\x00\x7D"), REFUSED);
        assert_eq!(FrameHeader::parse(b"\x82\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF"), REFUSED);
        assert_eq!(FrameHeader::parse(b"\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00"), REFUSED);
    }

    #[test]
    fn a_close_frame_carries_code_and_reason_cut_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, Some(1001), "bye");
        assert_eq!(out, b"\x88\x05\x03\xE9bye");
        out.clear();
        write_close(&mut out, Some(1000), &"ß".repeat(100));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn a_close_code_that_must_not_be_sent_is_left_out() {
        for code in [None, Some(1005), Some(1006), Some(1015), Some(0)] {
            let mut out = Vec::new();
            write_close(&mut out, code, "not sent");
            assert_eq!(out, b"\x88\x00");
        }
    }

    #[test]
    fn knows_the_close_codes_of_the_registry() {
        let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        assert!(allowed.into_iter().all(is_close_code));
        let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
        assert!(!refused.into_iter().any(is_close_code));
    }

    fn headers() -> impl Strategy<Value = FrameHeader> {
        const OPCODES: [Opcode; 6] =
            [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
        let lens = prop_oneof![0u64..130, 65_530u64..65_540, 0..=i64::MAX as u64];
        (any::<bool>(), proptest::sample::select(&OPCODES), any::<Option<Mask>>(), lens).prop_map(
            |(fin, opcode, mask, len)| match opcode.is_control() {
                true => FrameHeader { fin: true, opcode, mask, len: len.min(CONTROL_BYTES_MAX as u64) },
                false => FrameHeader { fin, opcode, mask, len },
            },
        )
    }

    proptest! {
        #[test]
        fn reads_what_it_writes_and_waits_for_every_byte_of_it(header in headers()) {
            let bytes = written(header);
            prop_assert!(bytes.len() <= HEADER_BYTES_MAX);
            prop_assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, bytes.len()))));
            for len in 0..bytes.len() {
                prop_assert_eq!(FrameHeader::parse(&bytes[..len]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_give_a_header_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some((header, len))) = FrameHeader::parse(&bytes) {
                prop_assert_eq!(&written(header)[..], &bytes[..len]);
            }
        }
    }
}
