//! Subscriptions with tokens whose signature has to be verified to see that it is wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use tidegate_bench::certificate::Certificate;

use super::keep_at_it;
use super::protocol::Client;

/// As many as fit in a frame.
const TOKENS_PER_FRAME: usize = 240;
const HEADER: &str = r#"{"alg":"ES256"}"#;

/// The key of the certificate signs the tokens of users too.
pub fn rules(certificate: &Certificate) -> String {
    let key = toml_edit::Value::from(certificate.folder().join("cert.pem").to_string_lossy().into_owned());
    format!(
        "[[route]]\npath = \"/tokens\"\n\
         websocket = {{ protocol = \"centrifuge-json\", token = {{ ecdsa_public_key = {key} }} }}\n"
    )
}

/// Users with a valid token, whose tokens for channels are bad.
pub fn tokens(
    address: SocketAddr,
    certificate: &Certificate,
    connections: usize,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let key = PrivatePkcs8KeyDer::from_pem_file(certificate.folder().join("key.pem"))
        .map_err(|error| format!("the key of tokens: {error}"))?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der())
        .map_err(|error| format!("the key of tokens: {error}"))?;
    let user = signed(&key, r#"{"sub":"ann"}"#)?;
    let (_, signature) = user.rsplit_once('.').ok_or("a token without a signature")?;
    let bad: Vec<String> = (0..TOKENS_PER_FRAME)
        .map(|number| {
            let claims = format!(r#"{{"sub":"ann","channel":"own.{number}"}}"#);
            format!("\"subscribe\":{{\"channel\":\"own.{number}\",\"token\":\"{}.{signature}\"}}", message(&claims))
        })
        .collect();
    let begin = |_| Client::connect(address, "/tokens", Some(&user));
    keep_at_it(connections, is_over, begin, |client, is_over| {
        while !is_over.load(Ordering::Relaxed) {
            client.ask(&bad)?;
        }
        Ok(())
    })
}

/// RFC 7515 section 5.1.
fn signed(key: &EcdsaKeyPair, claims: &str) -> Result<String, String> {
    let message = message(claims);
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| "a token cannot be signed")?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn message(claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims))
}
