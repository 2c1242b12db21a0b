//! The public key with which a route verifies tokens, as operators have it in a file: PEM, of a key or of a
//! certificate.
//!
//! ```text
//!  file --> pem: label and DER --> SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) --> algorithm, curve, size --> fits?
//! ```
//!
//! A key that could never verify a token is refused here. The error names its kind and the kind that would fit.

use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, alg_id};

use super::algorithm::{Algorithm, KeyKind, SignatureKey};
use super::der;
use super::pem::{self, PemSection};

/// At least 2048 bits by RFC 7518 section 3.3; at most 8192, because the library verifies no signatures of longer keys.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const RSA_FITS: &str = "RS256 takes RSA keys of 2048 to 8192 bits (RFC 7518 section 3.3)";
const ECDSA_FITS: &str = "ES256 takes keys on the curve P-256 (RFC 7518 section 3.4)";

/// Kinds that no algorithm here takes.
const OTHERS: &[(AlgorithmIdentifier, &str)] =
    &[(alg_id::ECDSA_P256K1, "a key on the curve secp256k1"), (alg_id::ED448, "an Ed448 key")];

const KINDS: &[(AlgorithmIdentifier, KeyKind)] = &[
    (alg_id::ECDSA_P256, KeyKind::P256),
    (alg_id::ECDSA_P384, KeyKind::P384),
    (alg_id::ECDSA_P521, KeyKind::P521),
    (alg_id::ED25519, KeyKind::Ed25519),
];

/// The RSA key in a file, for RS256.
pub(super) fn rsa(file: &[u8]) -> Result<SignatureKey, String> {
    match any(file)? {
        (KeyKind::Rsa, key) => SignatureKey::public(Algorithm::Rs256, &key).ok_or_else(damaged),
        (KeyKind::P256, _) => Err(format!("is a key on the curve P-256, for ecdsa_public_key; {RSA_FITS}")),
        (other, _) => Err(format!("is {other}; {RSA_FITS}")),
    }
}

/// The key on the curve P-256 in a file, for ES256.
pub(super) fn ecdsa(file: &[u8]) -> Result<SignatureKey, String> {
    match any(file)? {
        (KeyKind::P256, key) => SignatureKey::public(Algorithm::Es256, &key).ok_or_else(damaged),
        (KeyKind::Rsa, _) => Err(format!("is an RSA key, for rsa_public_key; {ECDSA_FITS}")),
        (other, _) => Err(format!("is {other}; {ECDSA_FITS}")),
    }
}

/// The key in a file and its kind, if there is an algorithm for it.
pub(super) fn any(file: &[u8]) -> Result<(KeyKind, Vec<u8>), String> {
    let key = public_key(file)?;
    kind(&key).map(|kind| (kind, key))
}

/// The SubjectPublicKeyInfo of the only key in a file, or an RSAPublicKey (RFC 8017 appendix A.1.1).
fn public_key(file: &[u8]) -> Result<Vec<u8>, String> {
    const EXPECTED: &str = "expected one public key in PEM, which begins with \"-----BEGIN PUBLIC KEY-----\"";
    let sections = pem::sections(file).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let PemSection { label, der } = match <[PemSection; 1]>::try_from(sections) {
        Ok([section]) => section,
        Err(sections) if sections.is_empty() => return Err(format!("has no key in PEM; {EXPECTED}")),
        Err(sections) => return Err(format!("has {} keys or certificates; {EXPECTED}", sections.len())),
    };
    match &*label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(der),
        "CERTIFICATE" => {
            let certificate = CertificateDer::from(der);
            let certificate = webpki::EndEntityCert::try_from(&certificate).map_err(|_| damaged())?;
            Ok(certificate.subject_public_key_info().to_vec())
        }
        label if label.ends_with("PRIVATE KEY") => {
            Err(format!("is a private key, which only the signer needs; {EXPECTED} (openssl pkey -pubout writes it)"))
        }
        label => Err(format!("is a {label:?}; {EXPECTED}")),
    }
}

fn kind(key: &[u8]) -> Result<KeyKind, String> {
    let Some((algorithm, bits)) = der::public_key_info(key) else { return rsa_kind(key) };
    if algorithm == &*alg_id::RSA_ENCRYPTION {
        return rsa_kind(bits);
    }
    if let Some((_, kind)) = KINDS.iter().find(|(own, _)| algorithm == &**own) {
        return Ok(*kind);
    }
    let known = OTHERS.iter().find(|(own, _)| algorithm == &**own);
    let other = known.map_or("a key of another algorithm or with other parameters", |(_, words)| *words);
    Err(format!("is {other}; expected an RSA key, an Ed25519 key, or one on the curve P-256, P-384 or P-521"))
}

/// The kind of an RSAPublicKey, if it is long enough.
pub(super) fn rsa_kind(key: &[u8]) -> Result<KeyKind, String> {
    let bits = der::rsa_bits(key).ok_or_else(damaged)?;
    if RSA_BITS.contains(&bits) { Ok(KeyKind::Rsa) } else { Err(format!("is an RSA key of {bits} bits; {RSA_FITS}")) }
}

