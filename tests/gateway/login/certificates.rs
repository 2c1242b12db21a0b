//! Clients with certificates, in the hands of openssl: whom the handshake lets in, and which user each is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tidegate::conn::Door;
use tidegate::gateway::Gateway;

use super::echo_server;
use crate::support::*;

/// A folder with an authority, its list of revoked certificates, and certificates that it has signed.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("authority-{name}"));
        fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.as_ref().pem()).unwrap();
        Authority { folder, issuer }
    }

    /// Writes a certificate with these names.
    fn issue(&self, name: &str, serial: u64, uris: &[&str], hosts: &[&str]) {
        self.issue_with(name, serial, uris, hosts, |_| {});
    }

    fn issue_with(
        &self,
        name: &str,
        serial: u64,
        uris: &[&str],
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.folder.join(format!("{name}.pem")), made.pem()).unwrap();
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn revoke(&self, serial: u64) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(self.folder.join("crl.pem"), list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// The words of `openssl s_client` about the connection, and the answer that it got, if any.
fn openssl(gateway: &Gateway, authority: &Authority, options: &[&str]) -> String {
    let address = gateway.address(Door::Front, true).expect("a TLS listener");
    let ca = authority.file("ca.pem");
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &address.to_string(), "-servername", "localhost", "-CAfile", &ca])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let request = "GET /api/a HTTP/1.1\r\nHost: localhost\r\nX-User: root\r\nConnection: close\r\n\r\n";
    // A refused client may be gone before it has read that.
    let _ = child.stdin.take().expect("piped").write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn configuration(authority: &Authority, is_required: bool) -> String {
    configuration_for("san_uri", authority, is_required)
}

fn configuration_for(name: &str, authority: &Authority, is_required: bool) -> String {
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let (ca, crl) = (authority.file("ca.pem"), authority.file("crl.pem"));
    format!(
        "[[auth]]\nname = \"devices\"\ncertificate = {{ user = {name:?}, header = \"X-User\" }}\n\
         [[route]]\npath = \"/api/*\"\nauth = \"devices\"\nproxy = \"http://{}\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {certificate:?}, key = {key:?} }}\n\
         clients = {{ ca = {ca:?}, crl = {crl:?}, required = {is_required} }}\n",
        echo_server()
    )
}

fn authority(name: &str) -> Authority {
    let authority = Authority::new(name);
    authority.issue("server", 1, &[], &["localhost"]);
    authority.issue("pump", 2, &["spiffe://shop.example/pump"], &["pump.example"]);
    authority.issue("lost", 3, &["spiffe://shop.example/lost"], &[]);
    authority.issue("nameless", 4, &[], &["nameless.example"]);
    authority.revoke(3);
    authority
}

/// Options with which openssl shows this certificate.
fn shows(authority: &Authority, name: &str) -> [String; 4] {
    let file = |end: &str| authority.file(&format!("{name}.{end}"));
    ["-cert".to_owned(), file("pem"), "-key".to_owned(), file("key")]
}

