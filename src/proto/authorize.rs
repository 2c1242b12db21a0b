//! Documents for the application about its clients: whether a user may do that with a channel, and which user a client is.
//!
//! ```text
//!  AskedRight --document--> {"right":"hear","channel":"room.7","user":"ann"} --> a worker of tg.authorize.<service>, or a POST
//!  RightAnswer <---read---- {"allow":true,"ttl_s":60} <-----------------------------------------------------------------'
//!
//!  AskedClient --document--> {"right":"connect","method":"GET","uri":"/ws/7","fields":{"Cookie":"sid=1"},..} --> a worker
//!  IdentityAnswer <---read---- {"allow":true,"user":"ann","ttl_s":900} <-----------------------------------------------'
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::permission::{DeciderId, Right};
use super::subject::Subject;
use super::user::User;
use crate::limits::DECISION_KEPT_MAX;

/// A right that the application is asked for. The answer is the same for all connections of a user, so it can be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AskedRight {
    pub decider: DeciderId,
    /// `None`: a client without a name.
    pub user: Option<User>,
    pub right: Right,
    pub channel: Subject,
}

/// The answer of a decider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RightAnswer {
    pub is_allowed: bool,
    /// How long it may be remembered, if the answer says so.
    pub kept: Option<Duration>,
}

/// A request whose client a worker should know.
#[derive(Clone, Debug, Serialize)]
pub struct AskedClient<'a> {
    /// `connect`.
    pub right: &'static str,
    pub method: &'a str,
    /// The path in its one form, which is matched and passed on, and the query without tokens.
    pub uri: &'a str,
    /// As the client has called the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    pub proto: &'static str,
    pub address: IpAddr,
    pub id: &'a str,
    /// The client's fields that pass; values of one name are joined.
    pub fields: BTreeMap<&'a str, String>,
}

impl AskedClient<'_> {
    /// The same in JSON.
    pub fn document(&self) -> String {
        // Texts only: that cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The answer of a worker about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityAnswer {
    Admitted {
        user: User,
        /// How long its stream may last, if the answer says so.
        ttl_s: Option<u64>,
        /// For servers of routes.
        fields: BTreeMap<String, String>,
    },
    /// 401 or 403.
    Refused(u16),
}

#[derive(Deserialize)]
struct IdentityAnswerDocument {
    allow: bool,
    user: Option<String>,
    ttl_s: Option<u64>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    status: Option<u16>,
}

impl IdentityAnswer {
    /// `None`: it says neither, or has no user.
    pub fn read(bytes: &[u8]) -> Option<IdentityAnswer> {
        let IdentityAnswerDocument { allow, user, ttl_s, fields, status } = serde_json::from_slice(bytes).ok()?;
        if allow {
            return Some(IdentityAnswer::Admitted { user: User::new(&user?).ok()?, ttl_s, fields });
        }
        let status = status.unwrap_or(403);
        matches!(status, 401 | 403).then_some(IdentityAnswer::Refused(status))
    }
}

/// The outcome of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    Denied,
    /// There is no answer, or none that can be read.
    Unclear,
}

#[derive(Serialize)]
struct AskedDocument<'a> {
    right: &'static str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Deserialize)]
struct AnswerDocument {
    allow: bool,
    ttl_s: Option<u64>,
}

impl AskedRight {
    /// The same in JSON.
    pub fn document(&self) -> String {
        let name = self.user.as_ref().map(User::name);
        let (right, channel, user) = (self.right.word(), self.channel.as_str(), name.as_deref());
        // Texts only: that cannot fail.
        serde_json::to_string(&AskedDocument { right, channel, user }).unwrap_or_default()
    }
}

impl RightAnswer {
    /// `None`: it says neither yes nor no. Other fields are for later versions.
    pub fn read(bytes: &[u8]) -> Option<RightAnswer> {
        let AnswerDocument { allow, ttl_s } = serde_json::from_slice(bytes).ok()?;
        let kept = ttl_s.map(|ttl_s| Duration::from_secs(ttl_s).min(DECISION_KEPT_MAX));
        Some(RightAnswer { is_allowed: allow, kept })
    }

    pub fn decision(self) -> Decision {
        if self.is_allowed { Decision::Allowed } else { Decision::Denied }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(user: Option<&str>) -> AskedRight {
        AskedRight {
            decider: DeciderId(0),
            user: user.map(|name| User::new(name).unwrap()),
            right: Right::Watch,
            channel: Subject::new("room.7").unwrap(),
        }
    }

    #[test]
    fn a_document_names_the_user_as_the_application_does() {
        let document = |user| asked(user).document();
        assert_eq!(document(None), r#"{"right":"presence","channel":"room.7"}"#);
        let named = r#"{"right":"presence","channel":"room.7","user":"ann@example.org \"a\""}"#;
        assert_eq!(document(Some("ann@example.org \"a\"")), named);
    }

    #[test]
    fn an_answer_says_yes_or_no_and_for_how_long() {
        let read = |text: &str| RightAnswer::read(text.as_bytes());
        let answer =
            |is_allowed, kept: Option<u64>| Some(RightAnswer { is_allowed, kept: kept.map(Duration::from_secs) });
        for (text, expected) in [
            (r#"{"allow":true}"#, answer(true, None)),
            (r#" {"ttl_s":0,"allow":false,"reason":"left"} "#, answer(false, Some(0))),
            (r#"{"allow":true,"ttl_s":60}"#, answer(true, Some(60))),
            (r#"{"allow":true,"ttl_s":999999999}"#, answer(true, Some(DECISION_KEPT_MAX.as_secs()))),
            (r#"{"allow":true,"ttl_s":null}"#, answer(true, None)),
            (r#"{"allow":true,"ttl_s":-1}"#, None),
            (r#"{"allow":true,"ttl_s":1.5}"#, None),
            (r#"{"allow":"true"}"#, None),
            (r#"{"allow":1}"#, None),
            (r#"{"allow":true,"allow":false}"#, None),
            (r#"{"Allow":true}"#, None),
            (r#"{"allow":true}x"#, None),
            ("{}", None),
            ("true", None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_about_a_client_names_its_user_or_refuses_it() {
        let read = |text: &str| IdentityAnswer::read(text.as_bytes());
        let admitted = |name: &str, ttl_s, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Some(IdentityAnswer::Admitted { user: User::new(name).unwrap(), ttl_s, fields })
        };
        for (text, expected) in [
            (r#"{"allow":true,"user":"ann"}"#, admitted("ann", None, &[])),
            (
                r#"{"allow":true,"user":"a.b","ttl_s":9,"fields":{"X-Groups":"a,b"}}"#,
                admitted("a.b", Some(9), &[("X-Groups", "a,b")]),
            ),
            (r#"{"allow":false}"#, Some(IdentityAnswer::Refused(403))),
            (r#"{"allow":false,"user":"ann","status":401}"#, Some(IdentityAnswer::Refused(401))),
            (r#"{"allow":false,"status":200}"#, None),
            (r#"{"allow":true}"#, None),
            (r#"{"allow":true,"user":""}"#, None),
            (r#"{"allow":true,"user":7}"#, None),
            (r#"{"allow":true,"user":"ann","fields":{"X":7}}"#, None),
            (r#"{"user":"ann"}"#, None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes: Vec<u8>) {
            let _ = RightAnswer::read(&bytes);
            let _ = IdentityAnswer::read(&bytes);
        }
    }
}
