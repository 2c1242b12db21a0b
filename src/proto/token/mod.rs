//! Signed tokens (JWT, RFC 7519): the client's user, the token's lifetime, and the channels that it allows.
//!
//! ```text
//!  header.claims.signature --> form, algorithm, signature --> claims --> exp, nbf --> ConnectionClaims, or a ttl
//!                                        '--- TokenRefusal: expired, not yet valid, or its fault ------'
//! ```
//!
//! The claims are those of Centrifugo: `sub`, `exp`, `nbf`, `info`, `channels` of a connection, `sub`, `channel`, `exp`, `nbf` of
//! a subscription (<https://centrifugal.dev/docs/server/authentication>).

mod claims;
mod der;
mod key;
mod pem;
mod refused;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::ParsedPublicKey;
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::subject::Subject;
use super::user::User;
use crate::limits::TOKEN_INFO_BYTES_MAX;
use claims::Claims;

pub use refused::{Claim, TokenFault, TokenRefusal};

/// base64url as other software writes it: with or without padding, and with any value in the unused bits of the last
/// byte. A second spelling of a signature gives no advantage.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Verifies tokens with one key.
#[derive(Clone)]
pub struct Verifier {
    key: VerifierKey,
    /// SHA-256 of the bytes from which the key was made.
    fingerprint: [u8; 32],
}

/// Equal for keys of one algorithm that were made from the same bytes.
impl PartialEq for Verifier {
    fn eq(&self, other: &Verifier) -> bool {
        self.algorithm() == other.algorithm() && self.fingerprint == other.fingerprint
    }
}

#[derive(Clone)]
enum VerifierKey {
    Hmac(Arc<hmac::Key>),
    Rsa(Arc<ParsedPublicKey>),
    Ecdsa(Arc<ParsedPublicKey>),
}

/// The algorithm of a signature (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
}

/// The signer's claims about a connection.
#[derive(Debug, Default)]
pub struct ConnectionClaims {
    /// `None` for an anonymous client.
    pub user: Option<User>,
    /// Remaining lifetime in seconds; `None`: unlimited.
    pub ttl: Option<u64>,
    /// JSON for the other clients to see.
    pub info: Option<Box<RawValue>>,
    /// Channels that the connection is subscribed to on connect.
    pub channels: Vec<Subject>,
}