fn shown(gateway: &Gateway, server: &Authority, (authority, name): (&Authority, &str), version: &str) -> String {
    let own = shows(authority, name);
    let options: Vec<&str> = own.iter().map(String::as_str).chain([version]).collect();
    openssl(gateway, server, &options)
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

#[test]
fn a_certificate_names_the_user_and_others_are_refused_in_the_handshake() {
    let (own, stranger) = (authority("own"), authority("stranger"));
    on_both_drivers(&configuration(&own, true), |gateway| {
        for version in VERSIONS {
            let said = shown(gateway, &own, (&own, "pump"), version);
            assert!(
                said.contains("HTTP/1.1 200 ") && said.contains("X-User: spiffe://shop.example/pump\r\n"),
                "{said}"
            );
            assert!(!said.contains("root"), "{said}");
            let said = shown(gateway, &own, (&own, "nameless"), version);
            assert!(said.contains("HTTP/1.1 403 ") && said.contains("error=\"insufficient_scope\""), "{said}");
            for (authority, name) in [(&own, "lost"), (&stranger, "pump")] {
                let said = shown(gateway, &own, (authority, name), version);
                assert!(!said.contains("HTTP/1.1") && said.contains("alert"), "{name}: {said}");
            }
            let said = openssl(gateway, &own, &[version]);
            assert!(!said.contains("HTTP/1.1") && said.contains("alert"), "{said}");
        }
        expect_nobody(gateway);
    });
}

#[test]
fn a_client_without_a_certificate_is_a_matter_of_the_route_where_none_is_required() {
    let own = authority("optional");
    on_both_drivers(&configuration(&own, false), |gateway| {
        for version in VERSIONS {
            let said = openssl(gateway, &own, &[version]);
            assert!(said.contains("HTTP/1.1 401 "), "{said}");
            let said = shown(gateway, &own, (&own, "pump"), version);
            assert!(said.contains("X-User: spiffe://shop.example/pump\r\n"), "{said}");
            assert!(!shown(gateway, &own, (&own, "lost"), version).contains("HTTP/1.1"), "it is shown, and revoked");
        }
    });
}

#[test]
fn a_session_cannot_be_resumed_where_certificates_are_shown() {
    let own = authority("resumed");
    on_both_drivers(&configuration(&own, true), |gateway| {
        for version in VERSIONS {
            let session = own.file(&format!("session{}{version}", gateway.driver()));
            let certificate = shows(&own, "pump");
            let with = |option: &str| {
                let options = certificate.iter().map(String::as_str).chain([version, option, &session]);
                openssl(gateway, &own, &options.collect::<Vec<_>>())
            };
            let first = with("-sess_out");
            assert!(first.contains("New, ") && !first.contains("session ticket:"), "{first}");
            if Path::new(&session).exists() {
                let again = with("-sess_in");
                assert!(again.contains("New, ") && !again.contains("Reused, "), "{again}");
            }
        }
        assert_eq!(metric(gateway, "tls_resumed_total"), 0);
    });
}

/// A request and a certificate of openssl itself, which the authority signs: its subject and its subjectAltName.
fn issue_by_openssl(authority: &Authority, name: &str, subject: &str, alt_name: &str) {
    let file = |end: &str| authority.file(&format!("{name}.{end}"));
    fs::write(authority.folder.join("ca.key"), authority.issuer.key().serialize_pem()).unwrap();
    let extensions = authority.folder.join(format!("{name}.ext"));
    fs::write(&extensions, alt_name).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().expect("openssl");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let (key, request) = (file("key"), file("csr"));
    run(&[
        "req", "-new", "-utf8", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-subj", subject, "-out", &request,
    ]);
    let (ca, ca_key) = (authority.file("ca.pem"), authority.file("ca.key"));
    let extensions = extensions.display().to_string();
    run(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-set_serial",
        "77",
        "-days",
        "30",
        "-extfile",
        &extensions,
        "-out",
        &file("pem"),
    ]);
}

#[test]
fn the_common_name_and_the_address_of_certificates_by_openssl_name_users() {
    let own = authority("subjects");
    issue_by_openssl(
        &own,
        "both",
        "/O=Shop/CN=Ann Müller",
        "subjectAltName=email:Ann@Shop.example,email:other@shop.example\n",
    );
    issue_by_openssl(&own, "two", "/CN=ann/CN=root", "subjectAltName=DNS:pump.example\n");
    for (key, user) in [("subject_cn", "Ann Müller"), ("san_email", "Ann@shop.example")] {
        on_both_drivers(&configuration_for(key, &own, true), |gateway| {
            for version in VERSIONS {
                let said = shown(gateway, &own, (&own, "both"), version);
                assert!(said.contains("HTTP/1.1 200 ") && said.contains(&format!("X-User: {user}\r\n")), "{said}");
                let said = shown(gateway, &own, (&own, "lost"), version);
                assert!(!said.contains("HTTP/1.1"), "{said}");
                let said = shown(gateway, &own, (&own, "two"), version);
                assert!(said.contains("HTTP/1.1 403 "), "{said}");
            }
        });
    }
}
