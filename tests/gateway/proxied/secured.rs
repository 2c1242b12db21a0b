//! Servers that are spoken to over TLS: those that people have, and those that prove nothing, or too little.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::gateway::Gateway;
use tidegate::proto::tls::config::provider;

use super::programs::Program;
use super::*;

/// A certificate that is signed by its own key, which a client trusts as an authority: both as PEM.
struct Pair {
    certificate: String,
    key: String,
}

fn pair_until(name: &str, year: i32) -> Pair {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    Pair { certificate, key: key.serialize_pem() }
}

fn pair(name: &str) -> Pair {
    pair_until(name, 2099)
}

/// Files that live as long as the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("tidegate-secured-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Files(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).expect("a file");
        file.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A route below `/name/` to a server with TLS.
fn route_to(name: &str, server: &str, tls: &str) -> String {
    format!(
        "[[upstream]]\nname = \"{name}\"\nservers = \"{server}\"\nkeep_alive_s = 1\ntls = {{ {tls} }}\n\
         [[route]]\npath = \"/{name}/*\"\nproxy = {{ upstream = \"{name}\", strip = \"/{name}\" }}\n"
    )
}

fn get(gateway: &Gateway, path: &str) -> Vec<u8> {
    let mut client = Raw::connect(front(gateway));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let mut answer = Vec::new();
    // A connection that is cut is a part of the answer.
    let _ = std::io::Read::read_to_end(&mut client.0, &mut answer);
    client.leave();
    answer
}

fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ")
}

/// A bystander is served over a plain upstream before and after.
fn beside_a_bystander(routes: &str, play: impl Fn(&Gateway) + Sync) {
    let good = Server::start(serve_well);
    on_both_drivers(&format!("{routes}{}", good.route("good", "")), |gateway| {
        let mut bystander = Bystander::new(gateway);
        play(gateway);
        bystander.expect_service();
        bystander.leave();
        expect_nobody(gateway);
    });
}

#[test]
fn nginx_is_served_over_each_version_of_tls() {
    let own = pair("localhost");
    let files = Files::new("nginx");
    let ca = files.file("ca.pem", &own.certificate);
    for version in ["TLSv1.3", "TLSv1.2"] {
        let nginx = Program::nginx_tls(version, &own.certificate, &own.key);
        let big = fs::read(nginx.file("big.bin")).expect("a file");
        let server = format!("localhost:{}", nginx.address.port());
        beside_a_bystander(&route_to("tls", &server, &format!("ca = \"{ca}\"")), |gateway| {
            for _ in 0..8 {
                let answer = get(gateway, "/tls/small.txt");
                assert!(is_ok(&answer), "{version}: {}", String::from_utf8_lossy(&answer));
            }
            let answer = get(gateway, "/tls/big.bin");
            assert!(is_ok(&answer) && answer.ends_with(&big), "{version}: {} bytes", answer.len());
        });
    }
}

#[test]
fn haproxy_is_told_the_name_and_a_url_is_enough() {
    let own = pair("app.internal");
    let files = Files::new("haproxy");
    let ca = files.file("ca.pem", &own.certificate);
    let haproxy = Program::haproxy_tls(&own.certificate, &own.key);
    let tls = format!("name = \"app.internal\", ca = \"{ca}\"");
    beside_a_bystander(&route_to("tls", &haproxy.address.to_string(), &tls), |gateway| {
        for _ in 0..3 {
            let answer = String::from_utf8(get(gateway, "/tls/")).expect("text");
            assert!(answer.ends_with("TLSv1.3 app.internal"), "{answer}");
        }
    });
    // The system trusts no such authority.
    let url = format!("[[route]]\npath = \"/tls/*\"\nproxy = \"https://{}\"\n", haproxy.address);
    beside_a_bystander(&url, |gateway| {
        assert!(get(gateway, "/tls/").starts_with(b"HTTP/1.1 502 "));
        assert_eq!(metric(gateway, "closed_total:upstream_refused"), 1);
    });
}

#[test]
fn a_server_that_asks_gets_the_gateways_certificate() {
    let (own, client) = (pair("localhost"), pair("gateway.internal"));
    let files = Files::new("openssl");
    let ca = files.file("ca.pem", &own.certificate);
    let (certificate, key) = (files.file("own.pem", &client.certificate), files.file("own.key", &client.key));
    let openssl = Program::openssl_that_asks(&own.certificate, &own.key, &client.certificate);
    let server = format!("localhost:{}", openssl.address.port());
    let with = format!("ca = \"{ca}\", certificate = \"{certificate}\", key = \"{key}\"");
    let without = format!("ca = \"{ca}\"");
    // s_server has one client at a time.
    let routes = route_to("with", &server, &with) + &route_to("without", &server, &without);
    let good = Server::start(serve_well);
    let gateway = builder("epoll", &format!("{routes}{}", good.route("good", ""))).start().expect("it starts");
    let mut bystander = Bystander::new(&gateway);
    let answer = get(&gateway, "/with/");
    assert!(is_ok(&answer), "{}", String::from_utf8_lossy(&answer));
    assert!(String::from_utf8_lossy(&answer).contains("gateway.internal"), "the page shows the client's certificate");
    assert!(get(&gateway, "/without/").starts_with(b"HTTP/1.1 502 "));
    bystander.expect_service();
    bystander.leave();
    gateway.stop();
}

