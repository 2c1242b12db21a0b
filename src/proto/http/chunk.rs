//! The body of an answer whose length is not known when it begins: an event stream, or a long answer. [`super::body`]
//! reads the bodies of clients.
//!
//! ```text
//!  HTTP/1.1   Chunked     10 CRLF  retry: 2000 LF LF  CRLF   ...   0 CRLF CRLF   the end
//!  HTTP/1.0   UntilClose           retry: 2000 LF LF         ...                 the end of the connection
//! ```

use std::rc::Rc;

use crate::base::joined;

/// How a client finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Streaming {
    /// In chunks (RFC 9112 section 7.1): a reader can distinguish a stream that broke from one that has ended, and a
    /// reader that waits for a number of bytes or the end of a chunk gets each piece at once.
    Chunked,
    /// By the end of the connection (RFC 9112 section 6.3), the only way in HTTP/1.0.
    UntilClose,
}

impl Streaming {
    /// The number of variants.
    pub const COUNT: usize = 2;

    /// The framing that a client of this HTTP version understands.
    pub fn of(minor_version: u8) -> Streaming {
        if minor_version == 0 { Streaming::UntilClose } else { Streaming::Chunked }
    }

    /// Appends a piece of the body: the bytes that `write` appends.
    pub fn write(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        write(out);
        let len = out.len() - start;
        // A chunk of no bytes would be the last one.
        if self == Streaming::Chunked && len > 0 {
            out.splice(start..start, Size::of(len).line().iter().copied());
            out.extend_from_slice(LINE_END);
        }
    }

    /// Appends a piece of the body that is there already.
    pub fn copy(self, out: &mut Vec<u8>, piece: &[u8]) {
        if self == Streaming::UntilClose || piece.is_empty() {
            return out.extend_from_slice(piece);
        }
        let size = Size::of(piece.len());
        out.reserve(size.line().len() + piece.len() + LINE_END.len());
        out.extend_from_slice(size.line());
        out.extend_from_slice(piece);
        out.extend_from_slice(LINE_END);
    }

    /// A piece of the body that many connections send.
    pub fn shared(self, piece: &[u8]) -> Rc<[u8]> {
        match self {
            Streaming::Chunked if !piece.is_empty() => joined(&[Size::of(piece.len()).line(), piece, LINE_END]),
            _ => piece.into(),
        }
    }

    /// The bytes that end the body. A body without them was cut.
    pub fn end(self) -> &'static [u8] {
        match self {
            Streaming::Chunked => b"0\r\n\r\n",
            Streaming::UntilClose => b"",
        }
    }
}

const LINE_END: &[u8] = b"\r\n";

/// The line before a chunk: its size in hexadecimal digits.
struct Size {
    /// Right-aligned: the line ends with the array.
    bytes: [u8; Size::BYTES_MAX],
    start: usize,
}

impl Size {
    const BYTES_MAX: usize = 2 * size_of::<usize>() + LINE_END.len();

    fn of(mut len: usize) -> Size {
        let mut bytes = [b'\n'; Size::BYTES_MAX];
        let mut start = Size::BYTES_MAX - LINE_END.len();
        bytes[start] = b'\r';
        while len > 0 {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[len % 16];
            len /= 16;
        }
        Size { bytes, start }
    }

    fn line(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::{Body, BodyStep, Framing};

    #[test]
    fn a_chunk_is_its_size_and_its_bytes() {
        for len in [1, 15, 16, 255, 256, 0xabc, 65_536] {
            let piece = vec![b'x'; len];
            let expected = [format!("{len:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
            let mut out = b"before".to_vec();
            Streaming::Chunked.write(&mut out, |out| out.extend_from_slice(&piece));
            assert_eq!((&out[..6], &out[6..]), (&b"before"[..], &expected[..]));
            assert_eq!(*Streaming::Chunked.shared(&piece), *expected);
            assert_eq!(*Streaming::UntilClose.shared(&piece), *piece);
        }
        assert_eq!(Size::of(usize::MAX).line(), b"ffffffffffffffff\r\n");
    }

    #[test]
    fn nothing_is_no_chunk_because_an_empty_one_is_the_last() {
        for streaming in [Streaming::Chunked, Streaming::UntilClose] {
            let mut out = Vec::new();
            streaming.write(&mut out, |_| {});
            assert!(out.is_empty() && streaming.shared(b"").is_empty());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut wire = Vec::new();
        for piece in [&b"retry: 2000\n\n"[..], b": \n\n", b"data: a\n\n"] {
            Streaming::Chunked.write(&mut wire, |out| out.extend_from_slice(piece));
        }
        wire.extend_from_slice(Streaming::Chunked.end());
        let (mut body, mut input, mut read) = (Body::new(Framing::Chunked, 1_000).unwrap(), &mut wire[..], Vec::new());
        while let BodyStep::Data(data) = body.next(&mut input).unwrap() {
            read.extend_from_slice(data);
        }
        assert_eq!((&read[..], input.len()), (&b"retry: 2000\n\n: \n\ndata: a\n\n"[..], 0));
    }
}
