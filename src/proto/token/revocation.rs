//! Revocations: tokens that are not taken any more although their time is not over.
//!
//! ```text
//!  {"user":"ann"}  {"jti":"…"}  {"sid":"…"}   issued_before, until --parse--> Revocation --keep--> RevokedTokens
//!                                                                     '-- is_for(proof): an open stream ends
//!  a token that was verified --------------------------------------------------- forbid? ----------------^
//! ```

use std::collections::HashMap;

use aws_lc_rs::digest;
use serde::Deserialize;

use super::Proof;
use crate::limits;
use crate::proto::user::User;

/// The claim that the revoked tokens have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RevokedBy {
    User,
    Id,
    Session,
}

/// Revoked tokens: by their user, by `jti`, or by `sid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    by: RevokedBy,
    name: Box<str>,
    /// Only tokens that were issued before this second, or do not say when. `None`: all.
    issued_before_s: Option<u64>,
    /// It is forgotten then.
    until_s: u64,
}

impl Revocation {
    /// The token of the user whose tokens are revoked, if it is that.
    pub fn user(&self) -> Option<&str> {
        (self.by == RevokedBy::User).then_some(&*self.name)
    }

    /// The error is one clause about the text.
    pub fn parse(json: &[u8], unix_now: u64) -> Result<Revocation, &'static str> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct RevocationText {
            user: Option<String>,
            jti: Option<String>,
            sid: Option<String>,
            issued_before: Option<u64>,
            until: Option<u64>,
        }
        const EXPECTED: &str = "expected a JSON object with one of the texts \"user\", \"jti\" and \"sid\", and perhaps \
                                \"issued_before\" and \"until\" in seconds of Unix time";
        let said: RevocationText = serde_json::from_slice(json).map_err(|_| EXPECTED)?;
        let (by, name) = match (said.user, said.jti, said.sid) {
            (Some(user), None, None) => {
                let user = User::new(&user).map_err(|_| "has a user that is no user's name")?;
                (RevokedBy::User, user.token().to_owned())
            }
            (None, Some(id), None) => (RevokedBy::Id, id),
            (None, None, Some(session)) => (RevokedBy::Session, session),
            _ => return Err(EXPECTED),
        };
        let until_s = said.until.unwrap_or(unix_now + limits::REVOCATION_SECONDS);
        if until_s <= unix_now {
            return Err("has an \"until\" that is over");
        }
        Ok(Revocation { by, name: name.into(), issued_before_s: said.issued_before, until_s })
    }

    /// Whether the token with this proof is one of them.
    pub fn is_for(&self, proof: &Proof) -> bool {
        let own = names(proof).into_iter().find(|(by, _)| *by == self.by);
        own.and_then(|(_, name)| name).is_some_and(|name| name == &*self.name)
            && is_issued_before(proof, self.issued_before_s)
    }
}

/// By what a token can be revoked.
fn names(proof: &Proof) -> [(RevokedBy, Option<&str>); 3] {
    [
        (RevokedBy::User, Some(proof.user.token())),
        (RevokedBy::Id, proof.id.as_deref()),
        (RevokedBy::Session, proof.session.as_deref()),
    ]
}

fn is_issued_before(proof: &Proof, issued_before_s: Option<u64>) -> bool {
    issued_before_s.is_none_or(|before| proof.issued_s.is_none_or(|issued| issued < before))
}

/// The revocations that are in force, by a hash of what they name.
#[derive(Default)]
pub struct RevokedTokens {
    all: HashMap<[u8; 16], RevokedUntil>,
}

#[derive(Clone, Copy)]
struct RevokedUntil {
    issued_before_s: Option<u64>,
    until_s: u64,
}

