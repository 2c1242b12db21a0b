//! TLS of the subscribers: a certificate for this run, and rustls as the client.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tidegate::proto::tls::certificates::self_signed;

const NAME: &str = "localhost";

/// A folder with a certificate and its key, removed in the end, and the clients that trust it.
pub struct Certificate {
    folder: PathBuf,
    client: Arc<ClientConfig>,
}

impl Certificate {
    pub fn new() -> Result<Certificate, String> {
        let (certificate, key) = self_signed(&[NAME.to_owned()])?;
        let folder = std::env::temp_dir().join(format!("tidegate-fanout-{}", std::process::id()));
        let write = |name: &str, text: &str| fs::write(folder.join(name), text);
        let written = fs::create_dir_all(&folder)
            .and_then(|()| write("cert.pem", &certificate))
            .and_then(|()| write("key.pem", &key));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| error.to_string())?;
        roots.add(own).map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let client = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        Ok(Certificate { folder, client })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn client(config: &Arc<ClientConfig>) -> Result<Box<ClientConnection>, String> {
    let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
    ClientConnection::new(config.clone(), name).map(Box::new).map_err(|error| error.to_string())
}

/// Plaintext, like read(2): 0 at the end, `WouldBlock` if there is none yet.
pub fn read(tls: &mut ClientConnection, socket: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
        if tls.read_tls(socket)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}
