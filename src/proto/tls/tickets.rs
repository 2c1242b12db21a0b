//! Keys for session tickets from a file, so that the gateways of a fleet, and the next process of each, resume the
//! sessions of all. Without a file, rustls draws keys for one process.
//!
//! ```text
//!  state of a session --first key--> name of the key (16) | IV (16) | AES-CBC | HMAC-SHA256 (32) --> ticket
//!  ticket --the key that it names--> state, or None: a full handshake
//! ```
//!
//! The construction is that of RFC 5077 section 4, as in rustls, nginx and HAProxy. Its IV is random and long enough
//! for keys that many gateways share; a nonce of 96 bits would not be.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::limits::{TICKET_BYTES_MAX, TICKET_KEYS_MAX, TICKET_LIFETIME};

const NAME_BYTES: usize = 16;
const IV_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// Name, HMAC key, AES key: 16 bytes each, or 16, 32 and 32.
const KEY_BYTES: [usize; 2] = [48, 80];

const FORM: &str = "expected 80 or 48 bytes in base64 or hexadecimal, as \"openssl rand -hex 80\" writes";

/// The keys of a file. The first one encrypts, all of them decrypt.
pub struct TicketKeys {
    keys: Vec<TicketKey>,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    hmac: hmac::Key,
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
}

impl TicketKeys {
    /// The keys of a text: one a line; empty lines and those that begin with `#` are left out. The error is one line that
    /// does not name the file, and nothing of a key.
    pub fn parse(text: &[u8]) -> Result<TicketKeys, String> {
        let mut keys: Vec<TicketKey> = Vec::new();
        for (line, number) in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let words = |error: &str| format!("line {number}: {error}");
            let bytes = bytes_of(line).ok_or_else(|| words(&format!("no key; {FORM}")))?;
            if !KEY_BYTES.contains(&bytes.len()) {
                return Err(words(&format!("a key of {} bytes; {FORM}", bytes.len())));
            }
            let key = TicketKey::new(&bytes).map_err(|_| words("a key that cannot be used"))?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(words("a key that begins as another one does; expected another key"));
            }
            if keys.len() == TICKET_KEYS_MAX {
                return Err(words(&format!("one key too many; expected at most {TICKET_KEYS_MAX}")));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(format!("no key in it; {FORM}, one a line")) } else { Ok(TicketKeys { keys }) }
    }

    /// The number of keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

/// A line in hexadecimal digits or base64. 96 and 160 digits are no base64 of a key's length, so neither is taken for the
/// other.
fn bytes_of(line: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let is_hex = KEY_BYTES.contains(&(line.len() / 2)) && line.iter().all(u8::is_ascii_hexdigit);
    let bytes = if is_hex {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = line.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?));
        pairs.collect::<Option<Vec<u8>>>()
    } else {
        STANDARD.decode(line).ok()
    };
    bytes.map(Zeroizing::new)
}

impl TicketKey {
    fn new(bytes: &[u8]) -> Result<TicketKey, Unspecified> {
        let (name, secrets) = bytes.split_first_chunk().ok_or(Unspecified)?;
        let (hmac, aes) = secrets.split_at(secrets.len() / 2);
        let algorithm = if aes.len() == 32 { &AES_256 } else { &AES_128 };
        let cipher = || UnboundCipherKey::new(algorithm, aes);
        Ok(TicketKey {
            name: *name,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, hmac),
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(cipher()?)?,
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(cipher()?)?,
        })
    }

    fn encrypt(&self, state: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut state = Zeroizing::new(state.to_vec());
        let context = self.encrypt.encrypt(&mut *state)?;
        let iv: &[u8] = (&context).try_into()?;
        let mut ticket = [&self.name, iv, &state].concat();
        let tag = self.tag(&ticket)?;
        ticket.extend(tag.as_ref());
        Ok(ticket)
    }

    /// The ticket begins with the key's name.
    fn decrypt(&self, ticket: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let split = ticket.len().checked_sub(TAG_BYTES).filter(|split| *split >= NAME_BYTES + IV_BYTES);
        let (sealed, tag) = ticket.split_at(split.ok_or(Unspecified)?);
        hmac::verify(&self.hmac, &tagged(sealed)?, tag)?;
        let (iv, state) = sealed[NAME_BYTES..].split_at(IV_BYTES);
        let context = DecryptionContext::Iv128(FixedLength::try_from(iv)?);
        let mut state = Zeroizing::new(state.to_vec());
        Ok(self.decrypt.decrypt(&mut state, context)?.to_vec())
    }

    fn tag(&self, sealed: &[u8]) -> Result<hmac::Tag, Unspecified> {
        Ok(hmac::sign(&self.hmac, &tagged(sealed)?))
    }
}

