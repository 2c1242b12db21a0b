//! Certificates and their keys: read from PEM, matched with each other, chosen by the name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::config::provider;

/// A certificate with its chain, its key and the host names that it is for.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// In lower case; a wildcard keeps its `*.`.
    names: Vec<String>,
}

/// The certificates of a PEM file, the server's own first. The error does not name the file: the caller knows it.
pub fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| in_words(&error, "certificate"))?;
    if chain.is_empty() { Err(in_words(&pem::Error::NoItemsFound, "certificate")) } else { Ok(chain) }
}

/// The first private key of a PEM file (PKCS #8, PKCS #1 or SEC 1). The error does not name the file.
pub fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let is_encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|marker| memmem::find(pem, marker).is_some());
    if is_encrypted {
        return Err("its private key is encrypted; decrypt it with `openssl pkey`".into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| in_words(&error, "private key"))
}

fn in_words(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("no {what} in it"),
        pem::Error::MissingSectionEnd { .. } => "a PEM section without its END line".into(),
        pem::Error::IllegalSectionStart { .. } => "a PEM section with a malformed BEGIN line".into(),
        pem::Error::Base64Decode(_) => "a PEM section that is not base64".into(),
        _ => format!("no readable {what} in it"),
    }
}

/// A certificate for `names` (host names and IP addresses) signed by its own key: (certificate, key), both PEM.
#[cfg(test)]
pub(crate) fn self_signed(names: &[String]) -> Result<(String, String), String> {
    let pair = rcgen::generate_simple_self_signed(names)
        .map_err(|error| format!("no certificate for {}: {error}", names.join(", ")))?;
    Ok((pair.cert.pem(), pair.signing_key.serialize_pem()))
}

impl Certificate {
    /// A chain, the server's certificate first, and the key that fits it.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Certificate, String> {
        let own = chain.first().ok_or("no certificate in it")?;
        let names = dns_names(own)?;
        let key = provider().key_provider.load_private_key(key).map_err(
            |_| "the private key is of an unknown kind; RSA, ECDSA (P-256, P-384, P-521) and Ed25519 are known",
        )?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err("the key does not fit the certificate".into()),
        }
        Ok(Certificate { key: Arc::new(key), names })
    }

    /// The reason why every client would refuse the certificate at the time `now` (seconds since 1970), if there is
    /// one.
    pub fn doubt(&self, now: u64) -> Option<String> {
        /// The object identifier of the extension subjectAltName (RFC 5280 section 4.2.1.6), in DER.
        const ALTERNATIVE_NAMES: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
        let own = self.key.cert.first()?;
        let parsed = webpki::EndEntityCert::try_from(own).ok()?;
        let usage = webpki::KeyUsage::server_auth();
        let algorithms = provider().signature_verification_algorithms.all;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        // The validity is checked before the issuer, and no issuer is trusted here.
        let days = |seconds: u64| seconds / 86_400;
        match parsed.verify_for_usage(algorithms, &[], &[], time, usage, None, None).err() {
            Some(webpki::Error::CertExpired { not_after, .. }) => {
                Some(format!("the certificate has expired, {} days ago", days(now.saturating_sub(not_after.as_secs()))))
            }
            Some(webpki::Error::CertNotValidYet { not_before, .. }) => Some(format!(
                "the certificate is not valid yet, but in {} days",
                days(not_before.as_secs().saturating_sub(now))
            )),
            _ if memmem::find(own, ALTERNATIVE_NAMES).is_none() => {
                Some("the certificate names no host (subjectAltName), and clients look at nothing else".to_owned())
            }
            _ => None,
        }
    }

    /// The host names that the certificate is for, with wildcards.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

fn dns_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| format!("the certificate cannot be used by a server: {error}"))?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// The certificates of a listener. Names are found by look-up, never compared one by one: the client chooses the name.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Host name -> its certificates; there are several if their kinds of keys differ.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// The same for `*.parent`, by the parent.
    by_parent: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// No certificate, rather than the first one, for other names.
    refuses_unknown: bool,
}

