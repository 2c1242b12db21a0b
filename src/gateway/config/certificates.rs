//! Reads the certificate files of listeners and the keys of tokens, and checks that they match. No other part of the
//! configuration opens files besides the configuration itself.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use zeroize::Zeroizing;

use super::{CertificateFiles, Listener, TokenKey};
use crate::proto::tls::certificates::{read_chain, read_key};
use crate::proto::tls::{self, Certificate};
use crate::proto::token::Verifier;

impl Listener {
    /// The TLS configuration of the listener, or `None` for a plain one. The error is one line that names the file.
    pub fn tls_config(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let Some(all) = &self.tls else { return Ok(None) };
        let certificates = all.iter().map(certificate).collect::<Result<Vec<_>, _>>()?;
        tls::server_config(certificates).map(Some)
    }
}

impl Listener {
    /// Reasons for clients to reject usable certificates at the time `now` (seconds since 1970), one line each.
    pub fn doubts(&self, now: u64) -> Vec<String> {
        let files = self.tls.iter().flatten();
        let doubt = |files: &CertificateFiles| {
            Some(format!("{}: {}", files.certificate.display(), certificate(files).ok()?.doubt(now)?))
        };
        files.filter_map(doubt).collect()
    }
}

impl TokenKey {
    /// The verifier of tokens. The error is one line that names the key of the configuration, and the file.
    pub fn verifier(&self) -> Result<Verifier, String> {
        match self {
            TokenKey::Hmac(secret) if secret.contains("-----BEGIN ") => Err(PEM_AS_SECRET.to_owned()),
            TokenKey::Hmac(secret) => Ok(Verifier::hmac(secret.as_bytes())),
            TokenKey::Rsa(file) => public_key("rsa_public_key", file, Verifier::rsa),
            TokenKey::Ecdsa(file) => public_key("ecdsa_public_key", file, Verifier::ecdsa),
        }
    }

    /// A legal setting that is probably a mistake, in one line.
    pub fn doubt(&self) -> Option<String> {
        let TokenKey::Hmac(secret) = self else { return None };
        if secret.trim() != secret {
            return Some("hmac_secret begins or ends with white space, which is part of the secret".to_owned());
        }
        let is_short = secret.len() < HS256_BYTES_MIN;
        is_short.then(|| format!("hmac_secret is short enough to be guessed; {HMAC_FITS}"))
    }
}

/// The length of a SHA-256 hash.
const HS256_BYTES_MIN: usize = 32;
const HMAC_FITS: &str = "HS256 needs 32 bytes or more (RFC 7518 section 3.2), such as \"openssl rand -hex 32\" writes";
/// With a public key as the secret, any holder of that key could sign tokens.
const PEM_AS_SECRET: &str =
    "hmac_secret is a key in PEM; expected a secret, or rsa_public_key or ecdsa_public_key with the name of the file";

fn public_key(name: &str, file: &Path, parse: fn(&[u8]) -> Result<Verifier, String>) -> Result<Verifier, String> {
    let words = |error: String| format!("{name} {} {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| words(format!("cannot be read: {error}")))?;
    parse(&pem).map_err(words)
}

fn certificate(files: &CertificateFiles) -> Result<Certificate, String> {
    let chain = read(&files.certificate, read_chain)?;
    let key = read(&files.key, read_key)?;
    let both = || format!("{} with {}", files.certificate.display(), files.key.display());
    Certificate::new(chain, key).map_err(|error| format!("{}: {error}", both()))
}

fn read<T>(file: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    // It may be a private key, of which the configuration keeps a form of its own.
    let pem = Zeroizing::new(std::fs::read(file).map_err(|error| words(&error))?);
    parse(&pem).map_err(|error| words(&error))
}
