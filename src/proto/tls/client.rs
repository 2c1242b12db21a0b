//! TLS to the servers behind the gateway: what is trusted, and what the gateway shows of itself.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName as CertifiedName};

use super::config::{ALPN, provider};
use crate::limits::SESSIONS_PER_UPSTREAM_MAX;

/// TLS to the servers of one upstream.
#[derive(Clone, Debug)]
pub struct ServersTls {
    pub config: Arc<ClientConfig>,
    /// The name that each server proves to have.
    pub names: Box<[CertifiedName<'static>]>,
}

impl ServersTls {
    /// The same with sessions of its own: shards share no lock.
    pub fn apart(&self) -> ServersTls {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_UPSTREAM_MAX);
        ServersTls { config: config.into(), names: self.names.clone() }
    }
}

/// The name or address that a certificate is for.
pub fn certified_name(host: &str) -> Option<CertifiedName<'static>> {
    CertifiedName::try_from(host.to_owned()).ok()
}

/// Trusts these roots. `own`: the certificate that servers get which ask for one. The error is one line.
pub fn client_config(
    roots: RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}
