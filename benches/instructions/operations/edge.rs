//! Requests that are passed on to a server, and the proofs of those who send them.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tidegate::base::counters::Counter;
use tidegate::conn::Door;
use tidegate::conn::access::lines::AccessRule;
use tidegate::conn::auth::{Auth, AuthBy, AuthKeys, Auths, TokenAuth};
use tidegate::conn::route::{ANY_METHOD, AuthId, ProxyRoute, Route, RouteTarget};
use tidegate::conn::routes::Routes;
use tidegate::conn::settings::{Generation, Settings};
use tidegate::proto::access::LineFormat;
use tidegate::proto::token::{Algorithm, KeySet, TokenPolicy};
use tidegate::proto::upstream::{UpstreamId, UpstreamRule};
use tidegate::shard::Entrance;

use crate::script::Gate;

const SECRET: &[u8] = b"a secret of the benchmark, and of nothing else";
const CLAIMS: &str = r#"{"sub":"ann","exp":4000000000,"scope":"read write","rooms":["a","b"]}"#;

/// A request for a server, as pages send it, and the head of its answer, as nginx sends it.
const REQUEST: &str = "GET /api/orders/17?expand=lines HTTP/1.1\r\nHost: shop.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: application/json\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://shop.example/orders\r\n\
    Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n";
const ANSWER_HEAD: &str = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\n";

fn gate(has_auth: bool, access: Option<AccessRule>) -> Gate {
    let proxy = RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))));
    let route = Route::new("/api/*", proxy).expect("it is a template");
    let auth = if has_auth { [AuthId(0)].into() } else { Box::default() };
    let routes = Routes::new(vec![Route { methods: vec![ANY_METHOD.into()], auth, ..route }]).expect("there are few");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let upstreams = [UpstreamRule::new("app").with("127.0.0.1:80", server)].into();
    let keys = KeySet::secret(SECRET, [Algorithm::Hs256].into_iter().collect()).expect("a secret");
    let carriers = vec!["header".parse().expect("it is a carrier")];
    let token = TokenAuth { policy: TokenPolicy::default(), keys: AuthKeys::Own(keys), carriers };
    let auths = Auth { name: "app".into(), by: AuthBy::Token(Box::new(token)) };
    let auths = if has_auth { Auths::new(vec![auths]) } else { Auths::default() };
    let access = access.map(Arc::new);
    let generation = Generation { routes, upstreams, auths, access, ..Generation::default() }.into();
    let entrance = Entrance { door: Door::Front, tls: None, introduced_by: Default::default() };
    Gate::new(Settings { generation, ..Settings::default() }, vec![entrance])
}

fn requests(mut gate: Gate, lines: &str) -> Box<dyn FnMut()> {
    let request = format!("{REQUEST}{lines}\r\n");
    let body = "x".repeat(1024);
    gate.serve(format!("{ANSWER_HEAD}\r\n{body}").as_bytes());
    let client = gate.connect(0);
    let answer = gate.ask(client, request.as_bytes());
    let is_passed_on = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(body.as_bytes());
    assert!(is_passed_on, "{}", String::from_utf8_lossy(&answer));
    let request: Rc<[u8]> = request.into_bytes().into();
    gate.stop_listening();
    Box::new(move || {
        gate.say(client, &request);
        assert_eq!(gate.settle(), 2, "the server is asked, and the client answered");
    })
}

/// A GET as a browser's page makes it, and 1 KiB as an answer.
pub fn proxied() -> Box<dyn FnMut()> {
    requests(gate(false, None), "")
}

/// The same with a line in the access log, which no thread writes.
pub fn proxied_logged() -> Box<dyn FnMut()> {
    let rule = AccessRule {
        format: LineFormat::Json,
        tells_opens: false,
        tells_tcp: false,
        listeners: vec!["127.0.0.1:80".into()],
        secrets: Vec::new(),
        unix_ms: || 784_111_777_123,
        unwritten: Counter::default(),
    };
    requests(gate(false, Some(rule)), "")
}

/// The same with a token that no route asks for.
pub fn proxied_unread() -> Box<dyn FnMut()> {
    requests(gate(false, None), &bearer())
}

/// The same with a token that was verified before.
pub fn proxied_token() -> Box<dyn FnMut()> {
    requests(gate(true, None), &bearer())
}

fn bearer() -> String {
    let text = unsigned("HS256");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text.as_bytes());
    format!("Authorization: Bearer {text}.{}\r\n", part(signature))
}

fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unsigned(algorithm: &str) -> String {
    format!("{}.{}", part(json!({"alg": algorithm, "typ": "JWT", "kid": "1"}).to_string()), part(CLAIMS))
}

/// A key, a text and its signature.
fn es256() -> (Vec<u8>, String, Vec<u8>) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let text = unsigned("ES256");
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
    (key.public_key().as_ref().to_vec(), text, signature.as_ref().to_vec())
}

/// The signature alone.
pub fn signature() -> Box<dyn FnMut()> {
    let (key, text, signature) = es256();
    Box::new(move || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key);
        key.verify(text.as_bytes(), &signature).expect("it is the key's");
    })
}

/// A token that was not seen before.
pub fn token() -> Box<dyn FnMut()> {
    let (key, text, signature) = es256();
    // An uncompressed point: a byte, and its two halves.
    let (x, y) = key[1..].split_at(32);
    let key: Value = json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": part(x), "y": part(y)});
    let set = json!({"keys": [key]}).to_string();
    let keys = KeySet::read(set.as_bytes(), [Algorithm::Es256].into_iter().collect()).expect("a set");
    let (policy, token) = (TokenPolicy::default(), format!("{text}.{}", part(signature)));
    Box::new(move || {
        policy.verify(&keys, &token, 0).expect("it is valid");
    })
}
