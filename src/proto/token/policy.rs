//! Which tokens of an issuer are accepted, and what they prove.
//!
//! ```text
//!  token --> length, form, alg, key, signature --> iss, aud, exp, nbf, required claims --> user, end, channels --> Proof
//!                       '---------------------------------'----------------------------------'--> TokenRefusal
//! ```
//!
//! The rules are those of RFC 8725: the key decides the algorithms, the issuer and the audience are compared whole, and nothing
//! in a token says where its key is fetched.

use std::borrow::Cow;
use std::fmt;

use ahash::AHashMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::claims::{date, text};
use super::keys::KeySet;
use super::parts::TokenParts;
use super::refused::{Claim, TokenFault, TokenRefusal};
use crate::limits;
use crate::proto::permission::member;
use crate::proto::subject::Pattern;
use crate::proto::user::User;

/// The rules for the tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// `iss` must be this.
    pub issuer: Option<Box<str>>,
    /// `aud` must be this, or a list with it.
    pub audience: Option<Box<str>>,
    /// Claims that must have a value: as a text, as a word of a text, or in a list.
    pub required: Vec<(Box<str>, Box<str>)>,
    /// How far the issuer's clock may be from this one.
    pub leeway_s: u32,
    /// The claim that names the user.
    pub user: Box<str>,
    /// The claim that lists patterns of channels, if one does.
    pub channels: Option<Box<str>>,
    /// The same for channels that may be published to.
    pub publish: Option<Box<str>>,
    /// Claims whose values permissions name.
    pub members: Vec<Box<str>>,
    /// The conditions of permissions: claims with values.
    pub conditions: Vec<Vec<(Box<str>, Box<str>)>>,
    /// Header fields by which the gateway tells servers behind it a claim, and the claim of each.
    pub told: Vec<(Box<str>, Box<str>)>,
}

/// A header field and its value.
type ToldField = (Box<str>, Box<str>);

/// The proven statements of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub user: User,
    /// Seconds of Unix time at which it ends, the leeway included.
    pub until_s: u64,
    /// `iat`: when it was issued, if it says so.
    pub issued_s: Option<u64>,
    /// Channels that may be heard besides those that the route names itself. `None` if the policy has no claim for them.
    pub channels: Option<Vec<Pattern>>,
    /// The same for channels that may be published to.
    pub publish: Option<Vec<Pattern>>,
    /// The values of each of the policy's `members`, as tokens of channels. Empty for a claim that is missing, or no text and no
    /// list of texts.
    pub members: Vec<Vec<Box<str>>>,
    /// Which of the policy's `conditions` hold: a bit for each.
    pub conditions: u64,
    /// The header fields of a policy's `told` with their values: a text, or a list as one text with commas. A claim that is
    /// missing or an object has none.
    pub told: Vec<ToldField>,
    /// `jti`, by which one token is revoked.
    pub id: Option<Box<str>>,
    /// `sid`, by which all tokens of one session are.
    pub session: Option<Box<str>>,
}

impl Default for TokenPolicy {
    fn default() -> TokenPolicy {
        TokenPolicy {
            issuer: None,
            audience: None,
            required: Vec::new(),
            leeway_s: limits::TOKEN_LEEWAY_S,
            user: "sub".into(),
            channels: None,
            publish: None,
            members: Vec::new(),
            conditions: Vec::new(),
            told: Vec::new(),
        }
    }
}

impl Proof {
    /// Whether it ends before or at this second of Unix time.
    pub fn is_over(&self, unix_now: u64) -> bool {
        self.until_s <= unix_now
    }

