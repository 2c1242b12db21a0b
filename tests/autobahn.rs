//! Autobahn's cases of groups 1 to 10, all 301, run by kosoku (PyPI) against echo servers.

#[path = "autobahn/session_echo.rs"]
mod session_echo;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tidegate::proto::ws::SessionLimits;

const CASES: usize = 301;

/// Group 9 sends messages of 16 MiB, and others in 65,536 fragments.
const LIMITS: SessionLimits = SessionLimits { message_bytes_max: 16 << 20, fragments_max: 1 << 16 };

/// Where an echo server listens; with a certificate it expects TLS, under the name `localhost`.
struct Target {
    address: SocketAddr,
    path: &'static str,
    certificate: Option<PathBuf>,
}

/// Runs every case, prints the counts, and fails with the words of each case that failed.
fn assert_all_cases_pass(name: &str, target: &Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install.sh first", python.display());
    let start = Instant::now();
    let output = Command::new(python)
        .arg(folder.join("autobahn/run_cases.py"))
        .arg(format!("{}{}", target.address, target.path))
        .args(&target.certificate)
        .output()
        .expect("python starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: run_cases.py failed:\n{words}");
    let cases: serde_json::Value = serde_json::from_slice(&output.stdout).expect("run_cases.py prints JSON");
    let cases = cases.as_array().expect("a list of cases");

    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    for case in cases {
        *counts.entry(case["behavior"].as_str().expect("a word")).or_insert(0) += 1;
        if case["passed"] != true {
            failures.push(format!("{} {}", case["id"], case["words"]));
        }
    }
    println!("{name}: {} cases, {} failed, {counts:?}, {:.1?}", cases.len(), failures.len(), start.elapsed());
    assert!(failures.is_empty(), "{name}: {} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cases.len(), CASES, "{name}");
}

/// A certificate for `localhost`, in a file for the client and in a configuration for the server.
fn certificate(name: &str) -> (PathBuf, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate can be made");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("autobahn-{name}.pem"));
    std::fs::write(&path, made.cert.pem()).expect("the target folder is writable");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    (path, Arc::new(config.expect("the key belongs to the certificate")))
}

#[test]
fn sessions_pass_every_case() {
    let address = session_echo::spawn(LIMITS, None);
    assert_all_cases_pass("session, plain", &Target { address, path: "/", certificate: None });
}

#[test]
fn sessions_pass_every_case_through_tls() {
    let (certificate, config) = certificate("session");
    let address = session_echo::spawn(LIMITS, Some(config));
    assert_all_cases_pass("session, TLS", &Target { address, path: "/", certificate: Some(certificate) });
}