impl RevokedTokens {
    /// False if there is no place for it. One for the same tokens is replaced.
    pub fn keep(&mut self, revocation: &Revocation, unix_now: u64) -> bool {
        let key = key(revocation.by, &revocation.name);
        if self.all.len() >= limits::REVOCATIONS_MAX && !self.all.contains_key(&key) {
            self.all.retain(|_, kept| kept.until_s > unix_now);
        }
        if self.all.len() >= limits::REVOCATIONS_MAX && !self.all.contains_key(&key) {
            return false;
        }
        let Revocation { issued_before_s, until_s, .. } = *revocation;
        self.all.insert(key, RevokedUntil { issued_before_s, until_s });
        true
    }

    /// Whether the token with this proof is revoked. Without a revocation that is one comparison.
    pub fn forbid(&self, proof: &Proof, unix_now: u64) -> bool {
        !self.all.is_empty()
            && names(proof)
                .into_iter()
                .filter_map(|(by, name)| self.all.get(&key(by, name?)))
                .any(|kept| kept.until_s > unix_now && is_issued_before(proof, kept.issued_before_s))
    }
}

fn key(by: RevokedBy, name: &str) -> [u8; 16] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[by as u8]);
    hash.update(name.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finish().as_ref()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn proof(user: &str, id: Option<&str>, issued_s: Option<u64>) -> Proof {
        let user = User::new(user).unwrap();
        let (id, session) = (id.map(Box::from), Some("s-1".into()));
        Proof { issued_s, id, session, ..Proof::of(user, NOW + 60) }
    }

    fn revocation(json: &str) -> Revocation {
        Revocation::parse(json.as_bytes(), NOW).unwrap()
    }

    #[test]
    fn tokens_are_revoked_by_user_id_or_session_and_no_others() {
        let ann = proof("ann@example.org", Some("t-1"), Some(NOW - 10));
        for (json, is_revoked) in [
            ("{\"user\":\"ann@example.org\"}", true),
            ("{\"user\":\"ann\"}", false),
            ("{\"jti\":\"t-1\"}", true),
            ("{\"jti\":\"s-1\"}", false),
            ("{\"sid\":\"s-1\"}", true),
            ("{\"sid\":\"t-1\"}", false),
            ("{\"user\":\"ann@example.org\",\"issued_before\":1700000000}", true),
            ("{\"user\":\"ann@example.org\",\"issued_before\":1699999990}", false),
        ] {
            let revocation = revocation(json);
            let mut kept = RevokedTokens::default();
            assert!(kept.keep(&revocation, NOW));
            assert_eq!((revocation.is_for(&ann), kept.forbid(&ann, NOW)), (is_revoked, is_revoked), "{json}");
            assert!(!kept.forbid(&ann, NOW + limits::REVOCATION_SECONDS), "it is forgotten");
            assert!(!revocation.is_for(&proof("bob", None, None)) || json.contains("s-1"), "{json}");
        }
        let undated = proof("ann", None, None);
        assert!(
            revocation("{\"user\":\"ann\",\"issued_before\":1}").is_for(&undated),
            "a token that does not say when"
        );
    }

    #[test]
    fn a_text_that_revokes_nothing_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            "{\"user\":\"ann\",\"jti\":\"1\"}",
            "{\"user\":1}",
            "{\"user\":\"\"}",
            "{\"name\":\"ann\"}",
            "{\"jti\":\"1\",\"until\":1700000000}",
            "{\"jti\":\"1\",\"until\":-1}",
        ] {
            assert!(Revocation::parse(bad.as_bytes(), NOW).is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_a_bound_and_what_is_over_makes_room() {
        let mut kept = RevokedTokens::default();
        let text = |number: usize, until: u64| format!("{{\"jti\":\"{number}\",\"until\":{until}}}");
        for number in 0..limits::REVOCATIONS_MAX {
            assert!(kept.keep(&revocation(&text(number, NOW + 10 + number as u64 % 2)), NOW));
        }
        let another = revocation(&text(usize::MAX, NOW + 100));
        assert!(!kept.keep(&another, NOW + 1));
        assert!(kept.keep(&revocation(&text(0, NOW + 50)), NOW + 1), "one that is there is replaced");
        assert!(kept.keep(&another, NOW + 10), "half of them are over");
    }
}
