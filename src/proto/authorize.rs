//! What the application is asked about its clients: whether a user may do that with a channel.
//!
//! ```text
//!  AskedRight --document--> {"right":"hear","channel":"room.7","user":"ann"} --> a worker of tg.authorize.<service>, or a POST
//!  RightAnswer <---read---- {"allow":true,"ttl_s":60} <-----------------------------------------------------------------'
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::permission::{DeciderId, Right};
use super::subject::Subject;
use super::user::User;
use crate::limits::DECISION_KEPT_MAX;

/// What is asked. The answer is the same for all connections of a user, so it can be remembered.
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

/// What is known of an answer.
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

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes: Vec<u8>) {
            let _ = RightAnswer::read(&bytes);
        }
    }
}