fn damaged() -> String {
    "is no public key: what PEM encloses cannot be read; expected the file as the signer's tools wrote it".to_owned()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, RsaKeySize};

    use super::*;

    /// As made by `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024` and others.
    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJ6ndTrrXAVO3Kcx3NQTizAqEz\n\
        koRFkb4InYpYMx5rcTmOyrwm8kLpT4QWPDVBzv3qsc64dAV1Jf/7MoP6nNitHm10\n\
        mmkzH5hKHwhNJrswqMgtPpc4vS6QtKGyE0m4SnFOshE9wBMY4LDcEH2fmceAuFcR\n\
        hzrcuSbbYFodRBE75wIDAQAB\n\
        -----END PUBLIC KEY-----";
    const SECP256K1: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAENUMUTRmSQ8O4Vr2dJQHpPIQddwtNq4SR\n\
        9e+YOHvWUwOQiNslXH/cwAqur5mwwdW8wvhn3SypZZxlZIvVpaJTPw==\n\
        -----END PUBLIC KEY-----";

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
        KeyPair::generate_for(algorithm).unwrap()
    }

    fn error(parse: fn(&[u8]) -> Result<SignatureKey, String>, file: impl AsRef<[u8]>) -> String {
        parse(file.as_ref()).map(|_| ()).unwrap_err()
    }

    #[test]
    fn keys_and_certificates_that_fit_are_taken() {
        let p256 = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let certificate = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&p256).unwrap();
        let text = format!("Bag Attributes\r\n  friendlyName: a\r\n{}\n", p256.public_key_pem().replace('\n', "\r\n"));
        for file in [p256.public_key_pem(), certificate.pem(), text] {
            assert!(ecdsa(file.as_bytes()).is_ok(), "{file}");
        }
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&pair).unwrap();
        for file in [pair.public_key_pem(), certificate.pem()] {
            assert!(rsa(file.as_bytes()).is_ok(), "{file}");
        }
        assert!(error(ecdsa, pair.public_key_pem()).starts_with("is an RSA key, for rsa_public_key; ES256 takes"));
    }

    #[test]
    fn another_curve_is_named_beside_the_one_that_fits() {
        for (algorithm, is) in [
            (&rcgen::PKCS_ECDSA_P384_SHA384, "is a key on the curve P-384; "),
            (&rcgen::PKCS_ECDSA_P521_SHA512, "is a key on the curve P-521; "),
            (&rcgen::PKCS_ED25519, "is an Ed25519 key; "),
        ] {
            let pem = pair(algorithm).public_key_pem();
            assert_eq!(error(ecdsa, &pem), format!("{is}{ECDSA_FITS}"));
            assert_eq!(error(rsa, &pem), format!("{is}{RSA_FITS}"));
        }
        let words = error(ecdsa, SECP256K1);
        assert!(words.starts_with("is a key on the curve secp256k1; expected an RSA key, an Ed25519 key"), "{words}");
        let p256 = pair(&rcgen::PKCS_ECDSA_P256_SHA256).public_key_pem();
        assert_eq!(error(rsa, p256), format!("is a key on the curve P-256, for ecdsa_public_key; {RSA_FITS}"));
    }

    #[test]
    fn an_rsa_key_that_is_too_short_is_refused_with_its_length() {
        assert_eq!(error(rsa, RSA_1024), format!("is an RSA key of 1024 bits; {RSA_FITS}"));
    }

    #[test]
    fn what_is_not_one_public_key_is_refused_with_what_it_is() {
        let p256 = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (public, private) = (p256.public_key_pem(), p256.serialize_pem());
        let damaged = public.replacen("MF", "MG", 1);
        for (file, begins) in [
            ("".to_owned(), "has no key in PEM; expected one public key"),
            ("very secret".to_owned(), "has no key in PEM"),
            ("ssh-rsa AAAAB3NzaC1yc2E= ann@example.org".to_owned(), "has no key in PEM"),
            ("{\"kty\":\"EC\",\"crv\":\"P-256\"}".to_owned(), "has no key in PEM"),
            (private.clone(), "is a private key, which only the signer needs; expected one public key"),
            (private.replace("PRIVATE", "EC PRIVATE"), "is a private key"),
            (private.replace("PRIVATE", "ENCRYPTED PRIVATE"), "is a private key"),
            (format!("{public}{public}"), "has 2 keys or certificates; expected one public key"),
            (format!("{public}{private}"), "has 2 keys or certificates"),
            (public.replace("PUBLIC KEY", "CERTIFICATE REQUEST"), "is a \"CERTIFICATE REQUEST\"; expected"),
            (public.replace("PUBLIC KEY", "CERTIFICATE"), "is no public key: what PEM encloses cannot be read"),
            (public.replace("-----END", "----END"), "has PEM that is not whole"),
            (damaged, "is no public key"),
        ] {
            let words = error(ecdsa, &file);
            assert!(words.starts_with(begins) && !words.contains('\n'), "{words}\n{file}");
        }
    }
}
