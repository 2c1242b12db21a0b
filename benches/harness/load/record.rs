//! TLS 1.3 records with the keys that rustls agreed on: what a load connection keeps instead of rustls' seven kilobytes.
//!
//! RFC 8446 section 5.2. Keys are expanded anew for each record: that is slower than keeping them, and hardly any memory.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

pub(super) const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
/// Header, type and tag.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// A warning of no consequence (section 6.1).
pub(super) const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const KEY_BYTES_MAX: usize = 32;

pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
/// The first byte of a handshake message.
const NEW_SESSION_TICKET: u8 = 4;

pub(super) struct Keys {
    receive: Half,
    send: Half,
}

/// The keys of one direction.
pub(super) struct Half {
    algorithm: &'static Algorithm,
    key: [u8; KEY_BYTES_MAX],
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Keys {
    pub(super) fn new(secrets: ExtractedSecrets) -> Result<Keys, String> {
        Ok(Keys { receive: Half::new(secrets.rx)?, send: Half::new(secrets.tx)? })
    }

    /// Decrypts a whole record where it lies. Plaintext of messages; nothing for tickets.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a [u8], String> {
        let (header, body) = record.split_at_mut(HEADER_BYTES);
        let (key, nonce) = self.receive.next()?;
        let inner = key.open_in_place(nonce, Aad::from(&*header), body).map_err(|_| "a record does not open")?;
        // The type is the last byte that is not padding (section 5.4).
        let end = inner.iter().rposition(|byte| *byte != 0).ok_or("a record without a type")?;
        match (inner[end], &inner[..end]) {
            (APPLICATION_DATA, content) => Ok(content),
            (HANDSHAKE, [NEW_SESSION_TICKET, ..]) => Ok(&[]),
            (ALERT, [_, 0]) => Err("the server says close_notify".to_owned()),
            (ALERT, alert) => Err(format!("the server alerts: {alert:?}")),
            (kind, _) => Err(format!("a record of type {kind} is not expected")),
        }
    }

    /// Appends one record of a type.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.send.seal(kind, content, out)
    }
}

/// The length of the first record, its header included, if that much is there.
pub(super) fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    (bytes.len() >= length).then_some(length)
}

impl Half {
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let (key, nonce) = self.next()?;
        let body_bytes = (content.len() + 1 + TAG_BYTES) as u16;
        let [high, low] = body_bytes.to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..]);
        out.extend_from_slice(tag.map_err(|_| "a record cannot be sealed")?.as_ref());
        Ok(())
    }

    pub(super) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Half, String> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err("rustls agreed on a cipher that the load does not know".to_owned()),
        };
        let mut half = Half { algorithm, key: [0; KEY_BYTES_MAX], iv: [0; NONCE_LEN], sequence };
        half.key[..key.as_ref().len()].copy_from_slice(key.as_ref());
        half.iv.copy_from_slice(iv.as_ref());
        Ok(half)
    }

    /// Section 5.3: the sequence number, padded on the left, xor the IV.
    fn next(&mut self) -> Result<(LessSafeKey, Nonce), String> {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        self.sequence += 1;
        let key = UnboundKey::new(self.algorithm, &self.key[..self.algorithm.key_len()]);
        Ok((LessSafeKey::new(key.map_err(|_| "a key does not fit")?), Nonce::assume_unique_for_key(nonce)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::certificate::{self, Certificate, Shake};

    fn carry_over(from: &mut ClientConnection, to: &mut ServerConnection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        to.read_tls(&mut &bytes[..]).unwrap();
        to.process_new_packets().unwrap();
        let mut answer = Vec::new();
        while to.wants_write() {
            to.write_tls(&mut answer).unwrap();
        }
        answer
    }

    /// A client that has left rustls, and its server; the server's ticket is still on its way.
    fn shaken() -> (Keys, ServerConnection, Vec<u8>) {
        let certificate = Certificate::new().unwrap();
        let mut client = certificate::client(&certificate.client(Shake::default()).unwrap()).unwrap();
        let mut server = ServerConnection::new(certificate.server().unwrap()).unwrap();
        loop {
            let answer = carry_over(&mut client, &mut server);
            if !server.is_handshaking() {
                return (Keys::new(client.dangerous_extract_secrets().unwrap()).unwrap(), server, answer);
            }
            client.read_tls(&mut &answer[..]).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    #[test]
    fn opens_what_rustls_seals_and_seals_what_it_opens() {
        let (mut keys, mut server, mut wire) = shaken();
        server.writer().write_all(b"high water").unwrap();
        server.send_close_notify();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &mut wire[..];
        let mut opened = Vec::new();
        while let Some(bytes) = record_bytes(rest) {
            let (record, after) = std::mem::take(&mut rest).split_at_mut(bytes);
            opened.push(keys.open(record).map(<[u8]>::to_vec));
            rest = after;
        }
        let close_notify = Err("the server says close_notify".to_owned());
        assert_eq!(opened, [Ok(Vec::new()), Ok(b"high water".to_vec()), close_notify], "a ticket comes first");

        let mut record = Vec::new();
        keys.seal(APPLICATION_DATA, b"low water", &mut record).unwrap();
        keys.seal(ALERT, &CLOSE_NOTIFY, &mut record).unwrap();
        assert_eq!(record.len(), 2 * OVERHEAD_BYTES + b"low water".len() + CLOSE_NOTIFY.len());
        server.read_tls(&mut &record[..]).unwrap();
        server.process_new_packets().unwrap();
        let mut plain = Vec::new();
        server.reader().read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"low water");

        let mut spoiled = vec![23, 3, 3, 0, 20];
        spoiled.resize(25, 0);
        assert!(keys.open(&mut spoiled).is_err());
    }
}
