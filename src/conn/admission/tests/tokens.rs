//! Routes with an auth: what each kind of token leads to, on each kind of route.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::conn::auth::{Auth, AuthBy, AuthKeys, AuthOutcome, TokenAuth};
use crate::conn::route::AuthId;
use crate::proto::token::{Algorithm, KeySet, TokenPolicy};

pub(super) const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";

fn auth(name: &str, secret: &[u8], carriers: &[&str]) -> Auth {
    let token = TokenAuth {
        policy: TokenPolicy {
            channels: Some("channels".into()),
            required: vec![("scope".into(), "push".into())],
            told: vec![("X-User".into(), "sub".into())],
            ..TokenPolicy::default()
        },
        keys: AuthKeys::Own(KeySet::secret(secret, [Algorithm::Hs256].into_iter().collect()).unwrap()),
        carriers: carriers.iter().map(|text| text.parse().unwrap()).collect(),
    };
    Auth { name: name.into(), by: AuthBy::Token(Box::new(token)) }
}

pub(super) fn auths() -> Auths {
    let carriers = ["header", "cookie:session", "subprotocol", "query:token"];
    Auths::new(vec![auth("app", SECRET, &carriers), auth("other", OTHER, &["cookie:other"])])
}

/// One route of each kind.
pub(super) fn routes() -> Vec<Route> {
    let websocket = WebSocketRoute { channel: Some(channel("a.{a}")), publish: true, ..WebSocketRoute::default() };
    let centrifuge = CentrifugeRoute { server_side: vec![channel("c.{c}")], ..CentrifugeRoute::default() };
    let channels = vec![channel("e.{e}"), channel("all")];
    let stream = RouteTarget::Sse { channels, retry: Duration::from_secs(3) };
    let proxy = RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))));
    let app = ["https://app.example"];
    let routes = [
        route(&["GET"], "/in/page", &app, RouteTarget::page("text/plain", b"page")),
        route(&["GET"], "/in/events/{e}", &app, stream),
        route(&["GET"], "/in/ws/{a}", &app, RouteTarget::WebSocket(websocket)),
        route(&["GET"], "/in/cf/{c}", &app, RouteTarget::Centrifuge(Box::new(centrifuge))),
        route(&["POST"], "/in/jobs/{kind}", &app, accept_target("done", None)),
        route(&["*"], "/in/svc/*", &[], proxy),
    ];
    let both: Box<[AuthId]> = [AuthId(0), AuthId(1)].into();
    routes.into_iter().map(|route| Route { auth: both.clone(), ..route }).collect()
}

