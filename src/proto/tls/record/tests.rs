//! One direction of the record layer for tests: seals what no honest peer would, and opens what the server says.

use super::header::{self, HANDSHAKE, HEADER_BYTES};
use super::keys::Keys;
use super::{SECRET_BYTES_MAX, Suite, opener};
use aws_lc_rs::aead::Aad;

pub(in crate::proto::tls) struct Direction {
    suite: Suite,
    keys: Keys,
    sequence: u64,
}

impl Direction {
    pub(in crate::proto::tls) fn new(suite: Suite, secret: &[u8; SECRET_BYTES_MAX], sequence: u64) -> Direction {
        Direction { suite, keys: Keys::new(suite, secret), sequence }
    }

    pub(in crate::proto::tls) fn update(&mut self) {
        self.keys = self.keys.next(self.suite);
        self.sequence = 0;
    }

    pub(in crate::proto::tls) fn skip(&mut self) {
        self.sequence += 1;
    }
}

/// The inside of a record: content, type, padding.
pub(in crate::proto::tls) fn inner(content_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
    let mut inside = content.to_vec();
    inside.push(content_type);
    inside.resize(inside.len() + padding, 0);
    inside
}

/// A record with this inside, whatever it is.
pub(in crate::proto::tls) fn seal_inner(direction: &mut Direction, inside: &[u8]) -> Vec<u8> {
    let mut record = header::protected(inside.len() + 16).to_vec();
    let mut sealed = inside.to_vec();
    let key = direction.keys.expand(direction.suite);
    let nonce = direction.keys.nonce(direction.sequence);
    key.seal_in_place_append_tag(nonce, Aad::from(header::protected(inside.len() + 16)), &mut sealed).unwrap();
    direction.sequence += 1;
    record.extend(sealed);
    record
}

/// Whole records: type and content of each. Follows KeyUpdates.
pub(in crate::proto::tls) fn open(direction: &mut Direction, mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut understood = Vec::new();
    while let Some((header, _)) = wire.split_first_chunk::<HEADER_BYTES>() {
        let end = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
        let mut record = wire[..end].to_vec();
        wire = &wire[end..];
        let key = direction.keys.expand(direction.suite);
        let content = opener::open(&key, direction.keys.nonce(direction.sequence), &mut record).unwrap();
        direction.sequence += 1;
        understood.push((content.content_type, content.bytes.to_vec()));
        if content.content_type == HANDSHAKE && content.bytes[0] == 24 {
            direction.update();
        }
    }
    assert!(wire.is_empty(), "whole records");
    understood
}
