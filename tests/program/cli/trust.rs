//! Which servers `sub` trusts.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use tidegate::proto::tls::Certificate;
use tidegate::proto::tls::certificates::{read_chain, read_key};

use crate::certificate::self_signed;
use crate::cli::folder::Folder;
use crate::cli::program::{code, err, out, run};
use crate::cli::server::{EVENTS, read_request, serve_once};

fn serve_tls_once(certificate: &str, key: &str) -> (u16, JoinHandle<()>) {
    let (chain, key) = (read_chain(certificate.as_bytes()).unwrap(), read_key(key.as_bytes()).unwrap());
    let config: Arc<rustls::ServerConfig> =
        tidegate::proto::tls::server_config(vec![Certificate::new(chain, key).unwrap()]).unwrap();
    serve_once(move |stream| {
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
        // A client that does not trust us leaves during the handshake.
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: secret\n\n").unwrap();
        _ = stream.read(&mut [0]);
    })
}

#[test]
fn sub_trusts_a_certificate_only_when_told_to() {
    let folder = Folder::new("tls");
    let (certificate, key) = self_signed();
    let file = folder.file("cert.pem", &certificate);
    let sub = |more: &[&str]| {
        let (port, server) = serve_tls_once(&certificate, &key);
        let url = format!("https://localhost:{port}/");
        let output = run(&[&["sub", &url, "--count", "1"], more].concat());
        server.join().unwrap();
        (code(&output), out(&output), err(&output))
    };
    for trust in [&["--insecure"][..], &["--ca", &file]] {
        let (code, out, err) = sub(trust);
        assert_eq!((code, out.as_str()), (0, "secret\n"), "{err}");
    }
    let (other, _) = self_signed();
    let (code, _, err) = sub(&["--ca", &folder.file("other.pem", &other)]);
    assert!(code == 1 && err.contains("certificate") && err.lines().count() == 1, "{err}");
}