    /// A proof of a user, and of nothing else.
    pub fn of(user: User, until_s: u64) -> Proof {
        Proof {
            user,
            until_s,
            issued_s: None,
            channels: None,
            publish: None,
            members: Vec::new(),
            conditions: 0,
            told: Vec::new(),
            id: None,
            session: None,
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let told: usize = self.told.iter().map(|(name, value)| name.len() + value.len()).sum();
        let patterns = [&self.channels, &self.publish].into_iter().flatten().flatten();
        let patterns: usize = patterns.map(|pattern| pattern.as_str().len() + size_of::<Pattern>()).sum();
        let members = self.members.iter().flatten().map(|name| name.len() + size_of::<Box<str>>()).sum::<usize>();
        let entries =
            self.told.len() * size_of::<ToldField>() + members + self.members.len() * size_of::<Vec<Box<str>>>();
        let names = [&self.id, &self.session].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        size_of::<Proof>() + self.user.token().len() + told + patterns + entries + names
    }
}

impl TokenPolicy {
    /// The proof that `token` gives at the second `unix_now`, if one of `keys` has signed it.
    pub fn verify(&self, keys: &KeySet, token: &str, unix_now: u64) -> Result<Proof, TokenRefusal> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong.into());
        }
        let parts = TokenParts::read(token)?;
        let key = keys.find(&parts.header()?)?;
        if !key.has_signed(parts.message.as_bytes(), &parts.signature) {
            return Err(TokenFault::Signature(key.algorithm).into());
        }
        let claims: ClaimMap<'_> = serde_json::from_slice(&parts.claims).map_err(|_| TokenFault::Claims)?;
        self.check_parties(&claims)?;
        let until_s = self.until(&claims, unix_now)?;
        let proof = Proof {
            user: self.user(&claims)?,
            until_s,
            issued_s: claims.get("iat").and_then(date).map(|seconds| seconds as u64),
            channels: channels(&claims, self.channels.as_deref())?,
            publish: channels(&claims, self.publish.as_deref())?,
            members: self.members.iter().map(|claim| claims.get(claim).map(members).unwrap_or_default()).collect(),
            conditions: self.conditions(&claims),
            told: self.told(&claims)?,
            id: claims.name("jti", Claim::Jti)?,
            session: claims.name("sid", Claim::Sid)?,
        };
        // Last: only a token that is valid otherwise allows too little.
        let has = |(name, wanted): &(Box<str>, Box<str>)| claims.get(name).is_some_and(|value| says(value, wanted));
        if self.required.iter().all(has) { Ok(proof) } else { Err(TokenFault::Required.into()) }
    }

    fn check_parties(&self, claims: &ClaimMap<'_>) -> Result<(), TokenFault> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(exact).as_deref() != Some(issuer)
        {
            return Err(TokenFault::Issuer);
        }
        if let Some(audience) = &self.audience
            && !claims
                .get("aud")
                .is_some_and(|value| exact(value).map_or_else(|| lists(value, audience), |own| own == **audience))
        {
            return Err(TokenFault::Audience);
        }
        Ok(())
    }

    fn until(&self, claims: &ClaimMap<'_>, unix_now: u64) -> Result<u64, TokenRefusal> {
        let (now, leeway) = (unix_now as f64, f64::from(self.leeway_s));
        if let Some(value) = claims.get("nbf")
            && date(value).ok_or(TokenFault::NoDate(Claim::Nbf))? > now + leeway
        {
            return Err(TokenRefusal::NotYetValid);
        }
        let end = claims.get("exp").ok_or(TokenFault::NoEnd)?;
        let end = date(end).ok_or(TokenFault::NoDate(Claim::Exp))? + leeway;
        if end <= now {
            return Err(TokenRefusal::Expired);
        }
        Ok((end.ceil().min(now + limits::TOKEN_SECONDS_MAX as f64)) as u64)
    }

    fn user(&self, claims: &ClaimMap<'_>) -> Result<User, TokenFault> {
        let value = claims.get(&self.user).ok_or(TokenFault::NoUser)?;
        let name = text(value).filter(|name| !name.is_empty()).ok_or(TokenFault::NoText(Claim::User))?;
        User::new(&name).map_err(TokenFault::User)
    }

    fn told(&self, claims: &ClaimMap<'_>) -> Result<Vec<ToldField>, TokenFault> {
        let found = self.told.iter().filter_map(|(field, claim)| Some((field, claims.get(claim)?)));
        let values = found.map(|(field, value)| Ok(told(value)?.map(|value| (field.clone(), value))));
        values.filter_map(Result::transpose).collect()
    }

    fn conditions(&self, claims: &ClaimMap<'_>) -> u64 {
        let has = |(name, wanted): &(Box<str>, Box<str>)| claims.get(name).is_some_and(|value| says(value, wanted));
        let hold = self.conditions.iter().map(|condition| condition.iter().all(has));
        hold.zip(0..u64::BITS).fold(0, |bits, (holds, index)| bits | u64::from(holds) << index)
    }
}