impl Verifier {
    fn new(key: VerifierKey, made_of: &[u8]) -> Verifier {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, made_of).as_ref());
        Verifier { key, fingerprint }
    }

    /// Verifies tokens signed with a shared secret (HS256).
    pub fn hmac(secret: &[u8]) -> Verifier {
        Verifier::new(VerifierKey::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret).into()), secret)
    }

    /// Verifies tokens signed with RSA (RS256); `file` has the public key in PEM. The error is one clause about the
    /// file.
    pub fn rsa(file: &[u8]) -> Result<Verifier, String> {
        key::rsa(file).map(|key| Verifier::new(VerifierKey::Rsa(key.into()), file))
    }

    /// Verifies tokens signed on the curve P-256 (ES256); otherwise like [`Verifier::rsa`].
    pub fn ecdsa(file: &[u8]) -> Result<Verifier, String> {
        key::ecdsa(file).map(|key| Verifier::new(VerifierKey::Ecdsa(key.into()), file))
    }

    /// The claims of a connection token.
    pub fn connection(&self, token: &str, unix_now: u64) -> Result<ConnectionClaims, TokenRefusal> {
        let json = self.signed(token)?;
        let claims = Claims::read(&json)?;
        let ttl = ttl(&claims, unix_now)?;
        if claims.channel()?.is_some() {
            return Err(TokenFault::OfSubscription.into());
        }
        let channels = claims.channels()?;
        let channels = channels.iter().map(|name| channel(name, Claim::Channels)).collect::<Result<_, _>>()?;
        if claims.info.as_ref().is_some_and(|info| info.get().len() > TOKEN_INFO_BYTES_MAX) {
            return Err(TokenFault::InfoTooLong.into());
        }
        Ok(ConnectionClaims { user: user(&claims)?, ttl, info: claims.info, channels })
    }

    /// The number of seconds for which `user` may be subscribed to `asked`; `None`: unlimited.
    pub fn subscription(
        &self,
        token: &str,
        asker: Option<&User>,
        asked: &str,
        unix_now: u64,
    ) -> Result<Option<u64>, TokenRefusal> {
        let json = self.signed(token)?;
        let claims = Claims::read(&json)?;
        let ttl = ttl(&claims, unix_now)?;
        if user(&claims)?.as_ref() != asker {
            return Err(TokenFault::OtherUser.into());
        }
        match claims.channel()? {
            None => Err(TokenFault::NoChannel.into()),
            Some(channel) if channel == asked => Ok(ttl),
            Some(_) => Err(TokenFault::OtherChannel.into()),
        }
    }

    /// The claims of a token that the key has signed. White space around the token and the word `Bearer` before it (RFC
    /// 6750 section 2.1) come from files and headers, and are ignored.
    fn signed(&self, token: &str) -> Result<Vec<u8>, TokenFault> {
        let token = token.trim_ascii();
        let token = match token.split_once(char::is_whitespace) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_ascii_start(),
            _ => token,
        };
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::Form)?;
        let decoded = |part: &str| BASE64URL.decode(part).map_err(|_| TokenFault::Form);
        let (header, claims, signature) = (decoded(header)?, decoded(claims)?, decoded(signature)?);
        self.check_header(&header)?;
        self.check_signature(message.as_bytes(), &signature)?;
        Ok(claims)
    }

    /// The key decides the algorithm: a token does not choose how it is verified (RFC 8725 section 3.1).
    fn check_header(&self, json: &[u8]) -> Result<(), TokenFault> {
        #[derive(Deserialize)]
        struct JoseHeader {
            alg: String,
            crit: Option<serde::de::IgnoredAny>,
        }
        let is_object = json.trim_ascii_start().starts_with(b"{");
        let header: JoseHeader = serde_json::from_slice(json).ok().filter(|_| is_object).ok_or(TokenFault::Header)?;
        if header.crit.is_some() {
            return Err(TokenFault::Extension);
        }
        if header.alg == self.algorithm().name() { Ok(()) } else { Err(TokenFault::Algorithm(self.algorithm())) }
    }

    fn check_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenFault> {
        let checked = match &self.key {
            VerifierKey::Hmac(key) => hmac::verify(key, message, signature),
            VerifierKey::Rsa(key) | VerifierKey::Ecdsa(key) => key.verify_sig(message, signature),
        };
        checked.map_err(|_| TokenFault::Signature(self.algorithm()))
    }

    fn algorithm(&self) -> Algorithm {
        match self.key {
            VerifierKey::Hmac(_) => Algorithm::Hs256,
            VerifierKey::Rsa(_) => Algorithm::Rs256,
            VerifierKey::Ecdsa(_) => Algorithm::Es256,
        }
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
        }
    }
}

/// The remaining lifetime in seconds. There is no leeway for clocks that differ: a client whose token is not valid yet
/// retries by itself, and one whose token has expired gets another.
fn ttl(claims: &Claims<'_>, unix_now: u64) -> Result<Option<u64>, TokenRefusal> {
    if let Some(value) = claims.nbf {
        let begin = claims::date(value).ok_or(TokenFault::NoDate(Claim::Nbf))?;
        if begin > unix_now as f64 {
            return Err(TokenRefusal::NotYetValid);
        }
    }
    let Some(value) = claims.exp else { return Ok(None) };
    let end = claims::date(value).ok_or(TokenFault::NoDate(Claim::Exp))?;
    claims::seconds_until(end, unix_now).map(Some).ok_or(TokenRefusal::Expired)
}

fn user(claims: &Claims<'_>) -> Result<Option<User>, TokenFault> {
    let Some(name) = claims.sub()? else { return Ok(None) };
    User::new(&name).map(Some).map_err(TokenFault::User)
}

fn channel(name: &str, claim: Claim) -> Result<Subject, TokenFault> {
    let channel = Subject::new(name).map_err(|error| TokenFault::Channel(claim, error))?;
    if channel.is_reserved() || channel.is_inbox() { Err(TokenFault::Reserved(claim)) } else { Ok(channel) }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reveals nothing of the key.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests;
