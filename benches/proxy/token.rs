//! A token of the clients: signed with a secret that the gateway knows.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const SECRET: &str = "a secret of the benchmark, and of nothing else";
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The tables of a configuration in which the route of requests asks for it.
pub const AUTH: &str = "[[auth]]\nname = \"bench\"\njwt = { hmac_secret = \"a secret of the benchmark, and of nothing else\" }\n[access]\nauth = \"bench\"\n";

/// The header field with it.
pub fn line() -> Result<String, String> {
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())? + LIFE;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(serde_json::json!({"alg": "HS256", "typ": "JWT"}));
    let claims =
        part(serde_json::json!({"sub": "ann", "exp": end.as_secs(), "scope": "read write", "rooms": ["a", "b"]}));
    let text = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
    Ok(format!("Authorization: Bearer {text}.{}\r\n", URL_SAFE_NO_PAD.encode(signature)))
}
