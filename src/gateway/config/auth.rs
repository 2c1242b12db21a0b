//! Each `[[auth]]` as the configuration says it, and the keys that it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificates::{read_secret, servers_tls};
use crate::conn::certified::CertifiedName;
use crate::conn::route::AuthId;
use crate::limits;
use crate::outbound::KeySource;
use crate::proto::token::{Algorithm, Algorithms, KeySet};
use crate::proto::upstream::UpstreamRule;

/// An `[[auth]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientAuth {
    /// In routes, in metrics and in the log.
    pub name: String,
    /// The kind of proof.
    pub proof: ClientProof,
}

/// The kind of proof.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientProof {
    /// A signed token.
    Token(Box<TokenRules>),
    /// A server decides.
    Forward(Box<ForwardRules>),
    /// The certificate that it has shown.
    Certificate(CertificateRules),
}

/// The name in a client's certificate that is its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRules {
    /// Its kind.
    pub name: CertifiedName,
    /// The header field by which servers of routes are told it.
    pub header: Option<String>,
}

/// The part of the application that decides about clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardTo {
    /// A server.
    Upstream {
        /// The name of the upstream.
        name: String,
        /// Where it is asked, with a query if there is one.
        path: String,
    },
    /// The workers of this service.
    Service(String),
}

/// The part of the application that decides about clients, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRules {
    /// The part of the application that decides.
    pub to: ForwardTo,
    /// Header fields of a request that it gets.
    pub send: Vec<String>,
    /// Header fields of its answer that servers of routes get.
    pub copy: Vec<String>,
    /// The header field of its answer that names the user.
    pub user: String,
    /// How long a request waits for its answer.
    pub timeout: Duration,
    /// How long a stream may last, in seconds.
    pub ttl_s: u64,
}

/// The tokens that prove a client, and what they say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRules {
    /// `iss` of a token must be this.
    pub issuer: Option<String>,
    /// `aud` must be this, or a list with it.
    pub audience: Option<String>,
    /// Names of the algorithms that are allowed. Empty: all that the keys are for.
    pub algorithms: Vec<String>,
    /// How far the issuer's clock may be from this one, in seconds.
    pub leeway_s: u32,
    /// Verifies the tokens.
    pub key: AuthKey,
    /// Where a request carries its token, in the order in which it is looked for: `header`, `cookie:NAME`, `subprotocol`,
    /// `query:NAME`. Never empty.
    pub carriers: Vec<String>,
    /// The claim that names the user.
    pub user: String,
    /// The claim that lists patterns of channels which a client may hear.
    pub channels: Option<String>,
    /// The claim that lists patterns of channels which a client may publish to.
    pub publish: Option<String>,
    /// Claims that must have a value.
    pub required: Vec<(String, String)>,
    /// Header fields that tell servers a claim.
    pub headers: Vec<(String, String)>,
}

/// The keys of an `[[auth]]`.
#[derive(Clone, PartialEq)]
pub enum AuthKey {
    /// A file with a key set (RFC 7517).
    Set(PathBuf),
    /// The issuer publishes one.
    Published(Box<PublishedKeySet>),
    /// A shared secret.
    Secret(String),
    /// A file with one.
    SecretFile(PathBuf),
    /// A file with a public key in PEM, by the key of the configuration that names it.
    Public(&'static str, PathBuf),
}

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedKeySet {
    /// As it is written.
    pub url: String,
    /// The server of the URL alone, with TLS if the URL says so.
    pub server: UpstreamRule,
    /// The path of the URL, with its query.
    pub path: String,
    /// How old the keys may be, in seconds.
    pub stale_max_s: u64,
}

impl fmt::Debug for AuthKey {
    /// Leaves out the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthKey::Set(file) => write!(f, "Set({file:?})"),
            AuthKey::Published(set) => write!(f, "Published({})", set.url),
            AuthKey::Secret(_) => f.write_str("Secret(..)"),
            AuthKey::SecretFile(file) => write!(f, "SecretFile({file:?})"),
            AuthKey::Public(name, file) => write!(f, "Public({name}, {file:?})"),
        }
    }
}

/// The algorithms of keys by a key of the configuration.
pub(super) const PUBLIC_KEYS: [&str; 3] = ["rsa_public_key", "ecdsa_public_key", "ed25519_public_key"];

fn is_for(name: &str, algorithm: Algorithm) -> bool {
    let of = |prefixes: &[&str]| prefixes.iter().any(|prefix| algorithm.name().starts_with(prefix));
    match name {
        "rsa_public_key" => of(&["RS", "PS"]),
        "ecdsa_public_key" => of(&["ES"]),
        "ed25519_public_key" => algorithm == Algorithm::EdDsa,
        _ => true,
    }
}

impl ClientAuth {
    /// The keys of its tokens; `None`: their issuer publishes them, or there are no tokens. The error is one line that names the key
    /// of the configuration, and the file.
    pub fn keys(&self) -> Result<Option<KeySet>, String> {
        self.token().map_or(Ok(None), TokenRules::keys)
    }

