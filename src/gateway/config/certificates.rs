//! Reads the certificate files of listeners and upstreams, and the keys of tickets and tokens, and checks that they match. No other part of the
//! configuration opens files besides the configuration itself.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::{CertificateFiles, ClientFiles, Config, Listener, TlsOptions, TokenKey};
use crate::limits;
use crate::proto::tls::certificates::{read_chain, read_key};
use crate::proto::tls::client::{ServersTls, certified_name, client_config};
use crate::proto::tls::clients::{ClientPolicy, read_revocations};
use crate::proto::tls::tickets::TicketKeys;
use crate::proto::tls::{self, Certificate, TlsPolicy};
use crate::proto::token::Verifier;
use crate::proto::upstream::{UpstreamRule, UpstreamServer, UpstreamTls};

impl Listener {
    /// The TLS configuration of the listener, or `None` for a plain one. The error is one line that names the file.
    pub fn tls_config(&self, options: &TlsOptions) -> Result<Option<Arc<ServerConfig>>, String> {
        self.tls.as_ref().map(|all| tls_config(all, options, self.clients.as_ref())).transpose()
    }
}

/// The TLS configuration with these certificates, for clients that show theirs if `clients` says so. The error is one line that
/// names the file.
pub(super) fn tls_config(
    all: &[CertificateFiles],
    options: &TlsOptions,
    clients: Option<&ClientFiles>,
) -> Result<Arc<ServerConfig>, String> {
    let certificates = all.iter().map(certificate).collect::<Result<Vec<_>, _>>()?;
    let policy = TlsPolicy {
        requires_ems: options.requires_ems,
        refuses_unknown_names: options.refuses_unknown_names,
        ticket_keys: options.ticket_keys()?,
        clients: clients.map(client_policy).transpose()?,
    };
    tls::server_config_as(certificates, policy)
}

fn client_policy(files: &ClientFiles) -> Result<ClientPolicy, String> {
    Ok(ClientPolicy {
        authorities: authorities(&files.ca)?,
        revoked: files.crl.as_ref().map_or(Ok(Vec::new()), |file| read(file, read_revocations))?,
        is_required: files.is_required,
    })
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

impl Config {
    /// TLS to the servers of each upstream, if there is any; empty if there is none at all. The system's authorities are read once. The
    /// error is one line that names the upstream, and the file.
    pub fn upstreams_tls(&self) -> Result<Box<[Option<ServersTls>]>, String> {
        if self.upstreams.iter().all(|rule| rule.tls.is_none()) {
            return Ok(Box::default());
        }
        let mut system = None;
        let tls = |rule: &UpstreamRule| match &rule.tls {
            Some(tls) => servers_tls(rule, tls, &mut system)
                .map_err(|error| format!("upstream {}: {error}", rule.name))
                .map(Some),
            None => Ok(None),
        };
        self.upstreams.iter().map(tls).collect()
    }
}

pub(super) fn servers_tls(
    rule: &UpstreamRule,
    tls: &UpstreamTls,
    system: &mut Option<RootCertStore>,
) -> Result<ServersTls, String> {
    let roots = match (&tls.ca, &system) {
        (Some(file), _) => authorities(file)?,
        (None, Some(roots)) => roots.clone(),
        (None, None) => system.insert(system_authorities()?).clone(),
    };
    let own = match &tls.own {
        Some((certificate, key)) => Some((read(certificate, read_chain)?, read(key, read_key)?)),
        None => None,
    };
    let name = |server: &UpstreamServer| {
        let host = tls.name.as_deref().map(str::to_owned).or_else(|| server.certified_host());
        let host =
            host.ok_or_else(|| format!("{} needs the name of its certificate; expected tls.name", server.text))?;
        certified_name(&host).ok_or_else(|| format!("{host:?} is no name that a certificate can be for"))
    };
    let names = rule.servers.iter().map(name).collect::<Result<_, _>>()?;
    Ok(ServersTls { config: client_config(roots, own)?, names })
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in read(file, read_chain)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("the system has no authorities to trust; expected tls.ca with the file of some".to_owned()),
        false => Ok(roots),
    }
}

impl TlsOptions {
    /// The keys of session tickets, if there is a file of them. The error is one line that names the file.
    pub fn ticket_keys(&self) -> Result<Option<TicketKeys>, String> {
        let Some(file) = &self.ticket_keys_file else { return Ok(None) };
        let keys = read_secret(file).and_then(|text| TicketKeys::parse(&text));
        keys.map(Some).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// A file that other users can neither read nor change.
pub(super) fn read_secret(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    const OF_OTHERS: u32 = 0o027;
    let in_words = |error: std::io::Error| error.to_string();
    let file = File::open(file).map_err(in_words)?;
    let mode = file.metadata().map_err(in_words)?.permissions().mode() & 0o777;
    if mode & OF_OTHERS != 0 {
        return Err(format!(
            "its mode is {mode:o}, and other users could use the keys; expected 640 or less (chmod 640)"
        ));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(limits::TICKET_KEYS_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(in_words)?;
    let is_too_long = text.len() as u64 > limits::TICKET_KEYS_FILE_BYTES_MAX;
    if is_too_long { Err("is too long for a file of keys".to_owned()) } else { Ok(text) }
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
