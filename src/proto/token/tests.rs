//! Tokens as signers write them, by hand and by another library.

use aws_lc_rs::hmac;
use base64::Engine;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::proto::name::NameError;
use crate::proto::user::USER_BYTES_MAX;

const NOW: u64 = 1_700_000_000;
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn encoded(part: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part)
}

/// Signed with the shared secret, whatever the parts are.
fn token(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    format!("{message}.{}", encoded(hmac::sign(&key, message.as_bytes()).as_ref()))
}

fn signed(claims: &Value) -> String {
    token(HS256, &claims.to_string())
}

fn read(token: &str) -> Result<ConnectionClaims, TokenRefusal> {
    Verifier::hmac(b"secret").connection(token, NOW)
}

fn claimed(claims: &str) -> Result<ConnectionClaims, TokenRefusal> {
    read(&token(HS256, claims))
}

fn fault(claims: &str) -> TokenFault {
    match claimed(claims) {
        Err(TokenRefusal::Invalid(fault)) => fault,
        other => panic!("{claims}: {other:?}"),
    }
}

fn name(connection: &ConnectionClaims) -> Option<String> {
    connection.user.as_ref().map(|user| user.name().into_owned())
}

#[test]
fn a_token_holds_until_its_end() {
    let verifier = Verifier::hmac(b"secret");
    let token = signed(&json!({"sub": "ann", "exp": NOW + 60, "info": {"name": "Ann"}, "channels": ["news"]}));
    let read = verifier.connection(&token, NOW).unwrap();
    assert_eq!((name(&read).as_deref(), read.ttl), (Some("ann"), Some(60)));
    assert_eq!((read.info.unwrap().get(), read.channels), ("{\"name\":\"Ann\"}", vec![Subject::new("news").unwrap()]));
    assert_eq!(verifier.connection(&token, NOW + 60).unwrap_err(), TokenRefusal::Expired);
    for nobody in ["{}", "{\"sub\":null}", "{\"sub\":\"\"}"] {
        let read = claimed(nobody).unwrap();
        assert_eq!((read.user, read.ttl), (None, None), "{nobody}");
    }
}

#[test]
fn a_time_is_any_number() {
    for (exp, ttl) in [
        ("1800000000.5", Some(100_000_001)),
        ("1.8e9", Some(100_000_000)),
        ("18E8", Some(100_000_000)),
        ("\"1800000000\"", Some(100_000_000)),
        ("1700000000.5", Some(1)),
        ("18446744073709551616", Some(crate::limits::TOKEN_SECONDS_MAX)),
        ("1e308", Some(crate::limits::TOKEN_SECONDS_MAX)),
        ("1e999", Some(crate::limits::TOKEN_SECONDS_MAX)),
        ("null", None),
    ] {
        let claims = format!("{{\"exp\":{exp},\"nbf\":1.6e9,\"iat\":1600000000.25,\"auth_time\":-1e-7}}");
        assert_eq!(claimed(&claims).unwrap().ttl, ttl, "{exp}");
    }
    for over in ["1700000000", "1699999999.9", "0", "-1", "-1e308", "-1e999"] {
        assert_eq!(claimed(&format!("{{\"exp\":{over}}}")).unwrap_err(), TokenRefusal::Expired, "{over}");
    }
    for (claims, claim) in [
        ("{\"exp\":\"soon\"}", Claim::Exp),
        ("{\"exp\":true}", Claim::Exp),
        ("{\"exp\":[1800000000]}", Claim::Exp),
        ("{\"nbf\":{}}", Claim::Nbf),
        ("{\"nbf\":\"\"}", Claim::Nbf),
    ] {
        assert_eq!(fault(claims), TokenFault::NoDate(claim), "{claims}");
    }
}

#[test]
fn a_token_does_not_hold_before_its_beginning() {
    let claims = |nbf: &str| claimed(&format!("{{\"sub\":\"ann\",\"nbf\":{nbf},\"exp\":1.9e9}}"));
    for later in ["1700003600", "1700000000.5", "1e300", "1e999", "\"1700003600\""] {
        assert_eq!(claims(later).unwrap_err(), TokenRefusal::NotYetValid, "{later}");
    }
    for begun in ["1700000000", "1699999999.5", "0", "-1e999", "null"] {
        assert!(claims(begun).is_ok(), "{begun}");
    }
}

