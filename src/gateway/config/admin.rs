//! `[admin]` as the configuration says it, and the tokens that it names.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;

use super::certificates::{read_secret, tls_config};
use super::{CertificateFiles, TlsOptions};
use crate::conn::admin::{AdminToken, AdminTokens, Scope};
use crate::limits::{ADMIN_TOKEN_BYTES_MAX, ADMIN_TOKEN_BYTES_MIN};

/// The listener of the API for backends and operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The address to listen on; port 0 takes a free port. `None`: only `socket`.
    pub address: Option<SocketAddr>,
    /// The path to listen on, for programs of this machine.
    pub socket: Option<PathBuf>,
    /// The host names, besides `localhost`, that requests may name.
    pub hosts: Vec<String>,
    /// At the address. Never empty if set.
    pub tls: Option<Vec<CertificateFiles>>,
    /// Empty: every peer that can connect may do everything.
    pub tokens: Vec<ApiToken>,
}

/// A token, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Where its text is.
    pub secret: ApiSecret,
    /// The endpoints that it is for.
    pub scopes: Vec<Scope>,
}

/// Where the text of a token is.
#[derive(Clone, PartialEq, Eq)]
pub enum ApiSecret {
    /// In the configuration.
    Text(String),
    /// In this file.
    File(PathBuf),
}

impl fmt::Debug for ApiSecret {
    /// Leaves out the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiSecret::Text(_) => f.write_str("Text(..)"),
            ApiSecret::File(file) => write!(f, "File({file:?})"),
        }
    }
}

impl Admin {
    /// For programs on this machine alone, which need no token.
    pub fn at(address: SocketAddr) -> Admin {
        Admin { address: Some(address), socket: None, hosts: Vec::new(), tls: None, tokens: Vec::new() }
    }

    /// The TLS configuration, or `None` for a plain listener. The error is one line that names the file.
    pub fn tls_config(&self, options: &TlsOptions) -> Result<Option<Arc<ServerConfig>>, String> {
        self.tls.as_ref().map(|all| tls_config(all, options, None)).transpose()
    }

    /// The tokens. The error is one line that names the key of the configuration, and the file.
    pub fn read_tokens(&self) -> Result<AdminTokens, String> {
        self.tokens.iter().map(read_token).collect()
    }
}

fn read_token(token: &ApiToken) -> Result<AdminToken, String> {
    let scopes = token.scopes.iter().copied();
    match &token.secret {
        ApiSecret::Text(text) => check(text.as_bytes()).map(|text| AdminToken::new(text, scopes)),
        ApiSecret::File(file) => {
            let words = |error: String| format!("admin.token_file {}: {error}", file.display());
            let secret = read_secret(file).map_err(words)?;
            check(&secret).map(|text| AdminToken::new(text, scopes)).map_err(words)
        }
    }
}

/// The token without white space around it.
fn check(text: &[u8]) -> Result<&[u8], String> {
    let text = text.trim_ascii();
    let fits =
        (ADMIN_TOKEN_BYTES_MIN..=ADMIN_TOKEN_BYTES_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    fits.then_some(text).ok_or_else(|| {
        format!(
            "a token of the admin listener has {ADMIN_TOKEN_BYTES_MIN} to {ADMIN_TOKEN_BYTES_MAX} visible characters, such as \
             \"openssl rand -hex 32\" writes"
        )
    })
}
