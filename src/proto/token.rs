//! Signed tokens (JWT, RFC 7519): who a client is, for how long, and what it may listen to.
//!
//! The claims are those of Centrifugo: `sub`, `exp`, `info`, `channels` of a connection, `sub`, `channel`, `exp` of a
//! subscription (<https://centrifugal.dev/docs/server/authentication>).

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Checks tokens by one key.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// What the signer says about a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConnectionClaims {
    /// The user; empty for nobody in particular.
    pub sub: String,
    /// Seconds of Unix time.
    pub exp: Option<u64>,
    /// Anything, for the other clients to see.
    pub info: Option<Box<RawValue>>,
    /// What the connection is subscribed to from the start.
    pub channels: Vec<String>,
}

/// What the signer says about one subscription.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubscriptionClaims {
    pub sub: String,
    pub channel: String,
    pub exp: Option<u64>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not signed by the key, not a token, or not with the claims it needs.
    Invalid,
    Expired,
}

impl Verifier {
    /// Tokens signed with a shared secret (HS256).
    pub fn hmac(secret: &[u8]) -> Verifier {
        Verifier::new(DecodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// Tokens signed with RSA (RS256); `pem` has the public key.
    pub fn rsa(pem: &[u8]) -> Result<Verifier, String> {
        let key = DecodingKey::from_rsa_pem(pem).map_err(|error| format!("no RSA public key in PEM: {error}"))?;
        Ok(Verifier::new(key, Algorithm::RS256))
    }

    /// Tokens signed on the curve P-256 (ES256); `pem` has the public key.
    pub fn ecdsa(pem: &[u8]) -> Result<Verifier, String> {
        let key = DecodingKey::from_ec_pem(pem).map_err(|error| format!("no EC public key in PEM: {error}"))?;
        Ok(Verifier::new(key, Algorithm::ES256))
    }

    /// The algorithm is the key's: a token does not choose how it is checked (RFC 8725 section 3.1).
    fn new(key: DecodingKey, algorithm: Algorithm) -> Verifier {
        let mut validation = Validation::new(algorithm);
        // Time is an argument here, and a token without an end is for ever.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Verifier { key, validation }
    }

    /// The claims of a connection token, and how many seconds they hold from `unix_now` on.
    pub fn connection(&self, token: &str, unix_now: u64) -> Result<(ConnectionClaims, Option<u64>), Refused> {
        let claims: ConnectionClaims = self.claims(token)?;
        let ttl = ttl(claims.exp, unix_now)?;
        Ok((claims, ttl))
    }

    /// For how many seconds `user` may be subscribed to `channel`.
    pub fn subscription(&self, token: &str, user: &str, channel: &str, unix_now: u64) -> Result<Option<u64>, Refused> {
        let claims: SubscriptionClaims = self.claims(token)?;
        if claims.sub != user || claims.channel != channel {
            return Err(Refused::Invalid);
        }
        ttl(claims.exp, unix_now)
    }

    fn claims<T: DeserializeOwned>(&self, token: &str) -> Result<T, Refused> {
        match jsonwebtoken::decode::<T>(token, &self.key, &self.validation) {
            Ok(token) => Ok(token.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(Refused::Expired),
            Err(_) => Err(Refused::Invalid),
        }
    }
}

fn ttl(exp: Option<u64>, unix_now: u64) -> Result<Option<u64>, Refused> {
    match exp {
        None => Ok(None),
        Some(exp) if exp > unix_now => Ok(Some(exp - unix_now)),
        Some(_) => Err(Refused::Expired),
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({:?})", self.validation.algorithms)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn signed(claims: &Value) -> String {
        jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(b"secret")).unwrap()
    }

    #[test]
    fn a_token_holds_until_its_end() {
        let verifier = Verifier::hmac(b"secret");
        let token = signed(&json!({"sub": "ann", "exp": NOW + 60, "info": {"name": "Ann"}, "channels": ["news"]}));
        let (claims, ttl) = verifier.connection(&token, NOW).unwrap();
        assert_eq!((&*claims.sub, ttl), ("ann", Some(60)));
        assert_eq!((claims.info.unwrap().get(), claims.channels), ("{\"name\":\"Ann\"}", vec!["news".to_owned()]));
        assert_eq!(verifier.connection(&token, NOW + 60).unwrap_err(), Refused::Expired);
        let (claims, ttl) = verifier.connection(&signed(&json!({})), NOW).unwrap();
        assert_eq!((&*claims.sub, ttl), ("", None));
    }

    #[test]
    fn what_another_key_has_signed_is_refused() {
        let token = signed(&json!({"sub": "ann"}));
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.";
        for bad in ["", "a.b.c", unsigned, &token[..token.len() - 1], &signed(&json!({"sub": 7}))] {
            assert_eq!(Verifier::hmac(b"secret").connection(bad, NOW).unwrap_err(), Refused::Invalid, "{bad}");
        }
        assert_eq!(Verifier::hmac(b"other").connection(&token, NOW).unwrap_err(), Refused::Invalid);
    }

    #[test]
    fn a_token_may_be_signed_with_rsa() {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let pem = pair.public_key_pem();
        let verifier = Verifier::rsa(pem.as_bytes()).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        let sign = |algorithm| jsonwebtoken::encode(&Header::new(algorithm), &json!({"sub": "ann"}), &key).unwrap();
        assert_eq!(verifier.connection(&sign(Algorithm::RS256), NOW).unwrap().0.sub, "ann");
        // The same key under another name of an algorithm.
        for other in [Algorithm::RS384, Algorithm::PS256] {
            assert_eq!(verifier.connection(&sign(other), NOW).unwrap_err(), Refused::Invalid);
        }
        let forged = EncodingKey::from_secret(pem.as_bytes());
        let forged = jsonwebtoken::encode(&Header::default(), &json!({"sub": "ann"}), &forged).unwrap();
        assert_eq!(verifier.connection(&forged, NOW).unwrap_err(), Refused::Invalid);
        assert!(Verifier::ecdsa(pem.as_bytes()).is_err());
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = pair.public_key_pem();
        let verifier = Verifier::ecdsa(pem.as_bytes()).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &json!({"sub": "ann"}), &key).unwrap();
        assert_eq!(verifier.connection(&token, NOW).unwrap().0.sub, "ann");
        // Whoever knows the public key signs with it as if it were the shared secret.
        let forged = EncodingKey::from_secret(pem.as_bytes());
        let forged = jsonwebtoken::encode(&Header::default(), &json!({"sub": "ann"}), &forged).unwrap();
        assert_eq!(verifier.connection(&forged, NOW).unwrap_err(), Refused::Invalid);
        assert!(Verifier::rsa(pem.as_bytes()).is_err() && Verifier::ecdsa(b"").is_err());
    }

    #[test]
    fn a_subscription_token_is_for_one_user_and_one_channel() {
        let verifier = Verifier::hmac(b"secret");
        let token = signed(&json!({"sub": "ann", "channel": "room.1", "exp": NOW + 5}));
        assert_eq!(verifier.subscription(&token, "ann", "room.1", NOW), Ok(Some(5)));
        assert_eq!(verifier.subscription(&token, "bob", "room.1", NOW), Err(Refused::Invalid));
        assert_eq!(verifier.subscription(&token, "ann", "room.2", NOW), Err(Refused::Invalid));
        assert_eq!(verifier.subscription(&token, "ann", "room.1", NOW + 5), Err(Refused::Expired));
    }
}
