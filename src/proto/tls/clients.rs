//! Certificates of clients: which are trusted, and the names that they prove.
//!
//! ```text
//!  ca, crl --> ClientPolicy --> the handshake: a chain to `ca`, not revoked --> ClientCertificate: its names and its end
//! ```
//!
//! A listener that asks for them sends no session tickets: a resumed session shows no certificate again, and what a ticket
//! stands for could outlive the trust in it (CVE-2025-23419, CVE-2025-68121).

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::config::provider;
use super::names::OtherNames;

/// The policy of a listener for its clients' certificates.
#[derive(Debug)]
pub struct ClientPolicy {
    /// The authorities that have signed them.
    pub authorities: RootCertStore,
    /// Revoked certificates, by list. Empty: none is.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Whether a client without one is refused in the handshake.
    pub is_required: bool,
}

/// The names of a client whose certificate was verified. Each but the common name is the first of its kind (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub uri: Option<Box<str>>,
    pub dns: Option<Box<str>>,
    /// An e-mail address, its host in lower case.
    pub email: Option<Box<str>>,
    /// The subject's, if it has one and no other.
    pub common_name: Option<Box<str>>,
    /// Seconds of Unix time at which it ends.
    pub until_s: u64,
}

/// The lists of a PEM file. The error does not name the file: the caller knows it.
pub fn read_revocations(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Err("no readable list of revoked certificates in it (-----BEGIN X509 CRL-----)".to_owned()),
    }
}

impl ClientPolicy {
    /// Errors are one line for the operator.
    pub(super) fn verifier(self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(self.authorities), provider);
        let has_lists = !self.revoked.is_empty();
        let builder = builder.with_crls(self.revoked);
        // An authority without a list has revoked nothing that is known here; a list that has ended says nothing any more.
        let builder = if has_lists {
            builder.only_check_end_entity_revocation().allow_unknown_revocation_status().enforce_revocation_expiration()
        } else {
            builder
        };
        let builder = if self.is_required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| format!("certificates of clients cannot be verified: {error}"))
    }
}

impl ClientCertificate {
    /// `None`: it cannot be read, which the handshake has refused before.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let others = OtherNames::read(certificate);
        let email = others.email.and_then(|address| address.split_once('@'));
        Some(ClientCertificate {
            uri: parsed.valid_uri_names().next().map(Box::from),
            dns: parsed.valid_dns_names().next().map(|name| name.to_ascii_lowercase().into()),
            email: email.map(|(mailbox, host)| format!("{mailbox}@{}", host.to_ascii_lowercase()).into()),
            common_name: others.common_name.map(Box::from),
            until_s: end(&parsed),
        })
    }
}

/// The end of a certificate, as the library says it of one that has ended: the validity is checked before the issuer.
fn end(certificate: &webpki::EndEntityCert<'_>) -> u64 {
    /// Far beyond the last date that a certificate can have (9999-12-31).
    const AFTER_ALL: Duration = Duration::from_secs(1 << 40);
    let (time, usage) = (UnixTime::since_unix_epoch(AFTER_ALL), webpki::KeyUsage::client_auth());
    let algorithms = provider().signature_verification_algorithms.all;
    match certificate.verify_for_usage(algorithms, &[], &[], time, usage, None, None).err() {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after.as_secs(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_has_the_first_name_of_each_kind_and_an_end() {
        let mut params = CertificateParams::new(["Pump.example".to_owned(), "other.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "root");
        for uri in ["spiffe://shop.example/pump", "spiffe://shop.example/other"] {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        for email in ["Ann@Shop.example", "bob@shop.example"] {
            params.subject_alt_names.push(SanType::Rfc822Name(email.try_into().unwrap()));
        }
        params.not_after = date_time_ymd(2033, 5, 18);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = ClientCertificate::read(made.der()).unwrap();
        assert_eq!(read.uri.as_deref(), Some("spiffe://shop.example/pump"));
        assert_eq!(read.email.as_deref(), Some("Ann@shop.example"), "who can tell a mailbox from its capitals?");
        assert_eq!(read.common_name.as_deref(), Some("root"));
        assert_eq!((read.dns.as_deref(), read.until_s), (Some("pump.example"), 1_999_987_200));
        let bare = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = ClientCertificate::read(bare.der()).unwrap();
        assert_eq!((read.uri, read.dns, read.email), (None, None, None));
        assert!(ClientCertificate::read(&CertificateDer::from(vec![0])).is_none());
    }

    #[test]
    fn a_file_without_a_list_is_refused() {
        for bad in ["", "very secret", "-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n"] {
            assert!(read_revocations(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
