//! The arithmetic of the opening handshake (RFC 6455 section 4): keys and their answers.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};
use sha1::{Digest, Sha1};

/// The only supported version (RFC 6455 section 4.1).
pub const VERSION: &str = "13";

/// The text that a server appends to the client's key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Length of a key: 16 random bytes in base64.
const KEY_LEN: usize = 24;

/// Accepts what RFC 4648 section 3.5 lets a decoder accept: the last character of a key has four unused bits. `ws` of
/// npm, Go and Kestrel accept any value there, and so does RFC 6455: the key in the note of its section 4.1,
/// `AQIDBAUGBwgJCgsMDQ4PEC==`, has some of them set.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The value of `Sec-WebSocket-Accept`: 20 bytes of SHA-1 in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept([u8; 28]);

impl Accept {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// The answer to the value of a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept(key: &str) -> Accept {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut value = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut value);
    assert_eq!(written, Ok(value.len()), "20 bytes are 28 characters of base64");
    Accept(value)
}

/// Whether the value of a `Sec-WebSocket-Key` is what RFC 6455 section 4.1 asks for: 16 bytes in base64.
pub fn is_key(key: &str) -> bool {
    let mut bytes = [0; 18];
    key.len() == KEY_LEN && LENIENT.decode_slice(key, &mut bytes) == Ok(16)
}

/// A client's key from 16 random bytes.
pub fn client_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Whether `answer`, a server's `Sec-WebSocket-Accept`, belongs to `key` (RFC 6455 section 4.1).
pub fn is_accepted(key: &str, answer: &str) -> bool {
    accept(key).as_str() == answer.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_key_of_the_rfc() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_key(key));
        assert_eq!(accept(key).as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_accepted(key, " s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!is_accepted(key, "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn takes_its_own_keys_and_no_others() {
        assert!(is_key(&client_key([0xFF; 16])));
        assert!(is_key("AQIDBAUGBwgJCgsMDQ4PEC=="), "the key in the note of RFC 6455 section 4.1");
        assert!(is_key("dGhlIHNhbXBsZSBub25jZf=="), "stray bits behind the last byte mean nothing");
        assert!(!is_key(""));
        assert!(!is_key("dGhlIHNhbXBsZSBub25jZQ"), "padding is missing");
        assert!(!is_key("dGhlIHNhbXBsZSBub25jZSEh"), "18 bytes");
        assert!(!is_key("dGhlIHNhbXBsZSBub25jZQ=A"), "the padding is broken");
        assert!(!is_key("dGhlIHNhbXBsZSBub25jZ==="), "15 bytes and a half");
        assert!(!is_key("dGhlIHNhbXBsZSBub25jZ_=="), "the alphabet of URLs");
        assert!(!is_key("dGhlIHNhbXBsZSBub25j!Q=="));
    }
}
