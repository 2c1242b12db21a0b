//! The content of one record: authenticated and decrypted in place, then stripped of its padding.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use crate::limits::RECORD_CONTENT_BYTES;

use super::fault::Fault;
use super::header::{self, CHANGE_CIPHER_SPEC};

/// The decrypted content of a record.
pub(super) struct Plaintext<'a> {
    pub(super) content_type: u8,
    pub(super) bytes: &'a [u8],
}

/// Opens the ciphertext and tag of one record (RFC 8446 section 5.2).
pub(super) fn open<'a>(key: &LessSafeKey, nonce: Nonce, fragment: &'a mut [u8]) -> Result<Plaintext<'a>, Fault> {
    let aad = Aad::from(header::protected(fragment.len()));
    let inner = key.open_in_place(nonce, aad, fragment).map_err(|_| Fault::Forged)?;
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
