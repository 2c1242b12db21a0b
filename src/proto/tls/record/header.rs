//! The header of a record, in the clear: type, version, length (RFC 8446 section 5.1).

use super::fault::Fault;

pub(super) const HEADER_BYTES: usize = 5;
/// Longest fragment that rustls accepts, plus one: 2^14 bytes of content, 2,048 of expansion.
const FRAGMENT_BYTES_END: usize = 16_384 + 2_048;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// A valid header.
#[derive(Clone, Copy)]
pub(super) struct RecordHeader {
    pub(super) content_type: u8,
    /// Bytes of the complete record.
    pub(super) record_bytes: usize,
}

impl RecordHeader {
    /// The header at the front of `input`, if it is complete. Each part is checked as soon as it has arrived, long
    /// before the record is complete: a peer with another protocol gets its alert at once.
    pub(super) fn read(input: &[u8]) -> Result<Option<RecordHeader>, Fault> {
        let Some(&content_type) = input.first() else { return Ok(None) };
        // The minor version exists for middleboxes and is not checked. Of the type only the range is checked: the encrypted
        // part of a record has its real type (section 5.2). The exception is ChangeCipherSpec, which is never encrypted:
        // `open_record` refuses it.
        let is_known = matches!(content_type, CHANGE_CIPHER_SPEC..=HEARTBEAT);
        let is_version = !matches!(input, [_, major, _, ..] if *major != 3);
        if !is_known || !is_version {
            return Err(Fault::Header);
        }
        let Some(&[_, _, _, high, low]) = input.first_chunk() else { return Ok(None) };
        let fragment_bytes = usize::from(u16::from_be_bytes([high, low]));
        let is_empty = content_type != APPLICATION_DATA && fragment_bytes == 0;
        if is_empty || fragment_bytes >= FRAGMENT_BYTES_END {
            return Err(Fault::Header);
        }
        Ok(Some(RecordHeader { content_type, record_bytes: HEADER_BYTES + fragment_bytes }))
    }
}

/// The header of a protected record with this many bytes of ciphertext and tag. The tag covers it.
pub(super) fn protected(fragment_bytes: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = u16::try_from(fragment_bytes).expect("a record's length").to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}