impl Certificates {
    pub(super) fn new(certificates: Vec<Certificate>, refuses_unknown: bool) -> Result<Certificates, String> {
        if certificates.is_empty() {
            return Err("TLS needs a certificate".into());
        }
        let mut this =
            Certificates { all: Vec::new(), by_name: HashMap::new(), by_parent: HashMap::new(), refuses_unknown };
        for Certificate { key, names } in certificates {
            for name in names {
                let keys = match name.strip_prefix("*.") {
                    Some(parent) => this.by_parent.entry(parent.to_owned()),
                    None => this.by_name.entry(name),
                };
                keys.or_default().push(key.clone());
            }
            this.all.push(key);
        }
        Ok(this)
    }

    /// The certificates for a host. A wildcard stands for exactly one label (RFC 9525 section 6.3).
    fn for_host(&self, host: &str) -> Option<&[Arc<CertifiedKey>]> {
        let host = host.to_ascii_lowercase();
        let exact = self.by_name.get(&host);
        let keys = exact.or_else(|| host.split_once('.').and_then(|(_, parent)| self.by_parent.get(parent)))?;
        Some(keys)
    }

    fn choose(&self, host: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let keys = match host.and_then(|host| self.for_host(host)) {
            Some(keys) => keys,
            None if host.is_some() && self.refuses_unknown => return None,
            None => &self.all,
        };
        // Of an RSA and an ECDSA certificate, the first that this client can verify. If there is none, rustls tells the
        // client.
        let usable = keys.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        usable.or(keys.first()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        self_signed(&names).unwrap()
    }

    fn certificate(names: &[&str]) -> Certificate {
        let (chain, key) = pem(names);
        Certificate::new(read_chain(chain.as_bytes()).unwrap(), read_key(key.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn reads_names_and_wildcards_and_leaves_addresses_out() {
        let certificate = certificate(&["Example.org", "*.example.org", "127.0.0.1"]);
        assert_eq!(certificate.names(), ["example.org", "*.example.org"]);
    }

    #[test]
    fn says_in_one_line_what_a_file_lacks() {
        let (chain, key) = pem(&["localhost"]);
        assert_eq!(read_chain(key.as_bytes()).unwrap_err(), "no certificate in it");
        assert_eq!(read_chain(b"").unwrap_err(), "no certificate in it");
        assert_eq!(read_key(chain.as_bytes()).unwrap_err(), "no private key in it");
        let cut = &chain.as_bytes()[..chain.len() / 2];
        assert_eq!(read_chain(cut).unwrap_err(), "a PEM section without its END line");
        let spoiled = chain.replace("MII", "M!I");
        assert_eq!(read_chain(spoiled.as_bytes()).unwrap_err(), "a PEM section that is not base64");
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert!(read_key(encrypted.as_bytes()).unwrap_err().contains("encrypted"));
    }

    #[test]
    fn refuses_what_does_not_belong_together() {
        let (chain, key) = pem(&["localhost"]);
        let (_, other_key) = pem(&["localhost"]);
        let chain = read_chain(chain.as_bytes()).unwrap();
        let error = Certificate::new(chain.clone(), read_key(other_key.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error, "the key does not fit the certificate");
        let key = read_key(key.as_bytes()).unwrap();
        let error = Certificate::new(vec![CertificateDer::from(b"not DER".to_vec())], key).unwrap_err();
        assert!(error.starts_with("the certificate cannot be used by a server"), "{error}");
        let nonsense = PrivateKeyDer::Pkcs8(b"not DER".to_vec().into());
        assert!(Certificate::new(chain, nonsense).unwrap_err().contains("unknown kind"));
        assert_eq!(Certificates::new(Vec::new(), false).unwrap_err(), "TLS needs a certificate");
    }

    #[test]
    fn chooses_the_exact_name_then_the_wildcard_then_the_first() {
        let all = vec![
            certificate(&["first.test"]),
            certificate(&["*.example.org"]),
            certificate(&["www.example.org", "example.org"]),
        ];
        let certificates = Certificates::new(all, false).unwrap();
        let index = |host: Option<&str>| {
            let chosen = certificates.choose(host, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
            certificates.all.iter().position(|key| Arc::ptr_eq(key, &chosen)).unwrap()
        };
        assert_eq!(index(Some("www.example.org")), 2);
        assert_eq!(index(Some("EXAMPLE.org")), 2);
        assert_eq!(index(Some("api.example.org")), 1);
        assert_eq!(index(Some("a.b.example.org")), 0);
        assert_eq!(index(Some("elsewhere.test")), 0);
        assert_eq!(index(None), 0);
    }
}
