//! The certificate of the simulated gateway, and the clients that trust it.

use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use tidegate::driver::sim::Random;
use tidegate::proto::tls::certificates::read_key;
use tidegate::proto::tls::config::provider;
use tidegate::proto::tls::{Certificate, server_config};

use crate::tally::Tally;
use crate::tls::Tls;

const NAME: &str = "simulated";

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    server: Arc<ServerConfig>,
}

/// Of this process; Ed25519 and a fixed serial number, so that every certificate and signature has the same length.
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(1));
        let chain = vec![params.self_signed(&key).expect("a certificate").der().clone()];
        let key = read_key(key.serialize_pem().as_bytes()).expect("as it was written");
        let certificate = Certificate::new(chain.clone(), key).expect("they fit");
        Identity { chain, server: server_config(vec![certificate]).expect("a configuration") }
    })
}

/// What the gateway's listener has.
pub fn server() -> Arc<ServerConfig> {
    identity().server.clone()
}

/// The clients' side of one scenario: they share tickets.
pub struct Trust {
    tls13: Arc<ClientConfig>,
    tls12: Arc<ClientConfig>,
    pub tally: Tally,
}

impl Trust {
    pub fn new(random: &mut Random) -> Trust {
        // Of which key exchange, and in how large records.
        let kx_group = if random.chance(200) { kx_group::X25519MLKEM768 } else { kx_group::X25519 };
        let max_fragment_size = [None, None, Some(64), Some(1_000)][random.below(4) as usize];
        let config = |version| {
            let provider = CryptoProvider { kx_groups: vec![kx_group, kx_group::X25519], ..provider() };
            let mut config = config(provider, version);
            config.max_fragment_size = max_fragment_size;
            Arc::new(config)
        };
        Trust { tls13: config(&TLS13), tls12: config(&TLS12), tally: Tally::default() }
    }

    /// A client's half of a connection.
    pub fn client(&self, seed: u64) -> Tls {
        let config = if seed.is_multiple_of(4) { &self.tls12 } else { &self.tls13 };
        let mut connection = ClientConnection::new(config.clone(), NAME.try_into().expect("a name"))
            .expect("a configuration that works");
        // The line has a bound of its own: what a client says.
        connection.set_buffer_limit(None);
        Tls::new(connection, seed, self.tally.clone())
    }
}

fn config(provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity().chain[0].clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]);
    config.expect("a version").with_root_certificates(roots).with_no_client_auth()
}
