//! The keys of an issuer: a key set (RFC 7517 section 5), one key in PEM, or a shared secret.
//!
//! ```text
//!  JSON --> each key: kind, use, alg, numbers --usable--> a SetKey for each algorithm that is allowed and fits its kind
//!                                   '--not usable--> left out (RFC 7517 section 5), with its reason
//! ```
//!
//! A key belongs to one issuer: another issuer's key of the same name is in another set. A published set holds no shared
//! secrets: each of its readers could sign with them.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use serde::Deserialize;

use super::algorithm::{Algorithm, Algorithms, KeyKind, SignatureKey};
use super::parts::{BASE64URL, TokenHeader};
use super::refused::TokenFault;
use super::{der, key};
use crate::limits;

/// The keys that verify the tokens of one issuer.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<SetKey>,
    /// The first reason why a key was left out, and how many were.
    left_out: Option<String>,
    left_out_count: usize,
}

#[derive(Clone)]
struct SetKey {
    /// `kid`, by which a token names its key.
    name: Option<Box<str>>,
    key: SignatureKey,
    /// SHA-256 of the bytes that the key was made of.
    fingerprint: [u8; 32],
}

impl SetKey {
    fn new(name: Option<Box<str>>, key: SignatureKey, made_of: &[u8]) -> SetKey {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, made_of).as_ref());
        SetKey { name, key, fingerprint }
    }

    fn verifies_as(&self, other: &SetKey) -> bool {
        let own = (&self.name, self.key.algorithm, &self.fingerprint);
        own == (&other.name, other.key.algorithm, &other.fingerprint)
    }
}

/// A key as a set has it (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2); other members are ignored.
#[derive(Deserialize)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, rename = "use")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
}

impl KeySet {
    /// Reads a key set; `allowed` algorithms only. The error is one clause about the document.
    pub fn read(json: &[u8], allowed: Algorithms) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a serde_json::value::RawValue>,
        }
        const EXPECTED: &str = "expected a JSON object with a list \"keys\" (RFC 7517 section 5)";
        if json.len() > limits::KEY_SET_BYTES_MAX {
            return Err(format!("has {} bytes; at most {} are read", json.len(), limits::KEY_SET_BYTES_MAX));
        }
        let is_object = json.trim_ascii_start().starts_with(b"{");
        let document: Option<Document<'_>> = serde_json::from_slice(json).ok();
        let document = document.filter(|_| is_object).ok_or_else(|| format!("is no key set; {EXPECTED}"))?;
        if document.keys.len() > limits::KEYS_PER_SET_MAX {
            return Err(format!("has {} keys; at most {} are read", document.keys.len(), limits::KEYS_PER_SET_MAX));
        }
        let mut set = KeySet::default();
        for json in document.keys {
            let jwk = serde_json::from_str(json.get()).map_err(|_| "is no key with a text \"kty\"".to_owned());
            match jwk.and_then(|jwk: Jwk<'_>| jwk.keys(allowed)) {
                Ok(keys) => set.keys.extend(keys),
                Err(reason) => {
                    set.left_out_count += 1;
                    set.left_out.get_or_insert(reason);
                }
            }
        }
        match (set.keys.is_empty(), set.remark()) {
            (false, _) => Ok(set),
            (true, None) => Err(format!("has no key; {EXPECTED}")),
            (true, Some(remark)) => Err(format!("has no key that can be used: {remark}")),
        }
    }

    /// One public key in PEM, for the allowed algorithms of its kind.
    pub fn pem(file: &[u8], allowed: Algorithms) -> Result<KeySet, String> {
        let (kind, key) = key::any(file)?;
        let keys = of_kind(kind, allowed).filter_map(|algorithm| SignatureKey::public(algorithm, &key));
        KeySet::nameless(keys.collect(), &key)
            .ok_or_else(|| format!("is {kind}, and no algorithm that is allowed takes one"))
    }

    /// A shared secret, for the allowed algorithms of that kind.
    pub fn secret(secret: &[u8], allowed: Algorithms) -> Result<KeySet, String> {
        let keys = of_kind(KeyKind::Secret, allowed).filter_map(|algorithm| SignatureKey::secret(algorithm, secret));
        KeySet::nameless(keys.collect(), secret).ok_or_else(|| {
            "is a shared secret, and no algorithm that is allowed takes one (HS256, HS384, HS512)".to_owned()
        })
    }

    fn nameless(keys: Vec<SignatureKey>, made_of: &[u8]) -> Option<KeySet> {
        let keys: Vec<SetKey> = keys.into_iter().map(|key| SetKey::new(None, key, made_of)).collect();
        (!keys.is_empty()).then(|| KeySet { keys, ..KeySet::default() })
    }

    /// How many keys there are, once for each of their algorithms.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether each key of an earlier set is in this one, under the same name.
    pub fn has_all_of(&self, earlier: &KeySet) -> bool {
        earlier.keys.iter().all(|key| self.keys.iter().any(|own| own.verifies_as(key)))
    }

    /// For a log line: how many keys of the document were left out, and why the first of them was.
    pub fn remark(&self) -> Option<String> {
        let reason = self.left_out.as_ref()?;
        Some(match self.left_out_count {
            1 => format!("a key {reason}"),
            count => format!("{count} keys were left out; the first {reason}"),
        })
    }

    /// The key that the header names. A header without a name gets the only key for its algorithm. One key at most is tried, so
    /// a token costs one signature.
    pub(super) fn find(&self, header: &TokenHeader<'_>) -> Result<&SignatureKey, TokenFault> {
        let algorithm = header.algorithm.ok_or(TokenFault::NotAllowed)?;
        let mut fitting = self.keys.iter().filter(|own| own.key.algorithm == algorithm);
        let found = match &header.key {
            Some(name) => fitting.find(|own| own.name.as_deref().is_none_or(|own| own == name)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        found.map(|found| &found.key).ok_or_else(|| {
            let is_allowed = self.keys.iter().any(|own| own.key.algorithm == algorithm);
            if is_allowed { TokenFault::UnknownKey } else { TokenFault::NotAllowed }
        })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.keys.len())
    }
}

