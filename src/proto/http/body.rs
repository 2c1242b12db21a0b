//! The body of a request or an answer: by length, in chunks, or until the end of the connection (RFC 9112 sections 6 and 7),
//! taken off the input piece by piece.

use std::mem;

use memchr::memmem;

use crate::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX};
use crate::proto::CloseReason;

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    /// The end of the connection ends it; only an answer can have such a body (RFC 9112 section 6.3).
    UntilEnd,
}

impl Framing {
    /// Whether there is no body.
    pub fn is_empty(self) -> bool {
        matches!(self, Framing::None | Framing::Length(0))
    }
}

/// The result of [`Body::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum BodyStep<'a> {
    /// Never empty.
    Data(&'a [u8]),
    /// The body is complete; the rest of the input belongs to the next request.
    End,
    /// The input holds nothing usable, or there is no room for it; the caller keeps it and calls again with more input
    /// or room.
    NeedMore,
}

/// Decodes one body, as fast as its consumer has room.
///
/// ```text
/// Sized ------------------------------------------------> Done
/// UntilEnd                                               (never over: the caller knows of the end)
/// ChunkSize -> ChunkData -> ChunkEnd -> ChunkSize ..
///     '-- size 0 --> Trailers --------------------------> Done
/// ```
#[derive(Debug)]
pub struct Body {
    state: BodyState,
    /// Bytes of content that may still arrive in chunks.
    room: u64,
    /// Bytes of chunk extensions and trailers that may still arrive. All of them are discarded, so they share one
    /// bound.
    discarded_room: usize,
}

#[derive(Debug)]
enum BodyState {
    /// This many bytes of content follow.
    Sized(u64),
    /// All bytes are content.
    UntilEnd,
    /// A line with the size of the next chunk follows.
    ChunkSize,
    /// This many bytes of the chunk follow; never 0.
    ChunkData(u64),
    /// The line end after the chunk follows.
    ChunkEnd,
    /// Trailer fields and the empty line follow.
    Trailers,
    Done,
}

impl Body {
    /// A body of at most `bytes_max` bytes; one that announces more is refused at once.
    pub fn new(framing: Framing, bytes_max: u64) -> Result<Body, CloseReason> {
        let state = match framing {
            Framing::None | Framing::Length(0) => BodyState::Done,
            Framing::Length(len) if len > bytes_max => return Err(CloseReason::BodyTooLarge),
            Framing::Length(len) => BodyState::Sized(len),
            Framing::Chunked => BodyState::ChunkSize,
            Framing::UntilEnd => BodyState::UntilEnd,
        };
        Ok(Body { state, room: bytes_max, discarded_room: HEAD_BYTES_MAX })
    }

