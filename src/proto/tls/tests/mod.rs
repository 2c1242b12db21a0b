//! Sessions against rustls' own buffered client: the two ends, and what lies between them.

mod client;
mod handshake;
mod hostile;
mod peer;
mod records;
mod state;
mod twin;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::{CipherSuiteCommon, CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    Tls13CipherSuite,
};
use rustls_pki_types::CertificateDer;

use super::certificates::{read_chain, read_key, self_signed};
use super::config::{provider, server_config_with};
use super::record::Suite;
use super::secrets::Overhear;
use super::*;
use crate::proto::CloseReason;

type Version = &'static SupportedProtocolVersion;

/// A certificate and what a client has to trust for it.
struct Issued {
    certificate: Certificate,
    root: CertificateDer<'static>,
}

fn issue(chain: &str, key: &str) -> Issued {
    let chain = read_chain(chain.as_bytes()).unwrap();
    let root = chain[0].clone();
    let certificate = Certificate::new(chain, read_key(key.as_bytes()).unwrap()).unwrap();
    Issued { certificate, root }
}

fn ecdsa(name: &str) -> Issued {
    let (chain, key) = self_signed(&[name.to_owned()]).unwrap();
    issue(&chain, &key)
}

fn rsa(name: &str) -> Issued {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let chain = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    issue(&chain.pem(), &key.serialize_pem())
}

/// A suite of rustls with another limit of records for each key. Leaked: rustls wants it to live for ever.
fn limited(suite: Suite, records_max: u64) -> SupportedCipherSuite {
    let all = provider().cipher_suites;
    let found =
        all.iter().filter_map(SupportedCipherSuite::tls13).find(|own| Suite::of(own.common.suite) == Some(suite));
    let own = found.expect("a suite of the provider");
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: own.common.suite,
            hash_provider: own.common.hash_provider,
            confidentiality_limit: records_max,
        },
        hkdf_provider: own.hkdf_provider,
        aead_alg: own.aead_alg,
        quic: None,
    })))
}

/// Both sides' configurations.
struct World {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl World {
    fn new(issued: Vec<Issued>, versions: &[Version], groups: &[&'static dyn SupportedKxGroup]) -> World {
        let mut client = provider();
        if !groups.is_empty() {
            client.kx_groups = groups.to_vec();
        }
        World::with(client, provider(), issued, versions)
    }

    fn with(client: CryptoProvider, server: CryptoProvider, issued: Vec<Issued>, versions: &[Version]) -> World {
        let mut roots = RootCertStore::empty();
        for issued in &issued {
            roots.add(issued.root.clone()).unwrap();
        }
        let mut client = ClientConfig::builder_with_provider(Arc::new(client))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        client.enable_secret_extraction = true;
        client.key_log = Arc::new(Overhear);
        let certificates = issued.into_iter().map(|issued| issued.certificate).collect();
        World {
            server: server_config_with(server, certificates, TlsPolicy::default()).unwrap(),
            client: Arc::new(client),
        }
    }

    /// TLS 1.3 with one suite, of which one key encrypts this many records.
    fn of_suite(suite: Suite, records_max: u64) -> World {
        let server = CryptoProvider { cipher_suites: vec![limited(suite, records_max)], ..provider() };
        World::with(provider(), server, vec![ecdsa("localhost")], &[&TLS13])
    }

    fn plain(version: Version) -> World {
        World::new(vec![ecdsa("localhost")], &[version], &[])
    }

    fn connect(&self, host: &'static str) -> Link {
        let client = ClientConnection::new(self.client.clone(), host.try_into().unwrap()).unwrap();
        Link { client, server: End::new(&self.server) }
    }

    fn connected(&self) -> Link {
        let mut link = self.connect("localhost");
        link.shake_hands(|| usize::MAX);
        link
    }
}

/// The server's end with the buffers that a connection would own.
struct End {
    tls: Tls,
    input: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    scratch: Vec<u8>,
    /// As often as the handshake was over.
    handshaken: Vec<Agreed>,
}

impl End {
    fn new(config: &Arc<ServerConfig>) -> End {
        let tls = Tls::new(config).unwrap();
        End { tls, input: Vec::new(), plain: Vec::new(), out: Vec::new(), scratch: Vec::new(), handshaken: Vec::new() }
    }

    /// One call of `open`; keeps what it leaves.
    fn open_once(&mut self, plain_max: usize) -> Result<Opened, CloseReason> {
        let mut rest = &mut self.input[..];
        let opened = self.tls.open(&mut rest, &mut self.plain, &mut self.out, plain_max);
        let used = rest.len();
        self.input.drain(..self.input.len() - used);
        opened
    }

    fn open(&mut self, bytes: &[u8]) -> Result<Opened, CloseReason> {
        self.input.extend_from_slice(bytes);
        loop {
            match self.open_once(usize::MAX)? {
                Opened::Handshaken(agreed) => self.handshaken.push(agreed),
                opened => return Ok(opened),
            }
        }
    }

    fn agreed(&self) -> Agreed {
        self.handshaken[0].clone()
    }

    fn seal(&mut self, plain: &[&[u8]]) -> Result<(), CloseReason> {
        self.tls.seal(plain.iter().copied(), &mut self.scratch, &mut self.out)
    }
}

struct Link {
    client: ClientConnection,
    server: End,
}

impl Link {
    fn client_wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// Moves all that the client has to say, in pieces.
    fn carry_up(&mut self, mut piece: impl FnMut() -> usize) -> Result<Opened, CloseReason> {
        let wire = self.client_wire();
        let mut rest = &wire[..];
        let mut opened = Opened::More;
        while !rest.is_empty() {
            let (bytes, later) = rest.split_at(piece().min(rest.len()));
            opened = self.server.open(bytes)?;
            rest = later;
        }
        Ok(opened)
    }

    /// Moves all that the server has to say, in pieces. Returns what the client could read.
    fn carry_down(&mut self, mut piece: impl FnMut() -> usize) -> Result<Vec<u8>, rustls::Error> {
        let wire = std::mem::take(&mut self.server.out);
        let mut rest = &wire[..];
        let mut plain = Vec::new();
        while !rest.is_empty() {
            let (mut bytes, later) = rest.split_at(piece().min(rest.len()));
            while !bytes.is_empty() {
                self.client.read_tls(&mut bytes).unwrap();
                let news = self.client.process_new_packets()?;
                let start = plain.len();
                plain.resize(start + news.plaintext_bytes_to_read(), 0);
                self.client.reader().read_exact(&mut plain[start..]).unwrap();
            }
            rest = later;
        }
        Ok(plain)
    }

    fn shake_hands(&mut self, mut piece: impl FnMut() -> usize) {
        while self.client.is_handshaking() || self.server.tls.is_handshaking() || self.client.wants_write() {
            self.carry_up(&mut piece).unwrap();
            self.carry_down(&mut piece).unwrap();
        }
        assert_eq!(self.server.handshaken.len(), 1);
        assert!(self.server.input.is_empty());
    }

    fn say(&mut self, words: &[u8]) {
        let mut rest = words;
        while !rest.is_empty() {
            let written = self.client.writer().write(rest).unwrap();
            rest = &rest[written..];
            self.carry_up(|| usize::MAX).unwrap();
        }
    }

    /// The alert at the end of what the server sent, as the client understands it.
    fn alert(&mut self) -> rustls::AlertDescription {
        match self.carry_down(|| usize::MAX) {
            Err(rustls::Error::AlertReceived(alert)) => alert,
            other => panic!("no alert: {other:?}"),
        }
    }
}
