//! TLS of a run: a certificate (P-256) in a folder of its own, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tidegate::proto::tls::certificates::self_signed;

const NAME: &str = "localhost";

/// Removed in the end.
pub struct Certificate {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
}

/// How clients shake hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shake {
    /// The hybrid post-quantum exchange of browsers instead of X25519 alone.
    pub is_hybrid: bool,
    pub is_resuming: bool,
}

impl Certificate {
    pub fn new() -> Result<Certificate, String> {
        let (certificate, key) = self_signed(&[NAME.to_owned()])?;
        let folder = std::env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
        let write = |name: &str, text: &str| fs::write(folder.join(name), text);
        let written = fs::create_dir_all(&folder)
            .and_then(|()| write("cert.pem", &certificate))
            .and_then(|()| write("key.pem", &key));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Certificate { folder, certificate })
    }

    /// With cert.pem and key.pem.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// TLS 1.3 alone, ciphers in the order of browsers. Keys can be taken out of the connections.
    pub fn client(&self, shake: Shake) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| error.to_string())?;
        let exchange: &'static dyn SupportedKxGroup =
            if shake.is_hybrid { kx_group::X25519MLKEM768 } else { kx_group::X25519 };
        let provider = CryptoProvider {
            kx_groups: vec![exchange],
            cipher_suites: vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256],
            ..default_provider()
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| error.to_string())?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.enable_secret_extraction = true;
        if !shake.is_resuming {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn client(config: &Arc<ClientConfig>) -> Result<ClientConnection, String> {
    let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
    ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())
}