fn of_kind(kind: KeyKind, allowed: Algorithms) -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.into_iter().filter(move |algorithm| allowed.contains(*algorithm) && algorithm.kind() == kind)
}

impl Jwk<'_> {
    /// The key, for each algorithm that it may be used with. The error is a clause about it.
    fn keys(&self, allowed: Algorithms) -> Result<Vec<SetKey>, String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("is not for signatures (\"use\")".to_owned());
        }
        if self.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("does not verify signatures (\"key_ops\")".to_owned());
        }
        let (kind, key) = self.material()?;
        let own = self.alg.as_deref();
        let mut fitting = of_kind(kind, allowed)
            .filter(|algorithm| own.is_none_or(|own| Algorithm::from_name(own) == Some(*algorithm)));
        let name: Option<Box<str>> = self.kid.as_deref().map(Box::from);
        let first = fitting.next().ok_or_else(|| match own {
            Some(own) => format!("is {kind} for {own:?}, which is not allowed"),
            None => format!("is {kind}, and no algorithm that is allowed takes one"),
        })?;
        let made_of = key;
        let parsed = |algorithm| {
            let key =
                SignatureKey::public(algorithm, &made_of).ok_or_else(|| format!("is {kind} that cannot be read"))?;
            Ok(SetKey::new(name.clone(), key, &made_of))
        };
        std::iter::once(first).chain(fitting).map(parsed).collect()
    }

    /// The kind, and the key in a form that the library reads.
    fn material(&self) -> Result<(KeyKind, Vec<u8>), String> {
        let curve = self.crv.as_deref();
        let kind = match (&*self.kty, curve) {
            ("RSA", _) => KeyKind::Rsa,
            ("EC", Some("P-256")) => KeyKind::P256,
            ("EC", Some("P-384")) => KeyKind::P384,
            ("EC", Some("P-521")) => KeyKind::P521,
            ("OKP", Some("Ed25519")) => KeyKind::Ed25519,
            ("oct", _) => return Err("is a shared secret, which a key set may not have".to_owned()),
            (other, Some(curve)) => return Err(format!("is of the unknown kind {other:?} {curve:?}")),
            (other, None) => return Err(format!("is of the unknown kind {other:?}")),
        };
        let number = |name: &str, value: &Option<Cow<'_, str>>| {
            let value =
                value.as_deref().and_then(|value| BASE64URL.decode(value).ok()).filter(|bytes| !bytes.is_empty());
            value.ok_or_else(|| format!("is {kind} without a base64url text {name:?}"))
        };
        let key = match kind {
            KeyKind::Rsa => {
                let key = der::rsa_public_key(&number("n", &self.n)?, &number("e", &self.e)?);
                key::rsa_kind(&key)?;
                key
            }
            KeyKind::Ed25519 => number("x", &self.x)?,
            // An uncompressed point (SEC 1 section 2.3.3).
            _ => [vec![4], number("x", &self.x)?, number("y", &self.y)?].concat(),
        };
        Ok((kind, key))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
        RsaKeyPair,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::token::parts::TokenParts;

    pub(in super::super) const ALL: fn() -> Algorithms = || Algorithm::ALL.into_iter().collect();

    /// A signer of an issuer, and its key as the issuer publishes it.
    pub(in super::super) enum Signer {
        Ec(EcdsaKeyPair),
        Ed(Ed25519KeyPair),
        Rsa(RsaKeyPair, Algorithm),
    }

    fn text(bytes: &[u8]) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    impl Signer {
        pub(in super::super) fn ec() -> Signer {
            Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        pub(in super::super) fn jwk(&self, name: &str) -> Value {
            match self {
                Signer::Ec(pair) => {
                    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                    json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": name, "x": text(x), "y": text(y)})
                }
                Signer::Ed(pair) => {
                    json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": text(pair.public_key().as_ref())})
                }
                Signer::Rsa(pair, algorithm) => {
                    let key = pair.public_key();
                    let (n, e) = (key.modulus(), key.exponent());
                    let (n, e) = (text(n.big_endian_without_leading_zero()), text(e.big_endian_without_leading_zero()));
                    json!({"kty": "RSA", "alg": algorithm.name(), "kid": name, "n": n, "e": e})
                }
            }
        }

        fn algorithm(&self) -> Algorithm {
            match self {
                Signer::Ec(_) => Algorithm::Es256,
                Signer::Ed(_) => Algorithm::EdDsa,
                Signer::Rsa(_, algorithm) => *algorithm,
            }
        }

        pub(in super::super) fn token(&self, name: Option<&str>, claims: &Value) -> String {
            let header = json!({"alg": self.algorithm().name(), "kid": name, "jku": "https://evil.example/keys"});
            let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
            let signature = match self {
                Signer::Ec(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
                Signer::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
                Signer::Rsa(pair, algorithm) => {
                    let mut signature = vec![0; pair.public_modulus_len()];
                    let random = SystemRandom::new();
                    match algorithm {
                        Algorithm::Ps512 => pair.sign(&RSA_PSS_SHA512, &random, message.as_bytes(), &mut signature),
                        _ => pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature),
                    }
                    .unwrap();
                    signature
                }
            };
            format!("{message}.{}", text(&signature))
        }
    }

    pub(in super::super) fn set(keys: &[Value]) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), ALL()).unwrap()
    }

    fn found(set: &KeySet, token: &str) -> Result<bool, TokenFault> {
        let parts = TokenParts::read(token)?;
        let key = set.find(&parts.header()?)?;
        Ok(key.has_signed(parts.message.as_bytes(), &parts.signature))
    }

    fn error(json: &str) -> String {
        KeySet::read(json.as_bytes(), ALL()).map(|_| ()).unwrap_err()
    }

    #[test]
    fn tokens_are_verified_by_the_key_that_they_name() {
        let rsa = || RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let signers = [
            Signer::ec(),
            Signer::ec(),
            Signer::Ed(Ed25519KeyPair::generate().unwrap()),
            Signer::Rsa(rsa(), Algorithm::Rs256),
            Signer::Rsa(rsa(), Algorithm::Ps512),
        ];
        let named: Vec<String> = (0..signers.len()).map(|number| format!("key-{number}")).collect();
        let keys: Vec<Value> = signers.iter().zip(&named).map(|(signer, name)| signer.jwk(name)).collect();
        let set = set(&keys);
        for (signer, name) in signers.iter().zip(&named) {
            assert_eq!(found(&set, &signer.token(Some(name), &json!({}))), Ok(true), "{name}");
            assert_eq!(found(&set, &signer.token(Some("another"), &json!({}))), Err(TokenFault::UnknownKey), "{name}");
        }
        assert_eq!(
            found(&set, &signers[0].token(Some("key-1"), &json!({}))),
            Ok(false),
            "of its algorithm, not its own"
        );
        assert_eq!(
            found(&set, &signers[0].token(Some("key-2"), &json!({}))),
            Err(TokenFault::UnknownKey),
            "another kind"
        );
        assert_eq!(found(&set, &signers[0].token(None, &json!({}))), Err(TokenFault::UnknownKey), "one of two");
        assert_eq!(found(&set, &signers[2].token(None, &json!({}))), Ok(true), "the only one");
    }

    #[test]
    fn a_key_is_used_for_allowed_algorithms_of_its_kind_alone() {
        let signer = Signer::ec();
        let jwk = signer.jwk("a");
        let read = |jwk: &Value, allowed: &[Algorithm]| {
            let json = json!({ "keys": [jwk] }).to_string();
            KeySet::read(json.as_bytes(), allowed.iter().copied().collect()).map(|set| set.len())
        };
        assert_eq!(read(&jwk, &[Algorithm::Es256, Algorithm::Rs256]), Ok(1));
        let words = read(&jwk, &[Algorithm::Es384, Algorithm::Hs256]).unwrap_err();
        assert_eq!(
            words,
            "has no key that can be used: a key is a key on the curve P-256, and no algorithm that is allowed takes one"
        );
        let with = |name: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[name] = value;
            read(&jwk, &Algorithm::ALL).map_err(|words| words.replace("has no key that can be used: a key ", ""))
        };
        assert_eq!(with("alg", json!("ES256")), Ok(1));
        assert_eq!(with("key_ops", json!(["verify"])), Ok(1));
        for (name, value, words) in [
            ("alg", json!("RS256"), "is a key on the curve P-256 for \"RS256\", which is not allowed"),
            ("use", json!("enc"), "is not for signatures (\"use\")"),
            ("key_ops", json!(["sign"]), "does not verify signatures (\"key_ops\")"),
            ("crv", json!("P-384"), "is a key on the curve P-384 that cannot be read"),
            ("crv", json!("secp256k1"), "is of the unknown kind \"EC\" \"secp256k1\""),
            ("x", json!("!"), "is a key on the curve P-256 without a base64url text \"x\""),
            ("kty", json!("oct"), "is a shared secret, which a key set may not have"),
            ("kty", json!(7), "is no key with a text \"kty\""),
        ] {
            assert_eq!(with(name, value).unwrap_err(), words);
        }
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let rsa = Signer::Rsa(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(), Algorithm::Rs256);
        let set = set(&[rsa.jwk("a")]);
        let token = jsonwebtoken::encode(
            &jsonwebtoken::Header { kid: Some("a".to_owned()), ..Default::default() },
            &json!({}),
            &jsonwebtoken::EncodingKey::from_secret(rsa.jwk("a")["n"].as_str().unwrap().as_bytes()),
        );
        assert_eq!(found(&set, &token.unwrap()), Err(TokenFault::NotAllowed));
        for none in ["none", "None", ""] {
            let header = text(json!({"alg": none, "kid": "a"}).to_string().as_bytes());
            assert_eq!(found(&set, &format!("{header}.{}.", text(b"{}"))), Err(TokenFault::NotAllowed), "{none}");
        }
    }

    #[test]
    fn a_document_is_bounded_and_one_bad_key_leaves_the_others() {
        let (good, mut weak) = (Signer::ec().jwk("a"), Signer::ec().jwk("b"));
        weak["x"] = json!("AA");
        let set = set(&[weak.clone(), good.clone(), json!(7)]);
        let words = "2 keys were left out; the first is a key on the curve P-256 that cannot be read";
        assert_eq!((set.len(), set.remark().as_deref()), (1, Some(words)));
        let many = json!({ "keys": vec![json!({"kty": "EC"}); 10_000] }).to_string();
        assert_eq!(error(&many), "has 10000 keys; at most 128 are read");
        assert_eq!(error(&" ".repeat(300_000)), "has 300000 bytes; at most 262144 are read");
        for bad in ["", "[]", "{}", "{\"keys\":{}}", "[[]]", "<html>"] {
            assert!(error(bad).starts_with("is no key set; expected a JSON object"), "{bad}");
        }
        assert!(error("{\"keys\":[]}").starts_with("has no key; expected"));
        let short = json!({"keys": [{"kty": "RSA", "n": text(&[0xff; 128]), "e": "AQAB"}]}).to_string();
        assert!(error(&short).contains("a key is an RSA key of 1024 bits; RS256 takes"), "{}", error(&short));
    }

    #[test]
    fn one_key_in_pem_and_a_secret_are_sets_too() {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
        assert_eq!(KeySet::pem(pem.as_bytes(), ALL()).unwrap().len(), 1);
        assert_eq!(KeySet::secret(b"secret", ALL()).unwrap().len(), 3);
        let es256 = || [Algorithm::Es256].into_iter().collect();
        assert_eq!(
            KeySet::pem(pem.as_bytes(), es256()).map(|_| ()).unwrap_err(),
            "is an Ed25519 key, and no algorithm that is allowed takes one"
        );
        assert!(KeySet::secret(b"secret", es256()).map(|_| ()).unwrap_err().starts_with("is a shared secret, and"));
    }
}