/// A token of ann with this claim set to another value; `null` takes it out.
fn token_of(secret: &[u8], name: &str, value: Value) -> String {
    let mut claims = json!({"sub": "ann", "exp": NOW + 60, "scope": "read push", "channels": ["e.1", "a.1", "c.1"]});
    claims[name] = value;
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn token(name: &str, value: Value) -> String {
    token_of(SECRET, name, value)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

const KINDS: [(&str, &str, &str); 6] = [
    ("GET /in/page", "", "200"),
    ("GET /in/events/1", "", "200"),
    ("GET /in/ws/1", WEBSOCKET, "101"),
    ("GET /in/cf/1", WEBSOCKET, "101"),
    ("POST /in/jobs/1", "", "accept"),
    ("GET /in/svc/1", "", "proxy"),
];

/// The answer: its stage, and its status or the outcome.
fn ends_on(gate: &Gate, target: &str, lines: &[&str]) -> (&'static str, Seen) {
    let lines = format!("Host: gate.example\r\n{}", lines.concat());
    let case = Case { target, version: "1.1", lines: &lines, is_tls: false, has_hosts: true, away: None };
    let (seen, stage) = case.same_however_parsed(gate);
    (stage, seen)
}

#[test]
fn a_token_lets_a_client_in_on_every_kind_of_route() {
    let token = token("jti", json!("1"));
    for (target, lines, expected) in KINDS {
        assert_eq!(ends(target, &[lines, &bearer(&token)], |_| {}), ("Target", expected.to_owned()), "{target}");
        assert_eq!(ends(target, &[lines], |_| {}), ("Identity", "401".to_owned()), "{target}");
    }
}

#[test]
fn a_page_of_another_site_opens_no_stream_with_the_cookies_of_its_user() {
    let cookie = format!("Cookie: session={}\r\n", token("jti", json!("1")));
    let site = |site: &str| format!("Sec-Fetch-Site: {site}\r\n{cookie}");
    for (target, of_kind, expected) in KINDS {
        let is_stream = ["events", "ws", "cf"].iter().any(|kind| target.contains(kind));
        let refused = if is_stream { ("Origin", "403".to_owned()) } else { ("Target", expected.to_owned()) };
        assert_eq!(ends(target, &[of_kind, &site("cross-site")], |_| {}), refused, "{target}");
        let origin = "Origin: https://app.example\r\n";
        for lines in [site("same-origin"), site("same-site"), site("cross-site") + origin] {
            assert_eq!(ends(target, &[of_kind, &lines], |_| {}), ("Target", expected.to_owned()), "{target} {lines}");
        }
    }
}

#[test]
fn each_refusal_says_how_its_client_would_be_let_in() {
    let gate = Gate::new();
    let forged = token_of(OTHER, "jti", json!(1));
    let own = token("jti", json!(1));
    for (lines, status, challenge) in [
        (String::new(), 401, "Bearer"),
        ("Authorization: Basic YTpi\r\n".to_owned(), 401, "Bearer"),
        (bearer("x"), 401, "Bearer error=\"invalid_token\", error_description=\"it is no JWT: expected three parts"),
        (bearer(&forged), 401, "Bearer error=\"invalid_token\", error_description=\"its signature (HS256)"),
        (
            bearer(&token("exp", json!(NOW - 31))),
            401,
            "Bearer error=\"invalid_token\", error_description=\"its claim 'exp' is",
        ),
        (
            bearer(&token("nbf", json!(NOW + 60))),
            401,
            "Bearer error=\"invalid_token\", error_description=\"its claim 'nbf' is",
        ),
        (bearer(&token("sub", Value::Null)), 401, "Bearer error=\"invalid_token\", error_description=\"its claim for"),
        (
            bearer(&token("scope", json!("read"))),
            403,
            "Bearer error=\"insufficient_scope\", error_description=\"a claim",
        ),
        (bearer(&own) + "Cookie: session=x\r\n", 400, "Bearer error=\"invalid_request\""),
        (bearer(&own) + &bearer(&own), 400, "Bearer error=\"invalid_request\""),
    ] {
        for (target, of_kind, _) in KINDS {
            let (stage, seen) = ends_on(&gate, target, &[of_kind, &lines]);
            assert_eq!(stage, "Identity", "{target} {lines}");
            assert!(seen.bytes.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {lines} {}", seen.bytes);
            let line = format!("\r\nWWW-Authenticate: {challenge}");
            assert!(seen.bytes.contains(&line), "{target} {lines} {}", seen.bytes);
            assert!(!seen.outcome.contains(&own) && !seen.outcome.contains(&forged), "no token reaches the log");
        }
    }
}

#[test]
fn a_channel_that_the_client_chooses_has_to_be_among_those_of_its_token() {
    for (target, lines, expected) in KINDS {
        let has_channel = ["events", "ws", "cf"].iter().any(|kind| target.contains(kind));
        let elsewhere = target.replace("/1", "/2");
        let outcome = if has_channel { ("Permission", "403") } else { ("Target", expected) };
        for token in
            [token("jti", json!("1")), token("channels", Value::Null), token("channels", json!(["a", "e.*.b"]))]
        {
            let found = ends(&elsewhere, &[lines, &bearer(&token)], |_| {});
            assert_eq!(found, (outcome.0, outcome.1.to_owned()), "{elsewhere}");
        }
        let all = token("channels", json!([">"]));
        assert_eq!(ends(&elsewhere, &[lines, &bearer(&all)], |_| {}), ("Target", expected.to_owned()), "{elsewhere}");
    }
}

#[test]
fn a_token_is_taken_from_each_of_its_places_and_the_first_auth_that_has_one_decides() {
    let (own, other) = (token("jti", json!(1)), token_of(OTHER, "jti", json!(1)));
    let is = |target: &str, lines: &[&str]| ends(target, lines, |_| {}).1;
    assert_eq!(is(&format!("GET /in/events/1?token={own}"), &[]), "200");
    assert_eq!(is("GET /in/events/1", &[&format!("Cookie: a=b; session={own}\r\n")]), "200");
    assert_eq!(is("GET /in/events/1", &[&format!("Cookie: other={other}\r\n")]), "200");
    assert_eq!(is("GET /in/events/1", &[&format!("Cookie: other={own}\r\n")]), "401", "of another issuer");
    assert_eq!(is("GET /in/events/1", &[&format!("Cookie: other={other}; session=x\r\n")]), "401", "the first decides");
    let all = "Authorization: Bearer ";
    assert_eq!(
        is("GET /in/events/1", &[&format!("{all}{own}\r\nCookie: session={own}\r\n")]),
        "200",
        "it is one token"
    );
}

#[test]
fn a_token_among_the_subprotocols_is_never_the_one_that_is_answered() {
    let gate = Gate::new();
    let token = token("jti", json!(1));
    for (target, offers, answered) in [
        ("GET /in/ws/1", format!("bearer.{token}, tidegate"), Some("tidegate")),
        ("GET /in/ws/1", format!("chat, bearer.{token}, tidegate"), Some("tidegate")),
        ("GET /in/ws/1", format!("chat, bearer.{token}, news"), Some("chat")),
        ("GET /in/ws/1", format!("bearer.{token}"), None),
        ("GET /in/cf/1", format!("bearer.{token}, centrifuge-json"), Some("centrifuge-json")),
        ("GET /in/cf/1", format!("bearer.{token}"), None),
    ] {
        let (_, seen) = ends_on(&gate, target, &[WEBSOCKET, &format!("Sec-WebSocket-Protocol: {offers}\r\n")]);
        assert!(seen.bytes.starts_with("HTTP/1.1 101 "), "{}", seen.bytes);
        let line = seen.bytes.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        assert_eq!(line, answered, "{offers}");
    }
    let (_, seen) = ends_on(&gate, "GET /in/ws/1", &[WEBSOCKET, &bearer(&token), "Sec-WebSocket-Protocol: chat\r\n"]);
    assert!(!seen.bytes.contains("Sec-WebSocket-Protocol"), "no subprotocol is chosen without a token among them");
}

#[test]
fn workers_do_not_get_the_parameter_with_the_token() {
    let token = token("jti", json!(1));
    let (_, seen) = ends_on(&Gate::new(), &format!("POST /in/jobs/1?a=b&to%6ben={token}&c=d"), &[]);
    assert!(seen.outcome.contains("[Some(\"a=b&c=d\"), Some(\"ann\")]"), "{}", seen.outcome);
    assert!(!seen.outcome.contains(&token));
}

#[test]
fn a_token_is_verified_once_and_remembered() {
    let gate = Gate::new();
    let token = bearer(&token("jti", json!(1)));
    let case = Case {
        target: "GET /in/page",
        version: "1.1",
        lines: &format!("Host: gate.example\r\n{token}"),
        is_tls: false,
        has_hosts: true,
        away: None,
    };
    (0..3).for_each(|_| _ = case.in_one_go(&gate));
    let count = |outcome| (0..2).map(|auth| gate.proofs.count(auth, outcome)).collect::<Vec<_>>();
    assert_eq!(count(AuthOutcome::Verified), [1, 0]);
    assert_eq!(count(AuthOutcome::Remembered), [2, 0]);
    assert_eq!(count(AuthOutcome::Missing), [0, 0]);
}