#[test]
fn a_user_may_be_called_anything() {
    for (sub, name, token) in [
        ("\"ann@example.org\"", "ann@example.org", "ann@example%2Eorg"),
        ("\"a.b\"", "a.b", "a%2Eb"),
        ("\"a b\"", "a b", "a%20b"),
        ("\"*\"", "*", "%2A"),
        ("\">\"", ">", "%3E"),
        ("\"auth0|5f7c8ec7\"", "auth0|5f7c8ec7", "auth0|5f7c8ec7"),
        ("\"zo\\u00eb\"", "zoë", "zoë"),
        ("42", "42", "42"),
        ("4.2e1", "42", "42"),
    ] {
        let user = claimed(&format!("{{\"sub\":{sub}}}")).unwrap().user.unwrap();
        assert_eq!((&*user.name(), user.token()), (name, token));
    }
}

#[test]
fn a_refusal_says_which_claim_and_why() {
    let long = "x".repeat(USER_BYTES_MAX + 1);
    for (claims, expected, words) in [
        ("{\"sub\":[]}", TokenFault::NoText(Claim::Sub), "its claim \"sub\" is neither a text nor a whole number"),
        ("{\"sub\":4.2}", TokenFault::NoText(Claim::Sub), "its claim \"sub\" is neither a text nor a whole number"),
        (
            "{\"sub\":\"a\\nb\"}",
            TokenFault::User(NameError::ControlCharacter),
            "its claim \"sub\" is no user: a name has no control characters",
        ),
        (
            &format!("{{\"sub\":\"{long}\"}}"),
            TokenFault::User(NameError::TooLong { bytes_max: USER_BYTES_MAX }),
            "its claim \"sub\" is no user: a name has at most 248 bytes, its escapes included",
        ),
        ("{\"channels\":\"news\"}", TokenFault::NoList, "its claim \"channels\" is no list of channels"),
        (
            "{\"channels\":[\"tg.user.ann\"]}",
            TokenFault::Reserved(Claim::Channels),
            "its claim \"channels\" has a name that is nobody's channel (tg., _INBOX)",
        ),
        (
            "{\"channel\":\"news\"}",
            TokenFault::OfSubscription,
            "its claim \"channel\" makes it one of a subscription, and a client connects with it",
        ),
        ("[]", TokenFault::Claims, "its claims are no JSON object in which each name stands once"),
    ] {
        assert_eq!(fault(claims), expected, "{claims}");
        assert_eq!(expected.to_string(), words);
    }
    assert!(matches!(fault("{\"channels\":[\"a..b\"]}"), TokenFault::Channel(Claim::Channels, _)));
    let info = format!("{{\"info\":\"{}\"}}", "x".repeat(TOKEN_INFO_BYTES_MAX));
    assert_eq!(fault(&info), TokenFault::InfoTooLong);
}

