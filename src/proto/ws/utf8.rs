//! UTF-8 that arrives in pieces: each piece is validated when it arrives, and a sequence that is cut in two is carried.

/// A sequence that cannot become UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Whether `bytes`, a complete text, are UTF-8 (RFC 3629).
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Validates a text piece by piece.
#[derive(Debug, Default)]
pub struct Validator {
    /// The beginning of an incomplete sequence, valid so far.
    begun: [u8; 3],
    begun_len: u8,
}

impl Validator {
    /// Validates the next piece. The error comes with the first piece after which no continuation could make the text
    /// valid.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        if self.begun_len > 0 {
            piece = self.finish_begun(piece)?;
        }
        let (whole, tail) = piece.split_at(piece.len() - unfinished_len(piece));
        if !is_valid(whole) {
            return Err(Invalid);
        }
        self.begin(tail)
    }

    /// Whether the text may end here: no sequence is incomplete.
    pub fn is_complete(&self) -> bool {
        self.begun_len == 0
    }

    /// Joins the carried beginning with the first bytes of `piece`; returns the rest of the piece.
    fn finish_begun<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Invalid> {
        let begun_len = self.begun_len as usize;
        let missing = sequence_len(self.begun[0]) - begun_len;
        let (first, rest) = piece.split_at(missing.min(piece.len()));
        let mut joined = [0; 4];
        joined[..begun_len].copy_from_slice(&self.begun[..begun_len]);
        joined[begun_len..begun_len + first.len()].copy_from_slice(first);
        self.begun_len = 0;
        self.begin(&joined[..begun_len + first.len()])?;
        Ok(rest)
    }

    /// Validates at most one sequence. The beginning of an incomplete one is carried.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            // Without `error_len`, the only fault is that the end came too early.
            Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => {
                self.begun[..bytes.len()].copy_from_slice(bytes);
                self.begun_len = bytes.len() as u8;
                Ok(())
            }
            Err(_) => Err(Invalid),
        }
    }
}

/// How many bytes at the end of `piece` belong to an incomplete sequence: 0 to 3.
fn unfinished_len(piece: &[u8]) -> usize {
    for back in 1..=piece.len().min(3) {
        let byte = piece[piece.len() - back];
        if byte & 0xC0 != 0x80 {
            return if sequence_len(byte) > back { back } else { 0 };
        }
    }
    0
}

/// Bytes of the sequence that `lead` begins; 1 for a byte that begins none, which validation then refuses.
fn sequence_len(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `pieces` and returns whether they make up a valid text.
    fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut validator = Validator::default();
        pieces.into_iter().all(|piece| validator.feed(piece).is_ok()) && validator.is_complete()
    }

    /// The index of the byte at which the text is refused if it is fed byte by byte.
    fn refused_at(text: &[u8]) -> Option<usize> {
        let mut validator = Validator::default();
        text.chunks(1).position(|byte| validator.feed(byte).is_err())
    }

    #[test]
    fn accepts_every_split_of_every_sequence_length() {
        let text = "a\u{7F}\u{80}ß\u{7FF}\u{800}\u{D7FF}\u{E000}κόσμε\u{FFFF}\u{10000}😀\u{10FFFF}z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                assert!(judge([&text[..first], &text[first..second], &text[second..]]), "{first} {second}");
            }
        }
    }

    #[test]
    fn refuses_at_the_first_byte_that_cannot_continue() {
        assert_eq!(refused_at(b"ab\x80"), Some(2), "a continuation without a beginning");
        assert_eq!(refused_at(b"\xC0\x80"), Some(0), "overlong, two bytes");
        assert_eq!(refused_at(b"\xE0\x80\x80"), Some(1), "overlong, three bytes");
        assert_eq!(refused_at(b"\xF0\x80\x80\x80"), Some(1), "overlong, four bytes");
        assert_eq!(refused_at(b"\xED\xA0\x80"), Some(1), "a surrogate");
        assert_eq!(refused_at(b"\xF4\x90\x80\x80"), Some(1), "above U+10FFFF");
        assert_eq!(refused_at(b"\xF5\x80\x80\x80"), Some(0), "above U+10FFFF in the first byte");
        assert_eq!(refused_at(b"\xFF"), Some(0));
        assert_eq!(refused_at(b"\xF0\x9F\x98a"), Some(3), "cut short by another character");
    }

    #[test]
    fn refuses_in_the_piece_that_holds_the_mistake_although_more_could_follow() {
        let mut validator = Validator::default();
        assert_eq!(validator.feed(b"valid \xF4\x90"), Err(Invalid));
        let mut validator = Validator::default();
        assert_eq!(validator.feed("κόσμε".as_bytes()), Ok(()));
        assert_eq!(validator.feed(b"\xF4"), Ok(()));
        assert!(!validator.is_complete());
        assert_eq!(validator.feed(b"\x90"), Err(Invalid));
    }

    #[test]
    fn a_text_that_ends_within_a_sequence_is_not_complete() {
        assert!(judge([]));
        assert!(!judge([&b"abc\xE2\x82"[..]]));
        assert!(!judge([&b"\xF0"[..], b"\x9F", b"\x98"]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_at_random_splits(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..24),
                any::<String>().prop_map(String::into_bytes),
                (any::<String>(), 0usize..64, any::<u8>()).prop_map(|(text, at, byte)| {
                    let mut bytes = text.into_bytes();
                    if !bytes.is_empty() {
                        let at = at % bytes.len();
                        bytes[at] = byte;
                    }
                    bytes
                }),
            ],
            size in 1usize..9,
        ) {
            prop_assert_eq!(judge(bytes.chunks(size)), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
