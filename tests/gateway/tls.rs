//! TLS: what malformed and stalling handshakes get, and what OpenSSL, curl and rustls make of the gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::conn::Door;
use tidegate::gateway::{Builder, Gateway};
use tidegate::proto::ws::Opcode;

use crate::hostile::{broken_rules, expect_close};
use crate::peers::{masked, upgrade};
use crate::support::*;

const REQUEST: &str = "GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// An alert's content type (RFC 8446 section 5.1).
const ALERT: u8 = 21;

/// A folder with a certificate for each name; gone with the value.
pub struct Certificates {
    folder: PathBuf,
    names: Vec<&'static str>,
}

impl Certificates {
    fn new(names: &[&'static str]) -> Certificates {
        let random = getrandom::u64().expect("randomness");
        let folder = std::env::temp_dir().join(format!("tidegate-test-{random:016x}"));
        fs::create_dir(&folder).unwrap();
        for name in names {
            let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
            fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
            fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        Certificates { folder, names: names.to_vec() }
    }

    pub fn pem(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// A gateway with a TLS listener besides the plain one.
    fn builder(&self, driver: &str, extra: &str) -> Builder {
        let files = self.names.iter().map(|name| {
            let folder = self.folder.display();
            format!("{{ certificate = \"{folder}/{name}.pem\", key = \"{folder}/{name}.key\" }}")
        });
        let files: Vec<String> = files.collect();
        let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = [{}]", files.join(", "));
        builder(driver, &format!("{extra}\n{listener}"))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn on_both_drivers_over_tls(names: &[&'static str], extra: &str, test: impl Fn(&Gateway, &Certificates) + Sync) {
    let certificates = Certificates::new(names);
    on_both_drivers_with(|driver| certificates.builder(driver, extra), |gateway| test(gateway, &certificates));
}

pub fn secure(gateway: &Gateway) -> SocketAddr {
    gateway.address(Door::Front, true).expect("a TLS listener")
}

/// rustls' own client, trusting one certificate.
pub fn connect(
    gateway: &Gateway,
    certificates: &Certificates,
    name: &'static str,
) -> StreamOwned<ClientConnection, Raw> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.pem(name)).unwrap()).unwrap();
    let provider = Arc::new(tidegate::proto::tls::config::provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let session = ClientConnection::new(config, name.try_into().unwrap()).unwrap();
    StreamOwned::new(session, Raw::connect(secure(gateway)))
}

pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn garbage_gets_an_alert_and_the_end() {
    let too_long = [22, 3, 1, 0xff, 0xff];
    let no_hello = [22, 3, 3, 0, 4, 2, 0, 0, 0];
    let rows: [&[u8]; 5] = [REQUEST.as_bytes(), b"\0\0\0\0\0\0\0\0", &too_long, &no_hello, &[23, 3, 3, 0, 1, 0]];
    on_both_drivers_over_tls(&["localhost"], "", |gateway, _| {
        for said in rows {
            let mut peer = Raw::connect(secure(gateway));
            peer.send(said);
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).expect("an answer and a proper end");
            assert!(matches!(answer[..], [ALERT, 3, _, 0, 2, 2, _]), "{said:?} got {answer:?}");
        }
        assert_eq!(metric(gateway, "closed_total:tls_protocol"), rows.len() as u64);
        expect_nobody(gateway);
    });
}

#[test]
fn a_handshake_that_stalls_ends_at_its_deadline() {
    on_both_drivers_over_tls(&["localhost"], "[limits]\nhandshake_timeout_s = 1", |gateway, _| {
        let mut silent = Raw::connect(secure(gateway));
        let mut half = Raw::connect(secure(gateway));
        half.send([22, 3, 1, 0, 200, 1, 0]);
        assert_eq!((silent.read_all(), half.read_all()), (String::new(), String::new()));
        assert_eq!(metric(gateway, "closed_total:tls_too_slow"), 2);
        // Although both peers keep their ends.
        expect_nobody(gateway);
    });
}

#[test]
fn close_notify_is_answered_and_a_cut_is_noticed() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        let mut polite = connect(gateway, certificates, "localhost");
        polite.write_all(REQUEST.replace("Connection: close\r\n", "").repeat(3).as_bytes()).unwrap();
        polite.conn.send_close_notify();
        polite.flush().unwrap();
        let mut answers = String::new();
        polite.read_to_string(&mut answers).expect("close_notify: else rustls calls it a cut");
        assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 3, "{answers}");

        let mut cut = connect(gateway, certificates, "localhost");
        cut.write_all(upgrade("/ws/1").as_bytes()).unwrap();
        read_head(&mut cut);
        cut.sock.0.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        cut.read_to_end(&mut rest).expect("a proper end");
        assert_eq!(rest, b"", "1006 is never on the wire");
        assert_eq!(metric(gateway, "closed_total:tls_truncated"), 1);
        drop((polite, cut));
        expect_nobody(gateway);
    });
}