#[test]
fn what_another_key_has_signed_is_refused() {
    let good = signed(&json!({"sub": "ann"}));
    let refused = |verifier: &Verifier, token: &str| verifier.connection(token, NOW).unwrap_err();
    let verifier = Verifier::hmac(b"secret");
    for (bad, fault) in [
        ("", TokenFault::Form),
        ("a", TokenFault::Form),
        ("a.b", TokenFault::Form),
        ("a.b.c", TokenFault::Form),
        ("+/==.e30.AA", TokenFault::Form),
        (&format!("{good}.AA"), TokenFault::Form),
        ("e30.e30.", TokenFault::Header),
        (&token("[\"HS256\"]", "{}"), TokenFault::Header),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", TokenFault::Algorithm(Algorithm::Hs256)),
        (&token(r#"{"alg":"hs256"}"#, "{}"), TokenFault::Algorithm(Algorithm::Hs256)),
        (&token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}"), TokenFault::Extension),
        (&good[..good.len() - 1], TokenFault::Signature(Algorithm::Hs256)),
        (&good[..good.rfind('.').unwrap() + 1], TokenFault::Signature(Algorithm::Hs256)),
    ] {
        assert_eq!(refused(&verifier, bad), TokenRefusal::Invalid(fault), "{bad}");
    }
    assert_eq!(refused(&Verifier::hmac(b"other"), &good), TokenFault::Signature(Algorithm::Hs256).into());
}

#[test]
fn what_surrounds_and_pads_a_token_is_no_part_of_it() {
    let good = signed(&json!({"sub": "ann"}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    // The last of 43 characters has two bits that belong to no byte; they are zero, so the next character has others.
    let twin = char::from(signature.as_bytes()[signature.len() - 1] + 1);
    for spelling in [
        format!(" {good}\n"),
        format!("Bearer {good}"),
        format!("bearer  {good}\r\n"),
        format!("{good}="),
        format!("{message}.{}{twin}", &signature[..signature.len() - 1]),
    ] {
        assert_eq!(name(&read(&spelling).unwrap()).as_deref(), Some("ann"), "{spelling:?}");
    }
    assert_eq!(read(&format!("Basic {good}")).unwrap_err(), TokenFault::Form.into());
}

#[test]
fn a_token_may_be_signed_with_rsa() {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let pem = pair.public_key_pem();
    let verifier = Verifier::rsa(pem.as_bytes()).unwrap();
    let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    let sign = |algorithm| jsonwebtoken::encode(&Header::new(algorithm), &json!({"sub": "ann"}), &key).unwrap();
    let read = verifier.connection(&sign(jsonwebtoken::Algorithm::RS256), NOW).unwrap();
    assert_eq!(name(&read).as_deref(), Some("ann"));
    // The same key under another name of an algorithm.
    for other in [jsonwebtoken::Algorithm::RS384, jsonwebtoken::Algorithm::PS256] {
        let refused = verifier.connection(&sign(other), NOW).unwrap_err();
        assert_eq!(refused, TokenFault::Algorithm(Algorithm::Rs256).into());
    }
    let forged = EncodingKey::from_secret(pem.as_bytes());
    let forged = jsonwebtoken::encode(&Header::default(), &json!({"sub": "ann"}), &forged).unwrap();
    assert_eq!(verifier.connection(&forged, NOW).unwrap_err(), TokenFault::Algorithm(Algorithm::Rs256).into());
}

#[test]
fn a_public_key_is_no_secret() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = pair.public_key_pem();
    let verifier = Verifier::ecdsa(pem.as_bytes()).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let header = Header::new(jsonwebtoken::Algorithm::ES256);
    let token = jsonwebtoken::encode(&header, &json!({"sub": "ann"}), &key).unwrap();
    assert_eq!(name(&verifier.connection(&token, NOW).unwrap()).as_deref(), Some("ann"));
    // An attacker signs with the public key as if it were the shared secret.
    let forged = EncodingKey::from_secret(pem.as_bytes());
    let forged = jsonwebtoken::encode(&Header::default(), &json!({"sub": "ann"}), &forged).unwrap();
    assert_eq!(verifier.connection(&forged, NOW).unwrap_err(), TokenFault::Algorithm(Algorithm::Es256).into());
}

#[test]
fn a_subscription_token_is_for_one_user_and_one_channel() {
    let granted = |ttl, may_publish| Ok(SubscriptionClaims { ttl, may_publish });
    let verifier = Verifier::hmac(b"secret");
    let ask = |claims: &Value, user: &str, channel, now| {
        let user = User::new(user).unwrap();
        verifier.subscription(&signed(claims), Some(&user), channel, now)
    };
    let claims = json!({"sub": "ann@x.org", "channel": "room.1", "exp": NOW as f64 + 4.5});
    assert_eq!(ask(&claims, "ann@x.org", "room.1", NOW), granted(Some(5), false));
    assert_eq!(ask(&claims, "bob", "room.1", NOW), Err(TokenFault::OtherUser.into()));
    assert_eq!(ask(&claims, "ann@x.org", "room.2", NOW), Err(TokenFault::OtherChannel.into()));
    assert_eq!(ask(&claims, "ann@x.org", "room.1", NOW + 5), Err(TokenRefusal::Expired));
    assert_eq!(ask(&json!({"sub": 42, "channel": "room.1"}), "42", "room.1", NOW), granted(None, false));
    assert_eq!(ask(&json!({"sub": 42, "nbf": NOW + 1}), "42", "room.1", NOW), Err(TokenRefusal::NotYetValid));
    assert_eq!(ask(&json!({"sub": 42}), "42", "room.1", NOW), Err(TokenFault::NoChannel.into()));
    assert_eq!(verifier.subscription(&signed(&json!({"channel": "a"})), None, "a", NOW), granted(None, false));
    for (publish, expected) in [
        (json!(true), granted(None, true)),
        (json!(false), granted(None, false)),
        (Value::Null, granted(None, false)),
        (json!("true"), Err(TokenFault::NoSwitch.into())),
        (json!(1), Err(TokenFault::NoSwitch.into())),
        (json!(["room.1"]), Err(TokenFault::NoSwitch.into())),
    ] {
        let claims = json!({"sub": "ann", "channel": "room.1", "publish": publish});
        assert_eq!(ask(&claims, "ann", "room.1", NOW), expected, "{claims}");
    }
}
