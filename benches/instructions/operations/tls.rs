//! The record layer, and the clients that TLS operations talk to.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use rustls_pki_types::ServerName;
use tidegate::proto::tls::certificates::{read_chain, read_key};
use tidegate::proto::tls::{Certificate, Opened, Tls, server_config};

use super::{CALLS, PAYLOAD_BYTES, payload};

const NAME: &str = "localhost";
/// More than one record's plaintext.
const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// The two ends' configurations: TLS 1.3 with AES-128-GCM, which is what browsers ask for first.
pub struct Ends {
    pub server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Ends {
    pub fn new() -> Ends {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate is made");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = read_chain(chain.as_bytes()).expect("it is PEM");
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("it is a certificate");
        let key = read_key(key.as_bytes()).expect("it is PEM");
        let certificate = Certificate::new(chain, key).expect("they belong together");
        let provider =
            CryptoProvider { cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256], ..default_provider() };
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suite is for that version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ends { server: server_config(vec![certificate]).expect("it is served"), client: Arc::new(client) }
    }

    /// A client that has shaken hands with whoever `exchange` hands its bytes to; what that says comes back.
    pub fn client(&self, mut exchange: impl FnMut(&[u8]) -> Vec<u8>) -> ClientConnection {
        let name = ServerName::try_from(NAME).expect("it is a name");
        let mut client = ClientConnection::new(self.client.clone(), name).expect("the configuration is whole");
        while client.is_handshaking() || client.wants_write() {
            let answer = exchange(&sealed(&mut client, b""));
            opened(&mut client, &answer);
        }
        client
    }
}

/// The client's records of `plain`, after whatever it has to say first.
pub fn sealed(client: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    client.writer().write_all(plain).expect("it is buffered");
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).expect("a vector takes everything");
    }
    wire
}

/// What the records in `wire` say to the client.
pub fn opened(client: &mut ClientConnection, mut wire: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).expect("a slice can be read");
        client.process_new_packets().expect("the gateway speaks TLS");
        // What has not come yet is an error of its own.
        _ = client.reader().read_to_end(&mut plain);
    }
    plain
}

/// The gateway's end of a connection, and the client's.
fn pair() -> (Tls, ClientConnection) {
    let ends = Ends::new();
    let mut server = Tls::new(&ends.server).expect("the configuration is whole");
    let mut carried = Vec::new();
    let client = ends.client(|wire| {
        carried.extend_from_slice(wire);
        let mut answer = Vec::new();
        open_all(&mut server, &mut carried, &mut Vec::new(), &mut answer);
        answer
    });
    (server, client)
}

/// Opens what is whole in `wire`; the rest stays there.
fn open_all(server: &mut Tls, wire: &mut Vec<u8>, plain: &mut Vec<u8>, answer: &mut Vec<u8>) {
    let mut input = &mut wire[..];
    while server.open(&mut input, plain, answer, PLAIN_BYTES_MAX).expect("the client speaks TLS") != Opened::More {}
    let rest = input.len();
    wire.drain(..wire.len() - rest);
}

pub fn seal() -> Box<dyn FnMut()> {
    let (mut server, _) = pair();
    let payload = payload();
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    Box::new(move || {
        out.clear();
        let outcome = server.seal([black_box(&payload[..])], &mut scratch, &mut out);
        assert!(outcome.is_ok() && !black_box(&out).is_empty());
    })
}

pub fn open() -> Box<dyn FnMut()> {
    let (mut server, mut client) = pair();
    let payload = payload();
    // A record opens once, so there is one for each call.
    let mut records: Vec<Vec<u8>> = (0..CALLS).map(|_| sealed(&mut client, &payload)).collect();
    let mut next = 0;
    let (mut plain, mut answer) = (Vec::new(), Vec::new());
    Box::new(move || {
        plain.clear();
        let opened = server.open(&mut black_box(&mut records[next][..]), &mut plain, &mut answer, PLAIN_BYTES_MAX);
        assert!(opened == Ok(Opened::More) && black_box(&plain).len() == PAYLOAD_BYTES);
        next += 1;
    })
}