/// A client that has a ticket for early data, which another server with the same name has given to it.
fn with_ticket_for_early_data(certificates: &Certificates, name: &'static str) -> ClientConnection {
    let provider = Arc::new(tidegate::proto::tls::config::provider());
    let chain = vec![CertificateDer::from_pem_file(certificates.pem(name)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificates.key(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let mut other = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    other.max_early_data_size = 32 * 1024;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let connect = || ClientConnection::new(config.clone(), name.try_into().unwrap()).unwrap();
    let (mut client, mut server) = (connect(), ServerConnection::new(Arc::new(other)).unwrap());
    while client.tls13_tickets_received() == 0 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    connect()
}

#[test]
fn early_data_is_skipped_and_its_client_served() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        for records in [vec![200; 20], vec![1_000; 15], vec![15_000]] {
            let mut client = with_ticket_for_early_data(certificates, "localhost");
            for bytes in &records {
                client.early_data().expect("the ticket allows it").write_all(&vec![b'e'; *bytes]).unwrap();
            }
            let mut peer = StreamOwned::new(client, Raw::connect(secure(gateway)));
            peer.write_all(REQUEST.as_bytes()).unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).expect("close_notify at the end");
            assert!(
                answer.starts_with("HTTP/1.1 404 ") && !peer.conn.is_early_data_accepted(),
                "{records:?}: {answer}"
            );
        }
        assert_eq!(metric(gateway, "tls_handshakes_total"), 3);
        expect_nobody(gateway);
    });
}

#[test]
fn websocket_rules_hold_over_tls() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        for (what, path, bytes, code) in broken_rules() {
            let mut peer = connect(gateway, certificates, "localhost");
            peer.write_all(upgrade(path).as_bytes()).unwrap();
            read_head(&mut peer);
            let _ = peer.write_all(&bytes);
            expect_close(what, &mut peer, code);
        }
        expect_nobody(gateway);
    });
}

#[test]
fn whoever_reads_late_over_tls_gets_everything() {
    const PINGS: usize = 20_000;
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        let mut peer = connect(gateway, certificates, "localhost");
        peer.write_all(upgrade("/ws/1").as_bytes()).unwrap();
        read_head(&mut peer);
        // More pongs than may wait: the gateway pauses in the middle of records, and goes on.
        peer.write_all(&masked(Opcode::Ping, &[b'p'; 125]).repeat(PINGS)).unwrap();
        peer.write_all(&masked(Opcode::Close, b"\x03\xe8")).unwrap();
        peer.conn.send_close_notify();
        peer.flush().unwrap();
        let mut pong = [0; 127];
        for number in 0..PINGS {
            peer.read_exact(&mut pong).unwrap_or_else(|error| panic!("pong {number}: {error}"));
            assert_eq!(pong[..2], [0x8a, 125]);
        }
        expect_close("the end", &mut peer, 1000);
        drop(peer);
        expect_nobody(gateway);
    });
}

/// `openssl s_client` against the gateway: what it says of the connection and the answer that it got.
fn openssl(gateway: &Gateway, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &secure(gateway).to_string()]).args(options);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl");
    child.stdin.take().expect("piped").write_all(REQUEST.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("HTTP/1.1 404 "), "{options:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn openssl_speaks_both_versions_gets_its_certificate_and_resumes() {
    on_both_drivers_over_tls(&["a.example", "b.example"], "", |gateway, certificates| {
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            for host in ["a.example", "b.example"] {
                let ca = certificates.pem(host).display().to_string();
                let session =
                    certificates.folder.join(format!("{}{version}{host}", gateway.driver())).display().to_string();
                let verified = ["-servername", host, "-verify_hostname", host, "-CAfile", &ca, "-verify_return_error"];
                let first = openssl(gateway, &[&verified[..], &[version, "-sess_out", &session]].concat());
                assert!(first.contains(&format!("New, {name}")), "{first}");
                let again = openssl(gateway, &[&verified[..], &[version, "-sess_in", &session]].concat());
                assert!(again.contains(&format!("Reused, {name}")), "{again}");
            }
        }
        assert_eq!((metric(gateway, "tls_handshakes_total"), metric(gateway, "tls_resumed_total")), (8, 4));
        let unnamed = openssl(gateway, &["-noservername", "-alpn", "h2,http/1.1"]);
        assert!(unnamed.contains("subject=") && unnamed.contains("ALPN protocol: http/1.1"), "{unnamed}");
        expect_nobody(gateway);
    });
}

#[test]
fn curl_is_served_and_checks_the_certificate() {
    on_both_drivers_over_tls(&["a.example", "b.example"], "", |gateway, certificates| {
        let port = secure(gateway).port();
        let curl = |ca: &str, host: &str, version: &str| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--max-time", "10", "--write-out", "%{http_code}", "--output", "/dev/null"]);
            command.arg("--cacert").arg(certificates.pem(ca));
            command.args(["--resolve", &format!("{host}:{port}:127.0.0.1"), "--tlsv1.2", "--tls-max", version]);
            let output = command.arg(format!("https://{host}:{port}/nowhere")).output().expect("curl");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for version in ["1.2", "1.3"] {
            assert_eq!(curl("a.example", "a.example", version), "404");
            assert_eq!(curl("b.example", "b.example", version), "404");
            assert_eq!(curl("a.example", "b.example", version), "000", "the certificate is b's own");
        }
        expect_nobody(gateway);
    });
}