#[test]
fn a_server_that_proves_nothing_gets_no_request() {
    let (other, expired, own) = (pair("other.internal"), pair_until("localhost", 2001), pair("localhost"));
    let files = Files::new("bad");
    let ca = |name: &str, pair: &Pair| format!("ca = \"{}\"", files.file(name, &pair.certificate));
    let wrong_name = Program::nginx_tls("TLSv1.3", &other.certificate, &other.key);
    let too_old = Program::nginx_tls("TLSv1.3", &expired.certificate, &expired.key);
    let stranger = Program::nginx_tls("TLSv1.2", &own.certificate, &own.key);
    let plain = Program::nginx();
    let server = |port: u16| format!("localhost:{port}");
    let routes = [
        route_to("name", &server(wrong_name.address.port()), &ca("other.pem", &other)),
        route_to("old", &server(too_old.address.port()), &ca("expired.pem", &expired)),
        route_to("stranger", &server(stranger.address.port()), &ca("another.pem", &other)),
        route_to("plain", &server(plain.address.port()), &ca("own.pem", &own)),
    ];
    beside_a_bystander(&routes.concat(), |gateway| {
        for (name, count) in ["name", "old", "stranger", "plain"].into_iter().zip(1..) {
            let answer = get(gateway, &format!("/{name}/small.txt"));
            assert!(answer.starts_with(b"HTTP/1.1 502 "), "{name}: {}", String::from_utf8_lossy(&answer));
            assert_eq!(metric(gateway, "closed_total:upstream_refused"), count, "{name}");
        }
    });
}

#[test]
fn a_server_is_probed_over_tls() {
    let own = pair("localhost");
    let files = Files::new("probed");
    let ca = files.file("ca.pem", &own.certificate);
    let nginx = Program::nginx_tls("TLSv1.3", &own.certificate, &own.key);
    let health = "health = { path = \"/small.txt\", interval_s = 1, timeout_s = 1, fall = 1, status = \"200\" }\n";
    let server = format!("localhost:{}", nginx.address.port());
    let upstream = |name: &str, tls: &str| {
        format!("[[upstream]]\nname = \"{name}\"\nservers = \"{server}\"\ntls = {{ ca = \"{ca}\"{tls} }}\n{health}")
    };
    let routes = upstream("well", "") + &upstream("ill", ", name = \"other.internal\"");
    beside_a_bystander(&routes, |gateway| {
        let up = |name: &str| {
            let label = format!("upstream=\"{name}\"");
            let metrics = gateway.metrics();
            let mut lines = metrics.lines().filter(|line| line.starts_with("tidegate_upstream_up{"));
            lines.find(|line| line.contains(&label)).expect("a gauge").ends_with(" 1")
        };
        await_that("the one that proves another name is down", || !up("ill"));
        assert!(up("well"));
    });
}

/// A server's end of TLS with the certificate of [`OWN`].
fn session(socket: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let own = OWN.get_or_init(|| pair("localhost"));
        let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
        let builder = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
        Arc::new(builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a certificate"))
    });
    StreamOwned::new(ServerConnection::new(config.clone()).expect("a session"), socket)
}

/// Says what it hears, over a WebSocket.
fn echo(socket: TcpStream) {
    let Ok(mut room) = tungstenite::accept(session(socket)) else { return };
    while let Ok(message) = room.read() {
        if room.send(message).is_err() {
            return;
        }
    }
}

#[test]
fn a_websocket_passes_to_a_server_with_tls() {
    let own = OWN.get_or_init(|| pair("localhost"));
    let files = Files::new("websocket");
    let ca = files.file("ca.pem", &own.certificate);
    let to = format!("localhost:{}", Server::start(echo).address.port());
    beside_a_bystander(&route_to("tls", &to, &format!("ca = \"{ca}\"")), |gateway| {
        let mut room = websocket(gateway, "/tls/room");
        for text in ["one", "two", &"three".repeat(10_000)] {
            room.send(tungstenite::Message::text(text)).expect("it is open");
            assert_eq!(room.read().expect("it is open").into_text().expect("a text").as_str(), text);
        }
        room.close(None).expect("it is open");
        while room.read().is_ok() {}
    });
}

/// Ends the connection in the middle of an answer that only its end would end, without a word of TLS.
fn truncate(socket: TcpStream) {
    let mut stream = session(socket);
    let mut head = [0; 1024];
    if std::io::Read::read(&mut stream, &mut head).is_ok_and(|count| count > 0) {
        let is_honest = head.starts_with(b"GET /honest");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe first half");
        if is_honest {
            stream.conn.send_close_notify();
        }
        let _ = stream.flush();
    }
}

static OWN: OnceLock<Pair> = OnceLock::new();

#[test]
fn an_answer_that_is_cut_without_a_word_of_tls_is_not_taken_for_whole() {
    let own = OWN.get_or_init(|| pair("localhost"));
    let files = Files::new("cut");
    let ca = files.file("ca.pem", &own.certificate);
    let server = Server::start(truncate);
    let to = format!("localhost:{}", server.address.port());
    beside_a_bystander(&route_to("tls", &to, &format!("ca = \"{ca}\"")), |gateway| {
        let whole = get(gateway, "/tls/honest");
        let end = "\r\n0\r\n\r\n";
        assert!(whole.ends_with(end.as_bytes()), "{}", String::from_utf8_lossy(&whole));
        let cut = String::from_utf8(get(gateway, "/tls/cut")).expect("text");
        assert!(cut.contains("the first half") && !cut.ends_with(end), "{cut}");
    });
}
