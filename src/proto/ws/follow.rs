//! Where one direction of a WebSocket stands between its frames, without a look at what they carry.
//!
//! ```text
//!  input --> next --> whole headers, and as much of their payloads as is there: passed on as they came
//!               '--- part of a header stays in the input: so what has been passed on ends within a payload, or at a border
//! ```
//!
//! A proxy that passes frames on can write a frame of its own only between two of theirs. It allows what an extension may
//! change (reserved bits, unknown opcodes): it is for the two ends to refuse that.

use super::frame::Opcode;
use crate::limits::CONTROL_BYTES_MAX;

/// See the module's picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// Bytes up to the next border.
    left: u64,
    /// Something came that is no frame. Everything is passed on, and no border is known again.
    is_lost: bool,
    /// A Close has begun: no frame may follow it (RFC 6455 section 5.5.1).
    has_closed: bool,
}

/// Where a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStand {
    /// Another frame may follow.
    Border,
    /// Another frame may follow once the one that has begun is whole.
    Within,
    /// None may: a Close has begun, or what is no frame.
    Nowhere,
}

/// A piece of one direction.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed<'a> {
    pub bytes: &'a [u8],
    /// A frame begins in it.
    pub begins: bool,
}

/// The header at the front of some bytes.
enum Front {
    Part,
    Header { bytes: usize, payload: u64, opcode: u8 },
    NoFrame,
}

impl Follow {
    /// Takes what may be passed on off the front of `input`: up to the end of the first frame that begins in it if `is_single`, or
    /// else as much as there is. `None`: nothing is, or a header is not whole.
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8], is_single: bool) -> Option<Followed<'a>> {
        let (mut taken, mut begins) = (0, false);
        while taken < input.len() {
            if self.is_lost {
                taken = input.len();
            } else if self.left > 0 {
                let payload = (input.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= payload as u64;
                taken += payload;
            } else if is_single && begins {
                break;
            } else {
                match front(&input[taken..]) {
                    Front::Part => break,
                    Front::NoFrame => self.is_lost = true,
                    Front::Header { bytes, payload, opcode } => {
                        (self.left, begins) = (payload, true);
                        self.has_closed |= opcode == Opcode::Close as u8;
                        taken += bytes;
                    }
                }
            }
        }
        if taken == 0 {
            return None;
        }
        let (bytes, rest) = std::mem::take(input).split_at_mut(taken);
        *input = rest;
        Some(Followed { bytes, begins })
    }

    /// Where what has been passed on ends.
    pub fn stand(&self) -> FrameStand {
        match self.left {
            _ if self.is_lost || self.has_closed => FrameStand::Nowhere,
            0 => FrameStand::Border,
            _ => FrameStand::Within,
        }
    }
}

