//! A certificate that is signed by its own key.

/// For localhost: (certificate, key), both PEM.
pub fn self_signed() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}
