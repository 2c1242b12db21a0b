//! TLS of other families than those that `tls` and `records` bring: GnuTLS, Go's, Java's. Each checks the certificate, asks
//! over both versions, returns with a ticket, and updates its keys as often as it can.

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tidegate::gateway::Gateway;

use crate::records::await_line;
use crate::support::*;
use crate::tls::{Certificates, on_both_drivers_over_tls, secure};

const HOST: &str = "a.example";

/// A source beside this one.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/foreign").join(name)
}

/// Runs a client with the four words that each takes; it must succeed.
fn run(command: &mut Command, gateway: &Gateway, certificates: &Certificates, version: &str) -> Output {
    command.arg(secure(gateway).port().to_string()).arg(certificates.pem(HOST)).args([HOST, version]);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/install.sh first"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Handshakes finished, and those among them that a ticket made shorter.
fn handshakes(gateway: &Gateway) -> (u64, u64) {
    (metric(gateway, "tls_handshakes_total"), metric(gateway, "tls_resumed_total"))
}

/// Nothing ended because TLS was broken.
fn expect_peace(gateway: &Gateway) {
    let reasons = ["tls_protocol", "tls_forged", "tls_incompatible", "tls_alert", "tls_flood", "tls_truncated"];
    for reason in reasons {
        assert_eq!(metric(gateway, &format!("closed_total:{reason}")), 0, "{reason}");
    }
    expect_nobody(gateway);
}

#[test]
fn go_speaks_both_versions_and_resumes() {
    on_both_drivers_over_tls(&[HOST], "", |gateway, certificates| {
        for version in ["1.2", "1.3"] {
            let mut command = Command::new("go");
            command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go")).env("GO111MODULE", "off");
            let output = run(command.arg("run").arg(source("client.go")), gateway, certificates, version);
            let lines = format!("{version} full 404 404 404\n{version} resumed 404 404 404\n");
            assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
        }
        assert_eq!(handshakes(gateway), (4, 2));
        expect_peace(gateway);
    });
}

#[test]
fn java_speaks_both_versions_resumes_and_updates_its_keys_as_it_sends() {
    on_both_drivers_over_tls(&[HOST], "", |gateway, certificates| {
        for version in ["1.2", "1.3"] {
            let mut command = Command::new("java");
            let command = command.arg("-Djavax.net.debug=ssl:handshake").arg(source("Client.java"));
            let output = run(command, gateway, certificates, version);
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{version} 60\n{version} 60\n"));
            // More than a gateway takes without data between them; here data has paid for each.
            let updates = String::from_utf8_lossy(&output.stderr).matches("Produced KeyUpdate").count();
            assert!(version == "1.2" || updates > 2 * tidegate::limits::KEY_UPDATES_MAX, "{updates} KeyUpdates");
        }
        assert_eq!(handshakes(gateway), (4, 2));
        expect_peace(gateway);
    });
}

/// `gnutls-cli` against the gateway with one version of TLS.
fn gnutls(gateway: &Gateway, certificates: &Certificates, version: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).args(["gnutls-cli", "--inline-commands", "--sni-hostname", HOST]);
    command.args(["--verify-hostname", HOST, "--alpn", "http/1.1", "--port", &secure(gateway).port().to_string()]);
    command.arg("--x509cafile").arg(certificates.pem(HOST)).arg("--priority");
    command.arg(format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")).arg("127.0.0.1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn gnutls_speaks_both_versions_and_updates_its_keys() {
    on_both_drivers_over_tls(&[HOST], "", |gateway, certificates| {
        for version in ["1.2", "1.3"] {
            let mut child = gnutls(gateway, certificates, version).spawn().expect("timeout");
            let mut stdin = child.stdin.take().expect("piped");
            let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
            await_line(&mut stdout, "The certificate is trusted");
            // The first of these updates GnuTLS' key, the second asks for ours as well.
            for update in ["^rekey^\n", "^rekey1^\n", "^rekey1^\n", "^rekey^\n"] {
                stdin.write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                await_line(&mut stdout, "HTTP/1.1 404 ");
                if version == "1.3" {
                    stdin.write_all(update.as_bytes()).unwrap();
                    await_line(&mut stdout, "Rekey was completed");
                }
            }
            stdin.write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            await_line(&mut stdout, "Peer has closed the GnuTLS connection");
            drop(stdin);
            child.wait().expect("it ends by itself");
        }
        assert_eq!(handshakes(gateway), (2, 0));
        expect_peace(gateway);
    });
}

#[test]
fn gnutls_resumes_a_session_of_tls_1_2() {
    on_both_drivers_over_tls(&[HOST], "", |gateway, certificates| {
        let mut command = gnutls(gateway, certificates, "1.2");
        let output = command.arg("--resume").stdin(Stdio::null()).output().expect("timeout");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("This is a resumed session"), "{said}");
        assert_eq!(handshakes(gateway), (2, 1));
        expect_peace(gateway);
    });
}
