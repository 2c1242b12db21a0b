//! A client that has shown a certificate in the handshake of TLS: the proof that it gives.

use crate::limits::TOKEN_SECONDS_MAX;
use crate::proto::tls::clients::ClientCertificate;
use crate::proto::token::Proof;
use crate::proto::user::User;

/// The part of an `[[auth]]` that takes certificates.
#[derive(Clone, Debug)]
pub struct CertificateAuth {
    /// The name that is the user.
    pub name: CertifiedName,
    /// The header field by which servers of routes are told the user.
    pub field: Option<Box<str>>,
}

/// A name in a certificate: one of subjectAltName (RFC 5280 section 4.2.1.6), or the common name of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertifiedName {
    Uri,
    Dns,
    Email,
    CommonName,
}

/// Why a certificate proves no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// The certificate lacks the name, or no user can have that.
    Nameless,
    /// The certificate has ended since the handshake.
    Over,
}

impl CertificateAuth {
    /// The handshake has verified the certificate, maybe long ago.
    pub(super) fn proof(&self, certificate: &ClientCertificate, unix_now: u64) -> Result<Proof, CertificateFault> {
        let name = match self.name {
            CertifiedName::Uri => &certificate.uri,
            CertifiedName::Dns => &certificate.dns,
            CertifiedName::Email => &certificate.email,
            CertifiedName::CommonName => &certificate.common_name,
        };
        let named = name.as_deref().and_then(|name| Some((name, User::new(name).ok()?)));
        let (name, user) = named.ok_or(CertificateFault::Nameless)?;
        if certificate.until_s <= unix_now {
            return Err(CertificateFault::Over);
        }
        let until_s = certificate.until_s.min(unix_now.saturating_add(TOKEN_SECONDS_MAX));
        let told = self.field.iter().map(|field| (field.clone(), name.into())).collect();
        Ok(Proof { told, ..Proof::of(user, until_s) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_proves_its_name_until_it_ends() {
        let certificate = |uri: Option<&str>| ClientCertificate {
            uri: uri.map(Box::from),
            dns: Some("pump.example".into()),
            email: Some("ann@shop.example".into()),
            common_name: Some("Ann Smith".into()),
            until_s: 100,
        };
        let auth = |name| CertificateAuth { name, field: Some("X-User".into()) };
        let proof = auth(CertifiedName::Uri).proof(&certificate(Some("spiffe://a/b.c")), 99).unwrap();
        assert_eq!((proof.user.token(), proof.until_s), ("spiffe://a/b%2Ec", 100));
        assert_eq!(proof.told, [("X-User".into(), "spiffe://a/b.c".into())]);
        let proof = auth(CertifiedName::Dns).proof(&certificate(None), 0).unwrap();
        assert_eq!(proof.user.token(), "pump%2Eexample");
        for (name, user) in [(CertifiedName::Email, "ann@shop.example"), (CertifiedName::CommonName, "Ann Smith")] {
            assert_eq!(auth(name).proof(&certificate(None), 0).unwrap().user.name(), user);
        }
        let refused = |uri, now| auth(CertifiedName::Uri).proof(&certificate(uri), now).unwrap_err();
        assert_eq!(refused(None, 0), CertificateFault::Nameless);
        assert_eq!(refused(Some(""), 0), CertificateFault::Nameless);
        assert_eq!(refused(Some("a"), 100), CertificateFault::Over);
    }
}