    /// Takes the next piece off the front of `input`. After an error the connection must not be read further.
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<BodyStep<'a>, CloseReason> {
        self.next_within(input, usize::MAX)
    }

    /// The same, with at most `room` bytes of content. The framing between the pieces, and the end, need no room.
    pub fn next_within<'a>(&mut self, input: &mut &'a mut [u8], room: usize) -> Result<BodyStep<'a>, CloseReason> {
        loop {
            match self.state {
                BodyState::Done => return Ok(BodyStep::End),
                BodyState::Sized(left) => return Ok(self.data(input, room, left, BodyState::Sized, BodyState::Done)),
                BodyState::UntilEnd => {
                    let usable = room.min(input.len());
                    return Ok(if usable == 0 { BodyStep::NeedMore } else { BodyStep::Data(take(input, usable)) });
                }
                BodyState::ChunkData(left) => {
                    return Ok(self.data(input, room, left, BodyState::ChunkData, BodyState::ChunkEnd));
                }
                BodyState::ChunkSize => match take_line(input, CHUNK_LINE_BYTES_MAX)? {
                    Some(line) => self.state = self.chunk(line)?,
                    None => return Ok(BodyStep::NeedMore),
                },
                BodyState::ChunkEnd => match take_line(input, 2)? {
                    Some(_) => self.state = BodyState::ChunkSize,
                    None => return Ok(BodyStep::NeedMore),
                },
                BodyState::Trailers => match take_line(input, self.discarded_room + 2)? {
                    Some(b"") => self.state = BodyState::Done,
                    Some(line) => {
                        check_trailer(line)?;
                        self.discard(line.len())?;
                    }
                    None => return Ok(BodyStep::NeedMore),
                },
            }
        }
    }

    /// Whether the body is complete.
    pub fn is_over(&self) -> bool {
        matches!(self.state, BodyState::Done)
    }

    /// Whether the end of the connection, now, leaves it whole.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, BodyState::Done | BodyState::UntilEnd)
    }

    fn data<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        room: usize,
        left: u64,
        unfinished: fn(u64) -> BodyState,
        finished: BodyState,
    ) -> BodyStep<'a> {
        let usable = room.min(input.len());
        if usable == 0 {
            return BodyStep::NeedMore;
        }
        let taken = usize::try_from(left).map_or(usable, |left| left.min(usable));
        let still_left = left - taken as u64;
        self.state = if still_left == 0 { finished } else { unfinished(still_left) };
        BodyStep::Data(take(input, taken))
    }

    /// Parses `chunk-size [chunk-ext]` (RFC 9112 section 7.1), and returns the next state.
    fn chunk(&mut self, line: &[u8]) -> Result<BodyState, CloseReason> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let size = str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
        let size = size.ok_or(CloseReason::BadFraming)?;
        // White space is allowed only before the semicolon of an extension, never alone (section 7.1.1).
        let is_extension = extension.trim_ascii_start().starts_with(b";") && extension.iter().all(is_field_byte);
        if !extension.is_empty() && !is_extension {
            return Err(CloseReason::BadFraming);
        }
        self.discard(extension.len())?;
        if size == 0 {
            return Ok(BodyState::Trailers);
        }
        self.room = self.room.checked_sub(size).ok_or(CloseReason::BodyTooLarge)?;
        Ok(BodyState::ChunkData(size))
    }

    fn discard(&mut self, count: usize) -> Result<(), CloseReason> {
        self.discarded_room = self.discarded_room.checked_sub(count).ok_or(CloseReason::BadFraming)?;
        Ok(())
    }
}

/// Takes a line of at most `bytes_max` bytes, including its CRLF, off the input, and returns it without the CRLF.
fn take_line<'a>(input: &mut &'a mut [u8], bytes_max: usize) -> Result<Option<&'a [u8]>, CloseReason> {
    let window = &input[..input.len().min(bytes_max)];
    match memmem::find(window, b"\r\n") {
        Some(len) => Ok(Some(&take(input, len + 2)[..len])),
        None if input.len() >= bytes_max => Err(CloseReason::BadFraming),
        None => Ok(None),
    }
}

fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = mem::take(input).split_at_mut(count);
    *input = rest;
    taken
}

