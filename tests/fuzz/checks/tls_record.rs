//! Promises of the record layer: pieces mean what the whole means, a connection goes on from its bytes, and whatever an
//! authenticated stranger says costs no more memory than it sent.
//!
//! ```text
//! bytes: [suite] then steps: [kind][length][...]
//!   kind 0: a record with this inside      1: the same with zeros behind it
//!        2: the same as 0, then new keys   3: these bytes as they are
//! ```

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use tidegate::limits;
use tidegate::proto::tls::record::STATE_BYTES;
use tidegate::proto::tls::{Opened, Tls};

const SECRET: [u8; 48] = [0x5a; 48];
/// A KeyUpdate of our own is due after so many records.
const RECORDS_MAX: u32 = 3;
/// As at the end of a handshake.
const KEY_UPDATE_CREDIT: u32 = (limits::KEY_UPDATES_MAX * limits::KEY_UPDATE_EARNED_BYTES) as u32;
const PLAIN_BYTES_MAX: usize = 4096;
/// Of the zeros of kind 1, for each unit of its length.
const ZEROS: usize = 70;

pub fn check(bytes: &[u8], cuts: &[usize]) {
    let Some((suite, script)) = bytes.split_first() else { return };
    let suite = Suite::new(*suite);
    let wire = Forger::new(&suite).wire(script);
    let cuts: Vec<usize> = cuts.iter().copied().take_while(|cut| *cut < wire.len()).collect();
    assert_eq!(hear(&suite, &wire, &cuts), hear(&suite, &wire, &[]), "pieces mean what the whole means");
}

/// All that can be seen of a connection in the end.
#[derive(Debug, PartialEq)]
struct Heard {
    plain: Vec<u8>,
    out: Vec<u8>,
    failure: Option<String>,
    state: Option<Vec<u8>>,
}

fn hear(suite: &Suite, wire: &[u8], cuts: &[usize]) -> Heard {
    let mut tls = Tls::from_bytes(&suite.state()).expect("it is a state");
    let (mut plain, mut out, mut carry) = (Vec::new(), Vec::new(), Vec::new());
    for piece in super::pieces(wire, cuts) {
        (tls, _) = written_down(tls);
        carry.extend_from_slice(piece);
        let mut input = &mut carry[..];
        let mut opened = Ok(Opened::Full);
        while opened == Ok(Opened::Full) {
            let mut some = Vec::new();
            opened = tls.open(&mut input, &mut some, &mut out, PLAIN_BYTES_MAX);
            plain.extend(some);
        }
        carry = input.to_vec();
        if opened.is_err() {
            break;
        }
    }
    assert!(plain.len() <= wire.len() && out.len() < 64, "an alert and a KeyUpdate at most");
    let failure = tls.failure().map(ToString::to_string);
    let (mut tls, state) = written_down(tls);
    let is_sealed = tls.seal([&b"answer"[..]], &mut Vec::new(), &mut out).is_ok();
    assert_eq!(is_sealed, failure.is_none());
    tls.close_notify(&mut out);
    Heard { plain, out, failure, state }
}

/// The connection, from its bytes if it has any, and the bytes.
fn written_down(tls: Tls) -> (Tls, Option<Vec<u8>>) {
    match tls.into_bytes() {
        Ok(state) => (Tls::from_bytes(&state).expect("what was written down is read again"), Some(state.to_vec())),
        Err(tls) => (*tls, None),
    }
}

struct Suite {
    code: u8,
    aead: &'static Algorithm,
    hkdf: hkdf::Algorithm,
}

impl Suite {
    fn new(byte: u8) -> Suite {
        match byte % 3 {
            0 => Suite { code: 1, aead: &AES_128_GCM, hkdf: HKDF_SHA256 },
            1 => Suite { code: 2, aead: &AES_256_GCM, hkdf: HKDF_SHA384 },
            _ => Suite { code: 3, aead: &CHACHA20_POLY1305, hkdf: HKDF_SHA256 },
        }
    }

    fn secret_bytes(&self) -> usize {
        self.hkdf.len()
    }

    /// A connection that has just shaken hands, both secrets being [`SECRET`].
    fn state(&self) -> [u8; STATE_BYTES] {
        let mut state = [0; STATE_BYTES];
        state[..2].copy_from_slice(&[2, self.code]);
        state[7..11].copy_from_slice(&RECORDS_MAX.to_be_bytes());
        state[11..15].copy_from_slice(&KEY_UPDATE_CREDIT.to_be_bytes());
        state[31..31 + self.secret_bytes()].copy_from_slice(&SECRET[..self.secret_bytes()]);
        state[79..79 + self.secret_bytes()].copy_from_slice(&SECRET[..self.secret_bytes()]);
        state
    }
}

/// The client's side of the keys, written once more from RFC 8446.
struct Forger<'s> {
    suite: &'s Suite,
    secret: Vec<u8>,
    sequence: u64,
}

impl Forger<'_> {
    fn new(suite: &Suite) -> Forger<'_> {
        Forger { suite, secret: SECRET[..suite.secret_bytes()].to_vec(), sequence: 0 }
    }

    fn wire(&mut self, mut script: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some((&[kind, length], rest)) = script.split_first_chunk() {
            let (content, rest) = rest.split_at(rest.len().min(length.into()));
            script = rest;
            match kind % 4 {
                0 => self.seal(content.to_vec(), &mut wire),
                1 => {
                    let zeros = usize::from(length) * ZEROS;
                    self.seal([content, &vec![0; zeros]].concat(), &mut wire);
                }
                2 => {
                    self.seal(content.to_vec(), &mut wire);
                    self.secret = self.expand("traffic upd", self.secret.len());
                    self.sequence = 0;
                }
                _ => wire.extend_from_slice(content),
            }
        }
        wire
    }

    fn seal(&mut self, mut inside: Vec<u8>, wire: &mut Vec<u8>) {
        let key = self.expand("key", self.suite.aead.key_len());
        let mut nonce: [u8; 12] = self.expand("iv", 12).try_into().expect("twelve");
        for (byte, counter) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence += 1;
        let [high, low] = u16::try_from(inside.len() + 16).expect("at most 255 times 71").to_be_bytes();
        let header = [23, 3, 3, high, low];
        let key = LessSafeKey::new(UnboundKey::new(self.suite.aead, &key).expect("its length"));
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut inside).expect("short enough");
        wire.extend_from_slice(&header);
        wire.extend_from_slice(&inside);
    }

    /// HKDF-Expand-Label (section 7.1).
    fn expand(&self, label: &str, length: usize) -> Vec<u8> {
        let mut expanded = vec![0; length];
        let info = [&[0, length as u8, label.len() as u8 + 6][..], b"tls13 ", label.as_bytes(), &[0]];
        let prk = Prk::new_less_safe(self.suite.hkdf, &self.secret);
        prk.expand(&info, Length(length)).expect("short").fill(&mut expanded).expect("as long as asked for");
        expanded
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
