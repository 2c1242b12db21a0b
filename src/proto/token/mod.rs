//! Signed tokens (JWT, RFC 7519): the client's user, the token's lifetime, and the channels that it allows.
//!
//! ```text
//!  header.claims.signature --> form, algorithm, signature --> claims --> exp, nbf --> ConnectionClaims, or a ttl
//!                                        '--- TokenRefusal: expired, not yet valid, or its fault ------'
//! ```
//!
//! The claims are those of Centrifugo: `sub`, `exp`, `nbf`, `info`, `channels` of a connection, `sub`, `channel`, `exp`, `nbf` of
//! a subscription (<https://centrifugal.dev/docs/server/authentication>).

mod algorithm;
pub mod carrier;
mod claims;
mod der;
mod key;
mod keys;
pub mod memory;
mod parts;
mod pem;
mod policy;
mod refused;
pub mod revocation;

use std::fmt;

use aws_lc_rs::digest;
use serde_json::value::RawValue;

use super::subject::Subject;
use super::user::User;
use crate::limits::TOKEN_INFO_BYTES_MAX;
use algorithm::SignatureKey;
use claims::Claims;
use parts::TokenParts;

pub use algorithm::{Algorithm, Algorithms};
pub use carrier::Carrier;
pub use keys::KeySet;
pub use policy::{Proof, TokenPolicy};
pub use refused::{Claim, TokenFault, TokenRefusal};

/// Verifies tokens with one key.
#[derive(Clone)]
pub struct Verifier {
    key: SignatureKey,
    /// SHA-256 of the bytes from which the key was made.
    fingerprint: [u8; 32],
}

/// Equal for keys of one algorithm that were made from the same bytes.
impl PartialEq for Verifier {
    fn eq(&self, other: &Verifier) -> bool {
        self.key.algorithm == other.key.algorithm && self.fingerprint == other.fingerprint
    }
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

/// The claims of a subscription token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// Remaining lifetime in seconds; `None`: unlimited.
    pub ttl: Option<u64>,
    /// Whether the client may publish to the channel, too, as long as it is subscribed.
    pub may_publish: bool,
}

impl Verifier {
    fn new(key: SignatureKey, made_of: &[u8]) -> Verifier {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, made_of).as_ref());
        Verifier { key, fingerprint }
    }

    /// Verifies tokens signed with a shared secret (HS256).
    pub fn hmac(secret: &[u8]) -> Verifier {
        Verifier::new(SignatureKey::hs256(secret), secret)
    }

    /// Verifies tokens signed with RSA (RS256); `file` has the public key in PEM. The error is one clause about the
    /// file.
    pub fn rsa(file: &[u8]) -> Result<Verifier, String> {
        key::rsa(file).map(|key| Verifier::new(key, file))
    }

    /// Verifies tokens signed on the curve P-256 (ES256); otherwise like [`Verifier::rsa`].
    pub fn ecdsa(file: &[u8]) -> Result<Verifier, String> {
        key::ecdsa(file).map(|key| Verifier::new(key, file))
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

    /// The claims of a token with which `asker` may be subscribed to `asked`.
    pub fn subscription(
        &self,
        token: &str,
        asker: Option<&User>,
        asked: &str,
        unix_now: u64,
    ) -> Result<SubscriptionClaims, TokenRefusal> {
        let json = self.signed(token)?;
        let claims = Claims::read(&json)?;
        let ttl = ttl(&claims, unix_now)?;
        if user(&claims)?.as_ref() != asker {
            return Err(TokenFault::OtherUser.into());
        }
        match claims.channel()? {
            None => Err(TokenFault::NoChannel.into()),
            Some(channel) if channel == asked => Ok(SubscriptionClaims { ttl, may_publish: claims.may_publish()? }),
            Some(_) => Err(TokenFault::OtherChannel.into()),
        }
    }

    /// The claims of a token that the key has signed.
    fn signed(&self, token: &str) -> Result<Vec<u8>, TokenFault> {
        let parts = TokenParts::read(token)?;
        let ours = self.key.algorithm;
        // The key decides the algorithm: a token does not choose how it is verified (RFC 8725 section 3.1).
        if parts.header()?.algorithm != Some(ours) {
            return Err(TokenFault::Algorithm(ours));
        }
        let is_signed = self.key.has_signed(parts.message.as_bytes(), &parts.signature);
        if is_signed { Ok(parts.claims) } else { Err(TokenFault::Signature(ours)) }
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

/// Reveals nothing of the key.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.key.algorithm)
    }
}

#[cfg(test)]
mod tests;
