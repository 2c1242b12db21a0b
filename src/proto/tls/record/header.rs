//! The header of a record, in the clear: type, version, length (RFC 8446 section 5.1).

use crate::limits::RECORD_CONTENT_BYTES;

use super::fault::Fault;

pub(super) const HEADER_BYTES: usize = 5;
/// Longest ciphertext and tag (RFC 8446 section 5.2).
const FRAGMENT_BYTES_MAX: usize = RECORD_CONTENT_BYTES + 256;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The length of the record at the front of `input`, header included, if its header is complete. Each part is checked as
/// soon as it has arrived, long before the record is complete: a peer with another protocol gets its alert at once.
///
/// After the handshake every record is protected, and has this type outside. The version exists for middleboxes; like
/// the rest of the header it is authenticated with the record (section 5.2).
pub(super) fn record_bytes(input: &[u8]) -> Result<Option<usize>, Fault> {
    match input.first() {
        None => return Ok(None),
        Some(&APPLICATION_DATA) => {}
        Some(&CHANGE_CIPHER_SPEC) => return Err(Fault::ChangeCipherSpec),
        Some(_) => return Err(Fault::Unprotected),
    }
    let Some(&[_, _, _, high, low]) = input.first_chunk() else { return Ok(None) };
    let fragment_bytes = usize::from(u16::from_be_bytes([high, low]));
    if fragment_bytes > FRAGMENT_BYTES_MAX {
        return Err(Fault::Oversized);
    }
    Ok(Some(HEADER_BYTES + fragment_bytes))
}

/// The header of a record with this many bytes of ciphertext and tag. The tag covers it.
pub(super) fn protected(fragment_bytes: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = u16::try_from(fragment_bytes).expect("a record's length").to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}