/// The patterns that a claim lists; `None` if none is named.
fn channels(claims: &ClaimMap<'_>, name: Option<&str>) -> Result<Option<Vec<Pattern>>, TokenFault> {
    let Some(name) = name else { return Ok(None) };
    let Some(value) = claims.get(name) else { return Ok(Some(Vec::new())) };
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| TokenFault::NoList)?;
    let pattern = |item: &RawValue| {
        let name = text(item).ok_or(TokenFault::NoText(Claim::Channels))?;
        let pattern = Pattern::new(&name).map_err(|error| TokenFault::Channel(Claim::Channels, error))?;
        if pattern.is_reserved() { Err(TokenFault::Reserved(Claim::Channels)) } else { Ok(pattern) }
    };
    items.into_iter().map(pattern).collect::<Result<_, _>>().map(Some)
}

/// The values of a claim, a text or a list of texts, as tokens of channels.
fn members(value: &RawValue) -> Vec<Box<str>> {
    let items: Vec<&RawValue> = match value.get().starts_with('[') {
        true => serde_json::from_str(value.get()).unwrap_or_default(),
        false => vec![value],
    };
    items.into_iter().filter_map(|item| member(&text(item)?)).collect()
}

/// The claim as a header field says it.
fn told(value: &RawValue) -> Result<Option<Box<str>>, TokenFault> {
    let said = match value.get() {
        boolean @ ("true" | "false") => Some(boolean.to_owned()),
        list if list.starts_with('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
            let texts: Option<Vec<Cow<'_, str>>> = items.into_iter().map(text).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => text(value).map(Cow::into_owned),
    };
    match said {
        Some(said) if said.chars().any(char::is_control) => Err(TokenFault::NoField),
        said => Ok(said.map(String::into)),
    }
}

/// A text that is compared whole.
fn exact(value: &RawValue) -> Option<Cow<'_, str>> {
    value.get().starts_with('"').then(|| text(value)).flatten()
}

fn lists(value: &RawValue, wanted: &str) -> bool {
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
    items.into_iter().any(|item| text(item).as_deref() == Some(wanted))
}

/// Whether a claim is this text, has it as one of its words (RFC 8693 section 4.2, `scope`), or has it in its list.
fn says(value: &RawValue, wanted: &str) -> bool {
    match value.get() {
        "true" | "false" => value.get() == wanted,
        _ => text(value)
            .map_or_else(|| lists(value, wanted), |own| own == wanted || own.split(' ').any(|word| word == wanted)),
    }
}

