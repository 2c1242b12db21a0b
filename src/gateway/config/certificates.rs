//! The certificate files of a listener and the keys of tokens, read and matched. The only part of the configuration that
//! opens files of its own.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use super::{CertificateFiles, Listener, TokenKey};
use crate::proto::tls::certificates::{read_chain, read_key};
use crate::proto::tls::{self, Certificate};
use crate::proto::token::Verifier;

impl Listener {
    /// What its TLS connections share, or `None` for a plain listener. The error is one line that names the file.
    pub fn tls_config(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let Some(all) = &self.tls else { return Ok(None) };
        let certificates = all.iter().map(certificate).collect::<Result<Vec<_>, _>>()?;
        tls::server_config(certificates).map(Some)
    }
}

impl TokenKey {
    /// What checks tokens. The error is one line that names the file.
    pub fn verifier(&self) -> Result<Verifier, String> {
        match self {
            TokenKey::Hmac(secret) => Ok(Verifier::hmac(secret.as_bytes())),
            TokenKey::Rsa(file) => read(file, Verifier::rsa),
            TokenKey::Ecdsa(file) => read(file, Verifier::ecdsa),
        }
    }
}

fn certificate(files: &CertificateFiles) -> Result<Certificate, String> {
    let chain = read(&files.certificate, read_chain)?;
    let key = read(&files.key, read_key)?;
    let both = || format!("{} with {}", files.certificate.display(), files.key.display());
    Certificate::new(chain, key).map_err(|error| format!("{}: {error}", both()))
}

fn read<T>(file: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let words = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| words(&error))?;
    parse(&pem).map_err(|error| words(&error))
}
