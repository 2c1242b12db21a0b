//! The keys of one direction: a traffic secret and what follows from it (RFC 8446 sections 7.1 to 7.3).
//!
//! ```text
//! secret --"traffic upd"--> next secret
//!    |--"key"--> key --expand--> the AEAD's own tables, for one turn
//!    '--"iv"---> iv  --xor sequence--> nonce of one record
//! ```
//!
//! Raw keys are 92 bytes. An expanded AES-GCM key is ten times as large and takes less than 200 ns to make, so it does
//! not outlive the turn that needs it.

use aws_lc_rs::aead::{LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{KeyType, Prk};
use zeroize::Zeroize;

use super::SECRET_BYTES_MAX;
use super::suite::Suite;

const KEY_BYTES_MAX: usize = 32;
const IV_BYTES: usize = 12;

/// Wiped on drop. Bytes that a suite does not use are zero.
pub(super) struct Keys {
    secret: [u8; SECRET_BYTES_MAX],
    key: [u8; KEY_BYTES_MAX],
    iv: [u8; IV_BYTES],
}

impl Keys {
    /// The keys that follow from a traffic secret, of which the suite uses the first bytes.
    pub(super) fn new(suite: Suite, secret: &[u8; SECRET_BYTES_MAX]) -> Keys {
        let mut keys = Keys { secret: *secret, key: [0; KEY_BYTES_MAX], iv: [0; IV_BYTES] };
        keys.secret[suite.secret_bytes()..].fill(0);
        let prk = keys.prk(suite);
        expand_label(&prk, b"key", &mut keys.key[..suite.key_bytes()]);
        expand_label(&prk, b"iv", &mut keys.iv);
        keys
    }

    /// The keys after the next KeyUpdate.
    pub(super) fn next(&self, suite: Suite) -> Keys {
        let mut secret = [0; SECRET_BYTES_MAX];
        expand_label(&self.prk(suite), b"traffic upd", &mut secret[..suite.secret_bytes()]);
        let keys = Keys::new(suite, &secret);
        secret.zeroize();
        keys
    }

    pub(super) fn secret(&self) -> &[u8; SECRET_BYTES_MAX] {
        &self.secret
    }

    /// The AEAD's own form of the key; aws-lc wipes it on drop.
    pub(super) fn expand(&self, suite: Suite) -> LessSafeKey {
        let key = UnboundKey::new(suite.aead(), &self.key[..suite.key_bytes()]).expect("a key of the suite's length");
        LessSafeKey::new(key)
    }

    /// The nonce of a record (RFC 8446 section 5.3).
    pub(super) fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, counter) in nonce[IV_BYTES - 8..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn prk(&self, suite: Suite) -> Prk {
        Prk::new_less_safe(suite.hkdf(), &self.secret[..suite.secret_bytes()])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.key.zeroize();
        self.iv.zeroize();
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand_label(prk: &Prk, label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let bytes = u16::try_from(out.len()).expect("a few bytes").to_be_bytes();
    let label_bytes = [u8::try_from(PREFIX.len() + label.len()).expect("a short label")];
    let info = [&bytes[..], &label_bytes, PREFIX, label, &[0]];
    let expanded = prk.expand(&info, Length(out.len())).expect("less than 255 hashes");
    expanded.fill(out).expect("the length that was asked for");
}