/// Claims by name; each stands once (RFC 7519 section 4), and `null` counts as a missing one.
struct ClaimMap<'a>(AHashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> ClaimMap<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|value| value.get() != "null")
    }

    fn name(&self, name: &str, claim: Claim) -> Result<Option<Box<str>>, TokenFault> {
        let value = self.get(name).map(|value| text(value).ok_or(TokenFault::NoText(claim)));
        Ok(value.transpose()?.map(|text| text.into()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ClaimMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClaimMap<'a>, D::Error> {
        struct ClaimsVisitor;
        impl<'de> Visitor<'de> for ClaimsVisitor {
            type Value = AHashMap<Cow<'de, str>, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
                let mut claims = AHashMap::new();
                while let Some((ClaimName(name), value)) = members.next_entry::<ClaimName<'de>, &RawValue>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim stands twice"));
                    }
                }
                Ok(claims)
            }
        }
        #[derive(serde::Deserialize)]
        struct ClaimName<'n>(#[serde(borrow)] Cow<'n, str>);
        deserializer.deserialize_map(ClaimsVisitor).map(ClaimMap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::token::keys::tests::{Signer, set};

    const NOW: u64 = 1_700_000_000;

    fn policy() -> TokenPolicy {
        TokenPolicy {
            issuer: Some("https://id.example".into()),
            audience: Some("tidegate".into()),
            required: vec![("scope".into(), "push".into())],
            channels: Some("channels".into()),
            told: vec![("X-Roles".into(), "roles".into()), ("X-User".into(), "sub".into())],
            ..TokenPolicy::default()
        }
    }

    /// The claims that `policy` accepts, with this one set to another value; `null` takes it out.
    fn claims(name: &str, value: Value) -> Value {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "tidegate", "sub": "ann", "exp": NOW + 60, "scope": "read push",
            "channels": ["room.1", "team.*"], "jti": "t-1", "sid": "s-1",
        });
        claims[name] = value;
        claims
    }

    fn verified(policy: &TokenPolicy, claims: &Value) -> Result<Proof, TokenRefusal> {
        thread_local! {
            static SIGNER: Signer = Signer::ec();
        }
        SIGNER.with(|signer| policy.verify(&set(&[signer.jwk("a")]), &signer.token(Some("a"), claims), NOW))
    }

    #[test]
    fn a_token_proves_its_user_end_channels_and_names() {
        let proof = verified(&policy(), &claims("nbf", json!(NOW + 30))).unwrap();
        assert_eq!((proof.user.name().as_ref(), proof.until_s), ("ann", NOW + 90));
        assert_eq!(proof.channels, Some(["room.1", "team.*"].map(|name| Pattern::new(name).unwrap()).to_vec()));
        assert_eq!((proof.id.as_deref(), proof.session.as_deref()), (Some("t-1"), Some("s-1")));
        let by_mail = TokenPolicy { user: "email".into(), ..policy() };
        let proof = verified(&by_mail, &claims("email", json!("a.b@example.org"))).unwrap();
        assert_eq!(proof.user.name(), "a.b@example.org");
    }

    #[test]
    fn each_claim_is_checked() {
        let expired = TokenRefusal::Expired;
        for (name, value, refusal) in [
            ("iss", json!("https://id.example/"), TokenFault::Issuer.into()),
            ("iss", json!(["https://id.example"]), TokenFault::Issuer.into()),
            ("iss", Value::Null, TokenFault::Issuer.into()),
            ("aud", json!("tidegate2"), TokenFault::Audience.into()),
            ("aud", json!("other tidegate"), TokenFault::Audience.into()),
            ("aud", json!(["other"]), TokenFault::Audience.into()),
            ("aud", Value::Null, TokenFault::Audience.into()),
            ("scope", json!("pushy"), TokenFault::Required.into()),
            ("scope", json!(["read"]), TokenFault::Required.into()),
            ("scope", Value::Null, TokenFault::Required.into()),
            ("exp", Value::Null, TokenFault::NoEnd.into()),
            ("exp", json!("soon"), TokenFault::NoDate(Claim::Exp).into()),
            ("exp", json!(NOW - 30), expired),
            ("nbf", json!(NOW + 31), TokenRefusal::NotYetValid),
            ("sub", Value::Null, TokenFault::NoUser.into()),
            ("sub", json!(""), TokenFault::NoText(Claim::User).into()),
            ("sub", json!({"name": "ann"}), TokenFault::NoText(Claim::User).into()),
            ("channels", json!("room.1"), TokenFault::NoList.into()),
            ("channels", json!(["tg.user.bob"]), TokenFault::Reserved(Claim::Channels).into()),
            ("jti", json!([1]), TokenFault::NoText(Claim::Jti).into()),
            ("roles", json!("admin\r\nX-User: root"), TokenFault::NoField.into()),
            ("roles", json!(["a", "b\n"]), TokenFault::NoField.into()),
        ] {
            assert_eq!(verified(&policy(), &claims(name, value.clone())).unwrap_err(), refusal, "{name}: {value}");
        }
        for (name, value) in [
            ("aud", json!(["other", "tidegate"])),
            ("scope", json!("push")),
            ("scope", json!(["read", "push"])),
            ("exp", json!(NOW - 29)),
            ("channels", Value::Null),
            ("sub", json!(42)),
        ] {
            assert!(verified(&policy(), &claims(name, value.clone())).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn claims_for_servers_are_one_text_each() {
        for (value, said) in [
            (json!("admin"), Some("admin")),
            (json!(["admin", 7, "é"]), Some("admin,7,é")),
            (json!([]), Some("")),
            (json!(true), Some("true")),
            (json!({"a": 1}), None),
            (json!([{"a": 1}]), None),
            (Value::Null, None),
        ] {
            let proof = verified(&policy(), &claims("roles", value.clone())).unwrap();
            let told: Vec<(&str, &str)> = proof.told.iter().map(|(name, value)| (&**name, &**value)).collect();
            let roles = said.map(|said| ("X-Roles", said));
            assert_eq!(told, roles.into_iter().chain([("X-User", "ann")]).collect::<Vec<_>>(), "{value}");
        }
    }

    #[test]
    fn what_permissions_ask_for_is_read_from_claims_of_any_form() {
        let condition = |claim: &str, value: &str| vec![(claim.into(), value.into())];
        let policy = TokenPolicy {
            publish: Some("publish".into()),
            members: vec!["rooms".into(), "team".into()],
            conditions: vec![condition("role", "editor"), condition("scope", "push"), condition("none", "x")],
            ..policy()
        };
        for (value, tokens) in [
            (json!("7"), &["7"][..]),
            (json!(7), &["7"]),
            (json!(["7", 8, "a.b", "*", ""]), &["7", "8", "a%2Eb", "%2A"]),
            (json!([{"a": 1}, "9"]), &["9"]),
            (json!({"a": 1}), &[]),
            (json!("\n"), &[]),
            (json!("x".repeat(300)), &[]),
            (Value::Null, &[]),
        ] {
            let proof = verified(&policy, &claims("rooms", value.clone())).unwrap();
            let members: Vec<&str> = proof.members[0].iter().map(|name| &**name).collect();
            assert_eq!(members, tokens, "{value}");
            assert_eq!((proof.members[1].len(), proof.conditions), (0, 0b010));
            assert_eq!(proof.publish, Some(Vec::new()), "without the claim nowhere");
        }
        let proof = verified(&policy, &claims("role", json!(["reader", "editor"]))).unwrap();
        assert_eq!(proof.conditions, 0b011);
        let proof = verified(&policy, &claims("publish", json!(["news.>"]))).unwrap();
        assert_eq!(proof.publish, Some(vec![Pattern::new("news.>").unwrap()]));
        assert!(verified(&policy, &claims("publish", json!(["tg.>"]))).is_err());
    }

    #[test]
    fn a_token_that_has_ended_is_no_token_that_allows_too_little() {
        let mut claims = claims("exp", json!(NOW - 60));
        claims["scope"] = json!("read");
        assert_eq!(verified(&policy(), &claims).unwrap_err(), TokenRefusal::Expired);
    }

    #[test]
    fn a_forged_token_is_refused_before_its_claims_are_read() {
        let (own, other) = (Signer::ec(), Signer::ec());
        let token = other.token(Some("a"), &claims("exp", json!(0)));
        let refusal = policy().verify(&set(&[own.jwk("a")]), &token, NOW).unwrap_err();
        assert_eq!(refusal, TokenFault::Signature(crate::proto::token::Algorithm::Es256).into());
        let long = format!("{}.{token}", "x".repeat(limits::TOKEN_BYTES_MAX));
        assert_eq!(policy().verify(&set(&[own.jwk("a")]), &long, NOW).unwrap_err(), TokenFault::TooLong.into());
    }

    #[test]
    fn a_claim_that_stands_twice_makes_the_token_none() {
        for bad in ["{\"sub\":1,\"sub\":2}", "[]", "1", "{\"sub\":", "{\"s\\u0075b\":1,\"sub\":2}"] {
            assert!(serde_json::from_str::<ClaimMap<'_>>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(token in "[A-Za-z0-9_.-]{0,200}", claims in ".{0,100}") {
            let keys = KeySet::default();
            prop_assert!(TokenPolicy::default().verify(&keys, &token, NOW).is_err());
            let _ = serde_json::from_str::<ClaimMap<'_>>(&claims);
        }
    }
}