/// RFC 6455 section 5.2.
fn front(bytes: &[u8]) -> Front {
    let &[first, second, ref rest @ ..] = bytes else { return Front::Part };
    let (opcode, short, mask) = (first & 0x0F, second & 0x7F, if second & 0x80 == 0 { 0 } else { 4 });
    let is_control = opcode & 0x8 != 0;
    if is_control && (first & 0x80 == 0 || usize::from(short) > CONTROL_BYTES_MAX) {
        return Front::NoFrame;
    }
    let (length, payload) = match short {
        126 => match rest.first_chunk() {
            Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
            None => return Front::Part,
        },
        127 => match rest.first_chunk() {
            Some(length) => (8, u64::from_be_bytes(*length)),
            None => return Front::Part,
        },
        short => (0, short.into()),
    };
    // The top bit of a length is 0.
    if payload > i64::MAX as u64 {
        return Front::NoFrame;
    }
    let bytes = 2 + length + mask;
    if rest.len() + 2 < bytes { Front::Part } else { Front::Header { bytes, payload, opcode } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::FrameHeader;
    use super::*;

    fn frame(opcode: Opcode, mask: Option<[u8; 4]>, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        FrameHeader { fin: true, opcode, mask, len: len as u64 }.write(&mut bytes);
        bytes.resize(bytes.len() + len, 7);
        bytes
    }

    /// The part that is passed on of these bytes, which arrive in pieces that end at `cuts`, and where the follower stands then.
    fn passed(bytes: &[u8], cuts: &[usize], is_single: bool) -> (Vec<u8>, usize, Follow) {
        let (mut follow, mut out, mut begun, mut carry, mut fed) = (Follow::default(), Vec::new(), 0, Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            carry.extend_from_slice(&bytes[fed..cut]);
            fed = cut;
            let mut input = &mut carry[..];
            while let Some(Followed { bytes, begins }) = follow.next(&mut input, is_single) {
                assert!(!bytes.is_empty());
                out.extend_from_slice(bytes);
                begun += usize::from(begins);
            }
            carry = input.to_vec();
        }
        (out, begun, follow)
    }

    #[test]
    fn passes_on_whole_headers_and_what_is_there_of_payloads() {
        let bytes = frame(Opcode::Text, Some([1, 2, 3, 4]), 300);
        let (out, _, follow) = passed(&bytes[..7], &[], false);
        assert_eq!((out.len(), follow.stand()), (0, FrameStand::Border), "the mask is not whole");
        let (out, _, follow) = passed(&bytes[..8], &[], false);
        assert_eq!((out.len(), follow.stand()), (8, FrameStand::Within));
        let (out, _, follow) = passed(&bytes, &[], false);
        assert_eq!((out, follow.stand()), (bytes, FrameStand::Border));
    }

    #[test]
    fn nothing_may_follow_a_close() {
        let bytes = [frame(Opcode::Text, None, 5), frame(Opcode::Close, None, 2)].concat();
        let (out, _, follow) = passed(&bytes, &[], false);
        assert_eq!((out, follow.stand()), (bytes, FrameStand::Nowhere));
    }

    #[test]
    fn what_is_no_frame_is_passed_on_and_no_border_is_known_again() {
        for garbage in [&b"\x09\x00"[..], b"\x89\x7e\x01\x00", b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let bytes = [garbage, &frame(Opcode::Text, None, 5)].concat();
            let (out, _, follow) = passed(&bytes, &[], false);
            assert_eq!((out, follow.stand()), (bytes, FrameStand::Nowhere));
        }
    }

    #[test]
    fn extensions_may_use_reserved_bits_and_opcodes() {
        let bytes = [&b"\xc1\x02hi"[..], b"\xb3\x01x", b"\xbb\x00"].concat();
        let (out, begun, follow) = passed(&bytes, &[], true);
        assert_eq!((out, begun, follow.stand()), (bytes, 3, FrameStand::Border));
    }

    #[test]
    fn a_length_need_not_be_the_shortest() {
        let (_, _, follow) = passed(b"\x82\x7e\x00\x01x", &[], false);
        assert_eq!(follow.stand(), FrameStand::Border);
    }

    proptest! {
        #[test]
        fn any_split_passes_the_same_bytes_and_counts_the_same_frames(
            frames in prop::collection::vec((any::<bool>(), 0..70_000_usize), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let each = frames.iter().map(|(is_masked, len)| frame(Opcode::Binary, is_masked.then_some([9; 4]), *len));
            let bytes = each.collect::<Vec<_>>().concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let (out, begun, follow) = passed(&bytes, &cuts, true);
            prop_assert_eq!(&out, &bytes);
            prop_assert_eq!((begun, follow.stand()), (frames.len(), FrameStand::Border));
            prop_assert_eq!(passed(&bytes, &cuts, false).0, bytes);
        }

        #[test]
        fn nothing_is_lost_of_whatever_comes(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let (out, _, follow) = passed(&bytes, &[at.index(bytes.len() + 1)], false);
            prop_assert!(bytes.starts_with(&out));
            prop_assert!(bytes.len() - out.len() < super::super::frame::HEADER_BYTES_MAX);
            prop_assert!(out.len() == bytes.len() || follow.left == 0);
        }
    }
}