/// Name and IV, the length of the encrypted state, and the state.
fn tagged(sealed: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let (front, state) = sealed.split_at(NAME_BYTES + IV_BYTES);
    let length = u16::try_from(state.len()).map_err(|_| Unspecified)?.to_be_bytes();
    Ok([front, &length, state].concat())
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME.as_secs().try_into().unwrap_or(u32::MAX)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.keys.first()?.encrypt(state).ok().filter(|ticket| ticket.len() <= TICKET_BYTES_MAX)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let key = self.keys.iter().find(|key| ticket.starts_with(&key.name))?;
        key.decrypt(ticket).ok()
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKeys({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: u8, bytes: usize) -> String {
        format!("{byte:02x}").repeat(bytes)
    }

    fn keys(text: &str) -> TicketKeys {
        TicketKeys::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        for bytes in KEY_BYTES {
            let (one, two) = (hex(1, bytes), hex(2, bytes));
            let (before, after) = (keys(&one), keys(&format!("# new\n{two}\n\n{one}\r\n")));
            let ticket = before.encrypt(b"state").unwrap();
            assert_eq!(after.decrypt(&ticket).unwrap(), b"state");
            let ticket = after.encrypt(b"state").unwrap();
            assert!(before.decrypt(&ticket).is_none() && keys(&two).decrypt(&ticket).is_some());
            assert_ne!(ticket, after.encrypt(b"state").unwrap(), "the IV is drawn for each");
        }
    }

    #[test]
    fn a_ticket_that_is_cut_or_changed_is_none() {
        let keys = keys(&hex(1, 80));
        let ticket = keys.encrypt(&[7; 100]).unwrap();
        for at in 0..ticket.len() {
            assert!(keys.decrypt(&ticket[..at]).is_none());
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(keys.decrypt(&changed).is_none());
        }
        assert!(keys.encrypt(&[7; TICKET_BYTES_MAX]).is_none());
        assert!(keys.decrypt(&[1; TICKET_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn base64_and_hexadecimal_are_the_same_key() {
        let ticket = keys(&hex(0xa5, 80)).encrypt(b"state").unwrap();
        assert!(keys(&STANDARD.encode([0xa5; 80])).decrypt(&ticket).is_some());
        assert!(keys(&hex(0xa5, 80).to_uppercase()).decrypt(&ticket).is_some());
    }

    #[test]
    fn says_in_one_line_what_is_wrong_with_a_file() {
        let error = |text: String| TicketKeys::parse(text.as_bytes()).unwrap_err();
        let form = "expected 80 or 48 bytes in base64 or hexadecimal, as \"openssl rand -hex 80\" writes";
        assert_eq!(error("# none\n".to_owned()), format!("no key in it; {form}, one a line"));
        assert_eq!(error(format!("{}\nsecret!", hex(1, 80))), format!("line 2: no key; {form}"));
        assert_eq!(error(STANDARD.encode([1; 81])), format!("line 1: a key of 81 bytes; {form}"));
        let twice = format!("{}\n{}", hex(1, 80), hex(1, 48));
        assert_eq!(error(twice), "line 2: a key that begins as another one does; expected another key");
        let many: Vec<String> = (0..=TICKET_KEYS_MAX as u8).map(|byte| hex(byte, 80)).collect();
        assert!(error(many.join("\n")).starts_with("line 17: one key too many"));
    }
}