/// A trailer is a field line (RFC 9112 section 5): its name a token, directly followed by the colon.
fn check_trailer(line: &[u8]) -> Result<(), CloseReason> {
    let name_len = line.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let is_field = name_len > 0 && line.get(name_len) == Some(&b':') && line.iter().all(is_field_byte);
    if is_field { Ok(()) } else { Err(CloseReason::BadFraming) }
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 5.5: visible, white space, or not ASCII.
fn is_field_byte(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, and the rest of the input, once the body has ended.
    type Decoded = Result<Option<(Vec<u8>, Vec<u8>)>, CloseReason>;

    /// Feeds `wire` in pieces that end at `cuts`, and keeps the unused bytes.
    fn decode(framing: Framing, bytes_max: u64, wire: &[u8], cuts: &[usize]) -> Decoded {
        let mut body = Body::new(framing, bytes_max)?;
        let (mut content, mut carry, mut fed) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([wire.len()]) {
            carry.extend_from_slice(&wire[fed..cut]);
            fed = cut;
            let mut input = &mut carry[..];
            loop {
                match body.next(&mut input)? {
                    BodyStep::Data(data) => content.extend_from_slice(data),
                    BodyStep::End => return Ok(Some((content, [input, &wire[fed..]].concat()))),
                    BodyStep::NeedMore => break,
                }
            }
            carry = input.to_vec();
        }
        Ok(None)
    }

    fn chunked(wire: &[u8]) -> Decoded {
        let every_byte: Vec<usize> = (0..=wire.len()).collect();
        let whole = decode(Framing::Chunked, 1000, wire, &[]);
        assert_eq!(whole, decode(Framing::Chunked, 1000, wire, &every_byte), "{}", wire.escape_ascii());
        whole
    }

    #[test]
    fn no_body_ends_at_once_and_leaves_the_input() {
        for framing in [Framing::None, Framing::Length(0)] {
            assert_eq!(decode(framing, 0, b"GET", &[]), Ok(Some((vec![], b"GET".to_vec()))));
        }
    }

    #[test]
    fn takes_exactly_the_announced_length() {
        assert_eq!(decode(Framing::Length(5), 5, b"helloGET", &[2]), Ok(Some((b"hello".to_vec(), b"GET".to_vec()))));
        assert_eq!(decode(Framing::Length(5), 5, b"hell", &[1]), Ok(None));
    }

    #[test]
    fn refuses_a_larger_length_before_any_byte_of_it() {
        assert_eq!(Body::new(Framing::Length(6), 5).unwrap_err(), CloseReason::BodyTooLarge);
        assert_eq!(Body::new(Framing::Length(u64::MAX), 5).unwrap_err(), CloseReason::BodyTooLarge);
    }

    #[test]
    fn joins_chunks_and_drops_extensions_and_trailers() {
        let wire = b"5\r\nhello\r\n6;name=\"va;l\"\r\n world\r\n00 ;x\r\nExpires: never\r\nA:\r\n\r\nGET";
        assert_eq!(chunked(wire), Ok(Some((b"hello world".to_vec(), b"GET".to_vec()))));
        assert_eq!(chunked(b"0\r\n\r\n"), Ok(Some((vec![], vec![]))));
        assert_eq!(chunked(b"1\r\na\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn refuses_chunks_that_others_could_read_differently() {
        let bad: [&[u8]; 22] = [
            b"\r\n",
            b";x\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5;a\nhello\r\n",
            b"5;a\rb\r\nhello",
            b"5;a\0\r\nhello",
            b"5 \r\nhello",
            b" 5\r\nhello",
            b"+5\r\nhello",
            b"-5\r\nhello",
            b"0x5\r\nhello",
            b"5h\r\nhello",
            b"5 5\r\nhello",
            b"10000000000000000\r\nhello",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\nname : x\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\na: b\0\r\n\r\n",
        ];
        for wire in bad {
            assert_eq!(chunked(wire), Err(CloseReason::BadFraming), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn refuses_chunks_that_grow_too_large_together() {
        assert_eq!(chunked(b"3e8\r\n").unwrap(), None);
        assert_eq!(chunked(b"3e9\r\n"), Err(CloseReason::BodyTooLarge));
        assert_eq!(chunked(b"FFFFFFFFFFFFFFFF\r\n"), Err(CloseReason::BodyTooLarge));
        assert_eq!(chunked(b"1\r\na\r\n3e8\r\n"), Err(CloseReason::BodyTooLarge));
    }

    #[test]
    fn bounds_the_line_of_a_chunk_even_without_its_end() {
        let fitting = [&b"1;"[..], &[b'x'; CHUNK_LINE_BYTES_MAX - 4], b"\r\na\r\n0\r\n\r\n"].concat();
        assert_eq!(chunked(&fitting), Ok(Some((b"a".to_vec(), vec![]))));
        assert_eq!(chunked(&[b'0'; CHUNK_LINE_BYTES_MAX - 1]), Ok(None));
        assert_eq!(chunked(&[b'0'; CHUNK_LINE_BYTES_MAX]), Err(CloseReason::BadFraming));
    }

    #[test]
    fn bounds_all_extensions_and_trailers_together() {
        let extension = [&b"1;"[..], &[b'x'; 199], b"\r\na\r\n"].concat();
        let mut wire = extension.repeat(HEAD_BYTES_MAX / 200);
        wire.extend_from_slice(b"0\r\n");
        assert_eq!(chunked(&wire), Ok(None));
        let longest = HEAD_BYTES_MAX % 200;
        let fitting = [&wire[..], b"a:", &vec![b'x'; longest - 2], b"\r\n\r\n"].concat();
        assert!(chunked(&fitting).unwrap().is_some());
        let excessive = [&wire[..], b"a:", &vec![b'x'; longest - 1], b"\r\n\r\n"].concat();
        assert_eq!(chunked(&excessive), Err(CloseReason::BadFraming));
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded_at_any_split(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..10),
            mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nnext");
            let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(wire.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode(Framing::Chunked, 1000, &wire, &cuts), Ok(Some((chunks.concat(), b"next".to_vec()))));
        }
    }
}