    /// The source of the keys, if their issuer publishes them. The error is one line that names the auth, and the file.
    pub(crate) fn key_source(&self, auth: AuthId) -> Result<Option<KeySource>, String> {
        self.token().map_or(Ok(None), |token| token.key_source(auth, &self.name))
    }

    /// Legal settings that are probably mistakes, one line each.
    pub fn doubts(&self) -> Vec<String> {
        self.token().map(TokenRules::doubts).unwrap_or_default()
    }

    fn token(&self) -> Option<&TokenRules> {
        match &self.proof {
            ClientProof::Token(token) => Some(token),
            ClientProof::Forward(_) | ClientProof::Certificate(_) => None,
        }
    }
}

impl TokenRules {
    /// The keys; `None`: their issuer publishes them. The error is one line that names the key of the configuration, and the
    /// file.
    pub fn keys(&self) -> Result<Option<KeySet>, String> {
        let keys = match &self.key {
            AuthKey::Published(_) => return self.key_source(AuthId(0), "").map(|_| None),
            AuthKey::Set(file) => {
                let words = |error: String| format!("keys {} {error}", file.display());
                KeySet::read(&read(file).map_err(words)?, self.allowed("keys")).map_err(words)
            }
            AuthKey::Secret(secret) => self.secret("hmac_secret", secret.as_bytes()),
            AuthKey::SecretFile(file) => {
                let secret =
                    read_secret(file).map_err(|error| format!("hmac_secret_file {}: {error}", file.display()))?;
                self.secret("hmac_secret_file", secret.trim_ascii())
            }
            AuthKey::Public(name, file) => {
                let words = |error: String| format!("{name} {} {error}", file.display());
                KeySet::pem(&read(file).map_err(words)?, self.allowed(name)).map_err(words)
            }
        };
        keys.map(Some)
    }

    /// The source of the keys, if their issuer publishes them. The error is one line that names the auth, and the file.
    fn key_source(&self, auth: AuthId, name: &str) -> Result<Option<KeySource>, String> {
        let AuthKey::Published(set) = &self.key else { return Ok(None) };
        let tls = set.server.tls.as_ref().map(|tls| servers_tls(&set.server, tls, &mut None)).transpose();
        let server = set.server.servers.first().ok_or("the URL of its keys names no server")?;
        Ok(Some(KeySource {
            auth,
            name: name.into(),
            url: set.url.as_str().into(),
            server: server.clone(),
            path: set.path.as_str().into(),
            tls: tls.map_err(|error| format!("keys_ca {error}"))?,
            allowed: self.allowed("keys"),
        }))
    }

    fn allowed(&self, name: &str) -> Algorithms {
        let is_named =
            |own: Algorithm| self.algorithms.is_empty() || self.algorithms.iter().any(|name| name == own.name());
        Algorithm::ALL.into_iter().filter(|own| is_named(*own) && is_for(name, *own)).collect()
    }

    fn secret(&self, name: &str, secret: &[u8]) -> Result<KeySet, String> {
        if secret.is_empty() {
            return Err(format!("{name} is empty; {SECRET_FITS}"));
        }
        // With a public key as the secret, any holder of that key could sign tokens.
        if secret.starts_with(b"-----BEGIN ") {
            return Err(format!("{name} is a key in PEM; expected a secret, or one of {}", PUBLIC_KEYS.join(", ")));
        }
        KeySet::secret(secret, self.allowed(name)).map_err(|error| format!("{name} {error}"))
    }

    /// Legal settings that are probably mistakes, one line each.
    pub fn doubts(&self) -> Vec<String> {
        let remark =
            self.keys().ok().flatten().and_then(|keys| keys.remark()).map(|remark| format!("of its keys, {remark}"));
        let short = match &self.key {
            AuthKey::Secret(secret) => Some(("hmac_secret", secret.len())),
            AuthKey::SecretFile(file) => {
                read_secret(file).ok().map(|secret| ("hmac_secret_file", secret.trim_ascii().len()))
            }
            AuthKey::Set(_) | AuthKey::Published(_) | AuthKey::Public(..) => None,
        };
        let short = short.filter(|(_, bytes)| *bytes < SECRET_BYTES_MIN);
        let short = short.map(|(name, _)| format!("{name} is short enough to be guessed; {SECRET_FITS}"));
        remark.into_iter().chain(short).collect()
    }
}

/// The length of a SHA-256 hash.
const SECRET_BYTES_MIN: usize = 32;
const SECRET_FITS: &str = "expected 32 bytes or more (RFC 7518 section 3.2), such as \"openssl rand -hex 32\" writes";

/// At most as much as the longest key set.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let in_words = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(file).map_err(in_words)?;
    file.take(limits::KEY_SET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(in_words)?;
    Ok(bytes)
}
