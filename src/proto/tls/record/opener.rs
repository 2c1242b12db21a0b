//! The content of one record: authenticated and decrypted in place, then stripped of its padding.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use crate::limits::RECORD_CONTENT_BYTES;

use super::fault::Fault;
use super::header::{CHANGE_CIPHER_SPEC, HEADER_BYTES};

/// The decrypted content of a record.
pub(super) struct Plaintext<'a> {
    pub(super) content_type: u8,
    pub(super) bytes: &'a [u8],
}

/// Opens one record: its header, and the ciphertext and tag, whose length the header has (RFC 8446 section 5.2).
pub(super) fn open<'a>(key: &LessSafeKey, nonce: Nonce, record: &'a mut [u8]) -> Result<Plaintext<'a>, Fault> {
    let (header, fragment) = record.split_first_chunk_mut::<HEADER_BYTES>().expect("a record has a header");
    let inner = key.open_in_place(nonce, Aad::from(*header), fragment).map_err(|_| Fault::Forged)?;
    if inner.len() > RECORD_CONTENT_BYTES + 1 {
        return Err(Fault::Oversized);
    }
    // Zeros after the type are padding (section 5.4); their number is bounded above.
    let type_at = inner.iter().rposition(|byte| *byte != 0).ok_or(Fault::NoContentType)?;
    let content_type = inner[type_at];
    if content_type == CHANGE_CIPHER_SPEC {
        return Err(Fault::ChangeCipherSpec);
    }
    if type_at > RECORD_CONTENT_BYTES {
        return Err(Fault::Oversized);
    }
    Ok(Plaintext { content_type, bytes: &inner[..type_at] })
}
