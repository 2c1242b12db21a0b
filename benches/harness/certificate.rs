//! TLS of a run: a certificate (P-256) in a folder of its own, and clients that trust it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tidegate::proto::tls::certificates::{read_chain, read_key};
use tidegate::proto::tls::{Certificate as ServerCertificate, server_config};

/// The server's name.
pub const NAME: &str = "localhost";
/// More than connections are ever opened at once.
const TICKETS_MAX: usize = 4096;

/// Folders of this process: tests make certificates at the same time.
static FOLDERS: AtomicU32 = AtomicU32::new(0);

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
        let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(|error| error.to_string())?;
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidegate-bench-{}-{number}", std::process::id()));
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
        config.resumption = match shake.is_resuming {
            true => Resumption::store(Arc::new(Tickets::default())),
            false => Resumption::disabled(),
        };
        Ok(Arc::new(config))
    }

    /// What the gateway makes of it.
    pub fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let read = |name: &str| fs::read(self.folder.join(name)).map_err(|error| format!("{name}: {error}"));
        let (chain, key) = (read_chain(&read("cert.pem")?)?, read_key(&read("key.pem")?)?);
        server_config(vec![ServerCertificate::new(chain, key)?])
    }
}

/// Tickets of all clients, each used once. rustls' own store keeps eight for a server, of which many clients at once would
/// run out; here there are soon as many as there are clients at once, since each brings one back.
#[derive(Debug, Default)]
struct Tickets(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl Tickets {
    fn locked(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.locked();
        if tickets.len() < TICKETS_MAX {
            tickets.push_back(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.locked().pop_front()
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
