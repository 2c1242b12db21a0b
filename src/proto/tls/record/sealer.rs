//! Records made in the output: content is gathered at its end and encrypted there.
//!
//! ```text
//! slices --> out: [ ... sent earlier ][header][content.......][type][tag]
//!                                             '-- sealed in place --'
//! ```

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use crate::limits::RECORD_CONTENT_BYTES;

use super::header::{self, HEADER_BYTES};

/// After the content: its type and the AEAD's tag.
const TRAILER_BYTES: usize = 1 + 16;

/// A record at the end of `out` that is being filled.
pub(super) struct Draft<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> Draft<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Draft<'o> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        Draft { out, start }
    }

    /// Takes as much off the front of `slice` as fits. The one copy of content on its way out.
    pub(super) fn gather(&mut self, slice: &mut &[u8]) {
        let room = RECORD_CONTENT_BYTES - (self.out.len() - self.start - HEADER_BYTES);
        let (content, rest) = slice.split_at(slice.len().min(room));
        self.out.reserve(content.len() + TRAILER_BYTES);
        self.out.extend_from_slice(content);
        *slice = rest;
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() - self.start - HEADER_BYTES == RECORD_CONTENT_BYTES
    }

    /// Encrypts the gathered content.
    pub(super) fn seal(self, key: &LessSafeKey, nonce: Nonce, content_type: u8) {
        let Draft { out, start } = self;
        out.push(content_type);
        let (head, inner) = out[start..].split_first_chunk_mut::<HEADER_BYTES>().expect("a header was written");
        *head = header::protected(inner.len() + TRAILER_BYTES - 1);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(*head), inner).expect("a record is short enough");
        out.extend_from_slice(tag.as_ref());
    }
}
